//! A whole image from a fixture archive, without a mirror: the same bytes however it is built, from the store
//! alone; and nothing is left of a build that fails on its way.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "support/mod.rs"]
mod support;

#[path = "bake/architectures.rs"]
mod architectures;

use builder::digest;
use loopback::command::{refuse, seedbed, seedbed_after, succeed};
use loopback::machine::small_machine;
use loopback::small::Small;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

const BOTH: [&str; 2] = ["--format", "raw,qcow2"];
const ALL: &str = "raw,raw.zst,qcow2,qcow2-deflate,vmdk,ova,vhd,vhdx";

fn locked() -> Small {
    small_machine().done(&["lock", "fetch"])
}

/// The digests of all files in a folder, by name.
fn digests(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let digest = |path: &Path| digest::sha256_of(fs::File::open(path).unwrap()).unwrap().0;
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut all: Vec<_> = entries.map(|path| (name(&path), digest(&path))).collect();
    all.sort();
    all
}

#[test]
fn equal_inputs_give_equal_images_however_they_are_built() {
    let small = locked();
    small.server.take_log();
    succeed(small.command("build").args(BOTH));
    let first = digests(&small.out());
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "SHA256SUMS",
            "manifest.json",
            "report.html",
            "seedbed-small-amd64.cdx.json",
            "seedbed-small-amd64.qcow2",
            "seedbed-small-amd64.raw",
            "seedbed-small-amd64.spdx.json",
        ]
    );

    // Another place, umask, zone and number of threads; the store is a copy with other times.
    let elsewhere = tempfile::tempdir().unwrap();
    let store = elsewhere.path().join("store");
    fs::create_dir_all(store.join("sha256")).unwrap();
    for name in small.names(small.store("sha256")) {
        let to = store.join("sha256").join(&name);
        fs::copy(small.store("sha256").join(&name), to).unwrap();
    }
    let out = elsewhere.path().join("deep/down");
    let mut again = seedbed_after("umask 077", elsewhere.path());
    again.arg("build").arg(small.profile()).args(BOTH);
    again.arg("--firstboot").arg(small.firstboot());
    again.arg("--out").arg(&out).arg("--store").arg(&store);
    again
        .env("RAYON_NUM_THREADS", "1")
        .env("TZ", "Asia/Kathmandu");
    succeed(&mut again);
    assert_eq!(digests(&out), first);
    assert_eq!(small.server.take_log(), [], "a build asks nobody");
}

