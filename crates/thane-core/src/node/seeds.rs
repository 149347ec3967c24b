//! Names to find the cluster by: tried whenever nobody else is left, looked up anew each time.
//!
//! Members that failed are tried at their old addresses all along. That does not help if the whole cluster moved while we
//! were cut off, or if there never was anybody: then only the names that the operator gave lead anywhere. The core decides
//! when; the driver looks the names up. Differs from Serf, which forgets the names once it has joined.

use std::net::SocketAddr;
use std::time::Duration;

use super::{LifeState, Node, Replay};
use crate::notice::{Layer, Level};
use crate::output::{OpId, Outcome, Output};
use crate::time::Time;
use crate::timers::{Timer, TimerKey};

/// How often a node with company looks whether it still has some. A healthy cluster pays nothing for less, and who is cut off
/// has waited longer than this until the last of the others was declared failed.
const COMPANY_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// First and longest pause after nobody was found.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// What is under way to find others by name.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    are_there: bool,
    step: Step,
    pause: Duration,
    /// We have been in a cluster: what happened since is to be delivered when it is found again.
    has_met_others: bool,
}

#[derive(Debug, Default)]
enum Step {
    /// There are no names.
    #[default]
    Off,
    Waiting(TimerKey),
    LookingUp,
    Joining(OpId),
}

impl Node {
    /// Says how many names the driver has to find others by. From then on, whenever this node knows of no other live member, it asks for
    /// them with [`Output::LookUpSeeds`], at once and then with growing pauses, until it has company.
    pub fn seeds_changed(&mut self, now: Time, count: usize) {
        self.advance(now);
        self.seeds.are_there = count > 0;
        self.seeds.pause = Duration::ZERO;
        match self.seeds.step {
            Step::Waiting(key) => {
                self.timers.cancel(key);
                self.seeds_step();
            }
            Step::Off => self.seeds_step(),
            // What is under way comes to its end first.
            Step::LookingUp | Step::Joining(_) => {}
        }
        self.settle();
    }

    /// The driver has looked the seeds up: all addresses it found.
    pub fn handle_seeds_looked_up(&mut self, now: Time, addrs: &[SocketAddr]) {
        self.advance(now);
        if matches!(self.seeds.step, Step::LookingUp) {
            // Names often stand for all members, and so for us.
            let others: Vec<SocketAddr> =
                addrs.iter().copied().filter(|addr| !self.is_own_address(*addr)).collect();
            let replay = if self.seeds.has_met_others { Replay::Old } else { Replay::Ignore };
            if others.is_empty() {
                self.seeds_pause("they stand for no address but our own");
            } else {
                let begun = self.start_join(&others, replay);
                // A node that has left joins nobody.
                self.seeds.step = begun.map_or(Step::Off, Step::Joining);
            }
        }
        self.settle();
    }

    /// Asks for the seeds if nobody else is there, or looks again later.
    pub(super) fn seeds_step(&mut self) {
        if self.life != LifeState::Alive || !self.seeds.are_there {
            self.seeds.step = Step::Off;
            return;
        }
        if self.detector_has_company() {
            self.seeds.has_met_others = true;
            self.seeds.pause = Duration::ZERO;
            self.seeds_wait(COMPANY_CHECK_INTERVAL);
            return;
        }
        self.seeds.step = Step::LookingUp;
        // Once a lonely spell.
        let level = if self.seeds.pause.is_zero() { Level::Info } else { Level::Debug };
        self.notice(level, Layer::Serf, "seeds", None, || {
            "No other member is known to be alive; looking the seeds up".to_owned()
        });
        self.outputs.push_back(Output::LookUpSeeds);
    }

    /// The end of a command, if it was a join of ours here: nobody else waits for it.
    pub(super) fn seeds_over(&mut self, op: OpId, outcome: &Outcome) -> bool {
        if !matches!(self.seeds.step, Step::Joining(ours) if ours == op) {
            return false;
        }
        if self.detector_has_company() {
            self.notice(Level::Info, Layer::Serf, "seeds_joined", None, || {
                "Joined others through the seeds".to_owned()
            });
            self.seeds_step();
            return true;
        }
        match outcome {
            Outcome::Join { failed, .. } if !failed.is_empty() => {
                let reason = failed[0].to_string();
                self.seeds_pause(&reason);
            }
            _ => self.seeds_pause("who answered knows nobody but us"),
        }
        true
    }

    fn seeds_pause(&mut self, reason: &str) {
        // The rest of the attempts is as those before: a node that is alone for good does not fill its log.
        let level = if self.seeds.pause < PAUSE_MAX { Level::Warn } else { Level::Debug };
        self.seeds.pause = (self.seeds.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let pause = self.seeds_wait(self.seeds.pause);
        self.notice(level, Layer::Serf, "seeds_failed", None, || {
            format!(
                "Nobody was found through the seeds: {reason}; the next attempt is in {} s",
                pause.as_secs().max(1)
            )
        });
    }

    /// Waits about this long: nodes that were cut off together do not knock together.
    fn seeds_wait(&mut self, about: Duration) -> Duration {
        let pause = about.mul_f64(0.75 + 0.5 * self.rng.unit());
        self.seeds.step = Step::Waiting(self.timers.set(self.now + pause, Timer::SeedsTick));
        pause
    }
}
