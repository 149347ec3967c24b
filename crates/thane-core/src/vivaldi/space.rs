//! The space that coordinates lie in: distances, and forces that move a point.
//!
//! The order of every operation is part of the protocol: with the same inputs the results equal Serf's on amd64 bit for bit, so
//! nothing here may be rearranged or fused.

use std::time::Duration;

use thane_wire::coordinate::Coordinate;

/// Below this, in seconds, two points lie on each other, and a round trip took no time at all.
pub(super) const ZERO_THRESHOLD: f64 = 1.0e-6;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Whether two coordinates lie in one space: they have the same number of dimensions.
pub fn is_compatible(a: &Coordinate, b: &Coordinate) -> bool {
    a.vec.len() == b.vec.len()
}

/// Whether no component is infinite or not a number.
pub fn is_valid(coordinate: &Coordinate) -> bool {
    let Coordinate { vec, error, adjustment, height } = coordinate;
    vec.iter().chain([error, adjustment, height]).all(|component| component.is_finite())
}

/// Distance in seconds by position and height alone, without the adjustments. `None` for coordinates of different spaces.
pub fn raw_distance(a: &Coordinate, b: &Coordinate) -> Option<f64> {
    is_compatible(a, b).then(|| raw(a, b))
}

/// The estimated round trip between two members in whole nanoseconds, cut toward zero. An adjustment that would make it
/// negative is left out. `None` for coordinates of different spaces. (Serf: `coordinate.go`, `DistanceTo`.)
///
/// Coordinates with a negative height, which a client refuses, can have a negative distance.
pub fn distance_nanos(a: &Coordinate, b: &Coordinate) -> Option<i64> {
    is_compatible(a, b).then(|| nanos(a, b))
}

