//! `thane completion`: scripts that let a shell complete commands and flags, made from the same definitions as the help.

use std::fmt::Write as _;

use super::{COMMANDS, Failure, Output};
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
    push(&mut script, "    case $COMP_CWORD:${COMP_WORDS[1]} in");
    push(&mut script, &format!("    1:*) words='{}' ;;", commands.join(" ")));
    for command in COMMANDS {
        let flags = (command.flags)();
        let names: Vec<String> = flags.infos().map(|flag| format!("-{}", flag.name)).collect();
        push(&mut script, &format!("    *:{}) words='{}' ;;", command.name, names.join(" ")));
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
    push(&mut script, "    case $CURRENT:$words[2] in");
    let mut arm = |pattern: &str, what: &str, words: Vec<String>| {
        push(&mut script, &format!("    {pattern}) words_here=("));
        for word in words {
            push(&mut script, &format!("        {word}"));
        }
        push(&mut script, &format!("        ); _describe {what} words_here ;;"));
    };
    let commands = COMMANDS.iter().map(|command| described(command.name, command.synopsis));
    arm("2:*", "command", commands.collect());
    for command in COMMANDS {
        let flags = (command.flags)();
        let words = flags.infos().map(|flag| described(&format!("-{}", flag.name), flag.help));
        arm(&format!("*:{}", command.name), "-o flag", words.collect());
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
        let flags = (command.flags)();
        for flag in flags.infos() {
            // -r: something must follow, be it after a space or after `=`.
            let value = if flag.is_switch { "" } else { " -r" };
            let help = quoted(flag.help);
            push(
                &mut script,
                &format!(
                    "complete -c thane -n '__fish_seen_subcommand_from {name}' -o {}{value} -d {help}",
                    flag.name
                ),
            );
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn every_command_and_flag_is_in_every_script() {
        for script in [bash(), zsh(), fish()] {
            for command in COMMANDS {
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
            let output = Command::new("bash").args(["--norc", "-c", &script]).output().ok()?;
            Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        };
        for (words, at, expected) in
            [("thane que", 1, "query"), ("thane query -qu", 2, "-quorum"), ("thane bogus -x", 2, "")]
        {
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
