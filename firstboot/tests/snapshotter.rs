//! The snapshotter under a real containerd: images of the store without their blobs, others on top of them,
//! containers that write, and a snapshotter that is killed in between. Needs root and containerd's programs.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/containerd.rs"]
mod containerd;
#[path = "support/layers.rs"]
mod layers;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use containerd::{Stand, run};
use layers::{Layer, chain, image, unpacked};

fn skipped() -> bool {
    let Err(why) = containerd::available() else {
        return false;
    };
    assert!(
        std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() != Ok("1"),
        "{why}"
    );
    println!("SKIP: {why}");
    true
}

fn put(tree: &Path, file: &str, text: &str) {
    let path = tree.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(tree: &Path, file: &str) -> Option<String> {
    fs::read_to_string(tree.join(file)).ok()
}

/// The files of all snapshots, without the snapshotter's own.
fn written(stand: &Stand) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![stand.path("root/snapshots")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("snapshot.json") {
                files.push(path.display().to_string());
            }
        }
    }
    files
}

fn count(stand: &Stand) -> usize {
    fs::read_dir(stand.path("root/snapshots")).unwrap().count()
}

#[test]
fn containerd_runs_on_the_store() {
    if skipped() {
        return;
    }
    let mut stand = Stand::new();

    let base = stand.path("base");
    put(&base, "etc/a", "base");
    put(&base, "etc/old", "base");
    put(&base, "opt/hidden", "base");
    put(&base, "bin/hello", "#!/bin/sh\necho hello\n");
    fs::set_permissions(base.join("bin/hello"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o751)).unwrap();
    chown(&base, Some(7), Some(8)).unwrap();
    // The archive and the unpacked tree of a layer differ in how they take files away.
    let (archive, tree) = (stand.path("top"), stand.path("top-tree"));
    for top in [&archive, &tree] {
        put(top, "etc/b", "top");
        put(top, "opt/shown", "top");
        fs::set_permissions(top, fs::Permissions::from_mode(0o751)).unwrap();
        chown(top, Some(7), Some(8)).unwrap();
    }
    put(&archive, "etc/.wh.old", "");
    put(&archive, "opt/.wh..wh..opq", "");
    run(Command::new("mknod")
        .arg(tree.join("etc/old"))
        .args(["c", "0", "0"]));
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(tree.join("opt"), "trusted.overlay.opaque", b"y", flags).unwrap();
    put(&stand.path("own"), "srv/own", "own");

    let (base_layer, top, own) = (
        Layer::pack(&base),
        Layer::pack(&archive),
        Layer::pack(&stand.path("own")),
    );
    let (lower, upper) = (chain(&[&base_layer]), chain(&[&base_layer, &top]));
    unpacked(&stand.store(), 0, &lower, &base);
    unpacked(&stand.store(), 1, &upper, &tree);
    // No blob of a layer of the first image is anywhere, and of the second only its own.
    let dir = stand.dir.path().to_owned();
    let stored = image(&dir, "stored", &[&base_layer, &top], &[]);
    let mixed = image(&dir, "mixed", &[&base_layer, &own], &[&own]);
    stand.seal_store();
    stand.start_snapshotter();
    stand.start_containerd();

    stand.take("default", "seedbed", &stored);
    assert_eq!(written(&stand), Vec::<String>::new());
    assert_eq!(count(&stand), 2);
    let upper = format!("sha256:{upper}");
    let info = stand.snapshots("seedbed", &["info", &upper]).unwrap();
    assert!(info.contains("Committed"), "{info}");
    let usage = stand
        .snapshots("seedbed", &["usage", "-b", &upper])
        .unwrap();
    let usage: Vec<&str> = usage.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(usage[1..], ["0", "0"]);

    // Another namespace shares them.
    stand.ctr(&["namespaces", "create", "other"]);
    stand.take("other", "seedbed", &stored);
    assert_eq!(count(&stand), 2);

    stand
        .snapshots("seedbed", &["prepare", "one", &upper])
        .unwrap();
    let one = stand.mount("one");
    let top_of = fs::metadata(&one).unwrap();
    assert_eq!(
        (top_of.uid(), top_of.gid(), top_of.mode() & 0o7777),
        (7, 8, 0o751)
    );
    assert_eq!(read(&one, "etc/a").as_deref(), Some("base"));
    assert_eq!(read(&one, "etc/b").as_deref(), Some("top"));
    assert_eq!(read(&one, "etc/old"), None);
    assert_eq!(read(&one, "opt/hidden"), None);
    assert_eq!(read(&one, "opt/shown").as_deref(), Some("top"));
    let hello = Command::new(one.join("bin/hello")).output().unwrap();
    assert_eq!(
        hello.stdout, b"hello\n",
        "a store that is mounted noexec is no hindrance"
    );
    fs::write(one.join("etc/a"), "changed").unwrap();
    fs::remove_file(one.join("etc/b")).unwrap();

    // The snapshotter is killed under a container that runs; nobody notices.
    stand.kill_snapshotter();
    fs::write(one.join("etc/c"), "meanwhile").unwrap();
    stand.start_snapshotter();
    assert!(
        stand
            .snapshots("seedbed", &["info", "one"])
            .unwrap()
            .contains("Active")
    );
    let again = stand
        .snapshots("seedbed", &["mounts", "/x", "one"])
        .unwrap();
    assert!(again.contains("lowerdir="), "{again}");
    stand.unmount(&one);
    let one = stand.mount("one");
    assert_eq!(read(&one, "etc/a").as_deref(), Some("changed"));
    assert_eq!(read(&one, "etc/b"), None);
    assert_eq!(read(&one, "etc/c").as_deref(), Some("meanwhile"));
    stand.unmount(&one);

    stand
        .snapshots("seedbed", &["commit", "mine", "one"])
        .unwrap();
    stand
        .snapshots("seedbed", &["prepare", "two", "mine"])
        .unwrap();
    stand.kill_snapshotter();
    stand.start_snapshotter();
    let two = stand.mount("two");
    assert_eq!(read(&two, "etc/a").as_deref(), Some("changed"));
    assert_eq!(read(&two, "opt/shown").as_deref(), Some("top"));
    stand.unmount(&two);
    assert!(
        stand.snapshots("seedbed", &["rm", "mine"]).is_err(),
        "two lies on it"
    );
    stand.snapshots("seedbed", &["rm", "two"]).unwrap();

    // Only the layer that the store lacks is fetched and unpacked, on top of one that is mounted in place.
    stand.take("default", "seedbed", &mixed);
    let mixed = format!("sha256:{}", chain(&[&base_layer, &own]));
    stand
        .snapshots("seedbed", &["prepare", "three", &mixed])
        .unwrap();
    let three = stand.mount("three");
    assert_eq!(read(&three, "srv/own").as_deref(), Some("own"));
    assert_eq!(read(&three, "etc/old").as_deref(), Some("base"));
    stand.unmount(&three);
    println!("snapshotter: {} KiB of memory", stand.snapshotter_memory());

    // Another image of the machine lacks the layer.
    stand.unseal_store();
    let link = stand
        .store()
        .join("chains")
        .join(chain(&[&base_layer, &top]));
    fs::remove_file(link).unwrap();
    let error = stand
        .snapshots("seedbed", &["prepare", "four", &upper])
        .unwrap_err();
    assert!(
        error.contains(&upper) && error.contains("pull it again"),
        "{error}"
    );

    for key in ["three", "mine"] {
        stand.snapshots("seedbed", &["rm", key]).unwrap();
    }
    for (namespace, image) in [
        ("default", "stored"),
        ("default", "mixed"),
        ("other", "stored"),
    ] {
        let image = format!("registry.test/{image}:1");
        stand.ctr(&["-n", namespace, "images", "rm", "--sync", &image]);
    }
    let end = Instant::now() + Duration::from_secs(20);
    while count(&stand) > 0 {
        assert!(Instant::now() < end, "{} snapshots are left", count(&stand));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Prints what a pull of one layer of 200 MB costs; `cargo test -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn cost_of_a_pull() {
    if skipped() {
        return;
    }
    let mut stand = Stand::new();
    let tree = stand.path("big");
    let mut text = vec![0_u8; 1 << 20];
    let mut state = 1_u64;
    for number in 0..200 {
        for byte in &mut text {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            *byte = (state >> 56) as u8;
        }
        fs::create_dir_all(tree.join("usr/share")).unwrap();
        fs::write(tree.join(format!("usr/share/{number}")), &text).unwrap();
    }
    let layer = Layer::pack(&tree);
    unpacked(&stand.store(), 0, &chain(&[&layer]), &tree);
    let dir = stand.dir.path().to_owned();
    let bare = image(&dir.join("bare"), "big", &[&layer], &[]);
    let whole = image(&dir.join("whole"), "big", &[&layer], &[&layer]);
    stand.start_snapshotter();
    stand.start_containerd();
    let used = |folders: &[&str]| -> u64 {
        let folders = folders.iter().map(|folder| dir.join(folder));
        let output = Command::new("du")
            .args(["-s", "-c", "-B1"])
            .args(folders)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .last()
            .unwrap()
            .split('\t')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let overlayfs = "containerd/io.containerd.snapshotter.v1.overlayfs";
    let all = || (used(&["containerd", "root"]), used(&["root", overlayfs]));
    for (snapshotter, archive) in [("seedbed", bare), ("overlayfs", whole)] {
        rustix::fs::sync();
        let (before, start) = (all(), Instant::now());
        stand.take("default", snapshotter, &archive);
        let time = start.elapsed();
        rustix::fs::sync();
        let (synced, after) = (start.elapsed(), all());
        println!(
            "{snapshotter}: {time:.2?}, with sync {synced:.2?}; {} KiB written, {} KiB of it snapshots",
            (after.0 - before.0) / 1024,
            (after.1 - before.1) / 1024
        );
    }
}
