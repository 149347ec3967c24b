//! Several networks, one address on the wire.
//!
//! A member announces one address. A machine often has more: a private one for its own data centre, a public one for the others, one
//! that only containers reach. So a member may name the networks that it is on, with its address on each, in a tag
//! ([`NETWORKS_TAG`]). Whoever is on a network of the same name sends to that address; everybody else, Serf's agents among
//! them, to the announced one. Networks are told apart by name and not by their numbers, because the same private numbers are used in
//! many places.
//!
//! A node on several networks leaves its address out of its pings, so that answers come back the way the ping went.
//! (memberlist: `net.go`, handlePing.)

use std::net::{IpAddr, SocketAddr};

use thane_wire::tags::{self, Tags};

/// The tag by which a member names its networks: `lan=10.0.0.5:7946,wan=203.0.113.5:7946`.
///
/// A Serf agent may be given it as an ordinary tag; it cannot use that of others.
pub const NETWORKS_TAG: &str = "thane_networks";

/// Most networks that a member can be on. More would not fit its tags.
pub const NETWORKS_MAX: usize = 16;

/// Longest name of a network, in bytes.
pub const NETWORK_NAME_BYTES_MAX: usize = 32;

/// A network that we are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What its members call it: 1 to [`NETWORK_NAME_BYTES_MAX`] letters, digits, dots, dashes and underscores.
    pub name: String,
    /// Where the others on it reach us. Its IP must not be unspecified, and its port not 0.
    pub addr: SocketAddr,
}

impl Network {
    /// Whether a text can name a network.
    pub fn is_name(text: &str) -> bool {
        (1..=NETWORK_NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    }
}

/// What a node with these tags announces: they, and the one that names its networks, if it is on any. That replaces one that was
/// set by hand.
pub fn announced_tags(tags: &Tags, networks: &[Network]) -> Tags {
    let mut tags = tags.clone();
    if !networks.is_empty() {
        let entries: Vec<String> =
            networks.iter().map(|network| format!("{}={}", network.name, network.addr)).collect();
        tags.insert(NETWORKS_TAG.to_owned(), entries.join(","));
    }
    tags
}

/// Where to reach a member with these tags: on the first of our networks that it is on as well. `None` if there is
/// none, or its address on it cannot be used.
pub(crate) fn route<'a>(own: &'a [Network], meta: &[u8]) -> Option<(&'a str, SocketAddr)> {
    if own.is_empty() {
        return None;
    }
    let theirs = str::from_utf8(tags::raw_value(meta, NETWORKS_TAG)?).ok()?;
    let theirs = || theirs.split(',').take(NETWORKS_MAX).filter_map(|entry| entry.split_once('='));
    own.iter().find_map(|network| {
        let (_name, addr) = theirs().find(|(name, _addr)| *name == network.name)?;
        let addr: SocketAddr = addr.parse().ok()?;
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        is_reachable(addr).then_some((&*network.name, addr))
    })
}

/// Over which network, and at which address there, the member that announces the tags `from` sends to the one that announces `to`, if both
/// are on one: the first of its own that the other is on as well.
pub fn shared_network(from: &[u8], to: &[u8]) -> Option<(String, SocketAddr)> {
    let own = str::from_utf8(tags::raw_value(from, NETWORKS_TAG)?).ok()?;
    let own = own.split(',').take(NETWORKS_MAX).filter_map(|entry| {
        let (name, addr) = entry.split_once('=')?;
        Some(Network { name: name.to_owned(), addr: addr.parse().ok()? })
    });
    let own: Vec<Network> = own.collect();
    route(&own, to).map(|(name, addr)| (name.to_owned(), addr))
}

