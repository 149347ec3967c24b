//! Threads that wait for something, and tell the story's thread through one channel.

use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, EventName, Member, Record, RpcError};

/// How often an agent is asked for its members.
const ASK_EVERY: Duration = Duration::from_millis(150);

/// How often an agent that has just been started is tried.
const CONNECT_EVERY: Duration = Duration::from_millis(50);

/// How long an agent that has just been started is tried.
const CONNECT_FOR: Duration = Duration::from_secs(30);

/// The events that are shown. `member-suspect` is Thane's own.
const FILTER: &str = "member-join,member-leave,member-failed,member-update,member-reap,member-suspect,user";

/// Something that the story waits for.
#[derive(Debug)]
pub(super) enum News {
    /// Agent number `agent`, in its life number `life`, said something.
    FromAgent {
        /// Its number.
        agent: usize,
        /// How often it had been started, so that late news of a life that is over can be told apart.
        life: u32,
        /// What it said.
        word: Word,
    },
    /// A request that the story made was answered.
    Answer {
        /// The number of the request.
        request: u32,
        /// The answer, or why there is none.
        result: Result<(), String>,
    },
    /// Somebody wants the demonstration to end.
    Interrupted,
}

/// What an agent says.
#[derive(Debug)]
pub(super) enum Word {
    /// Its members now.
    Members(Vec<Member>),
    /// Something happened to a member.
    Member {
        /// What.
        event: EventName,
        /// To whom.
        member: String,
        /// Who says so, of an accusation.
        by: Option<String>,
    },
    /// A user event.
    User {
        /// Its name.
        name: String,
        /// Its payload.
        payload: String,
    },
    /// Nothing any more.
    Gone,
}

/// Follows the agent behind `address` until its connection ends or nobody listens any longer.
pub(super) fn follow(agent: usize, life: u32, address: String, news: Sender<News>) {
    thread::spawn(move || {
        let tell = |word| news.send(News::FromAgent { agent, life, word }).is_ok();
        let give_up = Instant::now() + CONNECT_FOR;
        let mut client = loop {
            match Client::connect(&address, "") {
                Ok(client) => break client,
                Err(_not_yet) if Instant::now() < give_up => thread::sleep(CONNECT_EVERY),
                Err(_never) => return,
            }
        };
        // Its end is all that is told of an error: why an agent stopped is in its log.
        let _connection_over = follow_client(&mut client, tell);
        tell(Word::Gone);
    });
}

fn follow_client(client: &mut Client, tell: impl Fn(Word) -> bool) -> Result<(), RpcError> {
    client.stream_at_once(FILTER)?;
    loop {
        if !tell(Word::Members(client.members()?)) {
            return Ok(());
        }
        let ask_again = Instant::now() + ASK_EVERY;
        while let Some(record) = client.next_record(Some(ask_again))? {
            match record {
                Record::Members(record) => {
                    for member in record.members {
                        let (event, by) = (record.event.clone(), record.by.clone());
                        tell(Word::Member { event, member: member.name, by });
                    }
                }
                Record::User(record) => {
                    let payload = String::from_utf8_lossy(&record.payload.unwrap_or_default()).into_owned();
                    tell(Word::User { name: record.name, payload });
                }
                _ => {}
            }
        }
    }
}

/// Connects to the agent behind `address` and makes `request`; its answer comes as [`News::Answer`]. The story goes on
/// meanwhile, so that it stays alive on the screen and can be interrupted.
pub(super) fn ask(
    number: u32,
    address: String,
    news: Sender<News>,
    request: impl FnOnce(&mut Client) -> Result<(), RpcError> + Send + 'static,
) {
    thread::spawn(move || {
        let result = Client::connect(&address, "")
            .map_err(|error| error.to_string())
            .and_then(|mut client| request(&mut client).map_err(|error| error.to_string()));
        // Without a listener the story is over.
        let _story_over = news.send(News::Answer { request: number, result });
    });
}

/// Tells when the program is asked to end: from the keyboard, by `kill`, or because its terminal is gone.
pub(super) fn watch_for_interrupts(news: Sender<News>) {
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            // Where signals cannot be caught, the default remains: the program dies, and its agents live on.
            if interrupted().await.is_ok() {
                let _story_over = news.send(News::Interrupted);
            }
        });
    });
}

#[cfg(unix)]
async fn interrupted() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate, mut hang_up) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn interrupted() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
