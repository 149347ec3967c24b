//! A steady flow of user events and queries from all sides, while a story goes on.

use super::{Agent, Kind};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The time between two commands. It is the pace of the load; nothing waits for it.
const PACE: Duration = Duration::from_millis(100);

/// Every how many-th command is a query.
const QUERY_EVERY: usize = 8;

/// Somebody through whom events are sent.
#[derive(Clone, Debug)]
struct Sender {
    name: String,
    rpc_address: String,
}

/// A thread that sends user events with names of their own, and queries, through members in turn and through both programs in
/// turn, until it is told to end.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ends: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    senders: Vec<Sender>,
    /// How many members a query must be answered by; no queries are sent if `None`.
    answers: Option<usize>,
    sent: Vec<String>,
    queries: usize,
    faults: Vec<String>,
}

impl Load {
    /// Begins to send through these members.
    pub(crate) fn start(agents: &[&Agent]) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || of_thread.run());
        let load = Self { shared, thread: Some(thread) };
        load.send_through(agents);
        load
    }

    /// Sends through these members from now on; once this returns, nothing is under way through others. With none it pauses.
    pub(crate) fn send_through(&self, agents: &[&Agent]) {
        let sender =
            |agent: &&Agent| Sender { name: agent.name().to_owned(), rpc_address: agent.rpc_address() };
        self.shared.lock().senders = agents.iter().map(sender).collect();
        self.shared.changed.notify_all();
    }

    /// Sends queries as well from now on, each of which this many members must answer; or no more of them.
    pub(crate) fn expect_answers(&self, count: Option<usize>) {
        self.shared.lock().answers = count;
    }

    /// The names of the events that were sent until now.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.shared.lock().sent.clone()
    }

    /// How many queries were answered by all until now.
    pub(crate) fn queries(&self) -> usize {
        self.shared.lock().queries
    }

    /// Fails if a command did not work.
    #[track_caller]
    pub(crate) fn check(&self) {
        let state = self.shared.lock();
        assert!(state.faults.is_empty(), "while events and queries were sent: {:#?}", state.faults);
    }

    /// Ends it; the names of all events that were sent.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.end();
        self.check();
        self.sent()
    }

    fn end(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // What went wrong in it is among the faults, or was printed as its panic.
            thread.join().ok();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        for number in 0.. {
            let mut state = self.lock();
            while state.senders.is_empty() && !self.ends.load(Ordering::Relaxed) {
                let (again, _) =
                    self.changed.wait_timeout(state, PACE).unwrap_or_else(PoisonError::into_inner);
                state = again;
            }
            if self.ends.load(Ordering::Relaxed) {
                return;
            }
            state.step(number);
            drop(state);
            thread::sleep(PACE);
        }
    }
}

impl State {
    fn step(&mut self, number: usize) {
        let sender = self.senders[number % self.senders.len()].clone();
        match self.answers {
            Some(count) if number.is_multiple_of(QUERY_EVERY) => self.query(&sender, count),
            _ => self.event(&sender, number),
        }
    }

    fn event(&mut self, sender: &Sender, number: usize) {
        let name = format!("load-{number}");
        let program = if number.is_multiple_of(3) { Kind::Serf } else { Kind::Thane };
        let address = format!("-rpc-addr={}", sender.rpc_address);
        let answer = program.run(["event", &address, "-coalesce=false", &name, "steady flow"]);
        if answer.code == Some(0) {
            self.sent.push(name);
        } else {
            self.faults.push(format!("{name} through {}: {answer:?}", sender.name));
        }
    }

    fn query(&mut self, sender: &Sender, count: usize) {
        let address = format!("-rpc-addr={}", sender.rpc_address);
        let (first, quorum) = (format!("-first={count}"), format!("-quorum={count}"));
        let answer = Kind::Thane.run(["query", &address, "-timeout=20s", &first, &quorum, "who"]);
        if answer.code == Some(0) {
            self.queries += 1;
        } else {
            self.faults.push(format!("a query through {}: {answer:?}", sender.name));
        }
    }
}
