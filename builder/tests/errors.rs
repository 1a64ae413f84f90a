//! Bad input is a clear error, and nothing is lost: exit code 1, a message that names the object, no panic, and
//! nothing left under a final name.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use builder::debian::date::Date;
use builder::digest;
use builder::fixture::archive::{ArchivePlan, Flaw};
use loopback::DATE;
use loopback::command::{refuse, seedbed, seedbed_after, succeed};
use loopback::small::{Small, archive};
use std::fs;
use std::os::unix::process::ExitStatusExt;

/// Half of the smallest file that a limited test writes. A limit is an error there and no signal, as a full
/// disk is.
const LIMIT: &str = "ulimit -f 500; trap '' XFSZ";

/// Line and column of `needle`, as messages give them.
fn place(text: &str, needle: &str) -> String {
    let at = text.find(needle).unwrap();
    let line = text[..at].matches('\n').count() + 1;
    let column = at - text[..at].rfind('\n').map_or(0, |newline| newline + 1) + 1;
    format!("profile.yaml:{line}:{column}: ")
}

fn carets(word: &str) -> String {
    "^".repeat(word.len())
}

#[test]
fn faults_of_a_profile_are_pointed_at() {
    let check = |from: &str, to: &str, wrong: &str, said: &[&str]| {
        let small = Small::new();
        small.edit(from, to);
        let place = place(&small.text(), wrong);
        let words = [&[place.as_str()], said].concat();
        refuse(&mut small.command("check"), &words);
        // No step goes on with it.
        refuse(&mut small.command("lock"), &words);
        assert!(!small.lock_path().exists());
    };
    let key = carets("pakages");
    check(
        "packages:",
        "pakages:",
        "pakages",
        &["unknown key", "hint: did you mean packages?", &key],
    );
    let twice = "name: small\nname: other";
    check(
        "name: small",
        twice,
        "name: other",
        &["already given on line 2", &carets("name")],
    );
    check("    debian: {", "\tdebian: {", "\tdebian", &["tab"]);
    let one = carets("one");
    check("version: 1\n", "version: one\n", "one", &["must be", &one]);
    let size = "18446744073709551615";
    let disk = format!("disk: {{root: {size}}}\npackages:");
    check(
        "packages:",
        &disk,
        size,
        &["root cannot have", "hint: choose a size", &carets(size)],
    );
    let disk = "disk: {esp: 263}\npackages:";
    check(
        "packages:",
        disk,
        "263",
        &["esp cannot have 263 MiB", "from 264 to", &carets("263")],
    );
    let mode = "to: /usr/bin/tool, mode: rwx";
    check(
        "to: /usr/bin/tool",
        mode,
        "rwx",
        &["is not octal", "such as 0755", &carets("rwx")],
    );
    let image = "  - {name: pause, from: {}}\n  - name: registry.example/pause:1";
    check(
        "  - name: registry.example/pause:1",
        image,
        "pause, from",
        &["names no registry", "hint: write REGISTRY/PATH:TAG"],
    );
    let source = carets("fiels");
    let known = "hint: declare it below sources:; there are: debian, files";
    check(
        "{from: files, path: tool,",
        "{from: fiels, path: tool,",
        "fiels",
        &[known, &source],
    );
}

#[test]
fn all_faults_of_a_profile_are_told_at_once() {
    let small = Small::new();
    small.edit("name: small", "nmae: small");
    small.edit("arch: [amd64]", "arch: [amd46]");
    small.edit("entrypoint: [/pause]", "entrypoint: {a: 1}");
    let text = small.text();
    let places = ["nmae", "amd46", "{a: 1}"].map(|wrong| place(&text, wrong));
    let message = refuse(
        &mut small.command("check"),
        &places.each_ref().map(String::as_str),
    );
    let at: Vec<_> = places
        .iter()
        .map(|place| message.find(place.as_str()))
        .collect();
    assert!(at.is_sorted(), "{message}");
}

