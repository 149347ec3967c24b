//! The table itself.

use std::time::Duration;

use crate::{memory, messages};

/// Width of the first column.
const NAME: usize = 34;
/// Width of a column of numbers.
const NUMBER: usize = 11;

/// The upper part: one line a kind of message.
pub(crate) fn print_messages(rows: &[messages::Row]) {
    rule();
    print!("{:NAME$}", "");
    for cipher in ["no encryption", "AES-128", "AES-256"] {
        print!(" |{cipher:^width$}", width = 3 * NUMBER);
    }
    println!();
    print!("{:NAME$}", "message");
    for _cipher in 0..3 {
        print!(" |{:>NUMBER$}{:>NUMBER$}{:>NUMBER$}", "wire bytes", "encode ns", "decode ns");
    }
    println!();
    rule();
    for row in rows {
        print!("{:NAME$}", row.name);
        for cell in &row.cells {
            let times = [cell.encode_ns, cell.decode_ns].map(|ns| grouped(ns.round() as u64));
            print!(" |{:>NUMBER$}{:>NUMBER$}{:>NUMBER$}", grouped(cell.bytes as u64), times[0], times[1]);
        }
        println!();
    }
    rule();
}

/// The lower part: one line a cluster size.
pub(crate) fn print_members(rows: &[memory::Row]) {
    let wide = 3 * NUMBER;
    print!("{:NAME$} |", "node");
    println!(
        "{:^wide$} |{:^wide$} |{:^wide$}",
        "memory, bytes a member", "learning all of them", "one idle second"
    );
    rule();
    for row in rows {
        let memory = format!(
            "{} (peak {})",
            grouped(row.bytes.round() as u64),
            grouped(row.peak_bytes.round() as u64)
        );
        let (learn, idle) = (span(row.learn), span(row.idle_second));
        let name = format!("that knows {} members", grouped(row.members as u64));
        println!("{name:NAME$} |{memory:^wide$} |{learn:^wide$} |{idle:^wide$}");
    }
    rule();
}

/// What the numbers mean.
pub(crate) fn print_notes(noise: messages::Noise) {
    println!(
        "Times are medians; the quartiles of their rounds lie {:.0}% apart in the middle, {:.0}% at worst.",
        100.0 * noise.median,
        100.0 * noise.worst
    );
    println!("Encoding ends at the bytes for the socket, checksum included; decoding at all messages read.");
    println!(
        "Memory is heap as asked for, counted when nothing waits to be gossiped; the peak is while learning."
    );
    println!(
        "An idle second is one probe with its answer, five gossip rounds, and a share of what is rarer."
    );
}

fn rule() {
    println!(
        "{}",
        ["-".repeat(NAME), "-".repeat(3 * NUMBER), "-".repeat(3 * NUMBER), "-".repeat(3 * NUMBER)].join("-+")
    );
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn span(span: Duration) -> String {
    let us = span.as_secs_f64() * 1e6;
    if us < 1_000.0 { format!("{us:.1} µs") } else { format!("{} µs", grouped(us.round() as u64)) }
}
