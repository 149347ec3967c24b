//! Answers questions on one socket.

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::sleep;
use tracing::debug;

use super::records::{Identity, PACKET_BYTES_MAX};

/// Pause after the socket failed, so that a failure that lasts costs nothing.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Answers until it is aborted.
pub(super) async fn run(socket: UdpSocket, identity: Identity) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                for answer in identity.answers(&buffer[..length]) {
                    if let Err(error) = socket.send_to(&answer, from).await {
                        debug!(target: "agent.mdns", "Failed to answer {from}: {error}");
                    }
                }
            }
            Err(error) => {
                debug!(target: "agent.mdns", "Failed to read a question: {error}");
                sleep(FAILURE_PAUSE).await;
            }
        }
    }
}
