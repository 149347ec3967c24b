//! Agents as processes on loopback whose logs are read as they are written, so that it is known to the millisecond who learnt what
//! when. Agents of Thane and of Serf may be in one herd: both write the lines that are looked for.

use crate::process::{Killed, output_of, succeeds_quietly, tied_to_us};
use anyhow::{Context as _, Result, ensure};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufRead as _, BufReader, PipeReader, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The last byte of an address leaves room for this many agents.
const AGENTS_MAX: usize = 250;

/// What a line of a log tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A member is there.
    Joined(String),
    /// A member was declared failed.
    Failed(String),
    /// A user event was delivered.
    Event(String),
}

/// One line of one agent's log.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) at: Instant,
    /// Whose log it stands in.
    pub(crate) agent: usize,
    pub(crate) what: What,
}

/// Running agents, all of which are killed when this value goes.
#[derive(Debug)]
pub(crate) struct Herd {
    agents: Vec<Agent>,
    place: Place,
    news: Receiver<News>,
    teller: Sender<News>,
    /// Where the logs are kept, if they are.
    logs: Option<PathBuf>,
    /// Read and not asked for yet.
    kept: Vec<News>,
}

/// Where agents live.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// On addresses of loopback with this second and third byte.
    Loopback(u8, u8),
    /// Each in a network namespace of its own, which is there already and bears the agent's name; the last byte of its address is the agent's number
    /// plus one.
    Namespaces([u8; 3]),
}

impl Place {
    /// Loopback; `number` tells the herds of one run apart.
    pub(crate) fn loopback(number: u8) -> Self {
        // Runs at the same time should not share addresses, so the process id chooses the second byte.
        Self::Loopback(1 + (process::id() % 254) as u8, 128 + number)
    }

    pub(crate) fn ip(self, agent: usize) -> Ipv4Addr {
        let [a, b, c] = match self {
            Self::Loopback(second, third) => [127, second, third],
            Self::Namespaces(network) => network,
        };
        Ipv4Addr::new(a, b, c, agent as u8 + 1)
    }

    /// Where an agent answers RPC, as it is seen from where the agent lives.
    fn rpc(self, agent: usize) -> Ipv4Addr {
        match self {
            Self::Loopback(..) => self.ip(agent),
            Self::Namespaces(_) => Ipv4Addr::LOCALHOST,
        }
    }

    /// A command that runs where an agent lives.
    fn command(self, agent: usize, program: &Path, tied: bool) -> Command {
        let start = if tied { tied_to_us } else { |program: &Path| Command::new(program) };
        match self {
            Self::Loopback(..) => start(program),
            Self::Namespaces(_) => {
                let mut command = start(Path::new("ip"));
                command.args(["netns", "exec", &name(agent)]).arg(program);
                command
            }
        }
    }
}

#[derive(Debug)]
struct Agent {
    program: PathBuf,
    process: Option<Killed>,
    started: Instant,
}

