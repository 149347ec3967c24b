//! The machine's name.

/// The host name as the system has it; `localhost` where it has none. It only marks what this machine tells of itself, so
/// a wrong one is better than no agent.
pub(super) fn name() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let file = || std::fs::read_to_string("/etc/hostname").ok();
    let name = kernel.ok().or_else(file).or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_has_a_name_without_blanks() {
        let name = super::name();
        assert!(!name.is_empty() && !name.contains(char::is_whitespace), "{name:?}");
    }
}
