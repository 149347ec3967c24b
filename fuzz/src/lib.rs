//! Fuzz targets: one function for each thing that reads bytes from somewhere else, and one for the core as a whole.
//!
//! Each takes any bytes and panics if something does not hold: a decoder must end, and where there is a way back, what was read must be
//! written and read again as the same. `cargo xtask fuzz` runs them under libFuzzer, which looks for bytes that reach new code; the
//! tests here give them what is in `corpus/`, which was found that way or recorded from real agents.
//!
//! What fails is kept as a file in `corpus/NAME/`, where every test run gives it to its target from then on.

mod agent;
mod core;
mod cursor;
mod files;
mod wire;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, that of its folder in `corpus/` too.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// The longest input that makes sense, in bytes.
    pub bytes_max: usize,
    /// Gives it some bytes.
    pub run: fn(&[u8]),
}

/// All of them, by name.
pub const TARGETS: &[Target] = &[
    Target {
        name: "config_json",
        about: "configuration files in JSON",
        bytes_max: 2048,
        run: agent::config_json,
    },
    Target {
        name: "config_toml",
        about: "configuration files in TOML",
        bytes_max: 2048,
        run: agent::config_toml,
    },
    Target { name: "coordinate", about: "coordinates in acks", bytes_max: 512, run: wire::coordinate },
    Target { name: "core", about: "a whole node, any inputs in any order", bytes_max: 4096, run: core::node },
    Target {
        name: "filter",
        about: "query filters and their expressions",
        bytes_max: 512,
        run: wire::filter,
    },
    Target { name: "keyring_file", about: "key ring files", bytes_max: 2048, run: files::keyring },
    Target {
        name: "mdns",
        about: "answers and questions by multicast DNS",
        bytes_max: 2048,
        run: agent::mdns,
    },
    Target {
        name: "packet",
        about: "packets with all their layers, and messages",
        bytes_max: 4096,
        run: wire::packet,
    },
    Target { name: "recording", about: "recordings, played", bytes_max: 4096, run: files::recording },
    Target {
        name: "rpc_request",
        about: "what clients send by RPC",
        bytes_max: 2048,
        run: wire::rpc_request,
    },
    Target {
        name: "rpc_response",
        about: "what agents answer by RPC",
        bytes_max: 2048,
        run: wire::rpc_response,
    },
    Target { name: "scenario", about: "scenarios of the simulator", bytes_max: 4096, run: files::scenario },
    Target { name: "serf", about: "Serf's messages", bytes_max: 2048, run: wire::serf },
    Target {
        name: "setup",
        about: "settings of thane sim, in TOML and on one line",
        bytes_max: 1024,
        run: files::setup,
    },
    Target { name: "snapshot", about: "snapshot files", bytes_max: 4096, run: files::snapshot },
    Target { name: "stream", about: "streams, in pieces of any size", bytes_max: 4096, run: wire::stream },
    Target { name: "tags", about: "tags as members announce them", bytes_max: 1024, run: wire::tags },
    Target { name: "tags_file", about: "tags files", bytes_max: 2048, run: agent::tags_file },
    Target {
        name: "texts",
        about: "spans, addresses, keys and filters on the command line",
        bytes_max: 256,
        run: agent::texts,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
