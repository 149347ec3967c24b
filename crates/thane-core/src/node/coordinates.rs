//! Network coordinates on the wire: ours goes out in the acks that we give, a peer's comes in with the ack to a direct probe.
//! Source: Serf `ping_delegate.go`.

use std::time::Duration;

use thane_wire::coordinate::Coordinate;

use super::Node;
use crate::entry::Measured;
use crate::measure::Measure;
use crate::notice::{Layer, Level};
use crate::vivaldi;

impl Node {
    /// Where this node lies in the network's space. `None` when coordinates are turned off.
    pub fn coordinate(&self) -> Option<Coordinate> {
        self.vivaldi.as_ref().map(|vivaldi| vivaldi.coordinate().clone())
    }

    /// A member's coordinate as its last ack to a probe of ours had it; our own for our own name. `None` for a member that is not
    /// known or has not been measured, and for everybody when coordinates are turned off.
    ///
    /// Two of them give the round trip between two members: [`crate::vivaldi::distance`].
    pub fn cached_coordinate(&self, name: &str) -> Option<Coordinate> {
        let id = self.table.find(name)?;
        if id == self.own {
            return self.coordinate();
        }
        self.table[id].measured().map(|measured| measured.coordinate.clone())
    }

    /// What our acks carry.
    pub(super) fn ack_payload(&self) -> Option<Vec<u8>> {
        let vivaldi = self.vivaldi.as_ref()?;
        let mut payload = Vec::new();
        vivaldi.coordinate().encode_ack(&mut payload);
        Some(payload)
    }

    /// A member has answered a direct probe, in time. An ack without a payload comes from a member that has no coordinates.
    pub(super) fn round_trip_measured(&mut self, name: &str, rtt: Duration, payload: &[u8]) {
        let Some(vivaldi) = &mut self.vivaldi else { return };
        let other = match Coordinate::decode_ack(payload) {
            Ok(Some(other)) => other,
            Ok(None) => return,
            Err(error) => {
                self.counters.coordinate_unreadable += 1;
                self.notice(Level::Warn, Layer::Serf, "coordinate_unreadable", Some(name.into()), || {
                    format!("cannot read the coordinate of {name}: {error}")
                });
                return;
            }
        };
        // A member that was erased meanwhile leaves nothing behind.
        let Some(id) = self.table.find(name).filter(|id| self.table[*id].status.is_some()) else { return };
        let (entry, rng) = (self.table.aside(id), &mut self.rng);
        let mut filter = entry.measured().map(|measured| measured.filter.clone()).unwrap_or_default();
        let before = self.measurements.is_some().then(|| vivaldi.coordinate().clone());
        match vivaldi.update(&mut filter, &other, rtt, &mut || rng.unit()) {
            Ok(after) => {
                let moved = before.and_then(|before| vivaldi::distance(&before, after));
                self.counters.coordinate_zero_rtt += u64::from(rtt.is_zero());
                entry.set_measured(Measured { coordinate: other, filter });
                if let Some(moved) = moved {
                    self.measure(Measure::CoordinateMoved, moved.as_secs_f64());
                }
            }
            Err(error) => {
                self.counters.coordinate_rejected += 1;
                self.notice(Level::Debug, Layer::Serf, "coordinate_rejected", Some(name.into()), || {
                    format!("rejected the coordinate of {name}: {error}")
                });
            }
        }
    }
}
