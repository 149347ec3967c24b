//! A network of two halves that can be cut: two network namespaces and a cable between them.

use super::program::{found, setpriv_is_present, wait_until};
use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    ops::RangeInclusive,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a command of `ip` may take.
const COMMAND_DEADLINE: Duration = Duration::from_secs(20);

/// The two halves. Their namespaces live as long as the two processes that hold them, and end with this value.
#[derive(Debug)]
pub(crate) struct Halves {
    holders: [Child; 2],
    /// Options of `nsenter`, before the process.
    enters: Vec<&'static str>,
}

impl Halves {
    /// Makes them, or says on standard error why that cannot be done on this system, which many do not let programs do.
    pub(crate) fn make() -> Option<Self> {
        let programs = ["unshare", "nsenter", "ip"];
        if let Some(missing) = programs.into_iter().find(|program| !found(Path::new(program))) {
            eprintln!("skipped: without the program `{missing}` there is no network to cut");
            return None;
        }
        // A namespace for users gives the right to have one for the network, to those who are not root.
        for (unshares, enters) in
            [(&["-n"][..], &["-n"][..]), (&["-U", "-r", "-n"], &["-U", "--preserve-credentials", "-n"])]
        {
            if let Some(halves) = Self::try_make(unshares, enters) {
                return Some(halves);
            }
        }
        eprintln!("skipped: this system does not let this user make network namespaces");
        None
    }

    fn try_make(unshares: &[&str], enters: &[&'static str]) -> Option<Self> {
        let mut first = command("unshare");
        first.args(unshares);
        let first = hold(first)?;
        let mut second = command("nsenter");
        second.args(["-t", &first.id().to_string()]).args(enters).args(["unshare", "-n"]);
        let Some(second) = hold(second) else {
            end(first);
            return None;
        };
        let halves = Self { holders: [first, second], enters: enters.to_vec() };
        let far = halves.holders[1].id();
        let is_made = halves.run(0, &format!("ip link add cable type veth peer name cable netns {far}"))
            && (0..2).all(|half| {
                halves.run(half, "ip link set lo up && ip link set cable up")
                    && hosts(half).all(|host| {
                        halves.run(half, &format!("ip addr add {}/24 dev cable", Self::address(half, host)))
                    })
            });
        is_made.then_some(halves)
    }

    /// The address of a host in a half; hosts 1 to 4 are in the first, 5 to 8 in the second.
    pub(crate) fn address(half: usize, host: u8) -> Ipv4Addr {
        assert!(hosts(half).contains(&host), "host {host} is not in half {half}");
        Ipv4Addr::new(10, 254, 254, host)
    }

    /// What a command line must begin with to run in a half.
    pub(crate) fn prefix(&self, half: usize) -> Vec<OsString> {
        let holder = self.holders[half].id().to_string();
        let words = ["nsenter", "-t", &holder];
        words.into_iter().chain(self.enters.iter().copied()).map(OsString::from).collect()
    }

    /// Lets whatever goes from one half to the other get lost, without an error to anybody.
    #[track_caller]
    pub(crate) fn cut(&self) {
        // It goes to a card that is not there.
        self.both("ip neigh replace {} lladdr 02:00:00:00:00:99 nud permanent dev cable");
    }

    /// Makes the network whole again.
    #[track_caller]
    pub(crate) fn mend(&self) {
        self.both("ip neigh del {} dev cable");
    }

    /// Runs a command in each half for each host of the other.
    #[track_caller]
    fn both(&self, line: &str) {
        for half in 0..2 {
            for host in hosts(1 - half) {
                let address = Self::address(1 - half, host).to_string();
                assert!(self.run(half, &line.replace("{}", &address)), "{line} fails for {address}");
            }
        }
    }

    /// Whether the command works in a half.
    fn run(&self, half: usize, line: &str) -> bool {
        let prefix = self.prefix(half);
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).args(["sh", "-c", line]).stdin(Stdio::null()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return false };
        wait_until(&mut child, Instant::now() + COMMAND_DEADLINE).is_some_and(|status| status.success())
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            holder.kill().ok();
            holder.wait().ok();
        }
    }
}

/// The hosts of a half.
fn hosts(half: usize) -> RangeInclusive<u8> {
    if half == 0 { 1..=4 } else { 5..=8 }
}

/// A command that dies with the thread that starts it, where the system can do that.
fn command(program: &str) -> Command {
    if setpriv_is_present() {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]);
        command
    } else {
        Command::new(program)
    }
}

/// Starts a process that holds the namespace in which `command` runs what follows; `None` if it cannot.
fn hold(mut command: Command) -> Option<Child> {
    command.args(["sh", "-c", "echo held && exec sleep 3600"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut line = String::new();
    let is_read = BufReader::new(child.stdout.take()?).read_line(&mut line).is_ok();
    if is_read && line == "held\n" {
        return Some(child);
    }
    end(child);
    None
}

fn end(mut child: Child) {
    child.kill().ok();
    child.wait().ok();
}
