//! What `thane sim` measures, held against what is known.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroUsize;

use thane_sim::lab::{
    self, Comparison, Crash, EntryKind, KEYS, MEASURES, Report, Setup, Study, html, study, text,
};

fn run(setup: &str, seed: u64) -> Report {
    lab::run(&Setup::parse(setup).unwrap(), seed, &mut |_| true).unwrap()
}

#[test]
fn where_nothing_happens_nothing_is_measured() {
    let report = run("nodes=20, duration=30s", 1);
    assert_eq!((report.alarms.wrong, report.alarms.right, report.views_wrong_at_end), (0, 0, 0));
    assert_eq!(report.alarms.suspicions_of_the_living, 0);
    assert!(report.crashes.is_empty() && report.agreements.is_empty() && report.timeline.is_none());
    assert_eq!((report.lies, &report.broken_rule), (None, &None));
    assert_eq!(report.view_sizes, 1);
    assert!(
        report
            .samples
            .iter()
            .all(|sample| sample.up == 20 && sample.differing == 0 && sample.wrong_entries == 0)
    );
    // A probe a second and its answer, and the answer to somebody's: two packets of each, and nothing to gossip.
    assert!((1.9..2.6).contains(&report.traffic.packets), "{:?}", report.traffic);
    // One exchange in about 30 s, and each has two ends.
    assert!(report.traffic.stream_bytes > 0.0 && report.traffic.busiest_bytes >= report.traffic.packet_bytes);
    let sent: u64 = report.samples.iter().map(|sample| sample.packets).sum();
    let rate = sent as f64 / 20.0 / report.seconds;
    assert!((rate - report.traffic.packets).abs() < 0.1, "{rate} beside {:?}", report.traffic);
}

#[test]
fn every_live_member_knows_of_a_crash_and_the_times_are_in_order() {
    let report = run("nodes=30, loss=2%, fault=crash 3 at 5s, watch=1, duration=60s", 2);
    assert_eq!(report.crashes.len(), 3);
    for crash in &report.crashes {
        // Those that crashed with it know nothing any more.
        assert_eq!((crash.aware, crash.unaware), (27, 0), "{crash:?}");
        let times = [crash.suspected, crash.first, crash.half, crash.last].map(Option::unwrap);
        assert!(times.is_sorted() && times[0] > 0.0 && times[3] < 55.0, "{crash:?}");
        assert!((crash.at - 5.0).abs() < 0.2, "{crash:?}");
    }
    assert_eq!(report.alarms.right, 81);
    assert_eq!((report.alarms.wrong, report.views_wrong_at_end), (0, 0));
    let [agreement] = &report.agreements[..] else { panic!("{:?}", report.agreements) };
    let slowest = report.crashes.iter().filter_map(|crash| crash.last).fold(0.0, f64::max);
    assert!((agreement.after.unwrap() - slowest).abs() < 0.2, "{agreement:?} beside {slowest}");
    let most = report.samples.iter().map(|sample| (sample.differing, sample.wrong_entries)).max().unwrap();
    assert_eq!(most, (27, 81), "for a while everybody lists three who are not there");
}

#[test]
fn the_timeline_of_a_crash_says_who_accused_and_who_confirmed() {
    let report = run("nodes=30, fault=crash node-7 at 5s, watch=node-7, duration=40s", 3);
    let timeline = report.timeline.unwrap();
    assert_eq!(timeline.member, "node-7");
    let count = |kind: EntryKind| timeline.entries.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((count(EntryKind::Down), count(EntryKind::Failed), count(EntryKind::Back)), (1, 29, 0));
    assert!(count(EntryKind::Suspected) >= 20 && count(EntryKind::Confirmed) > 0);
    let first = timeline.entries.iter().find(|entry| entry.kind == EntryKind::Suspected).unwrap();
    assert!(first.why.contains("its own probe got no answer"), "{first:?}");
    assert!(timeline.entries.iter().is_sorted_by(|a, b| a.at <= b.at));
}

