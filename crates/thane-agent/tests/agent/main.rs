//! Tests of a live `thane agent` process: its start, its RPC, its handlers, its end.
//!
//! Each test starts agents of its own on free ports of 127.0.0.1, waits for conditions under a deadline and never for a
//! fixed time, and ends what it started.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod harness;

mod clients;
mod config;
mod conversations;
mod disk;
mod dns;
#[path = "../../../thane/tests/nodes/dns_server.rs"]
#[allow(dead_code, reason = "shared with the library's tests, which use more of it")]
mod dns_server;
mod end;
#[cfg(target_os = "linux")]
mod goldens;
mod handler_goldens;
mod handlers;
mod ipv6;
#[cfg(target_os = "linux")]
mod log_goldens;
#[cfg(target_os = "linux")]
mod own_host;
mod queries;
mod recorded;
mod reload;
mod start;
mod stress;