impl Herd {
    /// Starts one agent of each of these programs, in this order, with the default timing; all join the first. What they log is kept in the
    /// folder `logs`, a file an agent.
    pub(crate) fn start(programs: &[&Path], place: Place, logs: Option<&Path>) -> Result<Self> {
        ensure!((2..=AGENTS_MAX).contains(&programs.len()), "a herd has 2 to {AGENTS_MAX} agents");
        if let Some(folder) = logs {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let (teller, news) = mpsc::channel();
        let logs = logs.map(Path::to_owned);
        let mut herd = Self { agents: Vec::new(), place, news, teller, logs, kept: Vec::new() };
        for (agent, program) in programs.iter().enumerate() {
            let started = Instant::now();
            herd.agents.push(Agent { program: (*program).to_owned(), process: None, started });
            herd.revive(agent)?;
            if agent == 0 {
                // Until the seed listens; the others would come again only after their retry interval.
                herd.wait(Duration::from_secs(20), |news| news.iter().any(|it| it.what == joined(0)))
                    .context("the first agent does not start")?;
            }
        }
        Ok(herd)
    }

    pub(crate) fn len(&self) -> usize {
        self.agents.len()
    }

    /// Runs a client command of an agent's program at that agent; what it printed.
    pub(crate) fn ask(&self, agent: usize, words: &[&str]) -> Result<String> {
        let (verb, rest) = words.split_first().context("a command has a name")?;
        let mut command = self.client(agent, &self.agents[agent].program, false);
        output_of(command.arg(verb).args(rest))
    }

    /// A client of an agent, to be given its command; if it is tied to us, it dies with this process.
    pub(crate) fn client(&self, agent: usize, program: &Path, tied: bool) -> Command {
        let mut command = self.place.command(agent, program, tied);
        command.env("SERF_RPC_ADDR", format!("{}:7373", self.place.rpc(agent)));
        command
    }

    /// Agents whose processes have ended without being killed by us.
    pub(crate) fn ended(&mut self) -> Vec<usize> {
        let ended = |agent: &mut Agent| {
            agent
                .process
                .as_mut()
                .is_some_and(|process| process.0.try_wait().is_ok_and(|ended| ended.is_some()))
        };
        (0..self.len()).filter(|number| ended(&mut self.agents[*number])).collect()
    }

    /// Starts an agent that is not running.
    pub(crate) fn revive(&mut self, agent: usize) -> Result<()> {
        let ip = self.place.ip(agent);
        let program = self.agents[agent].program.clone();
        let (reader, writer) = io::pipe().context("cannot make a pipe")?;
        let mut command = self.place.command(agent, &program, true);
        command.arg("agent").arg(format!("-node={}", name(agent))).arg(format!("-bind={ip}"));
        command.arg(format!("-rpc-addr={}:7373", self.place.rpc(agent))).arg("-log-level=debug");
        if let Some(seed) = self.oldest_but(agent) {
            command.arg(format!("-retry-join={}", self.place.ip(seed))).arg("-retry-interval=1s");
        }
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let it = &mut self.agents[agent];
        (it.process, it.started) = (Some(Killed(child)), Instant::now());
        let teller = self.teller.clone();
        let copy = self.logs.as_ref().map(|folder| folder.join(name(agent)));
        let copy = copy.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        thread::spawn(move || read(reader, agent, &teller, copy));
        Ok(())
    }

    /// Who runs longest, of the others. One that has just come back itself may know nobody yet.
    fn oldest_but(&self, agent: usize) -> Option<usize> {
        let runs = |other: &usize| *other != agent && self.agents[*other].process.is_some();
        (0..self.len()).filter(runs).min_by_key(|other| self.agents[*other].started)
    }

    /// Ends the process on the spot; its host, this machine, refuses connections from then on.
    pub(crate) fn kill(&mut self, agent: usize) {
        self.agents[agent].process = None;
    }

    /// The process of an agent, if it runs.
    pub(crate) fn pid(&self, agent: usize) -> Option<u32> {
        self.agents[agent].process.as_ref().map(|process| process.0.id())
    }

    /// Sends a signal, such as STOP.
    pub(crate) fn signal(&self, agent: usize, signal: &str) -> Result<()> {
        let Some(process) = &self.agents[agent].process else { return Ok(()) };
        succeeds_quietly(Command::new("kill").arg(format!("-{signal}")).arg(process.0.id().to_string()))
    }

    /// All that was told since the last call.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        self.kept.extend(self.news.try_iter());
        std::mem::take(&mut self.kept)
    }

