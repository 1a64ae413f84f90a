//! Where distributions put UEFI firmware for virtual machines.

use anyhow::bail;
use std::path::{Path, PathBuf};

/// What starts before the disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// OVMF, without Secure Boot.
    Uefi,
    /// OVMF with Secure Boot, in Setup Mode when it leaves the factory: who starts first enrols keys.
    SecureBoot,
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

/// The same with Secure Boot; its variables are in memory that only System Management Mode writes.
const SECURE_BOOT_PLACES: &[(&str, &str)] = &[
    (
        "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    (
        "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    (
        "/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
];

/// Finds OVMF on this host, if `firmware` is UEFI.
pub fn ovmf(firmware: Firmware) -> anyhow::Result<Option<Ovmf>> {
    let places = match firmware {
        Firmware::Bios => return Ok(None),
        Firmware::Uefi => PLACES,
        Firmware::SecureBoot => SECURE_BOOT_PLACES,
    };
    let found = places
        .iter()
        .find(|(code, variables)| Path::new(code).is_file() && Path::new(variables).is_file());
    match found {
        Some((code, variables)) => Ok(Some(Ovmf {
            code: code.into(),
            variables: variables.into(),
        })),
        None => bail!(
            "there is no UEFI firmware ({firmware:?}) for QEMU on this host: install the package ovmf"
        ),
    }
}
