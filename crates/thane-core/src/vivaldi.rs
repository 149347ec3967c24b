//! Network coordinates: each member's place in a space in which distance is round trip time.
//!
//! A [`VivaldiClient`] is one member's own place. Each answered probe tells it a peer's coordinate and the round trip to that peer,
//! and moves it a little along the line between them. From any two coordinates [`distance`] then estimates the round trip between
//! two members that may never have met. Sources: F. Dabek et al., "Vivaldi: A Decentralized Network Coordinate System" (2004), with
//! the height of its section 5.4; J. Ledlie et al., "Network Coordinates in the Wild" (2007), for the latency filter and gravity;
//! S. Lee et al., "On Suitability of Euclidean Embedding for Host-Based Network Coordinate Systems" (2010), for the adjustment.
//!
//! The arithmetic is Serf's (`coordinate/client.go`), bit for bit. Three things differ, none of which an honest cluster meets: a
//! coordinate out of sane bounds ([`COMPONENT_MAX`]) is refused; the force of one update is limited to what [`RTT_MAX`] could
//! cause; and a reset also clears what the adjustment remembers, so that one absurd sample does not cause a reset again and again.

mod latency;
mod space;

use std::time::Duration;

use thane_wire::coordinate::{Coordinate, DIMENSIONS_MAX};
use thiserror::Error;

pub use self::latency::{LATENCY_SAMPLES_MAX, LatencyFilter};
use self::space::{ZERO_THRESHOLD, apply_force, quantised, raw, seconds};
pub use self::space::{distance, distance_nanos, is_compatible, is_valid, raw_distance};

/// Longest round trip that is believed.
pub const RTT_MAX: Duration = Duration::from_secs(10);
/// Farthest from the origin, in seconds, that a component of a position, an adjustment or a height is believed: three times the
/// longest round trip.
pub const COMPONENT_MAX: f64 = 30.0;
/// Most updates that an adjustment can be averaged over.
const ADJUSTMENT_WINDOW_MAX: usize = 1024;

/// Settings of a [`VivaldiClient`]. Serf uses the defaults everywhere, and so must all members of one cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct VivaldiConfig {
    /// Dimensions of the space, without the height: 1 to 64. 8.
    pub dimensionality: usize,
    /// Error of a member that knows nothing, and the most that an error can be. 1.5.
    pub error_max: f64,
    /// How much one observation counts for the error. 0.25.
    pub ce: f64,
    /// How much one observation counts for the position. 0.25.
    pub cc: f64,
    /// Over how many updates the adjustment is averaged; 0 turns it off. 20.
    pub adjustment_window: usize,
    /// Least height, in seconds. 10 µs.
    pub height_min: f64,
    /// How many round trips of a peer the median is taken of: 1 to [`LATENCY_SAMPLES_MAX`]. 3.
    pub latency_filter: usize,
    /// How weakly the origin pulls: the distance, in seconds, at which the pull is one second an update. 150.
    pub gravity_rho: f64,
}

impl Default for VivaldiConfig {
    fn default() -> Self {
        Self {
            dimensionality: 8,
            error_max: 1.5,
            ce: 0.25,
            cc: 0.25,
            adjustment_window: 20,
            height_min: 10.0e-6,
            latency_filter: 3,
            gravity_rho: 150.0,
        }
    }
}

/// Why a coordinate, a round trip or a setting cannot be used. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CoordinateError {
    /// The coordinate lies in a space of other dimensions.
    #[error("dimensions aren't compatible: the coordinate has {theirs} and ours has {ours}")]
    Dimensions {
        /// How many the refused coordinate has.
        theirs: usize,
        /// How many we have.
        ours: usize,
    },
    /// A component is infinite or not a number.
    #[error("coordinate is invalid: a component is infinite or not a number")]
    NotFinite,
    /// A component is a number that no working member would have.
    #[error("coordinate is invalid: its {component} of {value} is out of range")]
    OutOfRange {
        /// Which: position, error, adjustment or height.
        component: &'static str,
        /// What it is.
        value: f64,
    },
    /// The round trip took longer than [`RTT_MAX`].
    #[error("round trip time of {0:?} is longer than {RTT_MAX:?}")]
    RoundTrip(Duration),
    /// A setting of [`VivaldiConfig`] is out of its range.
    #[error("{0} of the coordinate settings is out of range")]
    Setting(&'static str),
}

