//! Measures the simulator itself: how long large clusters take, and how much memory.
//!
//! `scale bootstrap 10000` joins so many nodes through one seed, then crashes ten; `scale idle 10000 600` lets a cluster that knows itself
//! idle for so many seconds.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is a program that measures real time and prints"
)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use thane_core::{Config, Replay};
use thane_sim::{Crash, HostId, Quality, World};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    match args.first().map(String::as_str) {
        Some("bootstrap") => bootstrap(number(1, 1000) as usize, number(2, 10), number(3, 1)),
        Some("idle") => idle(number(1, 1000) as usize, number(2, 600), number(3, 1)),
        _ => {
            eprintln!("usage: scale bootstrap NODES [CRASHES [SEED]] | scale idle NODES [SECONDS [SEED]]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// What a stage cost.
struct Stage {
    name: &'static str,
    begun: Instant,
    virtual_begun: Duration,
    inputs: u64,
}

impl Stage {
    fn begin(name: &'static str, world: &World) -> Self {
        let (virtual_begun, inputs) = (world.now().since_start(), world.tally().inputs);
        Self { name, begun: Instant::now(), virtual_begun, inputs }
    }

    fn end(self, world: &World) {
        let real = self.begun.elapsed().as_secs_f64();
        let passed = world.now().since_start().saturating_sub(self.virtual_begun).as_secs_f64();
        let inputs = world.tally().inputs - self.inputs;
        let pairs: usize =
            world.hosts().filter_map(|host| world.node(host)).map(|node| node.stats().members).sum();
        let bytes = resident();
        println!(
            "{:<10} {real:8.2} s real, {passed:8.2} s virtual ({:.0} times real time), {inputs} inputs ({:.0}/s, {:.0} ns each), {:.0} MiB, {:.1} bytes a pair",
            self.name,
            passed / real,
            inputs as f64 / real,
            real * 1e9 / inputs.max(1) as f64,
            bytes as f64 / f64::from(1 << 20),
            bytes as f64 / pairs.max(1) as f64,
        );
    }
}

/// Bytes of memory in use, as Linux counts them.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn add_hosts(world: &mut World, nodes: usize) -> Vec<HostId> {
    let add = |number| {
        let mut config = Config::lan(format!("node-{number}"), world.next_addr());
        // Compression costs more processor time here than it saves: virtual bytes are free.
        config.compression = false;
        world.add_host(config)
    };
    (0..nodes).map(add).collect()
}

fn bootstrap(nodes: usize, crashes: u64, seed: u64) {
    let mut world = World::new(seed, Quality::good());
    let hosts = add_hosts(&mut world, nodes);
    let first = world.addr(hosts[0]);
    let stage = Stage::begin("joins", &world);
    for &host in &hosts {
        world.start(host);
        if host != hosts[0] {
            let joined = world.command(host, |node, now| node.join(now, &[first], Replay::Ignore));
            assert!(matches!(joined, Some(Ok(_))), "a join begins");
        }
        world.run_for(Duration::from_secs(10) / nodes as u32);
    }
    stage.end(&world);
    let stage = Stage::begin("agreement", &world);
    let agreed = world.run_until(Duration::from_secs(3600), |world| {
        let mut all = world.hosts().filter_map(|host| world.node(host));
        all.all(|node| node.stats().live == nodes && node.stats().failed == 0)
    });
    stage.end(&world);
    println!("every node knows all: {agreed}; {:?}", world.tally());
    let stage = Stage::begin("crashes", &world);
    let step = nodes / (crashes as usize + 1);
    for crashed in 1..=crashes as usize {
        world.crash(hosts[crashed * step], Crash::Machine);
    }
    let known = world.run_until(Duration::from_secs(600), |world| {
        let mut all = world.hosts().filter_map(|host| world.node(host));
        all.all(|node| node.stats().failed == crashes as usize)
    });
    stage.end(&world);
    println!("every node knows the crashes: {known}; {:?}", world.tally());
    println!("trace {:016x}", world.trace_hash().value());
}

fn idle(nodes: usize, seconds: u64, seed: u64) {
    let mut world = World::new(seed, Quality::good());
    let hosts = add_hosts(&mut world, nodes);
    let stage = Stage::begin("warm start", &world);
    world.start_as_cluster(&hosts);
    stage.end(&world);
    for _ in 0..10 {
        let stage = Stage::begin("idle", &world);
        world.run_for(Duration::from_secs(seconds) / 10);
        stage.end(&world);
    }
    let queued: usize =
        world.hosts().filter_map(|host| world.node(host)).map(|node| node.stats().membership_queue).sum();
    println!("{queued} statements queued; {:?}", world.tally());
    println!("trace {:016x}", world.trace_hash().value());
}
