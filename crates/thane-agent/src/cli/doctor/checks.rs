//! The checks of the cluster: members, keys, versions, views.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::finding::{Finding, Severity};
use super::own;
use super::view::View;
use crate::cli::Failure;
use crate::client::{Explanation, Member, ip_of};
use crate::format::span;

/// A leave takes a few seconds; longer than this it will not end by itself.
const LEAVE_MAX: Duration = Duration::from_secs(60);

/// Members that are named in one finding.
const NAMED_MAX: usize = 5;

/// Characters of a key that are shown.
const KEY_CHARS: usize = 4;

/// Clocks that are apart by more than this make log lines hard to put in order.
const CLOCKS_APART_MS: i64 = 2000;

/// All findings about the agent, its cluster, and its peers' views.
pub(super) fn all(own: &View, troubled: &[Explanation], peers: &[View]) -> Vec<Finding> {
    let mut findings = members(own, troubled);
    findings.extend(alone(own));
    findings.extend(tcp_only(own));
    findings.extend(versions(own));
    findings.extend(keys(own));
    findings.extend(own::checks(own));
    for peer in peers {
        findings.extend(differences(own, peer));
        findings.extend(clocks(own, peer));
        findings.extend(own::checks(peer));
    }
    findings
}

/// What was not looked at, and how to have it looked at.
pub(super) fn unchecked(own: &View, peers: &[View]) -> Vec<String> {
    let mut unchecked = Vec::new();
    if peers.is_empty() && own.members.len() > 1 {
        unchecked.push(
            "whether other members see the same: name the RPC addresses of their agents with -peer-rpc"
                .to_owned(),
        );
    }
    if !own.is_encrypted() {
        unchecked.push(format!("keys: encryption is off at {}", own.name()));
    }
    let size = own.number("settings", "udp_buffer_size");
    if size > 0 && own.members.len() > 1 {
        unchecked.push(format!(
            "the MTU of the paths to the members: 'ping -M do -s {size} ADDRESS' shows whether packets of udp_buffer_size pass unsplit"
        ));
    }
    unchecked
}

/// An agent named with `-peer-rpc` that cannot be asked.
pub(super) fn unreachable_peer(address: &str, failure: &Failure) -> Finding {
    let what = match failure {
        Failure::Told { message, .. } => message.clone(),
        _ => "it could not be asked".to_owned(),
    };
    let remedy = "Its view was not compared. Is it Thane's agent, is its RPC listening there, and is the token the same?";
    Finding::new(Severity::Warning, "peer-unreachable", address, what, remedy)
}

/// Members that failed, are suspect or are stuck leaving.
fn members(own: &View, troubled: &[Explanation]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = troubled.iter().filter_map(troubled_member).collect();
    let explained: BTreeSet<&str> = troubled.iter().map(|why| why.name.as_str()).collect();
    let more: Vec<&str> = own
        .members
        .iter()
        .filter(|member| member.status == "failed" && !explained.contains(member.name.as_str()))
        .map(|member| member.name.as_str())
        .collect();
    if !more.is_empty() {
        let what = format!("{} more members are failed", more.len());
        findings.push(Finding::new(
            Severity::Error,
            "member-failed",
            some_of(&more),
            what,
            "So many at once have one cause: a network, a switch, a power line, a deployment.",
        ));
    }
    findings
}