#[test]
fn a_seeds_secret_of_the_wrong_length_is_never_printed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("seed.yaml");
    succeed(
        seedbed(home.path())
            .args(["seed", "new", "plant", "--out"])
            .arg(&path),
    );
    let good = fs::read_to_string(&path).unwrap();
    let secret = good
        .split("secret: ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let short = &secret[..secret.len() - 1];
    for (written, key) in [
        (short, "secret"),
        (short, "sekret"),
        (&format!("{secret}a"), "secret"),
    ] {
        let bad = good.replace(&format!("secret: {secret}"), &format!("{key}: {written}"));
        fs::write(&path, bad).unwrap();
        let output = seedbed(home.path())
            .args(["seed", "check"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("seed.yaml:") && said.contains('^'), "{said}");
        assert!(
            !said.contains(&written[..8]),
            "a secret of {} is shown",
            written.len()
        );
    }
    // What is there is kept: it may be the only copy.
    let before = fs::read(&path).unwrap();
    let words = ["seed.yaml exists already", "move it away", "--out"];
    refuse(
        seedbed(home.path())
            .args(["seed", "new", "plant", "--out"])
            .arg(&path),
        &words,
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_package_that_is_not_there_comes_with_the_nearest_names() {
    let small = Small::new();
    small.edit("  - app", "  - libary");
    let words = ["there is no package libary", "library"];
    refuse(&mut small.command("lock"), &words);
    assert!(!small.lock_path().exists());
}

#[test]
fn an_archive_that_cannot_be_trusted_is_refused() {
    let check = |flaw: Flaw, words: &[&str]| {
        let small = Small::with(&archive().with(flaw));
        refuse(&mut small.command("lock"), &[words, &["debian"]].concat());
        assert!(!small.lock_path().exists());
    };
    check(Flaw::WrongKey, &["InRelease", "not in the keyring"]);
    check(Flaw::ChangedText, &["InRelease", "does not match the text"]);
    check(Flaw::WeakDigest, &["InRelease", "weak digest"]);
    check(Flaw::TruncatedInRelease, &["InRelease"]);
    check(Flaw::RevokedKey, &["InRelease", "revoked"]);
    check(Flaw::ValidUntil, &["InRelease", "expired at 2025-10-10"]);
    check(Flaw::PackagesDigest, &["main/binary-amd64/Packages.xz"]);
    check(Flaw::PackagesTruncated, &["main/binary-amd64/Packages.xz"]);
    check(Flaw::PackagesBomb, &["main/binary-amd64/Packages.xz"]);
}

#[test]
fn an_archive_older_than_the_last_lock_is_refused_and_the_lock_stays() {
    let small = Small::new().done(&["lock"]);
    let before = fs::read(small.lock_path()).unwrap();
    small.put_archive(&ArchivePlan {
        date: Date::from_unix(DATE - 86_400),
        ..archive()
    });
    refuse(
        &mut small.command("lock"),
        &["older than the last lock's", "2025-10-09", "2025-10-08"],
    );
    assert_eq!(fs::read(small.lock_path()).unwrap(), before);
    assert_eq!(
        small.names(small.profile()),
        ["keyring.pgp", "profile.lock", "profile.yaml"]
    );
}

#[test]
fn a_package_that_is_not_what_was_locked_is_not_kept() {
    for (flaw, words) in [
        (
            Flaw::DebLies("app".into()),
            ["app 1", "is not what was locked"],
        ),
        (
            Flaw::DebDigest("app".into()),
            ["app 1", "is not what was locked"],
        ),
        (
            Flaw::DebTruncated("app".into()),
            ["app 1", "is not what was locked"],
        ),
        (
            Flaw::DebMissing("app".into()),
            ["app 1", "app_1_amd64.deb does not exist"],
        ),
    ] {
        let small = Small::with(&archive().with(flaw)).done(&["lock"]);
        refuse(&mut small.command("fetch"), &words);
        // The others are there: the package's dependency and two files.
        assert_eq!(small.names(small.store("sha256")).len(), 3);
        // It is fetched as soon as the archive is in order.
        small.put_archive(&archive());
        small.done(&["lock", "fetch"]);
    }
}

#[test]
fn a_package_whose_members_lie_stops_the_build() {
    let small = Small::with(&archive().with(Flaw::DebMemberLies("app".into())));
    let small = small.done(&["lock", "fetch"]);
    refuse(
        &mut small.command("build"),
        &["app", "data.tar.xz", "1073741824 bytes"],
    );
    assert_eq!(small.names(small.out()), [""; 0]);
}

#[test]
fn a_file_with_another_digest_than_published_is_not_kept() {
    let small = Small::new().done(&["lock"]);
    let good = small.server.bytes("/files/tool");
    let mut evil = good.clone();
    evil[7] ^= 1;
    small.server.put("/files/tool", evil);
    refuse(
        &mut small.command("fetch"),
        &["tool", &digest::sha256(&good), "not what was locked"],
    );
    assert!(!small.store("sha256").join(digest::sha256(&good)).exists());
    assert_eq!(small.names(small.store("partial")), [""; 0]);
    small.server.put("/files/tool", good);
    small.done(&["fetch"]);
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let small = Small::new().done(&["lock"]);
    small.server.cut("/files/tool", 70_000, 1);
    small.server.take_log();
    let small = small.done(&["fetch"]);
    let log = small.server.take_log();
    let ranges = log
        .iter()
        .filter(|asked| asked.path == "/files/tool")
        .map(|asked| asked.range.as_deref());
    assert_eq!(ranges.collect::<Vec<_>>(), [None, Some("bytes=70000-")]);
}

#[test]
fn a_download_starts_again_where_the_server_knows_no_ranges() {
    let small = Small::new().done(&["lock"]);
    small.server.cut("/files/tool", 70_000, 1);
    small.server.ignore_ranges();
    let small = small.done(&["fetch"]);
    let tool = small.server.bytes("/files/tool");
    let kept = small.store("sha256").join(digest::sha256(&tool));
    assert_eq!(fs::read(kept).unwrap(), tool);
}

#[test]
fn a_download_that_always_breaks_off_stays_for_the_next_run() {
    let small = Small::new().done(&["lock"]);
    let sha256 = digest::sha256(&small.server.bytes("/files/tool"));
    small.server.cut("/files/tool", 1000, usize::MAX);
    refuse(
        &mut small.command("fetch"),
        &["tool", &small.server.url("/files/tool")],
    );
    assert!(!small.store("sha256").join(&sha256).exists());
    let left = fs::metadata(small.store("partial").join(&sha256))
        .unwrap()
        .len();
    assert!(left >= 1000, "{left}");
    small.server.cut("/files/tool", 0, 0);
    small.server.take_log();
    let small = small.done(&["fetch"]);
    let asked = small.server.take_log();
    assert_eq!(asked[0].range, Some(format!("bytes={left}-")));
    assert_eq!(asked.len(), 1, "the rest was there");
    assert!(small.store("sha256").join(&sha256).exists());
}

#[test]
fn a_blob_that_rotted_in_the_store_stops_the_build_and_is_named() {
    let small = Small::new().done(&["lock", "fetch"]);
    let sha256 = digest::sha256(&small.server.bytes("/files/tool"));
    let blob = small.store("sha256").join(&sha256);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    fs::write(&blob, bytes).unwrap();
    refuse(
        &mut small.command("build"),
        &["tool is damaged in the store", &sha256, "seedbed fetch"],
    );
    assert_eq!(small.names(small.out()), [""; 0]);
    // What the message says helps.
    fs::remove_file(&blob).unwrap();
    refuse(
        &mut small.command("build"),
        &["tool", "is not in the store", "seedbed fetch"],
    );
    small.done(&["fetch"]);
}

#[test]
fn a_full_disk_while_fetching_leaves_what_came() {
    let small = Small::new().done(&["lock"]);
    let limited = seedbed_after(LIMIT, small.dir.path());
    let message = refuse(
        &mut small.give(limited, "fetch"),
        &["tool", "pause", "storing", "(os error 27)"],
    );
    assert!(
        !message.contains("reading http"),
        "the server is not to blame: {message}"
    );
    assert_eq!(
        small.names(small.store("sha256")).len(),
        2,
        "the packages fit"
    );
    assert_eq!(small.names(small.store("partial")).len(), 2);
    // With room again, the rest comes and nothing else.
    small.server.take_log();
    let small = small.done(&["fetch"]);
    let log = small.server.take_log();
    assert_eq!(log.len(), 2);
    assert!(log.iter().all(|asked| asked.range.is_some()), "{log:?}");
    assert_eq!(small.names(small.store("partial")), [""; 0]);
}

#[test]
fn a_fetch_killed_while_it_writes_leaves_what_came() {
    let small = Small::new().done(&["lock"]);
    let limited = seedbed_after("ulimit -f 500", small.dir.path());
    let status = small.give(limited, "fetch").output().unwrap().status;
    // SIGXFSZ.
    assert_eq!(status.signal(), Some(25), "{status}");
    for name in small.names(small.store("sha256")) {
        let bytes = fs::read(small.store("sha256").join(&name)).unwrap();
        assert_eq!(digest::sha256(&bytes), name);
    }
    small.done(&["fetch"]);
}

#[test]
fn half_a_seed_is_none() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("seed.yaml");
    let mut limited = seedbed_after("ulimit -f 0; trap '' XFSZ", home.path());
    limited.args(["seed", "new", "plant", "--out"]).arg(&path);
    refuse(&mut limited, &["writing", "seed.yaml", "(os error 27)"]);
    assert!(!path.exists());
}

#[test]
fn a_full_disk_while_locking_keeps_the_lock_before() {
    let small = Small::new().done(&["lock"]);
    let before = fs::read(small.lock_path()).unwrap();
    small.edit("name: small", "name: smaller");
    let limited = seedbed_after("ulimit -f 0; trap '' XFSZ", small.dir.path());
    refuse(
        &mut small.give(limited, "lock"),
        &["profile.lock", "(os error 27)"],
    );
    assert_eq!(fs::read(small.lock_path()).unwrap(), before);
    assert_eq!(
        small.names(small.profile()),
        ["keyring.pgp", "profile.lock", "profile.yaml"]
    );
}

#[test]
fn nothing_is_fetched_or_built_without_the_lock_of_this_very_profile() {
    let small = Small::new();
    for what in ["fetch", "build"] {
        refuse(
            &mut small.command(what),
            &["profile.lock does not exist: run `seedbed lock"],
        );
    }
    let small = small.done(&["lock", "fetch"]);
    small.edit("name: small", "name: other");
    for what in ["fetch", "build"] {
        refuse(
            &mut small.command(what),
            &[
                "profile.lock was made from another text",
                "run `seedbed lock",
            ],
        );
    }
    small.edit("name: other", "name: small");
    let lock = fs::read_to_string(small.lock_path()).unwrap();
    for broken in [
        &lock[..lock.len() / 2],
        &lock.replace("\"version\": 1", "\"version\": 2"),
        "",
        "\0",
    ] {
        fs::write(small.lock_path(), broken).unwrap();
        for what in ["lock", "fetch", "build"] {
            refuse(&mut small.command(what), &["profile.lock"]);
        }
        assert_eq!(fs::read_to_string(small.lock_path()).unwrap(), broken);
    }
    assert_eq!(small.names(small.out()), [""; 0]);
}

#[test]
fn a_place_for_a_source_that_is_not_there_is_refused() {
    let small = Small::new();
    let mut command = small.command("lock");
    command.args(["--source", "fiels=http://127.0.0.1:1"]);
    refuse(
        &mut command,
        &["fiels", "no such source", "it has debian, files"],
    );
    let mut command = seedbed(small.dir.path());
    command.arg("lock").arg(small.profile());
    let url = small.server.url("/debian");
    refuse(
        command.args(["--source", &format!("debian={url}")]),
        &["\"files\"", "--source files=URL"],
    );
    assert_eq!(small.server.take_log(), []);
}

#[test]
fn packages_without_a_kernel_are_no_machine() {
    let small = Small::new().done(&["lock", "fetch"]);
    refuse(
        &mut small.command("build"),
        &["no kernel", "linux-image-amd64"],
    );
    assert_eq!(small.names(small.out()), [""; 0]);
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let home = tempfile::tempdir().unwrap();
    for what in ["check", "lock", "fetch", "build"] {
        refuse(
            seedbed(home.path()).args([what, "nowhere"]),
            &["nowhere/profile.yaml"],
        );
    }
}
