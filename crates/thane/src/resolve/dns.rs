//! Questions to DNS servers, and what their answers say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, ToName};
use domain::net::client::protocol::{TcpConnect, UdpConnect};
use domain::net::client::request::{RequestMessage, SendRequest};
use domain::net::client::{dgram, dgram_stream, multi_stream};
use domain::rdata::{A, Aaaa, Srv};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::LOOKUP_TIME_MAX;
use super::problem::Problem;
use super::servers::Servers;

/// Most records of one service that are followed: the first by priority and weight.
const TARGETS_MAX: usize = 32;
/// How much longer IPv6 addresses of a host are waited for than its IPv4 ones.
const GRACE_FOR_V6: Duration = Duration::from_millis(500);
/// The same the other way round. Every server answers for IPv4, and most members are there: what is missing got lost, and comes with the
/// next try or the one after it.
const GRACE_FOR_V4: Duration = Duration::from_millis(2500);
/// How often a question is sent by UDP while one server is waited for.
const TRIES: u8 = 3;
/// What we can take in one packet, and say so. (The field's agreed size that no network splits.)
const PACKET_BYTES_MAX: u16 = 1232;

/// What kind of record is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Either of these.
    Address,
    /// A host and port of a service.
    Srv,
}

impl Kind {
    fn rtype(self) -> Rtype {
        match self {
            Self::A | Self::Address => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
            Self::Srv => Rtype::SRV,
        }
    }

    /// What the name's owner has to do.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Srv => "give it one for each member to join: PRIORITY WEIGHT PORT HOST",
            _ => {
                "give it one for each member to join; SRV records are asked for with dnssrv+ before the name"
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Address => "A or AAAA",
            Self::Srv => "SRV",
        })
    }
}

/// The addresses of a host, IPv4 first. Who has those of one family waits only a little for the other: there are servers that
/// never answer for a family that they do not have.
pub(super) async fn host(servers: &Servers, name: &str) -> Result<Vec<IpAddr>, Problem> {
    either_family(name, addresses(servers, name, Kind::A), addresses(servers, name, Kind::Aaaa)).await
}

type Ips = Result<Vec<IpAddr>, Problem>;

async fn either_family(name: &str, v4: impl Future<Output = Ips>, v6: impl Future<Output = Ips>) -> Ips {
    tokio::pin!(v4, v6);
    let both = tokio::select! {
        v4 = &mut v4 => { let v6 = other_family(name, v4.is_ok().then_some(GRACE_FOR_V6), v6).await; (v4, v6) }
        v6 = &mut v6 => (other_family(name, v6.is_ok().then_some(GRACE_FOR_V4), v4).await, v6),
    };
    match both {
        (Ok(mut ips), Ok(more)) => {
            ips.extend(more);
            Ok(ips)
        }
        (Ok(ips), Err(_)) | (Err(_), Ok(ips)) => Ok(ips),
        (Err(Problem::NoRecord { name, server, .. }), Err(Problem::NoRecord { .. })) => {
            Err(Problem::NoRecord { name, server, kind: Kind::Address })
        }
        // One family that the name does not have says less than what went wrong with the other.
        (Err(Problem::NoRecord { .. }), Err(problem)) | (Err(problem), Err(_)) => Err(problem),
    }
}

/// Waits for the second family; no longer than `grace`, if that of the first has addresses.
async fn other_family(
    name: &str,
    grace: Option<Duration>,
    other: impl Future<Output = Result<Vec<IpAddr>, Problem>>,
) -> Result<Vec<IpAddr>, Problem> {
    let limit = grace.unwrap_or(LOOKUP_TIME_MAX);
    timeout(limit, other)
        .await
        .unwrap_or_else(|_elapsed| Err(Problem::TooLong { name: name.to_owned(), limit }))
}

async fn addresses(servers: &Servers, name: &str, kind: Kind) -> Result<Vec<IpAddr>, Problem> {
    let (answer, server) = look_up(servers, name, kind).await?;
    let ips = answer.ips;
    if ips.is_empty() {
        return Err(Problem::NoRecord { name: name.to_owned(), server, kind });
    }
    Ok(ips)
}

