//! Runs reference tools of a Debian suite that were unpacked by `scripts/debian-packages.sh`, not installed.

use crate::referee;

/// Runs `program` with `args`, as [`referee::run`] does, by the loader and with the libraries of its own
/// suite, from the folder that the environment's `variable` names; `None`, with a line that says so, where
/// there is no such folder.
pub(crate) fn run(test: &str, variable: &str, program: &str, args: &[&str]) -> Option<String> {
    let Some(root) = std::env::var_os(variable) else {
        return referee::run(test, &format!("{program} of {variable}"), args);
    };
    let root = root.to_str().unwrap();
    let libraries = format!("{root}/usr/lib/x86_64-linux-gnu");
    let program = format!("{root}/usr/bin/{program}");
    let loader = format!("{libraries}/ld-linux-x86-64.so.2");
    let mut all = vec!["--library-path", &libraries, &program];
    all.extend(args);
    referee::run(test, &loader, &all)
}
