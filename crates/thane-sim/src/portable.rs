//! Logarithm and exponential from additions and multiplications alone. Those of the standard library are the
//! system's, which may differ in the last bit from one machine to the next; a simulation must not.

use std::f64::consts::{LN_2, SQRT_2};

/// The natural logarithm of a number over zero, to about 15 digits.
pub(crate) fn ln(x: f64) -> f64 {
    debug_assert!(x > 0.0 && x.is_finite(), "the logarithm of {x}");
    let mut mantissa = x;
    let mut exponent = 0;
    while mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    while mantissa < SQRT_2 / 2.0 {
        mantissa *= 2.0;
        exponent -= 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), and the fraction is at most 0.172: eleven terms suffice.
    let fraction = (mantissa - 1.0) / (mantissa + 1.0);
    let square = fraction * fraction;
    let series = (0..11).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    f64::from(exponent) * LN_2 + 2.0 * fraction * series
}

/// e to this power, to about 15 digits; powers beyond ±300 count as ±300.
pub(crate) fn exp(x: f64) -> f64 {
    let x = x.clamp(-300.0, 300.0);
    let twos = (x / LN_2).round();
    let rest = x - twos * LN_2;
    // The rest is at most 0.35: sixteen terms suffice.
    let series = (1..=16).rev().fold(1.0, |sum, k| 1.0 + sum * rest / f64::from(k));
    let mut power = 1.0;
    let step = if twos < 0.0 { 0.5 } else { 2.0 };
    for _ in 0..(twos.abs() as u32) {
        power *= step;
    }
    series * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_systems_to_twelve_digits() {
        for x in [1e-9, 0.001, 0.5, 0.7, 1.0, 1.3, 2.0, 10.0, 12_345.678, 1e12] {
            assert!((ln(x) - f64::ln(x)).abs() <= 1e-12 * f64::ln(x).abs().max(1.0), "ln {x}");
        }
        for x in [-50.0, -3.3, -0.1, 0.0, 0.2, 1.0, 5.5, 40.0] {
            assert!((exp(x) / f64::exp(x) - 1.0).abs() < 1e-12, "exp {x}");
        }
    }
}
