//! Reading message bodies. The names given to [`Reader::fields`] are in Go's declaration order, which is the order of
//! the values when a struct arrives as an array.

use std::net::{IpAddr, SocketAddr};

use super::{
    EVENTS_MAX, Join, KeyRequest, KeyResponse, LIST_ENTRIES_MAX, Leave, MemberRecord, PushPullState, Query,
    QueryResponse, Relay, UserEvent, UserEvents, check_count, list,
};
use crate::DecodeError;
use crate::msgpack::Reader;

impl<'a> Leave<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut message = Self { ltime: 0, node: "", prune: false };
        reader.fields("leave", &["LTime", "Node", "Prune"], |index, r| {
            match index {
                0 => message.ltime = r.u64("LTime")?,
                1 => message.node = r.str("Node")?,
                _ => message.prune = r.bool("Prune")?,
            }
            Ok(())
        })?;
        Ok(message)
    }
}

impl<'a> Join<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut message = Self { ltime: 0, node: "" };
        reader.fields("join", &["LTime", "Node"], |index, r| {
            match index {
                0 => message.ltime = r.u64("LTime")?,
                _ => message.node = r.str("Node")?,
            }
            Ok(())
        })?;
        Ok(message)
    }
}

impl<'a> PushPullState<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let names = ["LTime", "StatusLTimes", "LeftMembers", "EventLTime", "Events", "QueryLTime"];
        let mut state = Self::default();
        reader.fields("push/pull state", &names, |index, r| {
            match index {
                0 => state.ltime = r.u64("LTime")?,
                1 => state.status_ltimes = read_status_ltimes(r)?,
                2 => state.left_members = read_left_members(r)?,
                3 => state.event_ltime = r.u64("EventLTime")?,
                4 => state.events = read_event_slots(r)?,
                _ => state.query_ltime = r.u64("QueryLTime")?,
            }
            Ok(())
        })?;
        Ok(state)
    }
}

/// A name that is not UTF-8 costs its own entry, not the whole exchange.
fn read_status_ltimes<'a>(reader: &mut Reader<'a>) -> Result<Vec<(&'a str, u64)>, DecodeError> {
    let count = reader.map("StatusLTimes")?.unwrap_or(0);
    check_count("StatusLTimes", count, LIST_ENTRIES_MAX)?;
    let mut times = Vec::with_capacity(count);
    for _entry in 0..count {
        let name = std::str::from_utf8(reader.text("StatusLTimes")?);
        let ltime = reader.u64("StatusLTimes")?;
        if let Ok(name) = name {
            times.push((name, ltime));
        }
    }
    Ok(times)
}

fn read_left_members<'a>(reader: &mut Reader<'a>) -> Result<Option<Vec<&'a str>>, DecodeError> {
    let names = list(reader, "LeftMembers", LIST_ENTRIES_MAX, |r| r.text("LeftMembers"))?;
    Ok(names.map(|names| names.into_iter().filter_map(|name| std::str::from_utf8(name).ok()).collect()))
}

fn read_event_slots<'a>(reader: &mut Reader<'a>) -> Result<Option<Vec<Option<UserEvents<'a>>>>, DecodeError> {
    // Slots and events are bounded in total: each takes a byte on the wire, but some 40 here.
    let mut events_left = EVENTS_MAX;
    list(reader, "Events", EVENTS_MAX, |r| {
        if r.nil()? {
            return Ok(None);
        }
        let mut slot = UserEvents::default();
        r.fields("user events", &["LTime", "Events"], |index, r| {
            match index {
                0 => slot.ltime = r.u64("LTime")?,
                _ => slot.events = read_events(r, &mut events_left)?,
            }
            Ok(())
        })?;
        Ok(Some(slot))
    })
}

type NameAndPayload<'a> = (&'a str, Option<&'a [u8]>);

fn read_events<'a>(
    reader: &mut Reader<'a>,
    events_left: &mut usize,
) -> Result<Vec<NameAndPayload<'a>>, DecodeError> {
    let count = reader.array("Events")?.unwrap_or(0);
    check_count("Events", count, *events_left)?;
    *events_left -= count;
    let mut events = Vec::with_capacity(count);
    for _event in 0..count {
        let (mut name, mut payload) = (&[][..], None);
        reader.fields("user event", &["Name", "Payload"], |index, r| {
            match index {
                0 => name = r.text("Name")?,
                _ => payload = r.bytes("Payload")?,
            }
            Ok(())
        })?;
        if let Ok(name) = std::str::from_utf8(name) {
            events.push((name, payload));
        }
    }
    Ok(events)
}

impl<'a> UserEvent<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut message = Self { ltime: 0, name: "", payload: None, coalesce: false };
        reader.fields("user event", &["LTime", "Name", "Payload", "CC"], |index, r| {
            match index {
                0 => message.ltime = r.u64("LTime")?,
                1 => message.name = r.str("Name")?,
                2 => message.payload = r.bytes("Payload")?,
                _ => message.coalesce = r.bool("CC")?,
            }
            Ok(())
        })?;
        Ok(message)
    }
}

