use super::*;
use proptest::prelude::*;

const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One package as `name version`, then further fields, each after a semicolon: `Depends: b`.
fn record(line: &str) -> Package<'_> {
    let mut parts = line.split(';').map(str::trim);
    let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
    let mut package = Package {
        name,
        version,
        architecture: "amd64",
        filename: "pool/x.deb",
        size: 1,
        sha256: SHA256,
        ..Package::default()
    };
    for field in parts {
        let (name, value) = field.split_once(": ").unwrap();
        match name {
            "Pre" => package.pre_depends = value,
            "Depends" => package.depends = value,
            "Conflicts" => package.conflicts = value,
            "Breaks" => package.breaks = value,
            "Provides" => package.provides = value,
            "Recommends" => package.recommends = value,
            "Arch" => package.architecture = value,
            "Essential" => package.essential = true,
            "Multi" => package.multi_arch = crate::debian::packages::MultiArch::Allowed,
            "Priority" => {
                package.priority = match value {
                    "required" => crate::debian::packages::Priority::Required,
                    _ => crate::debian::packages::Priority::Important,
                }
            }
            other => panic!("{other}"),
        }
    }
    package
}

fn exclusion(text: &str) -> Exclusion {
    let (waive, package) = match text.strip_prefix('~') {
        Some(package) => (true, package),
        None => (false, text),
    };
    Exclusion {
        package: package.to_owned(),
        reason: "not wanted".to_owned(),
        waive,
    }
}

/// A pin as `a*/archive=version:priority`, archive and version at will.
fn pin(text: &str) -> Pin {
    let (what, priority) = text.rsplit_once(':').unwrap();
    let (what, version) = what.split_once('=').unzip_or(what);
    let (name, archive) = what.split_once('/').unzip_or(what);
    Pin {
        packages: vec![name.to_owned()],
        version,
        archive,
        priority: priority.parse().unwrap(),
    }
}

/// The first part, or all there is, and the second.
trait UnzipOr<'a> {
    fn unzip_or(self, all: &'a str) -> (&'a str, Option<String>);
}

impl<'a> UnzipOr<'a> for Option<(&'a str, &'a str)> {
    fn unzip_or(self, all: &'a str) -> (&'a str, Option<String>) {
        self.map_or((all, None), |(a, b)| (a, Some(b.to_owned())))
    }
}

/// `ask` names packages; `-x` excludes x, `-~x` waives it, `!` asks for Essential packages, `!!` for required ones
/// too, `@` begins a pin.
fn run(archives: &[&[&str]], ask: &str) -> Result<Solution, Faults> {
    let names = ["one", "two", "three"];
    let records: Vec<Vec<Package<'_>>> = archives
        .iter()
        .map(|lines| lines.iter().map(|line| record(line)).collect())
        .collect();
    let archives: Vec<Archive<'_>> = names
        .iter()
        .zip(&records)
        .map(|(name, packages)| Archive {
            name,
            suite: "trixie",
            priority: 500,
            packages,
        })
        .collect();
    let (exclude, rest): (Vec<&str>, Vec<&str>) = ask
        .split_whitespace()
        .partition(|word| word.starts_with('-'));
    let (pins, rest): (Vec<&str>, Vec<&str>) =
        rest.into_iter().partition(|word| word.starts_with('@'));
    let pins: Vec<Pin> = pins.iter().map(|word| pin(&word[1..])).collect();
    let requests: Vec<Request> = rest
        .iter()
        .filter(|word| !word.starts_with('!'))
        .map(|word| word.parse().unwrap())
        .collect();
    let exclude: Vec<Exclusion> = exclude.iter().map(|word| exclusion(&word[1..])).collect();
    solve(&Problem {
        archives: &archives,
        architecture: "amd64",
        requests: &requests,
        pins: &pins,
        base: match (rest.contains(&"!"), rest.contains(&"!!")) {
            (false, false) => Base::Listed,
            (true, _) => Base::Essential,
            (false, true) => Base::Required,
        },
        exclude: &exclude,
    })
}

