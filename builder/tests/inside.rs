//! Looking into images: what they hold, single files, what differs, and that every damage is found.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use builder::digest;
use loopback::command::{refuse, seedbed, succeed};
use loopback::machine::small_machine;
use loopback::small::Small;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

fn baked() -> Small {
    let small = small_machine().done(&["lock", "fetch"]);
    succeed(small.command("build").args(["--format", "raw,qcow2"]));
    small
}

fn image(small: &Small, ending: &str) -> PathBuf {
    small.out().join(format!("seedbed-small-amd64.{ending}"))
}

/// `seedbed` with arguments, in the home of `small`.
fn run<S: AsRef<OsStr>>(small: &Small, args: impl IntoIterator<Item = S>) -> assert_cmd::Command {
    let mut command = seedbed(small.dir.path());
    command.args(args);
    command
}

fn look(small: &Small, verb: &str, args: &[&OsStr]) -> Value {
    let mut command = run(small, [verb]);
    let text = succeed(command.args(args).arg("--json"));
    serde_json::from_str(&text).unwrap()
}

/// What `verify` finds, and whether its exit code says the same.
fn verify(small: &Small, image: &Path) -> Value {
    let mut command = run(
        small,
        [OsStr::new("verify"), image.as_ref(), "--json".as_ref()],
    );
    let out = command.output().unwrap();
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    let damaged = found["damage"] != json!([]);
    assert_eq!(out.status.code(), Some(i32::from(damaged)), "{found:#}");
    found
}

#[test]
fn inspect_shows_what_an_image_holds() {
    let small = baked();
    let raw = look(&small, "inspect", &[image(&small, "raw").as_ref()]);
    assert_eq!(raw["manifest"]["profile"], "small");
    let boot = &raw["boot"][0];
    assert!(boot["commandLine"].as_str().unwrap().contains("roothash="));
    // The fixture's kernel is the word "kernel".
    assert_eq!(boot["kernelBytes"], 6);
    assert!(boot["initrdBytes"].as_u64() > Some(100));
    let packages = raw["packages"].as_array().unwrap();
    let kernel = json!({"name": "linux-image-amd64", "version": "6.12", "architecture": "amd64"});
    assert!(packages.contains(&kernel), "{packages:?}");
    assert_eq!(raw["images"][0]["name"], "registry.example/pause:1");
    assert!(raw["images"][0]["bytes"].as_u64() > Some(100));
    for part in raw["partitions"].as_array().unwrap() {
        let exchanged = ["ROOT", "STORE", "ROOT-VERITY", "STORE-VERITY"];
        let name = part["name"].as_str().unwrap();
        assert_eq!(part["slot"] == "A", exchanged.contains(&name), "{part}");
        let known = ["ROOT", "STORE", "ESP", "SEED"].contains(&name);
        assert_eq!(part["used"].is_u64(), known, "{part}");
    }
    let qcow2 = look(&small, "inspect", &[image(&small, "qcow2").as_ref()]);
    assert_eq!(qcow2["format"], "qcow2");
    assert_eq!(qcow2["partitions"], raw["partitions"]);
    let page = succeed(&mut run(
        &small,
        [OsStr::new("inspect"), image(&small, "raw").as_ref()],
    ));
    for word in [
        "linux-image-amd64 6.12",
        "ROOT",
        "roothash=",
        "registry.example/pause:1",
    ] {
        assert!(page.contains(word), "{word:?} is not in {page}");
    }
    let profile = small.profile().join("profile.yaml");
    refuse(
        &mut run(&small, [OsStr::new("inspect"), profile.as_ref()]),
        &["profile.yaml", "reading the partitions"],
    );
}

