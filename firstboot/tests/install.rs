//! An installation from a medium in a file to a disk in a file, read back by the readers of formats.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

use std::fs::File;
use std::os::unix::fs::FileExt;

use contract::partition::{Arch, Partition, Role};
use firstboot::install::write::{Installation, Medium, Target, install};
use formats::fat::read::Volume;
use formats::fat::{self, Kind};
use formats::gpt::{self, Entry, SectorSize, Table};
use formats::read_at::{ReadAt, Window};
use formats::tree::Tree;
use formats::verity::{self, HashTree};

const MIB: u64 = 1 << 20;
const ROLES: [Role; 7] = [
    Role::BiosBoot,
    Role::Esp,
    Role::Seed,
    Role::Store,
    Role::StoreVerity,
    Role::Root,
    Role::RootVerity,
];
/// Sizes in MiB on the medium and on the disk.
const SMALL: [u64; 7] = [1, 16, 16, 3, 1, 5, 1];
const LARGE: [u64; 7] = [1, 300, 32, 6, 1, 8, 1];
const SEED: &str = "version: 1\n";
const GUIDS: [[u8; 16]; 3] = [[1; 16], [2; 16], [3; 16]];

/// A part of a disk.
fn window<'a>(disk: &'a File, sizes: &[u64; 7], role: Role) -> Window<&'a File> {
    let index = ROLES.iter().position(|other| *other == role).unwrap();
    let offset = (1 + sizes[..index].iter().sum::<u64>()) * MIB;
    Window::new(disk, offset, sizes[index] * MIB).unwrap()
}

fn put(disk: &File, sizes: &[u64; 7], role: Role, bytes: &[u8]) {
    let index = ROLES.iter().position(|other| *other == role).unwrap();
    let offset = (1 + sizes[..index].iter().sum::<u64>()) * MIB;
    disk.write_all_at(bytes, offset).unwrap();
}

fn put_fat(disk: &File, role: Role, tree: &Tree) {
    let format = fat::write::Format {
        kind: Kind::Fat16,
        size: 16 * MIB,
        sector_size: SectorSize::B512,
        label: role.label().into(),
        id: 1,
        time: 0,
    };
    let plan = fat::write::plan(&format, tree).unwrap();
    let index = ROLES.iter().position(|other| *other == role).unwrap();
    let start = (1 + SMALL[..index].iter().sum::<u64>()) * MIB;
    plan.write(&mut |offset, bytes| disk.write_all_at(bytes, start + offset))
        .unwrap();
}

/// Data that is different everywhere, in a file of its own, and on the medium with its hash tree.
fn put_verified(disk: &File, role: Role, beside: Role, mib: u64) -> (File, [u8; 32]) {
    let tag = role.label().len() as u64;
    let data: Vec<u8> = (0..mib * MIB / 8)
        .flat_map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ tag).to_le_bytes())
        .collect();
    let mut tree = HashTree::new(b"salt", [4; 16]).unwrap();
    tree.update(&data);
    let verity = tree.finish().unwrap();
    let mut hashes = Vec::new();
    verity.write(&mut hashes).unwrap();
    put(disk, &SMALL, role, &data);
    put(disk, &SMALL, beside, &hashes);
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&data, 0).unwrap();
    (file, verity.root_hash)
}

fn medium() -> Medium {
    let disk = tempfile::tempfile().unwrap();
    let size = (2 + SMALL.iter().sum::<u64>()) * MIB;
    disk.set_len(size).unwrap();
    let mut first = 2048;
    let entries = (10..).zip(ROLES).zip(SMALL).map(|((tag, role), mib)| {
        let entry = Entry {
            type_guid: *role.type_guid(Arch::Amd64).as_bytes(),
            guid: [tag; 16],
            first_lba: first,
            last_lba: first + mib * 2048 - 1,
            attributes: 0,
            name: role.label().into(),
        };
        first += mib * 2048;
        entry
    });
    let table = Table::new([9; 16], SectorSize::B512, size / 512, entries);
    for (offset, bytes) in table.write().unwrap() {
        disk.write_all_at(&bytes, offset).unwrap();
    }
    disk.write_all_at(&[0x90; 440], 0).unwrap();
    put(&disk, &SMALL, Role::BiosBoot, b"core");
    let mut esp = Tree::new();
    esp.insert_file("EFI/BOOT/BOOTX64.EFI", 0o644, vec![7; 100_000])
        .unwrap();
    esp.insert_file(
        "EFI/Linux/seedbed-0123456789ab.efi",
        0o644,
        vec![8; 3_000_000],
    )
    .unwrap();
    put_fat(&disk, Role::Esp, &esp);
    let mut seed = Tree::new();
    seed.insert_file("README.txt", 0o644, "read me").unwrap();
    seed.insert_file("seed.yaml", 0o644, "another").unwrap();
    put_fat(&disk, Role::Seed, &seed);
    let (root, root_hash) = put_verified(&disk, Role::Root, Role::RootVerity, 5);
    let (store, store_hash) = put_verified(&disk, Role::Store, Role::StoreVerity, 3);
    Medium {
        table: gpt::read(&disk, SectorSize::B512).unwrap(),
        disk,
        root,
        store,
        root_hash,
        store_hash,
    }
}