    /// Waits until the news so far, which stay to be taken, are as wanted.
    pub(crate) fn wait(&mut self, patience: Duration, wanted: impl Fn(&[News]) -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !wanted(&self.kept) {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "what was waited for did not come within {patience:?}");
            if let Ok(news) = self.news.recv_timeout(left) {
                self.kept.push(news);
            }
            self.kept.extend(self.news.try_iter());
        }
        Ok(())
    }

    /// Waits until each agent has told that each other is there. Takes the news.
    pub(crate) fn wait_for_all(&mut self, patience: Duration) -> Result<()> {
        let count = self.len();
        self.wait(patience, |news| {
            let joins = news.iter().filter(|it| matches!(it.what, What::Joined(_)));
            let mut known: BTreeMap<usize, BTreeSet<&What>> = BTreeMap::new();
            for it in joins {
                known.entry(it.agent).or_default().insert(&it.what);
            }
            known.len() == count && known.values().all(|of| of.len() == count)
        })
        .context("not all agents know all")?;
        self.take_news();
        Ok(())
    }

    /// Waits until each agent but `victim` has told this; when the first and the last did. The news stay to be taken.
    pub(crate) fn wait_for_others(
        &mut self,
        victim: usize,
        what: &What,
        patience: Duration,
    ) -> Result<(Instant, Instant)> {
        let count = self.len();
        let times = |news: &[News]| {
            let mut first: BTreeMap<usize, Instant> = BTreeMap::new();
            for it in news.iter().filter(|it| it.what == *what && it.agent != victim) {
                first.entry(it.agent).or_insert(it.at);
            }
            first
        };
        self.wait(patience, |news| times(news).len() == count - 1)
            .with_context(|| format!("not all agents tell {what:?}"))?;
        let times = times(&self.kept);
        let first = times.values().min().copied().context("a herd has more than one agent")?;
        let last = times.values().max().copied().context("a herd has more than one agent")?;
        Ok((first, last))
    }
}

/// How the agent of this number is called.
pub(crate) fn name(agent: usize) -> String {
    format!("agent-{agent:03}")
}

pub(crate) fn joined(agent: usize) -> What {
    What::Joined(name(agent))
}

pub(crate) fn failed(agent: usize) -> What {
    What::Failed(name(agent))
}

/// Tells what stands in a log until it ends, and copies it line by line with the time of day in seconds.
fn read(log: PipeReader, agent: usize, teller: &Sender<News>, mut copy: Option<File>) {
    // Logs hold what peers sent, so they need not be text.
    for line in BufReader::new(log).split(b'\n') {
        let Ok(line) = line else { return };
        if let Some(file) = &mut copy {
            let now =
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() % 86_400.0;
            if writeln!(file, "{now:.3} {}", String::from_utf8_lossy(&line)).is_err() {
                copy = None;
            }
        }
        if let Some(what) = what_in(&String::from_utf8_lossy(&line))
            && teller.send(News { at: Instant::now(), agent, what }).is_err()
        {
            return;
        }
    }
}

/// What a line of a log tells, if it is one of those that are looked for.
fn what_in(line: &str) -> Option<What> {
    let word_after = |mark: &str| {
        let (_, rest) = line.split_once(mark)?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    word_after("EventMemberJoin: ")
        .map(What::Joined)
        .or_else(|| word_after("EventMemberFailed: ").map(What::Failed))
        .or_else(|| word_after("Received event: user-event: ").map(What::Event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_programs_are_understood() {
        let cases = [
            (
                "2026/11/22 04:00:00 [INFO] serf: EventMemberJoin: agent-001 127.9.128.2",
                Some(What::Joined("agent-001".into())),
            ),
            (
                "    2026/11/22 04:00:00 [INFO] serf: EventMemberFailed: agent-002 127.9.128.3",
                Some(What::Failed("agent-002".into())),
            ),
            (
                "2026/11/22 04:00:00 [DEBUG] agent: Received event: user-event: deploy",
                Some(What::Event("deploy".into())),
            ),
            ("2026/11/22 04:00:00 [INFO] agent: Received event: member-failed", None),
            ("", None),
        ];
        for (line, wanted) in cases {
            assert_eq!(what_in(line), wanted, "{line:?}");
        }
    }
}
