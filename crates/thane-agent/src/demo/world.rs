//! What the three agents are, and what they have said so far.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::ports::Ports;
use super::watch::Word;
use crate::client::EventName;

/// Events that are remembered for the feed.
const FEED_LINES_MAX: usize = 100;

/// How an agent is started.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Its name.
    pub(super) name: &'static str,
    /// Its tags.
    pub(super) tags: &'static [(&'static str, &'static str)],
    /// Its ports on 127.0.0.1.
    pub(super) ports: Ports,
}

impl Plan {
    /// Where its peers find it.
    pub(super) fn gossip_address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.ports.gossip)
    }

    /// Where its clients find it.
    pub(super) fn rpc_address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.ports.rpc)
    }
}

/// A member's condition as one agent sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sight {
    /// The agent does not run, or does not know the member.
    Nothing,
    /// Fine.
    Alive,
    /// Leaving on its own account.
    Leaving,
    /// Gone on its own account.
    Left,
    /// Accused of having failed.
    Suspect,
    /// Taken for failed.
    Failed,
}

impl Sight {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Nothing => "-",
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Suspect => "suspect",
            Self::Failed => "failed",
        }
    }

    fn of_status(status: &str) -> Self {
        match status {
            "alive" => Self::Alive,
            "leaving" => Self::Leaving,
            "left" => Self::Left,
            "failed" => Self::Failed,
            _ => Self::Nothing,
        }
    }
}

/// One line of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// When, since the beginning.
    pub(super) at: Duration,
    /// The number of the agent that saw it.
    pub(super) by: usize,
    /// What.
    pub(super) what: Happening,
}

/// What an agent saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happening {
    /// Something happened to a member.
    Member {
        /// What.
        event: EventName,
        /// To whom.
        member: String,
        /// Who says so, of an accusation.
        accuser: Option<String>,
    },
    /// A user event.
    User {
        /// Its name.
        name: String,
        /// Its payload.
        payload: String,
    },
}

impl Happening {
    /// The sentence for it.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::User { name, payload } => format!("user event '{name}' with '{payload}'"),
            Self::Member { event, member, accuser } => match event {
                EventName::MemberJoin => format!("{member} joined"),
                EventName::MemberLeave => format!("{member} left"),
                EventName::MemberFailed => format!("{member} failed"),
                EventName::MemberUpdate => format!("{member} changed"),
                EventName::MemberReap => format!("{member} was forgotten"),
                EventName::MemberSuspect => match accuser {
                    Some(accuser) => format!("{member} is suspected to have failed, by {accuser}"),
                    None => format!("{member} is suspected to have failed"),
                },
                other => format!("{member}: {other}"),
            },
        }
    }
}

/// One agent, and what it sees.
#[derive(Debug)]
struct AgentView {
    plan: Plan,
    /// How often it was started.
    life: u32,
    /// Whether its RPC has answered in this life.
    has_answered: bool,
    /// Statuses by name, as it lists them.
    statuses: BTreeMap<String, Sight>,
    /// How its process ended, if it has.
    end: Sight,
    /// Whom it takes for suspect; a member's list of statuses does not tell.
    suspects: Vec<String>,
}

/// The three agents and everything they said.
#[derive(Debug)]
pub(super) struct World {
    agents: Vec<AgentView>,
    feed: VecDeque<Seen>,
    /// How many lines ever were in the feed.
    feed_count: usize,
    answers: BTreeMap<u32, Result<(), String>>,
}

impl World {
    /// The world before anything runs.
    pub(super) fn new(plans: Vec<Plan>) -> Self {
        let view = |plan| AgentView {
            plan,
            life: 0,
            has_answered: false,
            end: Sight::Nothing,
            statuses: BTreeMap::new(),
            suspects: Vec::new(),
        };
        Self {
            agents: plans.into_iter().map(view).collect(),
            feed: VecDeque::new(),
            feed_count: 0,
            answers: BTreeMap::new(),
        }
    }

