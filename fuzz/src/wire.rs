//! What peers and RPC clients send.

use bytes::Bytes;
use thane_core::Pattern;
use thane_wire::coordinate::Coordinate;
use thane_wire::filter::Filter;
use thane_wire::gossip::{self, Message};
use thane_wire::limits::COMPOUND_PARTS_MAX;
use thane_wire::packet::Checksum;
use thane_wire::rpc::{Command, RequestDecoder, ResponseDecoder};
use thane_wire::serf::SerfMessage;
use thane_wire::stream::{Role, StreamDecoder, StreamError, StreamMessage};
use thane_wire::{Codec, CodecConfig, Key, Keyring, tags as wire_tags};

use crate::cursor::Cursor;

/// A codec with these layers.
fn codec(label: bool, keys: bool, verify_incoming: bool) -> Codec {
    let keys = keys.then(|| [1, 2].map(|byte| Key::new(&[byte; 16]).expect("16 bytes are a key")));
    let config = CodecConfig {
        label: if label { "l".to_owned() } else { String::new() },
        keyring: Keyring::new(keys.into_iter().flatten()),
        verify_incoming,
        verify_outgoing: true,
        compression: true,
        padded_envelopes: false,
        skip_inbound_label_check: false,
    };
    Codec::new(config).expect("the label is short")
}

pub(crate) fn packet(data: &[u8]) {
    let mut cursor = Cursor(data);
    let how = cursor.byte();
    let codec = codec(how & 1 != 0, how & 2 != 0, how & 4 != 0);
    if how & 8 != 0 {
        return there_and_back(&codec, cursor);
    }
    if let Ok(opened) = codec.open_packet(Bytes::copy_from_slice(cursor.0)) {
        for one in &opened.messages {
            message(one);
        }
    }
}

/// Messages that we seal ourselves are found again, whatever they hold.
fn there_and_back(codec: &Codec, mut cursor: Cursor<'_>) {
    let checksum = if cursor.flag() { Checksum::Add } else { Checksum::Omit };
    let mut messages = Vec::new();
    while !cursor.is_over() && messages.len() < COMPOUND_PARTS_MAX {
        let mut one = Vec::new();
        gossip::encode_user(cursor.long_bytes(), &mut one);
        messages.push(one);
    }
    if messages.is_empty() {
        return;
    }
    let sealed = codec.seal_packet(&messages, checksum, [3; 12]);
    let opened = codec.open_packet(sealed.into()).expect("we can read what we write");
    assert!(opened.dropped.is_empty(), "{:?}", opened.dropped);
    assert_eq!(opened.messages, messages);
}

fn message(bytes: &[u8]) {
    let Ok(read) = Message::decode(bytes) else { return };
    let mut written = Vec::new();
    read.encode(&mut written);
    assert_eq!(Message::decode(&written).as_ref(), Ok(&read));
    if let Message::User(payload) = read {
        serf(payload);
    }
}

pub(crate) fn serf(data: &[u8]) {
    let Ok(read) = SerfMessage::decode(data) else { return };
    let mut written = Vec::new();
    read.encode(&mut written);
    assert_eq!(SerfMessage::decode(&written).as_ref(), Ok(&read));
    match read {
        SerfMessage::Relay(relay) => drop(Message::decode(relay.inner)),
        SerfMessage::Query(query) => {
            for filter in query.filters.into_iter().flatten() {
                drop(Filter::decode(filter));
            }
        }
        _ => {}
    }
}

pub(crate) fn filter(data: &[u8]) {
    let mut cursor = Cursor(data);
    let text = cursor.bytes();
    let expression = match Filter::decode(cursor.0) {
        Ok(Filter::Tag { expr, .. }) => expr,
        _ => str::from_utf8(cursor.0).unwrap_or(""),
    };
    for pattern in [Pattern::new(expression), Pattern::anchored(expression)].into_iter().flatten() {
        pattern.is_match(text);
    }
}

pub(crate) fn coordinate(data: &[u8]) {
    let Ok(Some(read)) = Coordinate::decode_ack(data) else { return };
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    read.encode_ack(&mut once);
    let again = Coordinate::decode_ack(&once).ok().flatten().expect("we can read what we write");
    // By their bytes: a number that is none equals nothing.
    again.encode_ack(&mut twice);
    assert_eq!(once, twice);
}

