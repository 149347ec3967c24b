use std::fs;

use super::*;
use crate::agent::test_directory::TestDirectory;

fn parsed(arguments: &[String]) -> Parsed {
    add_flags(FlagSet::new("agent", "agent", "")).parse(arguments).unwrap()
}

/// Reads these files, each in a directory of its own name, with `-config-file` for each of `order`.
fn layered(files: &[(&str, &str)], order: &[&str], flags: &[&str]) -> Result<Layer, String> {
    let directory = TestDirectory::new("config");
    for (name, text) in files {
        let path = directory.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut arguments: Vec<String> = flags.iter().copied().map(String::from).collect();
    for (number, name) in order.iter().enumerate() {
        // Both flags mean the same.
        let flag = if number % 2 == 0 { "config-file" } else { "config-dir" };
        arguments.push(format!("-{flag}={}", directory.path(name).display()));
    }
    let root = format!("{}/", directory.path("").display()).replace("//", "/");
    read(&parsed(&arguments)).map_err(|reason| reason.replace(&root, ""))
}

#[test]
fn flags_override_files_and_files_override_what_came_before() {
    let config = layered(
        &[
            ("a.json", r#"{"node_name": "a", "tags": {"k": "a", "only": "a"}, "start_join": ["1"], "profile": "wan"}"#),
            ("b.json", r#"{"node_name": "b", "tags": {"k": "b"}, "start_join": ["2"], "replay_on_join": true}"#),
        ],
        &["a.json", "b.json"],
        &["-tag=k=flag", "-join=3", "-replay=false", "-profile=", "-protocol=-1"],
    )
    .unwrap();
    assert_eq!(config.text("node_name"), Some("b"));
    assert_eq!(config.map("tags"), [("k".into(), "flag".into()), ("only".into(), "a".into())].into());
    assert_eq!(config.list("start_join"), ["1", "2", "3"]);
    assert!(config.bool("replay_on_join"), "what is on stays on");
    assert_eq!((config.text("profile"), config.int("protocol")), (Some("wan"), 0));
}

#[test]
fn directories_are_read_by_name_in_the_order_of_bytes_and_not_deeper() {
    let files = [
        ("d/a.json", r#"{"node_name": "a"}"#),
        ("d/B.json", r#"{"node_name": "B", "tags": {"upper": "1"}}"#),
        ("d/b.json", r#"{"node_name": "b"}"#),
        ("d/c.conf", r#"{"node_name": "c"}"#),
        ("d/.hidden.json", r#"{"tags": {"hidden": "read"}}"#),
        ("d/sub/x.json", r#"{"node_name": "sub"}"#),
        ("d/x.json/no.json", r#"{"node_name": "directory"}"#),
        ("d/bb.toml", "tags.toml = \"yes\"\n"),
        ("z.json", r#"{"node_name": "z"}"#),
    ];
    let config = layered(&files, &["d", "z.json"], &[]).unwrap();
    assert_eq!(config.text("node_name"), Some("z"));
    assert_eq!(config.map("tags").into_keys().collect::<Vec<_>>(), ["hidden", "toml", "upper"]);
    let config = layered(&files, &["z.json", "d"], &[]).unwrap();
    assert_eq!(config.text("node_name"), Some("b"));
}

#[test]
fn toml_has_the_same_keys_and_types() {
    let toml = "node_name = \"t\"\nprotocol = 4\nretry_interval = \"1m\"\nstart_join = [\"a\", \"b\"]\n\
                enable_compression = false\n[tags]\nrole = \"web\"\n[mdns]\ndisable_ipv6 = true\n";
    let json = r#"{"node_name": "t", "protocol": 4, "retry_interval": "1m", "start_join": ["a", "b"],
                   "enable_compression": false, "tags": {"role": "web"}, "mdns": {"disable_ipv6": true}}"#;
    let from_toml = layered(&[("c.toml", toml)], &["c.toml"], &[]).unwrap();
    assert_eq!(from_toml, layered(&[("c.json", json)], &["c.json"], &[]).unwrap());
    assert!(!from_toml.bool("enable_compression") && from_toml.bool("mdns.disable_ipv6"));
}

#[test]
fn problems_are_told_with_their_place_and_remedy() {
    for (file, text, message) in [
        ("c.json", "", "Error decoding 'c.json': EOF; the file is empty: write at least {}"),
        (
            "c.json",
            "{\"node_name\":\n }",
            "Error decoding 'c.json': invalid character '}' looking for beginning of value; at c.json:2:2",
        ),
        (
            "c.json",
            "{\n  \"nod_name\": \"x\",\n  \"protocol\": \"4\"\n}",
            "Error decoding 'c.json': 2 error(s) decoding:\n\n\
             * '' has invalid keys: nod_name\n\
             * 'protocol' expected type 'int', got unconvertible type 'string', value: '4'\n\n\
             c.json:2:3: did you mean node_name?\n\
             c.json:3:15: here belongs a number without quotes",
        ),
        (
            "c.json",
            "{\"retry_interval\": \"5\"}",
            "Error decoding 'c.json': time: missing unit in duration \"5\"; at c.json:1:20: write a number with its \
             unit, such as 30s, 1m30s or 24h",
        ),
        (
            "c.toml",
            "# comment\nnode_name = 5\n",
            "Error decoding 'c.toml': 1 error(s) decoding:\n\n\
             * 'node_name' expected type 'string', got unconvertible type 'int64', value: '5'\n\n\
             c.toml:2:13: here belongs a text in quotes",
        ),
    ] {
        assert_eq!(layered(&[(file, text)], &[file], &[]), Err(message.to_owned()), "{text}");
    }
    let large = format!("{{\"node_name\": \"{}\"}}", "x".repeat(1024 * 1024));
    let refused = layered(&[("c.json", &large)], &["c.json"], &[]).unwrap_err();
    assert!(refused.contains("the file has more than 1048576 bytes"), "{refused}");
}

#[test]
fn flags_that_are_wrong_are_told_before_files_are_read() {
    for (flag, message) in [
        ("-tag=x", "Error: Invalid tag: 'x'; write KEY=VALUE"),
        (
            "-retry-interval=5",
            "Error: time: missing unit in duration \"5\"; write -retry-interval with a unit, such as 30s or 1m30s",
        ),
    ] {
        assert_eq!(layered(&[], &["missing.json"], &[flag]), Err(message.to_owned()));
    }
    assert_eq!(
        layered(&[], &["missing.json"], &[]),
        Err("Error reading 'missing.json': open missing.json: no such file or directory".to_owned())
    );
}

#[test]
fn compression_is_what_the_last_one_says() {
    let file = [("c.json", r#"{"enable_compression": false}"#)];
    for (flags, expected) in
        [(&[][..], false), (&["-disable-compression=false"], true), (&["-disable-compression"], false)]
    {
        assert_eq!(
            layered(&file, &["c.json"], flags).unwrap().bool("enable_compression"),
            expected,
            "{flags:?}"
        );
    }
    assert!(layered(&[], &[], &[]).unwrap().bool("enable_compression"));
}
