//! A cluster that is there from the beginning, for simulations of what comes after.

use bytes::Bytes;
use thane_core::{Member, Node, Output, Time};
use thane_wire::gossip::{NodeState, NodeStateKind, ip_bytes};
use thane_wire::packet::{Codec, CodecConfig};
use thane_wire::serf::{PushPullState, SerfMessage};
use thane_wire::stream::{PushPull, Role};

use crate::world::{HostId, Observer, ProcessId, World};

impl<O: Observer> World<O> {
    /// Starts a process on each of these hosts, all of which know each other at once. Joining one after the other through a seed takes
    /// a large cluster minutes of virtual time, and far longer to simulate.
    ///
    /// Each node learns the others as it always does, from a state exchange that somebody opens to it: the bytes are those that a
    /// member which knows them all would send, and the node judges them as any others. Only the network is left out: all of it
    /// happens now, nothing is lost, and the nodes' own replies go nowhere.
    ///
    /// # Panics
    /// As [`World::start`]; and when a node refuses the exchange, which members of different labels or keys do.
    pub fn start_as_cluster(&mut self, hosts: &[HostId]) {
        for host in hosts {
            self.start(*host);
        }
        self.introduce(hosts);
    }

    /// The second half of [`World::start_as_cluster`]: the processes on these hosts, which run already, know each other at once.
    ///
    /// # Panics
    /// When a node refuses the exchange (see [`World::start_as_cluster`]).
    pub fn introduce(&mut self, hosts: &[HostId]) {
        let members: Vec<Member> =
            hosts.iter().filter_map(|host| self.node(*host)).map(Node::local).collect();
        let state = Bytes::from(state_of(&members));
        for host in hosts {
            self.tell_state(*host, &state);
            let known = self.node(*host).map_or(0, |node| node.stats().live);
            assert!(known >= members.len(), "{host:?} took over {known} of {} members", members.len());
        }
    }

    /// Somebody exchanges state with the process on a host, who is not a host of this world. What the node would reply is dropped.
    fn tell_state(&mut self, host: HostId, state: &Bytes) {
        let now = self.now;
        // Of the addresses for documentation, so that it is nobody's.
        let from = ([192, 0, 2, 1], 7946).into();
        let it = &mut self.hosts[host.index()];
        let process = ProcessId { host, life: it.life };
        let Some(node) = it.node.as_mut() else { return };
        let sealed = sealed_for(node, state);
        if let Some(stream) = node.handle_stream_accepted(now, from) {
            node.handle_stream_data(now, stream, sealed.as_ref().unwrap_or(state));
            node.handle_stream_ended(now, stream);
        }
        self.tally.inputs += 3;
        self.drain_silently(now, process);
        self.drain(host);
    }

    /// Takes out what belongs to the exchange; it is traced, observed and written down like any output.
    fn drain_silently(&mut self, now: Time, process: ProcessId) {
        let next = |world: &mut Self| world.hosts[process.host.index()].node.as_mut()?.poll_output();
        while let Some(output) = next(self) {
            self.trace.output(now, process.host.0, &output);
            self.note_on_disk(process, &output);
            self.observer.output(now, process, &output);
            debug_assert!(
                !matches!(output, Output::Dial { .. } | Output::Done { .. }),
                "an exchange asks for no more than itself"
            );
        }
    }
}

/// The message as a member with the keys and the label of this node sends it; `None` if that is no other than it is.
fn sealed_for(node: &Node, message: &Bytes) -> Option<Bytes> {
    let config = node.config();
    if config.label.is_empty() && node.keyring().is_empty() {
        return None;
    }
    let sealed_so = CodecConfig {
        label: config.label.clone(),
        keyring: node.keyring().clone(),
        verify_outgoing: true,
        ..CodecConfig::default()
    };
    let codec = Codec::new(sealed_so).expect("invariant: the node itself runs with this label");
    // Only this message is ever sealed with it, and only for these virtual nodes.
    Some(codec.seal_stream(Role::Dialer, message, [0; 12]).into())
}

/// What a member that knows these members, each of them alive, sends in a state exchange that is no join.
fn state_of(members: &[Member]) -> Vec<u8> {
    let mut records = Vec::with_capacity(96 * members.len());
    for member in members {
        let (addr, len) = ip_bytes(member.addr.ip());
        let versions = &member.versions;
        NodeState {
            name: &member.name,
            addr: &addr[..len],
            port: member.addr.port(),
            meta: (!member.meta.is_empty()).then_some(&member.meta[..]),
            incarnation: member.incarnation,
            state: NodeStateKind::Alive,
            versions: &[
                versions.protocol_min,
                versions.protocol_max,
                versions.protocol_current,
                versions.delegate_min,
                versions.delegate_max,
                versions.delegate_current,
            ],
        }
        .encode(&mut records);
    }
    let mut user_state = Vec::new();
    SerfMessage::PushPull(PushPullState {
        ltime: 1,
        status_ltimes: members.iter().map(|member| (&*member.name, member.status_ltime)).collect(),
        left_members: Some(Vec::new()),
        event_ltime: 1,
        events: Some(Vec::new()),
        query_ltime: 1,
    })
    .encode(&mut user_state);
    let mut message = Vec::with_capacity(records.len() + user_state.len() + 64);
    PushPull::encode(false, members.len(), &records, &user_state, &mut message);
    message
}
