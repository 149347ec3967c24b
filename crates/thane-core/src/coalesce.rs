//! Holds events back for a while, to tell many of them as one: what Serf's agent does before it runs handlers.
//!
//! There are two stages, each with its own [`Periods`]: one for what happens to members, one for user events whose sender allows it.
//! Everything else passes at once, and so may overtake what is held. Like [`crate::Node`], the coalescer reads no clock and owns no
//! timer.
//!
//! Source: Serf `coalesce.go`, `coalesce_member.go`, `coalesce_user.go`.

mod members;
#[cfg(test)]
mod tests;
mod user;

use std::collections::VecDeque;
use std::time::Duration;

use self::members::MemberStage;
use self::user::UserStage;
use crate::event::{Change, Event, UserEvent};
use crate::time::Time;

/// How long events are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// From the first event that is held: at the latest then all are told.
    pub coalesce: Duration,
    /// From the last event that is held: as soon as nothing came for so long, all are told.
    pub quiescent: Duration,
}

impl Periods {
    /// Those of Serf's agent: 3 s and 1 s.
    pub const AGENT: Self = Self { coalesce: Duration::from_secs(3), quiescent: Duration::from_secs(1) };
}

/// Which events are held, and how long. A stage without periods, or with one of them zero, passes everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoalesceConfig {
    /// For members that join, leave, fail, change or are forgotten.
    pub members: Option<Periods>,
    /// For user events whose sender allows it.
    pub user: Option<Periods>,
}

/// What happened to members. In this order they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberEventKind {
    /// [`Event::Joined`]
    Join,
    /// [`Event::Left`]
    Leave,
    /// [`Event::Failed`]
    Failed,
    /// [`Event::Updated`]
    Update,
    /// [`Event::Reaped`]
    Reap,
}

/// An event as the coalescer sorts it.
///
/// The coalescer takes whatever becomes one of these, and hands back what it does not hold as it came.
#[derive(Debug, Clone, PartialEq)]
pub enum Coalescable<E> {
    /// For the stage of members.
    Member(MemberEventKind, Change),
    /// For the stage of user events, if its sender allows it.
    User(UserEvent),
    /// Passes at once.
    Other(E),
}

impl From<Event> for Coalescable<Event> {
    fn from(event: Event) -> Self {
        match event {
            Event::Joined(change) => Self::Member(MemberEventKind::Join, change),
            Event::Left(change) => Self::Member(MemberEventKind::Leave, change),
            Event::Failed(change) => Self::Member(MemberEventKind::Failed, change),
            Event::Updated(change) => Self::Member(MemberEventKind::Update, change),
            Event::Reaped(change) => Self::Member(MemberEventKind::Reap, change),
            Event::User(event) => Self::User(event),
            other => Self::Other(other),
        }
    }
}

/// What comes out of the coalescer.
#[derive(Debug, Clone, PartialEq)]
pub enum CoalescedEvent<E = Event> {
    /// The same happened to these members. At most one for each name, by name.
    Members {
        /// What.
        kind: MemberEventKind,
        /// To whom, and why; never empty.
        changes: Vec<Change>,
    },
    /// A user event.
    User(UserEvent),
    /// An event of another kind, as it came.
    Pass(E),
}

/// Both stages, one behind the other.
///
/// ```
/// use std::time::Duration;
/// use thane_core::{CoalesceConfig, CoalescedEvent, Coalescer, Config, Event, Node, Output, Periods, Seed, Time};
///
/// let mut node = Node::new(Config::lan("a", "127.0.0.1:7946".parse().unwrap()), Seed::from(7), Time::ZERO).unwrap();
/// let mut coalescer: Coalescer =
///     Coalescer::new(CoalesceConfig { members: Some(Periods::AGENT), user: Some(Periods::AGENT) });
/// while let Some(output) = node.poll_output() {
///     if let Output::Event(event) = output {
///         coalescer.push(Time::ZERO, event);
///     }
/// }
/// assert_eq!(coalescer.poll(Time::ZERO), None, "the join is held");
/// let then = coalescer.poll_timeout();
/// assert_eq!(then, Time::ZERO + Duration::from_secs(1));
/// assert!(matches!(coalescer.poll(then), Some(CoalescedEvent::Members { .. })));
/// ```
#[derive(Debug)]
pub struct Coalescer<E = Event> {
    members: Option<(Window, MemberStage)>,
    user: Option<(Window, UserStage)>,
    ready: VecDeque<CoalescedEvent<E>>,
}

