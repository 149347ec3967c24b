//! The detector's state machine: alive, suspect, dead, and answering accusations against ourselves.
//!
//! Source: memberlist `state.go` (aliveNode, suspectNode, deadNode, refute). The order of the guards is the protocol; a table of
//! recorded transitions holds it in the tests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thane_wire::gossip::{Alive, Dead, Suspect, ip_bytes, ip_from_bytes};

use super::Node;
use crate::broadcast_queue::Message;
use crate::delegate::{Candidate, Veto};
use crate::event::{Cause, Event, Path};
use crate::interner::Announced;
use crate::member::{State, Status};
use crate::networks;
use crate::notice::{Layer, Level};
use crate::output::OpId;
use crate::suspicion::{Suspicion, SuspicionTerms};
use crate::table::{MEMBERS_MAX, MemberId};
use crate::timers::Timer;

/// How many members can be told of an accusation in one probe interval (see [`Node::remind`]).
pub(super) const REMINDED_MAX: usize = 1024;

impl Node {
    // ---- alive ----

    /// A member says, or is said, to be alive.
    pub(super) fn alive(&mut self, alive: &Alive<'_>, via: Path) {
        let known = self.table.find(alive.node);
        let Some(ip) = self.admissible(alive, known) else { return };
        if known == Some(self.own) {
            self.alive_about_ourselves(alive, ip, via);
            return;
        }
        let id = if let Some(id) = known {
            id
        } else {
            let port = self.port_of(alive.port);
            self.joins_meet(alive.node, via);
            let heard = Announced {
                name: alive.node,
                ip,
                port,
                meta: alive.meta.unwrap_or_default(),
                versions: alive.versions.first_chunk().copied().unwrap_or_default(),
            };
            self.table.add(&heard, self.now, &mut self.rng)
        };
        if self.has_moved(id, ip, alive.port) && !self.is_vacant(id) {
            self.conflict(id, ip, alive);
            return;
        }
        // Differs from Serf: there an older announcement from another address brings back a member that left, and one that the
        // detector has forgotten comes back by any hearsay, as a ghost.
        if alive.incarnation <= self.table[id].incarnation {
            self.remind(id, ip, alive.port);
            return;
        }
        let is_new = known.is_none() || self.table[id].state == State::Forgotten;
        if self.table[id].state == State::Forgotten {
            // Serf's layer still lists it as failed or left; for the detector it is new.
            self.table.enter_ring(id, &mut self.rng);
        }
        self.accept_alive(id, alive, ip, via);
        if is_new {
            self.newcomer(matches!(via, Path::PushPull(_)));
        }
    }

    /// Guards that do not depend on what is known: a usable address, a name, versions that fit. Gives the address.
    fn admissible(&mut self, alive: &Alive<'_>, known: Option<MemberId>) -> Option<IpAddr> {
        if self.said_goodbye && known == Some(self.own) {
            return None;
        }
        let ip = ip_from_bytes(alive.addr);
        // Differs from Serf: stricter about addresses, names, versions and the incarnation of those that are not known yet.
        let refusal = if alive.node.is_empty() {
            "it has no name"
        } else if ip.is_none() {
            "its address has neither 4 nor 16 bytes"
        } else if known.is_none() && alive.incarnation == 0 {
            "incarnation 0 announces nothing"
        } else if matches!(alive.versions.len(), 1..6) {
            // Passed on, they would be more than some members can read.
            "its protocol versions are incomplete"
        } else if alive.versions.len() >= 6 && !self.versions_fit(alive.versions)
            || alive.versions.is_empty() && self.needs_versions(known)
        {
            "its protocol versions do not fit ours"
        } else if known.is_none() && self.table.len() >= MEMBERS_MAX {
            "the membership table is full"
        } else if let Some(veto) = self.vetoed(alive, known) {
            self.refuse_member(alive.node, veto.reason());
            return None;
        } else {
            return ip;
        };
        self.refuse_member(alive.node, refusal);
        None
    }

    fn refuse_member(&mut self, name: &str, refusal: &str) {
        self.counters.members_refused += 1;
        let known = self.table.intern(name);
        self.notice(Level::Warn, Layer::Memberlist, "member_refused", Some(known), || {
            format!("refused to admit {name}: {refusal}")
        });
    }

