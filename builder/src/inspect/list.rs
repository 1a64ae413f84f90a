//! Files and directories of an image, on any of its file systems.
//!
//! A place is a path in the root file system, `/usr/bin`, or one behind a partition's name: `ESP:/EFI/Linux`.

use super::disk::Disk;
use super::image::{FileSystem, Image};
use anyhow::{Context, bail};
use formats::erofs::read::{FileType, Image as Erofs, Inode};
use formats::fat::read::{DirEntry, Volume};
use formats::read_at::Window;
use serde::Serialize;
use std::io::{self, Write};

/// Most bytes of a file on FAT, by the format.
const MAX_FAT_FILE: u64 = u32::MAX as u64;
/// How deep directories of a FAT are looked into for their sizes.
const MAX_DEPTH: usize = 32;

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition's name.
    pub partition: String,
    /// The path on it.
    pub path: String,
}

impl Place {
    /// Reads `PATH` or `PARTITION:PATH`.
    pub fn parse(text: &str) -> Self {
        let (partition, path) = match text.split_once(':') {
            Some((partition, path)) if !partition.contains('/') => (partition, path),
            _ => ("ROOT", text),
        };
        Place {
            partition: partition.to_ascii_uppercase(),
            path: path.to_owned(),
        }
    }
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Its name.
    pub name: String,
    /// `file`, `directory`, `link`, `character device`, `block device`, `pipe` or `socket`.
    pub kind: &'static str,
    /// Its size in bytes.
    pub bytes: u64,
    /// Permission bits, where the file system has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u16>,
    /// User and group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
    /// Where a link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Major and minor number of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<(u32, u32)>,
}

/// The entries of a directory, or the one file at `place`.
pub fn list(image: &Image, place: &Place) -> anyhow::Result<Vec<Item>> {
    let looking = || format!("looking for {} on {}", place.path, place.partition);
    match image.file_system(&place.partition)? {
        FileSystem::Erofs(erofs) => list_erofs(&erofs, &place.path).with_context(looking),
        FileSystem::Fat(fat) => list_fat(&fat, place.path.trim_matches('/')).with_context(looking),
    }
}

fn list_erofs(erofs: &Erofs<Window<&Disk>>, path: &str) -> anyhow::Result<Vec<Item>> {
    let inode = erofs.resolve(path)?;
    if inode.kind() != FileType::Directory {
        let name = path.rsplit('/').next().unwrap_or(path);
        return Ok(vec![item(erofs, name, &inode)?]);
    }
    let entries = erofs.read_dir(&inode)?;
    let entries = entries
        .iter()
        .map(|entry| item(erofs, &entry.name, &erofs.inode(entry.nid)?));
    entries.collect()
}

/// What an inode is, under a name.
pub(super) fn item(
    erofs: &Erofs<Window<&Disk>>,
    name: &str,
    inode: &Inode,
) -> anyhow::Result<Item> {
    let is_link = inode.kind() == FileType::Symlink;
    Ok(Item {
        name: name.to_owned(),
        kind: kind(inode.kind()),
        bytes: inode.size(),
        mode: Some(inode.mode()),
        owner: Some((inode.uid(), inode.gid())),
        target: is_link.then(|| erofs.read_link(inode)).transpose()?,
        device: inode.device(),
    })
}

fn kind(kind: FileType) -> &'static str {
    match kind {
        FileType::Regular => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        FileType::CharDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
    }
}

fn list_fat(fat: &Volume<Window<&Disk>>, path: &str) -> anyhow::Result<Vec<Item>> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    if !name.is_empty() {
        let siblings = fat.read_dir(parent)?;
        let is = |entry: &&DirEntry| entry.name.eq_ignore_ascii_case(name);
        if let Some(file) = siblings.iter().find(is).filter(|entry| !entry.directory) {
            return Ok(vec![fat_item(file)]);
        }
    }
    Ok(fat.read_dir(path)?.iter().map(fat_item).collect())
}

fn fat_item(entry: &DirEntry) -> Item {
    Item {
        name: entry.name.clone(),
        kind: if entry.directory { "directory" } else { "file" },
        bytes: u64::from(entry.size),
        mode: None,
        owner: None,
        target: None,
        device: None,
    }
}

/// Writes the bytes of the file at `place`.
///
/// # Errors
/// There is no such file, it cannot be read, or `out` does not take it.
pub fn cat(image: &Image, place: &Place, out: &mut impl Write) -> anyhow::Result<()> {
    let reading = || format!("reading {} on {}", place.path, place.partition);
    match image.file_system(&place.partition)? {
        FileSystem::Erofs(erofs) => {
            let inode = erofs.resolve(&place.path).with_context(reading)?;
            if inode.kind() != FileType::Regular {
                bail!(
                    "{} on {} is a {}",
                    place.path,
                    place.partition,
                    kind(inode.kind())
                );
            }
            io::copy(&mut erofs.reader(&inode), out).with_context(reading)?;
        }
        FileSystem::Fat(fat) => {
            let bytes = fat.read_file(place.path.trim_matches('/'), MAX_FAT_FILE);
            out.write_all(&bytes.with_context(reading)?)
                .with_context(reading)?;
        }
    }
    Ok(())
}

/// How many bytes a partition's file system (erofs) or its files (FAT) take; `None` if it cannot be read.
pub(super) fn used(image: &Image, label: &str) -> Option<u64> {
    match image.file_system(label).ok()? {
        FileSystem::Erofs(erofs) => Some(erofs.size()),
        FileSystem::Fat(fat) => bytes_below(&fat, "", MAX_DEPTH),
    }
}

fn bytes_below(fat: &Volume<Window<&Disk>>, path: &str, depth: usize) -> Option<u64> {
    let mut bytes = 0_u64;
    for entry in fat.read_dir(path).ok()? {
        let below = format!("{path}/{}", entry.name);
        bytes = bytes.saturating_add(match entry.directory {
            true => bytes_below(fat, &below, depth.checked_sub(1)?)?,
            false => u64::from(entry.size),
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_name_a_partition_or_mean_the_root() {
        for (text, partition, path) in [
            ("/usr/bin", "ROOT", "/usr/bin"),
            ("", "ROOT", ""),
            ("esp:/EFI", "ESP", "/EFI"),
            ("/a:b", "ROOT", "/a:b"),
            ("STORE:", "STORE", ""),
        ] {
            let place = Place::parse(text);
            assert_eq!(
                (place.partition.as_str(), place.path.as_str()),
                (partition, path)
            );
        }
    }
}
