//! What happens to the agents, one thing after the other, and what must hold meanwhile and afterwards.

use super::{
    Wishes,
    network::{self, Fault},
    witness::Witness,
};
use crate::{
    Outcome,
    herd::{Herd, What, failed, joined, name},
};
use anyhow::Result;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Until all know all again. Serf's agents try a failed member twice a minute, one of all failed at a time.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long a member is stopped.
const STOPPED: Duration = Duration::from_secs(20);
/// How often agents are asked how they stand while a fault lasts, and how often it is said.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// An event of a Thane agent and one of a Serf agent are sent: even numbers are Thane's.
const SENDERS: [usize; 2] = [0, 1];

/// Of whom it may be told in a phase that they failed.
#[derive(Clone, Debug)]
enum MayFail {
    Nobody,
    /// A member is gone; who was stopped itself may for a moment take others for gone as well.
    Gone(usize),
    /// Those of the other half; the first half ends before this number.
    OtherHalf(usize),
    /// With so many packets lost, whoever is unlucky. They are counted.
    Anybody,
}

impl MayFail {
    fn allows(&self, judge: usize, whom: &str, agents: usize) -> bool {
        let Some(whom) = (0..agents).find(|agent| name(*agent) == whom) else { return false };
        match self {
            Self::Nobody => false,
            Self::Gone(gone) => whom == *gone,
            Self::OtherHalf(half) => (judge < *half) != (whom < *half),
            Self::Anybody => true,
        }
    }
}

/// What came of a phase.
#[derive(Debug)]
struct Done {
    title: String,
    took: Duration,
    told_failed: usize,
    /// From the end of the fault until all agents agreed.
    agreed_after: Option<Duration>,
    wrong: usize,
}

/// The agents, and what became of them so far.
#[derive(Debug)]
struct Chaos {
    herd: Herd,
    witness: Witness,
    agents: usize,
    events: usize,
    /// Which agents have told which event.
    told: BTreeMap<String, BTreeSet<usize>>,
    /// Agents that cannot answer at the moment.
    stopped: BTreeSet<usize>,
    /// In the phase under way.
    may_fail: MayFail,
    told_failed: usize,
    wrong: Vec<String>,
    done: Vec<Done>,
}

pub(super) fn run(serf: &Path, thane: &Path, wishes: &Wishes) -> Result<Outcome> {
    let agents = wishes.agents;
    println!(
        "==> {agents} agents, each in a network namespace of its own; even numbers are Thane's, odd ones Serf's"
    );
    network::build(agents)?;
    let programs: Vec<&Path> = (0..agents).map(|agent| if agent % 2 == 0 { thane } else { serf }).collect();
    let logs = (wishes.logs != PathBuf::new()).then_some(wishes.logs.as_path());
    let mut herd = Herd::start(&programs, network::PLACE, logs)?;
    herd.wait_for_all(PATIENCE)?;
    let mut witness = Witness::new(thane);
    for agent in 0..agents {
        witness.begins(&herd, agent)?;
    }
    println!("    all know all");
    let mut chaos = Chaos {
        herd,
        witness,
        agents,
        events: 0,
        told: BTreeMap::new(),
        stopped: BTreeSet::new(),
        may_fail: MayFail::Nobody,
        told_failed: 0,
        wrong: Vec::new(),
        done: Vec::new(),
    };
    chaos.all_phases(wishes)?;
    Ok(chaos.report())
}

impl Chaos {
    fn all_phases(&mut self, wishes: &Wishes) -> Result<()> {
        let (agents, spell) = (self.agents, wishes.spell);
        self.phase("nothing is wrong", MayFail::Nobody, Self::events_reach_all)?;
        self.phase(&format!("20 % of all packets are lost, for {spell:?}"), MayFail::Anybody, |it| {
            for agent in 0..agents {
                network::set(agent, Some(&Fault::Loss(20)))?;
            }
            it.events_reach_all()?;
            it.pass(spell)
        })?;
        if network::can_delay()? {
            let title = format!("packets take 40 ms longer, give or take 20, for {spell:?}");
            self.phase(&title, MayFail::Nobody, |it| it.delay(spell))?;
        } else {
            println!("==> no delay: this kernel has no netem");
        }
        // Others reach them, so nobody may be told failed.
        let title =
            format!("{} does not reach {}, nor {} {}, for {spell:?}", name(0), name(1), name(3), name(2));
        self.phase(&title, MayFail::Nobody, |it| {
            network::set(0, Some(&Fault::CutTo(vec![1])))?;
            network::set(3, Some(&Fault::CutTo(vec![2])))?;
            it.events_reach_all()?;
            it.pass(spell)
        })?;
        let title = format!("a partition into two halves, for {:?}", wishes.partition);
        self.phase(&title, MayFail::OtherHalf(agents / 2), |it| it.partition(wishes.partition))?;
        for victim in [agents - 2, agents - 1] {
            let title = format!("{} is killed, and starts again", name(victim));
            self.phase(&title, MayFail::Gone(victim), |it| it.kill(victim))?;
        }
        for victim in [2, 3] {
            let title = format!("{} is stopped for {STOPPED:?}", name(victim));
            self.phase(&title, MayFail::Gone(victim), |it| it.stop(victim))?;
        }
        println!("==> no clock steps: a step would be the whole machine's; `thane sim` makes them");
        self.phase("nothing is wrong any more", MayFail::Nobody, Self::events_reach_all)
    }

