//! The network between hosts: how long packets take, which are lost, doubled or overtaken, and who can reach whom.
//!
//! Three things make it up. [`Quality`] holds for every packet; [`Topology`] says how far apart hosts are; a
//! [`LinkFault`] changes what some hosts send to some others, until it ends. All are plain data, read from TOML and JSON.

mod fault;
mod latency;
mod loss;
mod matrix;
mod quality;
mod topology;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thane_core::Time;

use self::fault::Line;
pub use self::fault::{Effect, FaultId, Flapping, Hosts, LinkFault};
pub use self::latency::{LATENCY_MAX, Latency};
use self::loss::Weather;
pub use self::loss::{Bursts, Loss};
pub use self::matrix::Matrix;
pub use self::quality::{Bandwidth, Quality};
pub use self::topology::{Topology, Zone, ZoneLink, Zones};
use crate::rng::SimRng;
use crate::world::HostId;

/// IP and UDP headers, in bytes.
pub(crate) const HEADER_BYTES: usize = 28;

/// The state of the network: its quality, how far apart hosts are, and what is wrong between some of them.
#[derive(Debug, Clone)]
pub struct Network {
    /// How good it is.
    pub quality: Quality,
    /// How far apart hosts are.
    pub topology: Topology,
    /// The side of the partition each host is on; hosts on different sides cannot talk. Missing hosts are on side 0.
    sides: Vec<u32>,
    /// Pairs (from, to) that are cut in this one direction.
    cuts: BTreeSet<(HostId, HostId)>,
    faults: Vec<ActiveFault>,
    next_fault: u64,
    /// Where loss comes in bursts: the state of each direction.
    weather: BTreeMap<(Source, HostId, HostId), Weather>,
    /// Where lines are narrow: when each has sent all that waits.
    lines: BTreeMap<(Source, Line), Time>,
}

/// A fault that is there now, or that flaps and is not.
#[derive(Debug, Clone)]
struct ActiveFault {
    id: FaultId,
    fault: LinkFault,
    on: bool,
}

/// What makes bursts or a narrow line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Quality,
    Zones(usize),
    Fault(FaultId),
}

/// How a packet fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives after this long, and perhaps once more after the second.
    Arrives { after: Duration, again: Option<Duration>, held_back: bool },
    /// Bad luck. `burst` when the way was in a burst of loss.
    Lost { burst: bool },
    /// No way there at the moment.
    Cut,
    /// Larger than the way allows.
    Oversized,
    /// Too much waits for a narrow line already.
    Overflow,
}

impl Network {
    /// A network without faults.
    pub fn new(quality: Quality) -> Self {
        Self {
            quality,
            topology: Topology::Flat,
            sides: Vec::new(),
            cuts: BTreeSet::new(),
            faults: Vec::new(),
            next_fault: 0,
            weather: BTreeMap::new(),
            lines: BTreeMap::new(),
        }
    }

    // ---- what is wrong with it ----

    /// Puts these hosts on a side of their own: nobody else reaches them, or they anybody else.
    pub fn isolate(&mut self, hosts: &[HostId]) {
        let side = self.sides.iter().max().map_or(1, |greatest| greatest + 1);
        for host in hosts {
            let index = host.index();
            if self.sides.len() <= index {
                self.sides.resize(index + 1, 0);
            }
            self.sides[index] = side;
        }
    }

    /// Cuts one direction only: what `from` sends does not reach `to`.
    pub fn cut_one_way(&mut self, from: HostId, to: HostId) {
        self.cuts.insert((from, to));
    }

    /// Ends every partition, one-way cut and fault between hosts. Quality and topology stay.
    pub fn heal(&mut self) {
        self.sides.clear();
        self.cuts.clear();
        self.faults.clear();
        self.weather.clear();
        self.lines.clear();
    }

    /// The faults between hosts that are there now.
    pub fn faults(&self) -> impl Iterator<Item = &LinkFault> {
        self.faults.iter().filter(|active| active.on).map(|active| &active.fault)
    }

