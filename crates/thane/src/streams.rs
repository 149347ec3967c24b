//! TCP streams: one task each, with bounded queues both ways.
//!
//! What a peer sends waits in the kernel, and so slows the peer, while the driver is busy: a task reads the next chunk
//! only when the last one has found room in the queue that all streams share. What the core writes waits in the task's own
//! short queue. A stream that the core has closed is forgotten here at once; its task writes what is left and then ends,
//! within a limit.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thane_core::{StreamFailure, StreamId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Events of all streams that wait for the driver; with their chunks at most a mebibyte.
const EVENTS_MAX: usize = 64;
/// Writes of one stream that wait for the peer. The core writes a request or a reply, in a few pieces.
const WRITES_MAX: usize = 16;
/// Tasks in all, those included that still write what the core has left behind. The streams that the core holds open
/// itself are fewer.
const TASKS_MAX: usize = 1024;
/// How long a closed stream waits for the peer to close too, so that no reset overtakes what we wrote.
const LINGER: Duration = Duration::from_secs(1);
/// How much a peer may still send in that time.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Something that happened on a stream.
#[derive(Debug)]
pub(crate) struct StreamEvent {
    pub(crate) stream: StreamId,
    pub(crate) what: What,
}

/// What happened on a stream.
#[derive(Debug)]
pub(crate) enum What {
    Connected,
    Data(Bytes),
    Ended,
    Failed(StreamFailure),
}

/// A stream could not be written to, or not be begun: there are too many.
#[derive(Debug)]
pub(crate) struct Overflow;

/// All streams of a node.
#[derive(Debug)]
pub(crate) struct Streams {
    /// What happened, in order for each stream. Events of streams that are closed by now may still be among them; see
    /// [`Streams::is_open`].
    pub(crate) events: mpsc::Receiver<StreamEvent>,
    /// The tasks, to be reaped as they end.
    pub(crate) tasks: JoinSet<()>,
    sender: mpsc::Sender<StreamEvent>,
    open: BTreeMap<StreamId, Handle>,
    /// How long what is left may take to write after the core has closed a stream.
    flush_max: Duration,
}

#[derive(Debug)]
struct Handle {
    writes: mpsc::Sender<Bytes>,
    connected: bool,
    task: AbortHandle,
    /// Dropping it tells the task that the core has closed the stream.
    _open: oneshot::Sender<()>,
}

impl Streams {
    pub(crate) fn new(flush_max: Duration) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        Self { events, tasks: JoinSet::new(), sender, open: BTreeMap::new(), flush_max }
    }

    /// Connects to a peer. [`What::Connected`] or [`What::Failed`] follows.
    pub(crate) fn dial(
        &mut self,
        stream: StreamId,
        to: SocketAddr,
        timeout: Duration,
    ) -> Result<(), Overflow> {
        self.spawn(stream, false, move |ends| async move {
            match tokio::time::timeout(timeout, TcpStream::connect(to)).await {
                Ok(Ok(socket)) => {
                    if ends.tell(What::Connected).await {
                        ends.run(socket).await;
                    }
                }
                Ok(Err(error)) => _ = ends.tell(What::Failed(connect_failure(&error))).await,
                Err(_elapsed) => {
                    _ = ends.tell(What::Failed(StreamFailure::TimedOut("i/o timeout".to_owned()))).await;
                }
            }
        })
    }

    /// Whether there is room for another stream.
    pub(crate) fn has_room(&self) -> bool {
        self.tasks.len() < TASKS_MAX
    }

    /// Serves a stream that a peer has opened.
    pub(crate) fn accept(&mut self, stream: StreamId, socket: TcpStream) -> Result<(), Overflow> {
        self.spawn(stream, true, move |ends| ends.run(socket))
    }

    fn spawn<F>(
        &mut self,
        stream: StreamId,
        connected: bool,
        task: impl FnOnce(Ends) -> F,
    ) -> Result<(), Overflow>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if !self.has_room() {
            return Err(Overflow);
        }
        let (writes, to_write) = mpsc::channel(WRITES_MAX);
        let (open, closed) = oneshot::channel();
        let ends = Ends { stream, events: self.sender.clone(), to_write, closed, flush_max: self.flush_max };
        let task = self.tasks.spawn(task(ends));
        let before = self.open.insert(stream, Handle { writes, connected, task, _open: open });
        assert!(before.is_none(), "{stream:?} was used twice");
        Ok(())
    }

    /// Whether the core still wants to hear of this stream.
    pub(crate) fn is_open(&self, stream: StreamId) -> bool {
        self.open.contains_key(&stream)
    }

    /// Notes that a dialled stream is connected.
    pub(crate) fn connected(&mut self, stream: StreamId) {
        if let Some(handle) = self.open.get_mut(&stream) {
            handle.connected = true;
        }
    }

    /// Writes after what was written before. Writing to a stream that has failed in the meantime does nothing.
    pub(crate) fn write(&mut self, stream: StreamId, bytes: Bytes) -> Result<(), Overflow> {
        let Some(handle) = self.open.get(&stream) else { return Ok(()) };
        match handle.writes.try_send(bytes) {
            // A task that is gone has reported its failure, which is on its way to the core.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Overflow),
        }
    }

    /// Forgets a stream; its task writes what is left, then closes it. One that never connected ends at once.
    pub(crate) fn close(&mut self, stream: StreamId) {
        if let Some(handle) = self.open.remove(&stream)
            && !handle.connected
        {
            handle.task.abort();
        }
    }

    /// Forgets a stream that has failed; nothing more is written.
    pub(crate) fn abort(&mut self, stream: StreamId) {
        if let Some(handle) = self.open.remove(&stream) {
            handle.task.abort();
        }
    }

    /// Ends all tasks and waits for their ends.
    pub(crate) async fn shutdown(&mut self) {
        self.open.clear();
        self.tasks.shutdown().await;
    }
}

