//! Archives of a few packages, each to try one thing.

use crate::apt::Apt;
use crate::{installed, only, ours};
use builder::debian::archive::{ArchiveSpec, Opened};
use builder::debian::date::Date;
use builder::debian::keyring::Keyring;
use builder::debian::solve::{Base, Pin};
use builder::fixture::archive::ArchivePlan;
use builder::fixture::deb::Deb;
use std::fs;
use std::path::Path;

/// Two archives, what to prefer, and what to ask for.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Packages as `name version`, then fields after semicolons.
    one: &'static [&'static str],
    two: &'static [&'static str],
    /// Pins as `packages version-or-empty archive-or-empty priority`, the last that fits counts.
    pins: &'static [(&'static str, &'static str, &'static str, i32)],
    ask: &'static str,
}

const fn case(name: &'static str, one: &'static [&'static str], ask: &'static str) -> Case {
    Case {
        name,
        one,
        two: &["unused 1"],
        pins: &[],
        ask,
    }
}

const fn pinned(
    name: &'static str,
    pins: &'static [(&'static str, &'static str, &'static str, i32)],
    ask: &'static str,
) -> Case {
    Case {
        name,
        one: &["a 1", "b 1; Depends: lib", "lib 1:1"],
        two: &["a 2", "b 2; Depends: lib", "lib 9"],
        pins,
        ask,
    }
}

pub(crate) const CASES: &[Case] = &[
    pinned("the highest version, epochs first", &[], "a b"),
    pinned("a version asked for", &[], "a=1 b"),
    pinned("an archive asked for", &[], "a/one b"),
    pinned(
        "one archive before the other",
        &[("", "", "one", 600)],
        "a b",
    ),
    pinned("a package of an archive", &[("b", "", "one", 600)], "a b"),
    pinned("a version by its beginning", &[("a", "1*", "", 600)], "a b"),
    pinned("packages by a pattern", &[("li*", "", "two", 990)], "a b"),
    pinned(
        "the word that counts of several",
        &[("a", "1", "", 700), ("a", "2", "", 800)],
        "a",
    ),
    pinned(
        "the word that counts, turned",
        &[("a", "2", "", 700), ("a", "1", "", 800)],
        "a",
    ),
    pinned("never", &[("a", "2", "", -1)], "a"),
    pinned("nothing is left", &[("a", "*", "", -1)], "a"),
    pinned("a need that is forbidden", &[("lib", "*", "", -1)], "b"),
    case(
        "any of what allows it",
        &["a 1; Depends: b:any", "b 1; Multi-Arch: allowed"],
        "a",
    ),
    case(
        "any of what is foreign",
        &["a 1; Depends: b:any", "b 1; Multi-Arch: foreign"],
        "a",
    ),
    case(
        "any of what says nothing",
        &["a 1; Depends: b:any", "b 1"],
        "a",
    ),
    case(
        "any of what provides",
        &[
            "a 1; Depends: v:any",
            "b 1; Provides: v; Multi-Arch: allowed",
        ],
        "a",
    ),
    case("native", &["a 1; Depends: b:native", "b 1"], "a"),
    case(
        "its own architecture",
        &["a 1; Depends: b:amd64", "b 1"],
        "a",
    ),
    case(
        "another architecture",
        &["a 1; Depends: b:arm64", "b 1"],
        "a",
    ),
    case(
        "same",
        &["a 1; Depends: b; Multi-Arch: same", "b 1; Multi-Arch: same"],
        "a",
    ),
    case(
        "the first alternative",
        &["a 1; Depends: b | c", "b 1", "c 1"],
        "a",
    ),
    case(
        "the alternative asked for",
        &["a 1; Depends: b | c", "b 1", "c 1"],
        "a c",
    ),
    case(
        "an alternative of another version",
        &["a 1; Depends: b (>= 2) | c", "b 1", "c 1"],
        "a",
    ),
    case(
        "an alternative that lacks something",
        &["a 1; Depends: b | c", "b 1; Depends: gone", "c 1"],
        "a",
    ),
    case(
        "an alternative that conflicts",
        &["a 1; Depends: b | c", "b 1; Conflicts: a", "c 1"],
        "a",
    ),
    case("a provider", &["a 1; Depends: v", "b 1; Provides: v"], "a"),
    case(
        "a real package before a provider",
        &["a 1; Depends: v", "b 1; Provides: v", "v 1"],
        "a",
    ),
    case(
        "a provider of more priority",
        &[
            "a 1; Depends: v",
            "b 1; Provides: v; Priority: optional",
            "c 1; Provides: v; Priority: important",
        ],
        "a",
    ),
    case(
        "a provider's version",
        &[
            "a 1; Depends: v (>= 2)",
            "b 9; Provides: v (= 1)",
            "c 1; Provides: v (= 2)",
        ],
        "a",
    ),
    case(
        "a provider without version",
        &["a 1; Depends: v (>= 2)", "b 9; Provides: v"],
        "a",
    ),
    case("a conflict", &["a 1; Conflicts: b", "b 1"], "a b"),
    case(
        "a conflict with another version",
        &["a 1; Conflicts: b (<< 1)", "b 1"],
        "a b",
    ),
    case(
        "a conflict with a provider",
        &["a 1; Conflicts: v", "b 1; Provides: v"],
        "a b",
    ),
    case(
        "a conflict with itself",
        &["a 1; Conflicts: v; Provides: v; Replaces: v"],
        "a",
    ),
    case(
        "a conflict with a provider's version",
        &["a 1; Conflicts: v (<< 2)", "b 9; Provides: v (= 1)"],
        "a b",
    ),
    case("a break", &["a 1; Breaks: b (<< 2)", "b 1"], "a b"),
    case(
        "a break of something older",
        &["a 1; Breaks: b (<< 1:1)", "b 1:1"],
        "a b",
    ),
    case(
        "a circle",
        &["a 1; Depends: b", "b 1; Depends: c", "c 1; Depends: a"],
        "a",
    ),
    case(
        "an older version than is needed",
        &["a 1; Depends: b (>= 1:1)", "b 9"],
        "a",
    ),
    case(
        "all architectures",
        &["a 1; Depends: b; Architecture: all", "b 1"],
        "a",
    ),
];

