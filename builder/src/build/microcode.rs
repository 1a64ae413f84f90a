//! Processors' microcode, as the kernel takes it before anything else runs: an uncompressed cpio archive in front
//! of the initrd (Linux, `Documentation/arch/x86/microcode.rst`), which is the section `.ucode` of a unified
//! kernel image.
//!
//! ```text
//! usr/lib/firmware/intel-ucode/*                    -> kernel/x86/microcode/GenuineIntel.bin
//! usr/lib/firmware/amd-ucode/microcode_amd*.bin     -> kernel/x86/microcode/AuthenticAMD.bin
//! ```
//!
//! Each is its files one behind the other, in order of their names; the kernel picks what its processor needs.

use anyhow::Context;
use formats::cpio;
use formats::tree::{Content, Kind, Tree};

const FIRMWARE: &str = "usr/lib/firmware";

/// Where a vendor's package has its files, and what the kernel calls all of them.
struct Vendor {
    directory: &'static str,
    prefix: &'static str,
    suffix: &'static str,
    member: &'static str,
}

const VENDORS: [Vendor; 2] = [
    Vendor {
        directory: "intel-ucode",
        prefix: "",
        suffix: "",
        member: "GenuineIntel.bin",
    },
    Vendor {
        directory: "amd-ucode",
        prefix: "microcode_amd",
        suffix: ".bin",
        member: "AuthenticAMD.bin",
    },
];

/// Takes the microcode out of the root file system, which does not load it any more, and gives the archive;
/// nothing, if no package brings any.
pub(super) fn take(root: &mut Tree) -> anyhow::Result<Option<Content>> {
    let mut early = Tree::new();
    for vendor in &VENDORS {
        let directory = format!("{FIRMWARE}/{}", vendor.directory);
        let bytes = joined(root, &directory, vendor)?;
        if !bytes.is_empty() {
            let member = format!("kernel/x86/microcode/{}", vendor.member);
            early.insert_file(&member, 0o644, bytes)?;
            root.remove(&directory);
        }
    }
    if early.iter().all(|(path, _)| path.is_empty()) {
        return Ok(None);
    }
    let mut archive = Vec::new();
    cpio::write(&early, &mut archive, cpio::Padding::Block).context("writing the microcode")?;
    Ok(Some(archive.into()))
}

/// The vendor's files, one behind the other.
fn joined(root: &Tree, directory: &str, vendor: &Vendor) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (name, node) in root.children(directory) {
        if let Kind::File(content) = &node.kind
            && name.starts_with(vendor.prefix)
            && name.ends_with(vendor.suffix)
        {
            let file = content
                .to_vec()
                .with_context(|| format!("reading /{directory}/{name}"))?;
            bytes.extend(file);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (path, text) in files {
            tree.insert_file(&format!("{FIRMWARE}/{path}"), 0o644, *text)
                .unwrap();
        }
        tree
    }

    #[test]
    fn files_are_joined_in_order_and_leave_the_root() {
        let mut root = root(&[
            ("amd-ucode/README", "no"),
            ("amd-ucode/microcode_amd.bin", "1"),
            ("amd-ucode/microcode_amd_fam17h.bin", "2"),
            ("intel-ucode/06-0f-02", "3"),
            ("intel-ucode/06-0f-06", "4"),
            ("regulatory.db", "stays"),
        ]);
        let archive = take(&mut root).unwrap().unwrap();
        let early = cpio::read(&archive).unwrap();
        let text = |name: &str| match &early.get(name).unwrap().kind {
            Kind::File(content) => String::from_utf8(content.to_vec().unwrap()).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text("kernel/x86/microcode/AuthenticAMD.bin"), "12");
        assert_eq!(text("kernel/x86/microcode/GenuineIntel.bin"), "34");
        let left: Vec<String> = root.children(FIRMWARE).map(|(name, _)| name).collect();
        assert_eq!(left, ["regulatory.db"]);
    }

    #[test]
    fn an_image_without_microcode_has_no_archive() {
        assert!(take(&mut root(&[("regulatory.db", "")])).unwrap().is_none());
    }
}