#[test]
fn files_are_listed_and_printed_from_every_partition() {
    let small = baked();
    for ending in ["raw", "qcow2"] {
        let image = image(&small, ending);
        let cat = |path: &str| {
            let args: [&OsStr; 3] = ["cat".as_ref(), image.as_ref(), path.as_ref()];
            run(&small, args)
        };
        let ls = |path: &str| {
            let args: [&OsStr; 3] = ["ls".as_ref(), image.as_ref(), path.as_ref()];
            run(&small, args)
        };
        assert_eq!(succeed(&mut cat("/usr/lib/os-release")), "ID=fixture\n");
        assert!(succeed(&mut cat("esp:/loader/loader.conf")).contains("timeout 0"));
        assert!(succeed(&mut cat("STORE:/oci-layout")).contains("imageLayoutVersion"));
        assert!(succeed(&mut cat("SEED:/readme.txt")).contains("seed.yaml"));
        let root = succeed(&mut ls("/"));
        assert!(
            root.lines()
                .any(|line| line.starts_with("drwxr-xr-x") && line.ends_with(" usr"))
        );
        let one = succeed(&mut ls("/usr/bin/tool"));
        assert!(
            one.starts_with("-rwxr-xr-x     0     0") && one.ends_with(" tool\n"),
            "{one}"
        );
        assert!(succeed(&mut ls("ESP:/EFI/BOOT")).contains("BOOTX64.EFI"));
        assert!(succeed(&mut ls("ESP:/loader/loader.conf")).contains("loader.conf"));
        refuse(&mut cat("/nowhere"), &["/nowhere on ROOT"]);
        refuse(&mut cat("/usr"), &["/usr on ROOT is a directory"]);
        refuse(
            &mut ls("EFI:/"),
            &["there is no partition EFI", "ESP, SEED, STORE"],
        );
        refuse(
            &mut ls("BIOS:/"),
            &["partition BIOS holds neither erofs nor FAT"],
        );
    }
}

#[test]
fn diff_shows_what_changed() {
    let small = baked();
    let before = small.dir.path().join("before.raw");
    fs::rename(image(&small, "raw"), &before).unwrap();
    let qcow2 = image(&small, "qcow2");
    let same = look(&small, "diff", &[before.as_ref(), qcow2.as_ref()]);
    for (kind, changes) in same.as_object().unwrap() {
        assert_eq!(changes, &json!([]), "{kind}");
    }
    small.put_file("tool", "another tool".repeat(70_000).as_bytes());
    small.edit("entrypoint: [/pause]", "entrypoint: [/pause, now]");
    small.edit("disk:", "kernelArguments: [quiet]\ndisk:");
    let small = small.done(&["lock", "fetch", "build"]);
    let raw = image(&small, "raw");
    let found = look(&small, "diff", &[before.as_ref(), raw.as_ref()]);
    assert_eq!(found["packages"], json!([]));
    assert_eq!(found["kernelConfiguration"], json!([]));
    assert_eq!(
        found["kernelArguments"],
        json!([{"name": "quiet", "after": "quiet"}])
    );
    assert_eq!(found["images"][0]["name"], "registry.example/pause:1");
    let files = found["files"].as_array().unwrap();
    let names: Vec<&str> = files
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"/usr/bin/tool"), "{names:?}");
    assert!(!names.contains(&"/usr/lib/os-release"), "{names:?}");
    let page = succeed(&mut run(
        &small,
        [OsStr::new("diff"), before.as_ref(), raw.as_ref()],
    ));
    for line in ["  + quiet", "  ~ /usr/bin/tool  file 0755 0:0"] {
        assert!(page.contains(line), "{line:?} is not in {page}");
    }
}

#[test]
fn verify_finds_a_flipped_bit() {
    let small = baked();
    let file = image(&small, "raw");
    let parts = look(&small, "inspect", &[file.as_ref()]);
    for ending in ["raw", "qcow2"] {
        let found = verify(&small, &image(&small, ending));
        assert_eq!(found["verified"], json!(["SHA256SUMS", "ROOT", "STORE"]));
    }
    for part in parts["partitions"].as_array().unwrap() {
        let name = part["name"].as_str().unwrap();
        if !["ROOT", "STORE", "ROOT-VERITY"].contains(&name) {
            continue;
        }
        let disk = fs::File::options()
            .read(true)
            .write(true)
            .open(&file)
            .unwrap();
        // In the second block, which every one of them has.
        let at = part["offset"].as_u64().unwrap() + 5000;
        let mut byte = [0];
        disk.read_exact_at(&mut byte, at).unwrap();
        disk.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let damage = verify(&small, &file)["damage"].to_string();
        let data = name.trim_end_matches("-VERITY");
        assert!(
            damage.contains(&format!("checking {data} against its root hash")),
            "{name}: {damage}"
        );
        disk.write_all_at(&byte, at).unwrap();
    }
}