fn troubled_member(why: &Explanation) -> Option<Finding> {
    let for_ns = why.now_ns.saturating_sub(why.since_ns);
    let ago = Duration::from_nanos(u64::try_from(for_ns).unwrap_or(0));
    let subject = format!("{} ({})", why.name, why.addr);
    let advice = why.advice.first().cloned().unwrap_or_default();
    let remedy = format!("{advice} 'thane explain {}' tells all.", why.name);
    let cause = why
        .evidence
        .iter()
        .rev()
        .take_while(|record| record.state != "alive")
        .find(|record| record.kind == "probe-failed")
        .or(why.evidence.last())
        .map(|record| format!(": {}", record.text))
        .unwrap_or_default();
    match (why.status.as_str(), why.state.as_str()) {
        ("failed", _) => {
            let what = format!("failed {} ago{cause}", span(ago));
            Some(Finding::new(Severity::Error, "member-failed", subject, what, remedy.trim()))
        }
        ("leaving", _) => {
            let since = why.evidence.iter().rev().find(|record| record.kind == "leave-intent");
            let since = since.map_or(for_ns, |record| why.now_ns.saturating_sub(record.at_ns));
            let since = Duration::from_nanos(u64::try_from(since).unwrap_or(0));
            let (severity, kind) = if since > LEAVE_MAX {
                (Severity::Warning, "member-stuck-leaving")
            } else {
                (Severity::Note, "member-leaving")
            };
            let what = format!("leaving for {}", span(since));
            Some(Finding::new(severity, kind, subject, what, remedy.trim()))
        }
        (_, "suspect") => {
            let what = format!("suspected for {}{cause}", span(ago));
            Some(Finding::new(Severity::Warning, "member-suspect", subject, what, remedy.trim()))
        }
        _ => None,
    }
}

fn alone(own: &View) -> Option<Finding> {
    let others = own.members.iter().filter(|member| member.name != own.name());
    if others.filter(|member| member.status == "alive").count() > 0 {
        return None;
    }
    let (severity, what) = match own.members.len() {
        0 | 1 => (Severity::Note, "it has joined nobody: it is a cluster of its own"),
        _ => {
            (Severity::Error, "no other member is alive: all others fell at once, or this machine is cut off")
        }
    };
    let remedy = "'thane join ADDRESS' makes it join; -retry-join does so at every start. If it should have company, look at this machine's network and firewall.";
    Some(Finding::new(severity, "alone", own.name(), what, remedy))
}

fn tcp_only(own: &View) -> Vec<Finding> {
    let finding = |(name, addr): (&String, &String)| {
        let port = addr.rsplit(':').next().unwrap_or_default();
        Finding::new(
            Severity::Warning,
            "udp-blocked",
            format!("{name} ({addr})"),
            format!("it answers {} over TCP but not over UDP", own.name()),
            format!(
                "Open UDP port {port} between the two machines, both ways. Gossip and probes need it; TCP alone keeps a member only just alive."
            ),
        )
    };
    own.section("tcp_only").iter().map(finding).collect()
}

/// Members that speak different versions. All understand each other, or they would not be in one cluster.
fn versions(own: &View) -> Option<Finding> {
    let mut speakers: BTreeMap<(u8, u8), Vec<&str>> = BTreeMap::new();
    for member in own.members.iter().filter(|member| member.status == "alive") {
        let [_, _, protocol, _, _, serf] = member.versions;
        speakers.entry((protocol, serf)).or_default().push(&member.name);
    }
    if speakers.len() < 2 {
        return None;
    }
    let groups = speakers.iter().map(|((protocol, serf), names)| {
        format!("memberlist {protocol} with Serf {serf}: {} ({})", names.len(), some_of(names))
    });
    let what = format!(
        "members speak different versions of the protocols; {}",
        groups.collect::<Vec<_>>().join("; ")
    );
    let remedy = "That works during an upgrade. Afterwards raise -protocol where it is low, so that all can use what the newest offers.";
    Some(Finding::new(Severity::Note, "versions-differ", "cluster", what, remedy))
}

/// Enough of a key to tell it from others: a report goes into tickets and chats, where a key must not be.
fn abbreviated(key: &str) -> String {
    format!("{}...", key.chars().take(KEY_CHARS).collect::<String>())
}

