//! The story that is told, and what must be true for each of its steps to have happened.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::ports;
use super::process::{AgentProcess, Scratch};
use super::show::{REDRAW_EVERY, Show};
use super::watch::{self, News};
use super::world::{Happening, Plan, Sight, World};
use crate::client::{Client, EventName, RpcError};

/// Names and tags of the agents.
const CAST: [(&str, &[(&str, &str)]); 3] =
    [("ash", &[("role", "web")]), ("birch", &[("role", "web")]), ("cedar", &[("role", "db")])];

const ASH: usize = 0;
const BIRCH: usize = 1;
const CEDAR: usize = 2;

/// The user event that is sent.
const EVENT: (&str, &str) = ("deploy", "v1.2.3");

/// How often something that no news announces is looked at, such as the end of a process.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The steps, with the time that each may take on a machine that is busy with something else.
const STEPS: [(&str, Duration); 8] = [
    ("started", Duration::from_secs(20)),
    ("joined", Duration::from_secs(20)),
    ("stopped", Duration::from_secs(20)),
    ("suspected", Duration::from_secs(20)),
    ("failed", Duration::from_secs(40)),
    ("back", Duration::from_secs(30)),
    ("event", Duration::from_secs(30)),
    ("left", Duration::from_secs(40)),
];

/// Why the story was not told to its end.
#[derive(Debug, Error)]
pub(super) enum Problem {
    /// A step did not happen.
    #[error("the step '{step}' did not happen within {} seconds: {missing}", .limit.as_secs())]
    TooLate {
        /// Its name.
        step: &'static str,
        /// The time that it had.
        limit: Duration,
        /// What was still awaited.
        missing: String,
    },
    /// An agent ended that should not have.
    #[error("{agent} ended on its own ({status})")]
    Ended {
        /// Its name.
        agent: &'static str,
        /// How.
        status: ExitStatus,
    },
    /// An agent left with another exit code than 0.
    #[error("{agent} left, but not with exit code 0 ({status})")]
    BadExit {
        /// Its name.
        agent: &'static str,
        /// How.
        status: ExitStatus,
    },
    /// An agent did not do what it was asked to.
    #[error("{agent} was asked to {what}, and answered: {why}")]
    Refused {
        /// Its name.
        agent: &'static str,
        /// What it should have done.
        what: &'static str,
        /// Its answer.
        why: String,
    },
    /// The machine refused.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// Somebody wants it to end.
    #[error("interrupted")]
    Interrupted,
    /// Nobody looks any longer.
    #[error("standard output is closed: {0}")]
    Output(#[from] io::Error),
}

/// The cluster that `--keep` leaves behind.
#[derive(Debug)]
pub(super) struct Kept {
    agents: Vec<(Plan, AgentProcess)>,
}

impl Kept {
    /// What can be done with it, for people to copy.
    pub(super) fn instructions(&self, scratch: &Scratch) -> String {
        let program = std::env::current_exe().map_or_else(|_| "thane".to_owned(), |path| shell_word(&path));
        let command = |agent: usize, name: &str, rest: &str| {
            format!("  {program} {name} -rpc-addr={}{rest}", self.agents[agent].0.rpc_address())
        };
        let mut lines = vec![String::new(), "The three agents go on running:".to_owned(), String::new()];
        lines.extend(self.agents.iter().map(|(plan, process)| {
            let (gossip, rpc) = (plan.gossip_address(), plan.rpc_address());
            format!("  {:6}  process {:7}  gossip {gossip:15}  RPC {rpc}", plan.name, process.id())
        }));
        lines.push(format!("  logs in {}", scratch.path().display()));
        lines.extend([String::new(), "Things to try:".to_owned(), String::new()]);
        lines.extend([
            command(ASH, "members", ""),
            command(BIRCH, "monitor", ""),
            command(ASH, "event", " deploy v2"),
            command(CEDAR, "tags", " -set version=2"),
            command(CEDAR, "info", ""),
            format!("  kill -9 {}    # then look at the members again", self.agents[CEDAR].1.id()),
        ]);
        lines.extend([String::new(), "To end it:".to_owned(), String::new()]);
        lines.extend([CEDAR, BIRCH, ASH].map(|agent| command(agent, "leave", "")));
        lines.push(format!("  rm -r {}", shell_word(scratch.path())));
        lines.join("\n")
    }

    /// Lets the agents live on.
    pub(super) fn release(self) {
        for (_, process) in self.agents {
            process.release();
        }
    }
}

/// What a step still waits for; `None` once it has happened.
type Missing = Option<String>;

/// The teller: runs the agents, listens to them, and waits for each step.
pub(super) struct Story<'a> {
    world: World,
    show: &'a mut Show,
    scratch: &'a Scratch,
    /// The agents that should be running.
    processes: [Option<AgentProcess>; CAST.len()],
    news: Receiver<News>,
    sender: Sender<News>,
    requests: u32,
}

