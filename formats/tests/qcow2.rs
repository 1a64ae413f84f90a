//! qcow2 images: written, checked and compared by qemu-img, and images of qemu-img read.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/referee.rs"]
mod referee;

use formats::qcow2::{self, Error, Image, ReadError};
use formats::read_at::ReadAt;
use proptest::prelude::*;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use tempfile::NamedTempFile;

const MIB: u64 = 1 << 20;

/// A sparse file with `pieces` of data, each filled with its own byte.
fn disk(size: u64, pieces: &[(u64, usize)]) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(size).unwrap();
    for (i, (offset, len)) in pieces.iter().enumerate() {
        let bytes = vec![i as u8 + 1; *len];
        file.as_file().write_all_at(&bytes, *offset).unwrap();
    }
    file
}

fn image(disk: &File) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    let plan = qcow2::plan(disk).unwrap();
    plan.write(&mut file).unwrap();
    file.flush().unwrap();
    assert_eq!(plan.size(), file.as_file().metadata().unwrap().len());
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[test]
fn qemu_img_finds_the_same_disk() {
    let test = "qcow2::qemu_img_finds_the_same_disk";
    let cases: [(u64, &[(u64, usize)]); 4] = [
        (512, &[(100, 10)]),
        (64 * 1024, &[]),
        // The last cluster is cut short, and one piece crosses a cluster's border.
        (3 * MIB + 512, &[(0, 1), (65_535, 2), (3 * MIB, 512)]),
        // Over several L2 tables, one of which is not needed.
        (
            1700 * MIB,
            &[
                (0, 512),
                (512 * MIB - 1, 2),
                (1600 * MIB, 3_000_000),
                (1700 * MIB - 1, 1),
            ],
        ),
    ];
    for (size, pieces) in cases {
        let disk = disk(size, pieces);
        let image = image(disk.as_file());
        if let Some(text) = referee::run(test, "qemu-img", &["check", path(&image)]) {
            assert!(text.contains("No errors were found"), "{text}");
        }
        let compare = [
            "compare",
            "-f",
            "raw",
            "-F",
            "qcow2",
            path(&disk),
            path(&image),
        ];
        if let Some(text) = referee::run(test, "qemu-img", &compare) {
            assert!(text.contains("Images are identical"), "{text}");
        }
        let info = ["info", "--output=json", path(&image)];
        if let Some(text) = referee::run(test, "qemu-img", &info) {
            for part in ["\"compat\": \"1.1\"", &format!("\"virtual-size\": {size},")] {
                assert!(text.contains(part), "{part} is not in\n{text}");
            }
        }
        assert_same(disk.as_file(), &Image::open(image.as_file()).unwrap());
    }
}

fn assert_same(disk: &impl ReadAt, image: &impl ReadAt) {
    let size = disk.size().unwrap();
    assert_eq!(image.size().unwrap(), size);
    let mut at = 0;
    while at < size {
        // Not a multiple of a cluster, so that reads cross the borders.
        let len = (size - at).min(5_000_011) as usize;
        assert!(disk.read_vec_at(at, len).unwrap() == image.read_vec_at(at, len).unwrap());
        at += len as u64;
    }
    assert!(image.read_vec_at(size - 1, 2).is_err());
}

#[test]
fn the_bytes_stay_the_same() {
    // The same profile is to give the same image with every build of this program: a change here is a
    // change of every image's digest, and belongs in the changelog.
    let disk = disk(3 * MIB, &[(0, 512), (2 * MIB, 100_000)]);
    let bytes = std::fs::read(image(disk.as_file()).path()).unwrap();
    assert_eq!(crc32fast::hash(&bytes), 0x71fe_322d);
}

#[test]
fn images_of_qemu_img_read() {
    let test = "qcow2::images_of_qemu_img_read";
    let disk = disk(
        40 * MIB,
        &[(0, 512), (5 * MIB + 7, 100_000), (39 * MIB, 512)],
    );
    let convert = |options: &[&str]| {
        let image = NamedTempFile::new().unwrap();
        let convert = ["convert", "-f", "raw", "-O", "qcow2"];
        let args = [&convert[..], options, &[path(&disk), path(&image)]].concat();
        referee::run(test, "qemu-img", &args).map(|_| image)
    };
    for options in [
        "compat=0.10",
        "compat=1.1",
        "cluster_size=512",
        "cluster_size=2M",
    ] {
        if let Some(image) = convert(&["-o", options]) {
            assert_same(disk.as_file(), &Image::open(image.as_file()).unwrap());
        }
    }
    if let Some(image) = convert(&["-c"]) {
        let image = Image::open(image.as_file()).unwrap();
        let error = image.read_vec_at(0, 512).unwrap_err();
        assert!(error.to_string().contains("compressed clusters"), "{error}");
    }
    if let Some(image) = convert(&["-o", "extended_l2=on"]) {
        let error = Image::open(image.as_file()).unwrap_err();
        assert!(matches!(
            error,
            ReadError::Unsupported("an incompatible feature")
        ));
    }
}

