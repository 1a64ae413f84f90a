//! What the firmware loads: systemd-boot, and one unified kernel image that holds kernel, initrd and the
//! command line with the root's hash.

use super::{Inputs, bios, microcode};
use crate::contents::File;
use crate::digest::HashWriter;
use crate::initrd;
use crate::overlay;
use anyhow::{Context, bail};
use contract::partition::Arch;
use formats::tree::{Content, Kind, Tree};
use formats::{cpio, grub, uki};
use std::io::{self, BufWriter};
use std::num::NonZero;
use std::sync::Arc;
use zstd::zstd_safe::CParameter;

/// zstd level of the initrd: the firmware's side pays for size, every build for time. Level 9 takes twice the
/// time for 3 % less.
const LEVEL: i32 = 6;
/// Bytes of the initrd that one thread compresses at once; several such are in memory.
const JOB: u32 = 2 << 20;

/// What the root file system's packages bring for booting. It lives on the ESP, so the root gives it away.
pub(super) struct Firmware {
    loader: Content,
    stub: Content,
    pub(super) linux: Content,
    /// What processors are to be patched with, as an archive in front of the initrd.
    pub(super) microcode: Option<Content>,
    /// What GRUB is composed from, if a BIOS is to start the image.
    pub(super) grub: Option<grub::Parts>,
    /// The kernel's version, as its modules' folder is called.
    pub(super) version: String,
}

impl Firmware {
    /// What the ESP holds, by name and size.
    pub(super) fn files(&self, initrd: &Content) -> Vec<File> {
        let parts = [
            ("initrd", initrd),
            ("linux", &self.linux),
            ("systemd-boot", &self.loader),
            ("systemd-stub", &self.stub),
        ];
        let file = |(path, content): (&str, &Content)| File {
            path: path.to_owned(),
            bytes: content.len(),
        };
        let microcode = self.microcode.iter().map(|content| ("microcode", content));
        parts.into_iter().chain(microcode).map(file).collect()
    }
}

/// Takes the boot files of the kernel `version` out of the root file system.
pub(super) fn take(
    inputs: &Inputs<'_>,
    root: &mut Tree,
    version: String,
) -> anyhow::Result<Firmware> {
    let (loader, stub) = match inputs.arch {
        Arch::Amd64 => ("systemd-bootx64.efi", "linuxx64.efi.stub"),
        Arch::Arm64 => ("systemd-bootaa64.efi", "linuxaa64.efi.stub"),
    };
    let boot = "usr/lib/systemd/boot";
    let firmware = Firmware {
        loader: file(root, &format!("{boot}/efi/{loader}"), "systemd-boot-efi")?,
        stub: file(root, &format!("{boot}/efi/{stub}"), "systemd-boot-efi")?,
        linux: file(
            root,
            &format!("boot/vmlinuz-{version}"),
            "a linux-image package",
        )?,
        microcode: microcode::take(root)?,
        grub: bios::take(inputs, root)?,
        version,
    };
    keep_configuration(root, &firmware.version)?;
    root.remove(boot);
    root.remove("boot");
    root.insert_dir("boot", 0o755)?;
    Ok(firmware)
}

/// Moves the kernel's configuration to its modules, so that it is known of an image how its kernel was built.
fn keep_configuration(root: &mut Tree, version: &str) -> anyhow::Result<()> {
    if let Some(node) = root.get(&format!("boot/config-{version}")).cloned() {
        let to = format!("usr/lib/modules/{version}/config");
        root.insert(&to, node)
            .with_context(|| format!("placing {to}"))?;
    }
    Ok(())
}

