//! A study, or two of them, as one page that needs no network: charts, tables, and the command that runs it again.
//!
//! What is drawn is decided here, as plain data; a script in the page draws it at the width that there is, so that it can be read on
//! a telephone as well.

mod charts;
mod lanes;

use std::fmt::Write as _;

use serde::Serialize;

use self::charts::{Chart, charts};
use self::lanes::{Lanes, lanes};
use super::measures::{MEASURES, Measure, seconds};
use super::statistics::Summary;
use super::study::{Comparison, Study};
use super::text::{findings, verdict};

/// Rows of a table that is only there for looking things up.
const ROWS_MAX: usize = 300;

/// What the script in the page draws.
#[derive(Serialize)]
struct Drawings {
    charts: Vec<Chart>,
    lanes: Vec<Lanes>,
}

/// The page of one study. `command` runs it again.
pub fn page(study: &Study, command: &str) -> String {
    let mut body = String::new();
    heading(&mut body, "What the cluster did", &[("", study)], command);
    told(&mut body, &[("", study)]);
    tiles(&mut body, study);
    let drawings = Drawings {
        charts: charts(&[("", study)]),
        lanes: study.reports.first().and_then(lanes).into_iter().collect(),
    };
    places(&mut body, &drawings);
    measures(&mut body, study);
    tables(&mut body, &[("", study)]);
    whole("What the cluster did", &body, &drawings)
}

/// The page of a comparison. `command` runs it again.
pub fn comparison_page(both: &Comparison, command: &str) -> String {
    let studies = [("A", &both.a), ("B", &both.b)];
    let mut body = String::new();
    heading(&mut body, "Two settings, the same seeds", &studies, command);
    told(&mut body, &studies);
    compared(&mut body, both);
    let first = |study: &Study| study.reports.first().and_then(lanes);
    let lanes = studies.iter().filter_map(|(name, study)| Some(first(study)?.titled(name))).collect();
    let drawings = Drawings { charts: charts(&studies), lanes };
    places(&mut body, &drawings);
    tables(&mut body, &studies);
    whole("Two settings, the same seeds", &body, &drawings)
}

fn whole(title: &str, body: &str, drawings: &Drawings) -> String {
    // Within a script element only this could end it.
    let data = serde_json::to_string(drawings)
        .expect("invariant: numbers and words have a form in JSON")
        .replace('<', "\\u003c");
    let (style, script) = (include_str!("html/page.css"), include_str!("html/page.js"));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{style}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n<script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script>\n{script}</script>\n</body>\n</html>\n"
    )
}

/// Text as HTML takes it for nothing but text.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn push(page: &mut String, text: &str) {
    writeln!(page, "{text}").expect("invariant: writing to a String cannot fail");
}

fn heading(page: &mut String, title: &str, studies: &[(&str, &Study)], command: &str) {
    push(page, &format!("<header>\n<p class=\"brand\">thane sim</p>\n<h1>{title}</h1>"));
    for (name, study) in studies {
        let badge = badge(name);
        let setup = plain(&study.setup.title());
        let Some(first) = study.reports.first() else { continue };
        let time = seconds(first.seconds);
        let seeds = match study.reports.len() {
            1 => format!("seed {}", first.seed),
            count => format!("{count} seeds from {}", first.seed),
        };
        push(
            page,
            &format!(
                "<p class=\"setup\">{badge}<b>{} nodes</b>, {setup}<br><span>{time} of virtual time, {seeds}</span></p>",
                study.setup.nodes
            ),
        );
    }
    push(
        page,
        &format!("<p class=\"command\">To run it again: <code>{}</code></p>\n</header>", plain(command)),
    );
}

fn badge(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("<b class=\"badge {name}\">{name}</b> ") }
}

fn told(page: &mut String, studies: &[(&str, &Study)]) {
    push(page, "<ul class=\"findings\">");
    for (name, study) in studies {
        for finding in findings(study) {
            push(page, &format!("<li>{}{}</li>", badge(name), plain(&finding)));
        }
    }
    push(page, "</ul>");
}

/// The numbers that people look for first.
fn tiles(page: &mut String, study: &Study) {
    const FIRST: [&str; 10] = [
        "start_complete_since_last",
        "crash_first",
        "crash_last",
        "wrong_alarms",
        "back_after",
        "event_nearly_all",
        "event_missed",
        "agreement",
        "views_wrong_at_end",
        "packet_bytes",
    ];
    push(page, "<div class=\"tiles\">");
    for measure in FIRST.iter().filter_map(|key| MEASURES.iter().find(|measure| measure.key == *key)) {
        if let Some(summary) = study.summary(measure) {
            let (value, title) = (measure.unit.show(summary.median), plain(measure.title));
            let group = plain(measure.group);
            push(
                page,
                &format!("<div class=\"tile\"><b>{value}</b><span>{title}</span><i>{group}</i></div>"),
            );
        }
    }
    push(page, "</div>");
}

/// The places where the script draws.
fn places(page: &mut String, drawings: &Drawings) {
    for chart in &drawings.charts {
        push(
            page,
            &format!(
                "<figure>\n<h2>{}</h2>\n<p>{}</p>\n<div class=\"chart\" data-chart=\"{}\"></div>\n</figure>",
                plain(&chart.title),
                plain(&chart.about),
                chart.id
            ),
        );
    }
    for (number, lanes) in drawings.lanes.iter().enumerate() {
        let about = "One line for each member that took part, in the order in which they did; the first line is the member \
                     itself. Touch a bar to read why.";
        push(
            page,
            &format!(
                "<figure>\n<h2>{}</h2>\n<p>{about}</p>\n<div class=\"chart\" data-lanes=\"{number}\"></div>\n{}</figure>",
                plain(&lanes.title),
                entries(lanes)
            ),
        );
    }
    push(page, "<noscript><p>The charts need JavaScript; all numbers are in the tables.</p></noscript>");
}

