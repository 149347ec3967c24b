//! What Thane costs, as one table: `cargo bench`.
//!
//! The upper part is the way of one packet or stream: from a message to the bytes on the wire, and back. The lower part is
//! the way of one node: how many bytes of memory it needs for each member that it knows, how long it takes to learn them all,
//! and what one second costs it in which nothing happens.
//!
//! The harness is our own, because those that exist (criterion, divan, gungraun) report one measurement after another and
//! none prints sizes, times and memory side by side.
//!
//! All of it runs in one thread with the system's allocator, under a wrapper that counts bytes where it is asked to. The crate
//! `allocation-counter` does that for one thread; a counter for all threads, with its atomic operations, made the smallest
//! packets take up to three quarters longer.

#![allow(clippy::print_stdout, reason = "the table is the result")]
#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it did not expect")]

mod format;
mod memory;
mod messages;
mod timing;

/// Cluster sizes of the lower part.
const MEMBERS: [usize; 3] = [10, 1_000, 100_000];

fn main() {
    let mut noise = None;
    allocation_counter::opt_out(|| {
        let (rows, rounds) = messages::measure();
        format::print_messages(&rows);
        noise = Some(rounds);
    });
    let rows: Vec<_> = MEMBERS.into_iter().map(memory::measure).collect();
    format::print_members(&rows);
    format::print_notes(noise.expect("the messages were measured"));
}