    /// Whether an announcement must name its versions: those of a member that is known stand in for them, but a delegate judges what
    /// is announced.
    fn needs_versions(&self, known: Option<MemberId>) -> bool {
        known.is_none() || self.config.delegate.is_some() && known != Some(self.own)
    }

    /// The application's veto. (memberlist: `NotifyAlive`.) Differs from Serf: nobody is asked about ourselves.
    fn vetoed(&self, alive: &Alive<'_>, known: Option<MemberId>) -> Option<Veto> {
        let delegate = self.config.delegate.as_ref().filter(|_| known != Some(self.own))?;
        let candidate = Candidate::announced(alive, self.config.bind_port)?;
        delegate.admit_member(&candidate).err()
    }

    /// Whether a member with these (at least six) version bytes can be in one cluster with us.
    /// (memberlist: `state.go`, verifyProtocol, for one pair.)
    pub(super) fn versions_fit(&self, theirs: &[u8]) -> bool {
        let ours = self.config.version_bytes();
        let fits = |min: u8, max: u8, current: u8| min <= current && current <= max;
        theirs[0] > 0
            && fits(theirs[0], theirs[1], theirs[2])
            && fits(theirs[0], theirs[1], ours[2])
            && fits(ours[0], ours[1], theirs[2])
            && fits(theirs[3], theirs[4], theirs[5])
            && fits(theirs[3], theirs[4], ours[5])
            && fits(ours[3], ours[4], theirs[5])
    }

    pub(super) fn port_of(&self, port: u16) -> u16 {
        if port == 0 { self.config.bind_port } else { port }
    }

    fn has_moved(&self, id: MemberId, ip: IpAddr, port: u16) -> bool {
        let entry = &self.table[id];
        // Differs from Serf: the two forms of one IPv4 address are the same address.
        entry.ip.to_canonical() != ip.to_canonical() || entry.port != self.port_of(port)
    }

    /// Whether a known name may be taken over from another address.
    fn is_vacant(&self, id: MemberId) -> bool {
        let entry = &self.table[id];
        let reclaim = self.config.dead_node_reclaim_time;
        matches!(entry.state, State::Left | State::Forgotten)
            || entry.state == State::Dead
                && reclaim > Duration::ZERO
                && self.now.since(entry.state_since()) > reclaim
    }

    fn accept_alive(&mut self, id: MemberId, alive: &Alive<'_>, ip: IpAddr, via: Path) {
        self.counters.alive_accepted += 1;
        self.clear_suspicion(id);
        self.look_over(alive.node);
        let port = self.port_of(alive.port);
        let meta = alive.meta.unwrap_or_default();
        let before = self.table[id].state;
        let entry = &self.table[id];
        // Differs from Serf: there only new metadata is an update, so that its application goes on with the old versions until the
        // tags change.
        let updated =
            entry.meta != meta || alive.versions.len() >= 6 && entry.versions != alive.versions[..6];
        let versions = alive.versions.first_chunk().copied().unwrap_or(entry.versions);
        self.table.identify(id, &Announced { name: alive.node, ip, port, meta, versions });
        self.table[id].incarnation = alive.incarnation;
        self.find_route(id);
        if !self.catching_up {
            self.broadcast_alive(id, alive.versions, None);
        }
        if before != State::Alive {
            self.table.set_state(id, State::Alive, self.now);
        }
        if before == State::Suspect || self.table[id].status == Some(Status::Failed) {
            self.spread_at_once();
            self.lives(alive.node);
        }
        let cause = Cause::Announced { incarnation: alive.incarnation, via };
        match before {
            State::Dead | State::Forgotten if self.unsteady_returns(id) => self.record(id, &cause),
            State::Dead | State::Left | State::Forgotten => self.member_joined(id, cause),
            State::Suspect => {
                self.record(id, &cause);
                self.emit(id, Event::Refuted, cause.clone());
                if updated {
                    self.member_updated(id, cause);
                }
            }
            State::Alive if updated => self.member_updated(id, cause),
            State::Alive => {}
        }
    }

