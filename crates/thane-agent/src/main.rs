//! The `thane` program.

mod format;
mod goflags;

fn main() {}
