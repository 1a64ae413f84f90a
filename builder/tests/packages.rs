//! Packages as a profile asks for them: of several archives, by priority and pin, from files of its own, and what is
//! said if it cannot be.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use builder::debian::date::Date;
use builder::digest;
use builder::fixture::archive::ArchivePlan;
use builder::fixture::deb::Deb;
use loopback::DATE;
use loopback::command::{refuse, succeed};
use loopback::small::Small;
use serde_json::Value;
use std::fs;

fn plan(codename: &str, debs: Vec<Deb>) -> ArchivePlan {
    ArchivePlan::new(codename, Date::from_unix(DATE), debs)
}

/// The small profile with these packages asked for, and `rest` at its end.
fn small(packages: &str, rest: &str) -> Small {
    let small = Small::new();
    small.edit("  - app\n", packages);
    small.write(&format!("{}{rest}", small.text()));
    small
}

/// Serves another archive as `/NAME`, and its keyring as `NAME.pgp` beside the profile.
fn serve(small: &Small, name: &str, plan: &ArchivePlan) {
    let archive = plan.build().unwrap();
    for (path, bytes) in archive.files {
        small.server.put(&format!("/{name}/{path}"), bytes);
    }
    fs::write(small.profile().join(format!("{name}.pgp")), archive.keyring).unwrap();
}

/// A source of that name, with further keys of `debian`.
fn source(small: &Small, name: &str, keys: &str) {
    let url = small.server.url(&format!("/{name}"));
    let text =
        format!("sources:\n  {name}:\n    url: {url}\n    debian: {{maxAgeDays: 36500, {keys}}}\n");
    small.edit("sources:\n", &text);
}

/// `name=version/archive` of every package of the root file system for an architecture.
fn locked(small: &Small, arch: &str) -> Vec<String> {
    succeed(&mut small.command("lock"));
    let lock: Value = serde_json::from_slice(&fs::read(small.lock_path()).unwrap()).unwrap();
    let packages = lock["arch"][arch]["packages"].as_array().unwrap();
    let text = |package: &Value, key: &str| package[key].as_str().unwrap().to_owned();
    let label = |p: &Value| {
        format!(
            "{}={}/{}",
            text(p, "name"),
            text(p, "version"),
            text(p, "archive")
        )
    };
    packages.iter().map(label).collect()
}

#[test]
fn archives_have_priorities_and_pins_go_before_them() {
    let extra = plan(
        "extra",
        vec![Deb::new("app", "9"), Deb::new("library", "9")],
    );
    let check = |priority: &str, rest: &str, expected: [&str; 2]| {
        let small = small("  - app\n  - library\n", rest);
        serve(&small, "extra", &extra);
        let keys = format!("suite: extra, components: [main], keyring: extra.pgp{priority}");
        source(&small, "extra", &keys);
        assert_eq!(locked(&small, "amd64"), expected, "{priority} {rest}");
    };
    check("", "", ["app=9/extra", "library=9/extra"]);
    let low = ", priority: 400";
    check(low, "", ["app=1/debian", "library=2/debian"]);
    let pin = "pins: [{packages: [app], from: extra, priority: 600}]\n";
    check(low, pin, ["app=9/extra", "library=2/debian"]);
    let pin = "pins: [{packages: ['lib*'], version: '2*', priority: 600}]\n";
    check("", pin, ["app=9/extra", "library=2/debian"]);
    let pin = "pins: [{packages: ['*'], from: extra, priority: -1}]\n";
    check("", pin, ["app=1/debian", "library=2/debian"]);
}

