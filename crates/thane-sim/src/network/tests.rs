use super::*;

const MS: Duration = Duration::from_millis(1);
const A: HostId = HostId(0);
const B: HostId = HostId(1);
const C: HostId = HostId(2);

fn rng() -> SimRng {
    SimRng::new(1, "test", 0)
}

/// What became of many packets of 100 bytes, one each 10 ms.
fn fates(network: &mut Network, from: HostId, to: HostId, count: usize) -> Vec<Fate> {
    let (mut rng, mut now) = (rng(), Time::ZERO);
    (0..count)
        .map(|_| {
            now += 10 * MS;
            network.packet_fate(&mut rng, now, from, to, 100)
        })
        .collect()
}

fn lost(fates: &[Fate]) -> f64 {
    fates.iter().filter(|fate| matches!(fate, Fate::Lost { .. })).count() as f64 / fates.len() as f64
}

#[test]
fn partitions_cut_both_ways_and_one_way_cuts_only_one() {
    let mut network = Network::new(Quality::good());
    network.isolate(&[B]);
    assert!(!network.reaches(A, B) && !network.reaches(B, A) && network.connects(A, C));
    network.isolate(&[C]);
    assert!(!network.reaches(B, C), "two isolated groups do not reach each other");
    network.heal();
    network.cut_one_way(A, C);
    assert!(!network.reaches(A, C) && network.reaches(C, A) && !network.connects(C, A));
    network.heal();
    assert!(network.connects(A, B) && network.connects(A, C));
}

#[test]
fn faults_come_about_as_often_as_asked() {
    let mut quality = Quality::good();
    (quality.loss, quality.duplication, quality.reordering) = (Loss::Uniform(0.3), 0.5, 0.2);
    let mut network = Network::new(quality);
    let all = fates(&mut network, A, B, 10_000);
    let (mut doubled, mut held) = (0, 0);
    for fate in &all {
        if let Fate::Arrives { again, held_back, .. } = fate {
            doubled += i32::from(again.is_some());
            held += i32::from(*held_back);
        }
    }
    assert!((0.27..0.33).contains(&lost(&all)), "{} lost", lost(&all));
    assert!((3200..3800).contains(&doubled), "{doubled} of 7000 doubled");
    assert!((1200..1600).contains(&held), "{held} of 7000 held back");
}

#[test]
fn a_fault_concerns_only_those_that_it_names_and_ends() {
    let mut network = Network::new(Quality::good());
    let loss = Effect::Loss(Loss::Uniform(0.8));
    let out = network.add(LinkFault::between(Hosts::Only(vec![A]), Hosts::All, loss));
    assert!((0.75..0.85).contains(&lost(&fates(&mut network, A, B, 2000))));
    assert!(lost(&fates(&mut network, B, A, 2000)) == 0.0, "only what it sends");
    assert!(network.remove(out) && !network.remove(out));
    network.add(LinkFault::between(Hosts::AllBut(vec![B]), Hosts::Only(vec![A]), loss));
    assert!(lost(&fates(&mut network, C, A, 2000)) > 0.7);
    assert!(lost(&fates(&mut network, B, A, 2000)) == 0.0 && lost(&fates(&mut network, A, C, 2000)) == 0.0);
    network.heal();
    assert!(network.faults().count() == 0 && lost(&fates(&mut network, C, A, 2000)) == 0.0);
}

#[test]
fn losses_add_up_as_independent_chances_do() {
    let mut quality = Quality::good();
    quality.loss = Loss::Uniform(0.5);
    let mut network = Network::new(quality);
    network.add(LinkFault::between(Hosts::All, Hosts::All, Effect::Loss(Loss::Uniform(0.5))));
    assert!((0.72..0.78).contains(&lost(&fates(&mut network, A, B, 10_000))));
}

#[test]
fn a_bridge_reaches_both_sides_that_do_not_reach_each_other() {
    let mut network = Network::new(Quality::good());
    network.add(LinkFault::partition(vec![A], vec![C]));
    assert!(!network.reaches(A, C) && !network.reaches(C, A));
    assert!(network.connects(A, B) && network.connects(B, C));
}

#[test]
fn a_flapping_fault_comes_and_goes() {
    let mut network = Network::new(Quality::good());
    let fault = LinkFault::partition(vec![A], vec![B]).flapping(2 * MS, 5 * MS);
    let id = network.add(fault);
    assert!(!network.reaches(A, B));
    assert_eq!(network.flap(id), Some((false, 5 * MS)));
    assert!(network.reaches(A, B) && network.faults().count() == 0);
    assert_eq!(network.flap(id), Some((true, 2 * MS)));
    assert!(!network.reaches(A, B));
    network.heal();
    assert_eq!(network.flap(id), None);
}