#[test]
fn a_partition_is_no_false_alarm_and_heals() {
    let report = run("nodes=12, fault=partition 4 at 5s for 40s, duration=3m", 4);
    // Each of the eight declares the four failed, and each of the four the eight.
    assert_eq!(report.alarms.cut_off, 64, "{:?}", report.alarms);
    assert_eq!(report.alarms.wrong, 0, "{:?}", report.alarms);
    let end = report.agreements.iter().find(|it| it.what == "end of partition 4").unwrap();
    assert!(end.after.is_some_and(|after| after > 0.0), "{end:?}");
    assert_eq!(report.views_wrong_at_end, 0);
    let [mark] = &report.faults[..] else { panic!("{:?}", report.faults) };
    assert!((mark.until - mark.from - 40.0).abs() < 1e-6, "{mark:?}");
}

#[test]
fn who_is_declared_failed_while_it_stands_still_was_not_wronged() {
    let report = run("nodes=12, fault=pause 1 at 5s for 40s, duration=90s", 5);
    assert_eq!((report.alarms.paused, report.alarms.wrong), (11, 0), "{:?}", report.alarms);
    let back = report.timeline.unwrap();
    assert_eq!(back.entries.iter().filter(|entry| entry.kind == EntryKind::Back).count(), 11);
}

#[test]
fn false_alarms_are_found_where_they_must_be() {
    // More than half of all is lost, nobody is asked for help, and a suspicion is soon over.
    let report = run(
        "nodes=12, loss=60%, probe_interval=500ms, suspicion_mult=1, suspicion_max_timeout_mult=1, tcp_pings=false, \
         indirect_checks=0, detector=swim, duration=20s",
        6,
    );
    assert!(report.alarms.wrong > 50, "{:?}", report.alarms);
    assert_eq!(report.alarms.wrong, report.alarms.wrong_at_healthy);
    assert!(report.alarms.back_after_ms_median.is_some());
    let counted: u64 = report.samples.iter().map(|sample| sample.wrong_alarms).sum();
    assert_eq!(counted, report.alarms.wrong);
}

#[test]
fn events_queries_churn_and_restarts_are_followed() {
    let report = run("nodes=20, events=2, queries=0.5, tag_updates=0.5, duration=30s", 7);
    assert!((50..75).contains(&report.events.len()), "{}", report.events.len());
    // The last ones may be under way still.
    for event in report.events.iter().filter(|event| event.at < 25.0) {
        assert_eq!((event.members, event.reached), (20, 20), "{event:?}");
        assert!(event.delays[0] < 0.001 && event.half <= event.nearly_all && event.nearly_all <= event.all);
    }
    assert!(report.queries.asked > 10 && report.queries.acks + 20 >= report.queries.acks_expected);

    let report = run("nodes=10, fault=rolling-restart all at 5s for 3s every 6s, duration=90s", 8);
    assert_eq!((report.alarms.wrong, report.views_wrong_at_end), (0, 0), "{:?}", report.alarms);
    assert!(report.agreements.iter().any(|it| it.what == "return of members"));
    let report = run("nodes=20, churn=0.5, away=5s, duration=60s", 9);
    assert!(report.crashes.len() > 8 && report.samples.iter().any(|sample| sample.up < 20));
}

#[test]
fn a_cluster_that_starts_is_followed_from_the_first_member_on() {
    for (setup, starts) in [
        ("bootstrap, nodes=40", 0.5..1.1),
        ("nodes=10, start=one-by-one, start_every=1s, end=agreed, duration=60s", 9.0..9.1),
    ] {
        let report = run(setup, 10);
        let start = report.start.unwrap();
        let (last, complete) = (start.last.unwrap(), start.complete.unwrap());
        // The last member cannot know all others at the very moment when it starts.
        assert!(starts.contains(&last) && last < complete && complete < 60.0, "{setup}: {start:?}");
        assert!(report.formed_before.is_none() && report.view_sizes > 1 && report.views_wrong_at_end == 0);
        assert!(report.seconds < 60.0, "{setup}: it ends when all agree");
    }
    let report = run("nodes=10, fault=join 5 at 5s, duration=30s", 11);
    assert_eq!((report.samples.last().unwrap().up, report.views_wrong_at_end), (15, 0));
}

#[test]
fn members_may_differ_in_their_settings() {
    let setup = Setup::parse("nodes=20, other_share=50%, other.detector=serf, fault=crash 2 at 5s").unwrap();
    assert_ne!(setup.config.detector, setup.other.as_ref().unwrap().config.detector);
    let report = lab::run(&setup, 12, &mut |_| true).unwrap();
    assert!(report.crashes.iter().all(|crash| crash.unaware == 0));
}