    /// Chooses the network over which a member is reached.
    fn find_route(&mut self, id: MemberId) {
        if self.config.networks.is_empty() || id == self.own {
            return;
        }
        let entry = &mut self.table[id];
        let found = networks::route(&self.config.networks, &entry.meta);
        if entry.reach_at(found.map(|(_name, addr)| addr)) {
            let (name, to) = (entry.name.clone(), entry.reached_at());
            let network = found.map(|(name, _addr)| name.to_owned());
            self.notice(
                Level::Info,
                Layer::Memberlist,
                "member_route",
                Some(name.clone()),
                || match network {
                    Some(network) => format!("{name} is reached at {to}, on network {network}"),
                    None => format!("{name} is reached at {to}, the address that it announces"),
                },
            );
        }
    }

    /// Queues what is now known of a live member. Address, metadata and version bytes go on exactly as they came.
    fn broadcast_alive(&mut self, id: MemberId, versions: &[u8], op: Option<OpId>) {
        let entry = &self.table[id];
        let encode = || {
            let (addr, addr_len) = ip_bytes(entry.ip);
            let alive = Alive {
                incarnation: entry.incarnation,
                node: &entry.name,
                addr: &addr[..addr_len],
                port: entry.port,
                meta: (!entry.meta.is_empty()).then_some(&entry.meta[..]),
                versions,
            };
            let mut message = Vec::with_capacity(96 + entry.meta.len());
            alive.encode(&mut message);
            message
        };
        let (name, is_usual) = (Some(&entry.name), entry.versions == *versions);
        let make = || Message::new(name, &encode());
        let ready = if is_usual { entry.identity().alive_message(entry.incarnation, make) } else { None };
        let message = ready.cloned().unwrap_or_else(|| self.shared(name, &encode()));
        self.queue_statement(message, None, op);
    }

    /// Somebody else uses our name, or repeats what we said, or claims what we never said.
    fn alive_about_ourselves(&mut self, alive: &Alive<'_>, ip: IpAddr, via: Path) {
        if self.has_moved(self.own, ip, alive.port) {
            self.conflict(self.own, ip, alive);
            return;
        }
        let own = &self.table[self.own];
        if alive.incarnation < own.incarnation {
            return;
        }
        let same = own.meta == alive.meta.unwrap_or_default() && own.versions == *alive.versions;
        if alive.incarnation == own.incarnation && same {
            return;
        }
        self.refute(alive.incarnation, "an announcement that we did not make", None, via);
    }

    /// A name that is in use is claimed from another address. (memberlist: `NotifyConflict`.)
    fn conflict(&mut self, id: MemberId, ip: IpAddr, alive: &Alive<'_>) {
        self.counters.name_conflicts += 1;
        let entry = &self.table[id];
        let (name, ours, theirs) =
            (entry.name.clone(), entry.addr(), (ip.to_canonical(), self.port_of(alive.port)));
        let level = if id == self.own { Level::Error } else { Level::Warn };
        self.notice(level, Layer::Serf, "name_conflict", Some(name.clone()), || {
            format!("{name} is claimed by {}:{} and held by {ours}; names must be unique", theirs.0, theirs.1)
        });
        if let Some(delegate) = &self.config.delegate
            && let Some(claimant) = Candidate::announced(alive, self.config.bind_port)
        {
            delegate.name_conflict(&self.table[id].view(), &claimant);
        }
        if id == self.own {
            self.start_vote(theirs.into(), alive.incarnation);
        }
    }

    /// A stale announcement of a member that we hold to be suspect, dead or left: either an echo of its earlier life, or it has
    /// started anew and does not know. Tell it directly, at the address from which it announces itself, so that it can refute. Without this a member that was
    /// restarted stays failed for those who never exchange state with it.
    fn remind(&mut self, id: MemberId, ip: IpAddr, port: u16) {
        let state = self.table[id].state;
        if state == State::Alive {
            return;
        }
        let now = self.now;
        let interval = self.config.probe_interval.max(Duration::from_secs(1));
        self.reminded.retain(|_, at| now.since(*at) < interval);
        if self.reminded.contains_key(&id) || self.reminded.len() >= REMINDED_MAX {
            return;
        }
        self.reminded.insert(id, now);
        let (name, incarnation) = (self.table[id].name.clone(), self.table[id].incarnation);
        let own_name = self.own_name();
        let mut message = Vec::new();
        if state == State::Suspect {
            Suspect { incarnation, node: &name, from: &own_name }.encode(&mut message);
        } else {
            Dead { incarnation, node: &name, from: &own_name }.encode(&mut message);
        }
        let announced = SocketAddr::new(ip.to_canonical(), self.port_of(port));
        let entry = &self.table[id];
        let to = if announced == entry.addr() { entry.reached_at() } else { announced };
        let checksum = self.checksum_for(id);
        self.send(to, checksum, &[message]);
    }

