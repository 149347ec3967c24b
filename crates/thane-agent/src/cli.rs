//! The command line: which command is meant, what it may be told, and where its words go.
//!
//! Everything that a command says goes to standard output, error messages included, because Serf's users capture
//! them there. Only the list of commands, the help that `-h` asks for, the flag parser's message and hints go to
//! standard error. The rules of [`Invocation::of`] are those of the CLI package that Serf uses.

mod completion;
mod connection;
mod doctor;
mod encoding;
mod event;
mod explain;
mod force_leave;
mod info;
mod interrupt;
mod join;
mod keygen;
mod keys;
mod leave;
mod man;
mod members;
mod monitor;
mod output;
mod progress;
mod query;
mod reachability;
mod rtt;
mod sim;
mod table;
mod tags;
mod version;

use std::ffi::OsString;
use std::io::{self, Write as _};

use encoding::{Format, error_line};
pub(crate) use output::Output;

use crate::demo;
use crate::exit::Exit;
use crate::format::for_terminal;
use crate::goflags::{FlagError, FlagSet, Parsed, nearest};

/// One command of the program.
struct Command {
    name: &'static str,
    /// What it does, on one line.
    synopsis: &'static str,
    /// Its flags and help.
    flags: fn() -> FlagSet,
    run: Run,
}

