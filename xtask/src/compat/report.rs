//! What `cargo xtask compat` prints.

use super::{
    recordings::Set,
    topics::{Area, Topic},
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) sets: Vec<Set>,
    pub(super) areas: Vec<Area>,
    /// What is missing or wrong; none if all is well.
    pub(super) complaints: Vec<String>,
}

impl Report {
    /// For a person: a table of the recordings if they were replayed, one of the topics, the complaints, and the sums.
    pub(super) fn tables(&self, replayed: bool) -> String {
        let mut text = String::new();
        if replayed {
            let rows = self.sets.iter().map(|set| (&*set.name, [set.cases, set.same, set.listed]));
            table(&mut text, "recorded", ["cases", "same", "listed"], rows);
        }
        let rows = self.areas.iter().map(|area| {
            let count = |wanted: fn(&Topic) -> bool| area.topics.iter().filter(|topic| wanted(topic)).count();
            let (tested, different) =
                (count(|topic| !topic.tests.is_empty()), count(|topic| !topic.differs.is_empty()));
            (&*area.name, [area.topics.len(), tested, different])
        });
        table(&mut text, "topics of", ["topics", "tested", "differ"], rows);
        for complaint in &self.complaints {
            put(&mut text, format_args!("MISSING  {complaint}\n"));
        }
        if replayed {
            let Sums { cases, same, listed, .. } = self.sums();
            put(&mut text, format_args!("{} of {cases} recorded cases: ", same + listed));
            put(&mut text, format_args!("{same} the same, {listed} listed in COMPATIBILITY.md; "));
        }
        let Sums { topics, covered, .. } = self.sums();
        put(&mut text, format_args!("{covered} of {topics} topics have a test or a line\n"));
        text
    }

    /// All topics with their tests and differences.
    pub(super) fn list(&self) -> String {
        let mut text = String::new();
        for area in &self.areas {
            put(&mut text, format_args!("{}\n", area.name));
            for topic in &area.topics {
                put(&mut text, format_args!("  {}\n", topic.name));
                for test in &topic.tests {
                    put(&mut text, format_args!("      test     {test}\n"));
                }
                for words in &topic.differs {
                    put(&mut text, format_args!("      differs  {words}\n"));
                }
            }
        }
        for complaint in &self.complaints {
            put(&mut text, format_args!("MISSING  {complaint}\n"));
        }
        text
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let set = |set: &Set| json!({ "name": set.name, "cases": set.cases, "same": set.same, "listed": set.listed });
        let topic =
            |topic: &Topic| json!({ "name": topic.name, "tests": topic.tests, "differs": topic.differs });
        let area = |area: &Area| json!({ "name": area.name, "topics": area.topics.iter().map(topic).collect::<Vec<_>>() });
        let Sums { cases, same, listed, topics, covered } = self.sums();
        json!({
            "recorded": self.sets.iter().map(set).collect::<Vec<_>>(),
            "areas": self.areas.iter().map(area).collect::<Vec<_>>(),
            "missing": self.complaints,
            "sums": {
                "cases": cases, "same": same, "listed": listed, "topics": topics, "topics_covered": covered,
            },
        })
    }

    fn sums(&self) -> Sums {
        let of = |count: fn(&Set) -> usize| self.sets.iter().map(count).sum();
        let topics = || self.areas.iter().flat_map(|area| &area.topics);
        Sums {
            cases: of(|set| set.cases),
            same: of(|set| set.same),
            listed: of(|set| set.listed),
            topics: topics().count(),
            covered: topics().filter(|topic| topic.is_covered).count(),
        }
    }
}

/// The numbers of the last line.
#[derive(Debug, PartialEq, Eq)]
struct Sums {
    cases: usize,
    same: usize,
    listed: usize,
    topics: usize,
    covered: usize,
}

/// Adds a table with one column of names and three of numbers, and an empty line.
fn table<'a>(
    text: &mut String,
    title: &str,
    columns: [&str; 3],
    rows: impl Iterator<Item = (&'a str, [usize; 3])>,
) {
    let rows: Vec<_> = rows.collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).chain([title.len()]).max().unwrap_or(0);
    let [a, b, c] = columns;
    put(text, format_args!("{title:width$}  {a:>6}  {b:>6}  {c:>6}\n"));
    for (name, [a, b, c]) in rows {
        put(text, format_args!("{name:width$}  {a:>6}  {b:>6}  {c:>6}\n"));
    }
    text.push('\n');
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let set = |name: &str, cases, same| Set { name: name.to_owned(), cases, same, listed: cases - same };
        let topic = |name: &str, tests: &[&str], differs: &[&str]| Topic {
            name: name.to_owned(),
            tests: tests.iter().map(|&test| test.to_owned()).collect(),
            differs: differs.iter().map(|&words| words.to_owned()).collect(),
            is_covered: !tests.is_empty(),
        };
        Report {
            sets: vec![set("packets", 200, 190), set("start and signals", 7, 7)],
            areas: vec![Area {
                name: "gossip".to_owned(),
                topics: vec![topic("labels", &["t/lib::a"], &["words"]), topic("keys", &[], &[])],
            }],
            complaints: vec!["keys are not tested".to_owned()],
        }
    }

    #[test]
    fn the_tables_end_with_the_sums() {
        let expected = "\
recorded            cases    same  listed
packets               200     190      10
start and signals       7       7       0

topics of  topics  tested  differ
gossip          2       1       1

MISSING  keys are not tested
207 of 207 recorded cases: 197 the same, 10 listed in COMPATIBILITY.md; 1 of 2 topics have a test or a line
";
        assert_eq!(report().tables(true), expected);
        let topics = report().tables(false);
        assert!(topics.starts_with("topics of"), "{topics}");
        assert!(topics.ends_with("tested\n1 of 2 topics have a test or a line\n"), "{topics}");
    }

    #[test]
    fn the_list_has_each_topic_with_what_speaks_for_it() {
        let expected = "\
gossip
  labels
      test     t/lib::a
      differs  words
  keys
MISSING  keys are not tested
";
        assert_eq!(report().list(), expected);
    }

    #[test]
    fn programs_get_the_same_numbers() {
        let json = report().json();
        assert_eq!(
            json["sums"],
            json!({ "cases": 207, "same": 197, "listed": 10, "topics": 2, "topics_covered": 1 })
        );
        assert_eq!(json["recorded"][0]["name"], "packets");
        assert_eq!(json["areas"][0]["topics"][0]["tests"], json!(["t/lib::a"]));
        assert_eq!(json["missing"], json!(["keys are not tested"]));
    }
}
