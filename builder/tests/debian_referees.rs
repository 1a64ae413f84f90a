//! Debian's own tools as referees: what they say of versions, packages and signatures is what we say.
//!
//! A tool that is not installed is a skip that is printed, or a failure if `SEEDBED_REQUIRE_REFEREES` is 1.

#![allow(missing_docs, clippy::unwrap_used)]

use builder::debian::date::Date;
use builder::debian::version::compare;
use builder::fixture::archive::{ArchivePlan, Flaw};
use builder::fixture::deb::Deb;
use std::cmp::Ordering;
use std::fs;
use std::process::{Command, Stdio};

fn is_installed(test: &str, tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        println!("SKIP {test}: {tool} is not installed");
        let required = std::env::var("SEEDBED_REQUIRE_REFEREES").is_ok_and(|value| value == "1");
        assert!(
            !required,
            "{tool} is not installed, but referees are required"
        );
    }
    found
}

/// Versions drawn from the pieces on which implementations differ, the same at every run.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn part(&mut self, pieces: &[&str]) -> String {
        (0..=self.next(4))
            .map(|_| pieces[self.next(pieces.len())])
            .collect()
    }

    fn version(&mut self) -> String {
        let epoch = ["", "", "", "0:", "1:", "10:"][self.next(6)];
        let revision = ["", "", "-0", "-1", "-1~deb13u1", "-1+b1", "-0.1"][self.next(7)];
        format!("{epoch}1{}{revision}", self.part(&PIECES))
    }

    /// Two versions: every other time the second is the first with one piece put in, so that they share a beginning.
    fn pair(&mut self) -> (String, String) {
        let a = self.version();
        if self.next(2) == 0 {
            return (a, self.version());
        }
        let start = a.find(':').map_or(1, |colon| colon + 2);
        let end = a.rfind('-').unwrap_or(a.len());
        let at = start + self.next(end - start + 1);
        let b = format!(
            "{}{}{}",
            &a[..at],
            PIECES[self.next(PIECES.len())],
            &a[at..]
        );
        (a, b)
    }
}

/// What versions are made of here.
const PIECES: [&str; 14] = [
    "0",
    "1",
    "9",
    "10",
    "007",
    "~",
    "+",
    ".",
    "a",
    "b",
    "Z",
    "~~",
    "rc",
    "99999999999999999999",
];

#[test]
fn single_versions_compare_as_dpkg_compare_versions_says() {
    if !is_installed(
        "single_versions_compare_as_dpkg_compare_versions_says",
        "dpkg",
    ) {
        return;
    }
    let mut draw = Draw(1);
    let mut seen = [0; 3];
    for _ in 0..400 {
        let (a, b) = draw.pair();
        let ours = compare(&a, &b);
        let (operator, place) = match ours {
            Ordering::Less => ("lt-nl", 0),
            Ordering::Equal => ("eq", 1),
            Ordering::Greater => ("gt-nl", 2),
        };
        seen[place] += 1;
        let mut dpkg = Command::new("dpkg");
        dpkg.args(["--compare-versions", &a, operator, &b])
            .stderr(Stdio::null());
        assert!(
            dpkg.status().unwrap().success(),
            "{a} {operator} {b} is not what dpkg says"
        );
    }
    assert!(
        seen[0] > 50 && seen[2] > 50,
        "the draw is lopsided: {seen:?}"
    );
}

/// Which of `second` dpkg finds no older than those of `first`, place by place. It compares all of them in one run
/// when it merges two lists of available packages: there, an older version does not replace a newer one.
fn replaces(first: &[&str], second: &[&str]) -> Vec<bool> {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("database");
    for folder in ["updates", "info"] {
        fs::create_dir_all(database.join(folder)).unwrap();
    }
    for file in ["status", "available"] {
        fs::write(database.join(file), "").unwrap();
    }
    for (action, versions) in [("--update-avail", first), ("--merge-avail", second)] {
        let mut list = String::new();
        for (i, version) in versions.iter().enumerate() {
            list.push_str(&format!(
                "Package: p{i}\nVersion: {version}\nArchitecture: all\nMaintainer: m\nDescription: {action}\n\n"
            ));
        }
        let path = directory.path().join("list");
        fs::write(&path, list).unwrap();
        let mut dpkg = Command::new("dpkg");
        dpkg.arg("--admindir").arg(&database).arg(action).arg(path);
        let output = dpkg.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
    }
    let available = fs::read_to_string(database.join("available")).unwrap();
    let mut replaced = vec![None; first.len()];
    for record in available.split("\n\n").filter(|record| !record.is_empty()) {
        let field = |name| {
            record
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
        };
        let i: usize = field("Package: p").parse().unwrap();
        replaced[i] = Some(field("Description: ") == "--merge-avail");
    }
    replaced.into_iter().map(Option::unwrap).collect()
}