    pub(crate) fn add(&mut self, fault: LinkFault) -> FaultId {
        let id = FaultId(self.next_fault);
        self.next_fault += 1;
        self.faults.push(ActiveFault { id, fault, on: true });
        id
    }

    /// Ends a fault. False if it had ended already.
    pub(crate) fn remove(&mut self, id: FaultId) -> bool {
        let before = self.faults.len();
        self.faults.retain(|active| active.id != id);
        self.faults.len() < before
    }

    /// Turns a flapping fault on or off. Gives whether it is on now, and how long it stays so; `None` when it has ended.
    pub(crate) fn flap(&mut self, id: FaultId) -> Option<(bool, Duration)> {
        let active = self.faults.iter_mut().find(|active| active.id == id)?;
        let flapping = active.fault.flapping?;
        active.on = !active.on;
        Some((active.on, if active.on { flapping.on } else { flapping.off }))
    }

    // ---- who reaches whom ----

    /// Whether a packet sent now has a way there. A host always reaches itself.
    pub fn reaches(&self, from: HostId, to: HostId) -> bool {
        let is_cut = |fault: &LinkFault| matches!(fault.effect, Effect::Cut) && fault.concerns(from, to);
        from == to
            || (self.side(from) == self.side(to)
                && !self.cuts.contains(&(from, to))
                && !self.faults().any(is_cut))
    }

    /// Whether there is a way there and back, as a stream needs.
    pub fn connects(&self, a: HostId, b: HostId) -> bool {
        self.reaches(a, b) && self.reaches(b, a)
    }

    fn side(&self, host: HostId) -> u32 {
        self.sides.get(host.index()).copied().unwrap_or(0)
    }

    /// What is wrong on this way, without cuts.
    fn effects(&self, from: HostId, to: HostId) -> impl Iterator<Item = (FaultId, &LinkFault)> {
        self.faults
            .iter()
            .filter(move |active| active.on && active.fault.concerns(from, to))
            .map(|active| (active.id, &active.fault))
    }

    // ---- how packets and streams fare ----

    /// How long one packet takes, when it does not wait for a line.
    pub(crate) fn delay(&self, rng: &mut SimRng, from: HostId, to: HostId) -> Duration {
        let mut delay = self.quality.latency.draw(rng);
        if from == to {
            return delay;
        }
        delay += self.topology.delay(from, to, rng);
        for (_, fault) in self.effects(from, to) {
            if let Effect::Delay(latency) = fault.effect {
                delay += latency.draw(rng);
            }
        }
        delay.min(LATENCY_MAX)
    }

    /// Whether chance takes what is sent now, and whether in a burst.
    pub(crate) fn loses(&mut self, rng: &mut SimRng, now: Time, from: HostId, to: HostId) -> Option<bool> {
        if from == to {
            return None;
        }
        if let Some(burst) = self.lost_to(self.quality.loss, Source::Quality, rng, now, from, to) {
            return Some(burst);
        }
        if let Some((number, loss)) = self.topology.loss(from, to)
            && let Some(burst) = self.lost_to(loss, Source::Zones(number), rng, now, from, to)
        {
            return Some(burst);
        }
        for index in 0..self.faults.len() {
            let ActiveFault { id, on, fault } = &self.faults[index];
            if let (true, Effect::Loss(loss), true) = (*on, fault.effect, fault.concerns(from, to)) {
                let source = Source::Fault(*id);
                if let Some(burst) = self.lost_to(loss, source, rng, now, from, to) {
                    return Some(burst);
                }
            }
        }
        None
    }

    fn lost_to(
        &mut self,
        loss: Loss,
        source: Source,
        rng: &mut SimRng,
        now: Time,
        from: HostId,
        to: HostId,
    ) -> Option<bool> {
        match loss {
            Loss::Uniform(share) => rng.chance(share).then_some(false),
            Loss::Bursts(bursts) => {
                let key = (source, from, to);
                let weather = Weather::at(&bursts, self.weather.get(&key).copied(), now, rng);
                self.weather.insert(key, weather);
                rng.chance(weather.share(&bursts)).then_some(weather.is_bad())
            }
        }
    }