impl<'a> Story<'a> {
    /// Tells the story. With `keep` it ends before the agents leave, and they are handed over.
    ///
    /// # Errors
    ///
    /// The first step that did not happen. All agents are stopped by then.
    pub(super) fn tell(
        show: &'a mut Show,
        scratch: &'a Scratch,
        keep: bool,
    ) -> Result<Option<Kept>, Problem> {
        let found = ports::find(CAST.len())
            .map_err(|source| Problem::System { what: "find free ports on 127.0.0.1".to_owned(), source })?;
        let plans = CAST
            .iter()
            .zip(found)
            .map(|(&(name, tags), ports)| Plan { name, tags, ports })
            .collect::<Vec<_>>();
        let (sender, news) = mpsc::channel();
        watch::watch_for_interrupts(sender.clone());
        let mut story = Story {
            world: World::new(plans),
            show,
            scratch,
            processes: [const { None }; CAST.len()],
            news,
            sender,
            requests: 0,
        };
        let last = if keep { STEPS.len() - 1 } else { STEPS.len() };
        story.show.plan(&STEPS.map(|(name, _)| name)[..last]);
        story.begin()?;
        story.lose_one()?;
        story.get_it_back()?;
        story.send_event()?;
        if keep {
            return Ok(Some(story.hand_over()));
        }
        story.leave()?;
        let text =
            format!("All {last} steps happened, in {:.1} seconds.", story.show.elapsed().as_secs_f64());
        story.show.announce(text, &story.world)?;
        Ok(None)
    }

    fn begin(&mut self) -> Result<(), Problem> {
        self.announce("Starting three agents on 127.0.0.1, each a process of its own.")?;
        let began = Instant::now();
        for agent in self.world.numbers() {
            self.start(agent)?;
        }
        self.wait_for("started", began, "all three agents answer", |world| {
            world.numbers().find(|&agent| !world.has_answered(agent)).map(|agent| {
                format!("{} does not answer at {}", world.name(agent), world.plan(agent).rpc_address())
            })
        })?;

        let seed = self.world.plan(ASH).gossip_address();
        self.announce(&format!("birch and cedar join through ash, at {seed}."))?;
        let (began, mark) = (Instant::now(), self.world.mark());
        for agent in [BIRCH, CEDAR] {
            self.join(agent, began, "joined")?;
        }
        self.wait_for("joined", began, "each agent sees three members alive", |world| {
            let unseen = pairs(world.numbers(), world.numbers())
                .find(|&(observer, member)| world.status(observer, member) != Sight::Alive);
            if let Some((observer, member)) = unseen {
                return Some(not_yet(world, observer, member, Sight::Alive));
            }
            // Everybody's stream of events must have told of it too.
            pairs(world.numbers(), world.numbers())
                .filter(|(observer, member)| observer != member)
                .find(|&(observer, member)| !world.was_told(mark, observer, &EventName::MemberJoin, member))
                .map(|(observer, member)| untold(world, observer, member, &EventName::MemberJoin))
        })?;
        self.show.table(&self.world)?;
        self.rest()
    }

    fn lose_one(&mut self) -> Result<(), Problem> {
        let name = self.world.name(CEDAR);
        let id = self.processes[CEDAR].as_ref().map_or(0, AgentProcess::id);
        self.announce(&format!("Killing {name} (process {id}) without warning."))?;
        let (began, mark) = (Instant::now(), self.world.mark());
        if let Some(mut process) = self.processes[CEDAR].take() {
            process.kill().map_err(|source| Problem::System { what: format!("kill {name}"), source })?;
        }
        self.world.end_life(CEDAR, Sight::Nothing);
        self.ticked("stopped", began, &format!("{name} is dead, and nobody has been told"))?;

        self.announce(&format!("Waiting for the others to miss {name}."))?;
        self.wait(STEPS[3], began, |world| match accusation(world, mark, CEDAR) {
            Some(_) => None,
            None => Some("nobody suspects it".to_owned()),
        })?;
        let proof = accusation(&self.world, mark, CEDAR).unwrap_or_default();
        self.ticked("suspected", began, &proof)?;

        self.wait_for("failed", began, "both others take it for failed", |world| {
            let others = [ASH, BIRCH];
            if let Some(&other) = others.iter().find(|&&other| world.status(other, CEDAR) != Sight::Failed) {
                return Some(not_yet(world, other, CEDAR, Sight::Failed));
            }
            others
                .iter()
                .find(|&&other| !world.was_told(mark, other, &EventName::MemberFailed, CEDAR))
                .map(|&other| untold(world, other, CEDAR, &EventName::MemberFailed))
        })?;
        self.show.table(&self.world)?;
        self.rest()
    }

