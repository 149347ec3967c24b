//! Why a name has no address, for whoever wrote the name.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use super::dns::Kind;

/// Why a name could not be looked up. The first words are those of Go's resolver, which Serf's users know.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Problem {
    /// It is not how names are written.
    #[error("lookup {name}: this is no DNS name: {reason}")]
    NoName { name: String, reason: String },
    /// Nobody has this name.
    #[error("lookup {name}{}: no such host; check the spelling, or ask a DNS server that knows this name", on(.server.as_ref()))]
    NoHost { name: String, server: Option<SocketAddr> },
    /// The name is there, without what we look for.
    #[error("lookup {name} on {server}: the name has no {kind} record; {}", kind.remedy())]
    NoRecord { name: String, server: SocketAddr, kind: Kind },
    /// Its owner says so.
    #[error("lookup {name} on {server}: its SRV record says that this service is offered nowhere")]
    NotOffered { name: String, server: SocketAddr },
    /// SRV records, and no host of theirs has an address.
    #[error("lookup {name} on {server}: none of the hosts in its SRV records has an address: {first_reason}")]
    NoTarget { name: String, server: SocketAddr, first_reason: String },
    /// The server does not help us.
    #[error(
        "lookup {name} on {server}: the DNS server answers {answer} for {kind} records; it may not serve this name: ask another one"
    )]
    Refused { name: String, server: SocketAddr, kind: Kind, answer: String },
    /// The server says nothing, or nothing that can be read.
    #[error(
        "lookup {name} on {server}: no usable answer for {kind} records: {reason}; is a DNS server there, reachable by UDP and TCP?"
    )]
    Unanswered { name: String, server: SocketAddr, kind: Kind, reason: String },
    /// The servers of this machine say nothing.
    #[error("lookup {name}: the DNS servers of this machine do not answer (see /etc/resolv.conf)")]
    SystemSilent { name: String },
    /// What else the operating system says.
    #[error("lookup {name}: {reason}")]
    System { name: String, reason: String },
    /// It took too long.
    #[error("lookup {name}: not done within {limit:?}; are the DNS servers reachable?")]
    TooLong { name: String, limit: Duration },
}

fn on(server: Option<&SocketAddr>) -> String {
    server.map(|server| format!(" on {server}")).unwrap_or_default()
}

impl Problem {
    pub(super) fn no_host(name: &str, server: Option<SocketAddr>) -> Self {
        Self::NoHost { name: name.to_owned(), server }
    }

    /// The C library's words, which only its text tells apart.
    pub(super) fn of_the_system(name: &str, error: &io::Error) -> Self {
        let (name, text) = (name.to_owned(), error.to_string());
        let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
        if says(&[
            "Name or service not known",
            "Name does not resolve",
            "No address associated",
            "nodename nor",
        ]) {
            Self::NoHost { name, server: None }
        } else if says(&["Temporary failure in name resolution", "Try again"]) {
            Self::SystemSilent { name }
        } else {
            Self::System { name, reason: text }
        }
    }

    /// Whether another server may know better.
    pub(super) fn is_the_servers(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Unanswered { .. })
    }
}
