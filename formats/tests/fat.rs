//! FAT volumes: written and shown to fsck.fat, mdir and mcopy; made by mkfs.fat and mcopy and read; damaged
//! and mutated.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/referee.rs"]
mod referee;

use formats::fat::Kind;
use formats::fat::read::{self, Volume};
use formats::fat::write::{self, Error, Format};
use formats::gpt::SectorSize;
use formats::tree::{Content, Tree};
use proptest::prelude::*;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

fn format(kind: Kind, sector_size: SectorSize) -> Format {
    let (size, label) = match kind {
        Kind::Fat32 => (1024 * MIB, "ESP"),
        _ => (32 * MIB, "SEED"),
    };
    Format {
        kind,
        size,
        sector_size,
        label: label.to_owned(),
        id: 0x5eed_bed1,
        time: 1_735_689_599,
    }
}

/// Bytes that differ from file to file and from cluster to cluster.
fn bytes(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7 + i / 4096) as u8 ^ seed).collect()
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("EFI/BOOT/BOOTX64.EFI", bytes(1, 123_456)),
        ("EFI/Linux/seedbed_6.12.0+3.efi", bytes(2, 3_000_000)),
        ("EFI/systemd/systemd-bootx64.efi", bytes(3, 4096)),
        ("loader/loader.conf", b"timeout 0\n".to_vec()),
        ("seed.yaml", bytes(4, 5000)),
        ("README.TXT", bytes(5, 2048)),
        (
            "Grüße aus Übersee, with a rather long name.txt",
            bytes(6, 1),
        ),
        ("empty", vec![]),
    ]
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    for (path, bytes) in files() {
        tree.insert_file(path, 0o644, bytes).unwrap();
    }
    tree.insert_dir("no entries", 0o755).unwrap();
    // More than one cluster of entries.
    for i in 0..150 {
        let path = format!("many/entry number {i}.conf");
        tree.insert_file(&path, 0o644, "x").unwrap();
    }
    tree
}

fn image(format: &Format, tree: &Tree) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(format.size).unwrap();
    let mut end = 0;
    let plan = write::plan(format, tree).unwrap();
    plan.write(&mut |offset, bytes| {
        assert!(offset >= end, "{offset} comes after {end}");
        end = offset + bytes.len() as u64;
        file.as_file().write_all_at(bytes, offset)
    })
    .unwrap();
    assert!(end <= format.size);
    file
}

fn all_formats() -> Vec<Format> {
    let kinds = [Kind::Fat16, Kind::Fat32];
    let of = |kind| [SectorSize::B512, SectorSize::B4096].map(|sector| format(kind, sector));
    kinds.into_iter().flat_map(of).collect()
}

#[test]
fn reference_tools_find_no_fault() {
    let test = "fat::reference_tools_find_no_fault";
    for format in all_formats() {
        let file = image(&format, &tree());
        let path = file.path().to_str().unwrap();
        if let Some(text) = referee::run(test, "fsck.fat", &["-n", "-v", path]) {
            let files = format!(" {} files", tree().len());
            assert!(text.contains(&files), "{text}");
            for fault in ["differ", "Dirty", "wrong", "Reclaim", "should be"] {
                assert!(!text.contains(fault), "{text}");
            }
        }
        if let Some(text) = referee::run(test, "mdir", &["-/", "-i", path]) {
            for part in [
                &format!("Volume in drive : is {}", format.label),
                "Volume Serial Number is 5EED-BED1",
                "3000000 2024-12-31  23:59  seedbed_6.12.0+3.efi",
                "README   TXT      2048 2024-12-31",
                "with a rather long name.txt",
                " 1 2024-12-31  23:59  entry number 98.conf",
            ] {
                assert!(text.contains(part), "{part} is not in\n{text}");
            }
        }
        let out = tempfile::tempdir().unwrap();
        let target = out.path().to_str().unwrap();
        let all = ["-s", "-n", "-i", path, "::*", target];
        if referee::run(test, "mcopy", &all).is_some() {
            for (path, bytes) in files().into_iter().filter(|(path, _)| path.is_ascii()) {
                assert_eq!(
                    std::fs::read(out.path().join(path)).unwrap(),
                    bytes,
                    "{path}"
                );
            }
        }
    }
}