    // ---- suspect ----

    /// A member is accused. `cause` is our own probe's failure, or somebody's word.
    pub(super) fn suspect(&mut self, suspect: &Suspect<'_>, cause: Cause, via: Path) {
        if suspect.incarnation == 0 {
            // No member has it: at most a complaint, which does not count in a list.
            return;
        }
        let Some(id) = self.table.find(suspect.node) else { return };
        let entry = &self.table[id];
        if entry.state == State::Forgotten || suspect.incarnation < entry.incarnation {
            return;
        }
        if entry.suspicion().is_some() {
            self.confirm(id, suspect, &cause);
            return;
        }
        // Whoever accuses a later incarnation knows more than we do.
        if entry.state == State::Dead && suspect.incarnation == entry.incarnation {
            self.tell_of_death(id, suspect.from, via);
        }
        if self.table[id].state != State::Alive {
            return;
        }
        if id == self.own {
            self.refute(
                suspect.incarnation,
                &format!("a suspicion by {}", suspect.from),
                Some(suspect.from),
                via,
            );
            return;
        }
        self.counters.suspect_accepted += 1;
        self.gossip_suspect(id, suspect);
        self.table[id].incarnation = suspect.incarnation;
        self.table.set_state(id, State::Suspect, self.now);
        // A node that does not probe still hears accusations. Differs from Serf: there such a suspicion lasts no time at all.
        let interval = if self.config.probe_interval.is_zero() {
            Duration::from_secs(1)
        } else {
            self.config.probe_interval
        };
        let terms = SuspicionTerms::new(
            self.config.suspicion_mult,
            self.config.suspicion_max_timeout_mult,
            interval,
            self.table.known(),
        );
        let terms = if self.config.detector.lha_suspicion { terms } else { terms.fixed() };
        let serial = self.next_suspicion;
        self.next_suspicion += 1;
        let timer = self.timers.set(self.now + terms.longest(), Timer::SuspicionEnd { member: id, serial });
        let accuser = self.table.intern(suspect.from);
        self.table[id].set_suspicion(Suspicion::new(serial, accuser, terms, self.now, timer));
        self.record(id, &cause);
        self.emit(id, Event::Suspected, cause);
        self.consider_looking(id, suspect.from, via);
        self.watch_accused(id);
        self.glance_around();
    }

    /// Another accuser of a member that is suspect already: if it is news, it shortens the wait and goes on to others.
    fn confirm(&mut self, id: MemberId, suspect: &Suspect<'_>, cause: &Cause) {
        let accuser = self.table.intern(suspect.from);
        let Some(suspicion) = self.table[id].suspicion_mut() else { return };
        if !suspicion.confirm(&accuser) {
            self.judge(id);
            return;
        }
        let (ends, timer, serial) = (suspicion.ends(), suspicion.timer, suspicion.serial);
        self.timers.cancel(timer);
        let timer = self.timers.set(ends.max(self.now), Timer::SuspicionEnd { member: id, serial });
        if let Some(suspicion) = self.table[id].suspicion_mut() {
            suspicion.timer = timer;
        }
        self.record(id, cause);
        self.gossip_suspect(id, suspect);
        self.judge(id);
    }

    fn gossip_suspect(&mut self, id: MemberId, suspect: &Suspect<'_>) {
        let mut message = Vec::new();
        suspect.encode(&mut message);
        let message = self.shared(Some(&self.table[id].name), &message);
        self.queue_statement(message, None, None);
    }

