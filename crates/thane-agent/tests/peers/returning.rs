//! Members that end and come back while events flow: each event is handled once.

use crate::harness::{Agent, BOTH, Cluster, Kind, Load, Profile, with_cluster};
use crate::moving::{wait_for_events, wait_for_snapshot};

/// Waits until `count` more events were sent.
fn wait_for_sent(cluster: &Cluster, load: &Load, count: usize) {
    let enough = load.sent().len() + count;
    cluster.wait_for("more events to be sent", || {
        load.check();
        let sent = load.sent().len();
        if sent >= enough { Ok(()) } else { Err(format!("{sent} of {enough}")) }
    });
}

/// A Serf agent and a Thane agent that stay, in one cluster.
fn stayers(cluster: &Cluster) -> [Agent; 2] {
    cluster.tolerate_lost_members();
    let [serf, thane] = [Kind::Serf, Kind::Thane].map(|kind| cluster.machine(kind, kind.word()).start());
    thane.join(&serf);
    cluster.wait_until_settled(&[&serf, &thane]);
    [serf, thane]
}

/// SF-448, SF-465, SF-692: with a snapshot, neither a restart nor a leave nor a crash costs an event or brings one twice, whether
/// the rejoin or the configured join is first.
#[test]
fn sf_448_465_692_live_a_member_that_ends_and_returns_under_load_handles_each_event_once() {
    with_cluster(Profile::Lan, |cluster| {
        let [serf, thane] = stayers(cluster);
        let member = cluster.machine(Kind::Thane, "member").snapshot();
        let member = member.with("rejoin_after_leave", true).with("start_join", vec![serf.gossip_address()]);
        let member = member.start();
        let all = [&serf, &thane, &member];
        cluster.wait_until_settled(&all);
        let stay = [&serf, &thane];
        let load = Load::start(&stay);
        wait_for_sent(cluster, &load, 5);

        // Told to end, it notes what it handles and handles what it notes, each event for itself.
        member.signal("TERM");
        assert_eq!(member.wait_for_end(), Some(1));
        wait_for_sent(cluster, &load, 5);
        member.start();
        cluster.wait_until_all_alive(&all);

        // While it leaves it hears only part of what is sent, and in no order.
        member.own_cli(&["leave"]).succeeded();
        assert_eq!(member.wait_for_end(), Some(0));
        wait_for_sent(cluster, &load, 5);
        member.start();
        cluster.wait_until_all_alive(&all);

        // A crash spares nothing that is not on the disk.
        load.send_through(&[]);
        wait_for_events(cluster, &all, &load.sent());
        wait_for_snapshot(cluster, &member);
        member.kill();
        load.send_through(&stay);
        wait_for_sent(cluster, &load, 5);
        member.start();
        cluster.wait_until_all_alive(&all);

        wait_for_sent(cluster, &load, 5);
        wait_for_events(cluster, &all, &load.finish());
    });
}

/// SF-692: without a snapshot nobody knows what it has handled, so nothing from before its return comes, of what it has handled
/// before and of what it has missed.
#[test]
fn sf_692_live_a_member_without_a_snapshot_returns_and_handles_nothing_again() {
    with_cluster(Profile::Lan, |cluster| {
        let [serf, thane] = stayers(cluster);
        let members = BOTH.map(|kind| {
            let seed = if kind == Kind::Thane { &serf } else { &thane };
            let machine = cluster.machine(kind, &format!("{}-member", kind.word()));
            machine.with("start_join", vec![seed.gossip_address()]).start()
        });
        let all = [&serf, &thane, &members[0], &members[1]];
        cluster.wait_until_settled(&all);
        let event = |name: &str| thane.own_cli(&["event", "-coalesce=false", name]).succeeded();
        event("first");
        wait_for_events(cluster, &all, &["first".to_owned()]);
        for member in &members {
            member.signal("TERM");
            member.wait_for_end();
        }
        event("missed");
        wait_for_events(cluster, &[&serf, &thane], &["first".to_owned(), "missed".to_owned()]);
        // What is still being passed on when a member returns is news to it.
        for stayer in [&serf, &thane] {
            cluster.wait_for("the events to be told", || {
                let info = stayer.own_cli(&["info"]).stdout;
                if info.contains("event_queue = 0") { Ok(()) } else { Err(info) }
            });
        }
        for member in &members {
            member.start();
        }
        cluster.wait_until_all_alive(&all);
        event("last");
        for member in &members {
            wait_for_events(cluster, &[member], &["first".to_owned(), "last".to_owned()]);
        }
    });
}
