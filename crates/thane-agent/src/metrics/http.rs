//! Serves `/metrics` and nothing else.
//!
//! One request, one response, and the connection is closed: what Prometheus needs, in a file, where a server for all of
//! HTTP would be the largest part of the agent. A proxy in front of it speaks TLS and asks for passwords.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::Metrics;

/// Connections at a time; further ones wait in the kernel.
const CLIENTS_MAX: usize = 8;

/// Largest request with its headers, in bytes.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Longest time for a request and its response together.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted, for example because file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves until it is aborted.
pub(super) async fn serve(listener: TcpListener, metrics: Metrics) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    let mut clients = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let metrics = metrics.clone();
                clients.spawn(async move {
                    if let Ok(Err(error)) = timeout(PATIENCE, respond(stream, &metrics)).await {
                        debug!(target: "agent", "A request for metrics from {from} failed: {error}");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(target: "agent", "Failed to accept a request for metrics: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while clients.try_join_next().is_some() {}
    }
}

async fn respond(mut stream: TcpStream, metrics: &Metrics) -> io::Result<()> {
    let Some(request) = read_request(&mut stream).await? else {
        return send(&mut stream, "400 Bad Request", "", "This is no HTTP request of at most 8 KiB.\n", true)
            .await;
    };
    let mut words = request.lines().next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default();
    let with_body = method != "HEAD";
    if !matches!(method, "GET" | "HEAD") {
        let allow = "Allow: GET, HEAD\r\n";
        return send(&mut stream, "405 Method Not Allowed", allow, "Only GET and HEAD are served.\n", true)
            .await;
    }
    if path != "/metrics" {
        return send(&mut stream, "404 Not Found", "", "Metrics are at /metrics.\n", with_body).await;
    }
    send(&mut stream, "200 OK", "", &metrics.prometheus(), with_body).await
}

/// The request with its headers; `None` if it is too long, ends too early or is not text.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).await?;
        if length == 0 || bytes.len() + length > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..length]);
    }
    Ok(String::from_utf8(bytes).ok().filter(|request| request.contains(" HTTP/1.")))
}

async fn send(
    stream: &mut TcpStream,
    status: &str,
    extra: &str,
    body: &str,
    with_body: bool,
) -> io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\n\
         {extra}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    if with_body {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}
