//! What the program reads: its files, its command line, multicast DNS.

use thane_agent::decoders;

use crate::cursor::Cursor;

pub(crate) fn config_json(data: &[u8]) {
    drop(decoders::configuration("a.json", data));
}

pub(crate) fn config_toml(data: &[u8]) {
    drop(decoders::configuration("a.toml", data));
}

pub(crate) fn tags_file(data: &[u8]) {
    if let Ok(tags) = decoders::tags_file(data) {
        let text = decoders::tags_text(&tags);
        assert_eq!(decoders::tags_file(text.as_bytes()), Ok(tags), "written as {text}");
    }
}

pub(crate) fn mdns(data: &[u8]) {
    let mut cursor = Cursor(data);
    let mut packets = Vec::new();
    while !cursor.is_over() && packets.len() < 8 {
        packets.push(cursor.long_bytes());
    }
    drop(decoders::discovered(&packets));
    for packet in packets {
        drop(decoders::discovery_answers(packet));
    }
}

pub(crate) fn texts(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        decoders::small_texts(text);
    }
}
