//! Packets: questions to answers, and the questions that we ask.

use std::net::{IpAddr, SocketAddr};

use simple_dns::rdata::{A, AAAA, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, CharacterString, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE};
use simple_dns::{ResourceRecord, TYPE};

use super::names::{Names, same};

/// Largest packet that is read, in bytes. An answer of an agent has some 150.
pub(super) const PACKET_BYTES_MAX: usize = 4096;

/// How long others may remember an answer, in seconds. (hashicorp/mdns: `zone.go`, defaultTTL.)
const TTL_SECONDS: u32 = 120;

/// Priority and weight of a service that has no other. (hashicorp/mdns: `zone.go`.)
const PRIORITY: u16 = 10;
const WEIGHT: u16 = 1;

/// Least size of a question and of a record on the wire, in bytes. A header that promises more than there is room for
/// is not believed.
const QUESTION_BYTES_MIN: usize = 5;
const RECORD_BYTES_MIN: usize = 11;

/// Bytes of the header.
const HEADER_BYTES: usize = 12;

/// One thing that an agent can say about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    /// That there is the service.
    Service,
    /// Which instance the service has.
    Instance,
    /// Port and host of the instance.
    Where,
    /// Address of the host.
    Address,
    /// The sentence about the instance.
    Text,
}

/// What an agent answers with.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    names: Names,
    address: SocketAddr,
    text: String,
}

impl Identity {
    pub(super) fn new(names: Names, cluster: &str, address: SocketAddr) -> Self {
        Self { names, address, text: format!("Serf '{cluster}' cluster") }
    }

    /// The packets that answer a packet, all for its sender: none, one, or one for the questions that ask for an answer
    /// to them alone and one for the others. Only the former has the question's ID. (hashicorp/mdns: `server.go`,
    /// handleQuery.)
    pub(super) fn answers(&self, packet: &[u8]) -> Vec<Vec<u8>> {
        let Some(packet) = parse(packet) else { return Vec::new() };
        if packet.has_flags(PacketFlag::RESPONSE)
            || packet.opcode() != OPCODE::StandardQuery
            || packet.rcode() != RCODE::NoError
        {
            return Vec::new();
        }
        let (mut to_all, mut to_sender) = (Vec::new(), Vec::new());
        for question in &packet.questions {
            let answer = if question.unicast_response { &mut to_sender } else { &mut to_all };
            for say in self.answer(question) {
                // Asked twice, told once: no small question gets an answer of any size.
                if !answer.contains(say) {
                    answer.push(*say);
                }
            }
        }
        [(0, to_all), (packet.id(), to_sender)]
            .into_iter()
            .filter(|(_id, said)| !said.is_empty())
            .filter_map(|(id, said)| self.packet(id, &said))
            .collect()
    }

    fn answer(&self, question: &Question<'_>) -> &'static [Say] {
        if !matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY) {
            return &[];
        }
        let name = &question.qname;
        let address_type = if self.address.is_ipv4() { TYPE::A } else { TYPE::AAAA };
        if same(name, &self.names.enumeration) {
            match question.qtype {
                QTYPE::TYPE(TYPE::PTR) | QTYPE::ANY => &[Say::Service],
                _ => &[],
            }
        } else if same(name, &self.names.service) {
            match question.qtype {
                QTYPE::TYPE(TYPE::PTR) | QTYPE::ANY => &[Say::Instance, Say::Where, Say::Address, Say::Text],
                _ => &[],
            }
        } else if same(name, &self.names.instance) {
            match question.qtype {
                QTYPE::ANY => &[Say::Where, Say::Address, Say::Text],
                QTYPE::TYPE(TYPE::SRV) => &[Say::Where, Say::Address],
                QTYPE::TYPE(TYPE::TXT) => &[Say::Text],
                QTYPE::TYPE(wanted) if wanted == address_type => &[Say::Address],
                _ => &[],
            }
        } else if same(name, &self.names.host) && question.qtype == QTYPE::TYPE(address_type) {
            &[Say::Address]
        } else {
            &[]
        }
    }

    /// `None` if a record cannot be written, which the checks on names and cluster rule out.
    fn packet(&self, id: u16, said: &[Say]) -> Option<Vec<u8>> {
        let mut packet = Packet::new_reply(id);
        packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        packet.answers = said.iter().map(|say| self.record(*say)).collect::<Option<_>>()?;
        packet.build_bytes_vec_compressed().ok()
    }

    fn record(&self, say: Say) -> Option<ResourceRecord<'_>> {
        let names = &self.names;
        let (name, data) = match say {
            Say::Service => (&names.enumeration, RData::PTR(PTR(names.service.clone()))),
            Say::Instance => (&names.service, RData::PTR(PTR(names.instance.clone()))),
            Say::Where => {
                let target = names.host.clone();
                let port = self.address.port();
                (&names.instance, RData::SRV(SRV { priority: PRIORITY, weight: WEIGHT, port, target }))
            }
            Say::Address => match self.address.ip() {
                IpAddr::V4(ip) => (&names.host, RData::A(A::from(ip))),
                IpAddr::V6(ip) => (&names.host, RData::AAAA(AAAA::from(ip))),
            },
            Say::Text => {
                let text = CharacterString::new(self.text.as_bytes()).ok()?;
                (&names.instance, RData::TXT(TXT::new().with_char_string(text)))
            }
        };
        Some(ResourceRecord::new(name.clone(), CLASS::IN, TTL_SECONDS, data))
    }
}

/// A packet that asks for records of these types.
pub(super) fn question(id: u16, name: &Name<'_>, types: &[QTYPE]) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    for wanted in types {
        packet.questions.push(Question::new(name.clone(), *wanted, QCLASS::CLASS(CLASS::IN), false));
    }
    packet.build_bytes_vec().ok()
}

/// Reads a packet whose header promises no more than its size can hold; what else is malformed is `None` too.
pub(super) fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let counts = bytes.get(4..HEADER_BYTES)?;
    let mut counts = counts.chunks_exact(2).map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]])));
    let questions = counts.next()?;
    let records: usize = counts.sum();
    if questions * QUESTION_BYTES_MIN + records * RECORD_BYTES_MIN > bytes.len() - HEADER_BYTES {
        return None;
    }
    Packet::parse(bytes).ok()
}
