//! The detector's state machine against recorded behaviour of memberlist.
//!
//! Each row: some packets, an emptied queue, one message, and then the table, the gossip queued, the events and the health score of a
//! real Go node. That node had no Serf on top, so its version bytes end in zeros; they are put to Serf's here, in messages and
//! expectations alike. Our node speaks Serf protocol 2, whose metadata is the bare role, so that it can announce the same bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use thane_core::{Candidate, Config, Delegate, Member, Tags, Veto};
use thane_wire::gossip::{Message, NodeStateKind};

use super::support::{
    Bench, VERSIONS, addr_of, alive, alive_with, dead, encode_record, hex, ms, quiet, text, unhex,
};

/// What ours does instead in the rows in which we differ on purpose.
enum Instead {
    /// The message changes nothing.
    Nothing,
    /// As recorded, but for the events.
    Events(&'static [&'static str]),
    /// As recorded, but for our own incarnation.
    OwnIncarnation(u32),
}

fn deliberate(id: &str) -> Option<Instead> {
    use Instead::{Events, Nothing, OwnIncarnation};
    Some(match id {
        // Ours tells of changed versions too.
        "alive5/alive-inc6-newvsn" | "suspect5/alive-inc6-newvsn" => Events(&["update:node-b"]),
        // Ours admits nobody whose versions are unknown: no state exchange would succeed any more.
        "unknown/alive-inc6-novsn"
        // There, an older or equal announcement from another address brings back a member that is gone. Ours wants a newer one, and
        // asks for it.
        | "left5/alive-inc4-newaddr"
        | "left5/alive-inc4-newport"
        | "left5/alive-inc5-newaddr"
        | "left5/alive-inc5-newport"
        | "dead5/reclaim-elapsed/alive-inc4-newaddr"
        | "dead5/reclaim-elapsed/alive-inc5-newaddr"
        | "left5/reclaim-elapsed/alive-inc4-newaddr"
        | "left5/reclaim-elapsed/alive-inc5-newaddr" => Nothing,
        // Ours stays at the last number.
        "self1/dead-inc4294967295" => OwnIncarnation(u32::MAX),
        _ => return None,
    })
}

/// What the recorded node had installed: vetoes, and an ear for conflicts.
#[derive(Debug, Default)]
struct Installed {
    alive_veto: Option<String>,
    merge_veto: bool,
    conflicts: Mutex<Vec<String>>,
}

impl Delegate for Installed {
    fn admit_member(&self, member: &Candidate<'_>) -> Result<(), Veto> {
        if self.alive_veto.as_deref() == Some(member.name) { Err(Veto::new("no")) } else { Ok(()) }
    }

