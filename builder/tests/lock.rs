//! `seedbed lock --check`, `lock --update` and `diff` of locks, against an archive that moves on.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use builder::debian::date::Date;
use builder::fixture::archive::ArchivePlan;
use builder::fixture::deb::Deb;
use loopback::DATE;
use loopback::command::{refuse, seedbed, succeed};
use loopback::small::Small;
use serde_json::Value;
use std::fs;

/// Packages by name, version and what they depend on.
fn archive(days: i64, debs: &[(&str, &str, &str)]) -> ArchivePlan {
    let deb = |(name, version, depends): &(&str, &str, &str)| {
        let text = format!("{name} {version}");
        let deb = Deb::new(name, version).file(&format!("/usr/share/{name}"), text, 0o644);
        match *depends {
            "" => deb,
            depends => deb.field("Depends", depends),
        }
    };
    let date = Date::from_unix(DATE + days * 86_400);
    ArchivePlan::new("trixie", date, debs.iter().map(deb).collect())
}

/// Locked with `app`, `friend`, `library` and `other` in version 1.
fn locked() -> Small {
    let first = archive(
        0,
        &[
            ("app", "1", "library"),
            ("friend", "1", "library (= 1)"),
            ("library", "1", ""),
            ("other", "1", ""),
        ],
    );
    let small = Small::with(&first);
    small.edit("  - app\n", "  - app\n  - friend\n  - other\n");
    small.done(&["lock"])
}

fn lock(small: &Small) -> Value {
    serde_json::from_str(&fs::read_to_string(small.lock_path()).unwrap()).unwrap()
}

/// Updates `name`, and gives the lines that say what changed.
fn update(small: &Small, name: &str) -> Vec<String> {
    let text = succeed(small.command("lock").args(["--update", name]));
    let lines = text.lines().map(str::to_owned);
    lines.filter(|line| line.starts_with("amd64 ")).collect()
}

/// Name and version of each locked package.
fn versions(small: &Small) -> Vec<String> {
    let lock = lock(small);
    let packages = lock["arch"]["amd64"]["packages"].as_array().unwrap();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap().to_owned();
    let version =
        |package: &Value| format!("{} {}", text(package, "name"), text(package, "version"));
    packages.iter().map(version).collect()
}

/// R032: a lock can be read and compared line by line.
#[test]
fn a_lock_is_sorted_and_has_one_entry_a_line() {
    let small = locked();
    let text = fs::read_to_string(small.lock_path()).unwrap();
    let entries: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("\"because\""))
        .collect();
    let name = |line: &&str| {
        let entry: Value = serde_json::from_str(line.trim().trim_end_matches(',')).unwrap();
        entry["name"].as_str().unwrap().to_owned()
    };
    let names: Vec<String> = entries.iter().map(name).collect();
    assert_eq!(names, ["app", "friend", "library", "other"]);
}

/// R032: what CI asks, and a lock that fails it stays as it is.
#[test]
fn check_fails_when_the_profile_resolves_to_something_else() {
    let small = locked();
    succeed(small.command("lock").arg("--check"));
    let before = fs::read(small.lock_path()).unwrap();
    small.put_archive(&archive(
        1,
        &[("app", "2", ""), ("friend", "1", ""), ("other", "1", "")],
    ));
    let output = small.command("lock").arg("--check").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("amd64 package app 1 -> 2\n"), "{text}");
    assert!(text.contains("amd64 package library 1 is gone\n"), "{text}");
    assert_eq!(fs::read(small.lock_path()).unwrap(), before);
}

/// R032: one package moves, all others stay, although the archive has newer ones.
#[test]
fn one_package_is_updated_and_the_others_stay() {
    let small = locked();
    small.put_archive(&archive(
        1,
        &[
            ("app", "2", "library"),
            ("friend", "2", "library (= 2)"),
            ("library", "2", ""),
            ("other", "2", ""),
        ],
    ));
    assert_eq!(update(&small, "other"), ["amd64 package other 1 -> 2"]);
    assert_eq!(
        versions(&small),
        ["app 1", "friend 1", "library 1", "other 2"]
    );
    assert_eq!(update(&small, "app"), ["amd64 package app 1 -> 2"]);
    let lock = lock(&small);
    assert_eq!(lock["epoch"], DATE + 86_400);
    // It is as new as it can be.
    let text = succeed(small.command("lock").args(["--update", "app"]));
    assert!(text.ends_with(": unchanged\n"), "{text}");
    // The lock is good for what follows.
    small.done(&["fetch"]);
}

