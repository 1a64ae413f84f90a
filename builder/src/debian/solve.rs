//! From package names to the packages to lock: the closure over Pre-Depends and Depends.
//!
//! Recommends are not followed. Of several versions the highest wins, of equal ones that of the first archive,
//! unless a request pins one. A relation with one possible answer is followed at once; where there is a
//! choice, it waits until all that must be there is there, and is then answered like apt does it: by what has
//! been chosen already, else by the first alternative that can be installed, the real package before its
//! providers, providers by priority and then name. Nothing chosen is taken back: Debian's archives are
//! consistent enough that this finds what apt finds, and a set that conflicts is reported, not repaired.
//!
//! The result depends on the input alone, and all faults are reported at once.

mod closure;
mod index;
mod nearest;

use crate::debian::packages::Package;
use crate::debian::relation::RelationError;
use crate::debian::version::{self, VersionError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The records of one archive.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    /// The source's name in the profile.
    pub name: &'a str,
    /// All its records, of any component.
    pub packages: &'a [Package<'a>],
}

/// A package asked for by name: `name`, `name=version`, `name/archive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The package.
    pub name: String,
    /// This version and no other.
    pub version: Option<String>,
    /// From this archive and no other, by its name in the profile.
    pub archive: Option<String>,
}

/// Why a request cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// There is no package name.
    #[error("{0:?} does not name a package; write name, name=version or name/archive")]
    Name(String),
    /// The version is none.
    #[error("the request pins a version that is none")]
    Version(#[source] VersionError),
}

impl FromStr for Request {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        let (rest, version) = match text.split_once('=') {
            Some((rest, version)) => (rest, Some(version.to_owned())),
            None => (text, None),
        };
        let (name, archive) = match rest.split_once('/') {
            Some((name, archive)) => (name, Some(archive.to_owned())),
            None => (rest, None),
        };
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
        if name.is_empty() || !name.bytes().all(known) || archive.as_deref() == Some("") {
            return Err(RequestError::Name(text.to_owned()));
        }
        if let Some(version) = &version {
            version::validate(version).map_err(RequestError::Version)?;
        }
        let name = name.to_owned();
        Ok(Request {
            name,
            version,
            archive,
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(archive) = &self.archive {
            write!(f, "/{archive}")?;
        }
        if let Some(version) = &self.version {
            write!(f, "={version}")?;
        }
        Ok(())
    }
}

/// A package that is never chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// Its name.
    pub package: String,
    /// Why, as it stands in messages.
    pub reason: String,
    /// Whether relations count as satisfied as if the package were there; else whatever needs it is a fault.
    pub waive: bool,
}

/// What to solve.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    /// In order of priority.
    pub archives: &'a [Archive<'a>],
    /// Debian's name of the architecture.
    pub architecture: &'a str,
    /// The roots.
    pub requests: &'a [Request],
    /// Whether all Essential packages are roots too.
    pub essential: bool,
    /// What is never chosen.
    pub exclude: &'a [Exclusion],
}

/// One package of a lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedPackage {
    /// `Package`
    pub name: String,
    /// `Version`
    pub version: String,
    /// `Architecture`: the image's own, or `all`.
    pub architecture: String,
    /// The profile's source that it comes from.
    pub archive: String,
    /// The file, below the archive's root.
    pub path: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Who asked: `profile`, `essential`, or the package that first needed it.
    pub because: String,
}

/// A relation that holds only because the profile says so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Waived {
    /// The package whose relation it is.
    pub package: String,
    /// The relation as written.
    pub relation: String,
    /// The excluded package that would have satisfied it.
    pub excluded: String,
}

/// The closure, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Solution {
    /// The packages to lock.
    pub packages: Vec<LockedPackage>,
    /// What was waived on the way.
    pub waived: Vec<Waived>,
}

/// One reason why there is no solution.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// No archive has a package of that name.
    #[error("there is no package {name}{}", Suggestion(nearest))]
    Missing {
        /// The name asked for.
        name: String,
        /// Names that exist and look alike.
        nearest: Vec<String>,
    },
    /// The pinned version or archive is not there.
    #[error("there is no package {wanted}; there is {available}")]
    Pin {
        /// The request as written.
        wanted: String,
        /// The versions and their archives.
        available: String,
    },
    /// A request and an exclusion name the same package.
    #[error("package {name} is asked for and excluded ({reason})")]
    Excluded {
        /// The package.
        name: String,
        /// Why it is excluded.
        reason: String,
    },
    /// Nothing satisfies a relation.
    #[error("{chain} -> {relation}: {why}")]
    Unsatisfiable {
        /// From the root to the package whose relation it is.
        chain: String,
        /// The relation.
        relation: String,
        /// What was tried.
        why: String,
    },
    /// Two chosen packages exclude each other.
    #[error(
        "{package} {verb} {relation}, but {other} is chosen; the first is there by {chain}, the second by {other_chain}"
    )]
    Conflict {
        /// Name and version of the package that states it.
        package: String,
        /// `conflicts with` or `breaks`.
        verb: &'static str,
        /// What it states.
        relation: String,
        /// Name and version of the package concerned.
        other: String,
        /// How the first came in.
        chain: String,
        /// How the second came in.
        other_chain: String,
    },
    /// A relation field of the archive cannot be read.
    #[error("package {package} of the archive has a malformed {field}")]
    Malformed {
        /// The package.
        package: String,
        /// The field.
        field: &'static str,
        /// What is wrong.
        #[source]
        source: RelationError,
    },
}

struct Suggestion<'a>(&'a [String]);

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            names => write!(f, "; names like it: {}", names.join(", ")),
        }
    }
}

/// All reasons why there is no solution; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the packages cannot be resolved:")?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
            if let Fault::Malformed { source, .. } = fault {
                write!(f, ": {source}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Computes the closure.
pub fn solve(problem: &Problem<'_>) -> Result<Solution, Faults> {
    let mut faults = Vec::new();
    let index = index::Index::new(problem, &mut faults);
    let mut closure = closure::Closure::new(problem, &index);
    closure.start(&mut faults);
    closure.complete(&mut faults);
    closure.check_conflicts(&mut faults);
    if faults.is_empty() {
        Ok(closure.into_solution())
    } else {
        Err(Faults(faults))
    }
}

#[cfg(test)]
mod tests;
