//! One agent as a process of its own.

use super::{
    Answer, Kind, logs,
    program::wait_until,
    recorder::{self, Recorded},
};
use std::{
    cell::{Cell, RefCell},
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

/// How long an agent may take to start or to end. A start with an unreachable seed waits 10 s for it.
const PROCESS_DEADLINE: Duration = Duration::from_secs(60);

/// The line that an agent prints once it runs and, with `-join`, has joined.
const RUNNING_LINE: &str = "Log data will now stream in as it occurs";

/// An agent that was started at least once. Clones are handles of the same process.
#[derive(Clone, Debug)]
pub(crate) struct Agent(Rc<Process>);

#[derive(Debug)]
struct Process {
    kind: Cell<Kind>,
    name: String,
    ip: Ipv4Addr,
    /// The path of its files without their extensions: `log` (standard output), `err` and `events`.
    files: PathBuf,
    arguments: Vec<OsString>,
    /// The command line that runs it and the commands that ask it, if it is not run directly.
    prefix: Vec<OsString>,
    child: RefCell<Option<Child>>,
}

impl Agent {
    pub(crate) fn new(
        kind: Kind,
        name: String,
        ip: Ipv4Addr,
        files: PathBuf,
        arguments: Vec<OsString>,
    ) -> Self {
        Self::within(Vec::new(), kind, name, ip, files, arguments)
    }

    /// One that is run by the command line `prefix`, as are the commands that ask it.
    pub(crate) fn within(
        prefix: Vec<OsString>,
        kind: Kind,
        name: String,
        ip: Ipv4Addr,
        files: PathBuf,
        arguments: Vec<OsString>,
    ) -> Self {
        let (kind, child) = (Cell::new(kind), RefCell::new(None));
        Self(Rc::new(Process { kind, name, ip, files, arguments, prefix, child }))
    }

    /// The program that plays it.
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind.get()
    }

    /// From the next start on another program plays it: same flags, same files, same address.
    #[track_caller]
    pub(crate) fn hand_over_to(&self, kind: Kind) {
        assert!(self.0.child.borrow().is_none(), "{} still runs", self.name());
        self.0.kind.set(kind);
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.0.ip
    }

    /// `IP:7946`.
    pub(crate) fn gossip_address(&self) -> String {
        format!("{}:7946", self.0.ip)
    }

    /// `IP:7373`.
    pub(crate) fn rpc_address(&self) -> String {
        format!("{}:7373", self.0.ip)
    }

    /// Starts the process, on the same address and with the same flags as before, and waits until it runs.
    ///
    /// With the fastest profile a join has one second. If a busy machine held one of the two up for so long, the agent ends, and is
    /// started once more, as a service manager would.
    #[track_caller]
    pub(crate) fn start(&self) {
        assert!(self.0.child.borrow().is_none(), "{} runs already", self.name());
        let deadline = Instant::now() + PROCESS_DEADLINE;
        while !self.comes_up(deadline) {
            self.0.child.take();
        }
    }

    /// Starts the process; whether it runs, or has ended because a join took too long.
    #[track_caller]
    fn comes_up(&self, deadline: Instant) -> bool {
        let before = self.log().len();
        self.spawn();
        loop {
            // It is looked at before the log, which is whole then.
            let ended = self.ended();
            let said = self.log().split_off(before);
            if said.contains(RUNNING_LINE) {
                return true;
            }
            if let Some(status) = ended {
                if logs::tells_of_a_timeout(&said) && Instant::now() < deadline {
                    return false;
                }
                panic!(
                    "{} ended with {status} while it started:\n{}{}",
                    self.name(),
                    self.log(),
                    self.errors()
                );
            }
            assert!(Instant::now() < deadline, "{} did not start:\n{}", self.name(), self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has this agent join another, told to by its own program.
    #[track_caller]
    pub(crate) fn join(&self, other: &Self) -> Answer {
        self.join_by(self.kind(), &[&other.gossip_address()])
    }

    /// Has this agent join by `kind`'s command line, with these arguments; again if one of the two was held up for longer than the
    /// second that a join has with the fastest profile.
    #[track_caller]
    pub(crate) fn join_by(&self, kind: Kind, arguments: &[&str]) -> Answer {
        let deadline = Instant::now() + PROCESS_DEADLINE;
        loop {
            let answer = self.cli(kind, &[&["join"], arguments].concat());
            let is_slow = answer.code != Some(0) && logs::tells_of_a_timeout(&answer.stdout);
            if !is_slow || Instant::now() >= deadline {
                return answer.succeeded();
            }
        }
    }

    /// Starts the process and waits for its end: for starts that must fail.
    #[track_caller]
    pub(crate) fn start_to_its_end(&self) -> Answer {
        self.spawn();
        let code = self.wait_for_end();
        Answer { command: format!("{:?}", self.0.arguments), code, stdout: self.log(), stderr: self.errors() }
    }

    #[track_caller]
    pub(crate) fn spawn(&self) {
        let file = |suffix| {
            let path = self.file(suffix);
            OpenOptions::new().create(true).append(true).open(&path).expect("the log can be opened")
        };
        let mut command = self.kind().command_within(&self.0.prefix);
        command.arg("agent").args(&self.0.arguments).stdout(file("log")).stderr(file("err"));
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        *self.0.child.borrow_mut() = Some(child);
    }

    /// Runs a command of `kind`'s command line against this agent. The first argument is the command's name.
    pub(crate) fn cli<A: AsRef<OsStr>>(&self, kind: Kind, arguments: &[A]) -> Answer {
        let (command, rest) = arguments.split_first().expect("a command has a name");
        let address = OsString::from(format!("-rpc-addr={}", self.rpc_address()));
        let line = [command.as_ref(), &address].into_iter().chain(rest.iter().map(AsRef::as_ref));
        kind.run_within(&self.0.prefix, line)
    }

    /// Runs a command of this agent's own program against it.
    pub(crate) fn own_cli<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Answer {
        self.cli(self.kind(), arguments)
    }

    /// Sends a signal by its name without `SIG`.
    #[track_caller]
    pub(crate) fn signal(&self, signal: &str) {
        let child = self.0.child.borrow();
        let id = child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name())).id();
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot send {signal} to {}", self.name());
    }

    /// Ends the process as a crash would.
    #[track_caller]
    pub(crate) fn kill(&self) {
        self.signal("KILL");
        assert_eq!(self.wait_for_end(), None, "{} ended by itself", self.name());
    }

    /// Waits for the end of the process; its exit code, or `None` if a signal ended it.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) -> Option<i32> {
        let mut child = self.0.child.take().unwrap_or_else(|| panic!("{} does not run", self.name()));
        wait_until(&mut child, Instant::now() + PROCESS_DEADLINE)
            .unwrap_or_else(|| panic!("{} did not end:\n{}{}", self.name(), self.log(), self.errors()))
            .code()
    }

    /// How the process ended, if it has ended by itself.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.0.child.borrow_mut();
        child.as_mut()?.try_wait().ok()?
    }

    /// Everything written to standard output, over all starts.
    pub(crate) fn log(&self) -> String {
        read(&self.file("log"))
    }

    /// Everything written to standard error, over all starts.
    pub(crate) fn errors(&self) -> String {
        read(&self.file("err"))
    }

    /// What the agent's recording event handler was given, in order. The agent must have been built with one.
    #[track_caller]
    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        recorder::records_in(&self.file("events"))
    }

    /// The path of its files without their extensions.
    pub(super) fn files(&self) -> &Path {
        &self.0.files
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.0.files.with_extension(suffix)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = self.child.get_mut() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
