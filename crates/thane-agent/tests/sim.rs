//! `thane sim` as a command: what it prints, where it writes, and how it fails.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use support::{Answer, thane};

fn sim(arguments: &[&str]) -> Answer {
    thane(&[&["sim"], arguments].concat(), &BTreeMap::new())
}

/// A folder of this test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thane-sim-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_run_tells_its_seed_first_and_last_and_does_the_same_again() {
    let line = ["--nodes", "8", "-loss=1%", "-crash", "1", "-duration", "40s", "-seed=7"];
    let first = sim(&line);
    assert_eq!((first.exit_code, first.stderr.as_str()), (Some(0), ""), "{first:?}");
    let command = "thane sim -duration 40s -loss 1% -nodes 8 -fault 'crash 1 at 10s' -seed 7";
    let lines: Vec<&str> = first.stdout.lines().collect();
    assert_eq!(lines[1], format!("Seed 7: {command}"));
    assert_eq!(*lines.last().unwrap(), format!("To run it again: {command}"));
    assert!(first.stdout.contains("\nEvery member knew of 1 crash within "), "{first:?}");
    assert!(first.stdout.contains("\n  first member knows after "), "{first:?}");
    // The command that was printed, with its flags in other places.
    let again =
        sim(&["run", "fault=crash 1 at 10s", "-duration", "40s", "-loss", "1%", "nodes=8", "-seed", "7"]);
    assert_eq!(first.stdout, again.stdout);
    let other = sim(&["-nodes=8", "-duration=1s"]);
    assert!(other.exit_code == Some(0) && other.stdout.contains("\nSeed "), "a seed is drawn: {other:?}");
}

#[test]
fn files_reports_and_several_seeds() {
    let folder = Folder::new("files");
    let (setup, page) = (folder.file("cluster.toml"), folder.file("report.html"));
    std::fs::write(
        &setup,
        "nodes = 6\nduration = \"30s\"\nfaults = [\"crash 1 at 2s\"]\n[settings]\nsuspicion_mult = 3\n",
    )
    .unwrap();
    let answer = sim(&[&setup, "-seeds", "3", "-seed", "5", "-threads=2", "-html", &page]);
    assert_eq!(answer.exit_code, Some(0), "{answer:?}");
    assert!(
        answer.stdout.contains("Seeds 5 to 7: thane sim -duration 30s -nodes 6 -set suspicion_mult=3"),
        "{answer:?}"
    );
    assert!(answer.stdout.contains("median        least         most"), "{answer:?}");
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("3 seeds from 5"));
    std::fs::write(&setup, "nodes = 6\n\nnoodles = 7\n").unwrap();
    let answer = sim(&["-file", &setup]);
    assert_eq!(answer.exit_code, Some(1));
    assert!(
        answer.stdout.ends_with("cluster.toml: line 3: there is no key 'noodles'; did you mean 'nodes'?\n"),
        "{answer:?}"
    );
}

