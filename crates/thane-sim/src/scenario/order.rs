//! The end of a run: a cluster in good order, in which everything must work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thane_core::{Key, KeyCommand, Keyring, Node, QueryParams};

use super::run::Run;
use super::{Action, FailureCause, Profile};
use crate::check::Observation;
use crate::check::agreement::keyrings_agree;
use crate::world::{Crash, HostId};

/// How long a query takes answers.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often something that travels by gossip alone is repeated at most. With the local profile, where a hearer passes a message on
/// twice, one member in five misses a query; with the LAN profile one in fifty, so that one command about keys in four misses
/// somebody. (Serf's queries promise no more.)
const TRIES: usize = 30;
/// How long a command about keys may take.
const KEYS_TIMEOUT: Duration = Duration::from_secs(60);

impl Run<'_> {
    /// In a cluster in good order: user events reach everybody, tags too, queries are answered by all, keys change everywhere, a crash
    /// is found, a leave is heard.
    pub(super) fn good_order(&mut self) -> Result<(), FailureCause> {
        let running = self.running();
        let sender = running[self.rng.below(running.len())];
        let another = running[self.rng.below(running.len())];
        let before = self.sent;
        self.act(&Action::UserEvent(sender));
        self.act(&Action::UserEvent(another));
        self.act(&Action::SetTags(another));
        assert!(self.sent == before + 2, "a node in good order refused a user event");
        self.events_spread()?;
        self.agree("tags")?;
        self.all_answer(sender)?;
        let parameters = &self.scenario.parameters;
        if parameters.encrypted && parameters.profile == Profile::Lan {
            self.rotate_keys(another)?;
        }
        if running.len() >= 3 {
            let host = running[self.rng.below(running.len())];
            if self.rng.chance(0.5) {
                self.act(&Action::Leave(host));
                self.heard_leaving.insert(host);
            } else {
                self.act(&Action::Crash(host, Crash::Process));
            }
            self.agree("a member that went in good order")?;
        }
        self.still_fine()
    }

    /// Tells the checkers whether anything is wrong with the world.
    pub(super) fn calm(&mut self, is_calm: bool) {
        let now = self.world.now();
        self.world.observer_mut().calm(now, is_calm);
    }

    /// Everybody who runs acknowledges a query and answers it.
    fn all_answer(&mut self, asker: HostId) -> Result<(), FailureCause> {
        let mut missing: Option<BTreeSet<String>> = None;
        for _ in 0..TRIES {
            let now_missing = self.ask(asker)?;
            let still = missing.map_or(now_missing.clone(), |before| &before & &now_missing);
            if still.is_empty() {
                return Ok(());
            }
            missing = Some(still);
        }
        let differences = missing.into_iter().flatten().collect();
        Err(FailureCause::Disagreement { bound: QUERY_TIMEOUT * TRIES as u32, about: "a query", differences })
    }

    /// Asks once. Gives who did not acknowledge or not answer.
    fn ask(&mut self, asker: HostId) -> Result<BTreeSet<String>, FailureCause> {
        let params =
            QueryParams { request_ack: true, timeout: Some(QUERY_TIMEOUT), ..QueryParams::default() };
        let asked = self.world.command(asker, |node, now| node.query(now, "who", b"is there", &params));
        let (Some(Ok(query)), Some(process)) = (asked, self.world.process(asker)) else {
            return Ok(BTreeSet::from([format!("{} could not ask", self.world.name(asker))]));
        };
        let now = self.world.now();
        // By a clock that is slow it takes longer.
        let until = now + QUERY_TIMEOUT.mul_f64(1.25);
        self.world.observer_mut().see(now, process, Observation::Asked { query, until });
        self.run_to(until + Duration::from_secs(1))?;
        let replies = self.world.observer().replies();
        let mut missing = BTreeSet::new();
        for host in self.running() {
            let name = self.world.name(host);
            let (acked, answered) = replies.of(process, query, name);
            if !(acked && answered) {
                missing.insert(format!("{name} did not acknowledge and answer"));
            }
        }
        Ok(missing)
    }

    /// Brings a new key in everywhere and the old ones out; then all must hold the same.
    fn rotate_keys(&mut self, host: HostId) -> Result<(), FailureCause> {
        let new = Key::new(&[8; 32]).expect("invariant: 32 bytes make a key");
        let rings = self.running().into_iter().filter_map(|host| self.world.node(host)).map(Node::keyring);
        let old: BTreeSet<String> = rings.flat_map(Keyring::keys).map(Key::to_base64).collect();
        self.keys(host, &KeyCommand::Install(new.clone()))?;
        self.keys(host, &KeyCommand::Use(new.clone()))?;
        for old in old.iter().filter_map(|text| Key::from_base64(text).ok()).filter(|old| *old != new) {
            self.keys(host, &KeyCommand::Remove(old))?;
        }
        let rings: BTreeMap<String, _> = self
            .running()
            .into_iter()
            .filter_map(|host| {
                Some((self.world.name(host).to_owned(), self.world.node(host)?.keyring().clone()))
            })
            .collect();
        let differences = keyrings_agree(&rings);
        if differences.is_empty() {
            return Ok(());
        }
        Err(FailureCause::Disagreement { bound: KEYS_TIMEOUT, about: "keys", differences })
    }

    /// Gives a command about keys until all members have done it. It travels by gossip, as queries do, and may be repeated.
    fn keys(&mut self, host: HostId, command: &KeyCommand) -> Result<(), FailureCause> {
        let mut complaints = Vec::new();
        for _ in 0..TRIES {
            let given = self.world.command(host, |node, now| node.keys(now, command, 0));
            let (Some(Ok(op)), Some(process)) = (given, self.world.process(host)) else {
                complaints = vec![format!("{} refused {command:?}", self.world.name(host))];
                continue;
            };
            let deadline = self.world.now() + KEYS_TIMEOUT;
            let report = loop {
                self.run_to(self.world.now() + Duration::from_millis(500))?;
                if let Some(report) = self.key_reports.remove(&(process, op)) {
                    break Some(report);
                }
                if self.world.now() >= deadline {
                    break None;
                }
            };
            match report.map(|report| (report.result(), report)) {
                Some((Ok(()), _)) => return Ok(()),
                Some((Err(error), report)) => complaints = vec![format!("{error}: {:?}", report.messages)],
                None => complaints = vec!["the command did not end".to_owned()],
            }
        }
        Err(FailureCause::Disagreement {
            bound: KEYS_TIMEOUT,
            about: "a change of keys",
            differences: complaints,
        })
    }
}
