//! What an agent's log may hold after a story.

/// Warnings of Serf that say nothing about its peers.
const ALWAYS_FINE: [&str; 2] =
    ["[WARN] serf: Shutdown without a Leave", "[WARN] agent: Serf shutdown detected, quitting"];

/// What Serf says when a member it talks to is gone or paused, or when others thought so of Serf itself.
pub(crate) const LOST_MEMBERS: [&str; 7] = [
    "[ERR] memberlist: Failed fallback ping: ",
    "[ERR] memberlist: Push/Pull with ",
    "[ERR] memberlist: Failed to send indirect ping",
    "[WARN] memberlist: Refuting a suspect message",
    "[WARN] memberlist: Refuting a dead message",
    "[WARN] memberlist: Failed to send ",
    "[WARN] memberlist: Was able to connect to ",
];

/// The warnings and errors in `log` that nothing in `tolerated` explains.
pub(crate) fn complaints<'a>(log: &'a str, tolerated: &[String]) -> Vec<&'a str> {
    log.lines()
        .filter(|line| line.contains("[WARN]") || line.contains("[ERR]"))
        .filter(|line| !ALWAYS_FINE.iter().any(|fine| line.contains(fine)))
        .filter(|line| !tolerated.iter().any(|fine| line.contains(fine.as_str())))
        .collect()
}
