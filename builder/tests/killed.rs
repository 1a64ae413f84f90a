//! `seedbed fetch`, killed again and again while it works: what it leaves is good, and hardly a byte comes twice.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use builder::images::reference::Reference;
use loopback::command::{PROGRAM, seedbed, succeed};
use loopback::registry;
use loopback::small::Small;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Large files of a source, and layers of an image.
const FILES: usize = 6;
const LAYERS: usize = 2;
const IMAGE: &str = "registry.test/large:1";
/// How the server sends: so many bytes, then a pause. What is on its way when a fetch dies is lost.
const CHUNK: usize = 4 << 10;
const PAUSE: Duration = Duration::from_micros(500);
/// Longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Numbers that look random, by xorshift.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(len).collect()
    }
}

/// What the test draws follows from this number: that of an earlier run, to repeat it, or another one.
fn seed() -> u64 {
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(since.subsec_nanos())
    };
    let given = std::env::var("SEEDBED_TEST_SEED").ok();
    given.map_or_else(now, |text| text.parse().unwrap()).max(1)
}

/// The small profile with large files and an image that is pulled, `bytes` more in all, locked.
fn large(draw: &mut Draw, bytes: usize) -> Small {
    let small = Small::new();
    let part = bytes / (FILES + LAYERS);
    let mut entries = String::new();
    for i in 0..FILES {
        small.put_file(&format!("part{i}"), &draw.bytes(part));
        entries += &format!("  - {{from: files, path: part{i}, to: /usr/share/part{i}}}\n");
    }
    small.edit(
        "images:\n",
        &format!("{entries}images:\n  - name: {IMAGE}\n"),
    );
    let layers = (0..LAYERS).map(|_| draw.bytes(part)).collect();
    registry::serve_layers(&small.server, &Reference::parse(IMAGE).unwrap(), layers);
    succeed(small.command("lock").args(["--source", &place(&small)]));
    small
}

/// Where the image's registry is.
fn place(small: &Small) -> String {
    format!("registry.test={}", small.server.url(""))
}

fn start(small: &Small) -> Child {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", small.dir.path());
    command.arg("fetch").arg(small.profile());
    for source in ["debian", "files"] {
        let url = small.server.url(&format!("/{source}"));
        command.arg("--source").arg(format!("{source}={url}"));
    }
    command.arg("--source").arg(place(small));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Every file of a store, with its bytes.
fn content(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for part in ["sha256", "partial"] {
        for entry in fs::read_dir(store.join(part)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{part}/{}", entry.file_name().to_str().unwrap());
            all.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    all
}

/// Kills a fetch of `bytes` bytes `kills` times, each time when a drawn number of bytes went out and some time has
/// passed, then lets it finish.
fn killed(kills: usize, bytes: usize) {
    let seed = seed();
    println!("SEEDBED_TEST_SEED={seed}");
    let mut draw = Draw(seed);
    let small = large(&mut draw, bytes);

    // What nobody disturbs, from the same server.
    let home = tempfile::tempdir().unwrap();
    let sent = |small: &Small| small.server.served().values().sum::<u64>();
    let before = sent(&small);
    let undisturbed = small
        .give(seedbed(home.path()), "fetch")
        .args(["--source", &place(&small)])
        .output();
    assert!(undisturbed.unwrap().status.success());
    let once = sent(&small) - before;
    let expected = content(&home.path().join(".cache/seedbed/store"));

    // Locking left manifest and config of the image in the store.
    fs::remove_dir_all(small.store("sha256")).unwrap();
    small.server.pace(CHUNK, PAUSE);
    let before = sent(&small);
    let mut points: Vec<u64> = (0..kills).map(|_| draw.below(once * 98 / 100)).collect();
    points.sort_unstable();
    for point in &points {
        let mut fetch = start(&small);
        assert!(small.server.wait_until_served(before + point, PATIENCE));
        std::thread::sleep(Duration::from_micros(draw.below(20_000)));
        let running = fetch.try_wait().unwrap().is_none();
        fetch.kill().unwrap();
        fetch.wait().unwrap();
        assert!(
            running,
            "the fetch to be killed after {point} bytes was done before"
        );
        for (name, bytes) in content(&small.dir.path().join(".cache/seedbed/store")) {
            let whole = name.strip_prefix("sha256/");
            assert!(
                whole.is_none_or(|sha256| builder::digest::sha256(&bytes) == sha256),
                "{name}"
            );
        }
    }
    assert!(start(&small).wait().unwrap().success());

    assert!(
        content(&small.dir.path().join(".cache/seedbed/store")) == expected,
        "another store"
    );
    let twice = (sent(&small) - before).saturating_sub(once);
    let share = twice as f64 / once as f64 * 100.0;
    println!("{kills} kills, {once} bytes once, {twice} twice: {share:.2} %");
    assert!(share < 2.0, "{share:.2} % came twice");
}

/// R019: a fetch that is killed goes on where it was, for files and for layers of images.
#[test]
fn a_fetch_killed_ten_times_fetches_hardly_a_byte_twice() {
    killed(10, 96 << 20);
}

/// R019: the same with as many kills as the requirement names.
#[test]
fn a_fetch_killed_fifty_times_fetches_hardly_a_byte_twice() {
    if std::env::var("SEEDBED_LONG").as_deref() != Ok("1") {
        println!(
            "SKIP a_fetch_killed_fifty_times_fetches_hardly_a_byte_twice: SEEDBED_LONG is not set"
        );
        return;
    }
    killed(50, 512 << 20);
}