#[test]
fn the_same_seed_gives_the_same_run_on_any_number_of_threads() {
    let setup = Setup::parse("nodes=15, loss=5%, events=1, fault=crash 2 at 5s, duration=30s").unwrap();
    let several =
        |threads| study(&setup, &[1, 2, 3], NonZeroUsize::new(threads).unwrap(), &|_, _| true).unwrap();
    let (one, three) = (several(1), several(3));
    assert_eq!(one.reports, three.reports);
    assert_eq!(one.seeds(), [1, 2, 3]);
    assert_ne!(one.reports[0].trace, one.reports[1].trace);
    // The command that runs it again makes the same setup.
    assert_eq!(setup.arguments(), "-duration 30s -set events=1 -loss 5% -nodes 15 -fault 'crash 2 at 5s'");
}

#[test]
fn a_run_that_is_stopped_tells_what_was_measured_so_far() {
    let setup = Setup::parse("nodes=10, duration=60s").unwrap();
    let mut looks = 0;
    let report = lab::run(&setup, 1, &mut |progress| {
        looks += u32::from(!progress.is_forming);
        looks < 50
    });
    let report = report.unwrap();
    assert!(report.interrupted && report.seconds > 1.0 && report.seconds < 10.0, "{}", report.seconds);
}

#[test]
fn setups_are_refused_with_the_reason() {
    for (setup, what) in [
        ("nodse=3", "there is no key 'nodse'; did you mean 'nodes'?"),
        ("nodes=0", "nodes: \"0\" is no whole number from 1 to"),
        ("nodes=3, fault=crash 5 at 10s", "hits 5 of 3 nodes"),
        ("nodes=3, fault=crash node-9 at 10s", "hits a node that is not there"),
        ("loss=2", "loss: \"2\" is no share"),
        ("probe_timeout=5s", "probe_timeout is 5s, but it must not be longer than probe_interval"),
        ("other.nodes=3", "there is no setting of a member 'nodes'"),
        ("other.detector=serf", "other_share=50%"),
        ("fault=crash 1 at 90s, duration=60s", "begins after the end"),
        ("duration=60d", "no span of time"),
        ("duration=10000h", "at most 31 days"),
        ("zone_latency=5ms", "there are no zones"),
        ("matrix=there.csv", "the file there.csv cannot be read: no files are read here"),
        ("detector=magic", "'magic' is no detector"),
        ("nothing", "there is no scenario 'nothing'"),
        ("crash, what", "'what' is no setting"),
        ("watch=node-500", "watch names a member that is not there"),
        ("start_every=1s", "start=one-by-one"),
        ("latency=10ms..30ms, jitter=5ms", "a distribution already"),
        ("zones=3, matrix=azure", "give one of them"),
        ("reordering_delay=1s", "nothing without reordering"),
        ("events=1001", "at most 1000"),
        ("nodes=12, fault=partition 12 at 10s", "splits all 12 nodes off from nobody"),
        ("fault=partition 100% at 10s", "splits all 100 nodes off"),
        ("fault=crash 0% at 10s", "'0%' names nobody"),
        ("fault=disk-full 1 at 10s", "set snapshots=true"),
        ("clock_drift=60%", "half is the most"),
        ("fault=byzantine forged of 1 without key", "set encrypted=true"),
    ] {
        let wrong = Setup::parse(setup).expect_err(setup).to_string();
        assert!(wrong.contains(what), "{setup}: {wrong}");
    }
}

#[test]
fn it_does_not_matter_in_which_order_things_are_said() {
    for (one, other) in [
        ("fault=crash 150 at 10s, nodes=200", "nodes=200, fault=crash 150 at 10s"),
        ("zone_latency=5ms, zones=2", "zones=2, zone_latency=5ms"),
        ("start_every=2s, start=one-by-one", "start=one-by-one, start_every=2s"),
        ("probe_timeout=2s, probe_interval=5s", "probe_interval=5s, probe_timeout=2s"),
        ("jitter=5ms, latency=1ms", "latency=1ms, jitter=5ms"),
        ("fault=crash 1 at 2m, duration=3m", "duration=3m, fault=crash 1 at 2m"),
    ] {
        let [one, other] =
            [one, other].map(|text| Setup::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}")));
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }
    // The scenario's own faults are more than there are members, until others are said.
    assert_eq!(Setup::parse("crash, nodes=3, fault=crash 1 at 5s").unwrap().faults.len(), 1);
    let file = "faults = [\"crash 150 at 10s\"]\n[cluster]\nnodes = 200\n";
    let setup = Setup::default().with_toml(file).unwrap();
    assert_eq!((setup.complete(), setup.nodes), (Ok(()), 200));
    // Who gives a matrix means it in place of the scenario's zones.
    let placed = Setup::parse("wan, matrix=azure").unwrap();
    assert!(matches!(placed.topology, thane_sim::Topology::Matrix { .. }));
}

