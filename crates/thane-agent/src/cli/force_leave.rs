//! `thane force-leave`.

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::progress::Progress;
use super::{Failure, Output, complain};
use crate::client::Client;
use crate::format::go_quote;
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "force-leave",
        "force-leave [flags] NAME",
        "Turns a failed member into one that has left, so that nobody tries to reach it any longer. A member that is\n\
         in fact alive objects and stays. A name that the agent does not know is no error, but is told.",
    )))
    .bool("prune", false, "Also forget the member at once.")
    .example("thane force-leave -prune web-3")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let [name] = parsed.args() else {
        return Err(Failure::Usage("A node name must be specified to force leave."));
    };
    let (format, prune) = (Format::of(parsed)?, parsed.bool("prune"));
    let mut client = connect(parsed)?;
    let progress = Progress::start("waiting until the members are told");
    // First, because it may be forgotten afterwards.
    let known = is_known(&mut client, name);
    client.force_leave(name, prune).map_err(|error| failed("force leaving", &error))?;
    drop(progress);
    match format {
        // Serf says nothing, so standard output gets nothing.
        Format::Text if known == Some(false) => {
            complain(&format!(
                "The agent knows no member named {}; 'thane members' lists the names.\n",
                go_quote(name)
            ));
            Ok(())
        }
        Format::Text => Ok(()),
        Format::Json => Ok(output.line(&as_json(&Document { member: name, prune, known })?)?),
    }
}

/// Whether the agent has a member of this name. `None` if it does not say; what is wrong is told by the command itself then.
fn is_known(client: &mut Client, name: &str) -> Option<bool> {
    let members = client.members().ok()?;
    Some(members.iter().any(|member| member.name == name))
}

#[derive(Serialize)]
struct Document<'a> {
    member: &'a str,
    prune: bool,
    /// Whether the agent had a member of this name; `null` if it did not say.
    known: Option<bool>,
}
