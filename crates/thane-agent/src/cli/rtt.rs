//! `thane rtt`.

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::{Failure, Output};
use crate::client::{Client, Coordinate};
use crate::format::go_quote;
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "rtt",
        "rtt [flags] MEMBER [MEMBER]",
        "Estimates how long a message takes from one member to another and back, from their network coordinates and\n\
         without sending anything. The second member is the agent's own unless given.",
    )))
    .example("thane rtt db1 web7")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    // Serf connects before it counts the arguments; which of two errors is told first can matter to a script.
    let mut client = connect(parsed)?;
    let (from, to) = match parsed.args() {
        [from] => (from.clone(), own_name(&mut client)?),
        [from, to] => (from.clone(), to.clone()),
        _ => return Err(Failure::Usage("One or two node names must be specified")),
    };
    let format = Format::of(parsed)?;
    let [a, b] = [coordinate(&mut client, &from)?, coordinate(&mut client, &to)?];
    let Some(nanos) = round_trip_nanos(&a, &b) else {
        return Err(Failure::mendable(
            format!("Cannot compare the coordinates of {} and {}", go_quote(&from), go_quote(&to)),
            "Their agents place members in spaces of different dimensions; give all the same version.",
        ));
    };
    let milliseconds = nanos as f64 / 1e6;
    match format {
        Format::Text => output.line(&format!("Estimated {from} <-> {to} rtt: {milliseconds:.3} ms"))?,
        Format::Json => output.line(&as_json(&Document { from: &from, to: &to, rtt_ms: milliseconds })?)?,
    }
    Ok(())
}

fn own_name(client: &mut Client) -> Result<String, Failure> {
    let stats = client.stats().map_err(|error| failed("querying agent", &error))?;
    Ok(stats.get("agent").and_then(|agent| agent.get("name")).cloned().unwrap_or_default())
}

fn coordinate(client: &mut Client, name: &str) -> Result<Coordinate, Failure> {
    let found = client.coordinate(name).map_err(|error| failed("getting coordinates", &error))?;
    found.ok_or_else(|| {
        Failure::mendable(
            format!("Could not find a coordinate for node {}", go_quote(name)),
            "A member has one when this agent has probed it once; 'thane members' lists the names.",
        )
    })
}

/// The distance between two coordinates. `None` for coordinates of different spaces. (Serf: `coordinate.go`, `DistanceTo`.)
fn round_trip_nanos(a: &Coordinate, b: &Coordinate) -> Option<i64> {
    if a.vec.len() != b.vec.len() {
        return None;
    }
    let squares: f64 = a.vec.iter().zip(&b.vec).map(|(x, y)| (x - y) * (x - y)).sum();
    let raw = squares.sqrt() + a.height + b.height;
    let adjusted = raw + a.adjustment + b.adjustment;
    let seconds = if adjusted > 0.0 { adjusted } else { raw };
    // Cut, as Go converts to its whole nanoseconds.
    Some((seconds * 1e9) as i64)
}

#[derive(Serialize)]
struct Document<'a> {
    from: &'a str,
    to: &'a str,
    rtt_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjustment_that_would_make_it_negative_is_left_out() {
        let at =
            |x: f64, adjustment: f64| Coordinate { vec: vec![x, 0.0], error: 1.0, adjustment, height: 0.001 };
        assert_eq!(round_trip_nanos(&at(0.0, 0.0), &at(0.003, 0.0005)), Some(5_500_000));
        assert_eq!(round_trip_nanos(&at(0.0, -0.1), &at(0.003, 0.0)), Some(5_000_000));
        let other = Coordinate { vec: vec![0.0; 3], ..Coordinate::default() };
        assert_eq!(round_trip_nanos(&at(0.0, 0.0), &other), None);
    }
}
