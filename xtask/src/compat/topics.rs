//! The topics of Serf's behaviour, each with the tests that prove it or the words that tell of a difference.
//!
//! `xtask/compat/AREA.toml` holds one entry a topic:
//!
//! ```toml
//! [[topic]]
//! name = "State exchange: what is sent and what is refused"
//! tests = ["thane-core/node::push_pull::merges_states"]
//! differs = ["judges a state exchange as a whole"]
//! ```
//!
//! A test is named `PACKAGE/TARGET::PATH`: the target is `lib`, a program or an integration test, the path is what
//! `cargo test -- --list` prints. A difference is quoted from `COMPATIBILITY.md`, word for word.

use super::binaries::TestBinary;
use anyhow::{Context as _, Result, bail};
use std::{collections::BTreeSet, fs};
use toml::de::{DeTable, DeValue};

/// Where the topics are.
const FOLDER: &str = "xtask/compat";

/// Where the differences are.
const DIFFERENCES: &str = "COMPATIBILITY.md";

/// The topics of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area {
    /// The file's name without its ending.
    pub(super) name: String,
    pub(super) topics: Vec<Topic>,
}

/// One thing that Serf does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) tests: Vec<String>,
    pub(super) differs: Vec<String>,
    /// Whether it names at least one of the two, and all that it names exists.
    pub(super) is_covered: bool,
}

/// Reads all topics and compares them with the tests and with the differences that there are.
pub(super) fn check(binaries: &[TestBinary]) -> Result<(Vec<Area>, Vec<String>)> {
    let names =
        |binary: &TestBinary| binary.tests.iter().map(|test| binary.full_name(test)).collect::<Vec<_>>();
    let tests: BTreeSet<String> = binaries.iter().flat_map(names).collect();
    let differences =
        fs::read_to_string(DIFFERENCES).with_context(|| format!("cannot read {DIFFERENCES}"))?;
    let mut areas = read()?;
    let complaints = areas.iter_mut().flat_map(|area| complaints(area, &tests, &differences)).collect();
    Ok((areas, complaints))
}

fn read() -> Result<Vec<Area>> {
    let mut areas = Vec::new();
    for entry in fs::read_dir(FOLDER).with_context(|| format!("cannot read the folder {FOLDER}"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let what = || path.display().to_string();
        let text = fs::read_to_string(&path).with_context(what)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        areas.push(Area { name, topics: parse(&text).with_context(what)? });
    }
    areas.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(areas)
}

/// Reads one file.
fn parse(text: &str) -> Result<Vec<Topic>> {
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(error) => {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count());
            bail!("line {line}: {}", error.message());
        }
    };
    let mut topics = Vec::new();
    for (key, value) in document {
        let (key, DeValue::Array(entries)) = (key.into_inner(), value.into_inner()) else {
            bail!("there must be nothing but `[[topic]]`");
        };
        if key != "topic" {
            bail!("there is no `[[{key}]]`, only `[[topic]]`");
        }
        for entry in entries {
            let line = text[..entry.span().start].lines().count() + 1;
            let DeValue::Table(entry) = entry.into_inner() else { bail!("line {line}: no `[[topic]]`") };
            topics.push(topic(entry).with_context(|| format!("the topic of line {line}"))?);
        }
    }
    Ok(topics)
}

fn topic(entry: DeTable<'_>) -> Result<Topic> {
    let mut topic = Topic::default();
    for (key, value) in entry {
        let value = value.into_inner();
        match (key.into_inner().as_ref(), value) {
            ("name", DeValue::String(name)) => topic.name = name.into_owned(),
            ("tests", value) => topic.tests = strings(value)?,
            ("differs", value) => topic.differs = strings(value)?,
            (key, _) => bail!("`{key}` does not belong here, or is no text"),
        }
    }
    Ok(topic)
}

fn strings(value: DeValue<'_>) -> Result<Vec<String>> {
    let DeValue::Array(values) = value else { bail!("`tests` and `differs` are lists of texts") };
    let text = |value: DeValue<'_>| match value {
        DeValue::String(text) => Ok(text.into_owned()),
        other => bail!("{other:?} is no text"),
    };
    values.into_iter().map(|value| text(value.into_inner())).collect()
}

/// What is wrong with the topics of an area. Marks those with which nothing is.
fn complaints(area: &mut Area, tests: &BTreeSet<String>, differences: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut names = BTreeSet::new();
    for topic in &mut area.topics {
        let mut wrong = Vec::new();
        if topic.name.is_empty() || !names.insert(topic.name.clone()) {
            wrong.push("each topic has a name of its own".to_owned());
        }
        if topic.tests.is_empty() && topic.differs.is_empty() {
            wrong.push("has neither a test nor a difference".to_owned());
        }
        let unknown = topic.tests.iter().filter(|test| !tests.contains(*test));
        wrong.extend(unknown.map(|test| format!("there is no test `{test}`")));
        let unsaid = topic.differs.iter().filter(|words| words.is_empty() || !differences.contains(*words));
        wrong.extend(unsaid.map(|words| format!("{DIFFERENCES} does not say `{words}`")));
        topic.is_covered = wrong.is_empty();
        complaints.extend(
            wrong.iter().map(|what| format!("{FOLDER}/{}.toml: `{}`: {what}", area.name, topic.name)),
        );
    }
    if area.topics.is_empty() {
        complaints.push(format!("{FOLDER}/{}.toml: has no topics", area.name));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# Why it is so.
[[topic]]
name = "one"
tests = ["thane/lib::a"]

[[topic]]
name = "two"
differs = ["says other words"]
"#;

    #[test]
    fn topics_are_read_in_their_order() {
        let topics = parse(TEXT).unwrap();
        assert_eq!(topics.iter().map(|topic| &*topic.name).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(topics[0].tests, ["thane/lib::a"]);
        assert_eq!(topics[1].differs, ["says other words"]);
    }

    #[test]
    fn what_is_no_topic_is_refused_with_its_line() {
        for (text, words) in [
            ("[[topic]]\nname = 3\n", "line 1"),
            ("[[topic]]\nname = \"x\"\n\n[[topic]]\nproof = []\n", "line 4"),
            ("[[topic]]\ntests = \"x\"\n", "lists of texts"),
            ("[[subject]]\n", "subject"),
            ("topic = 3\n", "nothing but"),
            ("[[topic]]\nname = \n", "line 2"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn tests_and_words_that_do_not_exist_are_complained_of() {
        let tests = BTreeSet::from(["thane/lib::a".to_owned()]);
        let differences = "| Serf is silent | Thane says other words | nobody |";
        let check = |text: &str| {
            let mut area = Area { name: "area".to_owned(), topics: parse(text).unwrap() };
            let complaints = complaints(&mut area, &tests, differences);
            let covered = area.topics.iter().filter(|topic| topic.is_covered).count();
            assert_eq!(covered + complaints.len(), 2, "{complaints:?}");
            complaints
        };
        assert_eq!(check(TEXT), [""; 0]);
        assert_eq!(check(&TEXT.replace("lib::a", "lib::b")).len(), 1);
        assert_eq!(check(&TEXT.replace("other words", "some words")).len(), 1);
        assert_eq!(check(&TEXT.replace("two", "one")).len(), 1, "the name is taken");
        assert_eq!(check(&TEXT.replace("tests = [\"thane/lib::a\"]", "")).len(), 1, "nothing speaks for it");
    }
}
