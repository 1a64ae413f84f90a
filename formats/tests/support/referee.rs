//! Runs reference tools over what this crate has written.

use std::path::Path;
use std::process::Command;

/// Runs `program` with `args` and gives its output, both streams in one text; fails unless it exits with 0.
/// `None`, with a line that says so, where the program is not installed.
pub(crate) fn run(test: &str, program: &str, args: &[&str]) -> Option<String> {
    if !installed(program) {
        let required = std::env::var_os("SEEDBED_REQUIRE_REFEREES").is_some_and(|v| v == "1");
        assert!(!required, "{test}: {program} is not installed");
        println!("SKIP {test}: {program} is not installed");
        return None;
    }
    let output = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("starting {program}: {error}"));
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let status = output.status;
    assert!(status.success(), "{program} {args:?}: {status}\n{text}");
    Some(text)
}

fn installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"];
    path.split(':')
        .chain(sbin)
        .any(|dir| Path::new(dir).join(program).exists())
}