#[test]
fn a_member_that_returns_joins_whoever_is_there() {
    for start in ["start=together", "start=one-by-one, start_every=200ms"] {
        let report = run(
            &format!("nodes=6, {start}, fault=rolling-restart all at 20s for 3s every 5s, duration=2m"),
            13,
        );
        assert_eq!((report.samples.last().unwrap().up, report.views_wrong_at_end), (6, 0), "{start}");
        // The first one, too, has found the others at once, not only when they looked for it.
        let returns = report.agreements.iter().filter(|it| it.what == "return of members");
        for it in returns {
            assert!(it.after.is_some_and(|after| after < 8.0), "{start}: {it:?}");
        }
    }
}

#[test]
fn news_of_those_that_were_cut_off_is_late_and_not_wrong() {
    // For so long that the others declare it failed about when it is over: some before, some after.
    for fault in ["mute", "deaf"] {
        let alarms = (50..80).step_by(3).map(|tenths| {
            let millis = tenths * 100;
            let setup =
                format!("nodes=30, detector=serf, fault={fault} node-5 at 5s for {millis}ms, duration=30s");
            let alarms = run(&setup, 14).alarms;
            assert_eq!(alarms.wrong_at_healthy, 0, "{setup}: {alarms:?}");
            (alarms.cut_off, alarms.outdated)
        });
        let (before, after) = alarms.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        assert!(before > 0 && after > 0, "{fault}: {before} declared it failed before, {after} after");
    }
    // Of one that was cut off nothing follows for the others: a false alarm about those is one.
    let lossy = "nodes=12, probe_interval=500ms, suspicion_mult=1, suspicion_max_timeout_mult=1, tcp_pings=false, \
                 indirect_checks=0, detector=swim, loss=60%, duration=30s";
    let report = run(&format!("{lossy}, fault=mute node-12 at 1s for 1s"), 6);
    assert!(report.alarms.wrong > 50, "{:?}", report.alarms);
}

#[test]
fn a_run_ends_when_all_agree_and_nothing_is_wrong_any_more() {
    for (setup, at_least, at_most) in [
        ("fault=crash 1 at 2s", 2.0, 30.0),
        ("fault=pause 1 at 2s for 1s every 40s", 90.0, 90.0),
        ("fault=pause 1 at 2s for 20s", 22.0, 60.0),
        ("fault=loss 10% of 1 at 2s", 90.0, 90.0),
        ("fault=delay 1ms of 1 at 2s for 30s", 32.0, 33.0),
    ] {
        let report = run(&format!("nodes=8, end=agreed, duration=90s, {setup}"), 15);
        let seconds = report.seconds;
        assert!((at_least - 1e-6..=at_most + 1e-6).contains(&seconds), "{setup}: {seconds} s");
    }
}

#[test]
fn slow_and_blocked_members_are_suspected_and_are_not_wronged() {
    for (fault, of_it) in [("slow 700ms of node-3 at 2s for 40s", true), ("block node-3 at 2s for 30s", true)]
    {
        let report = run(&format!("nodes=12, detector=swim, fault={fault}, duration=90s"), 17);
        assert_eq!(report.alarms.impaired > 0, of_it, "{fault}: {:?}", report.alarms);
        assert_eq!(report.alarms.wrong_at_healthy, 0, "{fault}: {:?}", report.alarms);
        assert_eq!(report.views_wrong_at_end, 0, "{fault}: it is taken back");
    }
    let fast = run("nodes=12, detector=swim, fault=slow 1ms of node-3 at 2s for 40s, duration=60s", 17);
    assert_eq!((fast.alarms.impaired, fast.alarms.wrong), (0, 0), "{:?}", fast.alarms);
}