impl<'a> Query<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let names = [
            "LTime",
            "ID",
            "Addr",
            "Port",
            "SourceNode",
            "Filters",
            "Flags",
            "RelayFactor",
            "Timeout",
            "Name",
            "Payload",
        ];
        let mut message = Self {
            ltime: 0,
            id: 0,
            addr: &[],
            port: 0,
            source_node: "",
            filters: None,
            flags: 0,
            relay_factor: 0,
            timeout_ns: 0,
            name: "",
            payload: None,
        };
        reader.fields("query", &names, |index, r| {
            match index {
                0 => message.ltime = r.u64("LTime")?,
                1 => message.id = r.u32("ID")?,
                2 => message.addr = r.bytes("Addr")?.unwrap_or_default(),
                3 => message.port = r.u16("Port")?,
                4 => message.source_node = r.str("SourceNode")?,
                5 => message.filters = list(r, "Filters", LIST_ENTRIES_MAX, read_filter)?,
                6 => message.flags = r.u32("Flags")?,
                7 => message.relay_factor = r.u8("RelayFactor")?,
                8 => message.timeout_ns = read_duration_ns(r)?,
                9 => message.name = r.str("Name")?,
                _ => message.payload = r.bytes("Payload")?,
            }
            Ok(())
        })?;
        Ok(message)
    }
}

fn read_filter<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    Ok(reader.bytes("Filters")?.unwrap_or_default())
}

/// Go takes an unsigned number over 2^63 for a duration and lets it wrap: a negative timeout, long over.
fn read_duration_ns(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
    let unread = *reader;
    match reader.i64("Timeout") {
        Err(DecodeError::OutOfRange { .. }) => {
            *reader = unread;
            Ok(reader.u64("Timeout")? as i64)
        }
        other => other,
    }
}

impl<'a> QueryResponse<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut message = Self { ltime: 0, id: 0, from: "", flags: 0, payload: None };
        reader.fields("query response", &["LTime", "ID", "From", "Flags", "Payload"], |index, r| {
            match index {
                0 => message.ltime = r.u64("LTime")?,
                1 => message.id = r.u32("ID")?,
                2 => message.from = r.str("From")?,
                3 => message.flags = r.u32("Flags")?,
                _ => message.payload = r.bytes("Payload")?,
            }
            Ok(())
        })?;
        Ok(message)
    }
}

impl<'a> MemberRecord<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let names = [
            "Name",
            "Addr",
            "Port",
            "Tags",
            "Status",
            "ProtocolMin",
            "ProtocolMax",
            "ProtocolCur",
            "DelegateMin",
            "DelegateMax",
            "DelegateCur",
        ];
        let mut member = Self { name: "", addr: &[], port: 0, tags: None, status: 0, versions: [0; 6] };
        reader.fields("member", &names, |index, r| {
            match index {
                0 => member.name = r.str("Name")?,
                1 => member.addr = r.bytes("Addr")?.unwrap_or_default(),
                2 => member.port = r.u16("Port")?,
                3 => member.tags = read_tags(r)?,
                4 => member.status = r.i64("Status")?,
                // The names stand in the order of the six version bytes.
                version => member.versions[version - 5] = r.u8("protocol version")?,
            }
            Ok(())
        })?;
        Ok(member)
    }
}

fn read_tags<'a>(reader: &mut Reader<'a>) -> Result<Option<Vec<(&'a str, &'a str)>>, DecodeError> {
    let Some(count) = reader.map("Tags")? else { return Ok(None) };
    check_count("Tags", count, LIST_ENTRIES_MAX)?;
    let entries = (0..count).map(|_entry| Ok((reader.str("Tags")?, reader.str("Tags")?)));
    entries.collect::<Result<Vec<_>, _>>().map(Some)
}

impl<'a> KeyRequest<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut message = Self { key: &[] };
        reader.fields("key request", &["Key"], |_index, r| {
            message.key = r.bytes("Key")?.unwrap_or_default();
            Ok(())
        })?;
        Ok(message)
    }
}

impl<'a> KeyResponse<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        reader.fields("key response", &["Result", "Message", "Keys", "PrimaryKey"], |index, r| {
            match index {
                0 => message.result = r.bool("Result")?,
                1 => message.message = r.str("Message")?,
                2 => message.keys = list(r, "Keys", LIST_ENTRIES_MAX, |r| r.str("Keys"))?,
                _ => message.primary_key = r.str("PrimaryKey")?,
            }
            Ok(())
        })?;
        Ok(message)
    }
}

impl<'a> Relay<'a> {
    /// Reads the header; everything behind it is the inner message.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (mut dest, mut dest_name) = (None, "");
        reader.fields("relay header", &["DestAddr", "DestName"], |index, r| {
            match index {
                0 => dest = read_dest(r)?,
                _ => dest_name = r.str("DestName")?,
            }
            Ok(())
        })?;
        Ok(Self { dest, dest_name, inner: reader.rest() })
    }
}

/// An address that cannot be sent to is no error: the message is well-formed, and the receiver decides.
fn read_dest(reader: &mut Reader<'_>) -> Result<Option<SocketAddr>, DecodeError> {
    let (mut ip, mut port) = (None, 0);
    reader.fields("DestAddr", &["IP", "Port", "Zone"], |index, r| {
        match index {
            0 => ip = r.bytes_cow("IP")?,
            1 => port = r.i64("Port")?,
            _ => _ = r.text("Zone")?,
        }
        Ok(())
    })?;
    let ip = ip.unwrap_or_default();
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(&*ip) {
        IpAddr::from(v4)
    } else if let Ok(v6) = <[u8; 16]>::try_from(&*ip) {
        // Go keeps IPv4 addresses in either length; only one of them can be sent to from an IPv4 socket.
        IpAddr::from(v6).to_canonical()
    } else {
        return Ok(None);
    };
    Ok(u16::try_from(port).ok().map(|port| SocketAddr::new(ip, port)))
}
