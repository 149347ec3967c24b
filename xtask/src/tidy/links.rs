//! Links in Markdown files must lead somewhere.

use super::Source;
use std::path::{Component, Path, PathBuf};

pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| is_markdown(&source.path)) {
        for (line, target) in links_in(&source.text) {
            if let Err(reason) = follow(source, target, sources) {
                complaints.push(format!("{}:{line}: the link `{target}` {reason}", source.path.display()));
            }
        }
    }
    complaints
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The lines of prose with their numbers from 1: without blocks of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((number + 1, line))
    })
}

/// Line and target of each inline link.
fn links_in(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        for rest in line.split("](").skip(1) {
            if let Some((target, _)) = rest.split_once(')') {
                links.push((number, target));
            }
        }
    }
    links
}

/// Whether `target`, seen in `source`, leads to a file and a heading that exist. Other sites are not visited.
fn follow(source: &Source, target: &str, sources: &[Source]) -> Result<(), &'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let folder = source.path.parent().unwrap_or(Path::new(""));
    let path = if file.is_empty() { source.path.clone() } else { normal(&folder.join(file)) };
    if !path.as_os_str().is_empty() && !path.exists() && !sources.iter().any(|source| source.path == path) {
        return Err("leads to no file");
    }
    let Some(page) = sources.iter().find(|source| source.path == path && is_markdown(&path)) else {
        return Ok(());
    };
    if heading.is_empty() || headings_in(&page.text).any(|found| found == heading) {
        Ok(())
    } else {
        Err("leads to no heading of that page")
    }
}

/// `a/../b` as `b`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// The names that a page's headings have in links.
fn headings_in(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn links_lead_to_files_and_headings_or_are_complained_of() {
        let sources = [
            page(
                "docs/one.md",
                "[a](../two.md) [b](../two.md#the-second-part)\n[c](#here) [d](https://example.org)\n\
                 ```\n[not](a-link.md)\n```\n# Here\n[e](missing.md) [f](../two.md#missing)\n",
            ),
            page("two.md", "## The `second` part\n"),
        ];
        let complaints = check(&sources);
        assert_eq!(
            complaints,
            [
                "docs/one.md:7: the link `missing.md` leads to no file",
                "docs/one.md:7: the link `../two.md#missing` leads to no heading of that page",
            ]
        );
    }
}
