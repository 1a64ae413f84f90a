//! OVA packages: unpacked by tar, checked by sha256sum and qemu-img, and read back.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "support/disk.rs"]
mod disk;
#[path = "support/referee.rs"]
mod referee;

use disk::{MIB, assert_same, disk, path};
use formats::disk::{Disk, ReadError};
use formats::ova::{self, Machine};
use formats::read_at::ReadAt;
use proptest::prelude::*;
use std::fs;
use std::io::Cursor;

const MACHINE: Machine<'_> = Machine {
    name: "seedbed-demo-amd64",
    time: 1_760_000_000,
    content_id: 0x1234_5678,
};

fn package(disk: &(impl ReadAt + Sync)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let disk = Disk::new(disk).unwrap();
    ova::write(&disk, &MACHINE, Cursor::new(&mut bytes)).unwrap();
    bytes
}

#[test]
fn the_reference_tools_find_the_same_disk() {
    let test = "ova::the_reference_tools_find_the_same_disk";
    let disk = disk(40 * MIB, &[(0, 512), (5 * MIB + 7, 3_000_000)]);
    let bytes = package(disk.as_file());
    assert_same(disk.as_file(), &ova::open(bytes.as_slice()).unwrap());

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("package.ova"), &bytes).unwrap();
    let unpack = ["-xvf", &file("package.ova"), "-C", &file("")];
    let Some(members) = referee::run(test, "tar", &unpack) else {
        return;
    };
    let name = MACHINE.name;
    assert_eq!(members, format!("{name}.ovf\n{name}.mf\n{name}.vmdk\n"));
    let vmdk = file(&format!("{name}.vmdk"));
    let size = fs::metadata(&vmdk).unwrap().len();
    let descriptor = fs::read_to_string(file(&format!("{name}.ovf"))).unwrap();
    assert!(descriptor.contains(&format!("ovf:size=\"{size}\"")));

    let manifest = fs::read_to_string(file(&format!("{name}.mf"))).unwrap();
    let sums: String = manifest
        .lines()
        .map(|line| {
            let (name, digest) = line.split_once(")= ").unwrap();
            let name = name.strip_prefix("SHA256(").unwrap();
            format!("{digest}  {}\n", file(name))
        })
        .collect();
    fs::write(file("sums"), sums).unwrap();
    referee::run(test, "sha256sum", &["--check", "--strict", &file("sums")]);
    referee::run(test, "qemu-img", &["check", "-f", "vmdk", &vmdk]);
    let compare = ["compare", "-f", "raw", "-F", "vmdk", path(&disk), &vmdk];
    if let Some(text) = referee::run(test, "qemu-img", &compare) {
        assert!(text.contains("Images are identical"), "{text}");
    }
}

#[test]
fn other_files_are_refused() {
    let disk = vec![1; 1 << 20];
    let mut bytes = package(&disk);
    let other = ova::open(&bytes[..100]).unwrap_err();
    assert!(matches!(other, ReadError::Other("ova")));
    bytes[0] ^= 1;
    let other = ova::open(bytes).unwrap_err();
    assert!(matches!(other, ReadError::Other("ova")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_bytes_make_the_reader_panic(
        edits in prop::collection::vec((0..8192_usize, any::<u8>()), 0..10),
        sizes in prop::collection::vec((0..8_usize, any::<[u8; 12]>()), 0..2),
    ) {
        let mut bytes = package(&vec![1; 1 << 20]);
        for (block, size) in sizes {
            bytes[block * 512 + 124..][..12].copy_from_slice(&size);
        }
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        if let Ok(image) = ova::open(bytes) {
            let _ = image.read_vec_at(70_000, 9);
        }
    }
}
