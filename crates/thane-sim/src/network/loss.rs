//! Which packets are lost by chance.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thane_core::Time;

use crate::portable::exp;
use crate::rng::SimRng;
use crate::span;

/// Which packets are lost by chance. In TOML and JSON either a share (`0.05`) or the fields of [`Bursts`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Loss {
    /// Each packet with the same probability, 0 to 1.
    Uniform(f64),
    /// In bursts.
    Bursts(Bursts),
}

/// Loss in bursts, by the model of Gilbert and Elliott: each direction between two hosts is good or bad, and turns from
/// one to the other after a time that is drawn from an exponential distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bursts {
    /// Mean time that it stays good.
    #[serde(with = "span")]
    pub every: Duration,
    /// Mean time that it stays bad.
    #[serde(with = "span")]
    pub lasting: Duration,
    /// Share of packets that are lost while it is bad, 0 to 1.
    #[serde(default = "one")]
    pub within: f64,
    /// Share of packets that are lost while it is good, 0 to 1.
    #[serde(default)]
    pub between: f64,
}

fn one() -> f64 {
    1.0
}

impl Loss {
    /// Nothing is lost.
    pub const NONE: Self = Self::Uniform(0.0);

    /// Whether anything is ever lost.
    pub fn is_none(&self) -> bool {
        match self {
            Self::Uniform(share) => *share <= 0.0,
            Self::Bursts(bursts) => bursts.within <= 0.0 && bursts.between <= 0.0,
        }
    }

    /// The share of packets that are lost in the long run.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Uniform(share) => share.clamp(0.0, 1.0),
            Self::Bursts(it) => {
                let bad = it.bad_share();
                bad * it.within.clamp(0.0, 1.0) + (1.0 - bad) * it.between.clamp(0.0, 1.0)
            }
        }
    }
}

impl From<f64> for Loss {
    fn from(share: f64) -> Self {
        Self::Uniform(share)
    }
}

impl Bursts {
    /// The share of time that it is bad.
    fn bad_share(&self) -> f64 {
        let (good, bad) = (self.every.as_secs_f64(), self.lasting.as_secs_f64());
        if good + bad > 0.0 { bad / (good + bad) } else { 0.0 }
    }
}

/// Whether one direction is bad, and when that was last looked at. Between two looks nobody needs to know, so no event
/// is spent on it: the chance of being bad now follows from then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    at: Time,
    bad: bool,
}

impl Weather {
    /// Whether it is bad now, in the state that `before` it left.
    pub(super) fn at(bursts: &Bursts, before: Option<Self>, now: Time, rng: &mut SimRng) -> Self {
        let share = bursts.bad_share();
        let chance = match before {
            None => share,
            Some(Self { at, bad }) if at >= now => f64::from(u8::from(bad)),
            Some(Self { at, bad }) => {
                let rate =
                    1.0 / bursts.every.as_secs_f64().max(1e-9) + 1.0 / bursts.lasting.as_secs_f64().max(1e-9);
                let remembered = exp(-rate * now.since(at).as_secs_f64());
                share + (f64::from(u8::from(bad)) - share) * remembered
            }
        };
        // A look into the past (a piece of a stream that is sent again is judged ahead of time) does not turn time back.
        let at = before.map_or(now, |it| it.at.max(now));
        Self { at, bad: rng.chance(chance) }
    }

    pub(super) fn share(self, bursts: &Bursts) -> f64 {
        if self.bad { bursts.within } else { bursts.between }
    }

    pub(super) fn is_bad(self) -> bool {
        self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_last_as_long_and_come_as_often_as_asked() {
        let bursts = Bursts {
            every: Duration::from_secs(4),
            lasting: Duration::from_secs(1),
            within: 1.0,
            between: 0.0,
        };
        let mut rng = SimRng::new(3, "test", 0);
        let (mut now, mut weather, mut bad, mut begun) = (Time::ZERO, None, 0, 0);
        let looks = 2_000_000;
        for _ in 0..looks {
            now += Duration::from_millis(10);
            let next = Weather::at(&bursts, weather, now, &mut rng);
            bad += i32::from(next.bad);
            begun += i32::from(next.bad && !weather.is_some_and(|it: Weather| it.bad));
            weather = Some(next);
        }
        let share = f64::from(bad) / f64::from(looks);
        assert!((share - 0.2).abs() < 0.01, "bad for a share of {share}");
        let length = f64::from(bad) * 0.01 / f64::from(begun);
        assert!((length - 1.0).abs() < 0.05, "bursts of {length} s");
        assert!((Loss::Bursts(bursts).mean() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn both_forms_are_read() {
        let uniform: Loss = serde_json::from_str("0.05").expect("a share");
        assert_eq!(uniform, Loss::Uniform(0.05));
        let bursts: Loss = serde_json::from_str(r#"{"every": "10s", "lasting": "500ms"}"#).expect("bursts");
        let Loss::Bursts(bursts) = bursts else { panic!("{bursts:?}") };
        assert_eq!((bursts.within, bursts.between), (1.0, 0.0));
    }
}
