//! One client's connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thane_wire::DecodeError;
use thane_wire::rpc::{RequestDecoder, Response, error_text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tracing::{debug, error, warn};

use super::AuthKey;
use super::commands::{Next, Session};
use super::outbox::Outbox;
use crate::agent::Agent;

/// Largest request. The largest honest ones, a join of many addresses or a set of tags, have a few kilobytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// How long a client may take none of what is written to it. Differs from Serf, which waits for ever and keeps what the
/// client does not take.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Bytes read at a time.
const READ_BYTES: usize = 4096;

/// Serves a connection until either side ends it.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, agent: Arc<Agent>, auth: Arc<AuthKey>) {
    let (read_half, write_half) = stream.into_split();
    let outbox = Arc::new(Outbox::new(peer));
    let mut session = Session::new(Arc::clone(&agent), auth, Arc::clone(&outbox));
    let reading = async {
        read_requests(read_half, &mut session).await;
        // What was answered is still to be written.
        outbox.end();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = reading => {}
        () = write_batches(write_half, &outbox) => {}
    }
    outbox.abandon();
    session.end();
}

async fn read_requests(mut socket: OwnedReadHalf, session: &mut Session) {
    let client = session.client();
    let mut decoder = RequestDecoder::new();
    let mut chunk = vec![0; READ_BYTES];
    let mut unfinished_bytes = 0;
    loop {
        let bytes = match socket.read(&mut chunk).await {
            Ok(0) => return,
            Ok(bytes) => bytes,
            Err(reason) => {
                debug!(target: "agent.ipc", "Connection of client {client} broke: {reason}");
                return;
            }
        };
        decoder.push(&chunk[..bytes]);
        unfinished_bytes += bytes;
        loop {
            match next_step(&mut decoder, session).await {
                Ok(Step::Handled) => unfinished_bytes = 0,
                Ok(Step::NeedsBytes) => break,
                Ok(Step::Closes) => return,
                Err(reason) => {
                    error!(
                        target: "agent.ipc",
                        "Failed to evaluate request: decode failed: {reason}; connection of client {client} closed"
                    );
                    return;
                }
            }
        }
        if unfinished_bytes > REQUEST_BYTES_MAX {
            warn!(
                target: "agent.ipc",
                "Client {client} sent a request of more than {REQUEST_BYTES_MAX} bytes; its connection is closed"
            );
            return;
        }
    }
}

enum Step {
    Handled,
    NeedsBytes,
    Closes,
}

/// Takes and answers the next request, if it has arrived.
async fn next_step(decoder: &mut RequestDecoder, session: &mut Session) -> Result<Step, DecodeError> {
    let Some((seq, request)) = decoder.next_request()? else {
        // Who has not introduced himself is turned away without waiting for the rest.
        return Ok(match decoder.pending_header() {
            Some(header) if session.turns_away(&header.command) => {
                let refusal = Response::new(header.seq, error_text::HANDSHAKE_REQUIRED);
                session.refuse_and_close(&refusal, &header.command);
                Step::Closes
            }
            _ => Step::NeedsBytes,
        });
    };
    Ok(match session.handle(seq, request).await {
        Next::Continue => {
            session.responses_written().await;
            Step::Handled
        }
        Next::Close => Step::Closes,
    })
}

async fn write_batches(mut socket: OwnedWriteHalf, outbox: &Outbox) {
    let client = outbox.client;
    let mut batch = Vec::new();
    while outbox.next_batch(&mut batch).await {
        if let Err(reason) = write_patiently(&mut socket, &batch).await {
            if reason.kind() == io::ErrorKind::TimedOut {
                let patience = WRITE_PATIENCE.as_secs();
                warn!(
                    target: "agent.ipc",
                    "Client {client} has read nothing for {patience}s; its connection is closed"
                );
            } else {
                debug!(target: "agent.ipc", "Failed to write to client {client}: {reason}");
            }
            return;
        }
        outbox.batch_written();
        batch.shrink_to(READ_BYTES);
    }
    // The client sees the end of the stream after the last answer.
    if let Err(reason) = socket.shutdown().await {
        debug!(target: "agent.ipc", "Connection of client {client} broke: {reason}");
    }
}

/// Writes everything, as long as some of it goes out every now and then.
async fn write_patiently(socket: &mut OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match timeout(WRITE_PATIENCE, socket.write(bytes)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(Ok(written)) => bytes = &bytes[written..],
            Ok(Err(reason)) => return Err(reason),
            Err(_elapsed) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    Ok(())
}
