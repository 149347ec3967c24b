//! The two programs under test, and how one command of either is run.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long one command may take before the test fails. Serf's slowest, a forced leave with pruning, needs about
/// 6 s; the rest is room for a busy machine.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// Which of the two programs plays a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Thane,
    Serf,
}

/// Both programs, for stories that hold either way round.
pub(crate) const BOTH: [Kind; 2] = [Kind::Thane, Kind::Serf];

impl Kind {
    /// The other program.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Thane => Self::Serf,
            Self::Serf => Self::Thane,
        }
    }

    /// A word for node names and messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Thane => "thane",
            Self::Serf => "serf",
        }
    }

    fn program(self) -> PathBuf {
        let (variable, default) = match self {
            Self::Thane => ("THANE_PROGRAM", env!("CARGO_BIN_EXE_thane")),
            Self::Serf => ("SERF_PROGRAM", "serf"),
        };
        env::var_os(variable).map_or_else(|| PathBuf::from(default), PathBuf::from)
    }

    /// A command of this program that dies with the thread that starts it, where the system can do that, and sees
    /// none of the variables that would change what it does.
    pub(crate) fn command(self) -> Command {
        self.command_within(&[])
    }

    /// The same, run by the command line `prefix`.
    pub(crate) fn command_within(self, prefix: &[OsString]) -> Command {
        let mut words = prefix.to_vec();
        if setpriv_is_present() {
            words.extend(["setpriv", "--pdeathsig", "KILL"].map(OsString::from));
        }
        words.push(self.program().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.env_remove("SERF_RPC_ADDR").env_remove("SERF_RPC_AUTH").stdin(Stdio::null());
        command
    }

    /// Runs one command of this program to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Answer {
        self.run_with(arguments, &[])
    }

    /// The same, run by the command line `prefix`.
    pub(crate) fn run_within<A: AsRef<OsStr>>(
        self,
        prefix: &[OsString],
        arguments: impl IntoIterator<Item = A>,
    ) -> Answer {
        self.answer(self.command_within(prefix), arguments)
    }

    /// Runs one command of this program to its end, with the environment `variables`.
    pub(crate) fn run_with<A: AsRef<OsStr>>(
        self,
        arguments: impl IntoIterator<Item = A>,
        variables: &[(&str, &str)],
    ) -> Answer {
        let mut command = self.command();
        command.envs(variables.iter().copied());
        self.answer(command, arguments)
    }

    fn answer<A: AsRef<OsStr>>(self, mut command: Command, arguments: impl IntoIterator<Item = A>) -> Answer {
        let arguments: Vec<OsString> = arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
        command.args(&arguments);
        answer_of(command, format!("{} {}", self.word(), arguments.join(OsStr::new(" ")).display()))
    }
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The command line, for messages.
    pub(crate) command: String,
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// The answer itself, once it has said that all went well.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "`{}` should succeed: {self:#?}", self.command);
        self
    }

    /// The answer itself, once it has refused with exit code 1 and `words` on standard output.
    #[track_caller]
    pub(crate) fn refused(self, words: &str) -> Self {
        assert_eq!(self.code, Some(1), "`{}` should fail: {self:#?}", self.command);
        assert!(self.stdout.contains(words), "{words:?} should be on standard output: {self:#?}");
        self
    }
}

fn answer_of(mut command: Command, line: String) -> Answer {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start `{line}`: {error}"));
    let stdout = reader_of(child.stdout.take());
    let stderr = reader_of(child.stderr.take());
    let code = wait_until(&mut child, Instant::now() + COMMAND_DEADLINE)
        .unwrap_or_else(|| panic!("`{line}` did not end within {COMMAND_DEADLINE:?}"))
        .code();
    let text = |reader: thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&reader.join().expect("a reader does not panic")).into_owned()
    };
    Answer { command: line, code, stdout: text(stdout), stderr: text(stderr) }
}

/// Both outputs are read while the command runs, so that a full pipe cannot hold it up.
fn reader_of(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    let mut pipe = pipe.expect("the output is piped");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // An error here is the end of a killed process; what was read until then is the output.
        pipe.read_to_end(&mut bytes).ok();
        bytes
    })
}

/// How `child` ended, or `None` if it was still running and had to be killed.
pub(crate) fn wait_until(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(3)),
            _ => {
                child.kill().ok();
                child.wait().ok();
                return None;
            }
        }
    }
}

/// Runs `story` if both programs can run, with a place among the stories that may run at the same time.
///
/// Nothing is skipped in silence: without `serf` the test fails, unless `THANE_WITHOUT_PEERS` says that this is
/// known.
#[track_caller]
pub(crate) fn with_programs(story: impl FnOnce()) {
    if env::var_os("THANE_WITHOUT_PEERS").is_some_and(|value| value != "0" && !value.is_empty()) {
        eprintln!(
            "skipped: THANE_WITHOUT_PEERS is set; unset it and run `cargo xtask test` to test beside Serf"
        );
        return;
    }
    for kind in BOTH {
        let program = kind.program();
        assert!(
            found(&program),
            "cannot find the program `{}`; run `cargo xtask test`, which installs it, or set THANE_WITHOUT_PEERS=1 \
             to go without the tests beside Serf",
            program.display()
        );
    }
    let _place = Place::take();
    story();
}

pub(crate) fn found(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.is_file();
    }
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

pub(crate) fn setpriv_is_present() -> bool {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    *PRESENT.get_or_init(|| found(Path::new("setpriv")))
}

/// A place among the clusters that run at the same time, so that a small machine is not asked for more than it can
/// do within the protocol's timeouts.
struct Place;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Place {
    fn take() -> Self {
        let places = thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
        let mut taken =
            FREED.wait_while(taken(), |taken| *taken >= places).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *taken() -= 1;
        FREED.notify_one();
    }
}

fn taken() -> MutexGuard<'static, usize> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}
