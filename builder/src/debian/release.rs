//! The `Release` file of a suite, read from a clear-signed `InRelease`.
//!
//! [`open`] is the way in: it checks the signature ([`crate::debian::keyring`]), parses the signed text and
//! nothing else, and then asks whether this is the suite that was wanted and whether it is fresh: not beyond
//! `Valid-Until` (or a maximum age where the archive states none), not from the future, and not older than
//! what was locked last. Without the latter two a mirror could serve yesterday's fixed holes for ever.

use crate::debian::date::{Date, DateError};
use crate::debian::deb822::{self, Deb822Error};
use crate::debian::keyring::{Keyring, SignatureError};
use crate::digest;
use std::collections::BTreeMap;
use thiserror::Error;

/// How far ahead of our clock an archive's may be, in seconds.
const FUTURE_SLACK: u64 = 600;

/// What a `Release` file must be to be accepted.
#[derive(Clone, Debug)]
pub struct Expectation<'a> {
    /// The suite or codename that was asked for; `None` for an archive without suites.
    pub suite: Option<&'a str>,
    /// The present.
    pub now: Date,
    /// For archives that state no `Valid-Until`: how old `Date` may be, in seconds.
    pub max_age: u64,
    /// The `Date` at the last lock, if there was one.
    pub not_before: Option<Date>,
}

/// Length and digest of an index, as `Release` declares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Bytes.
    pub size: u64,
    /// In lower-case hexadecimal.
    pub sha256: String,
}

/// What we use of a `Release` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// `Suite`, such as `stable`; empty if not stated.
    pub suite: String,
    /// `Codename`, such as `trixie`; empty if not stated.
    pub codename: String,
    /// `Date`
    pub date: Date,
    /// `Valid-Until`
    pub valid_until: Option<Date>,
    /// `Components`
    pub components: Vec<String>,
    /// `Architectures`
    pub architectures: Vec<String>,
    /// `Acquire-By-Hash`
    pub acquire_by_hash: bool,
    /// `NotAutomatic`: its packages are there for those alone who ask for them.
    pub not_automatic: bool,
    /// `ButAutomaticUpgrades`: as before, but what was taken from it once follows it.
    pub but_automatic_upgrades: bool,
    /// The `SHA256` table, by path below the suite's directory.
    pub indices: BTreeMap<String, IndexEntry>,
}

/// Why a `Release` file is refused.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The signature is not good enough.
    #[error("the signature is refused")]
    Signature(#[source] SignatureError),
    /// The text is not made of fields.
    #[error("the Release file is malformed")]
    Syntax(#[source] Deb822Error),
    /// There is not exactly one paragraph.
    #[error("the Release file has {0} paragraphs instead of one")]
    Paragraphs(usize),
    /// A field that we need is absent.
    #[error("the Release file has no field {0}")]
    MissingField(&'static str),
    /// A field comes twice, and readers differ in which they take.
    #[error("the Release file has its field {0} twice")]
    FieldTwice(String),
    /// The digest table names a file twice.
    #[error("the Release file's SHA256 table has {0:?} twice")]
    IndexTwice(String),
    /// A date cannot be read.
    #[error("the Release file's {field} cannot be read")]
    Date {
        /// `Date` or `Valid-Until`.
        field: &'static str,
        /// What was read.
        #[source]
        source: DateError,
    },
    /// A line of the digest table cannot be read.
    #[error("the Release file's SHA256 table has a line that is not \"digest size path\": {0:?}")]
    Table(String),
    /// The archive serves another suite than the one asked for.
    #[error(
        "the archive serves suite {suite:?}, codename {codename:?}, but {wanted:?} was asked for"
    )]
    OtherSuite {
        /// The suite asked for.
        wanted: String,
        /// The suite served.
        suite: String,
        /// The codename served.
        codename: String,
    },
    /// `Valid-Until` is over.
    #[error(
        "the Release file expired at {valid_until}, and now it is {now}; the mirror is stale, or the clock is wrong"
    )]
    Expired {
        /// The end of validity.
        valid_until: Date,
        /// The present.
        now: Date,
    },
    /// There is no `Valid-Until`, and `Date` is too long ago.
    #[error("the Release file is from {date}, older than the {} days that the profile accepts; the mirror is stale, or set a higher maximum age", max_age / 86400)]
    TooOld {
        /// The file's date.
        date: Date,
        /// Accepted age in seconds.
        max_age: u64,
    },
    /// `Date` is not yet.
    #[error("the Release file is from the future: {date}, and now it is {now}; correct the clock")]
    Future {
        /// The file's date.
        date: Date,
        /// The present.
        now: Date,
    },
    /// `Date` is before that of the last lock.
    #[error(
        "the Release file is from {date}, older than the last lock's {locked}; the mirror went back in time"
    )]
    OlderThanLock {
        /// The file's date.
        date: Date,
        /// The last lock's.
        locked: Date,
    },
}

