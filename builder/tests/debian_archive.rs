//! From a signed archive to locked packages, and each way in which an archive can be broken.

#![allow(missing_docs, clippy::unwrap_used)]

use builder::debian::ArchiveReader;
use builder::debian::archive::{ArchiveSpec, LockedArchive, Opened, Order};
use builder::debian::date::Date;
use builder::debian::keyring::Keyring;
use builder::debian::solve::{Base, LockedPackage, Request, Solution};
use builder::digest;
use builder::fixture::archive::{ArchivePlan, FixtureArchive, Flaw};
use builder::fixture::deb::Deb;
use std::cell::RefCell;
use std::io::Read;

const DAY: u64 = 86_400;

fn date() -> Date {
    Date::from_unix(1_760_000_000)
}

fn debs() -> Vec<Deb> {
    let app = Deb::new("app", "1:2.0-1").field("Depends", "lib (>= 1), data");
    let data = Deb::new("data", "3").architecture("all");
    vec![
        app.file("/usr/bin/app", "binary", 0o755),
        Deb::new("lib", "1.5").symlink("/usr/lib/lib.so", "lib.so.1"),
        data.control("postinst", "#!/bin/sh\nexit 0\n"),
        Deb::new("lib", "9").architecture("arm64"),
    ]
}

fn plan() -> ArchivePlan {
    ArchivePlan::new("trixie", date(), debs())
}

fn order(requests: &[Request]) -> Order<'_> {
    Order {
        architecture: "amd64",
        requests,
        pins: &[],
        base: Base::Listed,
        exclude: &[],
    }
}

#[derive(Debug, PartialEq)]
struct Resolution {
    archives: Vec<LockedArchive>,
    solution: Solution,
}

fn read_with(
    archive: &FixtureArchive,
    reader: &dyn ArchiveReader,
    order: &Order<'_>,
    not_before: Option<Date>,
) -> anyhow::Result<Resolution> {
    let keyring = Keyring::parse(&archive.keyring)?;
    let components = vec!["main".to_owned()];
    let spec = ArchiveSpec {
        name: "debian",
        suite: "trixie",
        components: &components,
        keyring: &keyring,
        priority: None,
        max_age: 100 * DAY,
        not_before,
        reader,
    };
    let opened = Opened::open(&[spec], order.architecture, date().plus(2 * DAY))?;
    let solution = opened.records()?.solve(order)?;
    Ok(Resolution {
        archives: opened.archives,
        solution,
    })
}

fn lock(plan: &ArchivePlan, ask: &str) -> anyhow::Result<Resolution> {
    let archive = plan.build()?;
    let requests: Vec<Request> = vec![ask.parse()?];
    read_with(&archive, &archive, &order(&requests), None)
}

#[test]
fn names_become_locked_packages_whose_files_are_there() {
    let archive = plan().build().unwrap();
    let requests = vec!["app".parse().unwrap()];
    let found = read_with(&archive, &archive, &order(&requests), None).unwrap();
    let packages = &found.solution.packages;
    let names: Vec<String> = packages
        .iter()
        .map(|p| format!("{}<{}", p.name, p.because))
        .collect();
    assert_eq!(names, ["app<profile", "data<app", "lib<app"]);
    for package in packages {
        let bytes = &archive.files[&package.path];
        assert_eq!(bytes.len() as u64, package.size);
        assert_eq!(digest::sha256(bytes), package.sha256);
    }
    let in_release = &archive.files["dists/trixie/InRelease"];
    assert_eq!(found.archives[0].date, date());
    assert_eq!(
        found.archives[0].in_release_sha256,
        digest::sha256(in_release)
    );
    assert_eq!(
        lock(&plan(), "app").unwrap(),
        found,
        "equal input gives equal locks"
    );
}

#[test]
fn locks_are_read_back_and_know_no_other_keys() {
    type Written = (Vec<LockedArchive>, Vec<LockedPackage>);
    let found = lock(&plan(), "app").unwrap();
    let written: Written = (found.archives, found.solution.packages);
    let text = serde_json::to_string(&written).unwrap();
    assert_eq!(serde_json::from_str::<Written>(&text).unwrap(), written);
    assert!(text.contains("\"inReleaseSha256\""), "{text}");
    assert!(text.contains("\"date\":\"2025-10-09T08:53:20Z\""), "{text}");
    let unknown = text.replace("\"because\":", "\"why\":\"\",\"because\":");
    assert!(serde_json::from_str::<Written>(&unknown).is_err());
}

/// Remembers what is read.
struct Recorder<'a> {
    archive: &'a FixtureArchive,
    without_by_hash: bool,
    paths: RefCell<Vec<String>>,
}

impl ArchiveReader for Recorder<'_> {
    fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.paths.borrow_mut().push(path.to_owned());
        anyhow::ensure!(
            !(self.without_by_hash && path.contains("by-hash")),
            "not found"
        );
        self.archive.read(path)
    }
}

