//! A network of our own: a bridge in this namespace, and an agent's namespace at each of its ports. Loss and cuts are rules of nftables for what an
//! agent sends; delay is netem's.

use crate::{
    herd::{Place, name},
    process::succeeds_quietly,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fmt::Write as _,
    io::Write as _,
    process::{Command, Stdio},
};

/// All agents' addresses begin so.
const NETWORK: [u8; 3] = [10, 77, 0];
/// Where the agents live.
pub(super) const PLACE: Place = Place::Namespaces(NETWORK);

/// What happens to packets that an agent sends to others.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// So many of a hundred are lost, whatever they are.
    Loss(u32),
    /// Those to these agents are lost.
    CutTo(Vec<usize>),
}

impl Fault {
    /// As a rule of nftables.
    fn rule(&self) -> String {
        match self {
            Self::Loss(percent) => format!("numgen random mod 100 < {percent} drop"),
            Self::CutTo(agents) => {
                let addresses: Vec<String> =
                    agents.iter().map(|agent| PLACE.ip(*agent).to_string()).collect();
                format!("ip daddr {{ {} }} drop", addresses.join(", "))
            }
        }
    }
}

pub(super) fn build(agents: usize) -> Result<()> {
    // Names of namespaces are files: they go into memory that only we see.
    let mut script = String::from("set -e\nmount -t tmpfs tmpfs /run\nmkdir /run/netns\n");
    script.push_str("ip link set lo up\nip link add bridge type bridge\nip link set bridge up\n");
    for agent in 0..agents {
        let (namespace, ip) = (name(agent), PLACE.ip(agent));
        _ = writeln!(script, "ip netns add {namespace}");
        _ = writeln!(script, "ip link add port{agent} type veth peer name eth0 netns {namespace}");
        _ = writeln!(script, "ip link set port{agent} master bridge up");
        _ = writeln!(script, "ip -n {namespace} addr add {ip}/24 dev eth0");
        _ = writeln!(script, "ip -n {namespace} link set lo up\nip -n {namespace} link set eth0 up");
    }
    succeeds_quietly(Command::new("sh").args(["-c", &script])).context("cannot build the network")
}

/// From now on this happens to what an agent sends to others, and nothing else.
pub(super) fn set(agent: usize, fault: Option<&Fault>) -> Result<()> {
    let rule = fault.map(Fault::rule).unwrap_or_default();
    let rules = format!(
        "flush ruleset\ntable inet chaos {{\nchain output {{\ntype filter hook output priority 0;\noif lo accept\n{rule}\n}}\n}}\n"
    );
    let mut child = in_namespace(agent).args(["nft", "-f", "-"]).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("nft has an input")?.write_all(rules.as_bytes())?;
    ensure!(child.wait()?.success(), "nft refuses the rules for {}: {rule}", name(agent));
    Ok(())
}

/// Whether this kernel can delay packets.
pub(super) fn can_delay() -> Result<bool> {
    let can = delay(0, true).is_ok();
    if can {
        delay(0, false)?;
    }
    Ok(can)
}

/// Begins or ends that what an agent sends takes 40 ms longer, give or take 20.
pub(super) fn delay(agent: usize, begins: bool) -> Result<()> {
    let words = if begins { "add dev eth0 root netem delay 40ms 20ms" } else { "del dev eth0 root netem" };
    succeeds_quietly(in_namespace(agent).args(["tc", "qdisc"]).args(words.split(' ')))
}

fn in_namespace(agent: usize) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &name(agent)]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_the_addresses_of_agents() {
        assert_eq!(Fault::CutTo(vec![0, 9]).rule(), "ip daddr { 10.77.0.1, 10.77.0.10 } drop");
        assert_eq!(Fault::Loss(20).rule(), "numgen random mod 100 < 20 drop");
    }
}
