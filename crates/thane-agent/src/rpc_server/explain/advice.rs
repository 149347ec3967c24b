//! What to look at next, by what is known.

use thane::{Cause, Evidence, Member, ProbeFailure, State, Status, TcpProbe};

/// Short sentences, the most useful one first; none for a member that is simply alive.
pub(super) fn advice(member: &Member, evidence: &[Evidence], health: u32, own: &str) -> Vec<String> {
    let mut advice = match (member.status, member.state) {
        (_, State::Suspect) | (Status::Failed, _) => unreachable(member, evidence, own),
        (Status::Leaving, _) => vec![format!(
            "{} has announced that it leaves. If it stays so for minutes it was ended before it was done: 'thane force-leave {}' settles it.",
            member.name, member.name
        )],
        (Status::Left, _) => left(member, evidence),
        (Status::Alive, _) => alive(member, evidence, own),
    };
    if health > 0 {
        advice.push(format!(
            "{own} itself is not well (health score {health}): it may be the one in trouble. Ask another agent too, with -rpc-addr."
        ));
    }
    advice
}

/// Of a member that is suspect or failed.
fn unreachable(member: &Member, evidence: &[Evidence], own: &str) -> Vec<String> {
    let (name, addr) = (&member.name, member.addr);
    // Only a member that answers too seldom is failed while the detector finds it alive.
    let is_there = member.status == Status::Failed && matches!(member.state, State::Alive | State::Suspect);
    let found = evidence.iter().rev().find_map(|piece| match &piece.cause {
        Cause::Unsteady { by } => Some(by),
        _ => None,
    });
    if let Some(by) = found.filter(|_| is_there) {
        return vec![format!(
            "{name} lives, but {} found that most pings to {addr} are lost: look at its network card, its line and its firewall, in both directions.",
            by.join(", ")
        )];
    }
    // Only what happened since it was last alive counts.
    let recent = evidence.iter().rev().take_while(|piece| piece.state != State::Alive);
    if recent.clone().any(|piece| matches!(piece.cause, Cause::Refused { .. })) {
        return vec![refused(addr)];
    }
    let probe = recent.clone().find_map(|piece| match &piece.cause {
        Cause::ProbeFailed(failure) => Some(failure),
        _ => None,
    });
    let accuser = recent.clone().find_map(|piece| match &piece.cause {
        Cause::DeclaredDead { by, .. } | Cause::Accused { by, .. } => Some(by.clone()),
        _ => None,
    });
    match (probe, accuser) {
        (Some(failure), _) => by_probe(failure, name, addr),
        (None, Some(by)) => vec![format!(
            "{own} did not find this out itself: ask {by} as well ('thane explain {name}' with -rpc-addr of {by}), it knows what its probe tried."
        )],
        (None, None) => {
            vec![format!("Look whether the process of {name} runs and {addr} is open for UDP and TCP.")]
        }
    }
}

fn refused(addr: std::net::SocketAddr) -> String {
    format!(
        "TCP to {addr} was refused: the machine lives and the process is gone, or listens elsewhere. Look there why it ended, and start it."
    )
}

fn by_probe(failure: &ProbeFailure, name: &str, addr: std::net::SocketAddr) -> Vec<String> {
    let mut advice = vec![match failure.tcp {
        TcpProbe::Refused => refused(addr),
        TcpProbe::NoAnswer => format!(
            "Neither UDP nor TCP at {addr} answered: the machine is down or cut off, or the process hangs (stopped, swapped out). \
             Ping the machine; if it answers, look at the process there (state T: stopped; D: waits for a disk)."
        ),
        TcpProbe::NotTried => {
            format!("Look whether the process of {name} runs and {addr} is open for UDP and TCP.")
        }
    }];
    if failure.relays.iter().any(|relay| relay.asked_to_nack && !relay.nacked) {
        advice.push(
            "Some of those who were asked said nothing: packets may be lost on the way, or they are in trouble too. \
             'thane doctor' looks for more."
                .to_owned(),
        );
    }
    advice
}

fn left(member: &Member, evidence: &[Evidence]) -> Vec<String> {
    let forced = evidence.windows(2).any(|pair| {
        matches!(pair[1].cause, Cause::LeaveIntent { .. })
            && matches!(pair[0].state, State::Dead | State::Forgotten)
    });
    let name = &member.name;
    vec![if forced {
        format!("Somebody decided that {name} is gone for good. If it starts again it comes back by itself.")
    } else {
        format!(
            "It left in good order; nothing is to be done. Its agent is to be started again if {name} should come back."
        )
    }]
}

fn alive(member: &Member, evidence: &[Evidence], own: &str) -> Vec<String> {
    let refuted = evidence.windows(2).filter(|pair| {
        pair[1].state == State::Alive
            && (pair[0].state == State::Suspect || matches!(pair[1].cause, Cause::Refuted { .. }))
    });
    let came_back = evidence
        .windows(2)
        .filter(|pair| pair[1].state == State::Alive && pair[0].state == State::Dead)
        .count();
    let name = &member.name;
    match (refuted.count(), came_back) {
        (0, 0) => Vec::new(),
        (_, 1..) => vec![format!(
            "{name} was failed and came back. If nobody restarted it, look for pauses of its machine (load, swap, virtual machine) or a lossy network."
        )],
        (_, 0) => vec![if *own == **name {
            "Others accused this agent and it refuted: its answers come late or get lost. Look at this machine's load and network.".to_owned()
        } else {
            format!(
                "{name} was accused and refuted: its answers came late or got lost. Look at its load and at the network between, if that goes on."
            )
        }],
    }
}
