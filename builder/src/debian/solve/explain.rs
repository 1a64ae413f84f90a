//! Why there is no solution: each fault is a sentence that says who wants what because of whom, which versions
//! there are, and what to do.

use crate::debian::relation::RelationError;
use std::fmt;
use thiserror::Error;

/// Who asked for the first package of a [`Way`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The profile, by name.
    Profile,
    /// It is `Essential: yes`.
    Essential,
    /// Its priority is `required`.
    Required,
}

/// How a package came in: from one that was asked for, each needed by the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Who asked for the first.
    pub root: Root,
    /// Names of packages, at least one.
    pub names: Vec<String>,
}

impl Way {
    /// The package that was asked for.
    fn first(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.names.iter().rev();
        write!(f, "{}", names.next().map_or("", String::as_str))?;
        for (i, name) in names.enumerate() {
            let which = if i == 0 { "" } else { ", which" };
            write!(f, "{which} is needed by {name}")?;
        }
        let which = if self.names.len() == 1 { "" } else { ", which" };
        match self.root {
            Root::Profile if which.is_empty() => write!(f, " is asked for by the profile"),
            Root::Profile => write!(f, "{which} the profile asks for"),
            Root::Essential => write!(f, "{which} is Essential"),
            Root::Required => write!(f, "{which} is of priority required"),
        }
    }
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
    /// The name is a virtual package's.
    #[error("{name} is a virtual package: ask for one that provides it: {}", providers.join(", "))]
    Virtual {
        /// The name asked for.
        name: String,
        /// Some that provide it.
        providers: Vec<String>,
    },
    /// The version or archive asked for is not there.
    #[error("there is no package {wanted}; there is {available}")]
    Pin {
        /// The request as written.
        wanted: String,
        /// The versions and their archives.
        available: String,
    },
    /// All versions have a priority below zero.
    #[error(
        "every version of package {name} has a priority below 0; to have one, ask for it: {available}"
    )]
    Forbidden {
        /// The package.
        name: String,
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
    #[error("{package} needs {relation}, but {why}; {way}")]
    Unsatisfiable {
        /// Name and version of the package whose relation it is.
        package: String,
        /// How it came in.
        way: Way,
        /// The relation.
        relation: String,
        /// What there is instead, and what to do.
        why: String,
    },
    /// Two chosen packages exclude each other.
    #[error(
        "{package} {verb} {relation}, but {other} is chosen: {way}, and {other_way}; {}",
        advice(way, other_way)
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
        way: Way,
        /// How the second came in.
        other_way: Way,
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

/// What to do about two packages that exclude each other.
fn advice(way: &Way, other_way: &Way) -> String {
    let (one, other) = (way.first(), other_way.first());
    if one == other {
        format!("leave out {one}, or pin versions that go together")
    } else {
        format!("leave out {one} or {other}, or pin versions that go together")
    }
}

/// Names that look like a missing one.
pub(super) struct Suggestion<'a>(pub(super) &'a [String]);

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