    fn clear_suspicion(&mut self, id: MemberId) {
        if let Some(suspicion) = self.table[id].take_suspicion() {
            self.timers.cancel(suspicion.timer);
        }
    }

    /// A suspect did not refute in time. (memberlist: `state.go`, the timer of suspectNode.)
    pub(super) fn suspicion_ended(&mut self, id: MemberId, serial: u64) {
        // The entry may be gone or another one by now; only the suspicion that set the timer may end by it.
        let Some(suspicion) = self.table.get(id).and_then(|entry| entry.suspicion()) else { return };
        // While packets cannot leave it does not end; when they can, it is given the lost time, and its timer anew.
        if suspicion.serial != serial || self.verdict_must_wait() {
            return;
        }
        // We may be woken long after its end: its last chance begins now.
        let late = self.now.since(suspicion.ends());
        if self.accusers_are_unsteady(id) {
            self.excuse_suspect(id, late + self.last_chance());
            return;
        }
        let Some(suspicion) = self.table.get(id).and_then(|entry| entry.suspicion()) else { return };
        self.counters.suspicions_expired += 1;
        if suspicion.confirmations() < suspicion.hoped_for() {
            self.counters.suspicions_expired_unconfirmed += 1;
        }
        let cause = Cause::SuspicionExpired {
            accusers: suspicion.accusers().to_vec(),
            since: suspicion.since(),
            timeout: suspicion.total(),
        };
        let (name, incarnation) = (self.table[id].name.clone(), self.table[id].incarnation);
        let confirmations = self.table[id].suspicion().map_or(0, Suspicion::confirmations);
        self.notice(Level::Info, Layer::Memberlist, "suspicion_expired", Some(name.clone()), || {
            format!(
                "{name} did not answer its suspicion in time and is failed ({confirmations} confirmations)"
            )
        });
        let own_name = self.own_name();
        self.dead(&Dead { incarnation, node: &name, from: &own_name }, cause, Path::Local);
    }

    /// Gives every suspect more time, after a pause of ours.
    pub(super) fn excuse_suspects(&mut self, span: Duration) {
        let suspects: Vec<MemberId> =
            self.table.ring().iter().copied().filter(|id| self.table[*id].state == State::Suspect).collect();
        for id in suspects {
            let Some(suspicion) = self.table[id].suspicion() else { continue };
            self.excuse_suspect(id, span.min(self.now.since(suspicion.since())));
        }
    }

    fn excuse_suspect(&mut self, id: MemberId, span: Duration) {
        let Some(suspicion) = self.table[id].suspicion_mut() else { return };
        suspicion.excuse(span);
        let (ends, timer, serial) = (suspicion.ends(), suspicion.timer, suspicion.serial);
        self.timers.cancel(timer);
        let timer = self.timers.set(ends.max(self.now), Timer::SuspicionEnd { member: id, serial });
        if let Some(suspicion) = self.table[id].suspicion_mut() {
            suspicion.timer = timer;
        }
    }

    // ---- dead ----

    /// A member is declared dead, or says goodbye (when it is its own accuser).
    pub(super) fn dead(&mut self, dead: &Dead<'_>, cause: Cause, via: Path) {
        let Some(id) = self.table.find(dead.node) else { return };
        let entry = &self.table[id];
        if entry.state == State::Forgotten || dead.incarnation < entry.incarnation {
            return;
        }
        if matches!(entry.state, State::Dead | State::Left)
            || self.is_notice_of_unsteady(dead) && id != self.own
        {
            return;
        }
        if id == self.own {
            if !self.said_goodbye {
                self.refute(
                    dead.incarnation,
                    &format!("a death notice by {}", dead.from),
                    Some(dead.from),
                    via,
                );
            }
            return;
        }
        self.clear_suspicion(id);
        self.gossip_dead(id, dead, None);
        self.bury(id, dead, cause);
        if dead.node != dead.from {
            self.spread_at_once();
        }
    }

    /// Our own goodbye: the same steps as for anybody, and the command waits for the broadcast.
    pub(super) fn say_goodbye(&mut self, op: OpId) {
        self.said_goodbye = true;
        let name = self.own_name();
        let incarnation = self.table[self.own].incarnation;
        let dead = Dead { incarnation, node: &name, from: &name };
        self.gossip_dead(self.own, &dead, Some(op));
        self.bury(self.own, &dead, Cause::SaidGoodbye { via: Path::Local });
    }

