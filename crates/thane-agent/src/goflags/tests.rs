use super::*;

fn flags() -> FlagSet {
    FlagSet::new("test", "test [flags] ARGS", "Tests.")
        .string("name", "", "A name.")
        .string("format", "text", "A format.")
        .bool("coalesce", true, "A switch that is on.")
        .bool("replay", false, "A switch that is off.")
        .list("tag", "A tag.")
        .int("count", 3, "A number.")
        .duration("timeout", "A span of time.")
        .example("thane test -name=x")
}

fn parse(arguments: &[&str]) -> Result<Parsed, FlagError> {
    let arguments: Vec<String> = arguments.iter().copied().map(String::from).collect();
    flags().parse(&arguments)
}

#[test]
fn defaults_hold_until_a_flag_is_given() {
    let parsed = parse(&[]).unwrap();
    assert_eq!((parsed.string("name"), parsed.string("format")), ("", "text"));
    assert_eq!((parsed.bool("coalesce"), parsed.bool("replay")), (true, false));
    assert_eq!((parsed.list("tag").len(), parsed.int("count")), (0, 3));
    assert!(!parsed.is_set("format") && parse(&["-format=text"]).unwrap().is_set("format"));
}

#[test]
fn flags_may_stand_behind_arguments_only_where_that_is_said() {
    let arguments: Vec<String> = ["a", "-name", "x", "b", "--", "-count"].map(String::from).to_vec();
    let mixed = flags().mixed().parse(&arguments).unwrap();
    assert_eq!((mixed.string("name"), mixed.args()), ("x", &["a", "b", "-count"].map(String::from)[..]));
    let strict = flags().parse(&arguments).unwrap();
    assert!(strict.args() == arguments && !strict.is_set("name"));
    assert!(strict.without_args().is_empty() && !mixed.without_args().is_empty());
}

#[test]
fn every_spelling_of_a_flag_is_understood() {
    for arguments in
        [&["-name", "x"][..], &["-name=x"], &["--name", "x"], &["--name=x"], &["-name=y", "-name=x"]]
    {
        assert_eq!(parse(arguments).unwrap().string("name"), "x", "{arguments:?}");
    }
    assert_eq!(parse(&["-name", "-replay"]).unwrap().string("name"), "-replay");
    assert_eq!(parse(&["-name="]).unwrap().string("name"), "");
    assert_eq!(parse(&["-name=a=b"]).unwrap().string("name"), "a=b");
}

#[test]
fn reading_stops_where_go_stops() {
    for (arguments, rest) in [
        (&["deploy", "-coalesce=false"][..], &["deploy", "-coalesce=false"][..]),
        (&["-replay", "deploy", "-replay"], &["deploy", "-replay"]),
        (&["-", "-replay"], &["-", "-replay"]),
        (&["--", "-replay"], &["-replay"]),
        (&["", "-replay"], &["", "-replay"]),
        (&["-replay", "false"], &["false"]),
    ] {
        let parsed = parse(arguments).unwrap();
        assert_eq!(parsed.args(), rest, "{arguments:?}");
        assert!(parsed.bool("coalesce"), "{arguments:?}");
    }
}

#[test]
fn switches_take_gos_spellings_after_an_equals_sign() {
    for yes in ["1", "t", "T", "true", "TRUE", "True"] {
        assert!(parse(&[&format!("-replay={yes}")]).unwrap().bool("replay"), "{yes}");
    }
    for no in ["0", "f", "F", "false", "FALSE", "False"] {
        assert!(!parse(&[&format!("-coalesce={no}")]).unwrap().bool("coalesce"), "{no}");
    }
}

#[test]
fn numbers_have_gos_prefixes_and_underscores() {
    for (text, number) in [
        ("0", 0),
        ("-0", 0),
        ("255", 255),
        ("-1", -1),
        ("+7", 7),
        ("0xff", 255),
        ("0XFF", 255),
        ("0o17", 15),
        ("017", 15),
        ("0b101", 5),
        ("1_000", 1000),
        ("0x_ff", 255),
        ("0_7", 7),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(parse(&["-count", text]).unwrap().int("count"), number, "{text}");
    }
}

