//! Where distributions put UEFI firmware for virtual machines.

use anyhow::bail;
use contract::partition::Arch;
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

/// The two flash images of OVMF, which is called AAVMF on Arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ovmf {
    /// The code, never written.
    pub code: PathBuf,
    /// The variables as they leave the factory; each machine has a copy.
    pub variables: PathBuf,
}

/// Code and variables for x86-64, in the order of preference: Debian 12 and 13, Debian 11, Fedora, Arch.
const OVMF: &[(&str, &str)] = &[
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

/// OVMF with Secure Boot; its variables are in memory that only System Management Mode writes.
const SECURE_BOOT: &[(&str, &str)] = &[
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

/// The same for AArch64: Debian, Fedora.
const AAVMF: &[(&str, &str)] = &[
    (
        "/usr/share/AAVMF/AAVMF_CODE.fd",
        "/usr/share/AAVMF/AAVMF_VARS.fd",
    ),
    (
        "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
        "/usr/share/edk2/aarch64/vars-template-pflash.raw",
    ),
];

/// Finds OVMF for machines of `arch` on this host, if `firmware` is UEFI.
pub fn ovmf(firmware: Firmware, arch: Arch) -> anyhow::Result<Option<Ovmf>> {
    let (places, package) = match (firmware, arch) {
        (Firmware::Bios, _) => return Ok(None),
        (Firmware::Uefi, Arch::Amd64) => (OVMF, "ovmf"),
        (Firmware::Uefi, Arch::Arm64) => (AAVMF, "qemu-efi-aarch64"),
        (Firmware::SecureBoot, Arch::Amd64) => (SECURE_BOOT, "ovmf"),
        (Firmware::SecureBoot, Arch::Arm64) => bail!("machines of arm64 have no Secure Boot here"),
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
            "there is no UEFI firmware ({firmware:?}) for QEMU's {arch} machines on this host: install the package {package}"
        ),
    }
}