    /// Something happens; then all must agree again. What did not hold is told and kept.
    fn phase(
        &mut self,
        title: &str,
        may_fail: MayFail,
        fault: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        println!("==> {}. {title}", self.done.len() + 1);
        self.look();
        (self.may_fail, self.told_failed) = (may_fail, 0);
        let (begun, wrong_before) = (Instant::now(), self.wrong.len());
        fault(self)?;
        for agent in 0..self.agents {
            network::set(agent, None)?;
        }
        let agreed_after = self.all_agree()?;
        self.look();
        for agent in self.herd.ended() {
            self.wrong.push(format!("{} has ended by itself", name(agent)));
        }
        for wrong in &self.wrong[wrong_before..] {
            println!("    WRONG: {wrong}");
        }
        let done = Done {
            title: title.to_owned(),
            took: begun.elapsed(),
            told_failed: self.told_failed,
            agreed_after,
            wrong: self.wrong.len() - wrong_before,
        };
        println!("    all agree {} after its end", done.agreed());
        self.done.push(done);
        Ok(())
    }

    // ---- what happens ----

    /// An event of a Thane agent and one of a Serf agent, which all agents must be told of.
    fn events_reach_all(&mut self) -> Result<()> {
        for sender in SENDERS {
            let event = self.send_event(sender)?;
            self.event_is_everywhere(&event);
        }
        Ok(())
    }

    fn delay(&mut self, spell: Duration) -> Result<()> {
        for agent in 0..self.agents {
            network::delay(agent, true)?;
        }
        self.events_reach_all()?;
        self.pass(spell)?;
        (0..self.agents).try_for_each(|agent| network::delay(agent, false))
    }

    /// Two halves, agents of both programs in each. What is sent in one half reaches the other when they are one again.
    fn partition(&mut self, span: Duration) -> Result<()> {
        let (here, there): (Vec<usize>, Vec<usize>) =
            (0..self.agents).partition(|agent| *agent < self.agents / 2);
        for (from, to) in [(&here, &there), (&there, &here)] {
            for agent in from {
                network::set(*agent, Some(&Fault::CutTo(to.clone())))?;
            }
        }
        self.pass(span)?;
        let sent = [self.send_event(0)?, self.send_event(self.agents - 1)?];
        self.pass(Duration::from_secs(5))?;
        for agent in 0..self.agents {
            network::set(agent, None)?;
        }
        for event in sent {
            self.event_is_everywhere(&event);
        }
        Ok(())
    }

    fn kill(&mut self, victim: usize) -> Result<()> {
        let since = Instant::now();
        self.herd.kill(victim);
        self.witness.ends(victim);
        let (first, last) = self.herd.wait_for_others(victim, &failed(victim), PATIENCE)?;
        let after = |at: Instant| at.duration_since(since).as_secs_f64();
        println!(
            "    known to the first member after {:.2} s, to the last after {:.2} s",
            after(first),
            after(last)
        );
        self.look();
        self.herd.revive(victim)?;
        self.witness.begins(&self.herd, victim)?;
        self.herd.wait_for_others(victim, &joined(victim), PATIENCE)?;
        Ok(())
    }

    fn stop(&mut self, victim: usize) -> Result<()> {
        self.herd.signal(victim, "STOP")?;
        self.stopped.insert(victim);
        self.pass(STOPPED)?;
        self.stopped.remove(&victim);
        self.herd.signal(victim, "CONT")
    }

