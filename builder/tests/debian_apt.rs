//! Apt as the referee of resolution: from the same index files, the same packages in the same versions.
//!
//! `small_archives_resolve_as_apt_resolves_them` tries one thing at a time on archives that it makes.
//! `real_sets_resolve_as_apt_resolves_them` takes sets of real packages from the mirror that the host's apt uses: the
//! archives are read and verified as for a lock, and the very files go to an apt in a root of its own, whose dpkg
//! status is empty. `SEEDBED_LONG=1` asks for it, and `SEEDBED_TEST_SETS=podman,arm64` for these alone.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/apt.rs"]
mod apt;
#[path = "debian_apt/sets.rs"]
mod sets;
#[path = "debian_apt/small.rs"]
mod small;

use apt::{Apt, Installed};
use builder::debian::ArchiveReader;
use builder::debian::archive::{ArchiveSpec, Opened, Order, Records};
use builder::debian::date::Date;
use builder::debian::keyring::Keyring;
use builder::debian::solve::{Base, Pin, Request, Solution};
use builder::profile;
use builder::source::{Places, Sources};
use builder::transport::Transport;
use sets::{DIFFERENCES, SETS, Set};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

const REAL: &str = "real_sets_resolve_as_apt_resolves_them";
const SMALL: &str = "small_archives_resolve_as_apt_resolves_them";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const ARCHIVES: [(&str, &str); 2] = [("debian", "trixie"), ("security", "trixie-security")];
const PROFILE: &str = "version: 1
name: apt
arch: [amd64, arm64]
sources:
  debian: {debian: {suite: trixie, components: [main]}}
  security: {debian: {suite: trixie-security, components: [main]}}
kubernetes: {version: v1.34.1, imageRepository: r.example, pause: 'r.example/pause:1'}
images: [{name: 'r.example/pause:1'}]
";

/// Whether the test can run; if not, says that it is skipped, or fails where referees are required.
fn can_run(test: &str, reason: Option<&str>) -> bool {
    let Some(reason) = reason else {
        return true;
    };
    let required = std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() == Ok("1");
    assert!(!required, "{test}: {reason}");
    println!("SKIP {test}: {reason}");
    false
}

fn apt_is_missing() -> Option<&'static str> {
    let found = Command::new("apt-get").arg("--version").output().is_ok();
    (!found).then_some("apt-get is not installed")
}

/// Versions by package name of what we find, and of what apt finds, or what they say instead.
fn ours(
    records: &Records<'_>,
    architecture: &str,
    base: Base,
    pins: &[Pin],
    names: &[&str],
) -> Result<Solution, String> {
    let requests: Vec<Request> = names.iter().map(|name| name.parse().unwrap()).collect();
    let order = Order {
        architecture,
        requests: &requests,
        pins,
        base,
        exclude: &[],
    };
    records.solve(&order).map_err(|error| format!("{error:#}"))
}

fn installed(solution: &Solution) -> Installed {
    let packages = solution.packages.iter();
    packages
        .map(|p| (p.name.clone(), p.version.clone()))
        .collect()
}

/// What `a` has and `b` has not, by name and version.
fn only(a: &Installed, b: &Installed) -> Vec<String> {
    let only = a
        .iter()
        .filter(|(name, version)| b.get(*name) != Some(version));
    only.map(|(name, version)| format!("{name}={version}"))
        .collect()
}

#[test]
fn small_archives_resolve_as_apt_resolves_them() {
    if !can_run(SMALL, apt_is_missing()) {
        return;
    }
    let mut faults = Vec::new();
    for case in small::CASES {
        let scratch = tempfile::tempdir().unwrap();
        let fault = small::run(case, scratch.path());
        faults.extend(fault.map(|fault| format!("{}: {fault}", case.name)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Reads an archive from its mirror and keeps every file for apt.
struct Keeper<'a> {
    name: &'a str,
    sources: &'a Sources,
    transport: &'a Transport,
    mirror: PathBuf,
}

impl ArchiveReader for Keeper<'_> {
    fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let bytes = self.transport.get(&self.sources.url(self.name, path)?)?;
        let kept = self.mirror.join(path);
        fs::create_dir_all(kept.parent().unwrap())?;
        fs::write(kept, &bytes)?;
        Ok(bytes)
    }
}

/// The archives of one architecture, for us and for apt.
struct Referee {
    opened: Opened,
    apt: Apt,
}

fn referee(dir: &Path, architecture: &str) -> anyhow::Result<Referee> {
    let folder = dir.join("profile");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("profile.yaml"), PROFILE)?;
    let profile = profile::read(&folder)?;
    let sources = Sources::locate(&profile, &Places::default())?;
    let transport = Transport::new()?;
    let keyring = Keyring::parse(&fs::read(KEYRING)?)?;
    let components = ["main".to_owned()];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now = Date::from_unix(i64::try_from(now.as_secs())?);
    let mirror = |name: &str| dir.join(architecture).join(name);
    let keepers = ARCHIVES.map(|(name, _)| Keeper {
        name,
        sources: &sources,
        transport: &transport,
        mirror: mirror(name),
    });
    let mut specs = Vec::new();
    let mut lines = String::new();
    for ((name, suite), reader) in ARCHIVES.iter().zip(&keepers) {
        specs.push(ArchiveSpec {
            name,
            suite,
            components: &components,
            keyring: &keyring,
            priority: None,
            max_age: 1 << 30,
            not_before: None,
            reader,
        });
        let place = mirror(name).display().to_string();
        lines.push_str(&format!(
            "deb [signed-by={KEYRING}] file:{place} {suite} main\n"
        ));
    }
    let opened = Opened::open(&specs, architecture, now)?;
    let apt = Apt::new(
        &dir.join(format!("apt-{architecture}")),
        architecture,
        &lines,
        "",
    );
    Ok(Referee { opened, apt })
}

