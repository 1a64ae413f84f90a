//! The search on a machine in memory with real FAT volumes.

use super::*;
use crate::host::fake::Fake;
use formats::fat::{Kind, write};
use formats::gpt::SectorSize;
use formats::tree::Tree;

const SEED: &str =
    "version: 1\ncluster: {name: plant-7, secret: abcdefghijklmnopqrstuvwxyz234567}\n";
const SIZE: u64 = 16 << 20;

fn volume(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tree = Tree::new();
    for (path, text) in files {
        tree.insert_file(path, 0o644, text.as_bytes().to_vec())
            .unwrap();
    }
    let format = write::Format {
        kind: Kind::Fat16,
        size: SIZE,
        sector_size: SectorSize::B512,
        label: "KINGSTON".into(),
        id: 1,
        time: 0,
    };
    let mut bytes = vec![0; SIZE as usize];
    let mut put = |offset: u64, part: &[u8]| {
        let from = offset as usize;
        bytes[from..from + part.len()].copy_from_slice(part);
        Ok(())
    };
    write::plan(&format, &tree)
        .unwrap()
        .write(&mut put)
        .unwrap();
    bytes
}

/// Attaches a device at `place` in the device tree; its name is the last component.
fn attach(fake: &Fake, place: &str, bytes: &[u8]) {
    let name = place.rsplit('/').next().unwrap();
    fake.link(&format!("/sys/class/block/{name}"), place);
    fake.put(&format!("{place}/size"), format!("{}\n", bytes.len() / 512));
    fake.put(&format!("/dev/{name}"), bytes);
}

#[track_caller]
fn check(fake: &Fake, found: Option<&str>, rejected: &[(&str, &str)]) {
    let search = find(fake);
    assert_eq!(
        search.found.as_ref().map(|found| found.origin.as_str()),
        found,
        "{search:?}"
    );
    assert_eq!(search.rejected.len(), rejected.len(), "{search:?}");
    for (one, (origin, reason)) in search.rejected.iter().zip(rejected) {
        assert_eq!(one.origin, *origin);
        assert!(one.reason.contains(reason), "{}", one.reason);
    }
    assert_eq!(
        fake.effects(),
        Vec::<String>::new(),
        "a search changes nothing"
    );
}

const STICK: &str = "/sys/devices/pci0/usb1/1-1/block/sdb";

#[test]
fn a_stick_with_and_without_partitions() {
    let fake = Fake::default();
    check(&fake, None, &[]);
    attach(&fake, STICK, &volume(&[("seed.yaml", SEED)]));
    check(&fake, Some("seed.yaml on the stick sdb (KINGSTON)"), &[]);

    let fake = Fake::default();
    attach(&fake, STICK, &[0; 4096]);
    attach(
        &fake,
        &format!("{STICK}/sdb1"),
        &volume(&[("SEED.YAML", SEED), ("photo.jpg", "x")]),
    );
    fake.put(&format!("{STICK}/sdb1/partition"), "1\n");
    check(&fake, Some("seed.yaml on the stick sdb1 (KINGSTON)"), &[]);
    assert_eq!(find(&fake).found.unwrap().text, SEED);
}

#[test]
fn a_stick_goes_before_a_disk_and_the_image() {
    let fake = Fake::default();
    fake.put(EMBEDDED_SEED, SEED);
    check(&fake, Some("the image"), &[]);
    attach(
        &fake,
        "/sys/devices/pci0/virtio3/block/vdb",
        &volume(&[("seed.yaml", SEED)]),
    );
    check(&fake, Some("seed.yaml on the disk vdb"), &[]);
    attach(
        &fake,
        STICK,
        &volume(&[("seed.yaml", &SEED.replace("plant-7", "plant-8"))]),
    );
    let before = "the seed at seed.yaml on the stick sdb (KINGSTON) goes before it";
    check(
        &fake,
        Some("seed.yaml on the stick sdb (KINGSTON)"),
        &[("seed.yaml on the disk vdb", before), ("the image", before)],
    );
}

#[test]
fn what_cannot_be_taken_is_explained() {
    let stick = |bytes: &[u8], origin: &str, reason: &str| {
        let fake = Fake::default();
        attach(&fake, STICK, bytes);
        check(&fake, None, &[(origin, reason)]);
    };
    let labelled = "the stick sdb (KINGSTON)";
    stick(&[0; 8192], "the stick sdb", "no FAT volume");
    stick(
        b"\xeb\x76\x90EXFAT   ".repeat(512).as_slice(),
        "the stick sdb",
        "formatted as exFAT",
    );
    stick(
        &volume(&[("seed.yaml.txt", SEED)]),
        labelled,
        "must be called seed.yaml",
    );
    let faulty = SEED.replace("name", "nmae");
    stick(
        &volume(&[("seed.yaml", &faulty)]),
        "seed.yaml on the stick sdb (KINGSTON)",
        "did you mean name?",
    );

    let empty = Fake::default();
    attach(&empty, STICK, &volume(&[("photo.jpg", "x")]));
    check(&empty, None, &[]);

    let disk = Fake::default();
    attach(&disk, "/sys/devices/pci0/block/nvme0n1", &[0; 8192]);
    check(&disk, None, &[]);
}

#[test]
fn a_stick_that_cannot_be_read_is_named() {
    let fake = Fake::default();
    attach(&fake, STICK, &volume(&[("seed.yaml", SEED)]));
    // The device says that it is there, and gives nothing.
    fake.put("/dev/sdb", "");
    check(
        &fake,
        None,
        &[(
            "the stick sdb",
            "reading the volume at byte 0 failed: /dev/sdb ends before 0",
        )],
    );
}
