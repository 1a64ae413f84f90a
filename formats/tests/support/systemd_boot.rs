//! systemd's boot programs, of the Debian suite that images are made of.

use crate::referee;
use std::path::PathBuf;

/// Names the folder that `scripts/debian-packages.sh` unpacked systemd-boot-efi into.
const VARIABLE: &str = "SEEDBED_SYSTEMD_BOOT";

/// The bytes of the boot program `name`; `None`, with a line that says so, where there is none.
pub(crate) fn program(test: &str, name: &str) -> Option<Vec<u8>> {
    let Some(root) = std::env::var_os(VARIABLE) else {
        referee::run(test, &format!("systemd-boot-efi of {VARIABLE}"), &[]);
        return None;
    };
    let path = PathBuf::from(root)
        .join("usr/lib/systemd/boot/efi")
        .join(name);
    Some(std::fs::read(path).unwrap())
}