/// Whether an address is that of one machine, in either form of an IPv4 address.
pub(crate) fn is_reachable(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[(&str, &str)]) -> Vec<Network> {
        let network =
            |(name, addr): &(&str, &str)| Network { name: (*name).to_owned(), addr: addr.parse().unwrap() };
        list.iter().map(network).collect()
    }

    fn meta(text: &str) -> Vec<u8> {
        tags::encode(&Tags::from([(NETWORKS_TAG.to_owned(), text.to_owned())]))
    }

    #[test]
    fn a_member_is_reached_on_the_first_of_our_networks_that_it_is_on() {
        let own = networks(&[("lan", "10.0.0.1:1"), ("wan", "203.0.113.1:1")]);
        for (theirs, expected) in [
            ("wan=203.0.113.2:7,lan=10.0.0.2:7", Some(("lan", "10.0.0.2:7"))),
            ("wan=203.0.113.2:7", Some(("wan", "203.0.113.2:7"))),
            ("lan=[fd00::2]:7", Some(("lan", "[fd00::2]:7"))),
            ("lan=[::ffff:10.0.0.2]:7", Some(("lan", "10.0.0.2:7"))),
            ("LAN=10.0.0.2:7", None),
            ("storage=10.9.0.2:7", None),
            // Nobody can be reached there, and the next network is taken.
            ("lan=0.0.0.0:7,wan=203.0.113.2:7", Some(("wan", "203.0.113.2:7"))),
            ("lan=10.0.0.2:0", None),
            ("lan=224.0.0.1:7", None),
            ("lan=255.255.255.255:7", None),
            ("lan=[::ffff:0.0.0.0]:7,wan=203.0.113.2:7", Some(("wan", "203.0.113.2:7"))),
            ("lan=[::ffff:224.0.0.1]:7", None),
            ("lan=[::ffff:255.255.255.255]:7", None),
            ("lan=web-1:7", None),
            ("lan", None),
            ("", None),
            (",,=,==", None),
        ] {
            let expected = expected.map(|(name, addr)| (name, addr.parse().unwrap()));
            assert_eq!(route(&own, &meta(theirs)), expected, "{theirs}");
            assert_eq!(route(&[], &meta(theirs)), None, "{theirs}");
        }
        assert_eq!(route(&own, b"web"), None, "a role of protocol 2");
        assert_eq!(route(&own, &[]), None);
        let many = "x=10.0.0.9:7,".repeat(NETWORKS_MAX) + "lan=10.0.0.2:7";
        assert_eq!(route(&own, &meta(&many)), None, "further ones are not looked at");
    }

    #[test]
    fn the_tag_names_all_networks_and_what_it_says_is_understood() {
        let own = networks(&[("lan", "10.0.0.1:7946"), ("six", "[fd00::1]:7946")]);
        let tags = announced_tags(&Tags::from([("role".to_owned(), "web".to_owned())]), &own);
        assert_eq!(tags[NETWORKS_TAG], "lan=10.0.0.1:7946,six=[fd00::1]:7946");
        assert_eq!(tags["role"], "web");
        let encoded = tags::encode(&tags);
        for network in &own {
            let found = route(std::slice::from_ref(network), &encoded);
            assert_eq!(found, Some((&*network.name, network.addr)));
        }
        let other = meta("six=[fd00::2]:7,lan=10.0.0.2:7");
        let found = shared_network(&encoded, &other);
        assert_eq!(found, Some(("lan".to_owned(), "10.0.0.2:7".parse().unwrap())));
        assert_eq!(shared_network(&[], &other), None);
        assert_eq!(shared_network(&encoded, &meta("dmz=10.0.0.2:7")), None);
        assert_eq!(announced_tags(&tags, &[]), tags, "one that was set by hand stays");
    }

    #[test]
    fn names_are_short_and_plain() {
        for (name, good) in
            [("lan", true), ("eu-west_1.b", true), ("", false), ("a b", false), ("a=b", false), ("ü", false)]
        {
            assert_eq!(Network::is_name(name), good, "{name}");
        }
        assert!(!Network::is_name(&"x".repeat(NETWORK_NAME_BYTES_MAX + 1)));
    }
}