fn check(archives: &[&[&str]], ask: &str, expected: &str) {
    let found = match run(archives, ask) {
        Ok(solution) => {
            let names: Vec<String> = solution
                .packages
                .iter()
                .map(|p| format!("{}<{}", p.name, p.because))
                .collect();
            names.join(" ")
        }
        Err(faults) => faults
            .to_string()
            .lines()
            .skip(1)
            .map(str::trim)
            .collect::<Vec<_>>()
            .join("\n"),
    };
    assert_eq!(found, expected, "asked for {ask}");
}

#[test]
fn depends_and_pre_depends_are_followed_and_recommends_are_not() {
    let lines = [
        "a 1; Depends: b; Pre: c; Recommends: d",
        "b 1; Depends: a",
        "c 1",
        "d 1",
    ];
    check(&[&lines], "a", "a<profile b<a c<a");
    check(&[&lines], "a b", "a<profile b<profile c<a");
    check(&[&lines], "d", "d<profile");
}

#[test]
fn the_first_alternative_unless_another_is_chosen() {
    let lines = ["a 1; Depends: b | c", "b 1", "c 1", "d 1; Depends: c"];
    check(&[&lines], "a", "a<profile b<a");
    check(&[&lines], "a c", "a<profile c<profile");
    check(&[&lines], "a d", "a<profile c<a d<profile");
}

#[test]
fn an_answer_that_a_later_one_makes_needless_is_not_kept() {
    let lines = [
        "a 1; Depends: b | c, d | e",
        "b 1",
        "c 1",
        "d 1; Depends: c",
        "e 1",
    ];
    check(&[&lines], "a", "a<profile c<d d<a");
}

#[test]
fn an_alternative_that_cannot_be_installed_is_passed_over() {
    check(
        &[&["a 1; Depends: b | c", "b 1; Depends: gone", "c 1"]],
        "a",
        "a<profile c<a",
    );
    check(
        &[&[
            "a 1; Depends: b | c",
            "b 1; Depends: x",
            "x 1; Depends: b, gone",
            "c 1",
        ]],
        "a",
        "a<profile c<a",
    );
    check(
        &[&["a 1; Depends: b | c", "b 1; Conflicts: a", "c 1"]],
        "a",
        "a<profile c<a",
    );
    check(
        &[&["a 1; Depends: b (>= 2) | c", "b 1", "c 1"]],
        "a",
        "a<profile c<a",
    );
    check(&[&["a 1; Depends: gone | c", "c 1"]], "a", "a<profile c<a");
}

#[test]
fn providers() {
    let lines = [
        "a 1; Depends: mta",
        "exim 1; Provides: mta",
        "postfix 1; Provides: mta",
    ];
    check(&[&lines], "a", "a<profile exim<a");
    check(&[&lines], "a postfix", "a<profile postfix<profile");
    let important = [
        "a 1; Depends: mta",
        "exim 1; Provides: mta",
        "postfix 1; Provides: mta; Priority: important",
    ];
    check(&[&important], "a", "a<profile postfix<a");
    let real = ["a 1; Depends: mta", "exim 1; Provides: mta", "mta 1"];
    check(&[&real], "a", "a<profile mta<a");
}

#[test]
fn versioned_provides() {
    let lines = [
        "a 1; Depends: api (>= 2)",
        "new 1; Provides: api (= 2)",
        "old 1; Provides: api (= 1), x",
    ];
    check(&[&lines], "a", "a<profile new<a");
    let unversioned = ["a 1; Depends: api (>= 2)", "x 1; Provides: api"];
    check(
        &[&unversioned],
        "a",
        "a 1 needs api (>= 2), but api is provided, but not in this version; a is asked for by the profile",
    );
}

#[test]
fn the_highest_version_of_all_archives_wins() {
    let archives: [&[&str]; 2] = [&["a 1", "b 2"], &["a 1+u1", "b 2"]];
    let solution = run(&archives, "a b").unwrap();
    let found: Vec<String> = solution
        .packages
        .iter()
        .map(|p| format!("{}={}/{}", p.name, p.version, p.archive))
        .collect();
    assert_eq!(found, ["a=1+u1/two", "b=2/one"]);
}

