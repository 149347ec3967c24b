//! A host of its own for one process: network, host name and system log apart from this machine's.
//!
//! It is made of Linux namespaces, which root may make, and on many machines everybody. Where they cannot be made the
//! tests that need them say so.

use std::process::Command;
use std::sync::OnceLock;

/// The host's name.
pub(crate) const NAME: &str = "serfhost";

/// What makes a namespace: as root, or as the owner of a user namespace.
const WAYS: [&[&str]; 2] =
    [&["--net", "--uts", "--mount"], &["--map-root-user", "--net", "--uts", "--mount"]];

/// Loopback, `v0`, `v1` without an address, and no system log. The first argument are `v0`'s addresses.
const SET_UP: &str = r#"set -e
hostname serfhost
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v1 addrgenmode none
ip link set v0 addrgenmode none
ip link set v0 up
ip link set v1 up
for address in $1; do
    case $address in
        *:*) ip address add "$address" dev v0 nodad ;;
        *) ip address add "$address" dev v0 ;;
    esac
done
for socket in /dev/log /var/run/syslog /var/run/log; do
    [ ! -S "$socket" ] || mount --bind /dev/null "$socket"
done
shift
exec "$@""#;

/// Such a host, which exists as long as a process is on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnHost {
    way: usize,
}

impl OwnHost {
    /// A host to start processes on; `None` if this machine makes none.
    pub(crate) fn possible() -> Option<Self> {
        static WAY: OnceLock<Option<usize>> = OnceLock::new();
        let works = |way: &usize| {
            let made = Self { way: *way }.start("10.11.12.13/24", "true", &[]).output();
            made.is_ok_and(|made| made.status.success())
        };
        WAY.get_or_init(|| (0..WAYS.len()).find(works)).map(|way| Self { way })
    }

    /// What starts a program on a new host, whose interface `v0` has these addresses, with spaces between.
    pub(crate) fn start(self, v0: &str, program: &str, arguments: &[String]) -> Command {
        let mut command = Command::new("unshare");
        command.args(WAYS[self.way]).args(["--", "sh", "-c", SET_UP, "sh", v0, program]).args(arguments);
        command
    }

    /// What starts a program on the host that this process is on.
    pub(crate) fn beside(self, process: u32, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &process.to_string(), "--net", "--uts"]);
        if WAYS[self.way].contains(&"--map-root-user") {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--", program]);
        command
    }
}