    fn get_it_back(&mut self) -> Result<(), Problem> {
        self.announce("Starting cedar again, with the same name and address.")?;
        let (began, mark) = (Instant::now(), self.world.mark());
        self.start(CEDAR)?;
        self.wait(STEPS[5], began, |world| {
            (!world.has_answered(CEDAR)).then(|| "the new process does not answer".to_owned())
        })?;
        self.join(CEDAR, began, "back")?;
        self.wait_for("back", began, "everybody sees three members alive again", |world| {
            let unseen = pairs(world.numbers(), world.numbers())
                .find(|&(observer, member)| world.status(observer, member) != Sight::Alive);
            if let Some((observer, member)) = unseen {
                return Some(not_yet(world, observer, member, Sight::Alive));
            }
            [ASH, BIRCH]
                .into_iter()
                .find(|&other| !world.was_told(mark, other, &EventName::MemberJoin, CEDAR))
                .map(|other| untold(world, other, CEDAR, &EventName::MemberJoin))
        })?;
        self.show.table(&self.world)?;
        self.rest()
    }

    fn send_event(&mut self) -> Result<(), Problem> {
        let (name, payload) = EVENT;
        self.announce(&format!("birch sends the user event '{name}' with '{payload}'."))?;
        let (began, mark) = (Instant::now(), self.world.mark());
        self.request(BIRCH, "send an event", began, STEPS[6], move |client| {
            client.event(name, Some(payload.as_bytes()), false)
        })?;
        let wanted = Happening::User { name: name.to_owned(), payload: payload.to_owned() };
        self.wait_for("event", began, "all three agents have it", |world| {
            world
                .numbers()
                .find(|&agent| !world.since(mark).any(|seen| seen.by == agent && seen.what == wanted))
                .map(|agent| format!("{} has not seen it", world.name(agent)))
        })?;
        self.rest()
    }

    fn leave(&mut self) -> Result<(), Problem> {
        let began = Instant::now();
        let order = [CEDAR, BIRCH, ASH];
        for (index, &agent) in order.iter().enumerate() {
            let name = self.world.name(agent);
            self.announce(&format!("{name} leaves."))?;
            // From here on its end is no surprise.
            let process = self.processes[agent].take();
            self.request(agent, "leave", began, STEPS[7], Client::leave)?;
            let remaining = &order[index + 1..];
            self.wait(STEPS[7], began, |world| {
                remaining
                    .iter()
                    .find(|&&other| world.status(other, agent) != Sight::Left)
                    .map(|&other| not_yet(world, other, agent, Sight::Left))
            })?;
            if let Some(mut process) = process {
                let mut ended = None;
                self.wait(STEPS[7], began, |_world| {
                    ended = process.ended();
                    ended.is_none().then(|| format!("{name} has left, but its process goes on"))
                })?;
                if let Some(status) = ended.filter(|status| !status.success()) {
                    return Err(Problem::BadExit { agent: name, status });
                }
            }
            self.world.end_life(agent, Sight::Left);
            self.show.table(&self.world)?;
        }
        self.ticked("left", began, "all three left one after the other, and ended with exit code 0")
    }

    fn hand_over(mut self) -> Kept {
        let agents = self
            .world
            .numbers()
            .filter_map(|agent| Some((self.world.plan(agent).clone(), self.processes[agent].take()?)))
            .collect();
        Kept { agents }
    }

    /// Starts an agent, and begins to listen to it.
    fn start(&mut self, agent: usize) -> Result<(), Problem> {
        let plan = self.world.plan(agent).clone();
        let process = AgentProcess::start(&plan, self.scratch)
            .map_err(|source| Problem::System { what: format!("start {}", plan.name), source })?;
        self.processes[agent] = Some(process);
        let life = self.world.begin_life(agent);
        watch::follow(agent, life, plan.rpc_address(), self.sender.clone());
        Ok(())
    }

    fn join(&mut self, agent: usize, began: Instant, step: &'static str) -> Result<(), Problem> {
        let seed = vec![self.world.plan(ASH).gossip_address()];
        self.request(agent, "join", began, step_named(step), move |client| {
            client.join(&seed, false).map(|_count| ())
        })
    }

