//! The program that libFuzzer drives: `THANE_FUZZ_TARGET` says what it fuzzes. `cargo xtask fuzz` builds and runs it.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static TARGET: std::sync::OnceLock<fn(&[u8])> = std::sync::OnceLock::new();
    let run = TARGET.get_or_init(|| {
        let name = std::env::var("THANE_FUZZ_TARGET").unwrap_or_default();
        thane_fuzz::target(&name).unwrap_or_else(|| panic!("there is no target {name:?}")).run
    });
    run(data);
});

/// Without libFuzzer it says what to do.
#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    #[allow(clippy::print_stderr, reason = "it is all that this program does")]
    {
        eprintln!("start it with `cargo xtask fuzz`");
    }
    std::process::ExitCode::FAILURE
}
