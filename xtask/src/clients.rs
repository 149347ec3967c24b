//! RPC clients that others wrote for Serf, which Thane is tested with.

use crate::{
    Outcome,
    arguments::Arguments,
    process::{self, cargo},
};
use anyhow::{Context as _, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A program of ours that uses the crate `serf-rpc`, with a lock file of its own.
const SERF_RPC: &str = "crates/thane-agent/tests/clients/serf_rpc/Cargo.toml";

/// The Python package, and what it needs.
const SERFCLIENT: [&str; 2] = ["serfclient==1.2.0", "msgpack==1.2.0"];

/// A client that could not be had.
#[derive(Debug)]
pub(crate) struct Missing {
    /// Its name, as the tests know it.
    pub(crate) client: &'static str,
    /// Its test.
    pub(crate) test: &'static str,
}

pub(crate) fn run(arguments: Arguments) -> Result<Outcome> {
    arguments.finish()?;
    Ok(Outcome::held_if(install()?.is_empty()))
}

/// Puts all clients into the target folder, those that are there already excepted. Gives those that could not be had; the reason has
/// then been printed.
pub(crate) fn install() -> Result<Vec<Missing>> {
    let folder = target_folder().join("clients");
    let mut missing = Vec::new();
    if !install_serfclient(&folder.join("serfclient"))? {
        let test = "the_python_package_serfclient_works_unmodified";
        missing.push(Missing { client: "serfclient", test });
    }
    if !install_serf_rpc(&folder.join("serf-rpc"))? {
        missing.push(Missing { client: "serf-rpc", test: "the_rust_crate_serf_rpc_works_unmodified" });
    }
    Ok(missing)
}

fn target_folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new("target").to_owned(), PathBuf::from)
}

fn install_serfclient(folder: &Path) -> Result<bool> {
    if folder.is_dir() {
        println!("    {} is there", folder.display());
        return Ok(true);
    }
    // Complete under its name, or not there at all.
    let partial = folder.with_extension("partial");
    // Of a run that was interrupted: pip would keep what is in it.
    _ = fs::remove_dir_all(&partial);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    pip.arg(&partial).args(SERFCLIENT);
    if process::find("python3").is_none() || !process::succeeds(&mut pip)? {
        println!("    the Python package {} could not be installed with pip", SERFCLIENT[0]);
        return Ok(false);
    }
    fs::rename(&partial, folder).with_context(|| format!("cannot rename {}", partial.display()))?;
    Ok(true)
}

fn install_serf_rpc(folder: &Path) -> Result<bool> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--locked", "--manifest-path", SERF_RPC, "--target-dir"]).arg(folder);
    let is_built = process::succeeds(&mut build)?;
    if !is_built {
        println!("    the program with the crate serf-rpc could not be built; it needs crates.io once");
        // A folder without the program would be taken for one with it.
        _ = fs::remove_dir_all(folder);
    }
    Ok(is_built)
}