/// One member's own place, and what moves it.
#[derive(Debug, Clone)]
pub struct VivaldiClient {
    config: VivaldiConfig,
    coordinate: Coordinate,
    origin: Coordinate,
    /// A ring: by how much the last round trips differed from the raw distance, in seconds.
    residuals: Vec<f64>,
    next_residual: usize,
    resets: u64,
}

impl VivaldiClient {
    /// A member at the origin that knows nothing yet.
    ///
    /// # Errors
    /// [`CoordinateError::Setting`] for a setting out of its range.
    pub fn new(config: VivaldiConfig) -> Result<Self, CoordinateError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        for (setting, fits) in [
            ("dimensionality", (1..=DIMENSIONS_MAX).contains(&config.dimensionality)),
            ("error_max", positive(config.error_max)),
            ("ce", (0.0..=1.0).contains(&config.ce)),
            ("cc", (0.0..=1.0).contains(&config.cc)),
            ("adjustment_window", config.adjustment_window <= ADJUSTMENT_WINDOW_MAX),
            ("height_min", (0.0..=1.0).contains(&config.height_min)),
            ("latency_filter", (1..=LATENCY_SAMPLES_MAX).contains(&config.latency_filter)),
            ("gravity_rho", positive(config.gravity_rho)),
        ] {
            if !fits {
                return Err(CoordinateError::Setting(setting));
            }
        }
        Ok(Self::at_origin(config))
    }

    fn at_origin(config: VivaldiConfig) -> Self {
        let origin = Coordinate {
            vec: vec![0.0; config.dimensionality],
            error: config.error_max,
            adjustment: 0.0,
            height: config.height_min,
        };
        let residuals = vec![0.0; config.adjustment_window];
        Self { config, coordinate: origin.clone(), origin, residuals, next_residual: 0, resets: 0 }
    }

    /// Where we are.
    pub fn coordinate(&self) -> &Coordinate {
        &self.coordinate
    }

    /// How often our own coordinate became unusable and began again at the origin.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Puts us elsewhere.
    ///
    /// # Errors
    /// When the coordinate cannot be used; we stay where we are.
    pub fn set(&mut self, coordinate: Coordinate) -> Result<(), CoordinateError> {
        self.check(&coordinate)?;
        self.coordinate = coordinate;
        Ok(())
    }

    /// Learns from one answer of a peer: its coordinate, and the round trip to it. `filter` holds that peer's last round trips;
    /// `random` gives numbers in `[0, 1)` and is asked only when we lie on the peer or on the origin. A round trip of zero is fine.
    /// Gives our new coordinate.
    ///
    /// # Errors
    /// When the coordinate or the round trip cannot be used; nothing has changed then, the filter included.
    pub fn update(
        &mut self,
        filter: &mut LatencyFilter,
        other: &Coordinate,
        rtt: Duration,
        random: &mut impl FnMut() -> f64,
    ) -> Result<&Coordinate, CoordinateError> {
        self.check(other)?;
        if rtt > RTT_MAX {
            return Err(CoordinateError::RoundTrip(rtt));
        }
        let rtt = filter.push(seconds(rtt.as_nanos() as i64), self.config.latency_filter);
        self.approach(other, rtt, random);
        self.adjust(other, rtt);
        self.gravitate(random);
        if self.check(&self.coordinate).is_err() {
            self.reset();
        }
        Ok(&self.coordinate)
    }

    /// Whether this can be the coordinate of a working member of our cluster.
    fn check(&self, coordinate: &Coordinate) -> Result<(), CoordinateError> {
        if !is_compatible(coordinate, &self.origin) {
            let (theirs, ours) = (coordinate.vec.len(), self.origin.vec.len());
            return Err(CoordinateError::Dimensions { theirs, ours });
        }
        if !is_valid(coordinate) {
            return Err(CoordinateError::NotFinite);
        }
        let Coordinate { vec, error, adjustment, height } = coordinate;
        let around_zero = -COMPONENT_MAX..=COMPONENT_MAX;
        let positions = vec.iter().map(|axis| ("position", *axis, around_zero.clone()));
        let components = positions.chain([
            ("adjustment", *adjustment, around_zero.clone()),
            ("error", *error, 0.0..=self.config.error_max),
            ("height", *height, 0.0..=COMPONENT_MAX),
        ]);
        for (component, value, range) in components {
            if !range.contains(&value) {
                return Err(CoordinateError::OutOfRange { component, value });
            }
        }
        Ok(())
    }

    /// Moves along the line to the peer, the more the surer the peer is compared with us. (Vivaldi, figure 3.)
    fn approach(&mut self, other: &Coordinate, rtt: f64, random: &mut impl FnMut() -> f64) {
        let VivaldiConfig { ce, cc, error_max, height_min, .. } = self.config;
        let distance = quantised(&self.coordinate, other);
        let rtt = if rtt < ZERO_THRESHOLD { ZERO_THRESHOLD } else { rtt };
        let wrongness = (distance - rtt).abs() / rtt;
        let mut total = self.coordinate.error + other.error;
        if total < ZERO_THRESHOLD {
            total = ZERO_THRESHOLD;
        }
        let weight = self.coordinate.error / total;
        let error = ce * weight * wrongness + self.coordinate.error * (1.0 - ce * weight);
        self.coordinate.error = if error > error_max { error_max } else { error };
        // No honest pair is farther apart than the longest round trip, so no honest force is stronger than this.
        let strongest = cc * RTT_MAX.as_secs_f64();
        let force = (cc * weight * (rtt - distance)).clamp(-strongest, strongest);
        apply_force(&mut self.coordinate, force, other, height_min, random);
    }

    /// Remembers by how much the position is wrong, and lets half of the average make up for it: the peer adds the other half.
    fn adjust(&mut self, other: &Coordinate, rtt: f64) {
        let window = self.residuals.len();
        if window == 0 {
            return;
        }
        self.residuals[self.next_residual] = rtt - raw(&self.coordinate, other);
        self.next_residual = (self.next_residual + 1) % window;
        let mut sum = 0.0;
        for residual in &self.residuals {
            sum += residual;
        }
        self.coordinate.adjustment = sum / (2.0 * window as f64);
    }

    /// Pulls a little towards the origin, so that the cluster as a whole does not drift away.
    fn gravitate(&mut self, random: &mut impl FnMut() -> f64) {
        let ratio = quantised(&self.origin, &self.coordinate) / self.config.gravity_rho;
        let force = -(ratio * ratio);
        apply_force(&mut self.coordinate, force, &self.origin, self.config.height_min, random);
    }

    fn reset(&mut self) {
        self.resets += 1;
        self.coordinate = self.origin.clone();
        self.residuals.fill(0.0);
        self.next_residual = 0;
    }
}