/// How a command is run.
enum Run {
    /// With its flags read, and errors printed here.
    Parsed(fn(&Parsed, &mut Output) -> Result<(), Failure>),
    /// The same, but arguments that it does not understand are ignored, all of them.
    Lenient(fn(&Parsed, &mut Output) -> Result<(), Failure>),
    /// With all its arguments as they are; it prints everything itself.
    Raw(fn(&[String]) -> Exit),
    /// By one of several commands that share its name: the one that the first argument names, or, when it names none, by itself
    /// as [`Run::Parsed`] is.
    Group(fn(&Parsed, &mut Output) -> Result<(), Failure>, &'static [Command]),
}

/// The commands, sorted by name.
const COMMANDS: &[Command] = &[
    Command {
        name: "agent",
        synopsis: "Run an agent, which is a member of a cluster",
        flags: crate::agent::flags,
        run: Run::Raw(crate::agent::run),
    },
    Command {
        name: "completion",
        synopsis: "Print a script that completes commands in a shell",
        flags: completion::flags,
        run: Run::Parsed(completion::run),
    },
    Command {
        name: "demo",
        synopsis: "Show what a cluster does, with three agents on this machine",
        flags: demo::flags,
        run: Run::Parsed(demo::run),
    },
    Command {
        name: "doctor",
        synopsis: "Tell what is wrong with an agent or its cluster",
        flags: doctor::flags,
        run: Run::Parsed(doctor::run),
    },
    Command {
        name: "event",
        synopsis: "Send a user event to every member",
        flags: event::flags,
        run: Run::Parsed(event::run),
    },
    Command {
        name: "explain",
        synopsis: "Tell why a member is in the state it is in",
        flags: explain::flags,
        run: Run::Parsed(explain::run),
    },
    Command {
        name: "force-leave",
        synopsis: "Mark a failed member as gone",
        flags: force_leave::flags,
        run: Run::Parsed(force_leave::run),
    },
    Command {
        name: "info",
        synopsis: "Show an agent's counters and settings",
        flags: info::flags,
        run: Run::Parsed(info::run),
    },
    Command {
        name: "join",
        synopsis: "Make an agent join a cluster",
        flags: join::flags,
        run: Run::Parsed(join::run),
    },
    Command {
        name: "keygen",
        synopsis: "Make a new encryption key",
        flags: keygen::flags,
        run: Run::Lenient(keygen::run),
    },
    Command {
        name: "keys",
        synopsis: "Manage the encryption keys of all members",
        flags: keys::flags,
        run: Run::Parsed(keys::run),
    },
    Command {
        name: "leave",
        synopsis: "Make an agent leave its cluster and stop",
        flags: leave::flags,
        run: Run::Parsed(leave::run),
    },
    Command { name: "man", synopsis: "Print a manual page", flags: man::flags, run: Run::Parsed(man::run) },
    Command {
        name: "members",
        synopsis: "List the members of the cluster",
        flags: members::flags,
        run: Run::Parsed(members::run),
    },
    Command {
        name: "monitor",
        synopsis: "Follow an agent's log and events",
        flags: monitor::flags,
        run: Run::Parsed(monitor::run),
    },
    Command {
        name: "query",
        synopsis: "Ask the members a question",
        flags: query::flags,
        run: Run::Parsed(query::run),
    },
    Command {
        name: "reachability",
        synopsis: "Test whether every member can be reached",
        flags: reachability::flags,
        run: Run::Parsed(reachability::run),
    },
    Command {
        name: "rtt",
        synopsis: "Estimate the round trip between two members",
        flags: rtt::flags,
        run: Run::Parsed(rtt::run),
    },
    Command {
        name: "sim",
        synopsis: "Try out what a cluster would do, on virtual machines",
        flags: sim::flags,
        run: Run::Group(sim::run, sim::COMMANDS),
    },
    Command {
        name: "tags",
        synopsis: "Change an agent's tags",
        flags: tags::flags,
        run: Run::Parsed(tags::run),
    },
    Command {
        name: "version",
        synopsis: "Show the program's version",
        flags: version::flags,
        run: Run::Lenient(version::run),
    },
];

/// What Serf's command line says when flags stand before the command.
const MISPLACED_FLAGS: &str = "Invalid flags before the subcommand. If these flags are for\n\
                               the subcommand, please put them after the subcommand.\n\n";

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It says why on standard output; the hint, if any, goes to standard error.
    Told {
        /// What went wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Its arguments were wrong: the message, an empty line and the help.
    Usage(&'static str),
    /// Its arguments asked for nothing: the help alone.
    NothingToDo,
    /// Standard output has the whole result; why that is a failure, or what to do, goes to standard error.
    Aside(String),
    /// Standard output went away, as when `| head` has seen enough.
    OutputClosed,
}

impl Failure {
    /// A failure that `message` tells all about.
    pub(crate) fn told(message: impl Into<String>) -> Self {
        Self::Told { message: message.into(), hint: None }
    }

    /// A failure that `message` tells, and `hint` how to mend it.
    pub(crate) fn mendable(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Told { message: message.into(), hint: Some(hint.into()) }
    }
}

impl From<io::Error> for Failure {
    fn from(_error: io::Error) -> Self {
        Self::OutputClosed
    }
}

/// Runs the command that `raw_arguments` (without the program's own name) ask for.
pub(crate) fn run(raw_arguments: &[OsString]) -> Exit {
    // Commands, flags, names and tags are text: other bytes become U+FFFD. A payload keeps its bytes.
    let arguments: Vec<String> =
        raw_arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let invocation = Invocation::of(&arguments);
    if invocation.wants_version {
        return match Output::stdout().line(&version::text()) {
            Ok(()) => Exit::Success,
            Err(_closed) => Exit::Failure,
        };
    }
    let Some(name) = invocation.command else {
        complain(&usage());
        return if invocation.wants_help { Exit::Success } else { Exit::NoSuchCommand };
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        complain(&usage());
        let meant = nearest(name, COMMANDS.iter().map(|command| command.name));
        let meant = meant.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
        complain(&format!("There is no command '{}'{meant}\n", for_terminal(name)));
        return Exit::NoSuchCommand;
    };
    let (command, rest) = command.meant_by(invocation.rest);
    if invocation.wants_help {
        complain(&command.help());
        return Exit::Success;
    }
    if invocation.has_misplaced_flags {
        complain(&format!("{MISPLACED_FLAGS}{}", command.help()));
        return Exit::Failure;
    }
    command.run(rest, raw_arguments)
}

impl Command {
    /// The commands that share its name; none of most.
    fn subcommands(&self) -> &'static [Command] {
        match self.run {
            Run::Group(_, commands) => commands,
            Run::Parsed(_) | Run::Lenient(_) | Run::Raw(_) => &[],
        }
    }

    /// The command that arguments which follow this one's name are for, and what is left of them.
    fn meant_by<'a>(&self, arguments: &'a [String]) -> (&Self, &'a [String]) {
        let Some((name, rest)) = arguments.split_first() else { return (self, arguments) };
        match self.subcommands().iter().find(|command| command.name == name) {
            Some(command) => (command, rest),
            None => (self, arguments),
        }
    }