#[test]
fn loss_in_bursts_is_lost_together_in_each_direction_for_itself() {
    let mut quality = Quality::good();
    let bursts = Bursts { every: 1900 * MS, lasting: 100 * MS, within: 1.0, between: 0.0 };
    quality.loss = Loss::Bursts(bursts);
    let mut network = Network::new(quality);
    let all = fates(&mut network, A, B, 200_000);
    assert!((0.045..0.055).contains(&lost(&all)), "{} lost", lost(&all));
    assert!(all.iter().all(|fate| !matches!(fate, Fate::Lost { burst: false })));
    let is_lost = |fate: &Fate| matches!(fate, Fate::Lost { .. });
    let runs = all.windows(2).filter(|pair| !is_lost(&pair[0]) && is_lost(&pair[1])).count();
    let length = lost(&all) * 200_000.0 / runs as f64;
    assert!((9.0..12.0).contains(&length), "100 ms are ten packets, not {length}");
    // Were both directions one, both would be lost at the same times.
    let mut rng = rng();
    let (mut here, mut both, mut now) = (0, 0, Time::ZERO + 3_000_000 * MS);
    for _ in 0..100_000 {
        now += 10 * MS;
        let out = network.loses(&mut rng, now, A, B).is_some();
        let back = network.loses(&mut rng, now, B, A).is_some();
        here += i32::from(out);
        both += i32::from(out && back);
    }
    assert!(both * 8 < here, "{both} of {here} were lost both ways");
}

#[test]
fn a_packet_larger_than_the_mtu_is_lost_and_its_size_counts_the_headers() {
    let mut quality = Quality::good();
    quality.mtu = Some(1428);
    let mut network = Network::new(quality);
    let mut rng = rng();
    let fate =
        |network: &mut Network, rng: &mut SimRng, bytes| network.packet_fate(rng, Time::ZERO, A, B, bytes);
    assert!(matches!(fate(&mut network, &mut rng, 1400), Fate::Arrives { .. }));
    assert_eq!(fate(&mut network, &mut rng, 1401), Fate::Oversized);
    network.add(LinkFault::between(Hosts::Only(vec![A]), Hosts::Only(vec![B]), Effect::Mtu(600)));
    assert_eq!(fate(&mut network, &mut rng, 1400), Fate::Oversized);
    assert!(matches!(network.packet_fate(&mut rng, Time::ZERO, B, A, 1400), Fate::Arrives { .. }));
}

#[test]
fn a_narrow_line_sends_one_after_the_other_and_drops_what_its_queue_does_not_hold() {
    let mut quality = Quality::good();
    quality.latency = Latency::Constant(5 * MS);
    // A packet of 972 and 28 bytes takes 10 ms, and five of them may wait.
    quality.bandwidth = Some(Bandwidth { bytes_per_second: 100_000, queue_bytes: 5000 });
    let mut network = Network::new(quality);
    let mut rng = rng();
    let mut now = Time::ZERO;
    let mut send = |network: &mut Network, now, from, to| network.packet_fate(&mut rng, now, from, to, 972);
    for number in 1..=5 {
        let after = 10 * MS * number + 5 * MS;
        assert_eq!(
            send(&mut network, now, A, B),
            Fate::Arrives { after, again: None, held_back: false },
            "packet {number}"
        );
    }
    assert_eq!(send(&mut network, now, A, C), Fate::Overflow, "one line out, whoever it is for");
    assert!(matches!(send(&mut network, now, B, A), Fate::Arrives { .. }), "each host has its own");
    now += 10 * MS;
    let after = 50 * MS + 5 * MS;
    assert_eq!(send(&mut network, now, A, B), Fate::Arrives { after, again: None, held_back: false });
    // A stream waits instead.
    let delay = network.stream_delay(&mut SimRng::new(1, "test", 1), now, A, B, 10_000);
    assert_eq!(delay, 150 * MS + 5 * MS);
}

#[test]
fn a_narrow_line_into_a_host_is_shared_by_all_that_send_to_it() {
    let bandwidth = Bandwidth { bytes_per_second: 100_000, queue_bytes: 1000 };
    let mut network = Network::new(Quality::good());
    network.add(LinkFault::between(Hosts::All, Hosts::Only(vec![C]), Effect::Bandwidth(bandwidth)));
    let mut rng = rng();
    let mut send = |from, to| network.packet_fate(&mut rng, Time::ZERO, from, to, 972);
    assert!(matches!(send(A, C), Fate::Arrives { .. }));
    assert_eq!(send(B, C), Fate::Overflow);
    assert!(matches!(send(B, A), Fate::Arrives { .. }));
}