#[test]
fn verify_builds_an_image_again() {
    let small = baked();
    let again = |image: &Path| {
        let mut command = run(
            &small,
            [OsStr::new("verify"), image.as_ref(), "--rebuild".as_ref()],
        );
        command
            .arg(small.profile())
            .arg("--firstboot")
            .arg(small.firstboot());
        command
    };
    for ending in ["raw", "qcow2"] {
        let text = succeed(&mut again(&image(&small, ending)));
        assert!(text.contains("good: rebuild\n"), "{text}");
    }
    let raw = image(&small, "raw");
    let disk = fs::File::options().write(true).open(&raw).unwrap();
    // In no partition that a hash covers: the SEED partition's last byte.
    let parts = look(&small, "inspect", &[raw.as_ref()]);
    let parts = parts["partitions"].as_array().unwrap();
    let seed = parts.iter().find(|part| part["name"] == "SEED").unwrap();
    let at = seed["offset"].as_u64().unwrap() + seed["bytes"].as_u64().unwrap() - 1;
    disk.write_all_at(&[1], at).unwrap();
    let words = [format!("byte {at} of the disk differs, in SEED")];
    refuse(&mut again(&raw), &words.each_ref().map(String::as_str));
    fs::write(small.firstboot(), "another").unwrap();
    refuse(
        &mut again(&image(&small, "qcow2")),
        &["another firstboot", "--firstboot"],
    );
    small.edit("entrypoint: [/pause]", "entrypoint: [/pause, now]");
    let small = small.done(&["lock"]);
    let mut command = run(
        &small,
        [OsStr::new("verify"), raw.as_ref(), "--rebuild".as_ref()],
    );
    command
        .arg(small.profile())
        .arg("--firstboot")
        .arg(small.firstboot());
    refuse(&mut command, &["was baked from lock"]);
}

/// The folder's sums, signed by us: `verify` and minisign(1) take them, and notice what is changed.
#[test]
fn a_signed_folder_is_verified() {
    let small = baked();
    let home = small.dir.path();
    let name = home.join("plant");
    succeed(&mut run(
        &small,
        [OsStr::new("keys"), "new".as_ref(), name.as_ref()],
    ));
    let key = home.join("plant.key");
    let public = home.join("plant.pub");
    let raw = image(&small, "raw");
    let sum = digest::sha256_of(fs::File::open(&raw).unwrap()).unwrap().0;
    let sums = small.out().join("SHA256SUMS");
    fs::write(&sums, format!("{sum}  seedbed-small-amd64.raw\n")).unwrap();
    succeed(small.command("build").arg("--sign").arg(&key));
    let check = || {
        let mut command = run(
            &small,
            [OsStr::new("verify"), raw.as_ref(), "--key".as_ref()],
        );
        command.arg(&public);
        command
    };
    let text = succeed(&mut check());
    assert!(
        text.starts_with("good: signature\ngood: SHA256SUMS\n"),
        "{text}"
    );
    if minisign_is_installed() {
        let mut minisign = Command::new("minisign");
        minisign.arg("-Vm").arg(&sums).arg("-p").arg(&public);
        let out = minisign.output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    let text = fs::read_to_string(&sums).unwrap();
    fs::write(&sums, format!("{text}\n")).unwrap();
    refuse(&mut check(), &["signature:", "checking the signature of"]);
    refuse(
        small
            .command("build")
            .arg("--sign")
            .arg(home.join("none.key")),
        &["reading secret key", "none.key"],
    );
}

fn minisign_is_installed() -> bool {
    let found = Command::new("minisign").arg("-v").output().is_ok();
    if !found {
        let reason = "minisign is not installed";
        assert!(
            std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() != Ok("1"),
            "{reason}"
        );
        println!("SKIP a_signed_folder_is_verified: {reason}");
    }
    found
}
