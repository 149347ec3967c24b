//! Answers to addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use simple_dns::rdata::RData;
use simple_dns::{Name, PacketFlag, QTYPE, ResourceRecord, TYPE};

use super::names::{is_instance_of, same};
use super::records;

/// Instances and hosts kept in one round that are not complete. Answers beyond count only if they are complete by
/// themselves, as those of Serf and Thane always are.
const LOOSE_ENDS_MAX: usize = 64;

/// Addresses given in one round.
const ADDRESSES_MAX: usize = 512;

/// What has been told in one round of questions.
///
/// An agent says everything in one packet. Other programs can tell of an agent too, and may need to be asked again for
/// the rest; so what is incomplete is kept until the end of the round.
#[derive(Debug)]
pub(super) struct Collector {
    service: Name<'static>,
    is_ours: fn(SocketAddr) -> bool,
    places: Vec<Place>,
    hosts: Vec<(Name<'static>, IpAddr)>,
    told: BTreeSet<SocketAddr>,
}

#[derive(Debug)]
struct Place {
    instance: Name<'static>,
    port_and_host: Option<(u16, Name<'static>)>,
    asked_where: bool,
    asked_address: bool,
}

/// What to ask next: a name and the types.
pub(super) type NextQuestion = (Name<'static>, &'static [QTYPE]);

const WHERE: &[QTYPE] = &[QTYPE::TYPE(TYPE::SRV)];
const ADDRESS: &[QTYPE] = &[QTYPE::TYPE(TYPE::A), QTYPE::TYPE(TYPE::AAAA)];

impl Collector {
    /// `is_ours` says whether a packet from there comes from this machine.
    pub(super) fn new(service: Name<'static>, is_ours: fn(SocketAddr) -> bool) -> Self {
        Self { service, is_ours, places: Vec::new(), hosts: Vec::new(), told: BTreeSet::new() }
    }

    /// Takes a packet that came from `from`; gives the addresses that are new in this round.
    pub(super) fn take(&mut self, from: SocketAddr, packet: &[u8]) -> Vec<SocketAddr> {
        let Some(packet) = records::parse(packet) else { return Vec::new() };
        if !packet.has_flags(PacketFlag::RESPONSE) {
            return Vec::new();
        }
        let records: Vec<&ResourceRecord<'_>> =
            packet.answers.iter().chain(&packet.additional_records).collect();
        let mut found = Vec::new();
        for record in &records {
            match &record.rdata {
                RData::SRV(place) if is_instance_of(&record.name, &self.service) => {
                    // The packet's own record first: two machines may well have the same host name.
                    match records.iter().find_map(|other| address_of(other, &place.target)) {
                        Some(ip) => found.push(SocketAddr::new(ip, place.port)),
                        None => self.keep_place(&record.name, Some((place.port, &place.target))),
                    }
                }
                RData::PTR(instance)
                    if same(&record.name, &self.service) && is_instance_of(&instance.0, &self.service) =>
                {
                    let told = |other: &&ResourceRecord<'_>| {
                        matches!(other.rdata, RData::SRV(_)) && same(&other.name, &instance.0)
                    };
                    if !records.iter().any(told) {
                        self.keep_place(&instance.0, None);
                    }
                }
                RData::A(_) | RData::AAAA(_) => self.keep_host(record),
                _ => {}
            }
        }
        found.extend(self.completed());
        found.retain(|address| self.is_usable(*address, from));
        found.retain(|address| self.told.len() < ADDRESSES_MAX && self.told.insert(*address));
        found
    }

    /// What is missing and has not been asked for.
    pub(super) fn next_questions(&mut self) -> Vec<NextQuestion> {
        let mut questions = Vec::new();
        let hosts = &self.hosts;
        for place in &mut self.places {
            match &place.port_and_host {
                None if !place.asked_where => {
                    place.asked_where = true;
                    questions.push((place.instance.clone(), WHERE));
                }
                Some((_port, host)) if !place.asked_address && lookup(hosts, host).is_none() => {
                    place.asked_address = true;
                    questions.push((host.clone(), ADDRESS));
                }
                _ => {}
            }
        }
        questions
    }

    fn keep_place(&mut self, instance: &Name<'_>, port_and_host: Option<(u16, &Name<'_>)>) {
        let known = self.places.iter().position(|place| same(&place.instance, instance));
        let at = match known {
            Some(at) => at,
            None if self.places.len() >= LOOSE_ENDS_MAX => return,
            None => {
                let instance = instance.clone().into_owned();
                let (port_and_host, asked_where, asked_address) = (None, false, false);
                self.places.push(Place { instance, port_and_host, asked_where, asked_address });
                self.places.len() - 1
            }
        };
        if let Some((port, host)) = port_and_host {
            self.places[at].port_and_host = Some((port, host.clone().into_owned()));
        }
    }

    fn keep_host(&mut self, record: &ResourceRecord<'_>) {
        if self.hosts.len() < LOOSE_ENDS_MAX
            && lookup(&self.hosts, &record.name).is_none()
            && let Some(ip) = address_of(record, &record.name)
        {
            self.hosts.push((record.name.clone().into_owned(), ip));
        }
    }

    fn completed(&self) -> impl Iterator<Item = SocketAddr> {
        self.places.iter().filter_map(|place| {
            let (port, host) = place.port_and_host.as_ref()?;
            Some(SocketAddr::new(lookup(&self.hosts, host)?, *port))
        })
    }

    /// Whether an address can be joined, and may come from there: a machine that speaks of its loopback interface means
    /// its own, not ours.
    fn is_usable(&self, address: SocketAddr, from: SocketAddr) -> bool {
        let ip = address.ip();
        let nonsense = address.port() == 0 || ip.is_unspecified() || ip.is_multicast();
        let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let elsewhere = ip.is_loopback() && !(self.is_ours)(from);
        !(nonsense || link_local || elsewhere)
    }
}

fn lookup(hosts: &[(Name<'static>, IpAddr)], wanted: &Name<'_>) -> Option<IpAddr> {
    hosts.iter().find(|(host, _ip)| same(host, wanted)).map(|(_host, ip)| *ip)
}

/// The address that a record gives for a host.
fn address_of(record: &ResourceRecord<'_>, host: &Name<'_>) -> Option<IpAddr> {
    if !same(&record.name, host) {
        return None;
    }
    match &record.rdata {
        RData::A(ip) => Some(IpAddr::V4(ip.address.into())),
        RData::AAAA(ip) => Some(IpAddr::V6(ip.address.into())),
        _ => None,
    }
}