/// Where a service is offered: best priority first, and in random order by weight within one. A port that was written
/// overrules that of the records. Hosts are looked up side by side; those not known by `until` are left out.
pub(super) async fn service(
    servers: &Servers,
    name: &str,
    port: Option<u16>,
    until: Instant,
) -> Result<Vec<SocketAddr>, Problem> {
    let (answer, server) = look_up(servers, name, Kind::Srv).await?;
    let name = name.to_owned();
    let Answer { mut targets, enclosed, .. } = answer;
    if targets.is_empty() {
        return Err(Problem::NoRecord { name, server, kind: Kind::Srv });
    }
    targets.retain(|target| !target.host.is_empty());
    if targets.is_empty() {
        return Err(Problem::NotOffered { name, server });
    }
    in_order(&mut targets, random);
    targets.truncate(TARGETS_MAX);
    let mut found: BTreeMap<String, Result<Vec<IpAddr>, Problem>> =
        enclosed.into_iter().map(|(host, ips)| (host, Ok(ips))).collect();
    let mut lookups = JoinSet::new();
    let unknown: BTreeSet<&String> =
        targets.iter().map(|target| &target.host).filter(|host| !found.contains_key(*host)).collect();
    for name in unknown {
        let (servers, name) = (servers.clone(), name.clone());
        // Absolute: search domains are for what people write.
        lookups.spawn(async move {
            let ips = host(&servers, &format!("{name}.")).await;
            (name, ips)
        });
    }
    // What has not ended by then is dropped, and with it its task.
    while let Ok(Some(ended)) = timeout_at(until, lookups.join_next()).await {
        found.extend(ended.ok());
    }
    let (mut addrs, mut first_reason) = (Vec::new(), None);
    for target in targets {
        match found.get(&target.host) {
            Some(Ok(ips)) => {
                let port = port.unwrap_or(target.port);
                addrs.extend(ips.iter().map(|ip| SocketAddr::new(*ip, port)));
            }
            Some(Err(problem)) => _ = first_reason.get_or_insert(problem.to_string()),
            None => {
                let problem = Problem::TooLong { name: target.host, limit: LOOKUP_TIME_MAX };
                first_reason.get_or_insert(problem.to_string());
            }
        }
    }
    match first_reason {
        Some(first_reason) if addrs.is_empty() => Err(Problem::NoTarget { name, server, first_reason }),
        _ => Ok(addrs),
    }
}

/// One SRV record. An empty host says that the service is not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    priority: u16,
    weight: u16,
    port: u16,
    host: String,
}

/// Sorts by priority, and draws by weight among equals. (RFC 2782.) `draw` gives a number up to and with its argument.
fn in_order(targets: &mut [Target], mut draw: impl FnMut(u32) -> u32) {
    // Those of weight 0 first, so that a draw of 0 can only mean them.
    targets.sort_by_key(|target| (target.priority, target.weight));
    for i in 0..targets.len() {
        let equals = targets[i..].iter().take_while(|target| target.priority == targets[i].priority).count();
        let total: u32 = targets[i..i + equals].iter().map(|target| u32::from(target.weight)).sum();
        let drawn = draw(total);
        let mut sum = 0;
        let at = targets[i..i + equals].iter().position(|target| {
            sum += u32::from(target.weight);
            sum >= drawn
        });
        // The rest keeps its order, with the weights of 0 in front.
        targets[i..=i + at.unwrap_or(0)].rotate_right(1);
    }
}

fn random(max: u32) -> u32 {
    let mut bytes = [0; 4];
    // Without randomness the first is as good as any.
    match rand::fill(&mut bytes) {
        Ok(()) => ((u64::from(u32::from_le_bytes(bytes)) * (u64::from(max) + 1)) >> 32) as u32,
        Err(_unspecified) => 0,
    }
}

/// Asks for a name, in its full forms one after the other, each server in turn; the first answer that has the name.
async fn look_up(servers: &Servers, name: &str, kind: Kind) -> Result<(Answer, SocketAddr), Problem> {
    let mut missing = None;
    for full in servers.full_names(name) {
        let question: Name<Vec<u8>> = full
            .parse()
            .map_err(|error| Problem::NoName { name: name.to_owned(), reason: format!("{error}") })?;
        match ask_all(servers, &question, name, kind).await {
            Ok((answer, server)) if answer.has(kind) => return Ok((answer, server)),
            Ok((_, server)) => {
                let problem = Problem::NoRecord { name: name.to_owned(), server, kind };
                // A name without the record is nearer to what was meant than no name.
                missing = Some(problem);
            }
            Err(problem @ Problem::NoHost { .. }) => _ = missing.get_or_insert(problem),
            Err(problem) => return Err(problem),
        }
    }
    Err(missing.unwrap_or_else(|| Problem::no_host(name, None)))
}

async fn ask_all(
    servers: &Servers,
    question: &Name<Vec<u8>>,
    name: &str,
    kind: Kind,
) -> Result<(Answer, SocketAddr), Problem> {
    let mut last = Problem::SystemSilent { name: name.to_owned() };
    for &server in &servers.addrs {
        match ask(server, servers.patience, question, name, kind).await {
            Ok(answer) => return Ok((answer, server)),
            Err(problem) if problem.is_the_servers() => last = problem,
            Err(problem) => return Err(problem),
        }
    }
    Err(last)
}

