//! The course with real agents on loopback.

use super::{Course, Measured, PATIENCE, REST, SETTLE, next_victims};
use crate::herd::{Herd, News, Place, What, failed, joined};
use anyhow::{Context as _, Result};
use std::{collections::BTreeMap, path::Path, thread, time::Instant};
use thane_sim::SimRng;

pub(super) fn measure(program: &Path, course: Course, logs: Option<&Path>) -> Result<Measured> {
    let mut herd = Herd::start(&vec![program; course.agents], Place::loopback(0), logs)?;
    herd.wait_for_all(PATIENCE)?;
    let (mut rng, mut measured) = (SimRng::new(course.seed, "calibrate", 0), Measured::default());
    thread::sleep(SETTLE);
    for number in 0..course.events {
        send(&mut herd, rng.below(course.agents), number, &mut measured)?;
    }
    println!("    {} events are told", course.events);
    for round in 1..=course.rounds {
        kill(&mut herd, &mut rng, &mut measured)?;
        if round % 10 == 0 || round == course.rounds {
            println!("    {} deaths are known", measured.all_know.len());
        }
    }
    Ok(measured)
}

fn send(herd: &mut Herd, sender: usize, number: usize, measured: &mut Measured) -> Result<()> {
    herd.take_news();
    let event = format!("calibrate-{number}");
    // Agents hold back what may be merged.
    herd.ask(sender, &["event", "-coalesce=false", &event])?;
    let (what, agents) = (What::Event(event), herd.len());
    herd.wait(PATIENCE, |news| times(news, &what).len() == agents)
        .context("an event does not reach everybody")?;
    let times = times(&herd.take_news(), &what);
    // The sender tells itself first.
    let since = times[&sender];
    let spans = times.values().map(|at| at.saturating_duration_since(since).as_secs_f64());
    measured.spread(spans.collect());
    thread::sleep(REST);
    Ok(())
}

fn kill(herd: &mut Herd, rng: &mut SimRng, measured: &mut Measured) -> Result<()> {
    let (victims, rest) = next_victims(rng, herd.len());
    thread::sleep(rest);
    herd.take_news();
    let since = Instant::now();
    for victim in &victims {
        herd.kill(*victim);
    }
    let others = herd.len() - victims.len();
    for victim in &victims {
        let what = failed(*victim);
        herd.wait(PATIENCE, |news| {
            let told = times(news, &what);
            told.len() - victims.iter().filter(|gone| told.contains_key(gone)).count() == others
        })
        .with_context(|| format!("not all agents tell {what:?}"))?;
    }
    let news = herd.take_news();
    for victim in &victims {
        let times = times(&news, &failed(*victim));
        let spans = times.iter().filter(|(agent, _)| !victims.contains(agent));
        let spans: Vec<f64> = spans.map(|(_, at)| at.duration_since(since).as_secs_f64()).collect();
        measured.death(&spans);
    }
    for victim in &victims {
        herd.revive(*victim)?;
    }
    for victim in &victims {
        herd.wait_for_others(*victim, &joined(*victim), PATIENCE)?;
    }
    Ok(())
}

/// When each agent first told this.
fn times(news: &[News], what: &What) -> BTreeMap<usize, Instant> {
    let mut times = BTreeMap::new();
    for it in news.iter().filter(|it| it.what == *what) {
        times.entry(it.agent).or_insert(it.at);
    }
    times
}
