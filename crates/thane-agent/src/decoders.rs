//! What the program reads from files, from its command line and from the network, as plain functions for fuzzing and its tests.
//!
//! Nothing else should use them: they promise nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::agent::filter::EventFilter;
use crate::agent::readers;
use crate::goflags::parse_duration;
use crate::hostport;
use crate::mdns;

/// Reads a configuration file; TOML if its name says so, else JSON.
///
/// # Errors
/// What is wrong, as it is shown.
pub fn configuration(name: &str, text: &[u8]) -> Result<(), String> {
    readers::configuration(name, text)
}

/// Reads a tags file.
///
/// # Errors
/// What is wrong, as it is shown.
pub fn tags_file(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
    readers::tags(text)
}

/// What a tags file with these tags holds.
pub fn tags_text(tags: &BTreeMap<String, String>) -> String {
    readers::tags_text(tags)
}

/// The addresses that answers to a question by multicast DNS offer.
pub fn discovered(packets: &[&[u8]]) -> Vec<SocketAddr> {
    mdns::readers::offers(packets)
}

/// The answers to a question by multicast DNS.
pub fn discovery_answers(packet: &[u8]) -> Vec<Vec<u8>> {
    mdns::readers::answers(packet)
}

/// Reads a text as all that an operator may have meant by it: a span, an address, a key, a list of events.
pub fn small_texts(text: &str) {
    drop(parse_duration(text));
    drop(hostport::split(text));
    drop(readers::key(text));
    drop(EventFilter::parse_list(text));
}
