//! GRUB's parts and tools, of the Debian suite that images are made of.

use crate::{referee, unpacked};
use formats::grub::Parts;
use std::path::PathBuf;

/// Names the folder that `scripts/debian-packages.sh` unpacked grub-common, grub-pc-bin and libraries into.
const VARIABLE: &str = "SEEDBED_GRUB";

/// The folder of the parts for PC BIOS; `None`, with a line that says so, where there is none.
pub(crate) fn folder(test: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os(VARIABLE) else {
        let none = referee::run(test, &format!("grub-pc-bin of {VARIABLE}"), &[]);
        return none.map(PathBuf::from);
    };
    Some(PathBuf::from(root).join("usr/lib/grub/i386-pc"))
}

/// All files of that folder.
pub(crate) fn parts(test: &str) -> Option<Parts> {
    let files = std::fs::read_dir(folder(test)?).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    });
    Some(files.collect())
}

/// Runs `grub-mkimage`.
#[allow(dead_code)] // Not every test that includes this file needs it.
pub(crate) fn mkimage(test: &str, args: &[&str]) -> Option<String> {
    unpacked::run(test, VARIABLE, "grub-mkimage", args)
}