#[test]
fn lists_grow_and_keep_their_order() {
    let parsed = parse(&["-tag", "b=1", "-tag=a=2", "-tag", "b=3"]).unwrap();
    assert_eq!(parsed.list("tag"), ["b=1", "a=2", "b=3"]);
}

#[test]
fn spans_of_time_have_units() {
    let nanos = |arguments: &[&str]| parse(arguments).unwrap().duration("timeout");
    assert_eq!(nanos(&[]), GoDuration::ZERO);
    assert_eq!(nanos(&["-timeout=1m30s"]), GoDuration::from_nanos(90_000_000_000));
    assert_eq!(nanos(&["-timeout", "-1s"]), GoDuration::from_nanos(-1_000_000_000));
}

#[test]
fn errors_have_gos_words() {
    for (arguments, message) in [
        (&["-bogus"][..], "flag provided but not defined: -bogus"),
        (&["--bogus=1"], "flag provided but not defined: -bogus"),
        (&["-name"], "flag needs an argument: -name"),
        (&["-coalesce=maybe", "x"], "invalid boolean value \"maybe\" for -coalesce: parse error"),
        (&["-coalesce="], "invalid boolean value \"\" for -coalesce: parse error"),
        (&["-count=x"], "invalid value \"x\" for flag -count: parse error"),
        (&["-count="], "invalid value \"\" for flag -count: parse error"),
        (&["-count=1__0"], "invalid value \"1__0\" for flag -count: parse error"),
        (&["-count=_1"], "invalid value \"_1\" for flag -count: parse error"),
        (&["-count=1_"], "invalid value \"1_\" for flag -count: parse error"),
        (&["-count=0x"], "invalid value \"0x\" for flag -count: parse error"),
        (&["-count=08"], "invalid value \"08\" for flag -count: parse error"),
        (
            &["-count=9223372036854775808"],
            "invalid value \"9223372036854775808\" for flag -count: value out of range",
        ),
        (
            &["-count=99999999999999999999"],
            "invalid value \"99999999999999999999\" for flag -count: value out of range",
        ),
        (&["-timeout=5"], "invalid value \"5\" for flag -timeout: parse error"),
        (&["-timeout", "soon"], "invalid value \"soon\" for flag -timeout: parse error"),
        (&["-=x"], "bad flag syntax: -=x"),
        (&["---name=x"], "bad flag syntax: ---name=x"),
        (&["--=x"], "bad flag syntax: --=x"),
    ] {
        assert_eq!(parse(arguments).unwrap_err().to_string(), message, "{arguments:?}");
    }
}

#[test]
fn help_is_a_flag_of_every_command() {
    for arguments in [&["-h"][..], &["-help"], &["--help"], &["-replay", "-h"]] {
        assert_eq!(parse(arguments), Err(FlagError::Help), "{arguments:?}");
    }
    assert_eq!(parse(&["x", "-h"]).unwrap().args(), ["x", "-h"]);
}

#[test]
fn help_names_each_flag_once_with_its_default() {
    let expected = "\
Usage: thane test [flags] ARGS

  Tests.

Flags:

  -name=TEXT         A name.
  -format=TEXT       A format. (default text)
  -coalesce          A switch that is on. (default true)
  -replay            A switch that is off.
  -tag=TEXT ...      A tag.
  -count=NUMBER      A number. (default 3)
  -timeout=DURATION  A span of time.

Examples:

  thane test -name=x
";
    assert_eq!(flags().help(), expected);
}

#[test]
fn an_argument_that_is_no_text_keeps_its_bytes() {
    use std::os::unix::ffi::OsStringExt as _;

    let raw = ["-replay".into(), "-name=x".into(), "n".into(), OsString::from_vec(vec![b'a', 0xff])];
    let lossy: Vec<String> = raw.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let parsed = flags().parse(&lossy[1..]).unwrap();
    assert_eq!((parsed.args()[1].as_str(), parsed.arg_bytes(1)), ("a\u{fffd}", "a\u{fffd}".as_bytes()));
    let parsed = parsed.with_raw(&raw);
    assert_eq!((parsed.arg_bytes(0), parsed.arg_bytes(1)), (&b"n"[..], &b"a\xff"[..]));
}