/// The timeline in words.
fn entries(lanes: &Lanes) -> String {
    let mut rows = String::new();
    for entry in lanes.entries.iter().take(ROWS_MAX) {
        let (at, by, word, why) =
            (format!("{:.3} s", entry.at), plain(&entry.seen_by), entry.kind.word(), plain(&entry.why));
        push(
            &mut rows,
            &format!("<tr><td class=\"n\">{at}</td><td>{by}</td><td>{word}</td><td>{why}</td></tr>"),
        );
    }
    format!(
        "<details><summary>The same in words</summary>\n<div class=\"wide\"><table>\n\
         <tr><th class=\"n\">when</th><th>seen by</th><th>what</th><th>why</th></tr>\n{rows}</table></div></details>\n"
    )
}

fn measures(page: &mut String, study: &Study) {
    let several = study.reports.len() > 1;
    push(page, "<section>\n<h2>All measures</h2>\n<div class=\"wide\"><table>");
    let columns = if several {
        "<th class=\"n\">median</th><th class=\"n\">least</th><th class=\"n\">most</th>"
    } else {
        "<th class=\"n\">value</th>"
    };
    grouped(page, columns, |measure| {
        let Summary { median, min, max, .. } = study.summary(measure)?;
        let cell = |value| format!("<td class=\"n\">{}</td>", measure.unit.show(value));
        Some(if several { format!("{}{}{}", cell(median), cell(min), cell(max)) } else { cell(median) })
    });
    push(page, "</table></div>\n</section>");
}

fn compared(page: &mut String, both: &Comparison) {
    push(page, "<section>\n<h2>Measures</h2>\n<p>Medians over the seeds.</p>\n<div class=\"wide\"><table>");
    let columns = "<th class=\"n\">A</th><th class=\"n\">B</th><th>B beside A</th>";
    grouped(page, columns, |measure| {
        let (a, b) = (both.a.summary(measure), both.b.summary(measure));
        if a.is_none() && b.is_none() {
            return None;
        }
        let show = |it: Option<Summary>| it.map_or_else(|| "–".to_owned(), |it| measure.unit.show(it.median));
        let verdict = verdict(measure, both);
        let class = match () {
            () if verdict.contains("better") => " class=\"good\"",
            () if verdict.contains("worse") => " class=\"bad\"",
            () => "",
        };
        Some(format!(
            "<td class=\"n\">{}</td><td class=\"n\">{}</td><td{class}>{verdict}</td>",
            show(a),
            show(b)
        ))
    });
    push(page, "</table></div>\n</section>");
}

/// Rows of measures under the headings of their groups.
fn grouped(page: &mut String, columns: &str, cells: impl Fn(&Measure) -> Option<String>) {
    let mut group = "";
    for measure in MEASURES {
        let Some(cells) = cells(measure) else { continue };
        if measure.group != group {
            group = measure.group;
            push(page, &format!("<tr><th>{}</th>{columns}</tr>", plain(group)));
        }
        push(page, &format!("<tr><td>{}</td>{cells}</tr>", plain(measure.title)));
    }
}

/// What changed and how long it took, and each crash.
fn tables(page: &mut String, studies: &[(&str, &Study)]) {
    for (name, study) in studies {
        let Some(report) = study.reports.first() else { continue };
        let of = if study.reports.len() > 1 { format!(" (seed {})", report.seed) } else { String::new() };
        let time = |value: Option<f64>| value.map_or_else(|| "never".to_owned(), seconds);
        if !report.crashes.is_empty() {
            push(
                page,
                &format!("<section>\n<h2>{}Each crash{of}</h2>\n<div class=\"wide\"><table>", badge(name)),
            );
            push(
                page,
                "<tr><th>member</th><th class=\"n\">at</th><th class=\"n\">suspected after</th><th class=\"n\">first \
                 knows</th><th class=\"n\">half know</th><th class=\"n\">last knows</th><th class=\"n\">never \
                 told</th></tr>",
            );
            for crash in report.crashes.iter().take(ROWS_MAX) {
                let cells = [crash.suspected, crash.first, crash.half, crash.last]
                    .map(|value| format!("<td class=\"n\">{}</td>", time(value)));
                let (at, unaware) = (seconds(crash.at), crash.unaware);
                push(
                    page,
                    &format!(
                        "<tr><td>{}</td><td class=\"n\">{at}</td>{}<td class=\"n\">{unaware}</td></tr>",
                        crash.member,
                        cells.concat()
                    ),
                );
            }
            push(page, "</table></div>\n</section>");
        }
        if !report.agreements.is_empty() {
            push(
                page,
                &format!(
                    "<section>\n<h2>{}Until all lists were right{of}</h2>\n<div class=\"wide\"><table>",
                    badge(name)
                ),
            );
            push(
                page,
                "<tr><th>what changed</th><th class=\"n\">at</th><th class=\"n\">all lists right after</th></tr>",
            );
            for agreement in report.agreements.iter().take(ROWS_MAX) {
                let (what, at, after) =
                    (plain(&agreement.what), seconds(agreement.at), time(agreement.after));
                push(
                    page,
                    &format!("<tr><td>{what}</td><td class=\"n\">{at}</td><td class=\"n\">{after}</td></tr>"),
                );
            }
            push(page, "</table></div>\n</section>");
        }
    }
}