#[test]
fn a_second_build_writes_nothing_and_a_changed_one_the_same_as_without_a_cache() {
    let small = small_machine();
    let overlays = ["base", "initrd"].map(|name| small.dir.path().join("overlays").join(name));
    for overlay in &overlays {
        fs::create_dir_all(overlay.join("etc")).unwrap();
    }
    small.write(&format!(
        "{}overlays: [../../overlays/base]\ninitrdOverlays: [../../overlays/initrd]\n",
        small.text()
    ));
    let small = small.done(&["lock", "fetch"]);
    let build = |more: &[&str]| succeed(small.command("build").args(BOTH).args(more));
    assert!(!build(&[]).contains("unchanged"));
    let first = digests(&small.out());
    assert!(build(&[]).contains("unchanged"));
    assert!(!build(&["--no-cache"]).contains("unchanged"));
    assert_eq!(digests(&small.out()), first);

    // Whoever touches an output gets it anew.
    let raw = small.out().join("seedbed-small-amd64.raw");
    fs::write(&raw, "another").unwrap();
    assert!(!build(&[]).contains("unchanged"));
    fs::remove_file(&raw).unwrap();
    assert!(!build(&[]).contains("unchanged"));
    assert_eq!(digests(&small.out()), first);

    // Each input counts, and what is taken from the cache is what would have been made.
    let inputs = [
        (overlays[0].join("etc/issue"), "hello\n"),
        (overlays[0].join("etc/issue"), "good bye\n"),
        (overlays[1].join("etc/issue"), "hello\n"),
        (small.firstboot(), "another firstboot"),
    ];
    let mut before = first;
    for (path, text) in inputs {
        fs::write(&path, text).unwrap();
        assert!(!build(&[]).contains("unchanged"), "{}", path.display());
        let cached = digests(&small.out());
        assert_ne!(cached, before, "{}", path.display());
        build(&["--no-cache"]);
        assert_eq!(digests(&small.out()), cached, "{}", path.display());
        before = cached;
    }

    // A result that rotted is not taken.
    let cache = small.dir.path().join(".cache/seedbed/build");
    let results = small.names(cache.clone());
    assert!(results.len() > 6, "{results:?}");
    for name in &results {
        let path = cache.join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    assert!(!build(&[]).contains("unchanged"));
    assert_eq!(digests(&small.out()), before);
}

#[test]
fn a_full_disk_while_the_image_is_written_leaves_nothing() {
    let small = locked();
    // Enough for every scratch file, and not for the disk.
    let limited = seedbed_after("ulimit -f 60000; trap '' XFSZ", small.dir.path());
    let words = ["seedbed-small-amd64.raw", "(os error 27)"];
    refuse(small.give(limited, "build").args(BOTH), &words);
    assert_eq!(small.names(small.out()), [""; 0]);
}

#[test]
fn an_image_before_stays_when_the_next_build_fails() {
    let small = locked();
    fs::create_dir(small.out()).unwrap();
    let image = small.out().join("seedbed-small-amd64.raw");
    fs::write(&image, "the image before").unwrap();
    small.edit("root: 16", "root: 1");
    let small = small.done(&["lock"]);
    refuse(
        &mut small.command("build"),
        &["raise disk.root in the profile"],
    );
    assert_eq!(fs::read(&image).unwrap(), b"the image before");
    assert_eq!(small.names(small.out()), ["seedbed-small-amd64.raw"]);
}

#[test]
fn a_bad_seed_is_not_put_into_an_image() {
    let small = locked();
    let seed = small.dir.path().join("seed.yaml");
    fs::write(
        &seed,
        "version: 1\ncluster:\n  name: plant\n  secret: tooshortsecret\n",
    )
    .unwrap();
    let words = ["seed.yaml:4:11: ", "14 characters"];
    let message = refuse(small.command("build").arg("--seed").arg(&seed), &words);
    assert!(!message.contains("tooshortsecret"), "{message}");
    fs::remove_file(&seed).unwrap();
    refuse(
        small.command("build").arg("--seed").arg(&seed),
        &["seed.yaml", "No such file"],
    );
    assert_eq!(small.names(small.out()), [""; 0]);
}

/// What `seedbed WHAT --json` says of an image in which nothing is damaged.
fn look(small: &Small, what: &str, image: &Path) -> Value {
    let mut command = seedbed_after("true", small.dir.path());
    let report = succeed(command.arg(what).arg(image).arg("--json"));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["damage"], serde_json::json!([]), "{report:#}");
    report
}

#[test]
fn every_format_holds_the_same_disk() {
    let small = locked();
    succeed(small.command("build").args(["--format", ALL]));
    let file = |end: &str| small.out().join(format!("seedbed-small-amd64.{end}"));
    let raw = look(&small, "inspect", &file("raw"));
    let good = look(&small, "verify", &file("raw"));
    assert_eq!(
        good["verified"],
        serde_json::json!(["SHA256SUMS", "ROOT", "STORE"])
    );
    assert_eq!(raw["manifest"]["profile"], "small");
    let line = raw["boot"][0]["commandLine"].as_str().unwrap();
    assert!(line.contains("roothash="), "{line}");
    let formats = [
        ("raw.zst", "raw.zst"),
        ("qcow2", "qcow2"),
        ("deflate.qcow2", "qcow2"),
        ("vmdk", "vmdk"),
        ("ova", "ova"),
        ("vhd", "vhd"),
        ("vhdx", "vhdx"),
    ];
    for (ending, format) in formats {
        let other = look(&small, "inspect", &file(ending));
        assert_eq!(other["format"], format);
        for part in ["bytes", "partitions", "manifest", "packages"] {
            assert_eq!(other[part], raw[part], "{part} of {ending}");
        }
        assert_eq!(look(&small, "verify", &file(ending)), good, "{ending}");
    }
}

#[test]
fn digests_of_all_results_are_beside_them() {
    let small = locked();
    let check = |names: &[&str]| {
        let text = fs::read_to_string(small.out().join("SHA256SUMS")).unwrap();
        let listed: Vec<&str> = text.lines().map(|line| &line[66..]).collect();
        let documents = [
            "manifest.json",
            "report.html",
            "seedbed-small-amd64.cdx.json",
        ];
        let last = ["seedbed-small-amd64.spdx.json"];
        assert_eq!(listed, [&documents[..], names, &last].concat());
        let mut sums = assert_cmd::Command::new("sha256sum");
        let check = ["--check", "--strict", "--quiet", "SHA256SUMS"];
        sums.args(check).current_dir(small.out()).assert().success();
    };
    let (raw, zst) = ("seedbed-small-amd64.raw", "seedbed-small-amd64.raw.zst");
    succeed(small.command("build").args(["--format", "raw"]));
    check(&[raw]);
    succeed(small.command("build").args(["--format", "raw.zst"]));
    check(&[raw, zst]);
    // A result that was not asked for again may be gone, and so may the digests.
    fs::remove_file(small.out().join(raw)).unwrap();
    succeed(small.command("build").args(["--format", "raw.zst"]));
    check(&[zst]);
    fs::remove_file(small.out().join("SHA256SUMS")).unwrap();
    succeed(small.command("build").args(["--format", "raw.zst"]));
    check(&[zst]);
}