#[test]
fn who_has_the_key_is_believed_for_a_while_and_who_has_not_is_refused() {
    let lied = |without: &str| {
        let report = run(
            &format!(
                "nodes=12, encrypted=true, rules=true, end=agreed, duration=10m, \
                 fault=byzantine malformed+replayed+forged of 1{without} at 5s for 40s every 50ms"
            ),
            20,
        );
        // Whatever was believed, it is over once the liar is gone, and no rule is broken that liars cannot break.
        assert_eq!((&report.broken_rule, report.views_wrong_at_end), (&None, 0), "{without}");
        assert!(report.seconds > 45.0 && report.seconds < 500.0, "{without}: {} s", report.seconds);
        let [mark] = &report.faults[..] else { panic!("{:?}", report.faults) };
        assert!((mark.until - mark.from - 40.0).abs() < 1e-6, "{mark:?}");
        assert_eq!(mark.what, format!("byzantine malformed+replayed+forged of 1{without}"));
        (report.lies.unwrap(), report.alarms)
    };
    let (lies, alarms) = lied("");
    assert!((600..=1000).contains(&lies.sent) && lies.refused > 100, "{lies:?}");
    assert!(lies.false_names > 0 && lies.false_events > 50, "{lies:?}");
    assert!(alarms.wrong > 10 && alarms.suspicions_of_the_living > 50, "{alarms:?}");
    let (lies, alarms) = lied(" without key");
    assert!((600..=1000).contains(&lies.sent) && lies.refused > 100, "{lies:?}");
    assert_eq!((lies.false_names, lies.false_events, lies.stopped), (0, 0, 0), "{lies:?}");
    assert_eq!((alarms.wrong, alarms.suspicions_of_the_living), (0, 0), "{alarms:?}");
}

#[test]
fn liars_take_no_number_of_a_member() {
    let setup = "nodes=6, fault=byzantine replayed of 2 at 2s for 5s, fault=join 3 at 10s, \
                 fault=crash node-9 at 15s, duration=40s";
    let report = run(setup, 22);
    assert_eq!(report.crashes.iter().map(|it| &*it.member).collect::<Vec<_>>(), ["node-9"]);
    assert_eq!((report.samples.last().unwrap().up, report.views_wrong_at_end), (8, 0));
    assert_eq!(report, run(setup, 22), "the same seed gives the same lies");
}

#[test]
fn no_scenario_of_the_gallery_breaks_a_rule() {
    for named in lab::GALLERY {
        let report = run(&format!("{}, nodes=16, rules=true", named.name), 23);
        assert_eq!(report.broken_rule, None, "{}", named.name);
    }
}

#[test]
fn a_member_with_a_snapshot_finds_the_others_by_itself_unless_its_disk_was_full() {
    let back = |faults: &str| {
        let report = run(&format!("nodes=8, snapshots=true, {faults}, duration=2m"), 18);
        assert_eq!(report.views_wrong_at_end, 0, "{faults}");
        report.agreements.iter().find(|it| it.what == "return of members").unwrap().after.unwrap()
    };
    let at_once = back("fault=crash node-3 at 60s for 20s");
    assert!(at_once < 3.0, "{at_once} s");
    // Nothing was on the disk: somebody has to tell it whom to join.
    let later = back("fault=join 1 at 5s, fault=disk-full node-9 at 5s, fault=crash node-9 at 60s for 20s");
    assert!(later > 4.0, "{later} s");
}

#[test]
fn clocks_that_go_wrong_show_in_what_a_member_does() {
    let packets = |setup: &str| run(&format!("nodes=10, duration=5m, {setup}"), 19).traffic;
    let (right, wrong) = (packets("loss=0"), packets("clock_drift=50%"));
    let spread = |it: lab::Traffic| it.busiest_bytes / (it.packet_bytes + it.stream_bytes);
    // Who is fast sends more than the others.
    assert!(spread(right) < 1.1 && spread(wrong) > 1.1, "{right:?} {wrong:?}");
}