#[test]
fn two_settings_stand_beside_each_other() {
    let answer = sim(&[
        "compare",
        "-nodes=8",
        "-fault=power-loss 1 at 2s",
        "-detector=serf",
        "-duration=40s",
        "-seeds=3",
        "-seed=1",
        "suspicion_mult=6",
        "suspicion_mult=2",
    ]);
    assert_eq!((answer.exit_code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    let row = answer.stdout.lines().find(|line| line.contains("first member knows after")).unwrap();
    assert!(row.contains("  -"), "{row}");
    assert!(
        answer.stdout.lines().last().unwrap().ends_with("-seed 1 -seeds 3 suspicion_mult=6 suspicion_mult=2"),
        "{answer:?}"
    );
    let same = sim(&["compare", "-nodes=4", "-duration=2s", "-seed=1", "-format=json", "-", "-"]);
    let document: serde_json::Value = serde_json::from_str(&same.stdout).unwrap();
    assert_eq!(document["a"], document["b"]);
    for row in document["rows"].as_array().unwrap() {
        assert_eq!(row["difference"], 0.0, "{row}");
    }
}

#[test]
fn settings_are_judged_when_all_are_known() {
    // The scenario has five crashes, and A and B say how many members there are.
    let answer = sim(&["crash", "-nodes=3", "-crash=1", "-duration=12s"]);
    assert_eq!(answer.exit_code, Some(0), "{answer:?}");
    let answer = sim(&["compare", "-fault=crash 4 at 1s", "-duration=2s", "nodes=4", "nodes=3"]);
    assert!(answer.stdout.contains("'crash 4 at 1s' hits 4 of 3 nodes"), "{answer:?}");
    // A report of before is not lost to a setup that cannot be.
    let folder = Folder::new("judged");
    let page = folder.file("report.html");
    std::fs::write(&page, "of yesterday").unwrap();
    let answer = sim(&["-set", "other.detector=serf", "-html", &page]);
    assert_eq!(answer.exit_code, Some(1), "{answer:?}");
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "of yesterday");
}

#[test]
fn a_division_is_measured_again_by_its_seed() {
    let once = sim(&["heal", "-seed=6", "-inputs=20000"]);
    assert!(
        once.exit_code == Some(0) && once.stdout.starts_with("seed 6: 1 + 2 hosts, divided for 52 s"),
        "{once:?}"
    );
    assert_eq!(sim(&["heal", "-seed=6", "-inputs=20000"]).stdout, once.stdout);
}

#[test]
fn the_gallery_and_the_keys_are_listed() {
    let list = sim(&["list"]);
    assert_eq!(list.exit_code, Some(0));
    for name in ["bootstrap", "partition", "rolling-restart", "mixed"] {
        assert!(list.stdout.lines().any(|line| line.starts_with(name)), "{list:?}");
    }
    let keys = sim(&["keys"]);
    for name in ["gossip_interval ", "loss ", "fault ", "[network]", "other_share "] {
        assert!(keys.stdout.lines().any(|line| line.starts_with(name)), "{name}: {keys:?}");
    }
}

#[test]
fn the_documentation_names_every_key_and_every_fault() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/simulator.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let keys = sim(&["keys"]).stdout;
    let (keys, faults) = keys.split_once("[fault]").unwrap();
    let of_cluster =
        keys.split_once("[settings]").unwrap().0.lines().skip_while(|line| !line.starts_with('['));
    let names = of_cluster.chain(faults.lines().skip(1)).filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| !name.starts_with('[')) {
        assert!(docs.contains(&format!("`{name}")), "docs/simulator.md does not name {name}");
    }
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    for (arguments, told, hint) in [
        (&["-nodes=x"][..], "This cannot be simulated: nodes: \"x\" is no whole number", "thane sim keys"),
        (&["-scenario=krach"], "there is no scenario 'krach'; there are bootstrap", "thane sim list"),
        (&["explode"], "there is no scenario 'explode'", "thane sim list"),
        (&["-set", "loss"], "-set has 'loss'", "-set KEY=VALUE"),
        (&["-fault", "crash"], "'crash' does not say whom it hits", "thane sim keys"),
        (&["-seed=-1", "crash"], "-seed is '-1'", "whole number of 0 or more"),
        (&["-seeds=0", "crash"], "-seeds is 0", "from 1 to"),
        (&["-threads=-2", "crash"], "-threads is -2", "0 or more"),
        (&["-format=xml", "crash"], "Invalid output format \"xml\"", "text or json"),
        (
            &["-html=/nowhere/at/all.html", "crash"],
            "The report '/nowhere/at/all.html' cannot be written",
            "folder",
        ),
        (&["nowhere.toml"], "The file 'nowhere.toml' cannot be read", "TOML"),
        (&["-set", "other.detector=serf", "-nodes=3"], "say for which share", "thane sim keys"),
        (&["sweep", "-seeds=0"], "-seeds is 0", "1 or more"),
        (&["sweep", "-seed=3", "-seeds=10"], "-seeds means nothing beside -seed", "Leave out -seeds"),
        (&["heal", "-cases=0"], "-cases is 0", "1 or more"),
        (&["heal", "-loss=10"], "-loss means nothing without -nodes", "Leave out -loss"),
        (&["heal", "-nodes=4", "-loss=150"], "-loss is 150", "from 0 to 99"),
        (&["heal", "-nodes=4", "-cases=3"], "-cases means nothing beside -nodes", "Leave out"),
    ] {
        let answer = sim(arguments);
        assert_eq!(answer.exit_code, Some(1), "{arguments:?}: {answer:?}");
        assert!(answer.stdout.contains(told), "{arguments:?}: {answer:?}");
        assert!(answer.stderr.contains(hint), "{arguments:?}: {answer:?}");
    }
    let nothing = sim(&[]);
    assert_eq!(nothing.exit_code, Some(1));
    assert!(nothing.stdout.starts_with("Usage: thane sim [COMMAND]"), "{nothing:?}");
    assert!(sim(&["-nods=3"]).stderr.contains("did you mean -nodes?"));
    assert!(sim(&["compare", "crash"]).stdout.starts_with("Two settings must be given, A and B."));
    for arguments in [["sweep", "10000", "-base", "7"], ["heal", "100", "-base", "7"]] {
        assert!(sim(&arguments).stdout.starts_with("It takes no arguments."), "{arguments:?}");
    }
    let document: serde_json::Value =
        serde_json::from_str(&sim(&["-format=json", "-nodes=0"]).stdout).unwrap();
    assert!(document["error"].as_str().unwrap().contains("nodes"), "{document}");
}

#[test]
fn each_command_explains_itself() {
    for arguments in [
        &["-h"][..],
        &["list", "-h"],
        &["keys", "--help"],
        &["compare", "-h"],
        &["run", "-h"],
        &["sweep", "-h"],
    ] {
        let answer = sim(arguments);
        assert_eq!((answer.exit_code, answer.stdout.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(answer.stderr.starts_with("Usage: thane sim "), "{arguments:?}: {answer:?}");
    }
    let page = thane(&["man", "sim", "compare"], &BTreeMap::new());
    assert!(page.stdout.starts_with(".TH THANE-SIM-COMPARE 1"), "{page:?}");
}
