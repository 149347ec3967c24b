//! A small DNS server on loopback, whose answers a test changes while others ask.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use simple_dns::rdata::{A, AAAA, CNAME, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE};

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should.
    Ordinary,
    /// As one whose answers never fit a packet: they come by TCP.
    Truncating,
    /// As one that does not want to be asked.
    Refusing,
    /// As one that answers with bytes that mean nothing.
    Babbling,
    /// As one that hears and says nothing.
    Silent,
}

/// What a name has.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    Address(IpAddr),
    Alias(String),
    Service { priority: u16, weight: u16, port: u16, host: String },
}

impl Record {
    /// A host and port of a service, as important as any other.
    pub(crate) fn service(host: &str, port: u16) -> Self {
        Self::Service { priority: 1, weight: 1, port, host: host.to_owned() }
    }

    pub(crate) fn address(text: &str) -> Self {
        Self::Address(text.parse().unwrap())
    }

    fn kind(&self) -> TYPE {
        match self {
            Self::Address(IpAddr::V4(_)) => TYPE::A,
            Self::Address(IpAddr::V6(_)) => TYPE::AAAA,
            Self::Alias(_) => TYPE::CNAME,
            Self::Service { .. } => TYPE::SRV,
        }
    }

    fn data(&self) -> RData<'_> {
        match self {
            Self::Address(IpAddr::V4(ip)) => RData::A(A::from(*ip)),
            Self::Address(IpAddr::V6(ip)) => RData::AAAA(AAAA::from(*ip)),
            Self::Alias(name) => RData::CNAME(CNAME(Name::new_unchecked(name))),
            Self::Service { priority, weight, port, host } => RData::SRV(SRV {
                priority: *priority,
                weight: *weight,
                port: *port,
                target: Name::new_unchecked(host),
            }),
        }
    }
}

struct Zone {
    manner: Manner,
    names: BTreeMap<String, Vec<Record>>,
    /// Questions so far: `udp SRV _serf._tcp.test`.
    asked: Vec<String>,
}

/// A running server. It ends when this goes away.
pub(crate) struct DnsServer {
    addr: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl DnsServer {
    /// One on a free port of this loopback address, which knows no name.
    pub(crate) fn start(ip: &str) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((ip, 0)).unwrap();
            // The same port may be taken for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let addr = udp.local_addr().unwrap();
        let zone = Zone { manner: Manner::Ordinary, names: BTreeMap::new(), asked: Vec::new() };
        let (zone, stop) = (Arc::new(Mutex::new(zone)), Arc::new(AtomicBool::new(false)));
        let threads = vec![
            thread::spawn({
                let (zone, stop) = (Arc::clone(&zone), Arc::clone(&stop));
                move || serve_packets(&udp, &zone, &stop)
            }),
            thread::spawn({
                let (zone, stop) = (Arc::clone(&zone), Arc::clone(&stop));
                move || serve_streams(&tcp, &zone, &stop)
            }),
        ];
        Self { addr, zone, stop, threads }
    }

    /// Its address and port.
    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Replaces what a name has; with no records the name is there all the same.
    pub(crate) fn set(&self, name: &str, records: impl IntoIterator<Item = Record>) {
        lock(&self.zone).names.insert(name.to_owned(), records.into_iter().collect());
    }

    pub(crate) fn behave(&self, manner: Manner) {
        lock(&self.zone).manner = manner;
    }

    /// The questions since the last call.
    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.zone).asked)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes both; if one is gone already there is nobody to wake.
        if let Ok(socket) = UdpSocket::bind((self.addr.ip(), 0)) {
            drop(socket.send_to(&[0], self.addr));
        }
        drop(TcpStream::connect(self.addr));
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn lock(zone: &Mutex<Zone>) -> std::sync::MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve_packets(socket: &UdpSocket, zone: &Mutex<Zone>, stop: &AtomicBool) {
    let mut buffer = [0; 1500];
    while let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        if let Some(answer) = answer(&buffer[..bytes], "udp", zone) {
            drop(socket.send_to(&answer, from));
        }
    }
}

fn serve_streams(listener: &TcpListener, zone: &Mutex<Zone>, stop: &AtomicBool) {
    while let Ok((mut stream, _)) = listener.accept() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // Whoever breaks off gets no answer.
        drop(serve_stream(&mut stream, zone));
    }
}

fn serve_stream(stream: &mut TcpStream, zone: &Mutex<Zone>) -> std::io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut question)?;
    if let Some(answer) = answer(&question, "tcp", zone) {
        stream.write_all(&(answer.len() as u16).to_be_bytes())?;
        stream.write_all(&answer)?;
    }
    Ok(())
}

fn answer(question: &[u8], way: &str, zone: &Mutex<Zone>) -> Option<Vec<u8>> {
    let query = Packet::parse(question).ok()?;
    let asked = query.questions.first()?;
    let name = asked.qname.to_string();
    let mut zone = lock(zone);
    let QTYPE::TYPE(kind) = asked.qtype else { return None };
    zone.asked.push(format!("{way} {kind:?} {name}"));
    let mut reply = Packet::new_reply(query.id());
    reply.questions.push(Question::new(asked.qname.clone(), asked.qtype, asked.qclass, false));
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    let babble: Vec<u8>;
    match zone.manner {
        Manner::Silent => return None,
        Manner::Refusing => *reply.rcode_mut() = RCODE::Refused,
        Manner::Truncating if way == "udp" => reply.set_flags(PacketFlag::TRUNCATION),
        Manner::Babbling => {
            // A good beginning, so that it counts as the answer, and then nothing that can be read.
            babble = reply.build_bytes_vec().unwrap();
            let mut bytes = babble;
            bytes[7] = 9;
            bytes.extend([0xc0; 40]);
            return Some(bytes);
        }
        Manner::Ordinary | Manner::Truncating => fill(&mut reply, &name, kind, &zone.names),
    }
    Some(reply.build_bytes_vec().unwrap())
}

fn fill<'a>(reply: &mut Packet<'a>, name: &str, kind: TYPE, names: &'a BTreeMap<String, Vec<Record>>) {
    let Some((mut owner, mut records)) = names.get_key_value(name) else {
        *reply.rcode_mut() = RCODE::NameError;
        return;
    };
    let record = |owner: &'a str, record: &'a Record| {
        ResourceRecord::new(Name::new_unchecked(owner), CLASS::IN, 1, record.data())
    };
    while let [alias @ Record::Alias(to)] = &records[..] {
        reply.answers.push(record(owner, alias));
        let Some(next) = names.get_key_value(to) else { return };
        (owner, records) = next;
    }
    reply
        .answers
        .extend(records.iter().filter(|found| found.kind() == kind).map(|found| record(owner, found)));
}