#[test]
fn what_is_written_reads_back() {
    for format in all_formats() {
        let file = image(&format, &tree());
        let volume = Volume::open(file.as_file()).unwrap();
        assert_eq!((volume.kind(), volume.id()), (format.kind, 0x5eed_bed1));
        assert_eq!(volume.label().unwrap(), format.label);
        for (path, bytes) in files() {
            assert_eq!(volume.read_file(path, 4 << 20).unwrap(), bytes, "{path}");
            let upper = path.to_uppercase();
            assert_eq!(volume.read_file(&upper, 4 << 20).unwrap(), bytes, "{upper}");
        }
        assert_eq!(volume.read_dir("MANY").unwrap().len(), 150);
        assert_eq!(volume.read_dir("no entries").unwrap().len(), 0);
        let names: Vec<String> = volume
            .read_root()
            .unwrap()
            .into_iter()
            .map(|e| e.name)
            .collect();
        let expected: Vec<String> = tree().children("").map(|(name, _)| name).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes_and_zeros_stay_holes() {
    let format = format(Kind::Fat32, SectorSize::B512);
    let hole = tempfile::tempfile().unwrap();
    hole.set_len(100 * MIB).unwrap();
    hole.write_all_at(b"end", 100 * MIB - 3).unwrap();
    let mut tree = tree();
    let content = Content::Slice {
        file: Arc::new(hole),
        offset: 0,
        len: 100 * MIB,
    };
    tree.insert_file("hole", 0o644, content).unwrap();
    let [one, two] = [image(&format, &tree), image(&format, &tree)];
    let taken = one.as_file().metadata().unwrap().blocks() * 512;
    assert!(taken < 8 * MIB, "{taken} bytes");
    let volume = Volume::open(one.as_file()).unwrap();
    assert!(
        volume
            .read_file("hole", 100 * MIB)
            .unwrap()
            .ends_with(b"end")
    );
    let digest = |file: &File| {
        let mut sum = crc32fast::Hasher::new();
        let mut chunk = vec![0; 1 << 20];
        for i in 0..160 {
            file.read_exact_at(&mut chunk, i * MIB).unwrap();
            sum.update(&chunk);
        }
        sum.finalize()
    };
    assert_eq!(digest(one.as_file()), digest(two.as_file()));
}

#[test]
fn volumes_of_the_reference_tools_read() {
    let test = "fat::volumes_of_the_reference_tools_read";
    let source = tempfile::tempdir().unwrap();
    let long = "a name long enough for several entries.yaml";
    let files = [
        ("seed.yaml", 777),
        ("Short.txt", 1),
        ("lower.txt", 5000),
        (long, 70_000),
    ];
    for (i, (name, len)) in files.iter().enumerate() {
        std::fs::create_dir_all(source.path().join("Sub Dir/deep")).unwrap();
        for dir in ["", "Sub Dir/deep"] {
            std::fs::write(source.path().join(dir).join(name), bytes(i as u8, *len)).unwrap();
        }
    }
    let cases = [
        ("12", Kind::Fat12, 4, "512"),
        ("16", Kind::Fat16, 32, "512"),
        ("16", Kind::Fat16, 64, "4096"),
        ("32", Kind::Fat32, 300, "512"),
        // Too few clusters for FAT32 by the specification, but formatters make such volumes.
        ("32", Kind::Fat32, 40, "512"),
    ];
    for (bits, kind, mib, sector) in cases {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(mib * MIB).unwrap();
        let path = file.path().to_str().unwrap();
        let mkfs = [
            "-F", bits, "-S", sector, "-n", "MY STICK", "-i", "12345678", path,
        ];
        let copy = |source: &Path| {
            let args = ["-s", "-i", path, source.to_str().unwrap(), "::"];
            referee::run(test, "mcopy", &args)
        };
        if referee::run(test, "mkfs.fat", &mkfs).is_none()
            || copy(&source.path().join("Sub Dir")).is_none()
        {
            continue;
        }
        for (name, _) in files {
            copy(&source.path().join(name));
        }
        let volume = Volume::open(file.as_file()).unwrap();
        assert_eq!((volume.kind(), volume.id()), (kind, 0x1234_5678));
        assert_eq!(volume.label().unwrap(), "MY STICK");
        for (i, (name, len)) in files.iter().enumerate() {
            for path in [name.to_string(), format!("sub dir/DEEP/{name}")] {
                let read = volume.read_file(&path, 100_000).unwrap();
                assert!(read == bytes(i as u8, *len), "{path} on FAT{bits}");
            }
        }
        let mut names: Vec<String> = volume
            .read_root()
            .unwrap()
            .into_iter()
            .map(|e| e.name)
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["Short.txt", "Sub Dir", long, "lower.txt", "seed.yaml"]
        );
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let check = |path: &str, content: Content, expected: &str| {
        let mut tree = tree();
        tree.insert_file(path, 0o644, content).unwrap();
        let format = format(Kind::Fat16, SectorSize::B512);
        let error = write::plan(&format, &tree).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let of = |len| Content::Slice {
        file: Arc::new(tempfile::tempfile().unwrap()),
        offset: 0,
        len,
    };
    check(
        "EFI/Linux/x.efi",
        of(31 * MIB),
        "\"EFI/Linux/x.efi\" of 32505856 bytes does not fit in the FAT volume: 30339072 bytes are free",
    );
    check(
        "big",
        of(1 << 32),
        "\"big\" of 4294967296 bytes is larger than a FAT volume can hold, 4 GiB",
    );
    check(
        "many/ENTRY NUMBER 1.CONF",
        "".into(),
        "\"many/ENTRY NUMBER 1.CONF\" and \"many/entry number 1.conf\" are the same name in a FAT volume, which does not tell upper from lower case",
    );
    check(
        "loader/a:b",
        "".into(),
        "\"loader/a:b\" has no place in a FAT volume: it has one of the characters \" * / : < > ? \\ | or a control character",
    );
    check(
        "dot.",
        "".into(),
        "\"dot.\" has no place in a FAT volume: it ends with a dot or a space",
    );
    let mut linked = tree();
    linked.insert_symlink("link", "seed.yaml").unwrap();
    let seed = format(Kind::Fat16, SectorSize::B512);
    assert!(matches!(write::plan(&seed, &linked), Err(Error::NodeKind(path)) if path == "link"));
    let mut crowded = Tree::new();
    for i in 0..171 {
        crowded
            .insert_file(&format!("{i:03} is long enough"), 0o644, "")
            .unwrap();
    }
    let error = write::plan(&seed, &crowded).unwrap_err();
    assert!(
        matches!(
            error,
            Error::DirectoryFull {
                entries: 514,
                most: 512,
                ..
            }
        ),
        "{error}"
    );
    let small = Format {
        size: 200 * MIB,
        ..format(Kind::Fat32, SectorSize::B512)
    };
    assert!(matches!(
        write::plan(&small, &tree()),
        Err(Error::Size { .. })
    ));
    let label = Format {
        label: "seed".into(),
        ..seed
    };
    assert!(matches!(write::plan(&label, &tree()), Err(Error::Label(_))));
}

/// A small volume in memory, and where its first FAT and its root directory are.
fn small() -> (Vec<u8>, usize, usize) {
    let format = Format {
        size: 9 * MIB,
        ..format(Kind::Fat16, SectorSize::B512)
    };
    let mut tree = Tree::new();
    tree.insert_file("seed.yaml", 0o644, bytes(1, 9000))
        .unwrap();
    tree.insert_file("Directory/other file", 0o644, bytes(2, 3000))
        .unwrap();
    let mut image = vec![0; format.size as usize];
    let plan = write::plan(&format, &tree).unwrap();
    let mut put = |offset: u64, bytes: &[u8]| {
        image[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    };
    plan.write(&mut put).unwrap();
    let u16_at = |at: usize| usize::from(image[at]) + 256 * usize::from(image[at + 1]);
    let fat = u16_at(14) * 512;
    let root = fat + 2 * u16_at(22) * 512;
    (image, fat, root)
}

#[test]
fn the_bytes_stay_the_same() {
    // The same profile is to give the same image with every build of this program: a change here is a
    // change of every image's digest, and belongs in the changelog.
    assert_eq!(crc32fast::hash(&small().0), 0x7d0c_4fe4);
}

#[test]
fn duplicate_entries_are_refused_by_name() {
    let (mut image, _, root) = small();
    let entries = (root..root + 512).step_by(32);
    let short: Vec<usize> = entries
        .filter(|at| image[*at] != 0 && image[at + 11] & 0x08 == 0)
        .collect();
    let [first, second] = short[..] else {
        panic!("two files in the root")
    };
    // Each becomes a file of one short name, and what held its long name is deleted.
    for at in (root..root + 512).step_by(32) {
        if image[at + 11] == 0x0f {
            image[at] = 0xe5;
        }
    }
    for at in [first, second] {
        image[at..at + 12].copy_from_slice(b"SEED    TXT\x20");
    }
    let volume = Volume::open(&image).unwrap();
    assert_eq!(volume.read_root().unwrap().len(), 2);
    let error = volume.read_file("seed.txt", 9000).unwrap_err();
    let expected =
        "the volume is damaged: seed.txt is there twice; check it with fsck.fat or chkdsk";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn damaged_chains_are_errors() {
    let (good, fat, root) = small();
    assert_eq!(
        Volume::open(&good)
            .unwrap()
            .read_file("seed.yaml", 9000)
            .unwrap(),
        bytes(1, 9000)
    );
    let entry = (root..root + 512)
        .step_by(32)
        .find(|at| good[*at..].starts_with(b"SEED~1  YAM"))
        .unwrap();
    let first = u16::from_le_bytes(good[entry + 26..entry + 28].try_into().unwrap());
    let check = |next: u16, expected: &str| {
        let mut image = good.clone();
        let at = fat + 2 * usize::from(first + 1);
        image[at..at + 2].copy_from_slice(&next.to_le_bytes());
        let error = Volume::open(&image)
            .unwrap()
            .read_file("seed.yaml", 9000)
            .unwrap_err();
        let expected =
            format!("the volume is damaged: cluster {expected}; check it with fsck.fat or chkdsk");
        assert_eq!(error.to_string(), expected);
    };
    let second = first + 1;
    check(
        first,
        &format!("{first} in the chain of seed.yaml comes a second time"),
    );
    check(
        second,
        &format!("{second} in the chain of seed.yaml comes a second time"),
    );
    check(
        0,
        &format!("{second} in the chain of seed.yaml is marked as free"),
    );
    check(
        1,
        "1 in the chain of seed.yaml is not a cluster of the volume",
    );
    check(
        0xfff0,
        "65520 in the chain of seed.yaml is not a cluster of the volume",
    );
    check(
        0xfff7,
        &format!("{second} in the chain of seed.yaml is marked as bad"),
    );
    check(
        0xffff,
        &format!("{second} in the chain of seed.yaml is the last, though the file goes on"),
    );

    let mut image = good.clone();
    image[entry + 28..entry + 32].fill(0xff);
    let volume = Volume::open(&image).unwrap();
    assert!(matches!(
        volume.read_file("seed.yaml", 9000),
        Err(read::Error::TooLarge {
            size: 0xffff_ffff,
            ..
        })
    ));
    assert!(matches!(
        volume.read_file("seed.yaml", u64::MAX),
        Err(read::Error::Chain { .. })
    ));
    let volume = Volume::open(&good).unwrap();
    for (path, expected) in [
        ("seed.yml", "there is no seed.yml on the volume"),
        ("x/seed.yaml", "there is no x on the volume"),
        ("seed.yaml/x", "/seed.yaml is a file, not a directory"),
        ("Directory", "Directory is a directory, not a file"),
    ] {
        assert_eq!(
            volume.read_file(path, 9000).unwrap_err().to_string(),
            expected
        );
    }
    let cut = &good[..root + 10];
    assert!(matches!(
        Volume::open(cut).unwrap().read_root(),
        Err(read::Error::Read { .. })
    ));
    assert!(matches!(
        Volume::open(&[0_u8; 512][..]),
        Err(read::Error::NotFat("signature"))
    ));
    assert!(matches!(
        Volume::open(&[0_u8; 100][..]),
        Err(read::Error::Read { .. })
    ));
}

proptest! {
    #[test]
    fn no_volume_makes_the_reader_panic_or_loop(
        header in prop::collection::vec((0..62_usize, any::<u8>()), 0..4),
        table in prop::collection::vec((0..40_usize, any::<u8>()), 0..20),
        entries in prop::collection::vec((0..512_usize, any::<u8>()), 0..20),
        fat32 in any::<bool>(),
        len in 0..20_000_usize,
        truncate in prop::bool::weighted(0.1),
    ) {
        let (mut image, fat, root) = small();
        for (at, byte) in header {
            image[at] = byte;
        }
        for (at, byte) in table {
            image[fat + at] = byte;
        }
        for (at, byte) in entries {
            image[root + at] = byte;
        }
        if fat32 {
            // The same tables, read as FAT32 with its root in cluster 2.
            image[17..19].fill(0);
            image.copy_within(22..24, 36);
            image[22..24].fill(0);
            image[44] = 2;
        }
        if truncate {
            image.truncate(len);
        }
        let Ok(volume) = Volume::open(&image) else {
            return Ok(());
        };
        let _ = volume.label();
        let _ = volume.read_file("seed.yaml", 1 << 20);
        let _ = volume.read_file("directory/other file", 1 << 20);
        for entry in volume.read_root().unwrap_or_default() {
            let _ = volume.read_dir(&entry.name);
            if let Ok(bytes) = volume.read_file(&entry.short_name, 10_000) {
                prop_assert!(bytes.len() <= 10_000);
            }
        }
    }
}
