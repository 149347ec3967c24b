//! A story's cluster: its addresses, its agents, its files, and the waiting for what should become true.

use super::{
    Agent, BOTH, Kind, Machine, Monitor, logs,
    loopback::Block,
    members::{members_through, statuses},
    program::with_programs,
    recorder,
};
use std::{
    cell::{Cell, RefCell},
    env,
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a condition may take to become true. The slowest thing waited for, a failure seen by ten agents with
/// LAN timing, takes about 15 s on an idle machine.
const CONDITION_DEADLINE: Duration = Duration::from_secs(90);

/// How long after an operator pruned a member without an effect everywhere he does so again.
const PRUNE_AGAIN: Duration = Duration::from_secs(20);

/// Lines of each agent's log that a failed story prints.
const LOG_LINES_SHOWN: usize = 80;

/// The timing that the agents of a cluster run with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    /// The fastest, for most stories.
    Local,
    /// The default of both programs: no `-profile` is given.
    Lan,
}

/// A cluster of agents of both kinds.
#[derive(Debug)]
pub(crate) struct Cluster {
    profile: Profile,
    block: Block,
    hosts_used: Cell<u8>,
    launches: Cell<usize>,
    directory: PathBuf,
    agents: RefCell<Vec<Agent>>,
    tolerated: RefCell<Vec<String>>,
}

/// Runs `story` with an empty cluster, then checks that the agents' logs are as they should be. If the story fails,
/// the end of each agent's log is printed.
#[track_caller]
pub(crate) fn with_cluster(profile: Profile, story: impl FnOnce(&Cluster)) {
    with_programs(|| {
        let cluster = Cluster::new(profile);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            story(&cluster);
            cluster.check_logs();
        }));
        if let Err(panic) = outcome {
            cluster.print_logs();
            resume_unwind(panic);
        }
    });
}

impl Cluster {
    fn new(profile: Profile) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("thane-peers-{}-{number}", process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory can be made");
        Self {
            profile,
            block: Block::take(),
            hosts_used: Cell::new(0),
            launches: Cell::new(0),
            directory,
            agents: RefCell::default(),
            tolerated: RefCell::default(),
        }
    }

