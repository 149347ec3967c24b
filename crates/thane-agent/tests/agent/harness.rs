//! An agent process, and a client that sends and receives bytes.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use thane_wire::msgpack::{Kind, Reader};
use thane_wire::rpc::{Request, ValueDecoder};

/// How long a condition may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// A running agent. It is killed when this goes away.
pub(crate) struct Agent {
    child: Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    text: Mutex<(String, bool)>,
    grown: Condvar,
}

impl Agent {
    /// What starts an agent on free ports. With the default profile joins have ten seconds and queries three; with the local one
    /// they have one, and a busy machine takes longer now and then.
    pub(crate) fn command(flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_thane"));
        command.arg("agent");
        for (flag, default) in [("-bind", "127.0.0.1:0"), ("-rpc-addr", "127.0.0.1:0")] {
            if !flags.iter().any(|given| given.starts_with(flag)) {
                command.arg(format!("{flag}={default}"));
            }
        }
        command.args(flags).env("OUTER", "inherited").env("SERF_EVENT", "outer");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// Starts an agent and does not wait.
    pub(crate) fn spawn(flags: &[&str]) -> Self {
        Self::run(Self::command(flags))
    }

    /// Starts a command whose output is to be followed.
    pub(crate) fn run(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().unwrap();
        thread::spawn({
            let output = Arc::clone(&output);
            move || output.collect(stdout)
        });
        Self { child, output }
    }

    /// Starts an agent and waits until it is up.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let agent = Self::spawn(flags);
        agent.wait_for("==> Log data will now stream in as it occurs:");
        agent
    }

    /// Waits until the output contains `text`; gives all of it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(&format!("{text:?}"), |output| output.contains(text))
    }

    /// Waits until the output is as wanted; gives all of it.
    pub(crate) fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut held = self.output.text.lock().unwrap_or_else(PoisonError::into_inner);
        while !wanted(&held.0) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !held.1, "{what} did not come in:\n{}", held.0);
            held = self.output.grown.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        held.0.clone()
    }

    /// Whether the agent comes as far as saying `text`, rather than ending before.
    pub(crate) fn says(&self, text: &str) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let mut held = self.output.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if held.0.contains(text) {
                return true;
            }
            if held.1 {
                return false;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the agent neither said {text:?} nor ended:\n{}", held.0);
            held = self.output.grown.wait_timeout(held, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end of the process; its exit status and all it said.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the agent did not end:\n{}", self.said());
            thread::sleep(Duration::from_millis(5));
        };
        let deadline = Instant::now() + DEADLINE;
        let mut held = self.output.text.lock().unwrap_or_else(PoisonError::into_inner);
        while !held.1 && Instant::now() < deadline {
            held = self.output.grown.wait_timeout(held, DEADLINE).unwrap_or_else(PoisonError::into_inner).0;
        }
        let text = held.0.clone();
        drop(held);
        (status, text)
    }

    /// Everything so far.
    pub(crate) fn said(&self) -> String {
        self.output.text.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process, as if its machine had lost power.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by name: `INT`, `TERM`, `HUP`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success(), "signal {name} could not be sent");
    }

    /// The address after a label of the banner.
    pub(crate) fn address(&self, label: &str) -> String {
        let output = self.wait_for("Message Compression Enabled");
        let line =
            output.lines().find(|line| line.contains(label)).unwrap_or_else(|| panic!("{label} in {output}"));
        line.split('\'').nth(1).unwrap().to_owned()
    }

    /// A client with its handshake done.
    pub(crate) fn client(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.ask(1, &Request::Handshake { version: 1 }, 1), [json!({"Error": "", "Seq": 1})]);
        client
    }

    /// A client that has said nothing.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address("RPC addr"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Output {
    fn collect(&self, stdout: impl Read) {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        loop {
            line.clear();
            let ended = matches!(lines.read_until(b'\n', &mut line), Ok(0) | Err(_));
            let mut held = self.text.lock().unwrap_or_else(PoisonError::into_inner);
            held.0.push_str(&String::from_utf8_lossy(&line));
            held.1 = ended;
            drop(held);
            self.grown.notify_all();
            if ended {
                return;
            }
        }
    }
}

/// A client that knows nothing of the protocol but msgpack.
pub(crate) struct Client {
    socket: TcpStream,
    decoder: ValueDecoder,
    closed: bool,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, decoder: ValueDecoder::new(), closed: false }
    }

    /// Sends bytes as they are. The agent may have closed the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        _ = self.socket.write_all(bytes);
    }

    /// Sends a request and takes this many values.
    pub(crate) fn ask(&mut self, seq: u64, request: &Request, values: usize) -> Vec<Value> {
        let mut bytes = Vec::new();
        request.encode(seq, &mut bytes);
        self.send(&bytes);
        self.take(values)
    }

    /// Takes this many values.
    pub(crate) fn take(&mut self, values: usize) -> Vec<Value> {
        let mut taken = Vec::new();
        while taken.len() < values {
            match self.next() {
                Some(value) => taken.push(value),
                None => panic!("the agent closed the connection after {taken:?}"),
            }
        }
        taken
    }

    /// Takes values until one is as wanted; gives that one.
    pub(crate) fn take_until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "the value that was waited for did not come");
            let value = self.next().expect("the agent closed the connection");
            if wanted(&value) {
                return value;
            }
        }
    }

    /// The next value, or `None` if the connection was closed.
    pub(crate) fn first(&mut self) -> Option<Value> {
        self.next()
    }

    /// Waits until the agent closes the connection; everything that came before.
    pub(crate) fn until_closed(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The next value; `None` at the end of the connection.
    fn next(&mut self) -> Option<Value> {
        let mut chunk = vec![0; 16 << 10];
        loop {
            if let Some(value) = self.decoder.next_value().unwrap() {
                return Some(to_json(&mut Reader::new(value)));
            }
            if self.closed {
                return None;
            }
            match self.socket.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(bytes) => self.decoder.push(&chunk[..bytes]),
                // A machine that was suspended interrupts what has a time limit.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What the agent had not read is answered by the system with a reset.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.closed = true,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }
}

/// Any msgpack value as JSON; bin is told from text.
fn to_json(reader: &mut Reader<'_>) -> Value {
    match reader.kind().unwrap() {
        Kind::Nil => {
            assert!(reader.nil().unwrap());
            Value::Null
        }
        Kind::Bool => reader.bool("value").unwrap().into(),
        Kind::Integer => {
            // A number that does not fit the signed type fits the unsigned one.
            let mut again = Reader::new(reader.rest());
            match again.i64("value") {
                Ok(number) => {
                    reader.skip().unwrap();
                    number.into()
                }
                Err(_too_large) => reader.u64("value").unwrap().into(),
            }
        }
        Kind::Float => reader.f64("value").unwrap().into(),
        Kind::Text => reader.str("value").unwrap().into(),
        Kind::Binary => json!({"$bin": hex(reader.bytes("value").unwrap().unwrap())}),
        Kind::Array => {
            let count = reader.array("value").unwrap().unwrap();
            (0..count).map(|_element| to_json(reader)).collect()
        }
        Kind::Map => {
            let count = reader.map("value").unwrap().unwrap();
            let entries: Map<String, Value> =
                (0..count).map(|_entry| (reader.str("key").unwrap().to_owned(), to_json(reader))).collect();
            Value::Object(entries)
        }
        Kind::Extension => panic!("no extension has a place in this protocol"),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(digit.into(), 16).unwrap()).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}
