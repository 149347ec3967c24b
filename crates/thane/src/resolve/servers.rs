//! Which DNS servers are asked, and under which full names.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use domain::resolv::stub::conf::ResolvConf;

/// Where the system says which servers to ask.
const SYSTEM_CONFIGURATION: &str = "/etc/resolv.conf";
/// The port of DNS.
const DNS_PORT: u16 = 53;
/// Most servers that may be named.
pub(crate) const SERVERS_MAX: usize = 8;
/// Most servers and search domains that are taken from the system's configuration. (glibc: 3 and, long ago, 6.)
const SYSTEM_SERVERS_MAX: usize = 3;
const SUFFIXES_MAX: usize = 6;
/// Longest time that one server is waited for, whatever the system's configuration says.
const PATIENCE_MAX: Duration = Duration::from_secs(3);

/// Servers, and how they are to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Servers {
    pub(super) addrs: Vec<SocketAddr>,
    /// How long each is waited for.
    pub(super) patience: Duration,
    /// Domains in which short names are looked for.
    suffixes: Vec<String>,
    /// A name with as many dots is first taken as it is.
    dots_min: usize,
}

impl Servers {
    /// Those that somebody named. Names are then taken as they are.
    pub(super) fn named(addrs: Vec<SocketAddr>) -> Self {
        Self { addrs, patience: PATIENCE_MAX, suffixes: Vec::new(), dots_min: 0 }
    }

    /// Those of the system's configuration as it is now.
    pub(super) async fn of_the_system() -> Self {
        let read = tokio::task::spawn_blocking(|| {
            configured(&std::fs::read_to_string(SYSTEM_CONFIGURATION).unwrap_or_default())
        })
        .await;
        // Without a configuration there is still the server that the C library assumes.
        Self::of(&read.unwrap_or_else(|_cancelled| ResolvConf::new()))
    }

    fn of(conf: &ResolvConf) -> Self {
        let suffixes = conf.options.search.as_slice().iter().filter(|suffix| !suffix.is_root());
        Self {
            addrs: conf.servers.iter().map(|server| server.addr).take(SYSTEM_SERVERS_MAX).collect(),
            patience: conf.options.timeout.clamp(Duration::from_secs(1), PATIENCE_MAX),
            suffixes: suffixes.take(SUFFIXES_MAX).map(ToString::to_string).collect(),
            dots_min: conf.options.ndots,
        }
    }

    /// The names that one stands for, in the order in which they are tried.
    pub(super) fn full_names(&self, name: &str) -> Vec<String> {
        let as_it_is = name.trim_end_matches('.').to_owned();
        if name.ends_with('.') || self.suffixes.is_empty() {
            return vec![as_it_is];
        }
        let dots = as_it_is.matches('.').count();
        let mut names: Vec<String> = self
            .suffixes
            .iter()
            .map(|suffix| format!("{as_it_is}.{}", suffix.trim_end_matches('.')))
            .collect();
        names.insert(if dots >= self.dots_min { 0 } else { names.len() }, as_it_is);
        names
    }
}

/// Reads the system's configuration as the C library does: a line that cannot be read is no reason to ignore the others.
fn configured(text: &str) -> ResolvConf {
    let mut conf = ResolvConf::new();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        if let Err(error) = conf.parse(&mut line.as_bytes()) {
            tracing::debug!(target: "thane::driver", kind = "resolv_conf", %error, "a line of {SYSTEM_CONFIGURATION} is ignored");
        }
    }
    conf.finalize();
    conf
}

/// Reads `ADDR`, `ADDR:PORT`, `[v6]` or `[v6]:PORT`.
pub(crate) fn parse_server(text: &str) -> Result<SocketAddr, String> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Ok(addr);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)).map_err(|_no_ip| {
        "it must be an IP address, with a port if that is not 53, such as 127.0.0.1:8600".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_with_or_without_a_port() {
        for (text, expected) in [
            ("127.0.0.1", Ok("127.0.0.1:53")),
            ("127.0.0.1:8600", Ok("127.0.0.1:8600")),
            ("::1", Ok("[::1]:53")),
            ("[::1]", Ok("[::1]:53")),
            ("[::1]:8600", Ok("[::1]:8600")),
            ("dns.example", Err(())),
            ("127.0.0.1:", Err(())),
            ("", Err(())),
        ] {
            let found = parse_server(text).map(|addr| addr.to_string()).map_err(drop);
            assert_eq!(found, expected.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_hides_no_other() {
        let conf = configured(
            "lookup file bind\nnameserver 192.0.2.1 # office\nnameserver nonsense\nnameserver 192.0.2.2\n",
        );
        assert_eq!(
            Servers::of(&conf).addrs,
            ["192.0.2.1:53", "192.0.2.2:53"].map(|addr| addr.parse().unwrap())
        );
    }

    #[test]
    fn the_systems_search_domains_and_limits_are_kept() {
        let mut conf = ResolvConf::new();
        let text = "nameserver 192.0.2.1\nsearch one.example two.example\noptions ndots:2 timeout:30\n";
        conf.parse(&mut text.as_bytes()).unwrap();
        conf.finalize();
        let servers = Servers::of(&conf);
        assert_eq!(servers.addrs, ["192.0.2.1:53".parse().unwrap()]);
        assert_eq!(servers.patience, PATIENCE_MAX);
        assert_eq!(servers.full_names("_serf"), ["_serf.one.example", "_serf.two.example", "_serf"]);
        assert_eq!(servers.full_names("_a._b.c"), ["_a._b.c", "_a._b.c.one.example", "_a._b.c.two.example"]);
        assert_eq!(servers.full_names("_a._b.c."), ["_a._b.c"]);
        assert_eq!(Servers::named(Vec::new()).full_names("_serf"), ["_serf"]);
    }
}