    /// An agent to be started, named after its kind and number, on an address of its own.
    pub(crate) fn agent(&self, kind: Kind) -> Launch<'_> {
        let number = self.hosts_used.get() + 1;
        self.named_agent(kind, &format!("{}-{number}", kind.word()))
    }

    /// An agent to be started, on an address of its own.
    pub(crate) fn named_agent(&self, kind: Kind, name: &str) -> Launch<'_> {
        let host = self.hosts_used.get() + 1;
        self.hosts_used.set(host);
        self.named_agent_at(kind, name, self.block.address(host))
    }

    /// An agent to be started on the address of one that is gone.
    pub(crate) fn named_agent_at(&self, kind: Kind, name: &str, ip: Ipv4Addr) -> Launch<'_> {
        let mut arguments = vec![
            format!("-node={name}").into(),
            format!("-bind={ip}").into(),
            format!("-rpc-addr={ip}:7373").into(),
            "-log-level=trace".into(),
        ];
        if matches!(self.profile, Profile::Local) {
            arguments.push("-profile=local".into());
        }
        // Names may repeat within a story, files may not.
        let number = self.launches.replace(self.launches.get() + 1);
        let files = self.directory.join(format!("{number}-{name}"));
        Launch { cluster: self, kind, name: name.to_owned(), ip, files, arguments }
    }

    /// An agent to be started whose settings are all in a file, as on a machine that somebody looks after.
    pub(crate) fn machine(&self, kind: Kind, name: &str) -> Machine<'_> {
        let host = self.hosts_used.get() + 1;
        self.hosts_used.set(host);
        self.machine_at(kind, name, self.block.address(host))
    }

    /// The same, on an address that is not one of the story's.
    pub(crate) fn machine_at(&self, kind: Kind, name: &str, ip: Ipv4Addr) -> Machine<'_> {
        let number = self.launches.replace(self.launches.get() + 1);
        let directory = self.directory.join(format!("{number}-{name}"));
        Machine::new(self, kind, name, ip, directory, matches!(self.profile, Profile::Local))
    }

    /// Takes an agent under supervision.
    pub(super) fn adopt(&self, agent: &Agent) {
        self.agents.borrow_mut().push(agent.clone());
    }

    /// A path for a file of the story.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts `monitor` of `kind`'s command line against `agent`, and waits until it shows the agent's log.
    #[track_caller]
    pub(crate) fn monitor(&self, kind: Kind, agent: &Agent) -> Monitor {
        let monitor =
            Monitor::start(kind, agent, self.path(&format!("{}.{}.monitor", agent.name(), kind.word())));
        self.wait_for("the monitor to show the agent's log", || {
            if monitor.text().contains("[INFO]") { Ok(()) } else { Err(format!("{monitor:?}")) }
        });
        monitor
    }

    /// Says that a log line with this text belongs to the story.
    pub(crate) fn tolerate(&self, text: &str) {
        self.tolerated.borrow_mut().push(text.to_owned());
    }

    /// Says that members crash or stop answering in this story, so that the others may complain of it.
    pub(crate) fn tolerate_lost_members(&self) {
        for text in logs::LOST_MEMBERS {
            self.tolerate(text);
        }
    }

    /// Waits until `condition` holds; it says otherwise why it does not.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, condition: impl FnMut() -> Result<T, String>) -> T {
        self.wait_within(CONDITION_DEADLINE, what, condition)
    }

    /// The same with a time limit of its own.
    #[track_caller]
    pub(crate) fn wait_within<T>(
        &self,
        limit: Duration,
        what: &str,
        mut condition: impl FnMut() -> Result<T, String>,
    ) -> T {
        let deadline = Instant::now() + limit;
        loop {
            let reason = match condition() {
                Ok(value) => return value,
                Err(reason) => reason,
            };
            for agent in self.agents.borrow().iter() {
                if let Some(status) = agent.ended() {
                    panic!("{} ended with {status} while waiting for {what}: {reason}", agent.name());
                }
            }
            assert!(Instant::now() < deadline, "waited {limit:?} for {what}: {reason}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until each of `agents` lists exactly `expected` (name and status), then checks that all of them tell
    /// one and the same story, addresses, tags and versions included, through both command lines.
    #[track_caller]
    pub(crate) fn wait_for_members(&self, agents: &[&Agent], expected: &[(&str, &str)]) {
        self.wait_for_members_within(CONDITION_DEADLINE, agents, expected);
    }

    /// The same with a time limit of its own.
    #[track_caller]
    pub(crate) fn wait_for_members_within(
        &self,
        limit: Duration,
        agents: &[&Agent],
        expected: &[(&str, &str)],
    ) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        self.wait_within(limit, &format!("all to list {expected:?}"), || {
            let mut first = None;
            for agent in agents {
                for kind in BOTH {
                    let members = members_through(kind, agent)?;
                    let teller = format!("{} through {}", agent.name(), kind.word());
                    if statuses(&members) != expected {
                        return Err(format!("{teller} lists {members:#?}"));
                    }
                    match &first {
                        None => first = Some(members),
                        Some(first) if *first == members => {}
                        Some(first) => return Err(format!("{teller} lists {members:#?}, not {first:#?}")),
                    }
                }
            }
            Ok(())
        });
    }

    /// Waits until each of `agents` lists exactly them all as alive.
    #[track_caller]
    pub(crate) fn wait_until_all_alive(&self, agents: &[&Agent]) {
        let expected: Vec<_> = agents.iter().map(|agent| (agent.name(), "alive")).collect();
        self.wait_for_members(agents, &expected);
    }

    /// Waits until each of `agents` lists exactly them all as alive, and has heard of all joins.
    ///
    /// That matters before a forced leave: from an agent whose member clock is behind, it carries a Lamport time that
    /// others find older than the join it is about, and ignore.
    #[track_caller]
    pub(crate) fn wait_until_settled(&self, agents: &[&Agent]) {
        self.wait_until_all_alive(agents);
        self.wait_for("equal member clocks", || {
            let mut clocks = Vec::new();
            for agent in agents {
                let answer = agent.own_cli(&["info"]);
                let clock =
                    answer.stdout.lines().find(|line| line.contains("member_time = ")).map(str::to_owned);
                clocks.push(clock.ok_or_else(|| format!("{answer:?}"))?);
            }
            let equal = clocks.iter().all(|clock| *clock == clocks[0]);
            if equal { Ok(()) } else { Err(format!("{clocks:?}")) }
        });
    }

    /// Has `asked` prune a failed member by `program`'s command line, and waits until `other` lists it no longer, either.
    ///
    /// Only gossip tells of it, and that of the fastest profile now and then goes to the dead member both times. Then it is done again.
    #[track_caller]
    pub(crate) fn prune(&self, asked: &Agent, program: Kind, member: &Agent, other: &Agent) {
        let prune = || asked.cli(program, &["force-leave", "-prune", member.name()]).succeeded();
        prune();
        let mut pruned = Instant::now();
        self.wait_for("the pruned member to be gone", || {
            if pruned.elapsed() > PRUNE_AGAIN {
                prune();
                pruned = Instant::now();
            }
            let members = members_through(program, other)?;
            let is_there = members.iter().any(|it| it.name == member.name());
            if is_there { Err(format!("{members:#?}")) } else { Ok(()) }
        });
    }

    /// Fails if an agent died of a panic, or if one complained of something the story does not explain: Serf must
    /// find nothing wrong in what Thane sends, and Thane must understand all that Serf sends.
    #[track_caller]
    fn check_logs(&self) {
        let tolerated = self.tolerated.borrow();
        let was_held_up = self.agents.borrow().iter().any(|agent| logs::tells_of_a_hold_up(&agent.log()));
        for agent in self.agents.borrow().iter() {
            assert_eq!(agent.ended(), None, "{} ended by itself", agent.name());
            let errors = agent.errors();
            assert!(!errors.contains("panic"), "{} panicked:\n{errors}", agent.name());
            let log = agent.log();
            let complaints = logs::complaints(&log, &tolerated, was_held_up);
            assert!(complaints.is_empty(), "{} complains: {complaints:#?}", agent.name());
        }
    }

    fn print_logs(&self) {
        for agent in self.agents.borrow().iter() {
            let (log, errors) = (agent.log(), agent.errors());
            // Each look at the members leaves such a line; they say nothing.
            let polls = "agent.ipc: Accepted client";
            let lines: Vec<_> =
                log.lines().filter(|line| !line.contains(polls)).chain(errors.lines()).collect();
            eprintln!("--- {} ({:?}, {}), the end of its log:", agent.name(), agent.kind(), agent.ip());
            for line in &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.agents.get_mut().clear();
        // What is left behind in the temporary directory harms nobody, so a failure here is not worth a panic.
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// An agent to be started.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    cluster: &'a Cluster,
    kind: Kind,
    name: String,
    ip: Ipv4Addr,
    /// The path of its files, without their extensions.
    files: PathBuf,
    arguments: Vec<OsString>,
}

impl Launch<'_> {
    /// The address it will have.
    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Adds a flag, as `-flag=value`.
    pub(crate) fn flag(mut self, flag: impl Into<OsString>) -> Self {
        self.arguments.push(flag.into());
        self
    }

    /// Adds `-join` of another agent.
    pub(crate) fn joining(self, seed: &Agent) -> Self {
        self.flag(format!("-join={}", seed.ip()))
    }

    /// Adds a tag.
    pub(crate) fn tag(self, key: &str, value: &str) -> Self {
        self.flag(format!("-tag={key}={value}"))
    }

    /// Adds an encryption key, in base64.
    pub(crate) fn key(self, key: &str) -> Self {
        self.flag(format!("-encrypt={key}"))
    }

    /// Adds an event handler that keeps what it is given for [`Agent::recorded`].
    pub(crate) fn recording(self, filter: &str) -> Self {
        let handler = recorder::handler_in(&self.files, filter);
        self.flag(format!("-event-handler={handler}"))
    }

    /// The agent, not yet started.
    pub(crate) fn build(self) -> Agent {
        let agent = Agent::new(self.kind, self.name, self.ip, self.files, self.arguments);
        self.cluster.adopt(&agent);
        agent
    }

    /// The agent, running.
    #[track_caller]
    pub(crate) fn start(self) -> Agent {
        let agent = self.build();
        agent.start();
        agent
    }
}