    /// Queues a goodbye or a death notice. If we know that the member is leaving, the leave intent goes along, so that whoever hears
    /// that it is gone hears in time that it meant to go.
    ///
    /// Differs from Serf: it gossips the two apart, each so often. In a small cluster the intent may have run out before it
    /// reaches everybody, and who hears only the goodbye reports a failure.
    fn gossip_dead(&mut self, id: MemberId, dead: &Dead<'_>, op: Option<OpId>) {
        let mut message = Vec::new();
        dead.encode(&mut message);
        let escort =
            if self.table[id].status == Some(Status::Leaving) { self.leave_intent_held(id) } else { None };
        let message = self.shared(Some(&self.table[id].name), &message);
        self.queue_statement(message, escort, op);
    }

    /// Queues a statement about a member, in the place of what was to be said about it before. There is one for each member, and for
    /// each that was forgotten before all was said; so the queue keeps to the limit of members too.
    fn queue_statement(&mut self, message: Arc<Message>, escort: Option<Arc<Message>>, op: Option<OpId>) {
        self.statements.queue(message, escort, op);
        if self.statements.len() > MEMBERS_MAX {
            self.counters.broadcasts_pruned += self.statements.prune(MEMBERS_MAX) as u64;
        }
    }

    fn bury(&mut self, id: MemberId, dead: &Dead<'_>, cause: Cause) {
        self.counters.dead_accepted += 1;
        let state = if dead.node == dead.from { State::Left } else { State::Dead };
        self.table[id].incarnation = dead.incarnation;
        self.table.set_state(id, state, self.now);
        self.look_over(dead.node);
        self.member_gone(id, cause);
        self.probe_is_settled(dead.node);
    }

    // ---- ourselves ----

    /// Announces us under the next incarnation: at the start, and when our tags change.
    pub(super) fn announce_ourselves(&mut self, cause: Cause, op: Option<OpId>) {
        self.own_incarnation = self.own_incarnation.saturating_add(1);
        let own = self.own;
        let entry = &self.table[own];
        let (before, name, ip, port) = (entry.state, entry.name.clone(), entry.ip, entry.port);
        let changed = entry.meta != self.own_meta;
        let versions = self.config.version_bytes();
        self.table.identify(own, &Announced { name: &name, ip, port, meta: &self.own_meta, versions });
        self.table[own].incarnation = self.own_incarnation;
        self.broadcast_alive(own, &versions, op);
        if before == State::Alive {
            if changed {
                self.member_updated(own, cause);
            }
        } else {
            self.table.set_state(own, State::Alive, self.now);
            self.member_joined(own, cause);
        }
    }

    /// Answers a statement about ourselves that is not true, under an incarnation above it.
    fn refute(&mut self, accused: u32, what: &str, by: Option<&str>, via: Path) {
        self.counters.refutations += 1;
        let before = self.own_incarnation;
        self.own_incarnation = before.max(accused).saturating_add(1);
        if self.own_incarnation == before || accused == u32::MAX {
            // There is no number above it. It stays at the end, told loudly.
            self.notice(Level::Error, Layer::Memberlist, "incarnation_exhausted", None, || {
                format!("cannot answer {what}: incarnation {accused} is the last there is; restart under another name")
            });
        }
        self.table[self.own].incarnation = self.own_incarnation;
        self.awareness.apply(1);
        let from = match via {
            Path::Packet(addr) | Path::PushPull(addr) => addr.to_string(),
            Path::Local => "ourselves".into(),
        };
        let incarnation = self.own_incarnation;
        self.notice(Level::Warn, Layer::Memberlist, "refuted", None, || {
            format!("answering {what} (heard from {from}) with incarnation {incarnation}")
        });
        let by = by.map(|by| self.table.intern(by));
        self.record(self.own, &Cause::Refuted { by, incarnation: accused, via });
        let versions = self.table[self.own].versions;
        self.broadcast_alive(self.own, &versions, None);
        self.spread_at_once();
    }
}