#[test]
fn indices_are_read_by_digest_where_offered() {
    let check = |by_hash, without_by_hash, expected: &[&str]| {
        let archive = ArchivePlan { by_hash, ..plan() }.build().unwrap();
        let paths = RefCell::default();
        let recorder = Recorder {
            archive: &archive,
            without_by_hash,
            paths,
        };
        let requests = vec!["app".parse().unwrap()];
        read_with(&archive, &recorder, &order(&requests), None).unwrap();
        let paths = recorder.paths.into_inner();
        assert_eq!(paths.len(), 1 + expected.len(), "{paths:?}");
        for (path, part) in paths[1..].iter().zip(expected) {
            assert!(path.contains(part), "{paths:?}");
        }
    };
    check(true, false, &["/by-hash/SHA256/"]);
    check(true, true, &["/by-hash/SHA256/", "/Packages.xz"]);
    check(false, false, &["/Packages.xz"]);
}

#[test]
fn every_flaw_is_an_error_that_names_it() {
    let cases = [
        (Flaw::ValidUntil, "expired at"),
        (Flaw::WrongKey, "not in the keyring"),
        (Flaw::WeakDigest, "weak digest SHA1"),
        (Flaw::ExpiredKey, "before it signed"),
        (Flaw::RevokedKey, "is revoked"),
        (Flaw::ChangedText, "does not match the text"),
        (Flaw::LeadingText, "not a clear-signed message"),
        (Flaw::TruncatedInRelease, "not a clear-signed message"),
        (Flaw::PackagesDigest, "has the SHA-256"),
        (Flaw::PackagesTruncated, "bytes, but Release declares"),
        (Flaw::PackagesBomb, "bytes, but Release declares"),
    ];
    for (flaw, expected) in cases {
        let error = format!("{:#}", lock(&plan().with(flaw.clone()), "app").unwrap_err());
        assert!(error.contains(expected), "{flaw:?}: {error}");
        assert!(
            error.starts_with("reading archive debian (trixie): "),
            "{flaw:?}: {error}"
        );
    }
}

#[test]
fn an_archive_older_than_the_last_lock_is_refused() {
    let archive = plan().build().unwrap();
    let requests = vec!["app".parse().unwrap()];
    let attempt = |date| read_with(&archive, &archive, &order(&requests), Some(date));
    assert!(attempt(date()).is_ok());
    let error = format!("{:#}", attempt(date().plus(1)).unwrap_err());
    assert!(error.contains("older than the last lock's"), "{error}");
}

#[test]
fn the_architecture_must_be_served() {
    let archive = plan().build().unwrap();
    let requests = vec!["lib".parse().unwrap()];
    let with = |architecture| {
        let order = Order {
            architecture,
            ..order(&requests)
        };
        read_with(&archive, &archive, &order, None)
    };
    assert_eq!(with("arm64").unwrap().solution.packages[0].version, "9");
    let error = format!("{:#}", with("riscv64").unwrap_err());
    assert!(
        error.contains("architecture riscv64 is not served; there are: amd64 arm64"),
        "{error}"
    );
}

#[test]
fn missing_packages_come_with_the_nearest_names() {
    let error = format!("{:#}", lock(&plan(), "dota").unwrap_err());
    assert!(
        error.contains("there is no package dota; names like it: data"),
        "{error}"
    );
}

/// One file of one member of a package.
fn unpack(deb: &[u8], member: &str, path: &str) -> Option<String> {
    let mut ar = ar::Archive::new(deb);
    while let Some(entry) = ar.next_entry() {
        let entry = entry.unwrap();
        if entry.header().identifier() != member.as_bytes() {
            continue;
        }
        let mut tar = tar::Archive::new(liblzma::read::XzDecoder::new(entry));
        for file in tar.entries().unwrap() {
            let mut file = file.unwrap();
            if file.path_bytes().as_ref() == path.as_bytes() {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                return Some(text);
            }
        }
    }
    None
}

#[test]
fn the_fixture_makes_real_packages() {
    let deb = debs()[0].build().unwrap();
    let binary = unpack(&deb, "data.tar.xz", "./usr/bin/app");
    assert_eq!(binary.as_deref(), Some("binary"));
    let control = unpack(&deb, "control.tar.xz", "./control").unwrap();
    assert!(control.contains("Depends: lib (>= 1), data\n"));
}

#[test]
fn flaws_of_packages_are_as_described() {
    let build = |flaw: fn(String) -> Flaw| {
        let archive = plan().with(flaw("app".into())).build().unwrap();
        let requests = vec!["app".parse().unwrap()];
        let found = read_with(&archive, &archive, &order(&requests), None).unwrap();
        let app = found.solution.packages[0].clone();
        let bytes = archive.files.get(&app.path).cloned().unwrap_or_default();
        let right_digest = digest::sha256(&bytes) == app.sha256;
        (
            i128::from(app.size) - bytes.len() as i128,
            right_digest,
            bytes,
        )
    };
    let (more, right_digest, _) = build(Flaw::DebDigest);
    assert!(more == 0 && !right_digest);
    let (more, right_digest, _) = build(Flaw::DebTruncated);
    assert!(more > 0 && !right_digest);
    let (more, right_digest, _) = build(Flaw::DebLies);
    assert!(more == 1 && right_digest);
    let (more, right_digest, bytes) = build(Flaw::DebMemberLies);
    assert!(more == 0 && right_digest);
    let header = bytes.windows(11).position(|w| w == b"data.tar.xz").unwrap();
    assert_eq!(&bytes[header + 48..header + 58], b"1073741824");
    assert!(build(Flaw::DebMissing).2.is_empty());
}
