//! Slow machines: each input takes its time, and the others wait for it.

use std::time::Duration;

use crate::drive::Input;
use crate::world::{Happening, Host, HostId, Observer, ProcessId, World};

impl Host {
    /// Whether inputs wait for others on a slow machine.
    pub(crate) fn is_slow(&self) -> bool {
        !self.each_takes.is_zero() || self.working
    }
}

impl<O: Observer> World<O> {
    /// Lets an input wait until a slow process has time for it.
    pub(crate) fn queue_for_slow(&mut self, host: HostId, input: Input) {
        let it = &mut self.hosts[host.index()];
        self.tally.inputs_queued += u64::from(it.working);
        it.deferred.push_back(input);
        self.begin_work(host);
    }

    /// Begins with the next input or the timers that are due, unless the process is busy.
    pub(crate) fn begin_work(&mut self, host: HostId) {
        let it = &mut self.hosts[host.index()];
        if it.node.is_none() || it.paused_until.is_some() || std::mem::replace(&mut it.working, true) {
            return;
        }
        let process = ProcessId { host, life: it.life };
        let done = self.now + it.each_takes;
        self.schedule(done, Happening::Work { process });
    }

    /// A slow process has worked its time: the next input is dealt with, and the timers if they are due.
    pub(crate) fn work_done(&mut self, process: ProcessId) {
        if !self.is_current(process) {
            return;
        }
        let host = process.host;
        let it = &mut self.hosts[host.index()];
        it.working = false;
        if it.paused_until.is_some() {
            return;
        }
        if let Some(input) = it.deferred.pop_front()
            && let Some(input) = it.admit(input)
        {
            self.take(host, input);
        }
        if self.is_current(process) {
            self.due_timers(host);
        }
        if self.is_current(process) && !self.hosts[host.index()].deferred.is_empty() {
            self.begin_work(host);
        }
    }

    /// The machine has its speed back. What still waits is dealt with at once.
    pub(crate) fn slow_ends(&mut self, host: HostId, number: u64) {
        let it = &mut self.hosts[host.index()];
        if it.slowdowns == number {
            it.each_takes = Duration::ZERO;
            self.begin_work(host);
        }
    }
}
