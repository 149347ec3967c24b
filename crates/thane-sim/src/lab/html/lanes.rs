//! The timeline of one member's suspicions, as lanes: one for each member that took part.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lab::report::Report;
use crate::lab::timeline::{Entry, EntryKind};

/// Lanes that are drawn.
const LANES_MAX: usize = 36;
/// Bars and dots of one lane.
const MARKS_MAX: usize = 200;

/// What is drawn.
#[derive(Debug, Serialize)]
pub(super) struct Lanes {
    #[serde(skip)]
    pub(super) title: String,
    #[serde(skip)]
    pub(super) entries: Vec<Entry>,
    from: f64,
    until: f64,
    #[serde(rename = "lanes")]
    each: Vec<Lane>,
    /// Members that took part and have no lane.
    more: usize,
}

#[derive(Debug, Default, Serialize)]
struct Lane {
    name: String,
    bars: Vec<Bar>,
    dots: Vec<Dot>,
}

/// A stretch of time in which the member was in one state for the one whose lane it is.
#[derive(Debug, Serialize)]
struct Bar {
    from: f64,
    until: f64,
    /// `up`, `down`, `suspected` or `failed`.
    what: &'static str,
    why: String,
}

/// A moment.
#[derive(Debug, Serialize)]
struct Dot {
    at: f64,
    what: &'static str,
    why: String,
}

impl Lanes {
    /// The same for one of two studies.
    pub(super) fn titled(self, study: &str) -> Self {
        Self { title: format!("{study}: {}", self.title), ..self }
    }
}

/// The timeline of a run, if anybody was suspected.
pub(super) fn lanes(report: &Report) -> Option<Lanes> {
    let timeline = report.timeline.as_ref()?;
    let first = timeline.entries.first()?.at;
    let last = timeline.entries.last()?.at;
    let room = ((last - first) * 0.05).max(0.5);
    let (from, until) = ((first - room).max(0.0), (last + room).min(report.seconds.max(last)));
    let mut order: Vec<&str> = vec![&timeline.member];
    let mut by_lane: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in &timeline.entries {
        let name = entry.seen_by.as_str();
        if !order.contains(&name) {
            order.push(name);
        }
        by_lane.entry(name).or_default().push(entry);
    }
    let more = order.len().saturating_sub(LANES_MAX);
    order.truncate(LANES_MAX);
    let lanes = order.iter().map(|name| {
        let entries = by_lane.get(name).map(Vec::as_slice).unwrap_or_default();
        let is_own = *name == timeline.member;
        lane(name, is_own, entries, from, until)
    });
    let each = lanes.collect();
    let title = format!("The suspicions of {}", timeline.member);
    Some(Lanes { title, entries: timeline.entries.clone(), from, until, each, more })
}

fn lane(name: &str, is_own: bool, entries: &[&Entry], from: f64, until: f64) -> Lane {
    let mut lane = Lane { name: name.to_owned(), ..Lane::default() };
    let mut open: Option<Bar> =
        is_own.then(|| Bar { from, until, what: "up", why: "its process runs".to_owned() });
    for entry in entries {
        if lane.bars.len() + lane.dots.len() >= MARKS_MAX {
            break;
        }
        let next = match entry.kind {
            EntryKind::Suspected => Some("suspected"),
            EntryKind::Failed => Some("failed"),
            EntryKind::Down => Some("down"),
            EntryKind::Up => Some("up"),
            EntryKind::Refuted | EntryKind::Back => None,
            EntryKind::Confirmed => {
                lane.dots.push(Dot { at: entry.at, what: "confirmed", why: entry.why.clone() });
                continue;
            }
        };
        if let Some(bar) = open.take() {
            lane.bars.push(Bar { until: entry.at, ..bar });
        }
        match next {
            Some(what) => open = Some(Bar { from: entry.at, until, what, why: entry.why.clone() }),
            None => lane.dots.push(Dot { at: entry.at, what: "refuted", why: entry.why.clone() }),
        }
    }
    lane.bars.extend(open);
    lane
}