#[test]
fn user_events_are_sent_to_the_end_at_the_rate_that_was_asked_for() {
    let report = run("nodes=2, events=400, event_bytes=0, duration=8s", 16);
    // Spreads are kept of the first two thousand only; the bytes tell of the others.
    assert_eq!(report.events.len(), 2000);
    let samples = &report.samples;
    let bytes = |from: f64, to: f64| -> u64 {
        samples.iter().filter(|it| it.at > from && it.at <= to).map(|it| it.packet_bytes).sum()
    };
    let (early, late) = (bytes(1.0, 3.0) as f64, bytes(6.0, 8.0) as f64);
    assert!(late > 0.8 * early, "{early} bytes at first, {late} in the end");
}

#[test]
fn members_that_were_never_told_are_among_those_who_should_know() {
    let measure = |key: &str| MEASURES.iter().find(|measure| measure.key == key).unwrap();
    // Ten see the crash of the eleventh; ten who are cut off from it do not.
    let crash = Crash {
        member: "node-21".to_owned(),
        at: 1.0,
        silent: false,
        suspected: Some(1.0),
        first: Some(2.0),
        half: Some(11.0),
        last: None,
        aware: 10,
        unaware: 10,
        delays: (2..12_u8).map(f32::from).collect(),
    };
    let mut report = run("nodes=2, duration=1s", 1);
    report.crashes = vec![crash.clone()];
    let of = |key: &str, report: &Report| (measure(key).of)(report);
    assert_eq!((of("crash_half", &report), of("crash_last", &report)), (Some(11.0), None));
    assert_eq!((of("crash_known_p90", &report), of("crash_slowest", &report)), (None, Some(11.0)));
    // A second one of which all knew makes no difference to the last of the first; a third does to the median.
    let known = Crash { unaware: 0, aware: 10, last: Some(11.0), ..crash.clone() };
    report.crashes = vec![crash, known.clone(), known];
    assert_eq!((of("crash_last", &report), of("crash_known_p90", &report)), (Some(11.0), None));
    report.crashes[0].unaware = 1;
    assert_eq!((of("crash_known_p90", &report), of("crash_unaware", &report)), (Some(11.0), Some(1.0)));
}

#[test]
fn better_in_every_run_needs_every_run() {
    let setup = Setup::parse("nodes=2, duration=1s").unwrap();
    let study = |lasts: &[Option<f64>]| {
        let reports = lasts.iter().map(|last| {
            let mut report = run("nodes=2, duration=1s", 1);
            report.queries.last_ack_median = *last;
            report
        });
        Study { setup: setup.clone(), reports: reports.collect() }
    };
    let row = |a: &[Option<f64>], b: &[Option<f64>]| {
        let shown = text::comparison(&Comparison { a: study(a), b: study(b) });
        shown.lines().find(|line| line.contains("last acknowledgement")).unwrap().to_owned()
    };
    assert!(row(&[Some(2.0), Some(3.0)], &[Some(1.0), Some(1.5)]).ends_with("better in every run"));
    let some = row(&[Some(2.0), Some(3.0)], &[Some(1.0), None, Some(1.5)]);
    assert!(!some.contains("every run"), "{some}");
}

#[test]
fn a_file_says_the_same_as_keys_and_values() {
    let file = "scenario = \"crash\"\nfaults = [\"pause 2 at 5s for 3s\", \"loss 50% of 2 at 9s\"]\n\n[cluster]\nnodes = 30\n\n\
                [network]\nloss = 0.02\nlatency = \"normal 5ms 1ms\"\n\n[settings]\nsuspicion_mult = 6\ncompression = false\n\n\
                [other]\ndetector = \"swim\"\n";
    let wrong = Setup::default().with_toml(file).unwrap().complete().unwrap_err().to_string();
    assert!(wrong.contains("other_share"), "{wrong}");
    let file = file.replace("nodes = 30", "nodes = 30\nother_share = \"10%\"");
    let read = |path: &str| {
        if path == "a.csv" { Ok("0,10\n10,0\n".to_owned()) } else { Err("it is not there".to_owned()) }
    };
    assert!(Setup::reading(read).with("matrix", "a.csv").is_ok());
    assert!(
        Setup::reading(read)
            .with("matrix", "b.csv")
            .is_err_and(|wrong| wrong.to_string().contains("it is not there"))
    );
    let from_file = Setup::default().with_toml(&file).unwrap();
    let parsed = Setup::parse(
        "crash, fault=pause 2 at 5s for 3s, nodes=30, fault=loss 50% of 2 at 9s, loss=0.02, latency=normal 5ms 1ms, \
         suspicion_mult=6, compression=false, other.detector=swim, other_share=10%",
    )
    .unwrap();
    assert_eq!(from_file.arguments(), parsed.arguments());
    assert_eq!(from_file.faults.len(), 2, "those of the scenario are replaced");
    for (file, what) in [
        ("nodes = 3\nloss = 5\n", "line 2: loss"),
        ("[network]\nnodes = 3\n", "line 2: 'nodes' belongs into the table 'cluster'"),
        ("[netwrok]\nloss = 0.1\n", "there is no table 'netwrok'"),
        ("\n\nnodes = [3\n", "line 3"),
        ("nodes = 1979-05-27\n", "line 1: nodes is of a kind"),
        ("gossip_intervall = \"1s\"\n", "did you mean 'gossip_interval'"),
    ] {
        let wrong = Setup::default().with_toml(file).expect_err(file).to_string();
        assert!(wrong.contains(what), "{file}: {wrong}");
    }
}

