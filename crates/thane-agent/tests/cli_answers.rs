//! The command line against an agent that says what this test wants: refusals, odd members, a sudden end.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use support::fake_agent::{Reply, agent, ask, member, with_members};
use support::{check_stderr, goldens, tell_compat, thane};
use thane_wire::rpc::{
    EventName, MemberEvent, QueryEvent, QueryRecord, QueryRecordKind, Record, Request, ResponseBody,
    UserEvent,
};

#[test]
fn tokens_and_addresses_are_used_as_recorded() {
    let ipv6: Vec<u8> = [0; 15].into_iter().chain([1]).collect();
    let guarded = agent("sesame", with_members(&[member("alpha", &[127, 0, 0, 1])]));
    let open = agent("", with_members(&[member("six", &ipv6)]));
    let recorded = goldens(include_str!("goldens/cli_answers.json"));
    for golden in &recorded {
        let name = &golden.name;
        let address = if name.contains("ipv6") { &open } else { &guarded };
        let mut env = golden.env.clone();
        env.insert("SERF_RPC_ADDR".to_owned(), address.clone());
        let answer = thane(&golden.argv[1..], &env);
        assert_eq!(answer.exit_code, Some(golden.exit_code), "{name}: {answer:?}");
        assert_eq!(answer.stdout, golden.stdout, "{name}");
        check_stderr(&answer, golden);
    }
    tell_compat("tokens and addresses", recorded.len(), 0);
}

#[test]
fn a_role_filter_warns_without_spoiling_json() {
    let address = agent("", with_members(&[]));
    let warning = "Deprecation warning: 'Role' has been replaced with 'Tags'\n";
    let text = ask(&address, &["members", "-role=db"]);
    assert_eq!((text.stdout, text.stderr), (format!("{warning}\n"), String::new()));
    let json = ask(&address, &["members", "-role=db", "-format=json"]);
    assert_eq!((json.stdout.as_str(), json.stderr.as_str()), ("{\n  \"members\": null\n}\n", warning));
}

