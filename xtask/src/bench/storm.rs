//! Members that are stopped and starved at random while nobody dies: each failure told is a false alarm.

use super::Cluster;
use crate::{
    herd::{News, failed, name},
    process::Signals,
};
use anyhow::Result;
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};
use thane_sim::SimRng;

/// The shortest and the longest spell.
const SPELLS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// From the beginning of one spell to that of the next.
const SPELL_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whose turn it is to run; a starved member runs so long at a time.
const TICK: Duration = Duration::from_millis(25);
/// A starved member runs in one of so many ticks.
const STARVED_TICKS: u32 = 10;
/// What is under way at the end may still come to a verdict.
const AFTERMATH: Duration = Duration::from_secs(15);
/// A member that is told failed by one and again by another within this time is one false alarm.
const ONE_ALARM: Duration = Duration::from_secs(10);

/// What was done to one member of each cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spell {
    pub(super) victim: usize,
    /// It runs a little at a time. Otherwise it is stopped.
    pub(super) starved: bool,
    from: Instant,
    until: Instant,
}

/// A member that lived and was told failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alarm {
    pub(super) victim: usize,
    /// Who told it first.
    pub(super) judge: usize,
    /// How many members told it.
    pub(super) told_by: usize,
    /// The spell under which the victim was at that moment, and for how long it had been.
    pub(super) spell: Option<(Spell, Duration)>,
    /// Whether the judge was under a spell, or had been within the last seconds.
    pub(super) judge_was_sick: bool,
}

/// Casts spells for as long as asked for, the same ones at the same times in each cluster, and counts the false alarms.
pub(super) fn rage(clusters: &mut [Cluster], storm: Duration, rng: &mut SimRng) -> Result<Vec<Spell>> {
    for cluster in clusters.iter_mut() {
        cluster.herd.take_news();
    }
    let agents = clusters[0].herd.len();
    let mut signals = Signals::start()?;
    let (started, mut next) = (Instant::now(), Instant::now());
    let (mut active, mut all): (Vec<Spell>, Vec<Spell>) = (Vec::new(), Vec::new());
    let mut stopped: BTreeSet<usize> = BTreeSet::new();
    let mut tick = 0;
    loop {
        let now = Instant::now();
        active.retain(|spell| spell.until > now);
        if now.duration_since(started) < storm && now >= next {
            next += SPELL_EVERY;
            let (victim, starved) = (rng.below(agents), rng.below(2) == 0);
            let until = now + rng.span(SPELLS.0, SPELLS.1);
            if !active.iter().any(|spell| spell.victim == victim) {
                let spell = Spell { victim, starved, from: now, until };
                active.push(spell);
                all.push(spell);
            }
        }
        let runs =
            |spell: &&Spell| !spell.starved || !(tick + spell.victim as u32).is_multiple_of(STARVED_TICKS);
        let wanted: BTreeSet<usize> = active.iter().filter(runs).map(|spell| spell.victim).collect();
        for victim in wanted.symmetric_difference(&stopped) {
            let signal = if wanted.contains(victim) { "STOP" } else { "CONT" };
            signals.send(signal, clusters.iter().filter_map(|cluster| cluster.herd.pid(*victim)))?;
        }
        stopped = wanted;
        if active.is_empty() && now.duration_since(started) >= storm {
            break;
        }
        tick += 1;
        thread::sleep(TICK);
    }
    thread::sleep(AFTERMATH);
    for cluster in clusters.iter_mut() {
        let news = cluster.herd.take_news();
        cluster.alarms = alarms(&news, agents, &all);
    }
    Ok(all)
}

/// The false alarms among these news.
fn alarms(news: &[News], agents: usize, spells: &[Spell]) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    for victim in 0..agents {
        let what = failed(victim);
        let mut told: Vec<&News> = news.iter().filter(|it| it.what == what).collect();
        told.sort_unstable_by_key(|it| it.at);
        for same in told.chunk_by(|one, next| next.at.duration_since(one.at) < ONE_ALARM) {
            let (first, at) = (same[0].agent, same[0].at);
            let under = |agent, margin| {
                let under =
                    |spell: &&Spell| spell.victim == agent && spell.from <= at && at <= spell.until + margin;
                spells.iter().find(under)
            };
            alarms.push(Alarm {
                victim,
                judge: first,
                told_by: same.len(),
                spell: under(victim, Duration::ZERO).map(|spell| (*spell, at.duration_since(spell.from))),
                judge_was_sick: under(first, ONE_ALARM).is_some(),
            });
        }
    }
    alarms
}

impl std::fmt::Display for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} told failed by {}", name(self.victim), name(self.judge))?;
        if self.judge_was_sick {
            f.write_str(" (sick itself)")?;
        }
        write!(f, " and {} more, ", self.told_by - 1)?;
        match self.spell {
            Some((spell, after)) => {
                let how = if spell.starved { "starved" } else { "stopped" };
                write!(f, "{how} for {:.1} s", after.as_secs_f64())
            }
            None => f.write_str("well"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::herd::What;

    #[test]
    fn what_many_tell_of_one_member_is_one_alarm() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let news = |agent, victim, seconds| News { at: at(seconds), agent, what: What::Failed(name(victim)) };
        let spells = [Spell { victim: 1, starved: false, from: at(1), until: at(9) }];
        let told = [news(2, 1, 7), news(3, 1, 8), news(2, 1, 40), news(1, 0, 12)];
        let alarms = alarms(&told, 4, &spells);
        let of = |it: &Alarm| (it.victim, it.judge, it.told_by, it.spell.map(|(_, after)| after.as_secs()));
        let found: Vec<_> = alarms.iter().map(of).collect();
        assert_eq!(found, [(0, 1, 1, None), (1, 2, 2, Some(6)), (1, 2, 1, None)]);
        assert!(alarms[0].judge_was_sick && !alarms[1].judge_was_sick);
    }
}
