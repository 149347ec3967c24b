//! What was found worth keeping is given to each target: the corpus, and with it all that ever failed.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use thane_fuzz::TARGETS;

/// Small enough for the repository.
const CORPUS_BYTES_MAX: u64 = 512 << 10;
/// Any input of these sizes is done with in a tiny part of this.
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_target_takes_its_corpus() {
    let mut bytes = 0;
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        for file in files {
            let input = fs::read(&file).unwrap();
            bytes += input.len() as u64;
            let begun = Instant::now();
            let run = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(run.is_ok(), "{} fails: see the panic above", file.display());
            let took = begun.elapsed();
            assert!(took < INPUT_TIME_MAX, "{} takes {took:?}", file.display());
        }
    }
    assert!(bytes <= CORPUS_BYTES_MAX, "the corpus has {bytes} bytes: minimise it (cargo xtask fuzz --keep)");
}

#[test]
fn each_folder_has_its_target() {
    for folder in fs::read_dir(corpus()).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(thane_fuzz::target(&name).is_some(), "corpus/{name} belongs to no target");
    }
}

/// A few thousand inputs that nobody chose, so that a target that fails at once is noticed without libFuzzer.
#[test]
fn every_target_takes_bytes_at_random() {
    // Any generator will do: this is SplitMix64.
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    for target in TARGETS {
        for _ in 0..200 {
            let length = next() as usize % target.bytes_max.min(400);
            let input: Vec<u8> = (0..length).map(|_| next() as u8).collect();
            (target.run)(&input);
        }
    }
}
