//! Inputs to bytes and back: a number for the kind, then its values.

use super::values::{Reader, Taken, Value, malformed};
use crate::input::Input;
use crate::node::{Prune, Replay, StreamFailure};
use crate::query::{KeyCommand, QueryEnd, QueryParams};

impl Value for Input {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Timeout => out.push(1),
            Self::Packet { from, packet } => {
                out.push(2);
                from.put(out);
                packet.put(out);
            }
            Self::SendFailed { to, error } => {
                out.push(3);
                to.put(out);
                error.put(out);
            }
            Self::StreamAccepted { from } => {
                out.push(4);
                from.put(out);
            }
            Self::StreamConnected { stream } => {
                out.push(5);
                stream.put(out);
            }
            Self::StreamData { stream, bytes } => {
                out.push(6);
                stream.put(out);
                bytes.put(out);
            }
            Self::StreamEnded { stream } => {
                out.push(7);
                stream.put(out);
            }
            Self::StreamFailed { stream, failure } => {
                out.push(8);
                stream.put(out);
                failure.put(out);
            }
            Self::KeyringPersisted { token, result } => {
                out.push(9);
                token.put(out);
                result.put(out);
            }
            Self::SeedsLookedUp { addrs } => {
                out.push(10);
                addrs.put(out);
            }
            Self::SeedsChanged { count } => {
                out.push(11);
                count.put(out);
            }
            Self::Restore(restored) => {
                out.push(12);
                restored.put(out);
            }
            Self::SendsHeld => out.push(13),
            Self::SendsResumed => out.push(14),
            command => put_command(command, out),
        }
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        Ok(match from.byte()? {
            1 => Self::Timeout,
            2 => Self::Packet { from: Value::get(from)?, packet: Value::get(from)? },
            3 => Self::SendFailed { to: Value::get(from)?, error: Value::get(from)? },
            4 => Self::StreamAccepted { from: Value::get(from)? },
            5 => Self::StreamConnected { stream: Value::get(from)? },
            6 => Self::StreamData { stream: Value::get(from)?, bytes: Value::get(from)? },
            7 => Self::StreamEnded { stream: Value::get(from)? },
            8 => Self::StreamFailed { stream: Value::get(from)?, failure: Value::get(from)? },
            9 => Self::KeyringPersisted { token: Value::get(from)?, result: Value::get(from)? },
            10 => Self::SeedsLookedUp { addrs: Value::get(from)? },
            11 => Self::SeedsChanged { count: Value::get(from)? },
            12 => Self::Restore(Value::get(from)?),
            13 => Self::SendsHeld,
            14 => Self::SendsResumed,
            kind => get_command(kind, from)?,
        })
    }
}

/// What the application wants; the numbers leave room for more of the world.
fn put_command(command: &Input, out: &mut Vec<u8>) {
    match command {
        Input::Join { addrs, replay } => {
            out.push(64);
            addrs.put(out);
            (*replay == Replay::Old).put(out);
        }
        Input::Leave => out.push(65),
        Input::ForceLeave { name, prune } => {
            out.push(66);
            name.put(out);
            (*prune == Prune::Erase).put(out);
        }
        Input::UserEvent { name, payload, coalesce } => {
            out.push(67);
            name.put(out);
            payload.put(out);
            coalesce.put(out);
        }
        Input::SetTags(tags) => {
            out.push(68);
            tags.put(out);
        }
        Input::Query { name, payload, params } => {
            out.push(69);
            name.put(out);
            payload.put(out);
            params.put(out);
        }
        Input::CancelQuery(query) => {
            out.push(70);
            query.put(out);
        }
        Input::Respond { query, payload } => {
            out.push(71);
            query.put(out);
            payload.put(out);
        }
        Input::Keys { command, relay_factor } => {
            out.push(72);
            command.put(out);
            relay_factor.put(out);
        }
        Input::Timeout
        | Input::Packet { .. }
        | Input::SendFailed { .. }
        | Input::SendsHeld
        | Input::SendsResumed
        | Input::StreamAccepted { .. }
        | Input::StreamConnected { .. }
        | Input::StreamData { .. }
        | Input::StreamEnded { .. }
        | Input::StreamFailed { .. }
        | Input::KeyringPersisted { .. }
        | Input::SeedsLookedUp { .. }
        | Input::SeedsChanged { .. }
        | Input::Restore(_) => unreachable!("the caller has written it"),
    }
}

fn get_command(kind: u8, from: &mut Reader<'_>) -> Taken<Input> {
    Ok(match kind {
        64 => {
            let addrs = Value::get(from)?;
            let replay = if bool::get(from)? { Replay::Old } else { Replay::Ignore };
            Input::Join { addrs, replay }
        }
        65 => Input::Leave,
        66 => {
            let name = Value::get(from)?;
            let prune = if bool::get(from)? { Prune::Erase } else { Prune::Keep };
            Input::ForceLeave { name, prune }
        }
        67 => Input::UserEvent {
            name: Value::get(from)?,
            payload: Value::get(from)?,
            coalesce: Value::get(from)?,
        },
        68 => Input::SetTags(Value::get(from)?),
        69 => Input::Query { name: Value::get(from)?, payload: Value::get(from)?, params: Value::get(from)? },
        70 => Input::CancelQuery(Value::get(from)?),
        71 => Input::Respond { query: Value::get(from)?, payload: Value::get(from)? },
        72 => Input::Keys { command: Value::get(from)?, relay_factor: Value::get(from)? },
        _ => return malformed("an input is of an unknown kind"),
    })
}

impl Value for StreamFailure {
    fn put(&self, out: &mut Vec<u8>) {
        let (kind, text) = match self {
            Self::Refused(text) => (1, text),
            Self::TimedOut(text) => (2, text),
            Self::Other(text) => (3, text),
        };
        out.push(kind);
        text.put(out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        let kind = from.byte()?;
        let text = Value::get(from)?;
        match kind {
            1 => Ok(Self::Refused(text)),
            2 => Ok(Self::TimedOut(text)),
            3 => Ok(Self::Other(text)),
            _ => malformed("a stream failed in an unknown way"),
        }
    }
}

impl Value for QueryParams {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { filter_nodes, filter_tags, request_ack, relay_factor, timeout, end } = self;
        filter_nodes.put(out);
        filter_tags.put(out);
        request_ack.put(out);
        relay_factor.put(out);
        timeout.put(out);
        (*end == QueryEnd::AtDeadline).put(out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        Ok(Self {
            filter_nodes: Value::get(from)?,
            filter_tags: Value::get(from)?,
            request_ack: Value::get(from)?,
            relay_factor: Value::get(from)?,
            timeout: Value::get(from)?,
            end: if bool::get(from)? { QueryEnd::AtDeadline } else { QueryEnd::WhenAnswered },
        })
    }
}

impl Value for KeyCommand {
    fn put(&self, out: &mut Vec<u8>) {
        let (kind, key) = match self {
            Self::Install(key) => (1, Some(key)),
            Self::Use(key) => (2, Some(key)),
            Self::Remove(key) => (3, Some(key)),
            Self::List => (4, None),
        };
        out.push(kind);
        if let Some(key) = key {
            key.put(out);
        }
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        match from.byte()? {
            1 => Value::get(from).map(Self::Install),
            2 => Value::get(from).map(Self::Use),
            3 => Value::get(from).map(Self::Remove),
            4 => Ok(Self::List),
            _ => malformed("a command about keys is of an unknown kind"),
        }
    }
}