    fn admit_merge(&self, _: &[Candidate<'_>]) -> Result<(), Veto> {
        if self.merge_veto { Err(Veto::new("no")) } else { Ok(()) }
    }

    fn name_conflict(&self, holder: &Member, claimant: &Candidate<'_>) {
        let conflict = format!("{} existing={} other={}", holder.name, holder.addr, claimant.addr);
        self.conflicts.lock().unwrap().push(conflict);
    }
}

/// The delegate of a row that is about one. (Where there is one, what has no versions is ignored.)
fn installed(row: &Value) -> Option<Arc<Installed>> {
    let wanted = &row["node_config"];
    let installed = Installed {
        alive_veto: wanted["alive_veto"].as_str().map(str::to_owned),
        merge_veto: wanted["merge_veto"] == true,
        conflicts: Mutex::default(),
    };
    let is_asked = installed.alive_veto.is_some() || installed.merge_veto;
    let is_told = row["after"]["conflicts"].as_array().is_some_and(|told| !told.is_empty());
    (is_asked || is_told).then(|| Arc::new(installed))
}

/// Puts a message's version bytes to those of a node with Serf.
fn with_serf(hexed: &str) -> String {
    ["010502", "010503", "010403", "010509"].iter().fold(hexed.to_owned(), |hexed, core| {
        hexed.replace(&format!("a356736ea6{core}000000"), &format!("a356736ea6{core}020502"))
    })
}

fn set_up(row: &Value, installed: Option<&Arc<Installed>>) -> Bench {
    let wanted = &row["node_config"];
    let mut config = Config {
        delegate: installed.map(|installed| Arc::<Installed>::clone(installed) as Arc<dyn Delegate>),
        retransmit_mult: 1,
        protocol: 2,
        dead_node_reclaim_time: ms(wanted["reclaim_ms"].as_u64().unwrap_or(0)),
        ..quiet("node-a", addr_of(1))
    };
    if let Some(meta) = wanted["meta"].as_str() {
        config.tags = Tags::from([("role".to_owned(), meta.to_owned())]);
    }
    let mut bench = Bench::new(config);
    bench.take_gossip();
    if wanted["leave"] == true {
        bench.node.leave(bench.now).unwrap();
        bench.run(ms(20_000));
        assert_eq!(bench.done.len(), 1, "the leave is over");
    }
    for packet in row["before"].as_array().unwrap() {
        bench.packet(addr_of(200), &unhex(&with_serf(text(packet))));
    }
    bench.take_gossip();
    bench.run(ms(wanted["pre_wait_ms"].as_u64().unwrap_or(0)));
    bench.table();
    bench.clear();
    bench
}

fn deliver(bench: &mut Bench, row: &Value) {
    let message = unhex(&with_serf(text(&row["message_hex"])));
    if row["proto"] == "udp" {
        bench.packet(addr_of(200), &message);
    } else {
        bench.stream(&message);
    }
}

fn after(bench: &mut Bench) -> Value {
    let health = bench.node.stats().health_score;
    let events: Vec<String> = bench
        .take_events()
        .into_iter()
        // memberlist has one word for failing and leaving, and none for suspicion and its end.
        .filter(|event| !event.starts_with("suspect:") && !event.starts_with("refute:"))
        .map(|event| event.replace("failed:", "leave:").replace("left:", "leave:"))
        .collect();
    let mut queue: Vec<Value> =
        bench.take_gossip().iter().filter_map(|message| queued(&Message::decode(message).unwrap())).collect();
    queue.sort_by_key(Value::to_string);
    let state: BTreeMap<String, Value> = bench
        .table()
        .into_iter()
        .map(|(name, row)| {
            let addr = match thane_wire::gossip::ip_from_bytes(&row.addr) {
                Some(IpAddr::V4(v4)) => v4.to_string(),
                other => format!("{other:?}"),
            };
            let row = json!({
                "state": row.state, "incarnation": row.incarnation, "addr": addr, "port": row.port,
                "meta": hex(&row.meta), "vsn": hex(&row.versions),
            });
            (name, row)
        })
        .collect();
    let conflicts = bench.node.counters().name_conflicts;
    json!({ "state": state, "queue": queue, "events": events, "health": health, "conflicts": conflicts })
}

fn queued(message: &Message<'_>) -> Option<Value> {
    Some(match message {
        Message::Alive(alive) => json!({
            "type": "alive", "Incarnation": alive.incarnation, "Node": alive.node, "Addr": hex(alive.addr),
            "Port": alive.port, "Meta": hex(alive.meta.unwrap_or_default()), "Vsn": hex(alive.versions),
        }),
        Message::Suspect(suspect) => json!({
            "type": "suspect", "Incarnation": suspect.incarnation, "Node": suspect.node, "From": suspect.from,
        }),
        Message::Dead(dead) => json!({
            "type": "dead", "Incarnation": dead.incarnation, "Node": dead.node, "From": dead.from,
        }),
        Message::User(_) => return None,
        other => panic!("{other:?} is never queued"),
    })
}

/// What was recorded, in the words of [`after`]. Absent and empty metadata are one.
fn recorded(row: &Value) -> Value {
    let after = &row["after"];
    let bytes = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let serf = |versions: String| match versions.strip_suffix("000000") {
        Some(core) => format!("{core}020502"),
        None => versions,
    };
    let state: BTreeMap<&String, Value> = after["state"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, row)| {
            let versions: Vec<u8> =
                row["vsn"].as_array().into_iter().flatten().map(|byte| byte.as_u64().unwrap() as u8).collect();
            let row = json!({
                "state": row["state"], "incarnation": row["incarnation"], "addr": row["addr"], "port": row["port"],
                "meta": bytes(&row["meta_hex"]), "vsn": serf(hex(&versions)),
            });
            (name, row)
        })
        .collect();
    let mut queue: Vec<Value> = after["queue"].as_array().unwrap().clone();
    for message in &mut queue {
        if message["type"] == "alive" {
            message["Meta"] = bytes(&message["Meta"]).into();
            message["Vsn"] = serf(bytes(&message["Vsn"])).into();
        }
    }
    queue.sort_by_key(Value::to_string);
    let conflicts = after["conflicts"].as_array().unwrap().len();
    json!({
        "state": state, "queue": queue, "events": after["events"], "health": after["health"], "conflicts": conflicts,
    })
}

