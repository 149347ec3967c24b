//! Starting other programs.

use anyhow::{Context as _, Result, bail};
use std::{
    env,
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The `cargo` that runs this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Runs a command that prints for itself; whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    println!("    {}", line_of(command));
    let status = command.status().with_context(|| format!("cannot start `{}`", line_of(command)))?;
    Ok(status.success())
}

/// Runs a command that should have nothing to say.
pub(crate) fn succeeds_quietly(command: &mut Command) -> Result<()> {
    output_of(command).map(|_nothing| ())
}

/// Runs a command to its end; what it wrote to standard output.
pub(crate) fn output_of(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", line_of(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed with {}: {}", line_of(command), output.status, errors.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not print text", line_of(command)))
}

/// The command as one would type it.
pub(crate) fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The file that the shell would run for `program`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).is_file().then(|| PathBuf::from(program));
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// A command that dies with this process however it ends, where the system can do that.
///
/// The system counts the thread that starts it as its parent, so start it from the main thread.
pub(crate) fn tied_to_us(program: &Path) -> Command {
    if find("setpriv").is_some() {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// A child process that is killed when this value goes.
#[derive(Debug)]
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only if the process has already gone.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Sends many signals without starting a program for each: a shell that reads them.
#[derive(Debug)]
pub(crate) struct Signals(Killed);

impl Signals {
    pub(crate) fn start() -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(Killed(shell.spawn().context("cannot start a shell")?)))
    }

    /// Sends a signal, such as STOP. Nothing tells whether these processes were there.
    pub(crate) fn send(&mut self, signal: &str, to: impl Iterator<Item = u32>) -> Result<()> {
        let to: Vec<String> = to.map(|pid| pid.to_string()).collect();
        let shell = self.0.0.stdin.as_mut().context("the shell has an input")?;
        writeln!(shell, "kill -{signal} {}", to.join(" ")).context("cannot send a signal")
    }
}