    /// The help of its flags, and the list of the commands that share its name.
    fn help(&self) -> String {
        let mut help = (self.flags)().help();
        if !self.subcommands().is_empty() {
            let (commands, name) = (listed(self.subcommands()), self.name);
            help = format!("{help}\nCommands:\n\n{commands}\n  'thane {name} COMMAND -h' tells about one.\n");
        }
        help
    }

    /// Runs with the arguments that follow its name; those that the program was given, end with the same ones.
    fn run(&self, arguments: &[String], raw_arguments: &[OsString]) -> Exit {
        let flags = (self.flags)();
        let (run, parsed) = match self.run {
            Run::Parsed(run) | Run::Group(run, _) => (run, flags.parse(arguments)),
            Run::Lenient(run) => (run, flags.parse(arguments).or_else(|_misunderstood| flags.parse(&[]))),
            Run::Raw(run) => return run(arguments),
        };
        let parsed = match parsed {
            Ok(parsed) => parsed.with_raw(raw_arguments),
            Err(FlagError::Help) => {
                complain(&self.help());
                return Exit::Success;
            }
            Err(error) => {
                complain(&format!("{error}\n"));
                let exit = print_failure(self.help().trim_end());
                if let Some(hint) = flags.hint(&error) {
                    complain(&format!("{hint}\n"));
                }
                return exit;
            }
        };
        let result = run(&parsed, &mut Output::stdout());
        if Format::wants_json(&parsed)
            && let Err(failure) = &result
            && let Some(line) = self.failure_as_json(failure)
        {
            return print_failure(&line);
        }
        match result {
            Ok(()) => Exit::Success,
            Err(Failure::Told { message, hint }) => {
                let exit = print_failure(&message);
                if let Some(hint) = hint {
                    complain(&format!("{hint}\n"));
                }
                exit
            }
            Err(Failure::Usage(message)) => print_failure(format!("{message}\n\n{}", self.help()).trim_end()),
            Err(Failure::NothingToDo) => print_failure(self.help().trim_end()),
            Err(Failure::Aside(text)) => {
                complain(&format!("{text}\n"));
                Exit::Failure
            }
            Err(Failure::OutputClosed) => Exit::Failure,
        }
    }

    /// A failure as standard output gets it from a command that was to print JSON; `None` for one that is not for standard output.
    fn failure_as_json(&self, failure: &Failure) -> Option<String> {
        let usage = (self.flags)();
        let help = format!("'thane {} -h' says how.", usage.command());
        match failure {
            Failure::Told { message, hint } => Some(error_line(message, hint.as_deref())),
            Failure::Usage(message) => Some(error_line(message, Some(&help))),
            Failure::NothingToDo => Some(error_line("The flags ask for nothing.", Some(&help))),
            Failure::Aside(_) | Failure::OutputClosed => None,
        }
    }
}

/// Prints why something failed on standard output.
fn print_failure(text: &str) -> Exit {
    match Output::stdout().line(text) {
        // A closed output changes nothing: it has failed already.
        Ok(()) | Err(_) => Exit::Failure,
    }
}

/// Writes to standard error; there is nowhere to report that it is closed.
pub(crate) fn complain(text: &str) {
    let _nowhere_to_tell = io::stderr().write_all(text.as_bytes());
}

/// The list of commands.
fn usage() -> String {
    let lines = listed(COMMANDS);
    format!("Usage: thane [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n{lines}\n")
}

/// Commands and what they do, one a line.
fn listed(commands: &[Command]) -> String {
    let width = commands.iter().map(|command| command.name.len()).max().unwrap_or(0);
    let line = |command: &Command| format!("    {:<width$}    {}\n", command.name, command.synopsis);
    commands.iter().map(line).collect()
}