/// Compares one set; the error is what differs and is not explained. Of what is explained, gives the reason.
fn compare(
    set: &Set,
    referee: &Referee,
    records: &Records<'_>,
    essential: &[&str],
) -> Result<String, String> {
    let names: Vec<&str> = set.packages.split_whitespace().collect();
    let solve = |names: &[&str]| ours(records, set.architecture, Base::Essential, &[], names);
    let found = solve(&names)?;
    let asked: Vec<&str> = essential.iter().chain(&names).copied().collect();
    let theirs = referee.apt.install(&asked)?;
    let mine = installed(&found);
    let (more, less) = (only(&mine, &theirs), only(&theirs, &mine));
    let explained = DIFFERENCES.iter().find(|difference| {
        (difference.architecture, difference.set) == (set.architecture, set.name)
    });
    let differs = format!(
        "only ours: {}; only apt's: {}",
        more.join(" "),
        less.join(" ")
    );
    match (more.is_empty() && less.is_empty(), explained) {
        (true, None) => Ok(format!("{} packages agree", mine.len())),
        (true, Some(_)) => Err("it agrees: take it from the table of differences".to_owned()),
        (false, None) => Err(differs),
        (false, Some(difference)) => {
            // The reason is the right one if we give apt's set when we are asked for apt's answers, too.
            let mut names = names.clone();
            names.extend(difference.answers.split_whitespace());
            let again = installed(&solve(&names)?);
            let (more, less) = (only(&again, &theirs), only(&theirs, &again));
            if more.is_empty() && less.is_empty() {
                Ok(format!("explained: {differs} ({})", difference.why))
            } else {
                Err(format!(
                    "{differs}; not explained by {}",
                    difference.answers
                ))
            }
        }
    }
}

#[test]
fn real_sets_resolve_as_apt_resolves_them() {
    if std::env::var("SEEDBED_LONG").as_deref() != Ok("1") {
        println!("SKIP {REAL}: it takes minutes; SEEDBED_LONG=1 asks for it");
        return;
    }
    if !can_run(REAL, apt_is_missing()) {
        return;
    }
    let names: BTreeSet<_> = SETS
        .iter()
        .map(|set| (set.architecture, set.name))
        .collect();
    assert_eq!(names.len(), SETS.len(), "a set's name stands for one set");
    let wanted = std::env::var("SEEDBED_TEST_SETS").ok();
    let scratch = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let referee = match referee(scratch.path(), architecture) {
            Ok(referee) => referee,
            Err(error) => {
                can_run(REAL, Some(&format!("no archive within reach: {error:#}")));
                return;
            }
        };
        let records = referee.opened.records().unwrap();
        let base = ours(&records, architecture, Base::Essential, &[], &[]).unwrap();
        let essential = base.packages.iter().filter(|p| p.because == "essential");
        let essential: Vec<&str> = essential.map(|p| p.name.as_str()).collect();
        for set in SETS.iter().filter(|set| set.architecture == architecture) {
            let label = format!("{architecture} {}", set.name);
            if !wanted
                .as_ref()
                .is_none_or(|wanted| wanted.split(',').any(|word| label.contains(word)))
            {
                continue;
            }
            match compare(set, &referee, &records, &essential) {
                Ok(text) => println!("{label}: {text}"),
                Err(text) => {
                    println!("{label}: FAILED {text}");
                    faults.push(label);
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "not as apt has it: {}",
        faults.join(", ")
    );
}