#[test]
fn an_archive_has_suites_an_inline_key_and_architectures() {
    let small = small(
        "  - app\n  - update\n  - 'only [amd64]'\n  - 'none [arm64]'\n",
        "",
    );
    let one = plan("one", vec![Deb::new("only", "1")]);
    let two = plan("two", vec![Deb::new("update", "2")]);
    // Both suites are of one archive, so one key signs both.
    serve(&small, "extra", &one);
    serve(&small, "extra", &two);
    let keyring = fs::read(small.profile().join("extra.pgp")).unwrap();
    let armored = armor(&keyring).replace('\n', "\\n");
    let keys = format!("suites: [one, two], components: [main], arch: [amd64], key: \"{armored}\"");
    source(&small, "extra", &keys);
    let expected = [
        "app=1/debian",
        "library=2/debian",
        "only=1/extra",
        "update=2/extra",
    ];
    assert_eq!(locked(&small, "amd64"), expected);
    let lock = fs::read_to_string(small.lock_path()).unwrap();
    for suite in ["one", "two"] {
        assert!(lock.contains(&format!("\"suite\": \"{suite}\"")), "{lock}");
    }
    small.edit("arch: [amd64], key", "arch: [arm64], key");
    refuse(
        &mut small.command("lock"),
        &["there is no package only", "there is no package update"],
    );
}

/// A keyring as people paste it.
fn armor(keyring: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(keyring);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{}\n-----END PGP PUBLIC KEY BLOCK-----\n",
        lines.join("\n")
    )
}

#[test]
fn an_archive_can_be_a_folder() {
    let small = small("  - app\n  - tool\n", "");
    let mut folder = plan(
        "flat",
        vec![
            Deb::new("tool", "1.34.1-1.1"),
            Deb::new("tool", "9").architecture("arm64"),
        ],
    );
    folder.flat = true;
    serve(&small, "kube", &folder);
    source(&small, "kube", "suite: /, keyring: kube.pgp");
    let expected = ["app=1/debian", "library=2/debian", "tool=1.34.1-1.1/kube"];
    assert_eq!(locked(&small, "amd64"), expected);
    succeed(&mut small.command("fetch"));
}

#[test]
fn a_deb_file_of_ones_own_is_resolved_locked_and_held_to_its_digest() {
    let small = small("  - ./debs/agent.deb\n", "");
    let folder = small.profile().join("debs");
    fs::create_dir(&folder).unwrap();
    let agent = |text: &str| {
        let deb = Deb::new("agent", "1:3-1").field("Depends", "app (>= 1)");
        deb.file("/usr/bin/agent", text, 0o755).build().unwrap()
    };
    fs::write(folder.join("agent.deb"), agent("first")).unwrap();
    let expected = ["agent=1:3-1/profile", "app=1/debian", "library=2/debian"];
    assert_eq!(locked(&small, "amd64"), expected);
    let lock = fs::read_to_string(small.lock_path()).unwrap();
    assert!(lock.contains("\"path\":\"./debs/agent.deb\""), "{lock}");
    let sha256 = digest::sha256(&agent("first"));
    assert!(lock.contains(&sha256), "{lock}");
    succeed(&mut small.command("fetch"));
    assert!(small.store("sha256").join(&sha256).is_file());

    fs::write(folder.join("agent.deb"), agent("other")).unwrap();
    let words = [
        "./debs/agent.deb (agent 1:3-1) is not the file that was locked",
        "run `seedbed lock",
    ];
    refuse(&mut small.command("fetch"), &words);
    refuse(&mut small.command("build"), &words);
    refuse(
        small.command("lock").arg("--check"),
        &["run `seedbed lock`"],
    );
    assert_eq!(locked(&small, "amd64"), expected);
    succeed(&mut small.command("fetch"));

    fs::remove_file(folder.join("agent.deb")).unwrap();
    refuse(
        &mut small.command("lock"),
        &["reading package ./debs/agent.deb"],
    );
    fs::write(folder.join("agent.deb"), "no package").unwrap();
    refuse(
        &mut small.command("lock"),
        &["reading package ./debs/agent.deb", "no ar archive"],
    );
}

#[test]
fn a_deb_file_goes_before_every_archive_and_is_for_its_architecture() {
    let small = small("  - app\n  - ./library.deb\n", "");
    let put =
        |deb: Deb| fs::write(small.profile().join("library.deb"), deb.build().unwrap()).unwrap();
    put(Deb::new("library", "0.1"));
    assert_eq!(
        locked(&small, "amd64"),
        ["app=1/debian", "library=0.1/profile"]
    );
    put(Deb::new("library", "0.1").architecture("arm64"));
    refuse(
        &mut small.command("lock"),
        &[
            "./library.deb of the profile is for arm64",
            "write ./library.deb [arm64]",
        ],
    );
    small.edit("  - ./library.deb\n", "  - ./library.deb [arm64]\n");
    assert_eq!(
        locked(&small, "amd64"),
        ["app=1/debian", "library=2/debian"]
    );
}