impl<E> Coalescer<E> {
    /// A coalescer that holds nothing yet.
    pub fn new(config: CoalesceConfig) -> Self {
        Self {
            members: Window::new(config.members).map(|window| (window, MemberStage::default())),
            user: Window::new(config.user).map(|window| (window, UserStage::default())),
            ready: VecDeque::new(),
        }
    }

    /// Takes an event. Take what is ready with [`Coalescer::poll`] afterwards.
    pub fn push(&mut self, now: Time, event: impl Into<Coalescable<E>>) {
        self.flush_due(now);
        match event.into() {
            Coalescable::Member(kind, change) => match &mut self.members {
                Some((window, stage)) => {
                    window.hold(now);
                    if stage.hold(kind, change) == Room::Full {
                        window.due_now(now);
                    }
                }
                None => self.ready.push_back(CoalescedEvent::Members { kind, changes: vec![change] }),
            },
            Coalescable::User(event) => match &mut self.user {
                Some((window, stage)) if event.coalesce => {
                    window.hold(now);
                    if stage.hold(event) == Room::Full {
                        window.due_now(now);
                    }
                }
                _ => self.ready.push_back(CoalescedEvent::User(event)),
            },
            Coalescable::Other(event) => self.ready.push_back(CoalescedEvent::Pass(event)),
        }
    }

    /// The next event to tell, if there is one by now. Poll until there is none.
    pub fn poll(&mut self, now: Time) -> Option<CoalescedEvent<E>> {
        self.flush_due(now);
        self.ready.pop_front()
    }

    /// When [`Coalescer::poll`] has something next without any more events; [`Time::NEVER`] while nothing is held. What is ready
    /// already is not counted.
    pub fn poll_timeout(&self) -> Time {
        let members = self.members.as_ref().map_or(Time::NEVER, |(window, _)| window.due);
        let user = self.user.as_ref().map_or(Time::NEVER, |(window, _)| window.due);
        members.min(user)
    }

    /// Makes everything ready that is held: at the end, nothing is lost.
    pub fn flush(&mut self) {
        self.flush_due(Time::NEVER);
    }

    fn flush_due(&mut self, now: Time) {
        if let Some((window, stage)) = &mut self.user
            && window.ends(now)
        {
            self.ready.extend(stage.flush().map(CoalescedEvent::User));
        }
        if let Some((window, stage)) = &mut self.members
            && window.ends(now)
        {
            self.ready.extend(stage.flush().map(|(kind, changes)| CoalescedEvent::Members { kind, changes }));
        }
    }
}

/// Whether a stage takes more events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Some,
    Full,
}

/// The time from the first event that is held until all are told.
#[derive(Debug)]
struct Window {
    periods: Periods,
    /// The end at the latest; `None` while nothing is held.
    latest: Option<Time>,
    /// When it ends as things are.
    due: Time,
}

impl Window {
    fn new(periods: Option<Periods>) -> Option<Self> {
        let periods =
            periods.filter(|periods| !periods.coalesce.is_zero() && !periods.quiescent.is_zero())?;
        Some(Self { periods, latest: None, due: Time::NEVER })
    }

    fn hold(&mut self, now: Time) {
        let latest = *self.latest.get_or_insert(now + self.periods.coalesce);
        self.due = latest.min(now + self.periods.quiescent);
    }

    fn due_now(&mut self, now: Time) {
        self.due = now;
    }

    /// Whether it is over by now. If so, the next one begins with the next event.
    fn ends(&mut self, now: Time) -> bool {
        let ends = self.latest.is_some() && now >= self.due;
        if ends {
            self.latest = None;
            self.due = Time::NEVER;
        }
        ends
    }
}
