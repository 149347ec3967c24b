//! `thane completion`: scripts that let a shell complete commands and flags, made from the same definitions as the help.

use std::fmt::Write as _;

use super::{COMMANDS, Command, Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    FlagSet::new(
        "completion",
        "completion bash|zsh|fish",
        "Prints a script that completes thane's commands and flags in a shell.",
    )
    .example("source <(thane completion bash)")
    .example("thane completion zsh > \"${fpath[1]}/_thane\"")
    .example("thane completion fish > ~/.config/fish/completions/thane.fish")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let [shell] = parsed.args() else {
        return Err(Failure::Usage("The name of a shell must be specified."));
    };
    let script = match shell.as_str() {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        other => {
            return Err(Failure::mendable(
                format!("There is no completion for the shell '{other}'"),
                "Write thane completion bash, zsh or fish.",
            ));
        }
    };
    output.line(script.trim_end())?;
    Ok(())
}

/// Text between single quotes of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn push(script: &mut String, line: &str) {
    writeln!(script, "{line}").expect("invariant: writing to a String cannot fail");
}

fn bash() -> String {
    let mut script = String::new();
    let commands: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    push(&mut script, "_thane() {");
    push(&mut script, "    local words current=${COMP_WORDS[COMP_CWORD]}");
    push(&mut script, "    case $COMP_CWORD:${COMP_WORDS[1]}:${COMP_WORDS[2]} in");
    push(&mut script, &format!("    1:*) words='{}' ;;", commands.join(" ")));
    let mut arm = |pattern: &str, mut words: Vec<String>, flags: &FlagSet| {
        words.extend(flags.infos().map(|flag| format!("-{}", flag.name)));
        push(&mut script, &format!("    {pattern}) words='{}' ;;", words.join(" ")));
    };
    for command in COMMANDS {
        let (name, flags) = (command.name, (command.flags)());
        let subcommands = command.subcommands();
        if !subcommands.is_empty() {
            let names = subcommands.iter().map(|sub| sub.name.to_owned()).collect();
            arm(&format!("2:{name}:*"), names, &flags);
        }
        for sub in subcommands {
            arm(&format!("*:{name}:{}", sub.name), Vec::new(), &(sub.flags)());
        }
        arm(&format!("*:{name}:*"), Vec::new(), &flags);
    }
    push(&mut script, "    esac");
    push(&mut script, "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))");
    push(&mut script, "}");
    push(&mut script, "complete -o default -F _thane thane");
    script
}

fn zsh() -> String {
    // A colon ends the word that is described.
    let described = |word: &str, help: &str| quoted(&format!("{word}:{}", help.replace(':', r"\:")));
    let mut script = String::new();
    push(&mut script, "#compdef thane");
    push(&mut script, "_thane() {");
    push(&mut script, "    local -a words_here");
    push(&mut script, "    case $CURRENT:$words[2]:$words[3] in");
    let mut arm = |pattern: &str, what: &str, words: Vec<String>| {
        push(&mut script, &format!("    {pattern}) words_here=("));
        for word in words {
            push(&mut script, &format!("        {word}"));
        }
        push(&mut script, &format!("        ); _describe {what} words_here ;;"));
    };
    let named = |commands: &[Command]| -> Vec<String> {
        commands.iter().map(|command| described(command.name, command.synopsis)).collect()
    };
    let flagged = |command: &Command| -> Vec<String> {
        (command.flags)().infos().map(|flag| described(&format!("-{}", flag.name), flag.help)).collect()
    };
    arm("2:*", "command", named(COMMANDS));
    for command in COMMANDS {
        let name = command.name;
        let subcommands = command.subcommands();
        if !subcommands.is_empty() {
            let words = [named(subcommands), flagged(command)].concat();
            arm(&format!("3:{name}:*"), "-o command", words);
        }
        for sub in subcommands {
            arm(&format!("*:{name}:{}", sub.name), "-o flag", flagged(sub));
        }
        arm(&format!("*:{name}:*"), "-o flag", flagged(command));
    }
    push(&mut script, "    esac");
    push(&mut script, "    _files");
    push(&mut script, "}");
    push(&mut script, "compdef _thane thane");
    script
}

fn fish() -> String {
    let mut script = String::new();
    for command in COMMANDS {
        let (name, synopsis) = (command.name, quoted(command.synopsis));
        push(&mut script, &format!("complete -c thane -f -n __fish_use_subcommand -a {name} -d {synopsis}"));
        let seen = format!("__fish_seen_subcommand_from {name}");
        let subcommands = command.subcommands();
        let names: Vec<&str> = subcommands.iter().map(|sub| sub.name).collect();
        let alone = match names[..] {
            [] => seen.clone(),
            _ => format!("{seen}; and not __fish_seen_subcommand_from {}", names.join(" ")),
        };
        fish_flags(&mut script, &alone, command);
        for sub in subcommands {
            let (name, synopsis) = (sub.name, quoted(sub.synopsis));
            push(&mut script, &format!("complete -c thane -n '{alone}' -a {name} -d {synopsis}"));
            fish_flags(&mut script, &format!("{seen}; and __fish_seen_subcommand_from {name}"), sub);
        }
    }
    script
}

fn fish_flags(script: &mut String, condition: &str, command: &Command) {
    for flag in (command.flags)().infos() {
        // -r: something must follow, be it after a space or after `=`.
        let value = if flag.is_switch { "" } else { " -r" };
        let (name, help) = (flag.name, quoted(flag.help));
        push(script, &format!("complete -c thane -n '{condition}' -o {name}{value} -d {help}"));
    }
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn every_command_and_flag_is_in_every_script() {
        for script in [bash(), zsh(), fish()] {
            for command in COMMANDS.iter().chain(COMMANDS.iter().flat_map(Command::subcommands)) {
                assert!(script.contains(command.name), "{}", command.name);
                for flag in (command.flags)().infos() {
                    assert!(script.contains(flag.name), "-{} of {}", flag.name, command.name);
                }
            }
        }
    }

    #[test]
    fn bash_completes_commands_and_their_flags() {
        let complete = |words: &str, at: usize| {
            let script = format!(
                "{}\nCOMP_WORDS=({words}); COMP_CWORD={at}; _thane; echo \"${{COMPREPLY[*]}}\"",
                bash()
            );
            // A machine without bash has nobody who completes with it.
            let output = process::Command::new("bash").args(["--norc", "-c", &script]).output().ok()?;
            Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        };
        for (words, at, expected) in [
            ("thane que", 1, "query"),
            ("thane query -qu", 2, "-quorum"),
            ("thane query x -qu", 3, "-quorum"),
            ("thane bogus -x", 2, ""),
            ("thane sim swe", 2, "sweep"),
            ("thane sim sweep -bas", 3, "-base"),
        ] {
            if let Some(found) = complete(words, at) {
                assert_eq!(found, expected, "{words}");
            }
        }
    }

    #[test]
    fn quotes_in_a_help_end_nothing() {
        assert_eq!(quoted("an agent's log"), r"'an agent'\''s log'");
    }
}
