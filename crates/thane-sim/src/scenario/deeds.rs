//! What the plan does to the world besides the simplest things: faults of machines and of ways, files, liars, queries and keys.

use std::time::Duration;

use thane_core::{Key, KeyCommand, Node, OpId, QueryParams};

use super::run::{Joining, Program, Run};
use super::{Action, FailureCause};
use crate::byzantine::Byzantine;
use crate::check::Observation;
use crate::world::{Crash, HostId, ProcessId};

/// A process that looks for the members of its snapshot is left alone for this long before an operator tells it whom to join.
const REJOIN_TIME: Duration = Duration::from_secs(5);
/// How long a query of a faulty time takes answers.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);

/// An operator's change of keys under way: a new one in, the old one out.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    by: ProcessId,
    op: OpId,
    step: Step,
    new: Key,
    old: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Install,
    Use,
    Remove,
}

impl Run<'_> {
    /// Does what needs more than a line.
    pub(super) fn act_on_more(&mut self, action: &Action) {
        match action {
            Action::Topology(topology) => self.world.network_mut().topology = topology.clone(),
            Action::Clock(host, clock) if self.world.node(*host).is_none() => {
                self.world.set_clock(*host, *clock);
            }
            Action::Disk(host, rejoin_after_leave) if self.world.node(*host).is_none() => {
                self.world.add_disk(*host, *rejoin_after_leave);
            }
            Action::Fault(fault, span) => {
                self.world.fault_for(fault.clone(), *span);
            }
            Action::Slow(host, each, span) => self.world.slow(*host, *each, *span),
            Action::Block(host, span) => self.world.block(*host, *span),
            Action::BreakDisk(host, fault, span) => self.world.break_disk(*host, *fault, *span),
            Action::Restart(host) => self.restart(*host),
            Action::Byzantine(what) => self.let_lie(what),
            Action::Query(host) => self.query(*host),
            Action::RotateKeys(host) => self.begin_rotation(*host),
            _ => {}
        }
    }

    fn restart(&mut self, host: HostId) {
        if self.world.node(host).is_some() {
            return;
        }
        let process = self.world.restart(host);
        let joining = Joining::RetryAt(self.world.now() + REJOIN_TIME);
        let dealt_with = self.world.node(host).map_or(0, |node| node.stats().event_time);
        self.begin_program(host, Program { process, joining, listens_from: u64::MAX, dealt_with });
    }

    fn let_lie(&mut self, what: &Byzantine) {
        let number = self.liars;
        self.liars += 1;
        let config = super::run::config(self.scenario, format!("liar-{number}"), self.world.next_addr());
        if what.can_forge(self.scenario.parameters.encrypted) {
            self.forged = true;
            self.world.observer_mut().expect_forgery(what.messages as usize);
        }
        self.world.add_byzantine(config, what.clone());
    }

    fn query(&mut self, host: HostId) {
        let params =
            QueryParams { request_ack: true, timeout: Some(QUERY_TIMEOUT), ..QueryParams::default() };
        let asked = self.world.command(host, |node, now| node.query(now, "who", b"is there", &params));
        if let (Some(Ok(query)), Some(process)) = (asked, self.world.process(host)) {
            self.asked += 1;
            let now = self.world.now();
            // A machine that is slow or whose clock goes wrong is late; it must end all the same.
            let until = now + QUERY_TIMEOUT * 2;
            self.world.observer_mut().see(now, process, Observation::Asked { query, until });
        }
    }

    // ---- keys ----

    fn begin_rotation(&mut self, host: HostId) {
        let (Some(old), None) = (self.keys.primary().cloned(), &self.rotation) else { return };
        self.keys_made += 1;
        let Ok(new) = Key::new(&[100 + self.keys_made; 32]) else { return };
        let Some(by) = self.world.process(host) else { return };
        let command = KeyCommand::Install(new.clone());
        if let Some(Ok(op)) = self.world.command(host, |node, now| node.keys(now, &command, 0)) {
            self.rotation = Some(Rotation { by, op, step: Step::Install, new, old });
        }
    }

    /// Goes on with the change of keys when the last step was done by all; gives it up when it was not.
    pub(super) fn go_on_with_keys(&mut self) {
        let Some(rotation) = self.rotation.clone() else { return };
        if self.world.process(rotation.by.host) != Some(rotation.by) {
            self.rotation = None;
            return;
        }
        let Some(report) = self.key_reports.remove(&(rotation.by, rotation.op)) else { return };
        self.rotation = None;
        if report.result().is_err() {
            return;
        }
        let Rotation { by, step, new, old, .. } = rotation;
        let mut ring = self.keys.clone();
        let next = match step {
            Step::Install => {
                ring.install(new.clone());
                Some((Step::Use, KeyCommand::Use(new.clone())))
            }
            Step::Use => {
                // It was installed in the last step.
                _ = ring.use_key(&new);
                Some((Step::Remove, KeyCommand::Remove(old.clone())))
            }
            Step::Remove => {
                self.keys_rotated += 1;
                _ = ring.remove(&old);
                None
            }
        };
        for host in self.world.hosts() {
            self.world.set_keyring(host, ring.clone());
        }
        self.keys = ring;
        if let Some((step, command)) = next
            && let Some(Ok(op)) = self.world.command(by.host, |node, now| node.keys(now, &command, 0))
        {
            self.rotation = Some(Rotation { by, op, step, new, old });
        }
    }

    /// Starts anew, with the operator's keys, whoever could not read what others seal: it missed a change of keys.
    pub(super) fn rekey_the_locked_out(&mut self) -> Result<(), FailureCause> {
        while self.rotation.is_some() {
            self.run_to(self.world.now() + Duration::from_millis(250))?;
        }
        // Who starts anew may lack a key that another seals with: look again until nobody is left.
        while let Some(host) = self.locked_out() {
            self.operator_restarts += 1;
            self.act(&Action::Crash(host, Crash::Process));
            self.act(&Action::Start(host));
        }
        Ok(())
    }

    /// A host whose process lacks the operator's key, or seals with another that somebody lacks.
    fn locked_out(&self) -> Option<HostId> {
        let wanted = self.keys.primary()?;
        let running = self.running();
        let ring_of = |host: &HostId| self.world.node(*host).map(Node::keyring);
        let all_read = |key: &Key| running.iter().filter_map(ring_of).all(|ring| ring.keys().contains(key));
        running.iter().copied().find(|host| {
            ring_of(host).is_some_and(|ring| {
                let sealing = ring.primary();
                !ring.keys().contains(wanted) || sealing.is_some_and(|key| key != wanted && !all_read(key))
            })
        })
    }

    /// Starts anew whoever lost its name to a liar.
    pub(super) fn restart_the_impersonated(&mut self) {
        if !self.forged {
            return;
        }
        let lost: Vec<HostId> = self
            .world
            .hosts()
            .filter(|host| self.world.node(*host).is_none() && self.world.was_stopped(*host))
            .collect();
        for host in lost {
            self.operator_restarts += 1;
            self.act(&Action::Start(host));
        }
    }
}
