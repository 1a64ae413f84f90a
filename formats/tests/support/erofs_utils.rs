//! Runs erofs-utils of a Debian suite that was unpacked, not installed, since zstd came to them with 1.8.

use crate::referee;

/// Names the folder that `scripts/debian-packages.sh` unpacked erofs-utils and its libraries into.
const VARIABLE: &str = "SEEDBED_EROFS_UTILS";

/// Runs `program` with `args`, as [`referee::run`] does, by the loader and with the libraries of its own
/// suite; `None`, with a line that says so, where there is no such folder.
pub(crate) fn run(test: &str, program: &str, args: &[&str]) -> Option<String> {
    let Some(root) = std::env::var_os(VARIABLE) else {
        return referee::run(test, &format!("{program} of {VARIABLE}"), args);
    };
    let root = root.to_str().unwrap();
    let libraries = format!("{root}/usr/lib/x86_64-linux-gnu");
    let program = format!("{root}/usr/bin/{program}");
    let loader = format!("{libraries}/ld-linux-x86-64.so.2");
    let mut all = vec!["--library-path", &libraries, &program];
    all.extend(args);
    referee::run(test, &loader, &all)
}