    /// Lets time pass, looks now and then, and says what was seen.
    fn pass(&mut self, span: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let left = span.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK_EVERY));
            let running: Vec<usize> =
                (0..self.agents).filter(|agent| !self.stopped.contains(agent)).collect();
            let alive = self.witness.ask_all(&self.herd, &running)?;
            self.look();
            let (least, most) = (alive.iter().min().unwrap_or(&0), alive.iter().max().unwrap_or(&0));
            println!(
                "    {:3.0} s: agents list {least} to {most} of {} members as alive; {} failures were told",
                begun.elapsed().as_secs_f64(),
                self.agents,
                self.told_failed
            );
        }
    }

    // ---- what must hold ----

    fn send_event(&mut self, sender: usize) -> Result<String> {
        let event = format!("chaos-{}", self.events);
        self.events += 1;
        self.witness.sends(sender, &event);
        self.herd.ask(sender, &["event", &event])?;
        Ok(event)
    }

    /// Waits until each agent has told this event.
    fn event_is_everywhere(&mut self, event: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.look();
            let told = self.told.get(event).map_or(0, BTreeSet::len);
            if told == self.agents {
                return;
            }
            if Instant::now() > deadline {
                let all = self.agents;
                self.wrong.push(format!("the event {event} has reached {told} of {all} after {PATIENCE:?}"));
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until each agent lists each as alive; how long that took.
    fn all_agree(&mut self) -> Result<Option<Duration>> {
        let (begun, all) = (Instant::now(), (0..self.agents).collect::<Vec<_>>());
        loop {
            let alive = self.witness.ask_all(&self.herd, &all)?;
            let Some(dissenter) = alive.iter().position(|alive| *alive != self.agents) else {
                return Ok(Some(begun.elapsed()));
            };
            if begun.elapsed() > PATIENCE {
                let (who, lists) = (name(dissenter), alive[dissenter]);
                let all = self.agents;
                self.wrong.push(format!("after {PATIENCE:?} {who} lists {lists} of {all} members as alive"));
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Takes what was told: events for the checkers, failures to see whether they may be told.
    fn look(&mut self) {
        self.witness.listen();
        for news in self.herd.take_news() {
            match news.what {
                What::Event(event) => _ = self.told.entry(event).or_default().insert(news.agent),
                What::Failed(whom) => {
                    self.told_failed += 1;
                    if !self.may_fail.allows(news.agent, &whom, self.agents) {
                        self.wrong.push(format!("{} tells {whom} failed, which lives", name(news.agent)));
                    }
                }
                What::Joined(_) => {}
            }
        }
        self.wrong.extend(self.witness.take_wrong());
    }

    fn report(&self) -> Outcome {
        println!(
            "==> what was looked at: {} events and answers of agents, by these rules",
            self.witness.seen()
        );
        for rule in self.witness.rules() {
            println!("    {rule}");
        }
        println!(
            "    what is sent reaches everybody; nobody is told failed who lives and can be reached; in the end all agree"
        );
        println!("==> {:>6} {:>11} {:>9} {:>6}  phase", "took", "told failed", "agreed", "wrong");
        for done in &self.done {
            let (took, agreed) = (done.took.as_secs_f64(), done.agreed());
            println!(
                "    {took:5.0}s {:>11} {agreed:>9} {:>6}  {}",
                done.told_failed, done.wrong, done.title
            );
        }
        let held = self.wrong.is_empty();
        println!("==> {} events were sent; {}", self.events, if held { "held" } else { "DID NOT HOLD" });
        Outcome::held_if(held)
    }
}

impl Done {
    fn agreed(&self) -> String {
        self.agreed_after.map_or("never".into(), |span| format!("{:.1} s", span.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_may_be_told_failed_who_cannot_be_reached() {
        let told = |may: MayFail, judge, whom| may.allows(judge, &name(whom), 8);
        assert!(!told(MayFail::Nobody, 0, 1));
        assert!(told(MayFail::Gone(1), 0, 1) && !told(MayFail::Gone(1), 0, 2));
        assert!(told(MayFail::OtherHalf(4), 0, 4) && told(MayFail::OtherHalf(4), 7, 3));
        assert!(!told(MayFail::OtherHalf(4), 0, 3) && !told(MayFail::OtherHalf(4), 7, 4));
        assert!(told(MayFail::Anybody, 0, 1) && !MayFail::Anybody.allows(0, "somebody else", 8));
    }
}
