//! A whole image from a fixture archive, without a mirror: the same bytes however it is built, from the store
//! alone; and nothing is left of a build that fails on its way.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use builder::digest;
use loopback::command::{refuse, seedbed_after, succeed};
use loopback::machine::small_machine;
use loopback::small::Small;
use std::fs;
use std::path::Path;

const BOTH: [&str; 2] = ["--format", "raw,qcow2"];

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