impl Release {
    /// The priority of its packages if nobody says another: that of apt.
    pub fn priority(&self) -> i32 {
        match (self.not_automatic, self.but_automatic_upgrades) {
            (false, _) => 500,
            (true, true) => 100,
            (true, false) => 1,
        }
    }
}

/// Verifies, parses and judges an `InRelease` file.
pub fn open(
    in_release: &[u8],
    keyring: &Keyring,
    expected: &Expectation<'_>,
) -> Result<Release, ReleaseError> {
    let text = keyring
        .verify(in_release, expected.now)
        .map_err(ReleaseError::Signature)?;
    let release = parse(&text)?;
    judge(&release, expected)?;
    Ok(release)
}

/// Parses the text of a `Release` file, which the caller has verified.
pub fn parse(text: &str) -> Result<Release, ReleaseError> {
    let paragraphs = deb822::paragraphs(text).map_err(ReleaseError::Syntax)?;
    let [fields] = paragraphs.as_slice() else {
        return Err(ReleaseError::Paragraphs(paragraphs.len()));
    };
    if let Some(name) = deb822::twice(fields) {
        return Err(ReleaseError::FieldTwice(name.to_owned()));
    }
    let get = |name| deb822::get(fields, name);
    let need = |name| get(name).ok_or(ReleaseError::MissingField(name));
    let mut indices = BTreeMap::new();
    for line in deb822::lines(need("SHA256")?) {
        let entry = parse_entry(line).ok_or_else(|| ReleaseError::Table(line.to_owned()));
        let (path, entry) = entry?;
        if indices.insert(path.clone(), entry).is_some() {
            return Err(ReleaseError::IndexTwice(path));
        }
    }
    let yes = |name| get(name).is_some_and(|value| value.eq_ignore_ascii_case("yes"));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let date = |field, text| {
        Date::parse_release(text).map_err(|source| ReleaseError::Date { field, source })
    };
    Ok(Release {
        suite: get("Suite").unwrap_or_default().to_owned(),
        codename: get("Codename").unwrap_or_default().to_owned(),
        date: date("Date", need("Date")?)?,
        valid_until: get("Valid-Until")
            .map(|text| date("Valid-Until", text))
            .transpose()?,
        components: get("Components").map(words).unwrap_or_default(),
        architectures: get("Architectures").map(words).unwrap_or_default(),
        acquire_by_hash: yes("Acquire-By-Hash"),
        not_automatic: yes("NotAutomatic"),
        but_automatic_upgrades: yes("ButAutomaticUpgrades"),
        indices,
    })
}

fn parse_entry(line: &str) -> Option<(String, IndexEntry)> {
    let mut words = line.split_whitespace();
    let (sha256, size, path) = (words.next()?, words.next()?, words.next()?);
    let entry = IndexEntry {
        size: size.parse().ok()?,
        sha256: sha256.to_ascii_lowercase(),
    };
    let whole = words.next().is_none() && digest::is_sha256(&entry.sha256);
    whole.then(|| (path.to_owned(), entry))
}

fn judge(release: &Release, expected: &Expectation<'_>) -> Result<(), ReleaseError> {
    let (date, now) = (release.date, expected.now);
    if let Some(wanted) = expected.suite
        && ![release.suite.as_str(), &release.codename].contains(&wanted)
    {
        return Err(ReleaseError::OtherSuite {
            wanted: wanted.to_owned(),
            suite: release.suite.clone(),
            codename: release.codename.clone(),
        });
    }
    if date > now.plus(FUTURE_SLACK) {
        return Err(ReleaseError::Future { date, now });
    }
    match release.valid_until {
        Some(valid_until) if valid_until < now => {
            return Err(ReleaseError::Expired { valid_until, now });
        }
        None if date.plus(expected.max_age) < now => {
            let max_age = expected.max_age;
            return Err(ReleaseError::TooOld { date, max_age });
        }
        _ => {}
    }
    match expected.not_before {
        Some(locked) if date < locked => Err(ReleaseError::OlderThanLock { date, locked }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_entries_are_refused_by_name() {
        let sha256 = "0".repeat(64);
        let text = format!(
            "Suite: s\nDate: Sat, 09 Aug 2025 09:14:02 UTC\nSHA256:\n {sha256} 1 main/Packages\n"
        );
        assert_eq!(parse(&text).unwrap().indices.len(), 1);
        let check = |more: &str, expected: &str| {
            let error = parse(&format!("{text}{more}")).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            &format!(" {sha256} 2 main/Packages\n"),
            "the Release file's SHA256 table has \"main/Packages\" twice",
        );
        check("suite: t\n", "the Release file has its field suite twice");
    }
}