/// Asks one server.
async fn ask(
    server: SocketAddr,
    patience: Duration,
    question: &Name<Vec<u8>>,
    name: &str,
    kind: Kind,
) -> Result<Answer, Problem> {
    let name = name.to_owned();
    let unanswered = |reason: String| Problem::Unanswered { name: name.clone(), server, kind, reason };
    let mut size = Some(PACKET_BYTES_MAX);
    let answer = loop {
        let asked = timeout(patience, exchange(server, patience, question, kind.rtype(), size)).await;
        let answer = asked
            .map_err(|_elapsed| unanswered(format!("none within {patience:?}")))?
            .map_err(|error| unanswered(error.to_string()))?;
        // Very old servers do not know the extension that tells our size.
        if answer.header().rcode() != Rcode::FORMERR || size.take().is_none() {
            break answer;
        }
    };
    match answer.header().rcode() {
        Rcode::NOERROR => Answer::read(&answer).ok_or_else(|| unanswered("it cannot be read".to_owned())),
        Rcode::NXDOMAIN => Err(Problem::NoHost { name, server: Some(server) }),
        other => Err(Problem::Refused { name, server, kind, answer: other.to_string() }),
    }
}

/// Sends a question by UDP, and by TCP if the answer is too long for that.
async fn exchange(
    server: SocketAddr,
    patience: Duration,
    question: &Name<Vec<u8>>,
    rtype: Rtype,
    size: Option<u16>,
) -> Result<Message<Bytes>, io::Error> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_rd(true);
    let mut message = message.question();
    message.push((question, rtype)).map_err(|error| io::Error::other(error.to_string()))?;
    let request =
        RequestMessage::new(message.into_message()).map_err(|error| io::Error::other(error.to_string()))?;
    let mut packets = dgram::Config::new();
    packets.set_read_timeout(patience / u32::from(TRIES));
    packets.set_max_retries(TRIES - 1);
    packets.set_udp_payload_size(size);
    let mut streams = multi_stream::Config::default();
    streams.set_response_timeout(patience);
    let config = dgram_stream::Config::from_parts(packets, streams);
    let (connection, transport) =
        dgram_stream::Connection::with_config(UdpConnect::new(server), TcpConnect::new(server), config);
    let mut pending = connection.send_request(request);
    tokio::select! {
        answer = pending.get_response() => answer.map_err(|error| io::Error::other(error.to_string())),
        // It serves the request beside it, and ends only with it.
        () = transport.run() => Err(io::Error::other("the connection was closed")),
    }
}

/// What an answer says, without the bytes that said it.
#[derive(Debug, Default)]
struct Answer {
    ips: Vec<IpAddr>,
    targets: Vec<Target>,
    /// Addresses of hosts that came along, by host.
    enclosed: BTreeMap<String, Vec<IpAddr>>,
}

impl Answer {
    /// `None` if it is damaged.
    fn read(message: &Message<Bytes>) -> Option<Self> {
        // Follows aliases, within a limit.
        let owner = message.canonical_name()?;
        let mut read = Self::default();
        for record in message.answer().ok()? {
            let record = record.ok()?;
            if !record.owner().name_eq(&owner) {
                continue;
            }
            if let Some(ip) = ip_of(&record) {
                read.ips.push(ip);
            } else if let Ok(Some(record)) = record.to_record::<Srv<_>>() {
                let srv = record.data();
                read.targets.push(Target {
                    priority: srv.priority(),
                    weight: srv.weight(),
                    port: srv.port(),
                    host: host_text(srv.target()),
                });
            }
        }
        // What comes along is a courtesy: a damaged part of it is only asked for again.
        for record in message.additional().ok().into_iter().flatten().flatten() {
            if let Some(ip) = ip_of(&record) {
                read.enclosed.entry(host_text(&record.owner())).or_default().push(ip);
            }
        }
        Some(read)
    }

    fn has(&self, kind: Kind) -> bool {
        if kind == Kind::Srv { !self.targets.is_empty() } else { !self.ips.is_empty() }
    }
}

/// The address in a record, if that is what it holds.
fn ip_of<O: AsRef<[u8]> + domain::dep::octseq::Octets + ?Sized>(
    record: &domain::base::ParsedRecord<'_, O>,
) -> Option<IpAddr> {
    if let Ok(Some(record)) = record.to_record::<A>() {
        return Some(record.data().addr().into());
    }
    let record = record.to_record::<Aaaa>().ok().flatten()?;
    Some(record.data().addr().into())
}

