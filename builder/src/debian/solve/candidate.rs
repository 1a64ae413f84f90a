//! Which of several records of one name is the candidate: apt's preferences, see apt_preferences(5), with fewer words.
//!
//! Every record has a priority: that of the last pin that is about it, else that of its archive. The highest
//! priority wins, then the highest version, then the first archive. A record with a priority below zero is never
//! the candidate.

use super::index::Record;
use crate::debian::version;
use std::cmp::Reverse;

/// Gives records a priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The packages that it is about, by name; `*` stands for any text.
    pub packages: Vec<String>,
    /// Only versions like this; `*` stands for any text.
    pub version: Option<String>,
    /// Only those of this archive, by its name in the profile or its suite.
    pub archive: Option<String>,
    /// The priority; below zero such a record is never chosen.
    pub priority: i32,
}

impl Pin {
    fn is_about(&self, record: &Record<'_>) -> bool {
        let package = record.package;
        let archive = self.archive.as_deref();
        self.packages
            .iter()
            .any(|pattern| is_like(pattern, package.name))
            && archive.is_none_or(|wanted| wanted == record.archive || wanted == record.suite)
            && self
                .version
                .as_deref()
                .is_none_or(|wanted| is_version(wanted, package.version))
    }
}

/// The priority of a record of an archive that has `priority`.
pub(super) fn priority(record: &Record<'_>, pins: &[Pin], priority: i32) -> i32 {
    let pin = pins.iter().rev().find(|pin| pin.is_about(record));
    pin.map_or(priority, |pin| pin.priority)
}

/// The best of the records with these places, which are in the order of archives.
pub(super) fn best(records: &[Record<'_>], ids: impl Iterator<Item = usize>) -> Option<usize> {
    ids.max_by(|a, b| {
        let (one, other) = (&records[*a], &records[*b]);
        let versions = || version::compare(one.package.version, other.package.version);
        let order = one.priority.cmp(&other.priority).then_with(versions);
        order.then_with(|| Reverse(a).cmp(&Reverse(b)))
    })
}

/// Whether `version` is the one wanted, or like it.
pub(super) fn is_version(wanted: &str, version: &str) -> bool {
    if wanted.contains('*') {
        is_like(wanted, version)
    } else {
        version::compare(wanted, version).is_eq()
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
pub(super) fn is_like(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern, text, expected| {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        };
        check("a", "a", true);
        check("a", "ab", false);
        check("*", "", true);
        check("a*", "ab", true);
        check("*-firmware*", "linux-firmware-free", true);
        check("lib*-dev", "libc6-dev", true);
        check("lib*-dev", "libc6", false);
        check("1.7.*", "1.7.24~ds1-6", true);
        check("1.7.*", "1.8.1", false);
        check("a*a", "a", false);
        check("a*b*c", "axbxbyc", true);
        check("a**c", "ac", true);
    }
}
