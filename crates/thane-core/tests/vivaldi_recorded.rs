//! Coordinates against recorded runs of Serf's own library, bit for bit.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use thane_core::Coordinate;
use thane_core::vivaldi::{
    CoordinateError, LatencyFilter, VivaldiClient, VivaldiConfig, distance, distance_nanos, raw_distance,
};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn count(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

fn coordinate(value: &Value) -> Coordinate {
    Coordinate {
        vec: value["vec"].as_array().unwrap().iter().map(number).collect(),
        error: number(&value["error"]),
        adjustment: number(&value["adjustment"]),
        height: number(&value["height"]),
    }
}

fn client(config: &Value) -> VivaldiClient {
    let config = VivaldiConfig {
        dimensionality: count(&config["dimensionality"]),
        error_max: number(&config["vivaldi_error_max"]),
        ce: number(&config["vivaldi_ce"]),
        cc: number(&config["vivaldi_cc"]),
        adjustment_window: count(&config["adjustment_window_size"]),
        height_min: number(&config["height_min"]),
        latency_filter: count(&config["latency_filter_size"]),
        gravity_rho: number(&config["gravity_rho"]),
    };
    VivaldiClient::new(config).unwrap()
}

/// Equal in every bit, except that 0 and -0 are one number.
fn assert_same(got: &Coordinate, wanted: &Coordinate, what: &str) {
    let parts = |c: &Coordinate| {
        let all = c.vec.iter().chain([&c.error, &c.adjustment, &c.height]);
        all.map(|x| (x + 0.0).to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(parts(got), parts(wanted), "{what}: {got:?} instead of {wanted:?}");
}

fn no_chance() -> f64 {
    panic!("nothing is left to chance here")
}

fn replay(trace: &str, recorded: &str) -> usize {
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let mut client = client(&recorded["config"]);
    client.set(coordinate(&recorded["start"])).unwrap();
    let mut filters: BTreeMap<String, LatencyFilter> = BTreeMap::new();
    let steps = recorded["steps"].as_array().unwrap();
    for (at, step) in steps.iter().enumerate() {
        let node = step["node"].as_str().unwrap();
        if step["forget_node_first"] == true {
            assert!(filters.remove(node).is_some(), "step {at} forgets somebody it knew");
        }
        let filter = filters.entry(node.to_owned()).or_default();
        let other = coordinate(&step["other"]);
        let rtt = Duration::from_nanos(step["rtt_ns"].as_u64().unwrap());
        let got = client.update(filter, &other, rtt, &mut no_chance).unwrap();
        assert_same(got, &coordinate(&step["result"]), &format!("step {at}"));
        let apart = distance_nanos(got, &other);
        assert_eq!(apart, step["distance_to_other_after_ns"].as_i64(), "step {at}");
    }
    assert_eq!(client.resets(), 0);
    eprintln!("compat: Vivaldi: trace {trace} | cases={0} same={0} listed=0", steps.len());
    steps.len()
}

#[test]
fn six_hundred_updates_with_serfs_settings() {
    assert_eq!(replay("a", include_str!("vectors/vivaldi/trace_a.json")), 600);
}

#[test]
fn three_hundred_updates_with_strong_gravity() {
    assert_eq!(replay("b", include_str!("vectors/vivaldi/trace_b.json")), 300);
}

#[test]
fn fifty_updates_without_adjustment() {
    assert_eq!(replay("c", include_str!("vectors/vivaldi/trace_c.json")), 50);
}

#[test]
fn distances_both_ways() {
    let recorded: Value = serde_json::from_str(include_str!("vectors/vivaldi/distances.json")).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 46);
    for case in cases {
        let (a, b) = (coordinate(&case["a"]), coordinate(&case["b"]));
        let raw = raw_distance(&a, &b).unwrap();
        assert_eq!(raw.to_bits(), number(&case["raw_seconds"]).to_bits(), "{case}");
        assert_eq!(distance_nanos(&a, &b), case["distance_ns"].as_i64(), "{case}");
        assert_eq!(distance_nanos(&b, &a), case["distance_ba_ns"].as_i64(), "{case}");
        assert_eq!(distance(&a, &b), case["distance_ns"].as_u64().map(Duration::from_nanos), "{case}");
    }
    eprintln!("compat: Vivaldi: distances | cases={0} same={0} listed=0", cases.len());
}

/// Serf takes a coordinate with a negative height, a huge adjustment or an error that is none, and is thrown far away by it. Until
/// the first of these the results are Serf's; each of them is refused here and moves nothing.
#[test]
fn boundary_inputs_as_serf_until_it_would_be_thrown_away() {
    let recorded: Value = serde_json::from_str(include_str!("vectors/vivaldi/edge_cases.json")).unwrap();
    let mut client = client(&recorded["config"]);
    client.set(coordinate(&recorded["start"])).unwrap();
    let mut parted = false;
    let (mut same, mut refused_by_both, mut refused_by_us) = (0, 0, Vec::new());
    for step in recorded["steps"].as_array().unwrap() {
        let node = step["node"].as_str().unwrap();
        let Some(rtt) = step["rtt_ns"].as_u64().map(Duration::from_nanos) else {
            // A negative round trip cannot be expressed here.
            assert_eq!(node, "neg");
            continue;
        };
        let mut filter = LatencyFilter::default();
        let (before, other) = (client.coordinate().clone(), coordinate(&step["other"]));
        let outcome = client.update(&mut filter, &other, rtt, &mut no_chance).cloned();
        match (outcome, step["result"].is_object()) {
            (Ok(got), true) if !parted => {
                assert_same(&got, &coordinate(&step["result"]), node);
                assert_eq!(distance_nanos(&got, &other), step["distance_to_other_after_ns"].as_i64());
                same += 1;
            }
            (Ok(got), true) => assert!(got.vec.iter().all(|axis| axis.abs() < 3.0), "{node}: {got:?}"),
            (Ok(_), false) => panic!("{node} must be refused: {}", step["rejected"]),
            (Err(error), serf_accepts) => {
                assert_same(client.coordinate(), &before, node);
                assert_eq!(filter, LatencyFilter::default(), "{node} leaves no trace");
                if serf_accepts {
                    assert!(matches!(error, CoordinateError::OutOfRange { .. }), "{node}: {error}");
                    refused_by_us.push(node);
                    parted = true;
                } else {
                    refused_by_both += 1;
                }
            }
        }
    }
    assert_eq!((same, refused_by_both), (6, 4));
    assert_eq!(refused_by_us, ["negheight", "negadj", "negerr", "bigerr", "far", "farther"]);
    let (cases, same) = (recorded["steps"].as_array().unwrap().len(), same + refused_by_both);
    eprintln!("compat: Vivaldi: boundaries | cases={cases} same={same} listed={}", cases - same);
}

/// Numbers beyond whole nanoseconds are refused.
#[test]
fn numbers_out_of_range_move_nothing() {
    let recorded: Value = serde_json::from_str(include_str!("vectors/vivaldi/overflow.json")).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    for case in cases {
        let mut client = client(&recorded["config"]);
        client.set(coordinate(&recorded["start"])).unwrap();
        let (before, other) = (client.coordinate().clone(), coordinate(&case["other"]));
        let rtt = Duration::from_nanos(case["rtt_ns"].as_u64().unwrap());
        let mut filter = LatencyFilter::default();
        let refused = client.update(&mut filter, &other, rtt, &mut no_chance).unwrap_err();
        assert!(matches!(refused, CoordinateError::OutOfRange { .. }), "{case}: {refused}");
        assert_same(client.coordinate(), &before, "unmoved");
        assert_eq!((filter, client.resets()), (LatencyFilter::default(), 0));
        let apart = distance_nanos(&before, &other).unwrap();
        assert!(apart >= 0, "{case}: {apart}");
    }
    eprintln!("compat: Vivaldi: numbers out of range | cases={0} same=0 listed={0}", cases.len());
}

/// A cluster of clients that measure each other as the recording says.
struct Simulation {
    /// What the recording is about.
    shape: &'static str,
    recorded: Value,
    clients: Vec<VivaldiClient>,
    filters: Vec<Vec<LatencyFilter>>,
    draws: std::vec::IntoIter<f64>,
}

impl Simulation {
    fn new(shape: &'static str, recorded: &str) -> Self {
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let nodes = count(&recorded["nodes"]);
        let draws: Vec<f64> = recorded["random_draws"].as_array().unwrap().iter().map(number).collect();
        Self {
            clients: vec![client(&recorded["config"]); nodes],
            filters: vec![vec![LatencyFilter::default(); nodes]; nodes],
            draws: draws.into_iter(),
            shape,
            recorded,
        }
    }

    fn truth(&self, i: usize, j: usize) -> Duration {
        Duration::from_nanos(self.recorded["truth_ns"][i][j].as_u64().unwrap())
    }

    fn run(&mut self, picks: &str) {
        let picks: Vec<usize> = self.recorded[picks].as_array().unwrap().iter().map(count).collect();
        for (at, &j) in picks.iter().enumerate() {
            let i = at % self.clients.len();
            if i == j {
                continue;
            }
            let (truth, other) = (self.truth(i, j), self.clients[j].coordinate().clone());
            let draws = &mut self.draws;
            let mut random = || draws.next().expect("no more is drawn than was recorded");
            self.clients[i].update(&mut self.filters[i][j], &other, truth, &mut random).unwrap();
        }
    }

    fn assert_at(&self, field: &str) {
        let wanted = self.recorded[field].as_array().unwrap();
        assert_eq!(wanted.len(), self.clients.len());
        for (i, (client, wanted)) in self.clients.iter().zip(wanted).enumerate() {
            assert_same(client.coordinate(), &coordinate(wanted), &format!("{field} of node {i}"));
            assert_eq!(client.resets(), 0, "node {i}");
        }
        let (shape, nodes) = (&self.shape, wanted.len());
        eprintln!("compat: Vivaldi: simulated {shape}, {field} | cases={nodes} same={nodes} listed=0");
    }

    /// Average and greatest relative error over all pairs.
    fn errors(&self) -> (f64, f64) {
        let (mut sum, mut worst, mut pairs) = (0.0, 0.0_f64, 0);
        for i in 0..self.clients.len() {
            for j in i + 1..self.clients.len() {
                let estimate = distance(self.clients[i].coordinate(), self.clients[j].coordinate()).unwrap();
                let truth = self.truth(i, j).as_secs_f64();
                let error = (estimate.as_secs_f64() - truth).abs() / truth;
                sum += error;
                worst = worst.max(error);
                pairs += 1;
            }
        }
        (sum / f64::from(pairs), worst)
    }
}

fn simulate(shape: &'static str, recorded: &str) -> Simulation {
    let mut simulation = Simulation::new(shape, recorded);
    simulation.run("picks");
    simulation.assert_at("final");
    assert_eq!(simulation.draws.len(), 0, "as much is drawn as was recorded");
    let (average, worst) = simulation.errors();
    for (got, field) in [(average, "error_avg"), (worst, "error_max")] {
        let wanted = number(&simulation.recorded[field]);
        assert!((got - wanted).abs() < 1.0e-12, "{field}: {got} instead of {wanted}");
        if let Some(limit) = simulation.recorded["limits"][field].as_f64() {
            assert!(got <= limit, "{field}: {got} is over {limit}");
        }
    }
    simulation
}

/// Serf: `performance_test.go`, `TestPerformance_Line`.
#[test]
fn ten_nodes_on_a_line() {
    simulate("line", include_str!("vectors/vivaldi/perf_line.json"));
}

/// Serf: `performance_test.go`, `TestPerformance_Grid`.
#[test]
fn twenty_five_nodes_on_a_grid() {
    simulate("grid", include_str!("vectors/vivaldi/perf_grid.json"));
}

/// The first cycles of Serf's `performance_test.go`, `TestPerformance_Split`.
#[test]
fn two_halves_with_a_gap_between() {
    simulate("halves", include_str!("vectors/vivaldi/perf_split_short.json"));
}

/// Serf: `performance_test.go`, `TestPerformance_Split`. Its draws are not recorded, so the outcome is not the recorded one: with
/// other draws Serf's code ends between these limits.
#[test]
fn two_halves_for_as_long_as_serf_runs_them() {
    let mut recorded: Value = serde_json::from_str(include_str!("vectors/vivaldi/perf_split.json")).unwrap();
    let draws = count(&recorded["random_draws_count"]) * 2;
    // A multiplicative generator (MINSTD): its draws lie in [0, 1).
    let mut state = 1_u64;
    let drawn = (0..draws).map(|_| {
        state = state * 48_271 % 2_147_483_647;
        Value::from(state as f64 / 2_147_483_647.0)
    });
    recorded["random_draws"] = drawn.collect();
    let mut simulation = Simulation::new("whole halves", &recorded.to_string());
    simulation.run("picks");
    let (average, worst) = simulation.errors();
    assert!(average <= 0.0236 && worst <= 0.161, "{average} on average, {worst} at worst");
    for client in &simulation.clients {
        assert_eq!(client.resets(), 0);
    }
    let nodes = simulation.clients.len();
    eprintln!("compat: Vivaldi: simulated {} | cases={nodes} same=0 listed={nodes}", simulation.shape);
}

/// Serf: `performance_test.go`, `TestPerformance_Height`.
#[test]
fn a_slow_access_link_becomes_height() {
    let simulation = simulate("heights", include_str!("vectors/vivaldi/perf_height.json"));
    let limits = &simulation.recorded["limits"];
    for (i, client) in simulation.clients.iter().enumerate() {
        let height = client.coordinate().height;
        if i == 0 {
            assert!(height >= number(&limits["center_height_min_s"]), "{height}");
        } else {
            assert!(height <= number(&limits["other_height_max_s"]), "node {i}: {height}");
        }
    }
}

/// Serf: `performance_test.go`, `TestPerformance_Random`.
#[test]
fn round_trips_that_fit_no_space() {
    simulate("random", include_str!("vectors/vivaldi/perf_random.json"));
}

/// Serf: `performance_test.go`, `TestPerformance_Drift`.
#[test]
fn gravity_keeps_the_cluster_near_the_origin() {
    let mut simulation = Simulation::new("drift", include_str!("vectors/vivaldi/perf_drift.json"));
    for (client, start) in simulation.clients.iter_mut().zip(simulation.recorded["start"].as_array().unwrap())
    {
        client.set(coordinate(start)).unwrap();
    }
    // Distance of the middle of the box around all nodes from the origin.
    let off_centre = |simulation: &Simulation| {
        let middle = |axis: usize| {
            let values = simulation.clients.iter().map(|client| client.coordinate().vec[axis]);
            let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)));
            low + (high - low) / 2.0
        };
        middle(0).hypot(middle(1))
    };
    simulation.run("picks_phase1");
    simulation.assert_at("after_phase1");
    let before = off_centre(&simulation);
    simulation.run("picks_phase2");
    simulation.assert_at("final");
    let after = off_centre(&simulation);
    assert!((before - number(&simulation.recorded["center_baseline"])).abs() < 1.0e-9, "{before}");
    assert!((after - number(&simulation.recorded["center_end"])).abs() < 1.0e-9, "{after}");
    assert!(after <= 0.8 * before, "{after} against {before}");
}
