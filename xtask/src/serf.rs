//! The real Serf, which Thane is tested beside.

use crate::process;
use anyhow::Result;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The Debian package that holds the program `serf`.
const PACKAGE: &str = "serf";

/// Finds `serf`, and installs the Debian package if it is not there. `None` if that did not work; the reason has
/// then been printed.
pub(crate) fn find_or_install() -> Result<Option<PathBuf>> {
    if let Some(path) = process::find("serf") {
        println!("    {} is there", path.display());
        return Ok(Some(path));
    }
    println!("    `serf` is not on PATH; installing the Debian package `{PACKAGE}` with apt-get");
    if process::find("apt-get").is_none() {
        println!("    there is no apt-get on this machine; install Serf 0.9 or newer in another way");
        return Ok(None);
    }
    let found = if install(PACKAGE)? { process::find("serf") } else { None };
    if found.is_none() {
        println!(
            "    the package `{PACKAGE}` could not be installed; try `apt-get install {PACKAGE}` as root"
        );
    } else if Path::new("/run/systemd/system").exists() {
        // The package starts an agent of its own, which would hold the port that the tests use.
        println!("    stopping the service that the package has started");
        process::succeeds(as_root()?.args(["systemctl", "disable", "--now", "serf"]))?;
    }
    Ok(found)
}

/// Installs a Debian package; whether that worked.
pub(crate) fn install(package: &str) -> Result<bool> {
    if process::find("apt-get").is_none() {
        return Ok(false);
    }
    let install = ["install", "-y", "--no-install-recommends", package];
    // A fresh machine may have no package lists yet.
    Ok(apt_get(&install)? || (apt_get(&["update"])? && apt_get(&install)?))
}

fn apt_get(arguments: &[&str]) -> Result<bool> {
    let mut command = as_root()?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).args(arguments);
    process::succeeds(&mut command)
}

/// An `env` command that runs as root: directly, or through `sudo` where that asks no password. Without either it
/// runs as we are, and what needs root then says so itself.
fn as_root() -> Result<Command> {
    if is_root()? || process::find("sudo").is_none() {
        return Ok(Command::new("env"));
    }
    let mut command = Command::new("sudo");
    command.args(["-n", "env"]);
    Ok(command)
}

pub(crate) fn is_root() -> Result<bool> {
    Ok(process::output_of(Command::new("id").arg("-u"))?.trim() == "0")
}
