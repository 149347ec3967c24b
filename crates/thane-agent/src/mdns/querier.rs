//! Asks for other agents, round by round.

use std::io;
use std::net::SocketAddr;

use simple_dns::{Name, QTYPE, TYPE};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tracing::error;

use super::collect::Collector;
use super::records::{self, PACKET_BYTES_MAX};
use super::sockets::{self, Asker};
use super::{MdnsConfig, Pace};

/// Asks at once and then at every interval, until it is aborted.
pub(super) async fn run(pace: Pace, config: MdnsConfig, service: Name<'static>, offers: Sender<SocketAddr>) {
    let mut rounds = interval(pace.poll_interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        rounds.tick().await;
        if let Err(error) = round(pace, &config, &service, &offers, &mut buffer).await {
            error!(target: "agent.mdns", "Failed to poll for new hosts: {error}");
        }
    }
}

/// One question, and all answers within the time for them. The sockets live no longer than that, so whoever wants to
/// slip in an answer has to guess a new port every time.
async fn round(
    pace: Pace,
    config: &MdnsConfig,
    service: &Name<'static>,
    offers: &Sender<SocketAddr>,
    buffer: &mut [u8],
) -> io::Result<()> {
    // Interfaces come and go; each round asks on those that are there now.
    let interfaces = sockets::interfaces(config.interface.as_deref()).map_err(io::Error::other)?;
    let asker = Asker::open(&interfaces, !config.disable_ipv4, !config.disable_ipv6, pace.port)?;
    let until = Instant::now() + pace.poll_window;
    let id = question_id()?;
    asker
        .ask(records::question(id, service, &[QTYPE::TYPE(TYPE::PTR)]).as_deref().unwrap_or_default())
        .await?;
    let mut collector = Collector::new(service.clone(), sockets::is_ours);
    while let Ok(received) = timeout_at(until, receive(&asker, buffer)).await {
        let (length, from) = received?;
        for address in collector.take(from, &buffer[..length]) {
            // Full means that many wait to be joined already; the next round finds this one again.
            if offers.try_send(address).is_err() {
                break;
            }
        }
        for (name, types) in collector.next_questions() {
            if let Some(question) = records::question(id, &name, types) {
                asker.ask(&question).await?;
            }
        }
    }
    Ok(())
}

async fn receive(asker: &Asker, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    // Which socket has something is waited for first, so that both can share the buffer.
    let ready = async |socket: Option<&UdpSocket>| match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    };
    loop {
        let socket = tokio::select! {
            result = ready(asker.v4()) => result.map(|()| asker.v4()),
            result = ready(asker.v6()) => result.map(|()| asker.v6()),
        }?;
        let Some(socket) = socket else { continue };
        match socket.try_recv_from(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

fn question_id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| io::Error::other("no random numbers"))?;
    Ok(u16::from_be_bytes(bytes))
}
