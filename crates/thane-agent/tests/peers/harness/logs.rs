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
const AFTER_HOLD_UP: [&str; 9] = [
    "[ERR] memberlist: Failed fallback ping: ",
    "[WARN] memberlist: Refuting a suspect message",
    "[WARN] memberlist: Was able to connect to ",
    "[WARN] memberlist: answering a suspicion by ",
    TIMEOUTS[0],
    TIMEOUTS[1],
    // The other side of an exchange that took too long.
    TIMEOUTS[2],
    TIMEOUTS[3],
    TIMEOUTS[4],
];

/// How an exchange ends for which one of the two was too slow: in the words of both programs, and of those who were not waited for.
const TIMEOUTS: [&str; 5] =
    ["i/o timeout", "no answer within ", ": EOF", "connection reset by peer", "the connection broke"];

/// How many complaints of each agent may come from others that were held up. Thane says so of itself, and then there may be any
/// number. Serf does not; but what is wrong with every ping or every exchange is told every second.
const AFTER_HOLD_UP_MAX: usize = 4;

/// Whether a command or an agent that ended tells of an exchange that took too long.
pub(crate) fn tells_of_a_timeout(said: &str) -> bool {
    TIMEOUTS.iter().any(|words| said.contains(words))
}

/// Whether an agent tells that it was held up.
pub(crate) fn tells_of_a_hold_up(log: &str) -> bool {
    log.contains(HELD_UP)
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

/// The warnings and errors in `log` that nothing in `tolerated` explains, nor that somebody in the cluster was held up, if that is
/// known or may be.
pub(crate) fn complaints(log: &str, tolerated: &[String], was_held_up: bool) -> Vec<String> {
    let has_any = |text: &str, fine: &[&str]| fine.iter().any(|fine| text.contains(fine));
    let (mut complaints, mut goes_on) = (Vec::<String>::new(), false);
    for line in log.lines().filter(|line| !line.is_empty()) {
        if has_any(line, &["[WARN]", "[ERR]"]) {
            complaints.push(line.to_owned());
            goes_on = true;
        } else if is_first(line) {
            goes_on = false;
        } else if goes_on && let Some(complaint) = complaints.last_mut() {
            // Why something failed may be in lines of its own.
            complaint.push('\n');
            complaint.push_str(line);
        }
    }
    complaints.retain(|complaint| {
        !has_any(complaint, &ALWAYS_FINE) && !tolerated.iter().any(|fine| complaint.contains(fine.as_str()))
    });
    let (by_luck, bad): (Vec<String>, Vec<String>) =
        complaints.into_iter().partition(|complaint| has_any(complaint, &AFTER_HOLD_UP));
    if was_held_up || by_luck.len() <= AFTER_HOLD_UP_MAX { bad } else { [bad, by_luck].concat() }
}

/// Whether a line of a log begins an entry: `2026/11/21 19:45:38 [INFO] agent: text`, with or without spaces before it.
fn is_first(line: &str) -> bool {
    line.trim_start().starts_with(|first: char| first.is_ascii_digit()) && line.contains(" [")
}
