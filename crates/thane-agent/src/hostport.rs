//! Addresses as people write them, `HOST:PORT`, with the rules and the error texts of Go's `net` package, which Serf's
//! users search for and scripts match.

use std::io;

/// Splits `HOST[:PORT]`: an IPv6 address, with or without a port, stands in brackets.
///
/// # Errors
/// In Go's words: `address ::1: too many colons in address`.
pub(crate) fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    let wrong = |reason: &str| Err(format!("address {text}: {reason}"));
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let Some((host, after)) = bracketed.split_once(']') else {
                return wrong("missing ']' in address");
            };
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return wrong("unexpected text after ']' in address"),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if port.is_some_and(|port| port.contains(':')) {
        return wrong("too many colons in address");
    }
    if host.contains(['[', ']']) || port.is_some_and(|port| port.contains(['[', ']'])) {
        return wrong("unexpected bracket in address");
    }
    Ok((host, port))
}

/// Splits `HOST:PORT`, where the port must be there.
///
/// # Errors
/// As [`split`], and `missing port in address`.
pub(crate) fn split_with_port(text: &str) -> Result<(&str, &str), String> {
    match split(text)? {
        (host, Some(port)) => Ok((host, port)),
        (_host, None) => Err(format!("address {text}: missing port in address")),
    }
}

/// Reads a port; an empty one is 0, any free one.
///
/// # Errors
/// In Go's words, for a number beyond 65535 and for what is no number.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Ok(0);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("lookup tcp/{text}: unknown port"));
    }
    text.parse().map_err(|_too_large| format!("address {text}: invalid port"))
}

/// Why a host name could not be looked up. The resolver's own words are kept where they say more than that there is no
/// such name.
pub(crate) fn lookup_failure(host: &str, error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    let reason = if reason.contains("not known") { "no such host" } else { reason };
    format!("lookup {host}: {reason}")
}

/// The text of an I/O error as Go has it: with a small first letter, and without the number that Rust puts behind it.
pub(crate) fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_split_by_gos_rules() {
        for (text, expected) in [
            ("127.0.0.1", Ok(("127.0.0.1", None))),
            ("127.0.0.1:7950", Ok(("127.0.0.1", Some("7950")))),
            (":7950", Ok(("", Some("7950")))),
            ("[::1]", Ok(("::1", None))),
            ("[::1]:7946", Ok(("::1", Some("7946")))),
            ("host:", Ok(("host", Some("")))),
            ("", Ok(("", None))),
            ("::1", Err("address ::1: too many colons in address")),
            ("[::1", Err("address [::1: missing ']' in address")),
            ("[::1]7946", Err("address [::1]7946: unexpected text after ']' in address")),
            ("a]:1", Err("address a]:1: unexpected bracket in address")),
            ("a:b:c", Err("address a:b:c: too many colons in address")),
        ] {
            assert_eq!(split(text), expected.map_err(str::to_owned), "{text}");
        }
        let missing = split_with_port("[::1]").unwrap_err();
        assert_eq!(missing, "address [::1]: missing port in address");
    }

    #[test]
    fn ports_are_numbers_up_to_65535() {
        for (text, expected) in [
            ("", Ok(0)),
            ("0", Ok(0)),
            ("65535", Ok(65535)),
            ("65536", Err("address 65536: invalid port")),
            ("x", Err("lookup tcp/x: unknown port")),
            ("+1", Err("lookup tcp/+1: unknown port")),
        ] {
            assert_eq!(port(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn errors_of_the_system_are_told_as_go_tells_them() {
        let refused = io::Error::from_raw_os_error(111);
        #[cfg(target_os = "linux")]
        assert_eq!(error_text(&refused), "connection refused");
        assert!(!error_text(&refused).contains("os error"));
        let unknown = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(lookup_failure("nosuch", &unknown), "lookup nosuch: no such host");
        let later = io::Error::other("failed to lookup address information: Temporary failure");
        assert_eq!(lookup_failure("nosuch", &later), "lookup nosuch: Temporary failure");
    }
}