#[test]
fn pins() {
    let archives: [&[&str]; 2] = [&["a 1"], &["a 2"]];
    let version = |ask| run(&archives, ask).unwrap().packages[0].version.clone();
    assert_eq!(version("a"), "2");
    assert_eq!(version("a=1"), "1");
    assert_eq!(version("a/one"), "1");
    check(
        &archives,
        "a=3",
        "there is no package a=3; there is a/one=1, a/two=2",
    );
    check(
        &archives,
        "a/three",
        "there is no package a/three; there is a/one=1, a/two=2",
    );
    check(
        &archives,
        "a/one=2",
        "there is no package a/one=2; there is a/one=1, a/two=2",
    );
}

#[test]
fn essential_packages_on_request() {
    let lines = [
        "a 1",
        "base 1; Essential: yes; Depends: lib",
        "lib 1",
        "perl 1; Essential: yes",
    ];
    check(&[&lines], "a", "a<profile");
    check(
        &[&lines],
        "a !",
        "a<profile base<essential lib<base perl<essential",
    );
    check(&[&lines], "a ! -perl", "a<profile base<essential lib<base");
    let required = [
        "a 1",
        "mawk 1; Priority: required",
        "perl 1; Essential: yes",
    ];
    check(&[&required], "a !", "a<profile perl<essential");
    check(
        &[&required],
        "a !!",
        "a<profile mawk<required perl<essential",
    );
}

#[test]
fn exclusions() {
    let lines = ["a 1; Depends: b | c", "b 1", "c 1", "d 1; Depends: b"];
    check(&[&lines], "a -b", "a<profile c<a");
    check(
        &[&lines],
        "d -b",
        "d 1 needs b, but b is excluded (not wanted); d is asked for by the profile",
    );
    check(
        &[&lines],
        "b -b",
        "package b is asked for and excluded (not wanted)",
    );
    let provided = ["a 1; Depends: v", "b 1; Provides: v"];
    check(
        &[&provided],
        "a -b",
        "a 1 needs v, but v is provided by b, which is excluded (not wanted); a is asked for by the profile",
    );
}

#[test]
fn waived_relations_are_noted() {
    let lines = [
        "a 1; Depends: debconf (>= 1) | debconf-2.0",
        "cdebconf 1; Provides: debconf-2.0",
        "debconf 2; Depends: perl",
        "perl 1",
    ];
    let solution = run(&[&lines], "a -~debconf").unwrap();
    assert_eq!(solution.packages.len(), 1);
    let expected = Waived {
        package: "a".into(),
        relation: "debconf (>= 1) | debconf-2.0".into(),
        excluded: "debconf".into(),
    };
    assert_eq!(solution.waived, [expected]);
    // The version must be right even so, and a name that no archive has can be waived.
    check(
        &[&["a 1; Depends: b (>= 3)", "b 2"]],
        "a -~b",
        "a 1 needs b (>= 3), but b is excluded (not wanted); a is asked for by the profile",
    );
    check(&[&["a 1; Depends: gone"]], "a -~gone", "a<profile");
}

#[test]
fn conflicts_are_explained() {
    check(
        &[&["a 1; Depends: b", "b 1; Conflicts: c (<< 2)", "c 1"]],
        "a c",
        "b 1 conflicts with c (<< 2), but c 1 is chosen: b is needed by a, which the profile asks for, and c is asked \
         for by the profile; leave out a or c, or pin versions that go together",
    );
    check(
        &[&["a 1; Breaks: b (<< 1)", "b 1"]],
        "a b",
        "a<profile b<profile",
    );
    check(
        &[&["a 1; Provides: v; Conflicts: v", "b 1; Provides: v"]],
        "a b",
        "a 1 conflicts with v, but b 1 is chosen: a is asked for by the profile, and b is asked for by the profile; \
         leave out a or b, or pin versions that go together",
    );
    check(&[&["a 1; Provides: v; Conflicts: v"]], "a", "a<profile");
}

