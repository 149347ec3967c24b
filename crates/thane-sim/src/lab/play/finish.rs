//! What a run has shown.

use thane_core::Time;

use super::Play;
use crate::lab::meter::{CrashRecord, Meter};
use crate::lab::report::{
    Agreement, Alarms, BrokenRule, Crash, Lied, Queries, Report, Spread, Started, Traffic,
};
use crate::lab::setup::name_of;
use crate::lab::statistics::quantile;

impl Play<'_> {
    pub(super) fn finish(mut self) -> Report {
        let (zero, now) = (self.zero, self.world.now());
        let seconds = now.since(zero).as_secs_f64();
        let last = self.meter().sample(now, zero);
        if last.packets > 0 || self.samples.is_empty() {
            self.samples.push(last);
        }
        let trace = format!("{:016x}", self.world.trace_hash().value());
        let crashes = crashes(self.meter(), zero);
        let alarms = self.all_alarms();
        let lies = self.lied();
        let broken_rule = self.broken_rule();
        let traffic = self.traffic(seconds);
        let meter = self.meter();
        let events = meter.events.iter_mut().map(|record| {
            record.delays.sort_by(f32::total_cmp);
            spread(record.at.since(zero).as_secs_f64(), record.members, std::mem::take(&mut record.delays))
        });
        let events = events.collect();
        let agreements = meter.agreements.iter().map(|record| Agreement {
            what: record.what.clone(),
            at: record.at.since(zero).as_secs_f64(),
            after: record.agreed.map(|agreed| agreed.since(record.at).as_secs_f64()),
        });
        let agreements = agreements.collect();
        let since_zero = |at: Time| at.since(zero).as_secs_f64();
        let start = meter
            .beginning
            .map(|it| Started { last: it.last_start.map(since_zero), complete: it.complete.map(since_zero) });
        let queries = queries(meter);
        let views_wrong_at_end = meter.differing();
        let wronged = std::mem::take(&mut meter.wronged_members);
        let crashed: Vec<u32> = meter.crashes.iter().map(|crash| crash.member).collect();
        // A member that was wrongly declared failed is what people want to know about; else one that crashed.
        let prefer =
            |member: u32| wronged.contains(&member) || (wronged.is_empty() && crashed.contains(&member));
        let timeline = std::mem::take(&mut meter.logs).into_timeline(prefer, zero);
        Report {
            seed: self.world.seed(),
            nodes: self.setup.nodes,
            seconds,
            interrupted: self.interrupted,
            formed_before: self.formed_before.map(|span| span.as_secs_f64()),
            trace,
            crashes,
            alarms,
            events,
            queries,
            traffic,
            start,
            agreements,
            view_sizes: self.sizes.len(),
            views_wrong_at_end,
            samples: self.samples,
            faults: self.marks,
            timeline,
            lies,
            broken_rule,
        }
    }

    fn lied(&self) -> Option<Lied> {
        if self.liars.is_empty() {
            return None;
        }
        let refused = |host| {
            let counters = self.world.node(host).map(thane_core::Node::counters);
            counters.map_or(0, |it| it.packets_dropped + it.messages_dropped)
        };
        let (tally, meter) = (self.world.tally(), self.world.observer());
        Some(Lied {
            sent: tally.lies_malformed + tally.lies_replayed + tally.lies_forged + tally.lies_impersonating,
            refused: self.world.hosts().map(refused).sum(),
            false_names: meter.false_names(),
            false_events: meter.false_events,
            stopped: meter.stopped,
        })
    }

    fn broken_rule(&self) -> Option<BrokenRule> {
        let broken = self.world.observer().rules.as_ref()?.violation()?;
        Some(BrokenRule {
            at: broken.at.since(self.zero).as_secs_f64(),
            member: name_of(broken.process.host.index()),
            rule: broken.rule.to_owned(),
            what: broken.what.clone(),
        })
    }

    fn all_alarms(&mut self) -> Alarms {
        let meter = self.world.observer_mut();
        meter.back_after.sort_by(f32::total_cmp);
        let millis = |seconds: f32| (seconds * 1e3).round() as u64;
        Alarms {
            right: meter.right_alarms,
            wronged_members: meter.wronged_members.len() as u64,
            back_after_ms_median: quantile(&meter.back_after, 0.5).map(millis),
            back_after_ms_max: quantile(&meter.back_after, 1.0).map(millis),
            not_back: meter.wronged.len() as u64,
            suspicions_of_the_living: meter.suspicions_of_the_living,
            suspicions_of_the_dead: meter.suspicions_of_the_dead,
            ..self.alarms
        }
    }

    fn traffic(&self, seconds: f64) -> Traffic {
        let seats = &self.world.observer().seats;
        let total = |of: fn(&crate::lab::meter::Seat) -> u64| seats.iter().map(of).sum::<u64>() as f64;
        // Of members that are up: who is down sends nothing, and should not make the others look frugal.
        let per_member =
            |total: f64| if self.member_seconds > 0.0 { total / self.member_seconds } else { 0.0 };
        let busiest = seats.iter().map(|seat| seat.packet_bytes + seat.stream_bytes).max().unwrap_or(0);
        Traffic {
            packets: per_member(total(|seat| seat.packets)),
            packet_bytes: per_member(total(|seat| seat.packet_bytes)),
            stream_bytes: per_member(total(|seat| seat.stream_bytes)),
            busiest_bytes: if seconds > 0.0 { busiest as f64 / seconds } else { 0.0 },
            peak_bytes: self.peak_bytes,
        }
    }
}

fn crashes(meter: &mut Meter, zero: Time) -> Vec<Crash> {
    let records = std::mem::take(&mut meter.crashes);
    let told = records.into_iter().map(|record| {
        let CrashRecord { member, at, silent, suspected, mut delays, unaware } = record;
        delays.sort_by(f32::total_cmp);
        let unaware = unaware.unwrap_or_else(|| meter.listed(member));
        let aware = delays.len();
        // The half of those that should know, whether they do or not.
        let half = (aware + unaware).div_ceil(2).checked_sub(1).and_then(|index| delays.get(index));
        let last = if unaware == 0 { delays.last() } else { None };
        Crash {
            member: name_of(member as usize),
            at: at.since(zero).as_secs_f64(),
            silent,
            suspected: suspected.map(|moment| moment.since(at).as_secs_f64()),
            first: delays.first().map(|delay| f64::from(*delay)),
            half: half.map(|delay| f64::from(*delay)),
            last: last.map(|delay| f64::from(*delay)),
            aware,
            unaware,
            delays,
        }
    });
    told.collect()
}

fn spread(at: f64, members: usize, delays: Vec<f32>) -> Spread {
    let after = |share: f64| {
        let needed = (share * members as f64).ceil() as usize;
        needed.checked_sub(1).and_then(|index| delays.get(index)).map(|delay| f64::from(*delay))
    };
    Spread {
        at,
        members,
        reached: delays.len(),
        half: after(0.5),
        nearly_all: after(0.99),
        all: after(1.0),
        delays,
    }
}

fn queries(meter: &Meter) -> Queries {
    let mut last: Vec<f64> = meter.queries.iter().filter_map(|query| query.last).collect();
    last.sort_by(f64::total_cmp);
    Queries {
        asked: meter.queries.len(),
        acks_expected: meter.queries.iter().map(|query| query.members as u64).sum(),
        acks: meter.queries.iter().map(|query| query.acks as u64).sum(),
        last_ack_median: quantile(&last, 0.5),
    }
}
