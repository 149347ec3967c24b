//! RPC clients that others wrote for Serf's agent, unmodified, against Thane's: `serfclient` 1.2.0 from `PyPI` and `serf-rpc` 0.2.0 from
//! crates.io. `cargo xtask clients` puts them into the target folder, and `cargo xtask test` does so first.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use support::{Reaped, program, thane, wait_for};

/// Names those of the clients that could not be installed, whose tests pass without having run.
const WITHOUT_CLIENTS: &str = "THANE_WITHOUT_CLIENTS";

/// The folder that a client was put into; `None` if it is to be done without.
fn installed(client: &str) -> Option<PathBuf> {
    let without = std::env::var(WITHOUT_CLIENTS).unwrap_or_default();
    if without.split(',').any(|name| name == client) {
        eprintln!("{client} could not be installed; its test does not run");
        return None;
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients").join(client);
    assert!(
        folder.is_dir(),
        "{} is missing: run `cargo xtask clients`, or go without by {WITHOUT_CLIENTS}={client}",
        folder.display()
    );
    Some(folder)
}

/// Agent alpha with a token, and beta, which has joined it; killed with the test.
struct Cluster {
    host: String,
    beta: Reaped,
    _alpha: Reaped,
    folder: PathBuf,
}

const ALPHA_RPC: u16 = 7373;
const BETA_RPC: u16 = 7374;

impl Cluster {
    fn start(last: u8) -> Self {
        let id = std::process::id();
        let host = format!("127.{}.{}.{last}", 64 + id % 191, 201 + id / 191 % 50);
        let folder = std::env::temp_dir().join(format!("thane-clients-{id}-{last}"));
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("alpha.json");
        std::fs::write(&config, r#"{"rpc_auth": "sesame", "tags": {"role": "web"}}"#).unwrap();
        let agent = |name: &str, gossip: u16, rpc: u16, more: &[String]| {
            let mut command = program();
            command.args(["agent", "-profile=local", &format!("-node={name}")]);
            command.args([format!("-bind={host}:{gossip}"), format!("-rpc-addr={host}:{rpc}")]);
            Reaped(command.args(more).stdout(Stdio::null()).spawn().unwrap())
        };
        let alpha = agent("alpha", 7946, ALPHA_RPC, &[format!("-config-file={}", config.display())]);
        let join = [format!("-retry-join={host}:7946"), "-retry-interval=1s".to_owned()];
        let beta = agent("beta", 7947, BETA_RPC, &join);
        let env = BTreeMap::from([("SERF_RPC_ADDR".to_owned(), format!("{host}:{BETA_RPC}"))]);
        wait_for("two members", || {
            let answer = thane(&["members", "-status=alive"], &env);
            if answer.stdout.lines().count() == 2 { Ok(()) } else { Err(answer.stdout) }
        });
        Self { host, beta, _alpha: alpha, folder }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs a client to its end, which must be a good one.
fn check(client: &mut Command) {
    let mut client = Reaped(client.spawn().unwrap());
    assert_eq!(client.exit_code(), Some(0), "what it did not like is on standard error");
}

#[test]
fn the_python_package_serfclient_works_unmodified() {
    let Some(package) = installed("serfclient") else { return };
    let mut cluster = Cluster::start(1);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/serfclient_check.py");
    check(
        Command::new("python3")
            .arg("-B")
            .arg(script)
            .args([&cluster.host, &ALPHA_RPC.to_string(), &BETA_RPC.to_string()])
            .env("PYTHONPATH", package),
    );
    assert_eq!(cluster.beta.exit_code(), Some(0), "beta was told to leave");
}

#[test]
fn the_rust_crate_serf_rpc_works_unmodified() {
    let Some(folder) = installed("serf-rpc") else { return };
    let cluster = Cluster::start(2);
    let rpc = format!("{}3:{BETA_RPC}", cluster.host.strip_suffix('2').unwrap());
    let mut six = program();
    six.args(["agent", "-profile=local", "-node=six", "-bind=[::1]:0", &format!("-rpc-addr={rpc}")]);
    let mut six = Reaped(six.stdout(Stdio::null()).spawn().unwrap());
    let env = BTreeMap::from([("SERF_RPC_ADDR".to_owned(), rpc.clone())]);
    wait_for("an agent with an IPv6 address", || {
        let answer = thane(&["members"], &env);
        if answer.exit_code == Some(0) { Ok(()) } else { Err(answer.stdout) }
    });
    let guarded = format!("{}:{ALPHA_RPC}", cluster.host);
    check(Command::new(folder.join("debug/serf-rpc-check")).args([guarded, rpc]));
    assert_eq!(six.exit_code(), Some(0), "it was told to leave");
}