/// What the arguments ask for, before any command's own flags are read.
#[derive(Debug, PartialEq, Eq)]
struct Invocation<'a> {
    /// `-v` or `--version` stands anywhere, even as another flag's value. It comes before everything else.
    wants_version: bool,
    /// `-h`, `-help` or `--help` stands anywhere before a `--`.
    wants_help: bool,
    /// A flag stands before the command.
    has_misplaced_flags: bool,
    /// The first argument that is no flag, unless a `--` comes before it.
    command: Option<&'a str>,
    /// What follows the command.
    rest: &'a [String],
}

impl<'a> Invocation<'a> {
    fn of(arguments: &'a [String]) -> Self {
        let mut found = Self {
            wants_version: arguments.iter().any(|argument| argument == "-v" || argument == "--version"),
            wants_help: false,
            has_misplaced_flags: false,
            command: None,
            rest: &[],
        };
        for (index, argument) in arguments.iter().enumerate() {
            match argument.as_str() {
                "--" => break,
                "-h" | "-help" | "--help" => found.wants_help = true,
                flag if flag.starts_with('-') => found.has_misplaced_flags |= found.command.is_none(),
                name if found.command.is_none() && !name.is_empty() => {
                    found.command = Some(name);
                    found.rest = &arguments[index + 1..];
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(arguments: &[&str]) -> (bool, bool, bool, Option<String>, Vec<String>) {
        let arguments: Vec<String> = arguments.iter().copied().map(String::from).collect();
        let found = Invocation::of(&arguments);
        (
            found.wants_version,
            found.wants_help,
            found.has_misplaced_flags,
            found.command.map(String::from),
            found.rest.to_vec(),
        )
    }

    #[test]
    fn the_first_word_is_the_command() {
        let none: Vec<String> = Vec::new();
        for (arguments, expected) in [
            (&[][..], (false, false, false, None, none.clone())),
            (&[""], (false, false, false, None, none.clone())),
            (&["members"], (false, false, false, Some("members".to_owned()), none.clone())),
            (
                &["event", "a", "-x", "--", "-h"],
                (
                    false,
                    false,
                    false,
                    Some("event".to_owned()),
                    ["a", "-x", "--", "-h"].map(String::from).to_vec(),
                ),
            ),
            (
                &["event", "a", "--help"],
                (false, true, false, Some("event".to_owned()), vec!["a".to_owned(), "--help".to_owned()]),
            ),
            (&["-help"], (false, true, false, None, none.clone())),
            (&["-version"], (false, false, true, None, none.clone())),
            (&["--", "members"], (false, false, false, None, none.clone())),
            (&["-x=1", "members"], (false, false, true, Some("members".to_owned()), none.clone())),
            (
                &["event", "--", "-v"],
                (true, false, false, Some("event".to_owned()), vec!["--".to_owned(), "-v".to_owned()]),
            ),
        ] {
            assert_eq!(invocation(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn every_command_has_help_that_names_it() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        for command in COMMANDS {
            let flags = (command.flags)();
            assert!(flags.help().starts_with(&format!("Usage: thane {}", command.name)), "{}", flags.help());
            assert!(usage().contains(command.synopsis));
            assert!(command.subcommands().is_sorted_by_key(|command| command.name));
            for sub in command.subcommands() {
                let start = format!("Usage: thane {} {}", command.name, sub.name);
                assert!(sub.help().starts_with(&start), "{}", sub.help());
                assert!(command.help().contains(sub.synopsis), "{}", command.help());
            }
        }
    }

    #[test]
    fn a_command_of_a_group_is_meant_by_the_first_argument_only() {
        let sim = COMMANDS.iter().find(|command| command.name == "sim").unwrap();
        let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        for (line, name, left) in
            [("sweep -seeds 5", "sweep", 2), ("-seeds 5 sweep", "sim", 3), ("nothing", "sim", 1)]
        {
            let words = words(line);
            let (command, rest) = sim.meant_by(&words);
            assert_eq!((command.name, rest.len()), (name, left), "{line}");
        }
    }
}
