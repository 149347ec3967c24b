//! Many agents of one program, as processes on loopback.

use crate::process::{Killed, output_of, tied_to_us};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Addresses are 127.S.T.H with H in 1 to 250, and one S a run, so this many agents fit.
const AGENTS_MAX: usize = 256 * HOSTS_PER_BLOCK;
const HOSTS_PER_BLOCK: usize = 250;

/// How long the seed may take to answer RPC.
const SEED_DEADLINE: Duration = Duration::from_secs(20);

/// Agents of one program, running. All are killed when this value goes.
#[derive(Debug)]
pub(crate) struct Fleet {
    program: PathBuf,
    directory: PathBuf,
    agents: Vec<Agent>,
}

#[derive(Debug)]
struct Agent {
    name: String,
    ip: Ipv4Addr,
    log: PathBuf,
    process: Killed,
}

/// The members that an agent counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) members: usize,
    pub(crate) failed: usize,
    pub(crate) left: usize,
}

impl Fleet {
    /// Starts `count` agents of `program` with the default timing. All but the first join the first.
    pub(crate) fn start(program: &Path, count: usize) -> Result<Self> {
        ensure!((1..=AGENTS_MAX).contains(&count), "a fleet has 1 to {AGENTS_MAX} agents, not {count}");
        let directory = env::temp_dir().join(format!("thane-fleet-{}", process::id()));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let mut fleet = Self { program: program.to_owned(), directory, agents: Vec::new() };
        fleet.add()?;
        fleet.wait_for_seed()?;
        while fleet.agents.len() < count {
            fleet.add()?;
        }
        Ok(fleet)
    }

    pub(crate) fn len(&self) -> usize {
        self.agents.len()
    }

    fn add(&mut self) -> Result<()> {
        let number = self.agents.len();
        // Runs at the same time should not share addresses, so the process id chooses the second byte.
        let second = 1 + (process::id() % 254) as u8;
        let ip = Ipv4Addr::new(
            127,
            second,
            (number / HOSTS_PER_BLOCK) as u8,
            (number % HOSTS_PER_BLOCK + 1) as u8,
        );
        let name = format!("agent-{number:03}");
        let log = self.directory.join(format!("{name}.log"));
        let mut command = tied_to_us(&self.program);
        command.arg("agent").arg(format!("-node={name}")).arg(format!("-bind={ip}"));
        command.arg(format!("-rpc-addr={ip}:7373"));
        if let Some(seed) = self.agents.first() {
            // Not `-join`, which gives up at once: a seed takes part in 127 exchanges of state at a time and closes
            // the connections of all others, who have to come again.
            command.arg(format!("-retry-join={}", seed.ip)).arg("-retry-interval=1s");
        }
        let output = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        self.agents.push(Agent { name, ip, log, process: Killed(child) });
        Ok(())
    }