fn partitions() -> Vec<Partition> {
    let pair = ROLES.into_iter().zip(LARGE);
    pair.map(|(role, mib)| Partition {
        role,
        bytes: mib * MIB,
    })
    .collect()
}

/// Installs to a new disk of `mib`, which was full of something.
fn installed(medium: &Medium, sector_size: SectorSize, mib: u64) -> (File, anyhow::Result<()>) {
    let disk = tempfile::tempfile().unwrap();
    disk.set_len(mib * MIB).unwrap();
    disk.write_all_at(&[0xff; 1 << 20], 0).unwrap();
    disk.write_all_at(&[0xff; 1 << 20], (mib - 1) * MIB)
        .unwrap();
    let target = Target {
        disk: disk.try_clone().unwrap(),
        sector_size,
    };
    let partitions = partitions();
    let installation = Installation {
        partitions: &partitions,
        arch: Arch::Amd64,
        seed: SEED,
        time: 1_735_689_599,
        guids: GUIDS,
    };
    let result = install(medium, &target, &installation, &|_| {});
    (disk, result)
}

#[test]
fn the_installed_disk_is_the_medium_with_room_to_grow() {
    let medium = medium();
    for sector_size in [SectorSize::B512, SectorSize::B4096] {
        let (disk, result) = installed(&medium, sector_size, 1000);
        result.unwrap();
        let table = gpt::read(&disk, sector_size).unwrap();
        assert_eq!(table.disk_guid, GUIDS[0]);
        let entries: Vec<&Entry> = table.entries.values().collect();
        let sizes: Vec<u64> = entries
            .iter()
            .map(|entry| entry.sectors() * sector_size.bytes() / MIB)
            .collect();
        assert_eq!(sizes, LARGE);
        assert_eq!((entries[1].guid, entries[2].guid), (GUIDS[1], GUIDS[2]));
        assert_eq!(entries[5].guid, [15; 16], "root is found by its hash");

        let part = |role| window(&disk, &LARGE, role);
        let check = |role, beside, hash| verity::verify(&part(role), &part(beside), hash).unwrap();
        check(Role::Root, Role::RootVerity, &medium.root_hash);
        check(Role::Store, Role::StoreVerity, &medium.store_hash);
        let esp = Volume::open(part(Role::Esp)).unwrap();
        assert_eq!(esp.kind(), Kind::Fat32);
        let uki = esp.read_file("EFI/Linux/seedbed-0123456789ab.efi", 4_000_000);
        assert_eq!(uki.unwrap(), vec![8; 3_000_000]);
        let seed = Volume::open(part(Role::Seed)).unwrap();
        assert_eq!(seed.read_file("seed.yaml", 100).unwrap(), SEED.as_bytes());
        assert_eq!(seed.read_file("README.txt", 100).unwrap(), b"read me");
        assert_eq!(disk.read_vec_at(0, 440).unwrap(), [0x90; 440]);
        assert_eq!(part(Role::BiosBoot).read_vec_at(0, 4).unwrap(), b"core");
    }
}

#[test]
fn a_medium_that_lies_leaves_a_disk_that_does_not_start() {
    let mut medium = medium();
    medium.store_hash[3] ^= 1;
    let (disk, result) = installed(&medium, SectorSize::B512, 1000);
    let error = format!("{:#}", result.unwrap_err());
    assert!(
        error.starts_with("reading the STORE partition back"),
        "{error}"
    );
    assert!(gpt::read(&disk, SectorSize::B512).is_err());
}

#[test]
fn a_disk_that_is_too_small_is_left_alone() {
    let (disk, result) = installed(&medium(), SectorSize::B512, 300);
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains("are needed"), "{error}");
    assert_eq!(disk.read_vec_at(0, 512).unwrap(), [0xff; 512]);
}

/// The medium's root fails to be read, as dm-verity has it where a block is damaged.
#[test]
fn a_damaged_medium_is_named() {
    let mut medium = medium();
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(5 * MIB).unwrap();
    // What is open for writing alone cannot be read.
    medium.root = File::options().write(true).open(file.path()).unwrap();
    let (disk, result) = installed(&medium, SectorSize::B512, 1000);
    let error = format!("{:#}", result.unwrap_err());
    assert!(
        error.starts_with("writing the ROOT partition: reading the medium"),
        "{error}"
    );
    assert!(gpt::read(&disk, SectorSize::B512).is_err());
}