#[test]
fn more_than_one_refcount_block_is_checked_too() {
    // 32768 clusters in a refcount block: 2 GiB and a little of a file in memory that has no zeros.
    struct Ones(u64);
    impl ReadAt for Ones {
        fn size(&self) -> std::io::Result<u64> {
            Ok(self.0)
        }
        fn read_exact_at(&self, buf: &mut [u8], _: u64) -> std::io::Result<()> {
            buf.fill(1);
            Ok(())
        }
    }
    /// Writes blocks of ones as holes: only the tables matter to the check.
    struct Sparse<'a>(&'a File, u64);
    impl Write for Sparse<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if bytes[0] != 1 {
                self.0.write_all_at(bytes, self.1)?;
            }
            self.1 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.set_len(self.1)
        }
    }
    let clusters = 32768;
    let source = Ones(clusters * 65536);
    let plan = qcow2::plan(&source).unwrap();
    // Header, L1, 4 L2 tables, refcount table, 2 refcount blocks.
    assert_eq!(plan.size(), (clusters + 9) * 65536);
    let file = NamedTempFile::new().unwrap();
    let mut out = Sparse(file.as_file(), 0);
    plan.write(&mut out).unwrap();
    out.flush().unwrap();
    let test = "qcow2::more_than_one_refcount_block_is_checked_too";
    if let Some(text) = referee::run(test, "qemu-img", &["check", path(&file)]) {
        assert!(text.contains("No errors were found"), "{text}");
        assert!(text.contains("32768/32768 = 100.00% allocated"), "{text}");
    }
}

#[test]
fn extents_spare_reading_and_bad_ones_are_refused() {
    let disk = disk(MIB, &[(0, 512), (700_000, 512)]);
    let all = qcow2::plan(disk.as_file()).unwrap();
    let known =
        qcow2::plan_extents(disk.as_file(), &[0..512, 512..4096, 700_000..700_512]).unwrap();
    let write = |plan: &qcow2::Plan<'_, File>| {
        let mut bytes = Vec::new();
        plan.write(&mut bytes).unwrap();
        bytes
    };
    assert!(write(&all) == write(&known));
    let odd = vec![0; 1000];
    assert!(matches!(
        qcow2::plan_extents(&odd, &[]),
        Err(Error::Size(1000))
    ));
    for extents in [[0..10, 5..20], [10..20, 0..5], [0..10, 20..MIB + 1]] {
        let error = qcow2::plan_extents(disk.as_file(), &extents).unwrap_err();
        assert!(matches!(error, Error::Extent { .. }));
    }
}

#[test]
fn other_files_are_refused() {
    let check = |edit: fn(&mut Vec<u8>), expected: &str| {
        let disk = disk(MIB, &[(0, 512)]);
        let mut bytes = std::fs::read(image(disk.as_file()).path()).unwrap();
        edit(&mut bytes);
        assert_eq!(Image::open(bytes).unwrap_err().to_string(), expected);
    };
    check(|b| b[0] = 0, "it is no qcow2 image of version 2 or 3");
    check(|b| b[7] = 4, "it is no qcow2 image of version 2 or 3");
    check(
        |b| b[15] = 1,
        "the qcow2 image has a backing file, which cannot be read here: convert it with qemu-img",
    );
    check(
        |b| b[23] = 8,
        "the qcow2 header field cluster_bits has the impossible value 8",
    );
    check(
        |b| b[24] = 1,
        "the qcow2 header field l1_size has the impossible value 1",
    );
    check(
        |b| b.truncate(65_540),
        "reading the qcow2 image's tables failed",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_disk_round_trips(
        sectors in 1..4000_u64,
        pieces in prop::collection::vec((0..2_000_000_usize, 1..100_000_usize, any::<u8>()), 0..6),
    ) {
        let mut disk = vec![0; sectors as usize * 512];
        for (at, len, byte) in pieces {
            let end = disk.len().min(at + len);
            disk[at.min(end)..end].fill(byte);
        }
        let plan = qcow2::plan(&disk).unwrap();
        let mut bytes = Vec::new();
        plan.write(&mut bytes).unwrap();
        let image = Image::open(bytes).unwrap();
        prop_assert!(image.read_vec_at(0, disk.len()).unwrap() == disk);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        header in prop::collection::vec((0..112_usize, any::<u8>()), 0..4),
        tables in prop::collection::vec((0..16_usize, any::<u8>()), 0..8),
        len in 0..400_000_usize,
    ) {
        let mut disk = vec![0; 4 << 20];
        disk[70_000] = 1;
        let mut bytes = Vec::new();
        qcow2::plan(&disk).unwrap().write(&mut bytes).unwrap();
        for (at, byte) in header {
            bytes[at] = byte;
        }
        for (at, byte) in tables {
            bytes[65536 * (1 + at / 8) + at % 8] = byte;
        }
        bytes.truncate(len);
        if let Ok(image) = Image::open(bytes) {
            for at in [0, 70_000, 1 << 22, image.size().unwrap().saturating_sub(9)] {
                let _ = image.read_vec_at(at, 9);
            }
        }
    }
}