    fn wait_for_seed(&mut self) -> Result<()> {
        let deadline = Instant::now() + SEED_DEADLINE;
        let address = SocketAddr::from((self.agents[0].ip, 7373));
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            self.all_run()?;
            ensure!(
                Instant::now() < deadline,
                "the seed does not answer on {address} after {SEED_DEADLINE:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Fails if an agent has ended, with the end of its log.
    pub(crate) fn all_run(&mut self) -> Result<()> {
        for agent in &mut self.agents {
            if let Some(status) = agent.process.0.try_wait()? {
                let log = fs::read_to_string(&agent.log).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                bail!("{} has ended with {status}; the end of its log:\n{end}", agent.name);
            }
        }
        Ok(())
    }

    /// Waits until each agent counts all as alive; how long that took. `progress` is told how many do.
    pub(crate) fn wait_for_full_membership(
        &mut self,
        patience: Duration,
        mut progress: impl FnMut(usize),
    ) -> Result<Duration> {
        let started = Instant::now();
        let full = Counts { members: self.len(), failed: 0, left: 0 };
        // An agent that knows all is not asked again: watching for losses comes later.
        let mut known_by = 0;
        loop {
            self.all_run()?;
            while known_by < self.len() && self.counts(known_by).ok() == Some(full) {
                known_by += 1;
                progress(known_by);
            }
            if known_by == self.len() {
                return Ok(started.elapsed());
            }
            if started.elapsed() > patience {
                let counts = self.counts(known_by);
                bail!(
                    "after {patience:?} {} still counts {counts:?} of {}",
                    self.agents[known_by].name,
                    self.len()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What the agent of this number counts, through its own program's `info`.
    pub(crate) fn counts(&self, number: usize) -> Result<Counts> {
        let address = format!("-rpc-addr={}:7373", self.agents[number].ip);
        let text = output_of(Command::new(&self.program).arg("info").arg(address))?;
        counts_in(&text).with_context(|| format!("no counts of members in {text:?}"))
    }

    /// Name and counts of each agent that does not count all as alive.
    pub(crate) fn dissenters(&self) -> Result<Vec<String>> {
        let full = Counts { members: self.len(), failed: 0, left: 0 };
        let mut dissenters = Vec::new();
        for (number, agent) in self.agents.iter().enumerate() {
            let counts = self.counts(number)?;
            if counts != full {
                dissenters.push(format!("{} counts {counts:?}", agent.name));
            }
        }
        Ok(dissenters)
    }

    /// How many log lines of all agents contain `text`.
    pub(crate) fn log_lines_with(&self, text: &str) -> Result<usize> {
        let mut count = 0;
        for agent in &self.agents {
            let log = fs::read(&agent.log).with_context(|| agent.log.display().to_string())?;
            count += String::from_utf8_lossy(&log).lines().filter(|line| line.contains(text)).count();
        }
        Ok(count)
    }

    /// Proportional set size of each agent in KiB, sorted.
    pub(crate) fn pss_kib(&self) -> Result<Vec<u64>> {
        let mut sizes = Vec::new();
        for agent in &self.agents {
            let path = format!("/proc/{}/smaps_rollup", agent.process.0.id());
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            sizes.push(pss_in(&text).with_context(|| format!("no Pss in {path}"))?);
        }
        sizes.sort_unstable();
        Ok(sizes)
    }

    /// Processor time that all agents have used so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let per_second: u64 = output_of(Command::new("getconf").arg("CLK_TCK"))?.trim().parse()?;
        let mut ticks = 0;
        for agent in &self.agents {
            let path = format!("/proc/{}/stat", agent.process.0.id());
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            ticks += ticks_in(&text).with_context(|| format!("no times in {path}"))?;
        }
        Ok(Duration::from_millis(ticks * 1000 / per_second))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.agents.clear();
        // Left-over logs in the temporary folder harm nobody.
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// The counts in the text that `info` prints.
fn counts_in(text: &str) -> Option<Counts> {
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(" = "))?;
        line.parse().ok()
    };
    Some(Counts { members: number("members")?, failed: number("failed")?, left: number("left")? })
}

/// The `Pss:` line of `/proc/PID/smaps_rollup`.
fn pss_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

/// User and system time in `/proc/PID/stat`: the 12th and 13th field after the name in parentheses.
fn ticks_in(text: &str) -> Option<u64> {
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_text_of_info() {
        let text =
            "serf:\n\tencrypted = false\n\tfailed = 1\n\tleft = 2\n\tmember_time = 9\n\tmembers = 50\n";
        assert_eq!(counts_in(text), Some(Counts { members: 50, failed: 1, left: 2 }));
        assert_eq!(counts_in("serf:\n"), None);
    }

    #[test]
    fn memory_and_times_are_read_as_the_kernel_writes_them() {
        assert_eq!(pss_in("Rss:   9000 kB\nPss:            1234 kB\nPss_Dirty: 5 kB\n"), Some(1234));
        let stat = "77 (a) b) S 1 77 77 0 -1 4194560 100 0 0 0 25 17 0 0 20 0 3 0 1 1 1";
        assert_eq!(ticks_in(stat), Some(42));
    }
}
