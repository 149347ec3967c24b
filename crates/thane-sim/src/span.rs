//! Spans of time as people write them: `200us`, `1.5s`, `2h45m`. Scenarios in TOML and JSON bear them so.

use std::fmt;
use std::time::Duration;

use serde::{Deserializer, Serializer, de};

/// The units, from long to short, in nanoseconds.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a span: numbers, each with its unit (`h`, `m`, `s`, `ms`, `us` or `µs`, `ns`), or a bare `0`.
///
/// # Errors
/// What is wrong with it, as a sentence.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(thane_sim::span::parse("1m30s"), Ok(Duration::from_secs(90)));
/// assert!(thane_sim::span::parse("90").is_err());
/// ```
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("{text:?} is no span of time; write a number and its unit, as 200us, 20ms, 1.5s, 2m or 1h30m")
    };
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanos = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_not_a_number| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|it: char| it.is_ascii_digit() || it == '.').unwrap_or(rest.len());
        let unit = if &rest[..letters] == "µs" { "us" } else { &rest[..letters] };
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        nanos += number * *scale as f64;
        rest = &rest[letters..];
    }
    // Ten years: more is a slip, and sums of spans must not overflow.
    if nanos > 3.2e17 {
        return Err(format!("{text:?} is too long; at most ten years"));
    }
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// Writes a span so that [`parse`] reads it again, to the nanosecond.
pub fn text(span: Duration) -> String {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let (unit, scale) =
        UNITS.iter().find(|(_, scale)| nanos.is_multiple_of(*scale)).copied().unwrap_or(("ns", 1));
    format!("{}{unit}", nanos / scale)
}

/// For `#[serde(with = "...")]`.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*span))
}

/// For `#[serde(with = "...")]`. A bare number is taken as seconds.
///
/// # Errors
/// When it is no span of time.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a span of time, as \"20ms\" or \"1.5s\", or a number of seconds")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }

        fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
            self.visit_f64(seconds as f64)
        }

        fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
            self.visit_f64(seconds as f64)
        }

        fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Duration, E> {
            if (0.0..=3.2e8).contains(&seconds) {
                Ok(Duration::from_secs_f64(seconds))
            } else {
                Err(E::custom(format!("{seconds} s is no span of time; it must be 0 to ten years")))
            }
        }
    }
    deserializer.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them_and_written_so_that_they_are_read_again() {
        for (text, nanos) in [
            ("0", 0),
            ("200us", 200_000),
            ("200µs", 200_000),
            ("1.5ms", 1_500_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (" 3ns ", 3),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for nanos in [0, 1, 999, 1_000, 1_500, 20_000_000, 61_000_000_000, 7_200_000_000_000] {
            let span = Duration::from_nanos(nanos);
            assert_eq!(parse(&text(span)), Ok(span));
        }
        for wrong in ["", "5", "s", "-1s", "1x", "1s2", "1..2s", "9999999h"] {
            assert!(parse(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
