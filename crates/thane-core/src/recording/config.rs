//! Settings to bytes and back: each with its name, so that settings that came later have their defaults in older recordings.

use std::net::{Ipv4Addr, SocketAddr};

use super::values::{Malformed, Reader, Taken, Value, put_slice};
use crate::config::Config;
use crate::detector::Detector;

/// All fields of a type but those after `without`. One that is missing here does not compile. Those that are not in a recording,
/// because they did not exist yet, are as in `base`.
macro_rules! settings {
    ($name:ident, base: $base:expr, without: [$($other:ident),*], $($field:ident),* $(,)?) => {
        impl Value for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($other: _,)* $($field),* } = self;
                [$(stringify!($field)),*].len().put(out);
                let mut value = Vec::new();
                $(
                    put_slice(stringify!($field).as_bytes(), out);
                    value.clear();
                    $field.put(&mut value);
                    put_slice(&value, out);
                )*
            }

            fn get(from: &mut Reader<'_>) -> Taken<Self> {
                let mut settings = $base;
                for _ in 0..usize::get(from)? {
                    let name = String::get(from)?;
                    let mut value = Reader(from.slice()?);
                    match name.as_str() {
                        $(stringify!($field) => settings.$field = Value::get(&mut value)?,)*
                        _ => return Err(Malformed(format!("there is no setting {name:?}"))),
                    }
                    value.end()?;
                }
                Ok(settings)
            }
        }
    };
}

settings! {
    Config,
    base: Config::lan("", SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
    // An interner shows in memory only.
    without: [delegate, interner],
    name,
    advertise,
    networks,
    bind_port,
    tags,
    protocol,
    label,
    skip_inbound_label_check,
    keyring,
    verify_incoming,
    verify_outgoing,
    compression,
    tcp_timeout,
    indirect_checks,
    retransmit_mult,
    suspicion_mult,
    suspicion_max_timeout_mult,
    push_pull_interval,
    probe_interval,
    probe_timeout,
    tcp_pings,
    detector,
    awareness_max_multiplier,
    gossip_nodes,
    gossip_interval,
    gossip_to_the_dead_time,
    dead_node_reclaim_time,
    udp_buffer_size,
    broadcast_timeout,
    leave_propagate_delay,
    reap_interval,
    reconnect_interval,
    reconnect_timeout,
    tombstone_timeout,
    flap_timeout,
    recent_intent_timeout,
    event_buffer_size,
    query_buffer_size,
    query_timeout_mult,
    query_size_limit,
    query_response_size_limit,
    user_event_size_limit,
    queue_check_interval,
    queue_depth_warning,
    max_queue_depth,
    min_queue_depth,
    persist_keyring,
    name_conflict_resolution,
    coordinates,
}

settings! {
    Detector,
    // Rules that did not exist were not followed.
    base: Detector::swim(),
    without: [],
    lha_probe,
    lha_suspicion,
    buddy,
    pause_doubt,
    early_nacks,
    refusals,
    look_for_yourself,
    silent_witnesses,
    unsteady,
    spread_at_once,
}