#[test]
fn a_hundred_thousand_pairs_of_versions_compare_as_dpkg_compares_them() {
    if !is_installed(
        "a_hundred_thousand_pairs_of_versions_compare_as_dpkg_compares_them",
        "dpkg",
    ) {
        return;
    }
    let mut draw = Draw(2);
    let pairs: Vec<(String, String)> = (0..100_000).map(|_| draw.pair()).collect();
    let a: Vec<&str> = pairs.iter().map(|(a, _)| a.as_str()).collect();
    let b: Vec<&str> = pairs.iter().map(|(_, b)| b.as_str()).collect();
    let not_less = replaces(&b, &a);
    let not_greater = replaces(&a, &b);
    let mut seen = [0; 3];
    for (i, (a, b)) in pairs.iter().enumerate() {
        let (theirs, place) = match (not_less[i], not_greater[i]) {
            (false, true) => (Ordering::Less, 0),
            (true, true) => (Ordering::Equal, 1),
            (true, false) => (Ordering::Greater, 2),
            (false, false) => panic!("dpkg finds {a} and {b} older than each other"),
        };
        seen[place] += 1;
        assert_eq!(compare(a, b), theirs, "{a} with {b}");
    }
    assert!(
        seen.iter().all(|count| *count > 100),
        "the draw is lopsided: {seen:?}"
    );
}

fn plan() -> ArchivePlan {
    let deb =
        Deb::new("app", "1:2.0-1")
            .field("Depends", "libc6")
            .file("/usr/bin/app", "binary", 0o755);
    let deb = deb
        .control("postinst", "#!/bin/sh\nexit 0\n")
        .symlink("/usr/bin/other", "app");
    ArchivePlan::new("trixie", Date::from_unix(1_760_000_000), vec![deb])
}

#[test]
fn dpkg_deb_reads_the_fixture_s_packages() {
    if !is_installed("dpkg_deb_reads_the_fixture_s_packages", "dpkg-deb") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    plan().build().unwrap().write_to(directory.path()).unwrap();
    let deb = directory.path().join(plan().debs[0].file_name());
    let run = |what: &str| {
        let output = Command::new("dpkg-deb")
            .arg(what)
            .arg(&deb)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run("--field").contains("Version: 1:2.0-1\n"));
    let contents = run("--contents");
    assert!(
        contents.contains("-rwxr-xr-x root/root") && contents.contains(" ./usr/bin/app\n"),
        "{contents}"
    );
    assert!(contents.contains("./usr/bin/other -> app"), "{contents}");
}

#[test]
fn gpgv_accepts_the_fixture_s_signature_and_refuses_a_changed_one() {
    if !is_installed(
        "gpgv_accepts_the_fixture_s_signature_and_refuses_a_changed_one",
        "gpgv",
    ) {
        return;
    }
    let verdict = |plan: ArchivePlan| {
        let directory = tempfile::tempdir().unwrap();
        plan.build().unwrap().write_to(directory.path()).unwrap();
        let mut gpgv = Command::new("gpgv");
        gpgv.arg("--keyring")
            .arg(directory.path().join("keyring.pgp"));
        gpgv.arg(directory.path().join("dists/trixie/InRelease"));
        gpgv.output().unwrap()
    };
    let good = verdict(plan());
    assert!(
        good.status.success(),
        "{}",
        String::from_utf8_lossy(&good.stderr)
    );
    for flaw in [Flaw::ChangedText, Flaw::WrongKey] {
        assert!(
            !verdict(plan().with(flaw.clone())).status.success(),
            "{flaw:?}"
        );
    }
}