/// The estimated round trip between two members. `None` for coordinates of different spaces.
pub fn distance(a: &Coordinate, b: &Coordinate) -> Option<Duration> {
    distance_nanos(a, b).map(|nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}

pub(super) fn raw(a: &Coordinate, b: &Coordinate) -> f64 {
    let mut sum = 0.0;
    for (x, y) in a.vec.iter().zip(&b.vec) {
        let difference = x - y;
        sum += difference * difference;
    }
    sum.sqrt() + a.height + b.height
}

fn nanos(a: &Coordinate, b: &Coordinate) -> i64 {
    let raw = raw(a, b);
    let adjusted = raw + a.adjustment + b.adjustment;
    let seconds = if adjusted > 0.0 { adjusted } else { raw };
    // Beyond the range this stays at its end, where Go's conversion on amd64 gives the least number.
    (seconds * NANOS_PER_SECOND as f64) as i64
}

/// Distance in seconds after it was cut to whole nanoseconds, which is what the algorithm works with.
pub(super) fn quantised(a: &Coordinate, b: &Coordinate) -> f64 {
    seconds(nanos(a, b))
}

/// Seconds of a count of nanoseconds, rounded as Go's `Duration.Seconds` does.
pub(super) fn seconds(nanos: i64) -> f64 {
    let (whole, rest) = (nanos / NANOS_PER_SECOND, nanos % NANOS_PER_SECOND);
    whole as f64 + rest as f64 / NANOS_PER_SECOND as f64
}

/// Moves `point` away from `from` by `force` seconds, or towards it if the force is negative. Two that lie on each other part in a
/// random direction, for which as many numbers in `[0, 1)` are drawn as there are dimensions.
pub(super) fn apply_force(
    point: &mut Coordinate,
    force: f64,
    from: &Coordinate,
    height_min: f64,
    random: &mut impl FnMut() -> f64,
) {
    let mut unit: Vec<f64> = point.vec.iter().zip(&from.vec).map(|(x, y)| x - y).collect();
    let apart = magnitude(&unit);
    if apart > ZERO_THRESHOLD {
        scale(&mut unit, 1.0 / apart);
        let height = (point.height + from.height) * force / apart + point.height;
        point.height = height.max(height_min);
    } else {
        random_direction(&mut unit, random);
    }
    for (x, direction) in point.vec.iter_mut().zip(&unit) {
        *x += direction * force;
    }
}

fn random_direction(unit: &mut [f64], random: &mut impl FnMut() -> f64) {
    for x in &mut *unit {
        *x = random() - 0.5;
    }
    let length = magnitude(unit);
    if length > ZERO_THRESHOLD {
        scale(unit, 1.0 / length);
    } else {
        unit.fill(0.0);
        unit[0] = 1.0;
    }
}

fn magnitude(vec: &[f64]) -> f64 {
    let mut sum = 0.0;
    for x in vec {
        sum += x * x;
    }
    sum.sqrt()
}

fn scale(vec: &mut [f64], factor: f64) {
    for x in vec {
        *x *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(vec: &[f64], height: f64) -> Coordinate {
        Coordinate { vec: vec.to_vec(), error: 1.5, adjustment: 0.0, height }
    }

    fn no_chance() -> f64 {
        panic!("no direction is drawn for points that are apart")
    }

    fn assert_near(got: &[f64], wanted: &[f64]) {
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().zip(wanted) {
            assert!((got - wanted).abs() <= 1.0e-6, "{got} instead of {wanted}");
        }
    }

    /// Serf: `coordinate_test.go`, `TestCoordinate_ApplyForce`.
    #[test]
    fn a_force_pushes_away_or_pulls_and_lifts_with_the_height() {
        let mut point = at(&[0.0, 0.0, 0.0], 0.0);
        apply_force(&mut point, 5.3, &at(&[0.0, 0.0, 2.9], 0.0), 0.0, &mut no_chance);
        assert_near(&point.vec, &[0.0, 0.0, -5.3]);
        apply_force(&mut point, 2.0, &at(&[3.4, 0.0, -5.3], 0.0), 0.0, &mut no_chance);
        assert_near(&point.vec, &[-2.0, 0.0, -5.3]);

        let origin = || at(&[0.0, 0.0, 0.0], 1.0e-5);
        let peer = at(&[0.0, 0.0, 2.9], 1.0e-5);
        let mut raised = origin();
        // The peer's height counts too.
        apply_force(&mut raised, 5.3, &at(&[0.0, 0.0, 2.9], 0.0), 1.0e-5, &mut no_chance);
        assert_near(&[raised.height], &[1.0e-5 + 5.3 * 1.0e-5 / 2.9]);
        let mut lowered = origin();
        apply_force(&mut lowered, -5.3, &peer, 1.0e-5, &mut no_chance);
        assert_near(&lowered.vec, &[0.0, 0.0, 5.3]);
        assert_eq!(lowered.height.to_bits(), 1.0e-5_f64.to_bits(), "never below the least height");
    }

    #[test]
    fn points_on_each_other_part_in_a_drawn_direction() {
        let mut draws = [0.9, 0.1, 0.5].into_iter();
        let mut point = at(&[0.0, 0.0, 0.0], 1.0e-5);
        let origin = point.clone();
        apply_force(&mut point, 1.0, &origin, 1.0e-5, &mut || draws.next().unwrap());
        assert_near(&[magnitude(&point.vec)], &[1.0]);
        assert_near(&point.vec, &[0.5_f64.sqrt(), -0.5_f64.sqrt(), 0.0]);
        assert_eq!(point.height.to_bits(), origin.height.to_bits(), "there is no direction in which to rise");

        let mut unlucky = origin.clone();
        apply_force(&mut unlucky, 1.0, &origin, 1.0e-5, &mut || 0.5);
        assert_near(&unlucky.vec, &[1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_distance_out_of_range_stays_at_its_end() {
        assert_eq!(distance_nanos(&at(&[1.0e200], 0.0), &at(&[0.0], 0.0)), Some(i64::MAX));
        assert_eq!(distance_nanos(&at(&[1.0], -2.0), &at(&[0.0], 0.0)), Some(-NANOS_PER_SECOND));
        assert_eq!(distance(&at(&[1.0], -2.0), &at(&[0.0], 0.0)), Some(Duration::ZERO));
        assert_eq!(distance(&at(&[1.0], 0.0), &at(&[0.0, 0.0], 0.0)), None);
    }

    /// Serf: `coordinate_test.go`, `TestCoordinate_IsValid`.
    #[test]
    fn each_component_must_be_finite() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for component in 0..6 {
                let mut coordinate = at(&[0.0; 3], 1.0e-5);
                assert!(is_valid(&coordinate));
                match component {
                    0 => coordinate.error = bad,
                    1 => coordinate.adjustment = bad,
                    2 => coordinate.height = bad,
                    axis => coordinate.vec[axis - 3] = bad,
                }
                assert!(!is_valid(&coordinate), "{coordinate:?}");
            }
        }
    }
}
