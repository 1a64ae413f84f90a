//! From package names to the packages to lock: the closure over Pre-Depends and Depends.
//!
//! Recommends are not followed. Each name has one candidate: the record with the highest [priority](candidate),
//! of those the highest version, of equal ones that of the first archive; unless a request names a version or an
//! archive. A relation with one possible answer is followed at once; where there is a
//! choice, it waits until all that must be there is there, and is then answered like apt does it: by what has
//! been chosen already, else by the first alternative that can be installed, the real package before its
//! providers, providers by priority and then name. Then all is done once more among what was found, so that an
//! answer goes which another choice made needless. A set that conflicts is reported, not repaired: Debian's archives
//! are consistent enough that this finds what apt finds.
//!
//! The result depends on the input alone, and all faults are reported at once.

mod candidate;
mod closure;
mod explain;
mod index;
mod nearest;
mod request;

pub use candidate::Pin;
pub use explain::{Fault, Faults, Root, Way};
pub use request::{Request, RequestError};

use crate::debian::packages::Package;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The records of one archive.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    /// The source's name in the profile.
    pub name: &'a str,
    /// Its suite; several archives of one name differ in it.
    pub suite: &'a str,
    /// The priority of its records that no pin is about.
    pub priority: i32,
    /// All its records, of any component.
    pub packages: &'a [Package<'a>],
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

/// Packages that are there without being asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// None.
    #[default]
    Listed,
    /// Those that are `Essential: yes`, on which others rely without saying so.
    Essential,
    /// Those too whose priority is `required`: the least system that Debian's installers make.
    Required,
}

/// What to solve.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    /// Of equal records, the first archive's counts.
    pub archives: &'a [Archive<'a>],
    /// Debian's name of the architecture.
    pub architecture: &'a str,
    /// The roots.
    pub requests: &'a [Request],
    /// Which versions to prefer; of several that are about a record the last counts.
    pub pins: &'a [Pin],
    /// What belongs to every system and is a root, too.
    pub base: Base,
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
    /// The profile's source that it comes from; `profile` for a file of the profile's own.
    pub archive: String,
    /// The file, below the archive's root or the profile's folder.
    pub path: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file, in hexadecimal.
    #[serde(deserialize_with = "crate::digest::deserialize")]
    pub sha256: String,
    /// Who asked: `profile`, `essential`, `required`, or the package that first needed it.
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

/// Computes the closure.
pub fn solve(problem: &Problem<'_>) -> Result<Solution, Faults> {
    let mut faults = Vec::new();
    let index = index::Index::new(problem, &mut faults);
    let mut closure = closure::Closure::new(problem, &index, None);
    closure.start(&mut faults);
    closure.complete(&mut faults);
    if faults.is_empty() {
        let found = closure.chosen();
        closure = closure::Closure::new(problem, &index, Some(found));
        closure.start(&mut faults);
        closure.complete(&mut faults);
    }
    closure.check_conflicts(&mut faults);
    if faults.is_empty() {
        Ok(closure.into_solution())
    } else {
        Err(Faults(faults))
    }
}

#[cfg(test)]
mod tests;