#[test]
fn every_key_takes_some_value_and_comes_back_in_the_arguments() {
    let value = |name: &str| match name {
        "profile" => "wan",
        "start" => "one-by-one",
        "end" => "agreed",
        "latency" => "1ms..2ms",
        "loss_bursts" => "1s every 20s",
        "bandwidth" => "10MB/s",
        "matrix" => "azure",
        "watch" => "node-2",
        "detector" => "swim",
        "loss" | "clock_drift" | "duplication" | "reordering" | "stream_breaks" | "other_share" => "1%",
        "compression" | "coordinates" | "tcp_pings" | "snapshots" | "encrypted" | "rules" => "false",
        "probe_timeout" => "10ms",
        "mtu" | "udp_buffer_size" => "1000",
        name if [
            "interval", "timeout", "time", "delay", "latency", "every", "away", "duration", "jitter",
        ]
        .iter()
        .any(|end| name.ends_with(end)) =>
        {
            "3s"
        }
        _ => "3",
    };
    for key in KEYS {
        let needs = match key.name {
            "start_every" => "start=one-by-one, ",
            "zone_latency" => "zones=2, ",
            "jitter" => "latency=1ms, ",
            "reordering_delay" => "reordering=1%, ",
            _ => "",
        };
        let setup = Setup::parse(&format!("{needs}{}={}", key.name, value(key.name)));
        let setup = setup.unwrap_or_else(|wrong| panic!("{}: {wrong}", key.name));
        assert!(setup.arguments().contains(key.name), "{}: {}", key.name, setup.arguments());
    }
}

#[test]
fn the_page_needs_nothing_from_outside_and_has_what_was_measured() {
    let setup =
        Setup::parse("nodes=10, events=1, detector=serf, fault=power-loss 1 at 2s, duration=25s").unwrap();
    let of = |setup: &Setup| study(setup, &[1, 2], NonZeroUsize::MIN, &|_, _| true).unwrap();
    let one = of(&setup);
    let both = Comparison { a: one.clone(), b: of(&setup.clone().with("suspicion_mult", "2").unwrap()) };
    for page in [html::page(&one, "thane sim <again>"), html::comparison_page(&both, "thane sim <again>")] {
        for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "//cdn"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("thane sim &lt;again&gt;") && !page.contains("<again>"));
        let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let ids: Vec<&str> =
            data["charts"].as_array().unwrap().iter().filter_map(|it| it["id"].as_str()).collect();
        for id in ["detection", "spread", "views", "traffic"] {
            assert!(ids.contains(&id) && page.contains(&format!("data-chart=\"{id}\"")), "{id} of {ids:?}");
        }
        assert!(!data["lanes"][0]["lanes"].as_array().unwrap().is_empty());
        for tag in ["div", "table", "section", "figure", "details", "ul"] {
            let (open, close) =
                (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
            // The script has some of them in its texts, in pairs too.
            assert_eq!(open, close, "{tag}");
        }
    }
    // Half as patient, and so faster: the comparison says so.
    let table = text::comparison(&both);
    let row = table.lines().find(|line| line.contains("first member knows after")).unwrap();
    assert!(row.contains("  -"), "{table}");
    assert!(text::table(&one).lines().all(|line| line.chars().count() <= 84), "{}", text::table(&one));
}