fn deb(line: &str) -> Deb {
    let mut parts = line.split(';').map(str::trim);
    let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
    parts.fold(Deb::new(name, version), |deb, field| {
        match field.split_once(": ").unwrap() {
            ("Architecture", value) => deb.architecture(value),
            (name, value) => deb.field(name, value),
        }
    })
}

/// The pattern for all packages, if none is given.
fn all_or(packages: &str) -> &str {
    if packages.is_empty() { "*" } else { packages }
}

/// What pins are in apt's words: there, the first that fits counts, and what is about all comes last.
fn preferences(case: &Case) -> String {
    let paragraph = |(packages, version, archive, priority): &(&str, &str, &str, i32)| {
        let packages = all_or(packages);
        let pin = if version.is_empty() {
            format!("release n={archive}")
        } else {
            format!("version {version}")
        };
        format!("Package: {packages}\nPin: {pin}\nPin-Priority: {priority}\n\n")
    };
    case.pins.iter().rev().map(paragraph).collect()
}

/// Whether we and apt agree on a case; if not, how not.
pub(crate) fn run(case: &Case, dir: &Path) -> Option<String> {
    let date = Date::from_unix(1_760_000_000);
    let archives = [("one", case.one), ("two", case.two)].map(|(name, lines)| {
        let debs = lines.iter().map(|line| deb(line)).collect();
        let archive = ArchivePlan::new(name, date, debs).build().unwrap();
        archive.write_to(&dir.join(name)).unwrap();
        fs::copy(
            dir.join(name).join("keyring.pgp"),
            dir.join(format!("{name}.gpg")),
        )
        .unwrap();
        (name, archive)
    });
    let keyrings: Vec<Keyring> = archives
        .iter()
        .map(|(_, archive)| Keyring::parse(&archive.keyring).unwrap())
        .collect();
    let components = ["main".to_owned()];
    let specs: Vec<ArchiveSpec<'_>> = archives
        .iter()
        .zip(&keyrings)
        .map(|((name, archive), keyring)| ArchiveSpec {
            name,
            suite: name,
            components: &components,
            keyring,
            priority: None,
            max_age: 1 << 30,
            not_before: None,
            reader: archive,
        })
        .collect();
    let opened = Opened::open(&specs, "amd64", date).unwrap();
    let pins: Vec<Pin> = case
        .pins
        .iter()
        .map(|(packages, version, archive, priority)| Pin {
            packages: vec![all_or(packages).to_owned()],
            version: (!version.is_empty()).then(|| (*version).to_owned()),
            archive: (!archive.is_empty()).then(|| (*archive).to_owned()),
            priority: *priority,
        })
        .collect();
    let names: Vec<&str> = case.ask.split_whitespace().collect();
    let mine = ours(
        &opened.records().unwrap(),
        "amd64",
        Base::Listed,
        &pins,
        &names,
    );
    let line = |name: &str| {
        let dir = dir.display();
        format!("deb [signed-by={dir}/{name}.gpg] file:{dir}/{name} {name} main\n")
    };
    let lines = format!("{}{}", line("one"), line("two"));
    let apt = Apt::new(&dir.join("apt"), "amd64", &lines, &preferences(case));
    match (
        mine.map(|solution| installed(&solution)),
        apt.install(&names),
    ) {
        (Ok(mine), Ok(theirs)) if mine == theirs => None,
        (Err(_), Err(_)) => None,
        (Ok(mine), Ok(theirs)) => Some(format!(
            "only ours: {:?}; only apt's: {:?}",
            only(&mine, &theirs),
            only(&theirs, &mine)
        )),
        (Ok(_), Err(error)) => Some(format!("apt says {error}")),
        (Err(error), Ok(_)) => Some(format!("we say {error}")),
    }
}