/// A name as its own text, in lower case and without the last dot; empty for the root.
fn host_text(name: &impl ToName) -> String {
    let name: Name<Vec<u8>> = name.to_name();
    name.to_string().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16) -> Target {
        Target { priority, weight, port: 1, host: format!("{priority}-{weight}") }
    }

    /// RFC 2782's draw: the first whose sum of weights reaches the number drawn.
    #[test]
    fn records_come_by_priority_and_are_drawn_by_weight() {
        let mut targets = [target(2, 5), target(1, 30), target(1, 0), target(1, 10)];
        let mut draws = vec![(40, 11), (10, 0), (10, 10), (5, 3)].into_iter();
        in_order(&mut targets, |max| {
            let (expected, drawn) = draws.next().expect("one draw a record");
            assert_eq!(max, expected, "the weights that are left");
            drawn
        });
        assert_eq!(targets.map(|target| target.host), ["1-30", "1-0", "1-10", "2-5"]);
        assert_eq!(draws.next(), None);
    }

    #[test]
    fn draws_are_within_the_weights_and_reach_all_of_them() {
        let mut seen = [false; 3];
        for _ in 0..1000 {
            seen[random(2) as usize] = true;
        }
        assert_eq!(seen, [true; 3]);
        assert_eq!(random(0), 0);
    }

    /// What comes of a host whose addresses of each family are told after this long; `None` for never.
    async fn found(v4_ms: Option<u64>, v6_ms: Option<u64>) -> Vec<&'static str> {
        let told = |after_ms: Option<u64>, ip: &'static str| async move {
            match after_ms {
                Some(after) => tokio::time::sleep(Duration::from_millis(after)).await,
                None => std::future::pending().await,
            }
            Ok(vec![ip.parse::<IpAddr>().unwrap()])
        };
        let ips = either_family("here.test", told(v4_ms, "192.0.2.1"), told(v6_ms, "2001:db8::1")).await;
        ips.unwrap().iter().map(|ip| if ip.is_ipv4() { "v4" } else { "v6" }).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_family_is_waited_for_longer_than_the_other() {
        assert_eq!(found(Some(5), Some(3)).await, ["v4", "v6"]);
        // The packet got lost twice: each try takes a second.
        assert_eq!(found(Some(2100), Some(5)).await, ["v4", "v6"]);
        assert_eq!(found(None, Some(5)).await, ["v6"]);
        assert_eq!(found(Some(5), Some(400)).await, ["v4", "v6"]);
        assert_eq!(found(Some(5), Some(2100)).await, ["v4"]);
    }

    /// An answer as a server would write it: an alias, two SRV records and an address that comes along.
    fn recorded() -> Vec<u8> {
        use simple_dns::rdata::{A, CNAME, RData, SRV};
        use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, ResourceRecord, TYPE};
        let name = Name::new_unchecked;
        let record = |owner, data| ResourceRecord::new(name(owner), CLASS::IN, 1, data);
        let service = |port, target| RData::SRV(SRV { priority: 1, weight: 2, port, target: name(target) });
        let mut packet = Packet::new_reply(7);
        packet.questions.push(Question::new(
            name("_a._tcp.test"),
            QTYPE::TYPE(TYPE::SRV),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        packet.answers.push(record("_a._tcp.test", RData::CNAME(CNAME(name("_b._tcp.test")))));
        packet.answers.push(record("_b._tcp.test", service(1, "One.test")));
        packet.answers.push(record("_b._tcp.test", service(2, "two.test")));
        packet.answers.push(record("_other._tcp.test", service(3, "three.test")));
        packet.additional_records.push(record("one.test", RData::A(A::from(std::net::Ipv4Addr::LOCALHOST))));
        packet.build_bytes_vec_compressed().unwrap()
    }

    fn read(bytes: Vec<u8>) -> Option<Answer> {
        Answer::read(&Message::from_octets(Bytes::from(bytes)).ok()?)
    }

    #[test]
    fn an_answer_is_read_through_its_alias_with_what_comes_along() {
        let answer = read(recorded()).unwrap();
        let hosts: Vec<_> = answer.targets.iter().map(|target| (&*target.host, target.port)).collect();
        assert_eq!(hosts, [("one.test", 1), ("two.test", 2)]);
        assert_eq!(answer.enclosed["one.test"], [IpAddr::from([127, 0, 0, 1])]);
    }

    /// Every cut and many changes: an answer is refused or read, and never holds more than its bytes can.
    #[test]
    fn damaged_answers_are_refused_or_read() {
        let whole = recorded();
        for end in 0..whole.len() {
            drop(read(whole[..end].to_vec()));
        }
        let mut state = 1u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize
        };
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=next() % 4 {
                let at = next() % bytes.len();
                bytes[at] = next() as u8;
            }
            if let Some(answer) = read(bytes) {
                // A record has eleven bytes at least.
                assert!(answer.ips.len() + answer.targets.len() + answer.enclosed.len() <= whole.len() / 11);
            }
        }
    }
}
