//! Runs `seedbed` as a user would, in a home of its own.

use assert_cmd::Command;
use std::path::Path;
use std::process::Output;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_seedbed");

/// `seedbed` with `home` as its home, where its store will be. No proxy and no setting of the host gets through.
pub fn seedbed(home: &Path) -> Command {
    clean(Command::new(PROGRAM), home)
}

/// `seedbed` below `prelude`, a piece of shell that sets limits.
pub fn seedbed_after(prelude: &str, home: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{prelude}; exec \"$@\""), "sh", PROGRAM]);
    clean(command, home)
}

fn clean(mut command: Command, home: &Path) -> Command {
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin");
    command
}

/// Runs to a success, and gives standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        stderr(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs to a refusal: exit code 1, one message on standard error that holds every one of `words`, and no panic.
pub fn refuse(command: &mut Command, words: &[&str]) -> String {
    let output = command.output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    message
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