    /// Makes a request of an agent, and waits until it has done it.
    fn request(
        &mut self,
        agent: usize,
        what: &'static str,
        began: Instant,
        step: (&'static str, Duration),
        request: impl FnOnce(&mut Client) -> Result<(), RpcError> + Send + 'static,
    ) -> Result<(), Problem> {
        self.requests += 1;
        let (number, name) = (self.requests, self.world.name(agent));
        watch::ask(number, self.world.plan(agent).rpc_address(), self.sender.clone(), request);
        self.wait(step, began, |world| {
            world.answer(number).is_none().then(|| format!("{name} was asked to {what} and does not answer"))
        })?;
        match self.world.answer(number) {
            Some(Err(why)) => Err(Problem::Refused { agent: name, what, why: why.trim().to_owned() }),
            _ => Ok(()),
        }
    }

    /// Waits until nothing is missing, and ticks the step off.
    fn wait_for(
        &mut self,
        step: &'static str,
        began: Instant,
        proof: &str,
        missing: impl FnMut(&World) -> Missing,
    ) -> Result<(), Problem> {
        self.wait(step_named(step), began, missing)?;
        self.ticked(step, began, proof)
    }

    /// Waits until nothing is missing, listening meanwhile.
    fn wait(
        &mut self,
        (step, limit): (&'static str, Duration),
        began: Instant,
        mut missing: impl FnMut(&World) -> Missing,
    ) -> Result<(), Problem> {
        while let Some(missing) = missing(&self.world) {
            if began.elapsed() >= limit {
                return Err(Problem::TooLate { step, limit, missing });
            }
            self.listen(LOOK_EVERY)?;
        }
        Ok(())
    }

    /// Gives people time to look.
    fn rest(&mut self) -> Result<(), Problem> {
        let until = Instant::now() + self.show.pause();
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.listen(left.min(REDRAW_EVERY))?;
        }
        Ok(())
    }

    /// Takes one piece of news, if any comes in time, and looks after the agents.
    fn listen(&mut self, patience: Duration) -> Result<(), Problem> {
        match self.news.recv_timeout(patience) {
            Ok(News::Interrupted) => return Err(Problem::Interrupted),
            Ok(News::Answer { request, result }) => self.world.keep_answer(request, result),
            Ok(News::FromAgent { agent, life, word }) => {
                if let Some(seen) = self.world.hear(agent, life, word, self.show.elapsed()) {
                    self.show.seen(&seen, &self.world)?;
                }
            }
            // The channel stays open: this end holds a sender too.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.show.redraw(&self.world)?;
            }
        }
        for (agent, process) in self.processes.iter_mut().enumerate() {
            if let Some(status) = process.as_mut().and_then(AgentProcess::ended) {
                return Err(Problem::Ended { agent: self.world.name(agent), status });
            }
        }
        Ok(())
    }

    fn announce(&mut self, text: &str) -> Result<(), Problem> {
        Ok(self.show.announce(text.to_owned(), &self.world)?)
    }

    fn ticked(&mut self, step: &str, began: Instant, proof: &str) -> Result<(), Problem> {
        Ok(self.show.tick(step, began.elapsed(), proof, &self.world)?)
    }
}

/// A path as one word of a shell's command line.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@,".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A step with its limit.
fn step_named(name: &'static str) -> (&'static str, Duration) {
    STEPS
        .into_iter()
        .find(|(step, _)| *step == name)
        .unwrap_or_else(|| panic!("the story has no step {name}"))
}

/// All pairs of an observer and a member.
fn pairs(
    observers: impl Iterator<Item = usize>,
    members: impl Iterator<Item = usize> + Clone,
) -> impl Iterator<Item = (usize, usize)> {
    observers.flat_map(move |observer| members.clone().map(move |member| (observer, member)))
}

/// The first accusation of a member since the mark, as a sentence.
fn accusation(world: &World, mark: usize, accused: usize) -> Option<String> {
    let name = world.name(accused);
    world.since(mark).find_map(|seen| match &seen.what {
        Happening::Member { event: EventName::MemberSuspect, member, accuser } if member == name => {
            let accuser = accuser.as_deref().unwrap_or(world.name(seen.by));
            Some(format!("{accuser} suspects {name} to have failed"))
        }
        _ => None,
    })
}

fn not_yet(world: &World, observer: usize, member: usize, wanted: Sight) -> String {
    format!(
        "{} sees {} as '{}', not as '{}'",
        world.name(observer),
        world.name(member),
        world.status(observer, member).word(),
        wanted.word()
    )
}

fn untold(world: &World, observer: usize, member: usize, event: &EventName) -> String {
    format!("{} was not told of {event} of {}", world.name(observer), world.name(member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_a_shell() {
        for (path, word) in [
            ("/usr/bin/thane", "/usr/bin/thane"),
            ("/home/me/my tools/thane", "'/home/me/my tools/thane'"),
            ("/tmp/it's", r"'/tmp/it'\''s'"),
        ] {
            assert_eq!(shell_word(Path::new(path)), word);
        }
    }
}
