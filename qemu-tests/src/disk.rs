//! Disks and sticks for machines.

use crate::command::Tool;
use anyhow::Context;
use contract::partition::Role;
use formats::fat::{self, write};
use formats::gpt::{self, SectorSize};
use formats::tree::Tree;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The first bytes of a qcow2 file.
const QCOW2: &[u8; 4] = b"QFI\xfb";
/// Bytes of a stick: room enough for FAT16.
const STICK: u64 = 32 << 20;
/// Bytes that are wiped at once.
const ZEROS: usize = 1 << 20;

/// How an image file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes.
    Raw,
    /// QEMU's own.
    Qcow2,
}

impl Format {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        }
    }

    /// The format of a file, by its first bytes.
    pub fn of(path: &Path) -> anyhow::Result<Self> {
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut start));
        read.with_context(|| format!("reading disk image {}", path.display()))?;
        Ok(if start == QCOW2 {
            Format::Qcow2
        } else {
            Format::Raw
        })
    }
}

/// A machine's disk: an image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The file.
    pub path: PathBuf,
    /// How it is written.
    pub format: Format,
    /// Its logical and physical sectors.
    pub sectors: SectorSize,
}

impl Disk {
    /// A disk of `gib` GiB at `path` that begins as a copy of `image`; the image itself is only read.
    pub fn over(image: &Path, path: &Path, gib: u32) -> anyhow::Result<Self> {
        let backing = Format::of(image)?.name();
        let create =
            Tool::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", backing, "-b"]);
        create.arg(image).arg(path).arg(format!("{gib}G")).run()?;
        Ok(Disk {
            path: path.to_owned(),
            format: Format::Qcow2,
            sectors: SectorSize::B512,
        })
    }

    /// A disk of `gib` GiB at `path` with nothing on it.
    pub fn blank(path: &Path, gib: u32) -> anyhow::Result<Self> {
        let create = Tool::new("qemu-img").args(["create", "-q", "-f", "qcow2"]);
        create.arg(path).arg(format!("{gib}G")).run()?;
        Ok(Disk {
            path: path.to_owned(),
            format: Format::Qcow2,
            sectors: SectorSize::B512,
        })
    }

    /// A copy of this disk as it is now. The machine that has it must be stopped.
    pub fn copy(&self, path: &Path) -> anyhow::Result<Self> {
        fs::copy(&self.path, path).with_context(|| {
            format!("copying disk {} to {}", self.path.display(), path.display())
        })?;
        Ok(Disk {
            path: path.to_owned(),
            format: self.format,
            sectors: self.sectors,
        })
    }
}

/// A USB stick: a raw image file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stick {
    /// The file.
    pub path: PathBuf,
    /// Whether every read of it fails.
    pub broken: bool,
}

impl Stick {
    /// A stick with a FAT file system and these files, by name and text.
    pub fn fat(path: &Path, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let file = allocate(path)?;
        write_fat(&file, 0, STICK, files)
            .with_context(|| format!("writing stick {}", path.display()))?;
        Ok(Stick {
            path: path.to_owned(),
            broken: false,
        })
    }

    /// A stick of `gib` GiB that `image` was written to, byte for byte.
    pub fn written(image: &Path, path: &Path, gib: u64) -> anyhow::Result<Self> {
        let copied = fs::copy(image, path)
            .and_then(|_| File::options().write(true).open(path))
            .and_then(|stick| stick.set_len(gib << 30));
        copied
            .with_context(|| format!("writing {} to stick {}", image.display(), path.display()))?;
        Ok(Stick {
            path: path.to_owned(),
            broken: false,
        })
    }

    /// A stick full of bytes that are no file system.
    pub fn garbage(path: &Path, seed: u64) -> anyhow::Result<Self> {
        let mut state = seed | 1;
        let noise = (0..STICK / 8).flat_map(|_| {
            // Marsaglia's xorshift: noise, the same for the same seed.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let noise: Vec<u8> = noise.collect();
        fs::write(path, noise).with_context(|| format!("writing stick {}", path.display()))?;
        Ok(Stick {
            path: path.to_owned(),
            broken: false,
        })
    }

    /// A stick of the right size that cannot be read at all.
    pub fn unreadable(path: &Path) -> anyhow::Result<Self> {
        allocate(path)?;
        Ok(Stick {
            path: path.to_owned(),
            broken: true,
        })
    }
}

fn allocate(path: &Path) -> anyhow::Result<File> {
    let made = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path);
    let made = made.and_then(|file| file.set_len(STICK).map(|()| file));
    made.with_context(|| format!("creating stick {}", path.display()))
}

/// Makes a raw disk image at `path` out of `image`, whose SEED partition holds these files and nothing else.
pub fn with_seed_partition(
    image: &Path,
    path: &Path,
    files: &[(&str, &str)],
) -> anyhow::Result<()> {
    Tool::new("qemu-img")
        .args(["convert", "-O", "raw"])
        .arg(image)
        .arg(path)
        .run()?;
    let doing = || format!("filling the SEED partition of {}", path.display());
    let disk = File::options()
        .read(true)
        .write(true)
        .open(path)
        .with_context(doing)?;
    let table = gpt::read(&disk, SectorSize::B512).with_context(doing)?;
    let seed = table
        .entries
        .values()
        .find(|entry| entry.name == Role::Seed.label());
    let seed = seed.with_context(|| format!("{} has no SEED partition", image.display()))?;
    let sector = table.sector_size.bytes();
    let (offset, size) = (seed.first_lba * sector, seed.sectors() * sector);
    write_fat(&disk, offset, size, files).with_context(doing)
}

/// Writes a FAT16 volume of `size` bytes at `offset` of a disk, over whatever is there.
fn write_fat(disk: &File, offset: u64, size: u64, files: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut tree = Tree::new();
    for (name, text) in files {
        tree.insert_file(name, 0o644, *text)?;
    }
    let format = write::Format {
        kind: fat::Kind::Fat16,
        size,
        sector_size: SectorSize::B512,
        label: String::from("STICK"),
        id: 0x5eed_5eed,
        time: 0,
    };
    let zeros = vec![0; ZEROS];
    for at in (0..size).step_by(ZEROS) {
        let length = usize::try_from(size - at).unwrap_or(ZEROS).min(ZEROS);
        disk.write_all_at(&zeros[..length], offset + at)?;
    }
    let plan = write::plan(&format, &tree)?;
    plan.write(&mut |at, bytes: &[u8]| disk.write_all_at(bytes, offset + at))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stick_holds_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let stick = Stick::fat(
            &folder.path().join("stick"),
            &[("seed.yaml", "version: 1\n")],
        )
        .unwrap();
        let volume = fat::read::Volume::open(File::open(stick.path).unwrap()).unwrap();
        assert_eq!(volume.read_file("seed.yaml", 100).unwrap(), b"version: 1\n");
    }

    #[test]
    fn garbage_is_the_same_for_the_same_seed_and_no_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, seed| {
            let stick = Stick::garbage(&folder.path().join(name), seed).unwrap();
            fs::read(stick.path).unwrap()
        };
        let (one, same, other) = (read("a", 7), read("b", 7), read("c", 9));
        assert!(one == same && one != other && one.len() as u64 == STICK);
        assert_ne!(one[510..512], [0x55, 0xaa]);
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8], expected| {
            let path = folder.path().join("image");
            fs::write(&path, bytes).unwrap();
            assert_eq!(Format::of(&path).unwrap(), expected);
        };
        check(b"QFI\xfb\0\0\0\x03", Format::Qcow2);
        check(b"QFI", Format::Raw);
        check(b"", Format::Raw);
    }
}