#[test]
fn every_recorded_transition_is_ours_too() {
    let all: Value = serde_json::from_str(include_str!("../vectors/gossip/transitions.json")).unwrap();
    let rows = all["transitions"].as_array().unwrap();
    assert_eq!(rows.len(), 281);
    let mut wrong = Vec::new();
    let mut different = 0;
    for row in rows {
        let id = text(&row["id"]);
        let installed = installed(row);
        let mut bench = set_up(row, installed.as_ref());
        let mut wanted = recorded(row);
        match deliberate(id) {
            None => {}
            Some(Instead::Nothing) => wanted = after(&mut bench),
            Some(Instead::Events(events)) => wanted["events"] = json!(events),
            Some(Instead::OwnIncarnation(incarnation)) => {
                wanted["state"]["node-a"]["incarnation"] = incarnation.into();
                wanted["queue"][0]["Incarnation"] = incarnation.into();
            }
        }
        assert_eq!(
            deliberate(id).is_some(),
            wanted != recorded(row),
            "{id} is listed as different, but is not"
        );
        different += usize::from(deliberate(id).is_some());
        deliver(&mut bench, row);
        let got = after(&mut bench);
        if let Some(installed) = installed {
            let told = json!(*installed.conflicts.lock().unwrap());
            assert_eq!(told, row["after"]["conflicts"], "{id}");
        }
        if got != wanted {
            wrong.push(format!("{id}\n   want {wanted}\n   got  {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(different, 12, "every listed difference has its row");
    let (cases, same) = (rows.len(), rows.len() - different);
    eprintln!("compat: transitions of members | cases={cases} same={same} listed={different}");
}

/// Announcements that ours does not admit, whatever the order of their bytes.
#[test]
fn versions_that_do_not_fit_are_not_admitted() {
    for versions in
        [&[][..], &[1, 5, 9, 2, 5, 5], &[1, 5, 2, 3, 4, 4], &[0, 0, 0, 0, 0, 0], &[1, 5, 2, 2, 5, 6]]
    {
        let mut bench = Bench::new(quiet("node-a", addr_of(1)));
        bench.tell(&alive_with("node-b", 1, addr_of(2), b"", versions));
        assert_eq!(bench.node.members().count(), 1, "{versions:?}");
        assert_eq!(bench.node.counters().members_refused, 1, "{versions:?}");
        let record = encode_record("node-c", 1, addr_of(3), NodeStateKind::Alive, &VERSIONS);
        bench.push(true, &[record]);
        assert!(bench.node.member("node-c").is_some(), "a join still succeeds after {versions:?}");
    }
}

/// The eight rows above in which the address changed: the member is told what is held against it, at its new address, and
/// its refutation is then news.
#[test]
fn a_member_that_comes_back_elsewhere_with_an_old_number_is_asked_to_refute() {
    let mut bench = Bench::new(quiet("node-a", addr_of(1)));
    bench.tell(&alive("node-b", 5, addr_of(2)));
    bench.tell(&dead("node-b", 5, "node-b"));
    bench.clear();
    bench.tell(&alive("node-b", 1, addr_of(22)));
    bench.tell(&alive("node-b", 1, addr_of(22)));
    let told = bench.take_messages();
    assert_eq!(told, [(addr_of(22), dead("node-b", 5, "node-a").into())], "once an interval");
    bench.tell(&alive("node-b", 6, addr_of(22)));
    assert_eq!(bench.take_events(), ["join:node-b"]);
    assert_eq!(bench.node.member("node-b").unwrap().addr, addr_of(22));
}