/// R032: who cannot live with the new version moves with it, and what it newly needs comes in.
#[test]
fn what_has_to_move_moves_with_it() {
    let small = locked();
    small.put_archive(&archive(
        1,
        &[
            ("app", "2", "library (>= 2), extra"),
            ("extra", "1", ""),
            ("friend", "2", "library (= 2)"),
            ("library", "2", ""),
            ("other", "2", ""),
        ],
    ));
    let expected = [
        "amd64 package app 1 -> 2",
        "amd64 package extra 1 is new",
        "amd64 package friend 1 -> 2",
        "amd64 package library 1 -> 2",
    ];
    assert_eq!(update(&small, "app"), expected);
    assert!(versions(&small).contains(&"other 1".to_owned()));
}

/// R032: what a version that is gone needs is told by its file; without it nothing is guessed.
#[test]
fn a_locked_version_that_is_nowhere_stops_an_update() {
    let small = locked();
    small.put_archive(&archive(
        1,
        &[
            ("app", "2", "library"),
            ("friend", "2", ""),
            ("library", "2", ""),
            ("other", "1", ""),
        ],
    ));
    let before = fs::read(small.lock_path()).unwrap();
    small.server.remove("/debian/pool/main/friend_1_amd64.deb");
    let words = ["friend 1", "no longer in the archive", "run `seedbed lock`"];
    refuse(small.command("lock").args(["--update", "app"]), &words);
    assert_eq!(fs::read(small.lock_path()).unwrap(), before);
}

/// R032: a file and an image are updated alone, without a look at the archive.
#[test]
fn one_file_or_image_is_updated_and_the_rest_stays() {
    let small = locked();
    let before = lock(&small);
    small.put_file("tool", b"a newer tool");
    small.put_file("pause", b"a newer pause");
    small.server.take_log();
    assert_eq!(
        update(&small, "/usr/bin/tool"),
        ["amd64 file /usr/bin/tool tool has other bytes"]
    );
    let asked = small.server.take_log();
    assert!(
        asked
            .iter()
            .all(|asked| asked.path.starts_with("/files/tool")),
        "{asked:?}"
    );
    let after = lock(&small);
    for part in ["archives", "epoch"] {
        assert_eq!(after[part], before[part]);
    }
    for part in ["packages", "images"] {
        assert_eq!(after["arch"]["amd64"][part], before["arch"]["amd64"][part]);
    }
    let image = "registry.example/pause:1";
    assert_eq!(
        update(&small, image),
        ["amd64 image registry.example/pause 1 has other bytes"]
    );
}

/// R032: a name that is not there comes with those that are near.
#[test]
fn an_update_of_something_unknown_offers_near_names() {
    let small = locked();
    let check = |name: &str, words: &[&str]| {
        refuse(small.command("lock").args(["--update", name]), words);
    };
    check("libary", &["no package, file or image libary", "library"]);
    check("tool", &["/usr/bin/tool"]);
    check("pause", &["registry.example/pause:1"]);
    small.write(&format!("{}timezone: Europe/Berlin\n", small.text()));
    check("app", &["another text of the profile", "run `seedbed lock"]);
}

/// R032: two locks, or the folders of two profiles, are compared for people and for programs.
#[test]
fn a_difference_of_locks_is_grouped() {
    let small = locked();
    let old = small.dir.path().join("old.lock");
    fs::copy(small.lock_path(), &old).unwrap();
    small.put_archive(&archive(
        1,
        &[
            ("app", "2", "extra"),
            ("extra", "1", ""),
            ("friend", "1~rc", ""),
            ("other", "1", ""),
        ],
    ));
    small.put_file("tool", b"a newer tool");
    let small = small.done(&["lock"]);
    let diff = |before: &std::path::Path, after: &std::path::Path| {
        let mut command = seedbed(small.dir.path());
        command.arg("diff").arg(before).arg(after);
        command
    };
    let text = succeed(&mut diff(&old, &small.profile()));
    for line in [
        "packages up\n  ~ app  1 -> 2\n",
        "packages down\n  ~ friend  1 -> 1~rc\n",
        "packages added\n  + extra  1\n",
        "packages removed\n  - library  1\n",
        "files\n  ~ /usr/bin/tool  tool ",
    ] {
        assert!(text.contains(line), "{line} is not in: {text}");
    }
    assert!(
        !text.contains("other") && !text.contains("images"),
        "{text}"
    );
    let json: Value =
        serde_json::from_str(&succeed(diff(&old, &small.lock_path()).arg("--json"))).unwrap();
    assert_eq!(
        json["arch"]["amd64"]["packages"]["up"],
        serde_json::json!([{"name": "app", "before": "1", "after": "2"}])
    );
    let same = succeed(&mut diff(&old, &old));
    assert_eq!(same, "nothing differs\n");
    let words = ["is a lock", "compare two locks or two images"];
    refuse(&mut diff(&old, &small.firstboot()), &words);
}
