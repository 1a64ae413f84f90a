//! Debian's own tools as referees: what they say of versions, packages and signatures is what we say.
//!
//! A tool that is not installed is a skip that is printed, or a failure if `SEEDBED_REQUIRE_REFEREES` is 1.

#![allow(missing_docs, clippy::unwrap_used)]

use builder::debian::date::Date;
use builder::debian::version::compare;
use builder::fixture::archive::{ArchivePlan, Flaw};
use builder::fixture::deb::Deb;
use std::cmp::Ordering;
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
        let pieces = [
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
        let epoch = ["", "", "", "0:", "1:", "10:"][self.next(6)];
        let revision = ["", "", "-0", "-1", "-1~deb13u1", "-1+b1", "-0.1"][self.next(7)];
        format!("{epoch}1{}{revision}", self.part(&pieces))
    }
}

#[test]
fn versions_compare_as_dpkg_does() {
    if !is_installed("versions_compare_as_dpkg_does", "dpkg") {
        return;
    }
    let mut draw = Draw(1);
    let mut seen = [0; 3];
    for _ in 0..400 {
        let (a, b) = (draw.version(), draw.version());
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
