//! Files that nodes and the simulator leave behind.

use thane_core::recording::{Header, Recorder, Replay};
use thane_core::snapshot::SnapshotLog;
use thane_core::{Config, Seed};
use thane_sim::Scenario;
use thane_sim::lab::Setup;
use thane_wire::keyring_file;
use thane_wire::snapshot::Line;

use crate::cursor::Cursor;

/// Inputs that are played of one recording.
const STEPS_MAX: usize = 200;

pub(crate) fn keyring(data: &[u8]) {
    if let Ok(ring) = keyring_file::parse(data) {
        let text = keyring_file::encode(&ring);
        assert_eq!(keyring_file::parse(text.as_bytes()).as_ref(), Ok(&ring), "written as {text}");
    }
}

pub(crate) fn snapshot(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(read) = Line::parse(line) else { continue };
        let mut written = Vec::new();
        if read.encode(&mut written).is_ok() {
            let line = written.strip_suffix(b"\n").unwrap_or(&written);
            assert_eq!(Line::parse(line).as_ref(), Ok(&read));
        }
    }
    for rejoin_after_leave in [false, true] {
        let log = SnapshotLog::replay(data, rejoin_after_leave).log;
        let before = log.restored("a");
        let compacted = log.compacted();
        let after = SnapshotLog::replay(&compacted, rejoin_after_leave).log.restored("a");
        assert_eq!(before, after, "written as {:?}", String::from_utf8_lossy(&compacted));
    }
}

pub(crate) fn scenario(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(scenario) = Scenario::from_json(text) {
        let written = scenario.to_json();
        let again = Scenario::from_json(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
        assert_eq!(again.to_json(), written);
    }
}

/// A cluster to try out, as a file and as a line.
pub(crate) fn setup(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(setup) = Setup::default().with_toml(text) {
        drop(setup.complete());
    }
    drop(Setup::parse(text));
}

/// A recording with any entries, whose checksums fit.
pub(crate) fn recording(data: &[u8]) {
    let mut cursor = Cursor(data);
    let config = Config::lan("a", std::net::SocketAddr::from(([127, 0, 0, 1], 7946)));
    let header = Header::new(config, Seed::from(1), 0);
    let mut file = Vec::new();
    drop(Recorder::new(&header, &mut file));
    if cursor.flag() {
        // With a header of its own.
        file.truncate(thane_core::recording::MAGIC.len());
    }
    let mut chain = if file.len() > thane_core::recording::MAGIC.len() {
        file.last_chunk().map_or(0, |last| u32::from_le_bytes(*last))
    } else {
        crc32fast::hash(&file)
    };
    while !cursor.is_over() {
        let body = cursor.long_bytes();
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&chain.to_le_bytes());
        hasher.update(body);
        chain = hasher.finalize();
        let mut length = body.len();
        while length >= 0x80 {
            file.push(length as u8 | 0x80);
            length >>= 7;
        }
        file.push(length as u8);
        file.extend_from_slice(body);
        file.extend(chain.to_le_bytes());
    }
    // As it came, too: then nothing fits.
    drop(Replay::new(data));
    let Ok(mut replay) = Replay::new(&file) else { return };
    for _ in 0..STEPS_MAX {
        if !matches!(replay.step(), Ok(Some(_))) {
            break;
        }
    }
}