#[test]
fn versions_are_optional_in_a_profile_and_there_in_a_lock() {
    let small = small("  - app=1*\n  - library/debian\n", "");
    assert_eq!(
        locked(&small, "amd64"),
        ["app=1/debian", "library=2/debian"]
    );
    small.edit("app=1*", "app=2*");
    refuse(
        &mut small.command("lock"),
        &["there is no package app=2*; there is app/debian=1"],
    );
}

#[test]
fn essential_and_required_packages_come_on_request() {
    let base = plan(
        "base",
        vec![
            Deb::new("sh", "1").field("Essential", "yes"),
            Deb::new("awk", "1").field("Priority", "required"),
        ],
    );
    let check = |word: &str, expected: &[&str]| {
        let small = small("  - app\n", word);
        serve(&small, "base", &base);
        source(
            &small,
            "base",
            "suite: base, components: [main], keyring: base.pgp",
        );
        assert_eq!(locked(&small, "amd64"), expected, "{word}");
    };
    check("", &["app=1/debian", "library=2/debian"]);
    check(
        "base: essential\n",
        &["app=1/debian", "library=2/debian", "sh=1/base"],
    );
    check(
        "base: required\n",
        &[
            "app=1/debian",
            "awk=1/base",
            "library=2/debian",
            "sh=1/base",
        ],
    );
}

#[test]
fn conflicts_are_explained_in_a_sentence() {
    let small = small("  - app\n  - rival\n", "");
    let rival = Deb::new("rival", "7").field("Breaks", "library (<< 3)");
    let needy = Deb::new("needy", "1").field("Depends", "library (>= 3)");
    serve(&small, "extra", &plan("extra", vec![rival, needy]));
    source(
        &small,
        "extra",
        "suite: extra, components: [main], keyring: extra.pgp",
    );
    refuse(
        &mut small.command("lock"),
        &[
            "rival 7 breaks library (<< 3), but library 2 is chosen: rival is asked for by the profile, and library is \
           needed by app, which the profile asks for; leave out rival or app, or pin versions that go together",
        ],
    );
    small.edit("  - rival\n", "  - needy\n");
    refuse(
        &mut small.command("lock"),
        &[
            "needy 1 needs library (>= 3), but library is at version 2 in debian, and no archive has another that fits; \
           needy is asked for by the profile",
        ],
    );
}

#[test]
fn faults_of_packages_and_sources_are_pointed_at() {
    let check = |from: &str, to: &str, said: &str| {
        let small = Small::new();
        small.edit(from, to);
        refuse(&mut small.command("check"), &[said]);
    };
    check("  - app\n", "  - App\n", "\"App\" does not name a package");
    check("  - app\n", "  - app=x\n", "\"x\" is not a Debian version");
    check(
        "  - app\n",
        "  - ./app.rpm\n",
        "is not the path of a .deb file",
    );
    check("  - app\n", "  - app [\n", "a list of architectures");
    check(
        "packages:\n",
        "pins: [{packages: [], priority: 1}]\npackages:\n",
        "about no package",
    );
    check(
        "packages:\n",
        "pins: [{packages: [a], from: gone, priority: 1}]\npackages:\n",
        "\"gone\" is no source and no suite of one",
    );
    check(
        "packages:\n",
        "pins: [{packages: [a], priority: 0}]\npackages:\n",
        "priority 0 says nothing",
    );
    check(
        "suite: trixie",
        "suites: [trixie], suite: trixie",
        "needs either suite or suites",
    );
    check("suite: trixie, ", "", "needs either suite or suites");
    check("suite: trixie", "suite: /", "does not go with components");
    check(
        "keyring: keyring.pgp",
        "keyring: keyring.pgp, key: x",
        "has both keyring and key",
    );
    check(
        "keyring: keyring.pgp",
        "priority: 0",
        "priority 0 says nothing",
    );
    check(
        "  files: {}\n",
        "  files: {}\n  profile: {}\n",
        "no source can be called profile",
    );
}
