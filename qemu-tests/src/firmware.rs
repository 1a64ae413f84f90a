//! Where distributions put UEFI firmware for virtual machines.

use anyhow::bail;
use std::path::{Path, PathBuf};

/// What starts before the disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// OVMF, without Secure Boot.
    Uefi,
    /// SeaBIOS, which QEMU carries.
    Bios,
}

/// OVMF's two flash images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ovmf {
    /// The code, never written.
    pub code: PathBuf,
    /// The variables as they leave the factory; each machine has a copy.
    pub variables: PathBuf,
}

/// Code and variables, in the order of preference: Debian 12 and 13, Debian 11, Fedora, Arch.
const PLACES: &[(&str, &str)] = &[
    (
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    (
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ),
    (
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    (
        "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
];

/// Finds OVMF on this host.
pub fn ovmf() -> anyhow::Result<Ovmf> {
    let found = PLACES
        .iter()
        .find(|(code, variables)| Path::new(code).is_file() && Path::new(variables).is_file());
    match found {
        Some((code, variables)) => Ok(Ovmf {
            code: code.into(),
            variables: variables.into(),
        }),
        None => bail!("there is no UEFI firmware for QEMU on this host: install the package ovmf"),
    }
}
