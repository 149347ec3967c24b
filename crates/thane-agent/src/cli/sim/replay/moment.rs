//! Moments of a recording, on the wall clock and since its start.

use std::time::Duration;

use jiff::civil::{DateTime, Time as TimeOfDay};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use thane::Time;

use crate::goflags::parse_duration;

/// The recorded node's clock beside the wall clock.
#[derive(Debug)]
pub(super) struct Clocks {
    started_unix_ns: i64,
    started: Option<Zoned>,
    zone: TimeZone,
}

impl Clocks {
    /// Of a node that was started then.
    pub(super) fn of(started_unix_ns: u64, zone: TimeZone) -> Self {
        let started_unix_ns = i64::try_from(started_unix_ns).unwrap_or(i64::MAX);
        let started = zoned(started_unix_ns, &zone);
        Self { started_unix_ns, started, zone }
    }

    /// Nanoseconds since 1970.
    pub(super) fn unix_ns(&self, at: Time) -> i64 {
        let since = i64::try_from(at.since_start().as_nanos()).unwrap_or(i64::MAX);
        self.started_unix_ns.saturating_add(since)
    }

    /// Date, time of day and zone.
    pub(super) fn full(&self, at: Time) -> String {
        self.shown(at, "%Y-%m-%d %H:%M:%S%.3f %Z")
    }

    /// Time of day, with the date if it is another one than that of the start.
    pub(super) fn short(&self, at: Time) -> String {
        let is_same_day = zoned(self.unix_ns(at), &self.zone)
            .is_some_and(|there| self.started.as_ref().is_some_and(|started| started.date() == there.date()));
        self.shown(at, if is_same_day { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S%.3f" })
    }

    fn shown(&self, at: Time, form: &str) -> String {
        let there = zoned(self.unix_ns(at), &self.zone);
        there.map_or_else(|| at.to_string(), |there| there.strftime(form).to_string())
    }
}

fn zoned(unix_ns: i64, zone: &TimeZone) -> Option<Zoned> {
    Timestamp::from_nanosecond(unix_ns.into()).ok().map(|at| at.to_zoned(zone.clone()))
}

/// Reads what operators write for a moment.
pub(super) struct Moment;

impl Moment {
    /// A span since the start, a time of day, or a date and time.
    pub(super) fn read(text: &str, clocks: &Clocks) -> Result<Time, String> {
        if let Ok(span) = parse_duration(text) {
            let span = span.to_std().ok_or("it is before the start")?;
            return Ok(Time::from_start(span));
        }
        let timestamp = if let Ok(timestamp) = text.parse::<Timestamp>() {
            timestamp
        } else if let Ok(date_time) = text.parse::<DateTime>() {
            in_zone(date_time, clocks)?
        } else if let Ok(time) = text.parse::<TimeOfDay>() {
            next_such(time, clocks)?
        } else {
            return Err("it is neither a time nor a span".to_owned());
        };
        let unix_ns = i64::try_from(timestamp.as_nanosecond()).map_err(|_far| "it is too far away")?;
        match u64::try_from(unix_ns.saturating_sub(clocks.started_unix_ns)) {
            Ok(since) => Ok(Time::from_start(Duration::from_nanos(since))),
            Err(_negative) => {
                Err(format!("it is before the start of the agent, {}", clocks.full(Time::ZERO)))
            }
        }
    }
}

fn in_zone(at: DateTime, clocks: &Clocks) -> Result<Timestamp, String> {
    let zoned = at.to_zoned(clocks.zone.clone()).map_err(|error| error.to_string())?;
    Ok(zoned.timestamp())
}

/// The first such time of day since the start.
fn next_such(time: TimeOfDay, clocks: &Clocks) -> Result<Timestamp, String> {
    let started = clocks.started.as_ref().ok_or("the recording has no date")?;
    let same_day = in_zone(started.date().to_datetime(time), clocks)?;
    if same_day >= started.timestamp() {
        return Ok(same_day);
    }
    let next_day = started.date().tomorrow().map_err(|error| error.to_string())?;
    in_zone(next_day.to_datetime(time), clocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_operators_write_them() {
        // 2026-03-01 22:00:00 UTC.
        let clocks = Clocks::of(1_772_402_400_000_000_000, TimeZone::UTC);
        let read = |text: &str| Moment::read(text, &clocks).map(|at| at.since_start().as_secs_f64());
        for (text, seconds) in [
            ("90s", 90.0),
            ("1h2m", 3720.0),
            ("22:00:01", 1.0),
            ("22:00:01.5", 1.5),
            // Not before the start, so on the next day.
            ("03:14:05", 5.0 * 3600.0 + 14.0 * 60.0 + 5.0),
            ("2026-03-01 22:30:00", 1800.0),
            ("2026-03-02T01:00:00+01:00", 7200.0),
        ] {
            assert_eq!(read(text), Ok(seconds), "{text}");
        }
        for text in ["", "soon", "2026-03-01 21:00:00", "-5s", "25:00:00"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_date_is_shown_where_it_is_another() {
        let clocks = Clocks::of(1_772_402_400_000_000_000, TimeZone::UTC);
        let after = |seconds| Time::from_start(Duration::from_secs(seconds));
        assert_eq!(clocks.short(after(1)), "22:00:01.000");
        assert_eq!(clocks.short(after(7200)), "2026-03-02 00:00:00.000");
        assert_eq!(clocks.full(after(0)), "2026-03-01 22:00:00.000 UTC");
    }
}
