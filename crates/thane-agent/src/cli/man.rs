//! `thane man`: manual pages, made from the same definitions as the help.

use std::fmt::Write as _;

use super::{COMMANDS, Command, Failure, Output};
use crate::format::for_terminal;
use crate::goflags::{FlagSet, Parsed, nearest};

pub(super) fn flags() -> FlagSet {
    FlagSet::new(
        "man",
        "man [COMMAND]",
        "Prints the manual page of thane, or of one of its commands, for man to show.",
    )
    .example("thane man query | man -l -")
    .example("thane man > /usr/local/share/man/man1/thane.1")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let page = match parsed.args() {
        [] => overview(),
        [name] => page(None, named(COMMANDS, name)?),
        [group, name] => {
            let group = named(COMMANDS, group)?;
            page(Some(group), named(group.subcommands(), name)?)
        }
        _ => return Err(Failure::Usage("One command at most must be specified.")),
    };
    output.line(page.trim_end())?;
    Ok(())
}

/// The command of that name.
fn named(commands: &'static [Command], name: &str) -> Result<&'static Command, Failure> {
    commands.iter().find(|command| command.name == name).ok_or_else(|| {
        let meant = nearest(name, commands.iter().map(|command| command.name));
        let hint = meant.map_or_else(
            || "'thane -h' lists the commands.".to_owned(),
            |near| format!("Did you mean '{near}'?"),
        );
        Failure::mendable(format!("There is no command '{}'", for_terminal(name)), hint)
    })
}

fn push(page: &mut String, line: &str) {
    writeln!(page, "{line}").expect("invariant: writing to a String cannot fail");
}

/// Text as troff takes it for nothing but text.
fn plain(text: &str) -> String {
    let text = text.replace('\\', r"\e").replace('-', r"\-");
    // These two begin a request at the start of a line.
    if text.starts_with(['.', '\'']) { format!(r"\&{text}") } else { text }
}

fn heading(page: &mut String, title: &str, synopsis: &str) {
    push(page, &format!(".TH {} 1 \"\" \"Thane {}\"", title.to_uppercase(), env!("CARGO_PKG_VERSION")));
    push(page, ".SH NAME");
    push(page, &format!(r"{} \- {}", plain(title), plain(synopsis)));
}

fn overview() -> String {
    let mut page = String::new();
    heading(&mut page, "thane", "a cluster of agents that know each other, compatible with Serf");
    push(&mut page, ".SH SYNOPSIS\n.B thane\n.I command\n[flags] [arguments]\n.SH COMMANDS");
    for command in COMMANDS {
        push(&mut page, &format!(".TP\n.B {}\n{}", plain(command.name), plain(command.synopsis)));
    }
    push(&mut page, ".SH ENVIRONMENT");
    push(&mut page, ".TP\n.B SERF_RPC_ADDR\nThe agent to ask, where \\-rpc\\-addr does not name it.");
    push(&mut page, ".TP\n.B SERF_RPC_AUTH\nIts token, where \\-rpc\\-auth does not give it.");
    push(&mut page, ".SH EXIT STATUS");
    push(&mut page, "0 for success, 1 for any failure, 127 for a command that there is not.");
    page
}

fn page(group: Option<&Command>, command: &Command) -> String {
    let flags = (command.flags)();
    let mut page = String::new();
    let above = group.map_or("thane".to_owned(), |group| format!("thane-{}", group.name));
    heading(&mut page, &format!("{above}-{}", command.name), command.synopsis);
    push(&mut page, &format!(".SH SYNOPSIS\n.B thane {}", plain(flags.usage_line())));
    push(&mut page, ".SH DESCRIPTION");
    for line in flags.about().lines() {
        // An empty line is a paragraph for troff as well.
        push(&mut page, &plain(line.trim()));
    }
    if flags.infos().next().is_some() {
        push(&mut page, ".SH OPTIONS");
    }
    for flag in flags.infos() {
        push(&mut page, &format!(".TP\n.B {}\n{}", plain(&flag.title), plain(&flag.help_and_default)));
    }
    if !command.subcommands().is_empty() {
        push(&mut page, ".SH COMMANDS");
    }
    for sub in command.subcommands() {
        push(&mut page, &format!(".TP\n.B {}\n{}", plain(sub.name), plain(sub.synopsis)));
    }
    if !flags.examples().is_empty() {
        push(&mut page, ".SH EXAMPLES\n.nf");
        for example in flags.examples() {
            push(&mut page, &plain(example));
        }
        push(&mut page, ".fi");
    }
    push(&mut page, &format!(".SH SEE ALSO\n.BR {} (1)", plain(&above)));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_all_its_flags() {
        let alone = COMMANDS.iter().map(|command| (None, command));
        let grouped =
            COMMANDS.iter().flat_map(|group| group.subcommands().iter().map(move |sub| (Some(group), sub)));
        for (group, command) in alone.chain(grouped) {
            let above = group.map_or_else(overview, |group| page(None, group));
            assert!(above.contains(&plain(command.synopsis)), "{}", command.name);
            let text = page(group, command);
            let name = (command.flags)().command().replace(' ', "-").to_uppercase();
            assert!(text.starts_with(&format!(".TH THANE-{name} 1")), "{text}");
            for flag in (command.flags)().infos() {
                assert!(text.contains(&format!("\n.B {}\n", plain(&flag.title))), "{text}");
            }
            let is_request = |line: &&str| line.starts_with('.') || line.starts_with('\'');
            for line in text.lines().filter(is_request) {
                let request = line[1..].split(' ').next().unwrap();
                assert!(["TH", "SH", "TP", "B", "BR", "nf", "fi"].contains(&request), "{line}");
            }
        }
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(plain(r".a\-b"), r"\&.a\e\-b");
        assert_eq!(plain("'a'"), r"\&'a'");
    }
}