/// What a stream's task holds.
struct Ends {
    stream: StreamId,
    events: mpsc::Sender<StreamEvent>,
    to_write: mpsc::Receiver<Bytes>,
    closed: oneshot::Receiver<()>,
    flush_max: Duration,
}

impl Ends {
    /// Tells the driver; false when it is gone.
    async fn tell(&self, what: What) -> bool {
        tell(&self.events, self.stream, what).await
    }

    /// Reads and writes until the core closes the stream or it breaks.
    async fn run(self, socket: TcpStream) {
        let Self { stream, events, to_write, closed, flush_max } = self;
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(target: "thane::driver", kind = "nodelay", %error, "a stream stays with Nagle's algorithm");
        }
        let (mut reader, mut writer) = socket.into_split();
        let too_late = async {
            // The sender never sends: it is dropped when the core closes the stream.
            _ = closed.await;
            tokio::time::sleep(flush_max).await;
        };
        let written = tokio::select! {
            written = pump(stream, &events, &mut reader, &mut writer, to_write) => written,
            () = too_late => {
                tracing::debug!(target: "thane::driver", kind = "flush_timeout", ?stream, "a peer did not take what was left to write");
                return;
            }
        };
        match written {
            Ok(()) => linger(reader, writer).await,
            Err(error) => {
                _ = tell(&events, stream, What::Failed(StreamFailure::Other(describe(&error)))).await;
            }
        }
    }
}

async fn tell(events: &mpsc::Sender<StreamEvent>, stream: StreamId, what: What) -> bool {
    events.send(StreamEvent { stream, what }).await.is_ok()
}

/// Moves bytes both ways. Ends well when everything is written and the core has closed the stream.
async fn pump(
    stream: StreamId,
    events: &mpsc::Sender<StreamEvent>,
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    mut to_write: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    let writing = async {
        while let Some(bytes) = to_write.recv().await {
            writer.write_all(&bytes).await?;
        }
        Ok(())
    };
    let reading = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK_BYTES);
            let what = match (&mut *reader).take(CHUNK_BYTES as u64).read_buf(&mut buffer).await? {
                0 => What::Ended,
                _ => What::Data(buffer.split().freeze()),
            };
            let ended = matches!(what, What::Ended);
            if !tell(events, stream, what).await || ended {
                return Ok(());
            }
        }
    };
    tokio::pin!(writing, reading);
    let mut reads = true;
    loop {
        tokio::select! {
            written = &mut writing => return written,
            read = &mut reading, if reads => match read {
                Ok(()) => reads = false,
                Err(error) => return Err(error),
            },
        }
    }
}

/// Closes our half and waits a little for the peer's. Closing at once with bytes unread would reset the connection, and
/// the peer might never see what we wrote last.
async fn linger(mut reader: OwnedReadHalf, mut writer: OwnedWriteHalf) {
    if writer.shutdown().await.is_err() {
        // The peer has gone before us.
        return;
    }
    let drain = async {
        let mut scratch = [0; 1024];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(bytes @ 1..) = reader.read(&mut scratch).await {
            left = left.saturating_sub(bytes);
            if left == 0 {
                return;
            }
        }
    };
    // Either way the socket is closed now.
    _ = tokio::time::timeout(LINGER, drain).await;
}

fn connect_failure(error: &io::Error) -> StreamFailure {
    let text = format!("connect: {}", describe(error));
    match error.kind() {
        io::ErrorKind::ConnectionRefused => StreamFailure::Refused(text),
        io::ErrorKind::TimedOut => StreamFailure::TimedOut(text),
        _ => StreamFailure::Other(text),
    }
}

/// The operating system's error in the words that Serf's users know from Go, where there are such.
pub(crate) fn describe(error: &io::Error) -> String {
    let known = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset by peer",
        io::ErrorKind::BrokenPipe => "broken pipe",
        io::ErrorKind::TimedOut => "connection timed out",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::NetworkUnreachable => "network is unreachable",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address",
        _ => return error.to_string(),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests;
