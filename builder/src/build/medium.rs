//! The ISO: the same file systems on a disk without room to grow, which is a CD as well.

use super::artifact::Disk;
use crate::output::Unfinished;
use anyhow::Context;
use contract::partition::Role;
use formats::grub;
use formats::iso9660::{self, Boot, Data, File, Platform, Volume};
use formats::tree::Tree;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The CD's name. The initrd looks for it.
const NAME: &str = "SEEDBED";

const README: &str = "\
This is Seedbed: an operating system with everything that a Kubernetes machine needs.\r
\r
Start a machine from it: as a CD, as virtual media, or written to a USB stick byte\r
for byte. With a seed.yaml that says install:, the machine installs itself to a disk.\r
";

/// Writes the ISO of `disk` below `out`; with `grub`, a BIOS starts it too.
pub(super) fn write(
    disk: &Disk<'_>,
    grub: Option<(&grub::Parts, &grub::Core)>,
    esp: &Tree,
    seed: &Tree,
    out: &Path,
) -> anyhow::Result<Unfinished> {
    let mut medium = disk.medium(out)?;
    medium.write_seed(seed)?;
    medium.write_esp(esp)?;
    medium.write_table()?;
    let esp = medium.plan().slot(Role::Esp);
    let mut files = Vec::new();
    let mut boot = Vec::new();
    let core = match grub {
        None => None,
        Some((parts, core)) => {
            medium.write_bios(parts, core)?;
            // The first file, so that it is known where it begins.
            Some(
                grub::for_cd(parts, core, iso9660::FILES)
                    .context("composing the CD's boot image")?,
            )
        }
    };
    if let Some(core) = &core {
        boot.push(Boot {
            platform: Platform::Bios,
            file: files.len(),
        });
        files.push(File {
            name: "GRUB.IMG",
            data: Data::Bytes(core),
        });
    }
    boot.push(Boot {
        platform: Platform::Uefi,
        file: files.len(),
    });
    files.push(File {
        name: "ESP.IMG",
        data: Data::At(esp.offset, esp.size),
    });
    files.push(File {
        name: "README.TXT",
        data: Data::Bytes(README.as_bytes()),
    });
    let volume = Volume {
        name: NAME,
        size: medium.plan().size,
        time: medium.epoch(),
        files,
        boot,
    };
    let bytes = iso9660::write(&volume).context("planning the CD's file system")?;
    let first = medium.plan().slots[0].offset;
    anyhow::ensure!(
        iso9660::START + bytes.len() as u64 <= first,
        "the CD's file system does not fit in front of the first partition"
    );
    let medium = medium.into_file();
    medium
        .file()
        .write_all_at(&bytes, iso9660::START)
        .with_context(|| format!("writing {}", medium.path().display()))?;
    Ok(medium)
}
