//! What a PC's BIOS starts: GRUB's core image, composed from the parts in the package grub-pc-bin, and kernel and
//! initrd as files of the ESP.
//!
//! GRUB looks for them on the disk that was started, by the ESP's number, and nowhere else: another disk may hold
//! the same image.

use super::Inputs;
use super::boot::Firmware;
use anyhow::{Context, bail};
use contract::partition::{Arch, BOOTED_ESP};
use formats::grub::config::{self, Boot, Serial};
use formats::grub::{Core, Parts};
use formats::tree::{Content, Kind, Tree};

/// Where the package has the parts.
const PARTS: &str = "usr/lib/grub/i386-pc";

/// Takes GRUB's parts out of the root file system, if the profile wants images that a BIOS starts.
pub(super) fn take(inputs: &Inputs<'_>, root: &mut Tree) -> anyhow::Result<Option<Parts>> {
    if !inputs.profile.disk.bios || inputs.arch != Arch::Amd64 {
        return Ok(None);
    }
    let mut files = Vec::new();
    for (name, node) in root.children(PARTS) {
        if let Kind::File(content) = &node.kind {
            let bytes = content
                .to_vec()
                .with_context(|| format!("reading /{PARTS}/{name}"))?;
            files.push((name, bytes));
        }
    }
    if files.is_empty() {
        bail!(
            "/{PARTS} is missing: add grub-pc-bin to the profile's packages, or leave disk.bios out"
        );
    }
    root.remove("usr/lib/grub");
    Ok(Some(files.into_iter().collect()))
}

/// Adds kernel and initrd to the ESP's files, and composes the core image that starts them from the partition of
/// that number.
pub(super) fn add(
    inputs: &Inputs<'_>,
    parts: &Parts,
    firmware: &Firmware,
    initrd: &Content,
    cmdline: &str,
    esp: &mut Tree,
    number: usize,
) -> anyhow::Result<Core> {
    let folder = format!("EFI/seedbed/{}", &inputs.lock_digest[..12]);
    let kernel = format!("/{folder}/linux");
    esp.insert_file(&kernel[1..], 0o644, firmware.linux.clone())?;
    let microcode = firmware.microcode.iter().map(|it| ("microcode", it));
    let mut archives = Vec::new();
    for (name, content) in microcode.chain([("initrd", initrd)]) {
        let path = format!("/{folder}/{name}");
        esp.insert_file(&path[1..], 0o644, content.clone())?;
        archives.push(path);
    }
    let archives: Vec<&str> = archives.iter().map(String::as_str).collect();
    let config = config::render(&Boot {
        kernel: &kernel,
        initrd: &archives,
        cmdline,
        partition: Some(BOOTED_ESP),
        serial: serial(cmdline),
        elsewhere: None,
    })
    .context("rendering GRUB's configuration")?;
    let prefix = format!("(,gpt{number})/{folder}");
    Core::compose(parts, &config::MODULES, &prefix, &config).context("composing GRUB's core image")
}

/// The serial line that the kernel takes for its console, so that GRUB speaks there too (the kernel's
/// `Documentation/admin-guide/serial-console.rst`).
fn serial(cmdline: &str) -> Option<Serial> {
    let ports = cmdline
        .split(' ')
        .filter_map(|word| word.strip_prefix("console=ttyS"));
    let (unit, options) = ports
        .map(|port| port.split_once(',').unwrap_or((port, "9600")))
        .next_back()?;
    let digits = options.find(|character: char| !character.is_ascii_digit());
    Some(Serial {
        unit: unit.parse().ok()?,
        speed: options[..digits.unwrap_or(options.len())].parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grub_speaks_where_the_kernel_does() {
        let check = |cmdline: &str, expected: Option<(u8, u32)>| {
            let found = serial(cmdline).map(|port| (port.unit, port.speed));
            assert_eq!(found, expected, "{cmdline}");
        };
        check("quiet console=tty0", None);
        check("console=ttyS0", Some((0, 9600)));
        check("console=ttyS0,115200 console=tty0", Some((0, 115_200)));
        check("console=ttyS0 console=ttyS1,57600n8", Some((1, 57_600)));
        check("console=ttyS,115200", None);
    }
}