#[test]
fn an_image_for_disks_with_sectors_of_4096_bytes() {
    let small = locked();
    let sectors = ["--sector-size", "4096"];
    succeed(small.command("build").args(sectors));
    let image = small.out().join("seedbed-small-amd64-4k.raw");
    let report = look(&small, "inspect", &image);
    look(&small, "verify", &image);
    let disk = fs::File::open(&image).unwrap();
    let table = formats::gpt::read(&disk, formats::gpt::SectorSize::B4096).unwrap();
    assert_eq!(
        table.entries.len(),
        report["partitions"].as_array().unwrap().len()
    );
    for name in ["ESP", "SEED"] {
        assert_eq!(bytes_per_sector(&disk, &report, name), 4096, "{name}");
    }
    judged_by_fdisk(&image, table.entries.len());
    refuse(
        small
            .command("build")
            .args(sectors)
            .args(["--format", "raw,vmdk"]),
        &["the format vmdk has sectors of 512 bytes", "--sector-size"],
    );
}

fn judged_by_fdisk(image: &Path, partitions: usize) {
    let test = "bake::an_image_for_disks_with_sectors_of_4096_bytes";
    let fdisk = Path::new("/sbin/fdisk");
    if !fdisk.exists() {
        return support::skip(test, "fdisk is not installed");
    }
    let mut list = assert_cmd::Command::new(fdisk);
    list.args(["--sector-size", "4096", "--list"]).arg(image);
    let output = list.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (list, complaints) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(complaints, "", "{list}");
    let rows = list
        .lines()
        .filter(|line| line.starts_with(image.to_str().unwrap()));
    assert_eq!(rows.count(), partitions, "{list}");
    assert!(list.contains("Disklabel type: gpt"), "{list}");
}

/// The field of a FAT volume that says how large its sectors are.
fn bytes_per_sector(disk: &fs::File, report: &Value, partition: &str) -> u16 {
    let parts = report["partitions"].as_array().unwrap();
    let part = parts.iter().find(|part| part["name"] == partition).unwrap();
    let mut field = [0; 2];
    disk.read_exact_at(&mut field, part["offset"].as_u64().unwrap() + 11)
        .unwrap();
    u16::from_le_bytes(field)
}

#[test]
fn an_image_that_a_bios_starts_has_grub_and_the_kernel_as_a_file() {
    let small = small_machine();
    small.edit("store: 16}", "store: 16, bios: true}");
    small.edit("  - grub-pc-bin\n", "");
    let small = small.done(&["lock", "fetch"]);
    let missing = "add grub-pc-bin to the profile's packages";
    refuse(&mut small.command("build"), &[missing]);
    small.edit(
        "  - systemd-boot-efi\n",
        "  - systemd-boot-efi\n  - grub-pc-bin\n",
    );
    let small = small.done(&["lock", "fetch", "build"]);
    let raw = fs::File::open(small.out().join("seedbed-small-amd64.raw")).unwrap();
    let sector = |number: u64| {
        let mut bytes = [0; 512];
        raw.read_exact_at(&mut bytes, number * 512).unwrap();
        bytes
    };
    let (boot, diskboot) = (sector(0), sector(2048));
    assert_eq!(boot[..4], *b"bbbb");
    assert_eq!(boot[0x5c..0x64], 2048_u64.to_le_bytes());
    assert_eq!(boot[440..446], [0; 6], "code goes no further");
    assert_eq!(diskboot[..4], *b"dddd");
    assert_eq!(diskboot[0x1f4..0x1fc], 2049_u64.to_le_bytes());
    assert_eq!(sector(2049)[32..64], [b'l'; 32]);
    let image = small.out().join("seedbed-small-amd64.raw");
    let ls = |path: &str| succeed(seedbed(small.dir.path()).arg("ls").arg(&image).arg(path));
    assert!(!ls("/usr/lib").contains("grub"));
    let folder = ls("ESP:/EFI/seedbed");
    let folder = folder.split_whitespace().last().unwrap();
    let files = ls(&format!("ESP:/EFI/seedbed/{folder}"));
    assert!(
        files.contains(" linux") && files.contains(" initrd"),
        "{files}"
    );
}
