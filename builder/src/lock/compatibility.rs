//! Which Kubernetes goes with which containerd and etcd. A lock that mixes what cannot work together is refused,
//! so that nobody finds out on a machine.
//!
//! Only what is in the image is judged: a package of Debian by its version, a file of upstream by the version in
//! its path. A component that the image lacks, or whose version cannot be told, is not judged.

use crate::lock::ArchLock;
use std::fmt;

/// A version of upstream: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A program that Kubernetes relies on.
struct Component {
    name: &'static str,
    /// Debian's package.
    package: &'static str,
    /// Where the program is, if it comes as a file.
    path: &'static str,
}

const CONTAINERD: Component = Component {
    name: "containerd",
    package: "containerd",
    path: "/usr/bin/containerd",
};
const ETCD: Component = Component {
    name: "etcd",
    package: "etcd-server",
    path: "/usr/bin/etcd",
};

/// Minor versions of Kubernetes from `first` to `last` want `component` from `least` on, and before `below`.
struct Rule {
    first: u32,
    last: u32,
    component: &'static Component,
    least: Version,
    below: Option<Version>,
    why: &'static str,
}

const NEWEST: u32 = u32::MAX;

/// From the release notes of Kubernetes and containerd (`RELEASES.md`, "Kubernetes support"), kubeadm's least
/// version of an external etcd, and that which `firstboot` changes members with.
const RULES: &[Rule] = &[
    Rule {
        first: 0,
        last: 22,
        component: &CONTAINERD,
        least: Version(1, 3, 0),
        below: Some(Version(2, 0, 0)),
        why: "it speaks CRI v1alpha2, which containerd 2 no longer does",
    },
    Rule {
        first: 26,
        last: 35,
        component: &CONTAINERD,
        least: Version(1, 6, 15),
        below: None,
        why: "it speaks CRI v1 alone",
    },
    Rule {
        first: 36,
        last: NEWEST,
        component: &CONTAINERD,
        least: Version(2, 0, 0),
        below: None,
        why: "v1.35 was the last that supports containerd 1",
    },
    Rule {
        first: 0,
        last: 33,
        component: &ETCD,
        least: Version(3, 5, 0),
        below: None,
        why: "machines ask a quorum for its members, which older ones cannot",
    },
    Rule {
        first: 34,
        last: NEWEST,
        component: &ETCD,
        least: Version(3, 5, 24),
        below: None,
        why: "kubeadm takes no older one",
    },
];

/// What is wrong with the locked parts for Kubernetes of version `kubernetes` (`v1.34.1`), one line a fault.
pub(super) fn faults(kubernetes: &str, locked: &ArchLock) -> Vec<String> {
    let minor = number(kubernetes).map(|version| version.1);
    let rules = RULES
        .iter()
        .filter(|rule| minor.is_some_and(|minor| (rule.first..=rule.last).contains(&minor)));
    rules
        .filter_map(|rule| {
            let (found, place) = find(rule.component, locked)?;
            let good = found >= rule.least && rule.below.is_none_or(|below| found < below);
            let name = rule.component.name;
            let wanted = match rule.below {
                Some(below) => format!("{name} {} or newer, but older than {below}", rule.least),
                None => format!("{name} {} or newer", rule.least),
            };
            let why = rule.why;
            let line = format!(
                "Kubernetes {kubernetes} needs {wanted}, since {why}; {place} is {name} {found}"
            );
            (!good).then_some(line)
        })
        .collect()
}

/// The component's version, and where it comes from.
fn find(component: &Component, locked: &ArchLock) -> Option<(Version, String)> {
    let file = locked.files.iter().find(|file| file.to == component.path);
    if let Some(file) = file {
        return Some((number(&file.path)?, format!("file {}", file.path)));
    }
    let mut packages = locked.packages.iter();
    let package = packages.find(|package| package.name == component.package)?;
    let version = number(&package.version)?;
    Some((
        version,
        format!("package {} {}", package.name, package.version),
    ))
}

/// The first three numbers with dots between them in a version, a path or the like.
fn number(text: &str) -> Option<Version> {
    let dotted = |c: char| c.is_ascii_digit() || c == '.';
    text.split(|c| !dotted(c)).find_map(|part| {
        let mut numbers = part.split('.').map(|number| number.parse().ok());
        let version = Version(numbers.next()??, numbers.next()??, numbers.next()??);
        Some(version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_versions_and_paths() {
        let check = |text, expected| assert_eq!(number(text), expected, "{text}");
        check("v1.34.1", Some(Version(1, 34, 1)));
        check("1.7.24~ds1-6+deb13u1", Some(Version(1, 7, 24)));
        check("2:3.5.16-4", Some(Version(3, 5, 16)));
        let path =
            "containerd/containerd/releases/download/v2.1.4/containerd-2.1.4-linux-amd64.tar.gz";
        check(path, Some(Version(2, 1, 4)));
        check("release/linux/amd64", None);
    }

    #[test]
    fn what_cannot_work_together_is_refused() {
        let check = |kubernetes, component: &Component, version: &str, expected: &str| {
            let locked: ArchLock = serde_json::from_value(serde_json::json!({
                "packages": [{
                    "name": component.package, "version": version, "architecture": "amd64",
                    "archive": "debian", "path": "x", "size": 1, "sha256": "0".repeat(64),
                    "because": "the profile",
                }],
                "files": [],
                "images": [],
            }))
            .unwrap();
            let found = faults(kubernetes, &locked).join("\n");
            match expected {
                "" => assert_eq!(found, ""),
                words => assert!(found.contains(words), "{kubernetes}, {version}: {found:?}"),
            }
        };
        check("v1.20.2", &CONTAINERD, "1.7.24~ds1-6+deb13u1", "");
        check(
            "v1.20.2",
            &CONTAINERD,
            "2.1.4-1",
            "older than 2.0.0, since it speaks CRI v1alpha2",
        );
        check("v1.24.3", &CONTAINERD, "2.1.4-1", "");
        check(
            "v1.28.0",
            &CONTAINERD,
            "1.6.8-1",
            "needs containerd 1.6.15 or newer",
        );
        check("v1.35.0", &CONTAINERD, "1.7.24-1", "");
        check(
            "v1.36.0",
            &CONTAINERD,
            "1.7.24-1",
            "package containerd 1.7.24-1 is containerd 1.7.24",
        );
        check("v1.34.1", &ETCD, "3.5.16-4", "needs etcd 3.5.24 or newer");
        check("v1.20.2", &ETCD, "3.5.16-4", "");
        check("v1.20.2", &ETCD, "3.4.23-4", "needs etcd 3.5.0 or newer");
    }
}