/// The compressed initial RAM disk.
pub(super) fn initrd(
    inputs: &Inputs<'_>,
    root: &Tree,
    firmware: &Firmware,
) -> anyhow::Result<Content> {
    let variables = super::root::variables(inputs);
    let mut extra = Tree::new();
    for dir in &inputs.parts.initrd_overlays {
        overlay::lay(&mut extra, &overlay::read(dir, &variables, inputs.epoch)?)?;
    }
    extra.insert_file(
        contract::paths::FIRSTBOOT.trim_start_matches('/'),
        0o755,
        inputs.firstboot.clone(),
    )?;
    let more = inputs.parts.initrd_modules.iter().map(String::as_str);
    let modules: Vec<&str> = initrd::MODULES.iter().copied().chain(more).collect();
    let options = initrd::Options {
        arch: inputs.arch,
        modules: &modules,
        extra: Some(&extra),
    };
    let tree = initrd::build(root, &firmware.version, &options)?;
    let mut hash = HashWriter::new(io::sink());
    cpio::write(&tree, &mut hash, cpio::Padding::Word).context("reading the initrd's files")?;
    let (_, plain, _) = hash.finish();
    let key = inputs.cache.key("initrd").with(plain).key();
    inputs.cache.get_or_make(&key, inputs.scratch, |out| {
        let mut encoder = zstd::Encoder::new(out, LEVEL).context("compressing the initrd")?;
        // With one thread or many zstd writes the same bytes, as long as their jobs are of one size.
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = CParameter::NbWorkers(u32::try_from(threads).unwrap_or(1));
        for parameter in [threads, CParameter::JobSize(JOB)] {
            let set = encoder.set_parameter(parameter);
            set.context("compressing the initrd")?;
        }
        cpio::write(&tree, &mut encoder, cpio::Padding::Word).context("writing the initrd")?;
        encoder.finish().context("compressing the initrd")?;
        Ok(())
    })
}

/// The files of the ESP.
pub(super) fn esp(
    inputs: &Inputs<'_>,
    firmware: &Firmware,
    initrd: &Content,
    cmdline: &str,
) -> anyhow::Result<Tree> {
    let parts = uki::Parts {
        os_release: os_release(inputs).into_bytes().into(),
        cmdline: cmdline.to_owned(),
        uname: firmware.version.clone(),
        kernel: firmware.linux.clone(),
        initrd: initrd.clone(),
    };
    let microcode = firmware.microcode.iter();
    let mut sections: Vec<uki::Section> = microcode
        .map(|archive| uki::Section::new(".ucode", archive.clone()))
        .collect();
    sections.extend(parts.sections());
    let plan = uki::plan(&firmware.stub, &sections).context("planning the unified kernel image")?;
    let image = tempfile::tempfile_in(inputs.scratch)
        .context("creating a file for the unified kernel image")?;
    let mut out = BufWriter::new(image);
    plan.write(&mut out)
        .context("writing the unified kernel image")?;
    let image = out
        .into_inner()
        .context("writing the unified kernel image")?;
    let image = Content::Slice {
        file: Arc::new(image),
        offset: 0,
        len: plan.size(),
    };

    let fallback = match inputs.arch {
        Arch::Amd64 => "BOOTX64.EFI",
        Arch::Arm64 => "BOOTAA64.EFI",
    };
    let mut tree = Tree::new();
    tree.insert_file(
        &format!("EFI/BOOT/{fallback}"),
        0o644,
        firmware.loader.clone(),
    )?;
    tree.insert_file(
        &format!("EFI/Linux/seedbed-{}.efi", &inputs.lock_digest[..12]),
        0o644,
        image,
    )?;
    // No menu, and no way to edit the command line at the console.
    tree.insert_file("loader/loader.conf", 0o644, "timeout 0\neditor no\n")?;
    Ok(tree)
}

/// The kernel's command line. What mounts the root comes first, so that nobody overrides it by accident.
pub(super) fn command_line(root_hash: &str, more: &[String]) -> String {
    let fixed = format!(
        "root=/dev/mapper/root rootfstype=erofs ro roothash={root_hash} systemd.gpt_auto=no"
    );
    std::iter::once(fixed.as_str())
        .chain(more.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What systemd-boot shows and sorts by.
fn os_release(inputs: &Inputs<'_>) -> String {
    let (name, kubernetes) = (&inputs.profile.name, &inputs.profile.kubernetes);
    format!(
        "ID=seedbed\nNAME=Seedbed\nPRETTY_NAME=\"Seedbed {name} (Kubernetes {kubernetes})\"\nIMAGE_ID={name}\nIMAGE_VERSION={}\n",
        inputs.epoch
    )
}

fn file(root: &Tree, path: &str, package: &str) -> anyhow::Result<Content> {
    match root.get(path).map(|node| &node.kind) {
        Some(Kind::File(content)) => Ok(content.clone()),
        _ => bail!("/{path} is missing: add {package} to the profile's packages"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_comes_first_on_the_command_line() {
        let line = command_line("ab12", &["console=ttyS0".into()]);
        assert_eq!(
            line,
            "root=/dev/mapper/root rootfstype=erofs ro roothash=ab12 systemd.gpt_auto=no console=ttyS0"
        );
    }
}
