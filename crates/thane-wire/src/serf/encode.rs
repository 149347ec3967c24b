//! Writing message bodies: maps with all keys in ascending byte order, in the dialect that every released Serf reads.

use std::net::{IpAddr, SocketAddr};

use super::{
    Join, KeyRequest, KeyResponse, Leave, MemberRecord, PushPullState, Query, QueryResponse, Relay,
    UserEvent, UserEvents,
};
use crate::msgpack::Writer;

impl Leave<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut w = Writer::gossip(out);
        w.map(3).str("LTime").uint(self.ltime).str("Node").str(self.node).str("Prune").bool(self.prune);
    }
}

impl Join<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        Writer::gossip(out).map(2).str("LTime").uint(self.ltime).str("Node").str(self.node);
    }
}

impl PushPullState<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut w = Writer::gossip(out);
        w.map(6).str("EventLTime").uint(self.event_ltime).str("Events");
        write_list(&mut w, self.events.as_deref(), |w, slot| match slot {
            Some(events) => events.write(w),
            None => _ = w.nil(),
        });
        w.str("LTime").uint(self.ltime).str("LeftMembers");
        write_list(&mut w, self.left_members.as_deref(), |w, name| _ = w.str(name));
        w.str("QueryLTime").uint(self.query_ltime).str("StatusLTimes").map(self.status_ltimes.len());
        for (name, ltime) in &self.status_ltimes {
            w.str(name).uint(*ltime);
        }
    }
}

impl UserEvents<'_> {
    fn write(&self, w: &mut Writer<'_>) {
        w.map(2).str("Events").array(self.events.len());
        for (name, payload) in &self.events {
            w.map(2).str("Name").str(name).str("Payload").opt_bytes(*payload);
        }
        w.str("LTime").uint(self.ltime);
    }
}

impl UserEvent<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut w = Writer::gossip(out);
        w.map(4).str("CC").bool(self.coalesce).str("LTime").uint(self.ltime);
        w.str("Name").str(self.name).str("Payload").opt_bytes(self.payload);
    }
}

impl Query<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut w = Writer::gossip(out);
        w.map(11).str("Addr").bytes(self.addr).str("Filters");
        write_list(&mut w, self.filters.as_deref(), |w, filter| _ = w.bytes(filter));
        w.str("Flags").uint(self.flags).str("ID").uint(self.id).str("LTime").uint(self.ltime);
        w.str("Name").str(self.name).str("Payload").opt_bytes(self.payload).str("Port").uint(self.port);
        w.str("RelayFactor").uint(self.relay_factor).str("SourceNode").str(self.source_node);
        w.str("Timeout").int(self.timeout_ns);
    }
}

impl QueryResponse<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut w = Writer::gossip(out);
        w.map(5).str("Flags").uint(self.flags).str("From").str(self.from).str("ID").uint(self.id);
        w.str("LTime").uint(self.ltime).str("Payload").opt_bytes(self.payload);
    }
}

impl MemberRecord<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let [protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur] =
            self.versions;
        let mut w = Writer::gossip(out);
        w.map(11).str("Addr").bytes(self.addr).str("DelegateCur").uint(delegate_cur);
        w.str("DelegateMax").uint(delegate_max).str("DelegateMin").uint(delegate_min);
        w.str("Name").str(self.name).str("Port").uint(self.port).str("ProtocolCur").uint(protocol_cur);
        w.str("ProtocolMax").uint(protocol_max).str("ProtocolMin").uint(protocol_min);
        w.str("Status").int(self.status).str("Tags");
        let Some(tags) = &self.tags else {
            w.nil();
            return;
        };
        w.map(tags.len());
        for (key, value) in tags {
            w.str(key).str(value);
        }
    }
}

impl KeyRequest<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        Writer::gossip(out).map(1).str("Key").bytes(self.key);
    }
}

impl KeyResponse<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut w = Writer::gossip(out);
        w.map(4).str("Keys");
        write_list(&mut w, self.keys.as_deref(), |w, key| _ = w.str(key));
        w.str("Message").str(self.message).str("PrimaryKey").str(self.primary_key);
        w.str("Result").bool(self.result);
    }
}

impl Relay<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut w = Writer::gossip(out);
        w.map(2).str("DestAddr").map(3).str("IP");
        match self.dest.as_ref().map(SocketAddr::ip) {
            Some(IpAddr::V4(ip)) => w.bytes(&ip.octets()),
            Some(IpAddr::V6(ip)) => w.bytes(&ip.octets()),
            None => w.nil(),
        };
        w.str("Port").uint(self.dest.map_or(0, |dest| dest.port())).str("Zone").str("");
        w.str("DestName").str(self.dest_name);
        out.extend_from_slice(self.inner);
    }
}

/// Writes a list, `None` as nil.
fn write_list<T>(w: &mut Writer<'_>, list: Option<&[T]>, mut element: impl FnMut(&mut Writer<'_>, &T)) {
    let Some(list) = list else {
        w.nil();
        return;
    };
    w.array(list.len());
    for item in list {
        element(w, item);
    }
}
