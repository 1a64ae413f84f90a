//! Runs erofs-utils of a newer Debian suite than the host's, since zstd came to them with 1.8.

use crate::unpacked;

/// Runs `program` with `args`, as [`unpacked::run`] does.
pub(crate) fn run(test: &str, program: &str, args: &[&str]) -> Option<String> {
    unpacked::run(test, "SEEDBED_EROFS_UTILS", program, args)
}
