//! `thane force-leave`.

use super::connection::{connect, failed, with_connection};
use super::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_connection(FlagSet::new(
        "force-leave",
        "force-leave [flags] NAME",
        "Turns a failed member into one that has left, so that nobody tries to reach it any longer. A member that is\n\
         in fact alive objects and stays. A name that nobody knows is no error.",
    ))
    .bool("prune", false, "Also forget the member at once.")
    .example("thane force-leave -prune web-3")
}

pub(super) fn run(parsed: &Parsed, _output: &mut Output) -> Result<(), Failure> {
    let [name] = parsed.args() else {
        return Err(Failure::Usage("A node name must be specified to force leave."));
    };
    connect(parsed)?.force_leave(name, parsed.bool("prune")).map_err(|error| failed("force leaving", &error))
}
