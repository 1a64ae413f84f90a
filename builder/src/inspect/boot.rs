//! What the firmware can start: the unified kernel images on the ESP.

use super::image::{FileSystem, Image};
use anyhow::{Context, bail};
use formats::tree::Content;
use formats::uki;
use serde::Serialize;

/// Where unified kernel images are on the ESP.
const UKIS: &str = "EFI/Linux";
/// No unified kernel image is larger, in bytes.
pub(super) const MAX_UKI: u64 = 1 << 30;
/// What makes a hash a root hash on the kernel's command line.
const ROOT_HASH: &str = "roothash=";

/// A unified kernel image on the ESP.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BootEntry {
    /// Its path on the ESP.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The kernel's version.
    pub kernel: String,
    /// The kernel's size in bytes.
    pub kernel_bytes: u64,
    /// The initial RAM disk's size in bytes.
    pub initrd_bytes: u64,
    /// The kernel's command line.
    pub command_line: String,
}

impl BootEntry {
    /// The root hash on the command line.
    pub fn root_hash(&self) -> Option<&str> {
        let mut words = self.command_line.split_whitespace();
        words.find_map(|word| word.strip_prefix(ROOT_HASH))
    }

    /// The command line's words but for the root hash, which only repeats that the root differs.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        let words = self.command_line.split_whitespace();
        words.filter(|word| !word.starts_with(ROOT_HASH))
    }
}

/// All unified kernel images in the order of the directory.
pub(super) fn entries(image: &Image) -> anyhow::Result<Vec<BootEntry>> {
    let FileSystem::Fat(esp) = image.file_system("ESP")? else {
        bail!("partition ESP holds no FAT");
    };
    let mut entries = Vec::new();
    for file in esp.read_dir(UKIS)? {
        let path = format!("{UKIS}/{}", file.name);
        let image = Content::from(esp.read_file(&path, MAX_UKI)?);
        let sections = uki::read(&image).with_context(|| format!("reading {path}"))?;
        let section = |name: &str| -> anyhow::Result<&Content> {
            let found = sections.iter().find(|(section, _)| section.name == name);
            let (_, content) = found.with_context(|| format!("{path} has no section {name}"))?;
            Ok(content)
        };
        let text = |name: &str| -> anyhow::Result<String> {
            let bytes = section(name)?.to_vec();
            let bytes = bytes.with_context(|| format!("reading {path}"))?;
            let text = String::from_utf8_lossy(&bytes);
            Ok(text.trim_matches(['\0', '\n', ' ']).to_owned())
        };
        entries.push(BootEntry {
            bytes: image.len(),
            kernel: text(".uname")?,
            kernel_bytes: section(".linux")?.len(),
            initrd_bytes: section(".initrd")?.len(),
            command_line: text(".cmdline")?,
            path,
        });
    }
    if entries.is_empty() {
        bail!("{UKIS} holds no unified kernel image");
    }
    Ok(entries)
}
