//! `seedbed` where there is no network: in a network namespace of its own, and with its system calls counted.

use crate::support::{has_tool, skip};
use assert_cmd::Command;
use std::fs;
use std::path::Path;

/// Whether `test` can make an empty network namespace, which takes root; if not, says that it is skipped.
pub(crate) fn can_unshare(test: &str) -> bool {
    if !has_tool(test, "unshare") {
        return false;
    }
    let tried = Command::new("unshare").args(["--net", "true"]).output();
    let can = tried.unwrap().status.success();
    if !can {
        skip(test, "only root may make a network namespace");
    }
    can
}

/// `command` in an empty network namespace: not even the loopback device is up. Its environment stays.
pub(crate) fn isolated(command: &Command) -> Command {
    wrapped(&["unshare", "--net"], command)
}

/// `command` in an empty network namespace, with the system calls that concern the network written to `log`.
pub(crate) fn traced(command: &Command, log: &Path) -> Command {
    let log = log.to_str().unwrap();
    let wrap = [
        "unshare",
        "--net",
        "strace",
        "-f",
        "-e",
        "trace=%network",
        "-o",
        log,
    ];
    wrapped(&wrap, command)
}

/// The system calls in a log of [`traced`].
pub(crate) fn calls(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap();
    let calls = text.lines().filter(|line| line.contains('('));
    calls.map(str::to_owned).collect()
}

fn wrapped(wrap: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(wrap[0]);
    outer
        .args(&wrap[1..])
        .arg(command.get_program())
        .args(command.get_args());
    outer.env_clear();
    let given = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    outer.envs(given);
    outer
}