    /// The numbers of all agents.
    pub(super) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.agents.len()
    }

    /// How an agent is started.
    pub(super) fn plan(&self, agent: usize) -> &Plan {
        &self.agents[agent].plan
    }

    /// An agent's name.
    pub(super) fn name(&self, agent: usize) -> &'static str {
        self.agents[agent].plan.name
    }

    /// An agent begins another life; gives its number.
    pub(super) fn begin_life(&mut self, agent: usize) -> u32 {
        self.end_life(agent, Sight::Nothing);
        self.agents[agent].life += 1;
        self.agents[agent].life
    }

    /// An agent's process has ended in this way: what it saw, nobody sees any longer.
    pub(super) fn end_life(&mut self, agent: usize, end: Sight) {
        self.forget(agent);
        self.agents[agent].end = end;
    }

    fn forget(&mut self, agent: usize) {
        let view = &mut self.agents[agent];
        view.has_answered = false;
        view.statuses.clear();
        view.suspects.clear();
    }

    /// Whether the agent's RPC has answered since it was started.
    pub(super) fn has_answered(&self, agent: usize) -> bool {
        self.agents[agent].has_answered
    }

    /// Takes an agent's word, at a time since the beginning. Gives the line that it adds to the feed.
    pub(super) fn hear(&mut self, agent: usize, life: u32, word: Word, at: Duration) -> Option<Seen> {
        let view = &mut self.agents[agent];
        if view.life != life {
            return None;
        }
        let what = match word {
            Word::Gone => {
                self.forget(agent);
                return None;
            }
            Word::Members(members) => {
                view.has_answered = true;
                view.statuses = members
                    .into_iter()
                    .map(|member| (member.name, Sight::of_status(&member.status)))
                    .collect();
                return None;
            }
            Word::Member { event, member, by } => {
                view.suspects.retain(|suspect| *suspect != member);
                if event == EventName::MemberSuspect {
                    view.suspects.push(member.clone());
                }
                Happening::Member { event, member, accuser: by }
            }
            Word::User { name, payload } => Happening::User { name, payload },
        };
        let seen = Seen { at, by: agent, what };
        if self.feed.len() == FEED_LINES_MAX {
            self.feed.pop_front();
        }
        self.feed.push_back(seen.clone());
        self.feed_count += 1;
        Some(seen)
    }

    /// Keeps the answer to a request.
    pub(super) fn keep_answer(&mut self, request: u32, result: Result<(), String>) {
        self.answers.insert(request, result);
    }

    /// The answer to a request, once it is there.
    pub(super) fn answer(&self, request: u32) -> Option<&Result<(), String>> {
        self.answers.get(&request)
    }

    /// The status under which `observer` lists `member`; nobody is listed as suspect.
    pub(super) fn status(&self, observer: usize, member: usize) -> Sight {
        self.agents[observer].statuses.get(self.name(member)).copied().unwrap_or(Sight::Nothing)
    }

    /// How `observer` sees `member`: its status, and suspicion where it was told of one.
    pub(super) fn sight(&self, observer: usize, member: usize) -> Sight {
        let name = self.name(member);
        match self.status(observer, member) {
            Sight::Alive if self.agents[observer].suspects.iter().any(|suspect| suspect == name) => {
                Sight::Suspect
            }
            sight => sight,
        }
    }

    /// What is to be said of a member when only one word may be: the worst that anybody sees, or how it ended where
    /// nobody is left to see it.
    pub(super) fn worst_sight(&self, member: usize) -> Sight {
        let worst = self.numbers().map(|observer| self.sight(observer, member)).max();
        worst.filter(|sight| *sight != Sight::Nothing).unwrap_or(self.agents[member].end)
    }

    /// A place in the feed, to look only at what comes after.
    pub(super) fn mark(&self) -> usize {
        self.feed_count
    }

    /// What was seen since the mark, oldest first.
    pub(super) fn since(&self, mark: usize) -> impl Iterator<Item = &Seen> {
        let dropped = self.feed_count - self.feed.len();
        self.feed.iter().skip(mark.saturating_sub(dropped))
    }

    /// Whether `observer` was told of this event of `member` since the mark.
    pub(super) fn was_told(&self, mark: usize, observer: usize, event: &EventName, member: usize) -> bool {
        let name = self.name(member);
        self.since(mark).any(|seen| {
            seen.by == observer
                && matches!(&seen.what, Happening::Member { event: found, member, .. } if found == event && member == name)
        })
    }

    /// The last lines of the feed, oldest first.
    pub(super) fn last_seen(&self, lines: usize) -> impl Iterator<Item = &Seen> {
        self.feed.iter().skip(self.feed.len().saturating_sub(lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Member;

    fn world() -> World {
        let plan = |name| Plan { name, tags: &[], ports: Ports { gossip: 1, rpc: 2 } };
        let mut world = World::new(vec![plan("a"), plan("b")]);
        for agent in world.numbers() {
            assert_eq!(world.begin_life(agent), 1);
        }
        world
    }

    fn members(statuses: &[(&str, &str)]) -> Word {
        let member = |(name, status): &(&str, &str)| Member {
            name: (*name).into(),
            status: (*status).into(),
            ..Member::default()
        };
        Word::Members(statuses.iter().map(member).collect())
    }

    fn happens(event: EventName, member: &str, by: Option<&str>) -> Word {
        Word::Member { event, member: member.to_owned(), by: by.map(String::from) }
    }

    #[test]
    fn suspicion_shows_until_something_else_is_heard_of_the_member() {
        let mut world = world();
        assert_eq!(world.sight(0, 1), Sight::Nothing);
        world.hear(0, 1, members(&[("a", "alive"), ("b", "alive")]), Duration::ZERO);
        assert_eq!(world.sight(0, 1), Sight::Alive);
        let mark = world.mark();
        let seen =
            world.hear(0, 1, happens(EventName::MemberSuspect, "b", Some("a")), Duration::ZERO).unwrap();
        assert_eq!(seen.what.sentence(), "b is suspected to have failed, by a");
        assert_eq!((world.sight(0, 1), world.worst_sight(1)), (Sight::Suspect, Sight::Suspect));
        assert!(world.was_told(mark, 0, &EventName::MemberSuspect, 1));
        assert!(!world.was_told(mark, 1, &EventName::MemberSuspect, 1));
        assert!(!world.was_told(world.mark(), 0, &EventName::MemberSuspect, 1));
        world.hear(0, 1, members(&[("a", "alive"), ("b", "failed")]), Duration::ZERO);
        assert_eq!(world.sight(0, 1), Sight::Failed);
        world.hear(0, 1, happens(EventName::MemberJoin, "b", None), Duration::ZERO);
        world.hear(0, 1, members(&[("a", "alive"), ("b", "alive")]), Duration::ZERO);
        assert_eq!(world.worst_sight(1), Sight::Alive);
    }

    #[test]
    fn news_of_an_earlier_life_are_not_believed() {
        let mut world = world();
        world.begin_life(0);
        world.hear(0, 1, members(&[("a", "alive")]), Duration::ZERO);
        assert!(!world.has_answered(0));
        assert_eq!(world.hear(0, 1, happens(EventName::MemberJoin, "b", None), Duration::ZERO), None);
        world.hear(0, 2, members(&[("a", "alive")]), Duration::ZERO);
        assert!(world.has_answered(0));
        assert_eq!(world.worst_sight(0), Sight::Alive);
        world.hear(0, 2, Word::Gone, Duration::ZERO);
        assert!(!world.has_answered(0) && world.worst_sight(0) == Sight::Nothing);
        world.end_life(0, Sight::Left);
        assert_eq!(world.worst_sight(0), Sight::Left);
    }

    #[test]
    fn the_feed_is_bounded_and_marks_stay_true() {
        let mut world = world();
        for count in 0..FEED_LINES_MAX + 5 {
            let name = count.to_string();
            world.hear(0, 1, Word::User { name, payload: String::new() }, Duration::ZERO);
        }
        let mark = world.mark();
        assert_eq!(world.since(0).count(), FEED_LINES_MAX);
        world.hear(1, 1, happens(EventName::MemberJoin, "a", None), Duration::ZERO);
        assert_eq!(world.since(mark).count(), 1);
        assert_eq!(world.last_seen(3).count(), 3);
    }
}
