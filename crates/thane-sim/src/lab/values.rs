//! Values as people write them: shares, counts, rates, sizes.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::span;

/// A span of time.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    span::parse(text)
}

/// A span of time over zero.
pub(super) fn time_over_zero(text: &str) -> Result<Duration, String> {
    let span = time(text)?;
    if span.is_zero() { Err(format!("{text:?} is no time at all; it must be longer")) } else { Ok(span) }
}

/// A share of a whole: `0.05` or `5%`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.trim().strip_suffix('%') {
        Some(percent) => (percent, 0.01),
        None => (text, 1.0),
    };
    let wrong =
        || format!("{text:?} is no share; write a number from 0 to 1, or a percentage, as 0.05 or 5%");
    let share = number.trim().parse::<f64>().map_err(|_not_a_number| wrong())? * scale;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(wrong()) }
}

/// The highest rate a second.
const RATE_MAX: f64 = 1000.0;

/// A rate a second: a number from 0 to 1000.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(rate) if (0.0..=RATE_MAX).contains(&rate) => Ok(rate),
        _ => Err(format!("{text:?} is no rate; write how often a second, as 2 or 0.5, at most {RATE_MAX}")),
    }
}

/// A whole number from `low` to `high`.
pub(super) fn whole<N>(text: &str, low: N, high: N) -> Result<N, String>
where
    N: FromStr + PartialOrd + Display + Copy,
{
    match text.trim().parse::<N>() {
        Ok(number) if low <= number && number <= high => Ok(number),
        _ => Err(format!("{text:?} is no whole number from {low} to {high}")),
    }
}

/// `true` or `false`.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Bytes a second: `10MB/s`, `500kB/s`, `1200B/s`; also in bits: `100Mbit/s`.
pub(super) fn bytes_per_second(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 8] = [
        ("GB", 1e9),
        ("MB", 1e6),
        ("kB", 1e3),
        ("B", 1.0),
        ("Gbit", 1.25e8),
        ("Mbit", 1.25e5),
        ("kbit", 125.0),
        ("bit", 0.125),
    ];
    let wrong = || format!("{text:?} is no rate of bytes; write it as 10MB/s, 500kB/s or 100Mbit/s");
    let amount = text.trim().strip_suffix("/s").ok_or_else(wrong)?;
    let digits = amount.find(|it: char| !it.is_ascii_digit() && it != '.').ok_or_else(wrong)?;
    let number = amount[..digits].parse::<f64>().map_err(|_not_a_number| wrong())?;
    let unit = amount[digits..].trim();
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let rate = number * scale;
    if (1.0..=1e12).contains(&rate) { Ok(rate.round() as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share(" 0.25 "), Ok(0.25));
        assert_eq!(share("100 %"), Ok(1.0));
        assert_eq!(rate("0.5"), Ok(0.5));
        assert_eq!(whole("7", 1, 10_usize), Ok(7));
        assert_eq!(switch("on"), Ok(true));
        assert_eq!(bytes_per_second("10MB/s"), Ok(10_000_000));
        assert_eq!(bytes_per_second("8kbit/s"), Ok(1000));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_an_example() {
        for wrong in ["-1%", "101%", "2", "x", "", "NaN"] {
            assert!(share(wrong).is_err_and(|why| why.contains("as 0.05 or 5%")), "{wrong}");
        }
        assert!(rate("-1").is_err() && rate("inf").is_err() && rate("1001").is_err());
        assert!(whole("11", 1, 10_usize).is_err_and(|why| why.contains("from 1 to 10")));
        assert!(switch("maybe").is_err());
        for wrong in ["10MB", "MB/s", "10XB/s", "0B/s", "-1B/s"] {
            assert!(bytes_per_second(wrong).is_err(), "{wrong}");
        }
        assert!(time_over_zero("0").is_err());
    }
}
