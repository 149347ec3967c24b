//! What a coordinate client promises beyond the recorded runs.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::time::Duration;

use proptest::prelude::*;
use thane_core::Coordinate;
use thane_core::vivaldi::{
    COMPONENT_MAX, CoordinateError, LatencyFilter, RTT_MAX, VivaldiClient, VivaldiConfig, distance, is_valid,
};

fn client(dimensionality: usize) -> VivaldiClient {
    VivaldiClient::new(VivaldiConfig { dimensionality, ..VivaldiConfig::default() }).unwrap()
}

fn at(vec: &[f64]) -> Coordinate {
    Coordinate { vec: vec.to_vec(), error: 1.5, adjustment: 0.0, height: 10.0e-6 }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Serf: `client_test.go`, `TestClient_Update`, `TestClient_DistanceTo`.
#[test]
fn a_peer_that_is_too_near_pushes_away() {
    let mut client = client(3);
    let peer = at(&[0.0, 0.0, 0.001]);
    let moved = client.update(&mut LatencyFilter::default(), &peer, ms(2), &mut || 0.0).unwrap();
    assert!(moved.vec[2] < 0.0);
    client.set(at(&[0.0, 0.0, 29.0])).unwrap();
    assert_eq!(client.coordinate().vec, [0.0, 0.0, 29.0]);

    let flat = VivaldiConfig { dimensionality: 3, height_min: 0.0, ..VivaldiConfig::default() };
    let origin = VivaldiClient::new(flat).unwrap();
    let away = Coordinate { height: 0.0, ..at(&[0.0, 0.0, 12.345]) };
    assert_eq!(distance(origin.coordinate(), &away), Some(Duration::from_millis(12_345)));
}

/// Serf: `client_test.go`, `TestClient_InvalidInPingValues`.
#[test]
fn impossible_round_trips_are_refused() {
    let mut client = client(3);
    let (before, peer) = (client.coordinate().clone(), at(&[0.0, 0.0, 0.001]));
    for rtt in [RTT_MAX + Duration::from_nanos(1), Duration::from_secs(11), Duration::MAX] {
        let mut filter = LatencyFilter::default();
        let refused = client.update(&mut filter, &peer, rtt, &mut || 0.0).unwrap_err();
        assert_eq!(refused, CoordinateError::RoundTrip(rtt));
        assert_eq!((client.coordinate(), filter), (&before, LatencyFilter::default()));
    }
    client.update(&mut LatencyFilter::default(), &peer, RTT_MAX, &mut || 0.0).unwrap();
    client.update(&mut LatencyFilter::default(), &peer, Duration::ZERO, &mut || 0.0).unwrap();
}

/// Serf: `client_test.go`, `TestClient_NaN_Defense`; the bounds are ours.
#[test]
fn coordinates_that_no_working_member_has_are_refused() {
    let mut client = client(3);
    let before = client.coordinate().clone();
    let good = at(&[0.0, 0.0, 0.1]);
    let out_of_range = |component, value| CoordinateError::OutOfRange { component, value };
    let cases = [
        (at(&[0.0; 6]), CoordinateError::Dimensions { theirs: 6, ours: 3 }),
        (at(&[]), CoordinateError::Dimensions { theirs: 0, ours: 3 }),
        (at(&[0.0, f64::NAN, 0.0]), CoordinateError::NotFinite),
        (Coordinate { height: f64::INFINITY, ..good.clone() }, CoordinateError::NotFinite),
        (at(&[0.0, -30.1, 0.0]), out_of_range("position", -30.1)),
        (Coordinate { adjustment: 1.0e6, ..good.clone() }, out_of_range("adjustment", 1.0e6)),
        (Coordinate { error: -0.1, ..good.clone() }, out_of_range("error", -0.1)),
        (Coordinate { error: 1.6, ..good.clone() }, out_of_range("error", 1.6)),
        (Coordinate { height: -1.0e-9, ..good.clone() }, out_of_range("height", -1.0e-9)),
        (Coordinate { height: 31.0, ..good.clone() }, out_of_range("height", 31.0)),
    ];
    for (bad, wanted) in cases {
        let refused = client.update(&mut LatencyFilter::default(), &bad, ms(250), &mut || 0.0);
        assert_eq!(refused.unwrap_err(), wanted, "{bad:?}");
        assert_eq!(client.set(bad), Err(wanted));
        assert_eq!(client.coordinate(), &before);
    }
    let dubious = Coordinate { error: 0.0, height: 0.0, ..good };
    client.update(&mut LatencyFilter::default(), &dubious, ms(250), &mut || 0.0).unwrap();
}

/// A liar within the bounds: 30 s away in every direction. Serf is thrown as far as the lie goes.
#[test]
fn one_update_moves_by_no_more_than_an_honest_one_could() {
    let mut client = client(8);
    let liar = Coordinate { error: 0.0, ..at(&[COMPONENT_MAX; 8]) };
    let moved = client.update(&mut LatencyFilter::default(), &liar, ms(1), &mut || 0.0).unwrap();
    let far = moved.vec.iter().map(|axis| axis * axis).sum::<f64>().sqrt();
    assert!((2.4..=2.5).contains(&far), "a quarter of the longest round trip, not {far}");
}

proptest! {
    /// Whatever peers say, and however often: we stay somewhere that other members accept, and nothing panics.
    #[test]
    fn no_peer_can_make_our_coordinate_unusable(
        observations in proptest::collection::vec(
            (
                proptest::collection::vec(prop_oneof![any::<f64>(), -40.0..40.0, -1.0e-5..1.0e-5], 2),
                prop_oneof![any::<f64>(), 0.0..1.5],
                prop_oneof![any::<f64>(), -35.0..35.0],
                prop_oneof![any::<f64>(), 0.0..35.0],
                0_u64..11_000_000_000,
            ),
            1..60,
        ),
        draw in 0.0..1.0,
    ) {
        let (mut client, mut witness) = (client(2), client(2));
        let mut filter = LatencyFilter::default();
        for (vec, error, adjustment, height, nanos) in observations {
            let other = Coordinate { vec, error, adjustment, height };
            let rtt = Duration::from_nanos(nanos);
            if let Ok(at) = client.update(&mut filter, &other, rtt, &mut || draw) {
                prop_assert!(is_valid(at));
                prop_assert_eq!(witness.set(at.clone()), Ok(()));
            }
        }
    }
}