pub(crate) fn tags(data: &[u8]) {
    let read = wire_tags::decode(data);
    assert_eq!(wire_tags::decode(&wire_tags::encode(&read)), read);
    for key in read.keys() {
        _ = wire_tags::raw_value(data, key);
    }
}

pub(crate) fn stream(data: &[u8]) {
    let mut cursor = Cursor(data);
    let how = cursor.byte();
    let codec = codec(how & 1 != 0, how & 2 != 0, how & 4 != 0);
    let role = if how & 8 != 0 { Role::Dialer } else { Role::Acceptor };
    let piece = usize::from(cursor.byte()) + 1;
    let bytes = cursor.0;
    let whole = StreamDecoder::new(role).push(&codec, bytes);
    let in_pieces = pieces(role, &codec, bytes, piece);
    assert_eq!(whole, in_pieces, "in pieces of {piece} bytes");
    match whole {
        Ok(Some(StreamMessage::PushPull(exchange))) => {
            assert!(exchange.nodes().count() <= bytes.len() * 200, "more records than bytes can hold");
            serf(&exchange.user_state);
        }
        Ok(Some(StreamMessage::User(payload))) => serf(&payload),
        Ok(Some(StreamMessage::Ping(body))) => drop(gossip::Ping::decode(&body)),
        Ok(Some(StreamMessage::Ack(body))) => drop(gossip::Ack::decode(&body)),
        _ => {}
    }
    if how & 16 != 0 && !bytes.is_empty() {
        sealed_and_opened(&codec, bytes, piece);
    }
}

fn pieces(
    role: Role,
    codec: &Codec,
    bytes: &[u8],
    piece: usize,
) -> Result<Option<StreamMessage>, StreamError> {
    let mut decoder = StreamDecoder::new(role);
    for part in bytes.chunks(piece) {
        match decoder.push(codec, part) {
            Ok(None) => {}
            over => return over,
        }
    }
    Ok(None)
}

/// A user message that a dialer of ours seals is found again.
fn sealed_and_opened(codec: &Codec, payload: &[u8], piece: usize) {
    let mut message = Vec::new();
    thane_wire::stream::encode_user(payload, &mut message);
    let sealed = codec.seal_stream(Role::Dialer, &message, [5; 12]);
    let opened = pieces(Role::Acceptor, codec, &sealed, piece);
    assert_eq!(opened, Ok(Some(StreamMessage::User(Bytes::copy_from_slice(payload)))));
}

pub(crate) fn rpc_request(data: &[u8]) {
    let mut cursor = Cursor(data);
    let piece = usize::from(cursor.byte()) + 1;
    let read = |piece: usize| {
        let mut decoder = RequestDecoder::new();
        let mut found = Vec::new();
        for part in cursor.0.chunks(piece) {
            decoder.push(part);
            loop {
                match decoder.next_request() {
                    Ok(Some(request)) => found.push(Ok(request)),
                    Ok(None) => break,
                    Err(error) => {
                        found.push(Err(error));
                        return found;
                    }
                }
            }
        }
        found
    };
    assert_eq!(read(piece), read(usize::MAX));
}

pub(crate) fn rpc_response(data: &[u8]) {
    const NAMES: [&str; 18] = [
        "handshake",
        "auth",
        "event",
        "force-leave",
        "join",
        "members",
        "members-filtered",
        "stream",
        "monitor",
        "stop",
        "leave",
        "query",
        "respond",
        "list-keys",
        "install-key",
        "stats",
        "get-coordinate",
        "explain",
    ];
    let mut cursor = Cursor(data);
    let piece = usize::from(cursor.byte()) + 1;
    let mut decoder = ResponseDecoder::new();
    for seq in 0..u64::from(cursor.byte() % 8) {
        decoder.expect(seq, Command::from_name(cursor.pick(&NAMES)));
    }
    for part in cursor.0.chunks(piece) {
        decoder.push(part);
        loop {
            match decoder.next_incoming() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}
