//! The lines of the table and of the whole frame.

use std::time::Duration;

use super::Tick;
use crate::demo::world::{Sight, World};
use crate::format::for_terminal;
use crate::terminal::{Colours, Style};

/// Lines of the feed in a frame, so that everything fits on a small terminal.
const FEED_LINES: usize = 10;

fn painted_sight(colours: Colours, sight: Sight, text: &str) -> String {
    let style = match sight {
        Sight::Nothing => return text.to_owned(),
        Sight::Alive => Style::Good,
        Sight::Leaving | Sight::Left => Style::Gone,
        Sight::Suspect => Style::Doubtful,
        Sight::Failed => Style::Bad,
    };
    colours.paint(style, text)
}

/// The members: what they are, and how each agent sees each of them. The status is the worst that anybody sees.
pub(super) fn table_lines(world: &World, colours: Colours) -> Vec<String> {
    let names = world.numbers().map(|agent| world.name(agent).len());
    let name_width = names.max().unwrap_or(0).max("MEMBER".len());
    let title = |agent: usize| format!("{:10}", format!("{} SEES", world.name(agent)));
    let mut head =
        vec![format!("{:name_width$}", "MEMBER"), format!("{:15}", "ADDRESS"), format!("{:7}", "STATUS")];
    head.extend(world.numbers().map(title));
    head.push("TAGS".to_owned());
    let row = |member: usize| {
        let plan = world.plan(member);
        let worst = world.worst_sight(member);
        let mut cells = vec![
            colours.paint(Style::Bold, &format!("{:name_width$}", plan.name)),
            format!("{:15}", plan.gossip_address()),
            painted_sight(colours, worst, &format!("{:7}", worst.word())),
        ];
        cells.extend(world.numbers().map(|observer| {
            let sight = world.sight(observer, member);
            let width = title(observer).len();
            painted_sight(colours, sight, &format!("{:width$}", sight.word()))
        }));
        let tags: Vec<String> = plan.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        cells.push(tags.join(","));
        cells.join("  ")
    };
    let mut lines = vec![colours.paint(Style::Dim, &head.join("  "))];
    lines.extend(world.numbers().map(row));
    lines
}

/// Everything that is on the screen.
pub(super) fn frame(
    world: &World,
    headline: &str,
    ticks: &[Tick],
    elapsed: Duration,
    colours: Colours,
) -> Vec<String> {
    let clock = format!("{:5.1}s", elapsed.as_secs_f64());
    let mut lines = vec![
        format!(
            "{}  {}",
            colours.paint(Style::Bold, "Three Thane agents on this machine"),
            colours.paint(Style::Dim, &clock)
        ),
        String::new(),
    ];
    lines.extend(table_lines(world, colours).into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    lines.push(format!("  {}", progress(ticks, colours)));
    lines.push(format!("  {} {}", colours.paint(Style::Mark, ">"), colours.paint(Style::Bold, headline)));
    lines.push(String::new());
    lines.push(format!("  {}", colours.paint(Style::Dim, "EVENTS, AS EACH AGENT SEES THEM")));
    for seen in world.last_seen(FEED_LINES) {
        let at = format!("{:5.1}s", seen.at.as_secs_f64());
        // Names and payloads come over the wire, if only from ourselves.
        let sentence = seen.what.sentence().replace(['\n', '\t'], " ");
        let sentence = for_terminal(&sentence);
        lines.push(format!("  {}  {:6}  {sentence}", colours.paint(Style::Dim, &at), world.name(seen.by)));
    }
    lines
}

/// The steps: what has happened, what is awaited, what is to come.
fn progress(ticks: &[Tick], colours: Colours) -> String {
    let awaited = ticks.iter().position(|tick| tick.done.is_none());
    let step = |(index, tick): (usize, &Tick)| match tick.done {
        Some(_) => colours.paint(Style::Good, &format!("[x] {}", tick.name)),
        None if awaited == Some(index) => colours.paint(Style::Bold, &format!("[.] {}", tick.name)),
        None => colours.paint(Style::Dim, &format!("[ ] {}", tick.name)),
    };
    ticks.iter().enumerate().map(step).collect::<Vec<_>>().join(" ")
}

/// What happened, a line a step.
pub(super) fn summary_lines(ticks: &[Tick], colours: Colours) -> Vec<String> {
    let width = ticks.iter().map(|tick| tick.name.len()).max().unwrap_or(0);
    let line = |tick: &Tick| {
        let name = format!("{:width$}", tick.name);
        match &tick.done {
            Some((took, proof)) => {
                let took = format!("{:5.1}s", took.as_secs_f64());
                format!(
                    "  {} {name}  {}  {proof}",
                    colours.paint(Style::Good, "[x]"),
                    colours.paint(Style::Dim, &took)
                )
            }
            None => colours.paint(Style::Dim, &format!("  [ ] {name}")),
        }
    };
    ticks.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{EventName, Member};
    use crate::demo::ports::Ports;
    use crate::demo::watch::Word;
    use crate::demo::world::Plan;

    fn world() -> World {
        let tags: &[(&str, &str)] = &[("role", "web"), ("zone", "a")];
        let mut world = World::new(vec![
            Plan { name: "ash", tags, ports: Ports { gossip: 15001, rpc: 15002 } },
            Plan { name: "birch", tags: &[], ports: Ports { gossip: 15003, rpc: 15004 } },
        ]);
        world.begin_life(0);
        let member = |name: &str| Member { name: name.into(), status: "alive".into(), ..Member::default() };
        world.hear(0, 1, Word::Members(vec![member("ash"), member("birch")]), Duration::ZERO);
        let suspect = Word::Member {
            event: EventName::MemberSuspect,
            member: "birch".to_owned(),
            by: Some("ash".to_owned()),
        };
        world.hear(0, 1, suspect, Duration::from_millis(1250));
        world
    }

    #[test]
    fn the_frame_has_the_table_the_steps_and_the_feed() {
        let ticks = [
            Tick { name: "started", done: Some((Duration::from_secs(1), "all answer".to_owned())) },
            Tick { name: "joined", done: None },
            Tick { name: "left", done: None },
        ];
        let lines = frame(&world(), "Joining.", &ticks, Duration::from_millis(2345), Colours::None);
        let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
        assert_eq!(
            lines,
            [
                "Three Thane agents on this machine    2.3s",
                "",
                "  MEMBER  ADDRESS          STATUS   ash SEES    birch SEES  TAGS",
                "  ash     127.0.0.1:15001  alive    alive       -           role=web,zone=a",
                "  birch   127.0.0.1:15003  suspect  suspect     -",
                "",
                "  [x] started [.] joined [ ] left",
                "  > Joining.",
                "",
                "  EVENTS, AS EACH AGENT SEES THEM",
                "    1.2s  ash     birch is suspected to have failed, by ash",
            ]
        );
        assert_eq!(
            summary_lines(&ticks, Colours::None),
            ["  [x] started    1.0s  all answer", "  [ ] joined ", "  [ ] left   "]
        );
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let coloured = frame(&world(), "Joining.", &[], Duration::ZERO, Colours::Ansi).join("\n");
        assert!(coloured.contains("\x1b[1;33msuspect"));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, code)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            rest = code.split_once('m').unwrap().1;
        }
        plain.push_str(rest);
        assert_eq!(plain, frame(&world(), "Joining.", &[], Duration::ZERO, Colours::None).join("\n"));
    }
}
