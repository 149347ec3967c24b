//! What an agent's log may hold after a story.

/// Warnings that say nothing about what a peer sent.
const ALWAYS_FINE: [&str; 5] = [
    "[WARN] serf: Shutdown without a Leave",
    "[WARN] agent: Serf shutdown detected, quitting",
    // A busy machine, or one that was suspended.
    HELD_UP,
    " slow, execution exceeding 1s",
    // An agent that was just about to send when it closed its socket and ended.
    "use of closed network connection",
];

/// What an agent says that was suspended, or that a busy machine held up.
const HELD_UP: &str = "[WARN] memberlist: this node did not run for ";

/// What the agents of a cluster say of each other when one of them was held up.
const AFTER_HOLD_UP: [&str; 4] = [
    "[ERR] memberlist: Failed fallback ping: ",
    "[WARN] memberlist: Refuting a suspect message",
    "[WARN] memberlist: Was able to connect to ",
    "[WARN] memberlist: answering a suspicion by ",
];

/// What is to be tolerated in all logs of a cluster because of what is in this one.
pub(crate) fn tolerated_with(log: &str) -> &'static [&'static str] {
    if log.contains(HELD_UP) { &AFTER_HOLD_UP } else { &[] }
}

/// What both say when a member they talk to is gone or paused, or when others thought so of them.
pub(crate) const LOST_MEMBERS: [&str; 12] = [
    "[ERR] memberlist: Failed fallback ping: ",
    "[ERR] memberlist: Push/Pull with ",
    "[ERR] memberlist: Failed to send indirect ping",
    "[WARN] memberlist: Refuting a suspect message",
    "[WARN] memberlist: Refuting a dead message",
    "[WARN] memberlist: Failed to send ",
    "[WARN] memberlist: Was able to connect to ",
    "connect: connection refused",
    "connection reset by peer",
    "failed: no answer within ",
    "[WARN] memberlist: answering a suspicion by ",
    "[WARN] memberlist: answering a death notice by ",
];

/// The warnings and errors in `log` that nothing in `tolerated` explains.
pub(crate) fn complaints<'a>(log: &'a str, tolerated: &[String]) -> Vec<&'a str> {
    log.lines()
        .filter(|line| line.contains("[WARN]") || line.contains("[ERR]"))
        .filter(|line| !ALWAYS_FINE.iter().any(|fine| line.contains(fine)))
        .filter(|line| !tolerated.iter().any(|fine| line.contains(fine.as_str())))
        .collect()
}