    /// How long this many bytes take to get through the narrow lines on the way; `None` when they find no room in a queue.
    fn through_lines(
        &mut self,
        now: Time,
        from: HostId,
        to: HostId,
        bytes: usize,
        may_drop: bool,
    ) -> Option<Duration> {
        if from == to || (self.quality.bandwidth.is_none() && self.faults.is_empty()) {
            return Some(Duration::ZERO);
        }
        let mut lines: Vec<((Source, Line), Bandwidth)> = Vec::new();
        lines.extend(self.quality.bandwidth.map(|bandwidth| ((Source::Quality, Line::Out(from)), bandwidth)));
        for (id, fault) in self.effects(from, to) {
            if let Effect::Bandwidth(bandwidth) = fault.effect {
                lines.push(((Source::Fault(id), fault.line(from, to)), bandwidth));
            }
        }
        let mut done = now;
        for (line, bandwidth) in lines {
            let rate = bandwidth.bytes_per_second.max(1) as f64;
            let free = self.lines.get(&line).copied().unwrap_or(Time::ZERO);
            let waiting = free.since(done).as_secs_f64() * rate;
            if may_drop && waiting + bytes as f64 > bandwidth.queue_bytes as f64 {
                return None;
            }
            done = free.max(done) + Duration::from_secs_f64(bytes as f64 / rate);
            self.lines.insert(line, done);
        }
        Some(done.since(now))
    }

    pub(crate) fn packet_fate(
        &mut self,
        rng: &mut SimRng,
        now: Time,
        from: HostId,
        to: HostId,
        bytes: usize,
    ) -> Fate {
        let bytes = bytes + HEADER_BYTES;
        // It leaves the sender, then meets the network.
        let Some(sent) = self.through_lines(now, from, to, bytes, true) else { return Fate::Overflow };
        if !self.reaches(from, to) {
            return Fate::Cut;
        }
        let (mut mtu, mut doubled) = (self.quality.mtu, self.quality.duplication);
        for (_, fault) in self.effects(from, to) {
            match fault.effect {
                Effect::Mtu(least) => mtu = Some(mtu.map_or(least, |it| it.min(least))),
                Effect::Duplication(share) => doubled = 1.0 - (1.0 - doubled) * (1.0 - share),
                _ => {}
            }
        }
        if from != to && mtu.is_some_and(|mtu| bytes > mtu) {
            return Fate::Oversized;
        }
        if let Some(burst) = self.loses(rng, now, from, to) {
            return Fate::Lost { burst };
        }
        let mut after = sent + self.delay(rng, from, to);
        let (mut held_back, mut most) = (false, Duration::ZERO);
        let mut hold_back = |share: f64, delay: Duration, rng: &mut SimRng| {
            most = most.max(delay);
            if rng.chance(share) {
                held_back = true;
                after += rng.span(Duration::ZERO, delay);
            }
        };
        hold_back(self.quality.reordering, self.quality.reordering_delay, rng);
        for (_, fault) in self.effects(from, to) {
            if let Effect::Reordering { share, delay } = fault.effect {
                hold_back(share, delay, rng);
            }
        }
        let again =
            rng.chance(doubled).then(|| sent + self.delay(rng, from, to) + rng.span(Duration::ZERO, most));
        Fate::Arrives { after, again, held_back }
    }

    /// How long a piece of a stream takes: what the network loses is sent again after 0.2 s, 0.4 s, 0.8 s and so on, and
    /// what does not fit a line waits.
    pub(crate) fn stream_delay(
        &mut self,
        rng: &mut SimRng,
        now: Time,
        from: HostId,
        to: HostId,
        bytes: usize,
    ) -> Duration {
        let mut delay = self.through_lines(now, from, to, bytes, false).unwrap_or_default();
        delay += self.delay(rng, from, to);
        let mut again = Duration::from_millis(200);
        // Ten losses in a row would be an outage, not loss.
        for _ in 0..10 {
            if self.loses(rng, now + delay, from, to).is_none() {
                break;
            }
            delay += again;
            again *= 2;
        }
        delay
    }
}

#[cfg(test)]
mod tests;
