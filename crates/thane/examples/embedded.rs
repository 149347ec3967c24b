//! The smallest service that discovers its peers. Start it a few times:
//!
//! ```text
//! NODE_NAME=a BIND_ADDR=127.0.0.1 SERF_PORT=7946                          cargo run -p thane --example embedded
//! NODE_NAME=b BIND_ADDR=127.0.0.1 SERF_PORT=7947 JOIN_ADDR=127.0.0.1:7946 cargo run -p thane --example embedded
//! ```
//!
//! Ctrl-C leaves the cluster in good order.
#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::env;
use std::error::Error;
use std::process::ExitCode;

use thane::{Event, Node};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let setting = |name: &str, default: &str| env::var(name).unwrap_or_else(|_unset| default.to_owned());
    let bind = format!("{}:{}", setting("BIND_ADDR", "0.0.0.0"), setting("SERF_PORT", "7946"));
    let mut builder = Node::builder().bind(bind);
    if let Ok(name) = env::var("NODE_NAME") {
        builder = builder.name(name);
    }
    let (node, mut events) = builder.start_with_events().await?;
    if let Ok(seed) = env::var("JOIN_ADDR") {
        node.join([seed]).await?;
    }
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Joined(change)) => println!("joined {} {}", change.member.name, change.member.addr),
                Some(Event::Left(change)) => println!("left {}", change.member.name),
                Some(Event::Failed(change)) => println!("failed {}", change.member.name),
                Some(Event::Updated(change)) => println!("updated {} {:?}", change.member.name, change.member.tags()),
                Some(Event::Missed(missed)) => println!("missed {} events", missed.count),
                Some(_) => {}
                None => return Err(format!("the node has stopped: {:?}", node.stopped().await).into()),
            },
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                break;
            }
        }
    }
    node.leave().await?;
    node.shutdown().await;
    Ok(())
}