fn keys(own: &View) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !own.is_encrypted() {
        return findings;
    }
    let failure = own.text("health", "keys_failure");
    if !failure.is_empty() {
        let remedy =
            "'thane keys -list' asks again; a member that does not answer is named by 'thane reachability'.";
        findings.push(Finding::new(Severity::Warning, "keys-unknown", "key ring", failure, remedy));
        return findings;
    }
    let (asked, answered) = (own.number("health", "keys_asked"), own.number("health", "keys_answered"));
    if answered < asked {
        let what = format!("{} of {asked} members did not tell their keys", asked - answered);
        let remedy = "Change no key until all answer: a member that is silent may lack the new one. 'thane reachability' names who is silent.";
        findings.push(Finding::new(Severity::Warning, "keys-silent", "key ring", what, remedy));
    }
    for (name, message) in own.section("key_messages") {
        let remedy = "Look at the agent's log on that member.";
        findings.push(Finding::new(Severity::Warning, "keys-failure", name.clone(), message.clone(), remedy));
    }
    for (key, count) in own.section("keys") {
        let count: u64 = count.parse().unwrap_or(0);
        if count < answered {
            let what = format!("{count} of {answered} members have this key");
            let remedy = "Finish the rotation: 'thane keys -list' shows the whole key, 'thane keys -install KEY' gives it to all, 'thane keys -remove KEY' takes it from all. Members without a common key cannot talk.";
            let subject = format!("key {}", abbreviated(key));
            findings.push(Finding::new(Severity::Error, "key-coverage", subject, what, remedy));
        }
    }
    let primary = own.section("primary_keys");
    if primary.len() > 1 {
        let groups: Vec<String> =
            primary.iter().map(|(key, count)| format!("{} by {count}", abbreviated(key))).collect();
        let what = format!("members seal with different keys: {}", groups.join(", "));
        let remedy = "Choose one that all have and say 'thane keys -use KEY'.";
        findings.push(Finding::new(Severity::Warning, "primary-keys-differ", "key ring", what, remedy));
    }
    findings
}

/// Where two agents see the cluster differently.
fn differences(own: &View, peer: &View) -> Vec<Finding> {
    let by_name = |view: &View| -> BTreeMap<String, Member> {
        view.members.iter().map(|member| (member.name.clone(), member.clone())).collect()
    };
    let (ours, theirs) = (by_name(own), by_name(peer));
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let (a, b) = (own.name(), peer.name());
    let mut findings = Vec::new();
    if !ours.contains_key(b) && !theirs.contains_key(a) {
        let what = format!("{a} and {b} do not know each other: they are in different clusters");
        let remedy = format!(
            "'thane join' one to the other if they belong together. {} or {} may be the wrong address.",
            own.rpc_addr, peer.rpc_addr
        );
        findings.push(Finding::new(Severity::Error, "views-differ", format!("{a} and {b}"), what, remedy));
        return findings;
    }
    for name in names {
        let what = match (ours.get(name), theirs.get(name)) {
            (Some(our), Some(their)) if our.status != their.status => {
                format!("{a} holds it for {}, {b} for {}", our.status, their.status)
            }
            (Some(our), Some(their)) if (ip_of(our), our.port) != (ip_of(their), their.port) => {
                format!("{a} has it at {}, {b} at {}", address(our), address(their))
            }
            (Some(our), Some(their)) if our.tags != their.tags => {
                format!("{a} and {b} know different tags of it")
            }
            (Some(our), None) if our.status == "alive" => {
                format!("{a} holds it for alive, {b} does not know it")
            }
            (None, Some(their)) if their.status == "alive" => {
                format!("{b} holds it for alive, {a} does not know it")
            }
            // One of the two forgets earlier those who are gone.
            _ => continue,
        };
        let remedy = format!(
            "News takes some seconds to spread: look again. If it stays, compare 'thane explain {name}' with -rpc-addr of both; a partition or a one-way firewall is likely."
        );
        findings.push(Finding::new(Severity::Warning, "views-differ", name.clone(), what, remedy));
    }
    findings
}

fn clocks(own: &View, peer: &View) -> Option<Finding> {
    let apart = peer.clock_ahead_ms.saturating_sub(own.clock_ahead_ms);
    if apart.abs() <= CLOCKS_APART_MS {
        return None;
    }
    let way = if apart > 0 { "ahead of" } else { "behind" };
    let by = span(Duration::from_millis(apart.unsigned_abs()));
    let what = format!("its wall clock is {by} {way} that of {}", own.name());
    let remedy = "The protocol does not mind, but log lines and 'explain' of the two do not fit together. Look at NTP there.";
    Some(Finding::new(Severity::Note, "clocks-differ", peer.name(), what, remedy))
}

fn address(member: &Member) -> String {
    ip_of(member).map_or_else(|| "?".to_owned(), |ip| std::net::SocketAddr::new(ip, member.port).to_string())
}

fn some_of(names: &[&str]) -> String {
    let shown = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED_MAX { format!("{shown}, ...") } else { shown }
}
