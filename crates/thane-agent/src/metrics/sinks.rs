//! statsd over UDP and statsite over TCP: the same lines, packed differently.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};

use super::{Kind, Sample};

/// Largest datagram, in bytes. (armon/go-metrics: `statsd.go`, statsdMaxLen.)
const DATAGRAM_BYTES_MAX: usize = 1400;

/// Most that is written to a stream at once, in bytes.
const STREAM_BYTES_MAX: usize = 4096;

/// Longest that a line waits for company. (armon/go-metrics: `statsd.go` and `statsite.go`, flushInterval.)
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// How long metrics are thrown away after a failure, before the next attempt. (armon/go-metrics: the same files, WAIT.)
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// Longest that connecting, or one write, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time between two log lines about a sink that fails.
const NOTICE_INTERVAL: Duration = Duration::from_secs(60);

/// Sends until nobody has metrics any more. Failures are logged once a minute, and what they cost is counted.
pub(super) async fn run(
    kind: &'static str,
    address: String,
    mut samples: Receiver<Sample>,
    dropped: Arc<AtomicU64>,
) {
    let mut noticed: Option<Instant> = None;
    loop {
        let Err(error) = send_all(kind, &address, &mut samples, &dropped).await else { return };
        if noticed.is_none_or(|noticed| noticed.elapsed() >= NOTICE_INTERVAL) {
            noticed = Some(Instant::now());
            let lost = dropped.load(Ordering::Relaxed);
            warn!(
                target: "agent",
                "Error writing to {kind} at {address}: {error}; trying again every {} s ({lost} metrics lost so far)",
                DISCARD_TIME.as_secs()
            );
        }
        if !discard(&mut samples, &dropped).await {
            return;
        }
    }
}

/// Throws metrics away for a while; whether more can come.
async fn discard(samples: &mut Receiver<Sample>, dropped: &AtomicU64) -> bool {
    let until = Instant::now() + DISCARD_TIME;
    while let Ok(sample) = timeout_at(until, samples.recv()).await {
        if sample.is_none() {
            return false;
        }
        dropped.fetch_add(1, Ordering::Relaxed);
    }
    true
}

/// Connects and sends until something fails.
async fn send_all(
    kind: &'static str,
    address: &str,
    samples: &mut Receiver<Sample>,
    dropped: &AtomicU64,
) -> io::Result<()> {
    let mut link = timeout(PATIENCE, Link::open(kind, address)).await??;
    debug!(target: "agent", "Sending metrics to {kind} at {address}");
    let mut buffer = Buffer::default();
    loop {
        let next = match buffer.since {
            Some(since) => timeout_at(since + FLUSH_INTERVAL, samples.recv()).await.ok(),
            None => Some(samples.recv().await),
        };
        let line = match &next {
            Some(Some(sample)) => Some(line(sample)),
            _ => None,
        };
        let fits = line.as_ref().is_some_and(|line| buffer.text.len() + line.len() <= link.bytes_max());
        if !fits && !buffer.text.is_empty() {
            let sent = timeout(PATIENCE, link.send(buffer.text.as_bytes())).await.map_err(io::Error::from);
            if let Err(error) = sent.and_then(|sent| sent) {
                dropped.fetch_add(buffer.lines + u64::from(line.is_some()), Ordering::Relaxed);
                return Err(error);
            }
            buffer.clear();
        }
        match (line, next) {
            (Some(line), _) => buffer.push(&line),
            (None, Some(None)) => return Ok(()),
            (None, _) => {}
        }
    }
}

/// Lines that wait to be sent together.
#[derive(Debug, Default)]
struct Buffer {
    text: String,
    lines: u64,
    since: Option<Instant>,
}

impl Buffer {
    fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.lines += 1;
        self.since.get_or_insert_with(Instant::now);
    }

    fn clear(&mut self) {
        self.text.clear();
        self.lines = 0;
        self.since = None;
    }
}

/// `NAME:VALUE|TYPE` with its newline.
pub(super) fn line(sample: &Sample) -> String {
    let kind = match sample.kind {
        Kind::Gauge => "g",
        Kind::Counter => "c",
        Kind::Timer => "ms",
    };
    let mut line = sample.name.wire_text();
    // Writing to a String cannot fail.
    _ = writeln!(line, ":{:.6}|{kind}", sample.value);
    line
}

#[derive(Debug)]
enum Link {
    Statsd(UdpSocket),
    Statsite(TcpStream),
}

impl Link {
    async fn open(kind: &str, address: &str) -> io::Result<Self> {
        if kind == "statsite" {
            return TcpStream::connect(address).await.map(Self::Statsite);
        }
        let mut failure = io::Error::other("the name has no address");
        for address in lookup_host(address).await? {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any).await?;
            match socket.connect(address).await {
                Ok(()) => return Ok(Self::Statsd(socket)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn bytes_max(&self) -> usize {
        match self {
            Self::Statsd(_) => DATAGRAM_BYTES_MAX,
            Self::Statsite(_) => STREAM_BYTES_MAX,
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Statsd(socket) => socket.send(bytes).await.map(drop),
            Self::Statsite(stream) => stream.write_all(bytes).await,
        }
    }
}
