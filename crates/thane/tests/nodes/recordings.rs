//! Nodes that are recorded, and their lives played again.

use std::fs;

use thane::recording::{End, Replay, Step};
use thane::{Candidate, Coalesce, Delegate, Event, Key, Query, Status, Veto};
use thane_core::{Input, Output};

use super::directory::Directory;
use super::{builder, event, eventually, in_time, start, wait_for_status};

/// Plays all of it.
fn play(file: &[u8]) -> (Vec<Step>, Replay<'_>) {
    let mut replay = Replay::new(file).unwrap();
    let mut steps = Vec::new();
    while let Some(step) = replay.step().unwrap() {
        steps.push(step);
    }
    (steps, replay)
}

#[tokio::test]
async fn a_life_that_is_played_again_decides_the_same_for_the_same_reasons() {
    let directory = Directory::new("recorded");
    let path = directory.path("trace");
    let key = Key::new(&[7; 32]).unwrap();
    let secret = |name| builder(name).key(key.clone());
    let (b, c) = (secret("b").start().await.unwrap(), secret("c").start().await.unwrap());
    let recorded = secret("a").record(&path).snapshot_path(directory.path("snapshot"));
    let (a, mut events) = recorded.start_with_events().await.unwrap();
    a.join([b.local_addr().to_string(), c.local_addr().to_string()]).await.unwrap();
    wait_for_status(&a, "c", Status::Alive).await;
    a.user_event("deploy", "7", Coalesce::No).await.unwrap();
    a.set_tags([("role".to_owned(), "web".to_owned())].into()).await.unwrap();
    let mut replies = a.query(Query::new("uptime").payload("now")).await.unwrap();
    in_time("the query ends", async { while replies.next().await.is_some() {} }).await;
    assert!(a.join(["127.0.0.1:1"]).await.is_err());
    c.shutdown().await;
    let cause = event(&mut events, "c fails", |event| match event {
        Event::Failed(change) => Some(change.cause.clone()),
        _ => None,
    })
    .await;
    a.leave().await.unwrap();
    a.shutdown().await;

    let file = fs::read(&path).unwrap();
    let (steps, replay) = play(&file);
    assert_eq!(replay.end(), Some(End::Stopped));
    assert!(replay.checked() > 30, "{} outputs", replay.checked());
    let failed = steps.iter().flat_map(|step| &step.outputs).find_map(|output| match output {
        Output::Event(thane_core::Event::Failed(change)) => Some(change.cause.clone()),
        _ => None,
    });
    assert_eq!(failed, Some(cause));
    let told = |wanted: fn(&Input) -> bool| steps.iter().filter_map(|step| step.input.as_ref()).any(wanted);
    assert!(told(|input| matches!(input, Input::Restore(_))));
    assert!(told(|input| matches!(input, Input::Query { .. })));
    assert!(told(|input| matches!(input, Input::StreamFailed { .. })));
}

#[tokio::test]
async fn a_recording_ends_at_its_limit_and_the_node_goes_on() {
    let directory = Directory::new("limited");
    let path = directory.path("trace");
    let limit = 20_000;
    let a = builder("a").record(&path).record_limit(limit).start().await.unwrap();
    let b = start("b").await;
    a.join([b.local_addr().to_string()]).await.unwrap();
    eventually("the limit is reached", async || a.io_counters().await.inputs_unrecorded > 10).await;
    wait_for_status(&b, "a", Status::Alive).await;
    a.shutdown().await;
    let file = fs::read(&path).unwrap();
    assert_eq!(play(&file).1.end(), Some(End::SizeLimit));
    assert!(file.len() as u64 > limit / 2, "{} bytes", file.len());
    assert!((file.len() as u64) < limit + 70_000, "{} bytes", file.len());
}

#[tokio::test]
async fn the_recording_before_is_kept_and_nobody_else_may_read_one() {
    let directory = Directory::new("kept");
    let path = directory.path("trace");
    for name in ["first", "second"] {
        builder(name).record(&path).start().await.unwrap().shutdown().await;
    }
    let name = |file: &str| {
        let file = fs::read(directory.path(file)).unwrap();
        Replay::new(&file).unwrap().header().config.name.clone()
    };
    assert_eq!((name("trace").as_str(), name("trace.1").as_str()), ("second", "first"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // A node that cannot start does not move it away.
    let wrong = builder("third").record(&path).configure(|config| config.retransmit_mult = 0);
    assert!(wrong.start().await.is_err());
    assert_eq!(name("trace"), "second");
}

#[derive(Debug)]
struct Nobody;

impl Delegate for Nobody {
    fn admit_member(&self, _member: &Candidate<'_>) -> Result<(), Veto> {
        Err(Veto::new("nobody"))
    }
}

#[tokio::test]
async fn what_a_delegate_decides_cannot_be_recorded() {
    let directory = Directory::new("delegate");
    let path = directory.path("trace");
    // An earlier recording stays where it is.
    fs::write(&path, thane::recording::MAGIC).unwrap();
    let refused = builder("a").record(&path).delegate(Nobody).start().await.unwrap_err().to_string();
    assert!(refused.contains("cannot be recorded"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), thane::recording::MAGIC);
}