#[test]
fn a_host_whose_line_is_narrow_both_ways_has_one_out_and_one_in() {
    let narrow = Effect::Bandwidth(Bandwidth { bytes_per_second: 100_000, queue_bytes: 1000 });
    let of_c = Hosts::Only(vec![C]);
    for (from, to) in [(Hosts::All, of_c.clone()), (of_c, Hosts::All)] {
        let mut network = Network::new(Quality::good());
        network.add(LinkFault { both_ways: true, ..LinkFault::between(from, to, narrow) });
        let mut rng = rng();
        let mut send = |from, to| network.packet_fate(&mut rng, Time::ZERO, from, to, 972);
        assert!(matches!(send(A, C), Fate::Arrives { .. }));
        assert_eq!(send(B, C), Fate::Overflow, "what others send to it shares its line");
        assert!(matches!(send(C, A), Fate::Arrives { .. }), "the other direction is free");
        assert_eq!(send(C, B), Fate::Overflow);
        assert!(matches!(send(A, B), Fate::Arrives { .. }));
    }
}

#[test]
fn zones_and_matrices_say_how_far_apart_hosts_are() {
    let mut quality = Quality::good();
    quality.latency = Latency::Constant(MS);
    let mut network = Network::new(quality);
    let mut rng = rng();
    let mut zones = Zones::even(&["east", "west"], Latency::Constant(40 * MS));
    zones.links.push(ZoneLink {
        from: "west".into(),
        to: "east".into(),
        one_way: true,
        latency: Latency::Constant(70 * MS),
        loss: Loss::Uniform(0.25),
    });
    network.topology = Topology::Zones(zones);
    // Hosts 0 and 2 are in the east, 1 in the west.
    assert_eq!(network.delay(&mut rng, A, C), MS);
    assert_eq!(network.delay(&mut rng, A, B), 41 * MS);
    assert_eq!(network.delay(&mut rng, B, C), 71 * MS);
    assert!((0.22..0.28).contains(&lost(&fates(&mut network, B, A, 5000))));
    assert!(lost(&fates(&mut network, A, B, 5000)) == 0.0);
    let azure = Matrix::azure();
    let half = azure.rtt(0, 2) / 2;
    network.topology = Topology::Matrix { rtt: azure, spread: 0.0 };
    assert_eq!(network.delay(&mut rng, A, C), MS + half);
    assert_eq!(network.delay(&mut rng, A, A), MS, "nothing lies between a host and itself");
}

#[test]
fn delays_of_faults_are_added() {
    let mut quality = Quality::good();
    quality.latency = Latency::Constant(MS);
    let mut network = Network::new(quality);
    let fault =
        LinkFault::between(Hosts::Only(vec![A]), Hosts::All, Effect::Delay(Latency::Constant(30 * MS)));
    network.add(LinkFault { both_ways: true, ..fault });
    let mut rng = rng();
    assert_eq!(network.delay(&mut rng, A, B), 31 * MS);
    assert_eq!(network.delay(&mut rng, B, A), 31 * MS);
    assert_eq!(network.delay(&mut rng, B, C), MS);
}

fn again<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(it: &T) {
    let text = serde_json::to_string(it).expect("text");
    assert_eq!(serde_json::from_str::<T>(&text).expect("read again"), *it, "{text}");
}

/// What a scenario's file says is what the network does.
#[test]
fn every_type_is_read_from_text_and_written_so_that_it_is_read_again() {
    let quality: Quality = serde_json::from_str(
        r#"{"latency": {"lognormal": {"median": "20ms", "sigma": 0.5}}, "mtu": 1280,
            "loss": {"every": "5s", "lasting": "200ms", "within": 0.9},
            "bandwidth": {"bytes_per_second": 125000, "queue_bytes": 65536}}"#,
    )
    .expect("a quality");
    assert_eq!(quality.latency, Latency::Lognormal { median: 20 * MS, sigma: 0.5 });
    assert_eq!(quality.reordering_delay, Duration::ZERO, "what is left out is as in a good network");
    assert!(quality.stream_splits > 0.0);
    let fault: LinkFault = serde_json::from_str(
        r#"{"from": {"only": [0, 1]}, "effect": "cut", "flapping": {"on": "20s", "off": "20s"}}"#,
    )
    .expect("a fault");
    assert!(fault.concerns(A, C) && !fault.concerns(C, A));
    let topology: Topology = serde_json::from_str(
        r#"{"zones": {"zones": [{"name": "a", "hosts": 2}, {"name": "b"}],
            "links": [{"from": "a", "to": "b", "latency": {"constant": "30ms"}, "loss": 0.01}]}}"#,
    )
    .expect("a topology");
    let matrix: Topology =
        serde_json::from_str(r#"{"matrix": {"rtt": "azure", "spread": 0.1}}"#).expect("a matrix");
    again(&quality);
    again(&fault);
    again(&topology);
    again(&matrix);
    assert!(serde_json::from_str::<Quality>(r#"{"losss": 0.1}"#).is_err(), "a slip is told");
}
