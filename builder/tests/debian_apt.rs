//! Apt as the referee of resolution: for real sets of packages, from the same index files, the same packages in
//! the same versions.
//!
//! The archives are those of the mirror that the host's apt uses. They are read and verified as for a lock, and
//! the very files go to the apt of a private root. Its dpkg status is empty, so each set is asked for together
//! with a base system. `SEEDBED_LONG=1` asks for this test.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "support/apt.rs"]
mod apt;
#[path = "debian_apt/sets.rs"]
mod sets;

use apt::{Apt, Installed};
use builder::debian::ArchiveReader;
use builder::debian::archive::{ArchiveSpec, Opened, Order, Records};
use builder::debian::date::Date;
use builder::debian::keyring::Keyring;
use builder::debian::solve::{Request, Solution};
use builder::profile;
use builder::source::{Places, Sources};
use builder::transport::Transport;
use sets::Set;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

const TEST: &str = "resolution_is_that_of_apt";
const PROFILE: &str = "version: 1
name: apt
arch: [amd64, arm64]
sources:
  debian: {debian: {suite: trixie, components: [main]}}
  security: {debian: {suite: trixie-security, components: [main]}}
kubernetes: {version: v1.34.1, imageRepository: r.example, pause: 'r.example/pause:1'}
images: [{name: 'r.example/pause:1'}]
";

/// Reads an archive from its mirror and keeps every file for apt.
struct Keeper<'a> {
    name: &'a str,
    sources: &'a Sources,
    transport: &'a Transport,
    mirror: PathBuf,
}

impl ArchiveReader for Keeper<'_> {
    fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let kept = self.mirror.join(path);
        if let Ok(bytes) = fs::read(&kept) {
            return Ok(bytes);
        }
        let bytes = self.transport.get(&self.sources.url(self.name, path)?)?;
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
    let keyring_path = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let keyring = Keyring::parse(&fs::read(keyring_path)?)?;
    let components = ["main".to_owned()];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let names = [("debian", "trixie"), ("security", "trixie-security")];
    let keepers = names.map(|(name, _)| Keeper {
        name,
        sources: &sources,
        transport: &transport,
        mirror: dir.join("mirror").join(name),
    });
    let specs: Vec<ArchiveSpec<'_>> = names
        .iter()
        .zip(&keepers)
        .map(|((name, suite), reader)| ArchiveSpec {
            name,
            suite,
            components: &components,
            keyring: &keyring,
            max_age: 1 << 30,
            not_before: None,
            reader,
        })
        .collect();
    let opened = Opened::open(
        &specs,
        architecture,
        Date::from_unix(i64::try_from(now.as_secs())?),
    )?;
    let mut lines = String::new();
    for (name, suite) in names {
        let mirror = dir.join("mirror").join(name);
        let line = format!(
            "deb [signed-by={keyring_path}] file:{} {suite} main\n",
            mirror.display()
        );
        lines.push_str(&line);
    }
    let apt = Apt::new(&dir.join(architecture), architecture, &lines, "");
    Ok(Referee { opened, apt })
}

fn solve(records: &Records<'_>, architecture: &str, names: &[&str]) -> Result<Solution, String> {
    let requests: Vec<Request> = names.iter().map(|name| name.parse().unwrap()).collect();
    let order = Order {
        architecture,
        requests: &requests,
        essential: true,
        exclude: &[],
    };
    records.solve(&order).map_err(|error| format!("{error:#}"))
}

/// What one set comes to.
fn compare(set: &Set, referee: &Referee, records: &Records<'_>) -> String {
    let (arch, packages) = (set.architecture, set.packages);
    let names: Vec<&str> = packages.split_whitespace().collect();
    let label = format!("{arch} {}", set.name);
    let base = solve(records, arch, &[]).unwrap();
    let mut asked: Vec<&str> = base
        .packages
        .iter()
        .filter(|p| p.because == "essential")
        .map(|p| p.name.as_str())
        .collect();
    asked.extend(&names);
    match (solve(records, arch, &names), referee.apt.install(&asked)) {
        (Ok(ours), Ok(theirs)) => {
            let ours: Installed = ours
                .packages
                .into_iter()
                .map(|p| (p.name, p.version))
                .collect();
            let only = |a: &Installed, b: &Installed| {
                let only = a
                    .iter()
                    .filter(|(name, version)| b.get(*name) != Some(version));
                only.map(|(name, version)| format!("{name}={version}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            format!(
                "{label}: {} ours[{}] apt[{}]",
                ours.len(),
                only(&ours, &theirs),
                only(&theirs, &ours)
            )
        }
        (a, b) => format!("{label}: FAIL {:?} {:?}", a.err(), b.err()),
    }
}

#[test]
fn resolution_is_that_of_apt() {
    if std::env::var("SEEDBED_LONG").as_deref() != Ok("1") {
        println!("SKIP {TEST}: it takes a minute or more; SEEDBED_LONG=1 asks for it");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = std::env::var_os("APTDIR")
        .map(PathBuf::from)
        .unwrap_or(scratch.path().to_owned());
    for architecture in ["amd64", "arm64"] {
        let referee = referee(&dir, architecture).unwrap();
        let records = referee.opened.records().unwrap();
        for set in sets::SETS
            .iter()
            .filter(|set| set.architecture == architecture)
        {
            println!("{}", compare(set, &referee, &records));
        }
    }
    let _unused = (Mutex::new(()), BTreeMap::<u8, u8>::new());
}
