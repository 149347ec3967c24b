//! The agents as child processes, and the directory that their logs are in.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::world::Plan;

/// One agent that runs. It is killed when dropped: no agent outlives the demonstration by accident.
#[derive(Debug)]
pub(super) struct AgentProcess {
    child: Child,
    ended: Option<ExitStatus>,
    is_released: bool,
}

impl AgentProcess {
    /// Starts this same program as the agent that `plan` describes; what it prints is appended to its log.
    pub(super) fn start(plan: &Plan, scratch: &Scratch) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(scratch.log(plan.name))?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("agent")
            .arg(format!("-node={}", plan.name))
            .arg(format!("-bind={}", plan.gossip_address()))
            .arg(format!("-rpc-addr={}", plan.rpc_address()))
            .arg("-profile=local")
            .args(plan.tags.iter().map(|(key, value)| format!("-tag={key}={value}")))
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log);
        // In a group of its own, so that an interrupt from the keyboard reaches only the demonstration, which then
        // decides what becomes of its agents.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(Self { child: command.spawn()?, ended: None, is_released: false })
    }

    /// The process's number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Ends the process at once, without a chance to say goodbye, and waits until it is gone.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.ended = Some(self.child.wait()?);
        Ok(())
    }

    /// Lets the process live on after the demonstration.
    pub(super) fn release(mut self) {
        self.is_released = true;
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        if !self.is_released && self.ended().is_none() {
            // There is nobody left to tell if this fails.
            let _unkillable = self.kill();
        }
    }
}

/// The directory for logs; removed when dropped, unless it is to be kept.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    is_kept: bool,
}

impl Scratch {
    /// Makes a directory that nobody else has.
    pub(super) fn new() -> io::Result<Self> {
        let base = std::env::temp_dir();
        let mut attempt = 0;
        loop {
            let path = base.join(format!("thane-demo-{}-{attempt}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, is_kept: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
                }
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it there for people to read.
    pub(super) fn keep(&mut self) {
        self.is_kept = true;
    }

    fn log(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.log"))
    }

    /// The last lines of each log, by agent.
    pub(super) fn log_tails(&self, lines: usize) -> Vec<(String, Vec<String>)> {
        let mut logs: Vec<PathBuf> =
            fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        logs.sort();
        let tail = |path: &PathBuf| {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
            let all: Vec<&str> = text.lines().collect();
            let last = all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect();
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), last)
        };
        logs.iter().map(tail).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_kept {
            // What stays behind is a few log lines in a directory that the system empties.
            let _left_behind = fs::remove_dir_all(&self.path);
        }
    }
}