#[test]
fn all_faults_are_reported_with_the_way_there() {
    let lines = [
        "kubelet-deps 1; Depends: iptables",
        "iptables 1; Depends: libxtables12 (>= 1.8.10), libmnl1",
        "libxtables12 1.8.9",
        "libmnl0 1",
    ];
    check(
        &[&lines],
        "kubelet-deps iptable",
        "there is no package iptable; names like it: iptables\n\
         iptables 1 needs libxtables12 (>= 1.8.10), but libxtables12 is at version 1.8.9 in one, and no archive has \
         another that fits; iptables is needed by kubelet-deps, which the profile asks for\n\
         iptables 1 needs libmnl1, but there is no package libmnl1; names like it: libmnl0; iptables is needed by \
         kubelet-deps, which the profile asks for",
    );
    check(
        &[&["a 1; Depends: b ("]],
        "a",
        "package a of the archive has a malformed Depends: relation \"b (\" cannot be read: the parenthesis is not closed",
    );
}

#[test]
fn other_architectures_do_not_count() {
    check(
        &[&[
            "a 1; Arch: arm64",
            "b 1; Arch: all; Depends: c:any, d [arm64], e:native",
            "c 1; Multi: allowed",
            "e 1",
        ]],
        "b",
        "b<profile c<b e<b",
    );
    check(&[&["a 1; Arch: arm64"]], "a", "there is no package a");
    check(
        &[&["a 1; Depends: b:arm64", "b 1"]],
        "a",
        "a 1 needs b:arm64, but b is at version 1 in one and does not serve b:arm64; a is asked for by the profile",
    );
}

#[test]
fn any_is_served_by_packages_that_allow_it() {
    check(
        &[&["a 1; Depends: b:any", "b 1; Multi: allowed"]],
        "a",
        "a<profile b<a",
    );
    check(
        &[&["a 1; Depends: b:any", "b 1"]],
        "a",
        "a 1 needs b:any, but b is at version 1 in one and does not serve b:any; a is asked for by the profile",
    );
    check(
        &[&["a 1; Depends: v:any", "b 1; Provides: v; Multi: allowed"]],
        "a",
        "a<profile b<a",
    );
}

#[test]
fn priorities_go_before_versions() {
    let archives: [&[&str]; 2] = [&["a 1", "b 1", "c 1"], &["a 2", "b 2", "c 2"]];
    let check = |ask: &str, expected: &str| {
        let solution = run(&archives, &format!("a b c {ask}")).unwrap();
        let found: Vec<&str> = solution
            .packages
            .iter()
            .map(|p| p.version.as_str())
            .collect();
        assert_eq!(found.join(" "), expected, "{ask}");
    };
    check("", "2 2 2");
    check("@*/one:600", "1 1 1");
    check("@*/two:100", "1 1 1");
    check("@a=1*:501", "1 2 2");
    check("@*/one:600 @b/one:400", "1 2 1");
    check("@*/one:600 @b/two:700 @*=2:100", "1 1 1");
    check("@*/trixie:600", "2 2 2");
    check("@a=2:-1", "1 2 2");
}

#[test]
fn what_a_pin_forbids_is_there_for_who_asks_for_it() {
    let archives: [&[&str]; 2] = [&["a 1", "d 1; Depends: b"], &["a 2", "b 1"]];
    check(
        &archives,
        "a @a:-1",
        "every version of package a has a priority below 0; to have one, ask for it: a/one=1, a/two=2",
    );
    let solution = run(&archives, "a=2 @a:-1").unwrap();
    assert_eq!(solution.packages[0].version, "2");
    check(
        &archives,
        "d @*/two:-1",
        "d 1 needs b, but a priority below 0 forbids b; to have it, ask for b/two=1; d is asked for by the profile",
    );
    check(&archives, "d b/two @*/two:-1", "b<profile d<profile");
}

