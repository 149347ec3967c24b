//! Durations as Go writes and reads them: `1h30m`, `1.5s`, `-20ms`, `0`.

use std::fmt;
use std::time::Duration;

use crate::format::go_quote;

/// A signed span of time in nanoseconds, up to about 292 years either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct GoDuration(i64);

impl GoDuration {
    /// No time at all.
    pub(crate) const ZERO: Self = Self(0);

    /// So many nanoseconds.
    pub(crate) const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The span in nanoseconds.
    pub(crate) const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The span as Rust's type, or `None` if it is negative.
    pub(crate) fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

/// As Go prints it: `1h30m0s`, `1.5s`, `20ms`, `0s`.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanos, 3)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 6)),
            _ => {
                let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(rest, 9))
            }
        }
    }
}

/// `value` / 10^`places` without trailing zeros.
fn decimal(value: u64, places: u32) -> String {
    let unit = 10_u64.pow(places);
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:0width$}", width = places as usize);
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// Reads a duration in Go's syntax: an optional sign, then decimal numbers each followed by `ns`, `us` (also `µs`),
/// `ms`, `s`, `m` or `h`. A plain `0` needs no unit.
///
/// # Errors
///
/// Go's text, such as `time: missing unit in duration "5"`.
pub(crate) fn parse_duration(text: &str) -> Result<GoDuration, String> {
    let invalid = || format!("time: invalid duration {}", go_quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(GoDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = Number::read(rest).ok_or_else(invalid)?;
        let unit_end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", go_quote(text)));
        }
        let nanos_per_unit = nanos_per_unit(unit)
            .ok_or_else(|| format!("time: unknown unit {} in duration {}", go_quote(unit), go_quote(text)))?;
        total = number
            .nanos(nanos_per_unit)
            .and_then(|nanos| total.checked_add(nanos))
            .filter(|total| *total <= 1 << 63)
            .ok_or_else(invalid)?;
        rest = after;
    }
    let nanos = if negative { 0_i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() };
    nanos.map(GoDuration).ok_or_else(invalid)
}

fn nanos_per_unit(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A decimal number: `whole` + `fraction` / `scale`. Digits of the fraction beyond 63 bits are dropped, as in Go.
struct Number {
    whole: u64,
    fraction: u64,
    scale: f64,
}

impl Number {
    /// Reads a number off the front of `text`; `None` if there is no digit, or the whole part is too large.
    fn read(text: &str) -> Option<(Self, &str)> {
        let digits_end = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (whole_digits, mut rest) = text.split_at(digits_end(text));
        let mut number = Self { whole: 0, fraction: 0, scale: 1.0 };
        for digit in whole_digits.bytes() {
            number.whole = number.whole.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        }
        if number.whole > 1 << 63 {
            return None;
        }
        let mut has_digits = !whole_digits.is_empty();
        if let Some(after_point) = rest.strip_prefix('.') {
            let (digits, after) = after_point.split_at(digits_end(after_point));
            has_digits |= !digits.is_empty();
            for digit in digits.bytes() {
                let next =
                    number.fraction.checked_mul(10).and_then(|f| f.checked_add(u64::from(digit - b'0')));
                let Some(next) = next.filter(|next| *next <= 1 << 63) else { break };
                number.fraction = next;
                number.scale *= 10.0;
            }
            rest = after;
        }
        has_digits.then_some((number, rest))
    }

    fn nanos(&self, nanos_per_unit: u64) -> Option<u64> {
        let whole = self.whole.checked_mul(nanos_per_unit)?;
        let fraction = self.fraction as f64 * (nanos_per_unit as f64 / self.scale);
        whole.checked_add(fraction as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("+5s", 5_000_000_000),
            ("-1.5h", -5_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("3us", 3_000),
            ("3µs", 3_000),
            ("3μs", 3_000),
            ("7ns", 7),
            ("0.100000000000000000000h", 360_000_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse_duration(text), Ok(GoDuration(nanos)), "reading {text:?}");
        }
    }

    #[test]
    fn bad_durations_get_gos_messages() {
        for (text, message) in [
            ("5", "time: missing unit in duration \"5\""),
            ("1h5", "time: missing unit in duration \"1h5\""),
            ("1 day", "time: unknown unit \" day\" in duration \"1 day\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("x", "time: invalid duration \"x\""),
            (".s", "time: invalid duration \".s\""),
            ("1s-2s", "time: unknown unit \"s-\" in duration \"1s-2s\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("99999999999999999999h", "time: invalid duration \"99999999999999999999h\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
        ] {
            assert_eq!(parse_duration(text), Err(message.to_owned()), "reading {text:?}");
        }
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (5_400_000_000_000, "1h30m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (-90_000_000_000, "-1m30s"),
        ] {
            assert_eq!(GoDuration(nanos).to_string(), text);
        }
    }
}