#[test]
fn a_force_leave_tells_whether_the_agent_knows_the_name() {
    let address = agent("", with_members(&[member("alpha", &[127, 0, 0, 1])]));
    let quiet = ask(&address, &["force-leave", "alpha"]);
    assert_eq!((quiet.exit_code, quiet.stdout.as_str(), quiet.stderr.as_str()), (Some(0), "", ""));
    let told = ask(&address, &["force-leave", "-prune", "alhpa"]);
    assert_eq!((told.exit_code, told.stdout.as_str()), (Some(0), ""));
    assert_eq!(told.stderr, "The agent knows no member named \"alhpa\"; 'thane members' lists the names.\n");
    for (name, known) in [("alpha", true), ("alhpa", false)] {
        let answer = ask(&address, &["force-leave", "-format=json", name]);
        assert_eq!((answer.exit_code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
        let document: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(document["known"], known, "{answer:?}");
    }
}

#[test]
fn a_join_tells_how_many_addresses_were_not_reached() {
    let address = agent("", |seq, request| match request {
        Request::Join { .. } => Reply::new(seq, "", Some(ResponseBody::Join { contacted: 2 })),
        _ => Reply::new(seq, "", None),
    });
    let told = ask(&address, &["join", "a", "b", "c"]);
    assert_eq!(told.stdout, "Successfully joined cluster by contacting 2 nodes.\n");
    assert_eq!(
        (told.exit_code, told.stderr.as_str()),
        (
            Some(0),
            "Not reached: 1 of the 3 addresses. 'thane join' with one at a time says which, and why.\n"
        )
    );
    // A name may stand for several nodes.
    assert_eq!(ask(&address, &["join", "a"]).stderr, "");
    let json = ask(&address, &["join", "-format=json", "a", "b", "c"]);
    assert_eq!(
        (json.stdout.as_str(), json.stderr.as_str()),
        ("{\n  \"asked\": 3,\n  \"contacted\": 2\n}\n", "")
    );
}

#[test]
fn members_are_sorted_and_a_bar_in_a_tag_stays_where_it_is() {
    let mut odd = member("odd", &[10, 0, 0, 1]);
    odd.tags = [("q".to_owned(), " sp ".to_owned()), ("p".to_owned(), "x|y".to_owned())].into();
    let address = agent("", with_members(&[odd, member("nameless", &[1]), member("a", &[10, 0, 0, 20])]));
    let answer = ask(&address, &["members"]);
    assert_eq!(
        answer.stdout,
        "a         10.0.0.20:7946  alive  \nnameless  <nil>:7946      alive  \nodd       10.0.0.1:7946   alive  p=x|y,q= sp\n"
    );
}

#[test]
fn a_monitor_tells_events_and_the_agents_end_as_recorded() {
    let mut changed = member("alpha", &[127, 0, 0, 1]);
    changed.tags = [("k".to_owned(), "v".to_owned())].into();
    let records = [
        Record::Log("2026/11/21 19:39:05 [INFO] agent.ipc: Accepted client: 127.0.0.1:37586".to_owned()),
        Record::User(UserEvent {
            ltime: 1,
            name: "deploy".to_owned(),
            payload: Some(b"hi".to_vec()),
            coalesce: false,
        }),
        Record::Query(QueryEvent { id: 1, ltime: 13, name: "q1".to_owned(), payload: None }),
        Record::Members(MemberEvent { event: EventName::MemberUpdate, members: vec![changed], by: None }),
    ];
    let address = agent("", move |seq, request| {
        let mut reply = Reply::new(seq, "", None);
        if let Request::Monitor { log_level } = request {
            assert_eq!(log_level, "debug");
            for record in &records {
                record.encode(seq, &mut reply.bytes);
            }
            reply.hangs_up = true;
        }
        reply
    });
    let answer = ask(&address, &["monitor", "-log-level=debug"]);
    let expected = r#"2026/11/21 19:39:05 [INFO] agent.ipc: Accepted client: 127.0.0.1:37586
Event Info:
	Coalesce: false
	Event: "user"
	LTime: 1
	Name: "deploy"
	Payload: []byte{0x68, 0x69}
Event Info:
	Event: "query"
	ID: 1
	LTime: 13
	Name: "q1"
	Payload: <nil>
Event Info:
	Event: "member-update"
	Members: []interface {}{map[interface {}]interface {}{"Addr":[]uint8{0x7f, 0x0, 0x0, 0x1}, "DelegateCur":5, "DelegateMax":5, "DelegateMin":2, "Name":"alpha", "Port":0x1f0a, "ProtocolCur":2, "ProtocolMax":5, "ProtocolMin":1, "Status":"alive", "Tags":map[interface {}]interface {}{"k":"v"}}}

Remote side ended the monitor! This usually means that the
remote side has exited or crashed.
"#;
    assert_eq!(answer.stdout, expected);
    assert_eq!((answer.exit_code, answer.stderr.as_str()), (Some(1), ""));
}

#[test]
fn an_agent_that_hangs_up_is_told_of() {
    let address = agent("", |seq, _request| Reply { hangs_up: true, ..Reply::new(seq, "too late", None) });
    let silent = agent("", |_seq, _request| Reply { hangs_up: true, ..Reply::default() });
    assert_eq!(ask(&address, &["event", "deploy"]).stdout, "Error sending event: too late\n");
    let answer = ask(&silent, &["members", "-name=["]);
    assert_eq!(
        (answer.stdout.as_str(), answer.exit_code),
        ("Error retrieving members: client closed\n", Some(1))
    );
}

/// Two of three members answer a query; the third does not, and the query goes on for an hour unless it is `over`.
fn two_answers(over: bool) -> String {
    agent("", move |seq, request| {
        let mut reply = Reply::new(seq, "", None);
        if let Request::Query(query) = request {
            assert!(query.end_when_answered, "the agent is to end it when all have answered");
            let mut add = |kind, from: &str, payload: Option<&[u8]>| {
                let record =
                    QueryRecord { kind, from: from.to_owned(), payload: payload.map(<[u8]>::to_vec) };
                Record::Result(record).encode(seq, &mut reply.bytes);
            };
            for name in ["alpha", "beta"] {
                add(QueryRecordKind::Ack, name, None);
                add(QueryRecordKind::Response, name, Some(name.as_bytes()));
            }
            if over {
                add(QueryRecordKind::Done, "", None);
            }
        }
        reply
    })
}

#[test]
fn sf_509_a_query_ends_with_the_first_answers_or_with_a_quorum() {
    let going_on = two_answers(false);
    for (flags, responses) in [
        (&["-first=1"][..], 1),
        (&["-first=2"], 2),
        (&["-quorum=1"], 1),
        (&["-quorum=2"], 2),
        (&["-first=1", "-quorum=2"], 2),
    ] {
        let answer = ask(&going_on, &[&["query"], flags, &["load"]].concat());
        assert_eq!((answer.exit_code, answer.stderr.as_str()), (Some(0), ""), "{flags:?}: {answer:?}");
        assert!(answer.stdout.ends_with(&format!("Total Responses: {responses}\n")), "{flags:?}: {answer:?}");
        let answer = ask(&going_on, &[&["query", "-format=json"], flags, &["load"]].concat());
        let document: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(document["Responses"].as_object().unwrap().len(), responses, "{flags:?}");
    }
}

#[test]
fn sf_509_a_quorum_that_is_missed_is_a_failure_with_all_that_came() {
    let over = two_answers(true);
    for (flags, exit_code, stderr) in [
        (&["-first=3"][..], 0, ""),
        (&["-quorum=2"], 0, ""),
        (&["-quorum=3"], 1, "Quorum not reached: 2 of 3 members answered.\n"),
        (&["-first=1", "-quorum=3"], 1, "Quorum not reached: 2 of 3 members answered.\n"),
    ] {
        let answer = ask(&over, &[&["query"], flags, &["load"]].concat());
        assert_eq!(
            (answer.exit_code, answer.stderr.as_str()),
            (Some(exit_code), stderr),
            "{flags:?}: {answer:?}"
        );
        assert!(answer.stdout.ends_with("Total Acks: 2\nTotal Responses: 2\n"), "{flags:?}: {answer:?}");
    }
}
