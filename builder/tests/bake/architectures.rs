//! Images of both architectures out of one run, whatever this host is: nothing of them is run.

use super::digests;
use crate::loopback::command::{refuse, succeed};
use crate::loopback::machine::{elf, small_machine_of_both};
use crate::loopback::small::Small;
use contract::partition::{Arch, Role};
use formats::gpt::{self, SectorSize};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Machines for both, locked and fetched, and a program for each.
fn locked() -> Small {
    let small = small_machine_of_both().done(&["lock", "fetch"]);
    for arch in [Arch::Amd64, Arch::Arm64] {
        fs::write(program(&small, arch), elf(arch)).unwrap();
    }
    small
}

fn program(small: &Small, arch: Arch) -> PathBuf {
    small.dir.path().join(format!("firstboot-{arch}"))
}

/// `seedbed build` with the program of each architecture.
fn build(small: &Small, more: &[&str]) -> assert_cmd::Command {
    let mut command = small.command("build");
    for arch in [Arch::Amd64, Arch::Arm64] {
        let program = program(small, arch);
        command.arg("--firstboot");
        command.arg(format!("{arch}={}", program.display()));
    }
    command.args(more);
    command
}

/// What `seedbed WHAT IMAGE MORE` prints.
fn look(small: &Small, what: &str, image: &Path, more: &str) -> String {
    let mut command = crate::loopback::command::seedbed(small.dir.path());
    succeed(command.arg(what).arg(image).arg(more))
}

#[test]
fn one_run_bakes_both() {
    let small = locked();
    succeed(&mut build(&small, &["--arch", "arm64,amd64,arm64"]));
    let all = digests(&small.out());
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "SHA256SUMS",
        "manifest.json",
        "report.html",
        "seedbed-small-amd64.cdx.json",
        "seedbed-small-amd64.raw",
        "seedbed-small-amd64.spdx.json",
        "seedbed-small-arm64.cdx.json",
        "seedbed-small-arm64.raw",
        "seedbed-small-arm64.spdx.json",
    ];
    assert_eq!(names, expected);
    let listed: String = all[1..]
        .iter()
        .map(|(name, sha256)| format!("{sha256}  {name}\n"))
        .collect();
    let sums = fs::read_to_string(small.out().join("SHA256SUMS")).unwrap();
    assert_eq!(sums, listed);
    let manifest = fs::read(small.out().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let images = manifest["images"].as_array().unwrap();
    for (image, arch) in images.iter().zip([Arch::Amd64, Arch::Arm64]) {
        assert_eq!(image["arch"], arch.as_str());
        let outputs = image["outputs"].as_object().unwrap();
        let names: Vec<&String> = outputs.keys().collect();
        assert_eq!(names, [&format!("seedbed-small-{arch}.raw")]);
    }
    assert_eq!(images.len(), 2);

    // One that is baked alone is the same.
    fs::remove_dir_all(small.out()).unwrap();
    succeed(&mut build(&small, &["--arch", "arm64", "--no-cache"]));
    let image = |all: &[(String, String)]| {
        let mut all = all.iter();
        all.find(|(name, _)| name == "seedbed-small-arm64.raw")
            .cloned()
    };
    let alone = digests(&small.out());
    assert!(image(&alone).is_some());
    assert_eq!(image(&alone), image(&all));
}

#[test]
fn an_image_for_arm64_holds_what_arm64_boots() {
    let small = locked();
    succeed(&mut build(&small, &["--arch", "arm64"]));
    let image = small.out().join("seedbed-small-arm64.raw");
    let table = gpt::read(&File::open(&image).unwrap(), SectorSize::B512).unwrap();
    for role in [Role::Root, Role::RootVerity, Role::Esp] {
        let mut entries = table.entries.values();
        let entry = entries.find(|entry| entry.name == role.label()).unwrap();
        let expected = role.type_guid(Arch::Arm64);
        assert_eq!(&entry.type_guid, expected.as_bytes(), "{role:?}");
    }
    assert!(look(&small, "ls", &image, "ESP:/EFI/BOOT").contains("BOOTAA64.EFI"));
    let manifest = look(&small, "cat", &image, "/usr/lib/seedbed/manifest.json");
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["arch"], "arm64");
    let found: Value = serde_json::from_str(&look(&small, "inspect", &image, "--json")).unwrap();
    assert_eq!(found["manifest"]["arch"], "arm64");
}

#[test]
fn what_is_for_another_architecture_is_refused() {
    let small = locked();
    let wrong = format!("arm64={}", program(&small, Arch::Amd64).display());
    refuse(
        build(&small, &["--arch", "arm64"]).args(["--firstboot", &wrong]),
        &["ELF machine 62", "arm64 is 183", "--firstboot arm64=FILE"],
    );
    small.edit("arch: [amd64, arm64]", "arch: [amd64]");
    for what in ["lock", "fetch"] {
        succeed(&mut small.command("lock"));
        refuse(
            small.command(what).args(["--arch", "arm64"]),
            &["profile small is not for arm64", "add it to arch"],
        );
    }
}