#[test]
fn another_version_that_would_do_is_named() {
    let archives: [&[&str]; 2] = [&["a 1; Depends: b (= 1)", "b 1"], &["b 2"]];
    check(
        &archives,
        "a",
        "a 1 needs b (= 1), but b is at version 2 in two; to have the other, ask for b/one=1; a is asked for by the \
         profile",
    );
    check(&archives, "a b/one=1", "a<profile b<profile");
}

#[test]
fn a_virtual_package_is_none_to_ask_for() {
    check(
        &[&["b 1; Provides: v", "c 1; Provides: v (= 2)"]],
        "v",
        "v is a virtual package: ask for one that provides it: b, c",
    );
}

#[test]
fn epochs_go_before_all() {
    let archives: [&[&str]; 2] = [&["a 1:1"], &["a 9; Depends: b (>= 9)"]];
    check(&archives, "a", "a<profile");
    check(
        &[&["a 1; Depends: b (>= 2)", "b 1:1"]],
        "a",
        "a<profile b<a",
    );
    let found = run(&[&["b 1:1-1"]], "b=1:1-1").unwrap();
    assert_eq!(found.packages[0].version, "1:1-1");
}

#[test]
fn versions_of_providers_are_what_they_provide() {
    let lines = [
        "a 1; Conflicts: v (<< 2)",
        "b 9; Provides: v (= 1)",
        "c 1; Provides: v",
    ];
    check(&[&lines], "a c", "a<profile c<profile");
    let error = run(&[&lines], "a b").unwrap_err().to_string();
    assert!(
        error.contains("a 1 conflicts with v (<< 2), but b 9 is chosen"),
        "{error}"
    );
}

#[test]
fn requests() {
    let text = |text: &str| text.parse::<Request>().map(|request| request.to_string());
    assert_eq!(text("a"), Ok("a".into()));
    assert_eq!(text("libstdc++6=1:2-3"), Ok("libstdc++6=1:2-3".into()));
    assert_eq!(text("a/security=1"), Ok("a/security=1".into()));
    assert_eq!(text("a=1.*"), Ok("a=1.*".into()));
    for bad in ["", "=1", "a=", "a=x", "A", "a b", "a/"] {
        assert!(text(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    /// Whatever is found has every relation satisfied and no conflict, and does not depend on the records' order.
    #[test]
    fn solutions_are_closed_and_stable(
        needs in prop::collection::vec(prop::collection::vec((0usize..8, 0usize..8), 0..3), 8),
        hates in prop::collection::vec(prop::option::of(0usize..8), 8),
        ask in 0usize..8,
    ) {
        let name = |i: usize| format!("p{i}");
        let lines: Vec<String> = (0..8).map(|i| {
            let groups: Vec<String> = needs[i].iter().map(|(a, b)| format!("{} | {}", name(*a), name(*b))).collect();
            let mut line = format!("{} 1", name(i));
            if !groups.is_empty() {
                line.push_str(&format!("; Depends: {}", groups.join(", ")));
            }
            if let Some(hated) = hates[i].filter(|hated| *hated != i && i % 3 == 0) {
                line.push_str(&format!("; Conflicts: {}", name(hated)));
            }
            line
        }).collect();
        let forward: Vec<&str> = lines.iter().map(String::as_str).collect();
        let backward: Vec<&str> = lines.iter().rev().map(String::as_str).collect();
        let found = run(&[&forward], &name(ask));
        if let Ok(found) = &found {
            let has = |i: usize| found.packages.iter().any(|p| p.name == name(i));
            prop_assert!(has(ask));
            for i in (0..8).filter(|i| has(*i)) {
                for (a, b) in &needs[i] {
                    prop_assert!(has(*a) || has(*b), "{} lacks {} | {}", i, a, b);
                }
                if let Some(hated) = hates[i].filter(|hated| *hated != i && i % 3 == 0) {
                    prop_assert!(!has(hated));
                }
            }
        }
        prop_assert_eq!(found.ok(), run(&[&backward], &name(ask)).ok());
    }
}
