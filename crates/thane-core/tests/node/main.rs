//! Tests of one whole node, and of a few together, through the interface that a driver uses.

mod support;
mod transitions;