impl Default for VivaldiClient {
    /// A member at the origin, with Serf's settings.
    fn default() -> Self {
        Self::at_origin(VivaldiConfig::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> VivaldiClient {
        VivaldiClient::new(VivaldiConfig { dimensionality: 3, ..VivaldiConfig::default() }).unwrap()
    }

    /// Serf: `client_test.go`, `TestClient_NaN_Defense`. There every update while the window holds the bad sample resets again.
    #[test]
    fn a_poisoned_coordinate_begins_again_and_only_once() {
        for poison in [f64::NAN, f64::INFINITY, 1.0e300] {
            let mut client = client();
            client.coordinate.vec[0] = poison;
            client.residuals[7] = poison;
            let peer = Coordinate { vec: vec![0.0, 0.0, 0.1], error: 0.5, adjustment: 0.0, height: 1.0e-5 };
            for _ in 0..30 {
                let rtt = Duration::from_millis(100);
                let at =
                    client.update(&mut LatencyFilter::default(), &peer, rtt, &mut || 0.25).unwrap().clone();
                assert_eq!(client.check(&at), Ok(()), "poisoned with {poison}");
            }
            assert_eq!(client.resets(), 1, "poisoned with {poison}");
        }
    }

    #[test]
    fn settings_are_checked() {
        let with = |change: fn(&mut VivaldiConfig)| {
            let mut config = VivaldiConfig::default();
            change(&mut config);
            VivaldiClient::new(config).err()
        };
        assert_eq!(with(|_| {}), None, "the default can be used");
        let refused = |name| Some(CoordinateError::Setting(name));
        assert_eq!(with(|config| config.dimensionality = 0), refused("dimensionality"));
        assert_eq!(with(|config| config.dimensionality = 65), refused("dimensionality"));
        assert_eq!(with(|config| config.latency_filter = 0), refused("latency_filter"));
        assert_eq!(with(|config| config.latency_filter = 6), refused("latency_filter"));
        assert_eq!(with(|config| config.gravity_rho = 0.0), refused("gravity_rho"));
        assert_eq!(with(|config| config.error_max = f64::NAN), refused("error_max"));
        assert_eq!(with(|config| config.height_min = -1.0), refused("height_min"));
    }
}
