//! Where etcd's program is.

use std::path::PathBuf;
use std::process::Command;

/// etcd 3.5 or newer is on the path or in the folder `SEEDBED_ETCD`.
pub(crate) fn available() -> Result<(), &'static str> {
    let Ok(output) = Command::new(path()).arg("--version").output() else {
        return Err("etcd is not installed (SEEDBED_ETCD can name its folder)");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(2).unwrap_or_default();
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    match (parts.next(), parts.next()) >= (Some(3), Some(5)) {
        true => Ok(()),
        false => Err("etcd is older than 3.5 (SEEDBED_ETCD can name another one's folder)"),
    }
}

/// The program, if it is there.
pub(crate) fn path() -> PathBuf {
    match std::env::var_os("SEEDBED_ETCD") {
        Some(folder) => PathBuf::from(folder).join("etcd"),
        None => PathBuf::from("etcd"),
    }
}
