//! One entry of `packages`: a request, or a `.deb` file of the profile's own, and where it counts.

use crate::debian::relation;
use crate::debian::solve::{Request, RequestError};
use std::str::FromStr;
use thiserror::Error;

/// The source of `.deb` files that lie beside the profile; no declared source may have this name.
pub const OWN: &str = "profile";

/// What an entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A package of an archive.
    Named(Request),
    /// A `.deb` file, by its path relative to the profile.
    File(String),
}

/// An entry of `packages`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageEntry {
    /// What it asks for.
    pub wanted: Wanted,
    /// The list in square brackets.
    architectures: Option<String>,
}

/// Why an entry cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PackageEntryError {
    /// It asks for no package.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It is a path of something else.
    #[error("{0:?} is not the path of a .deb file")]
    File(String),
    /// What stands in square brackets makes no sense.
    #[error("{0:?} does not end with a list of architectures such as [amd64]")]
    Architectures(String),
}

impl FromStr for PackageEntry {
    type Err = PackageEntryError;

    fn from_str(text: &str) -> Result<Self, PackageEntryError> {
        let (what, architectures) = match text.split_once('[') {
            Some((what, list)) => {
                let list = list.strip_suffix(']').map(str::trim);
                let fits = |list: &&str| {
                    let known = |c: char| c.is_ascii_alphanumeric() || "!- ".contains(c);
                    !list.is_empty() && list.chars().all(known)
                };
                let fault = || PackageEntryError::Architectures(text.to_owned());
                let list = list.filter(fits).ok_or_else(fault)?;
                (what.trim_end(), Some(list.to_owned()))
            }
            None => (text, None),
        };
        let wanted = if is_path(what) {
            if !what.ends_with(".deb") {
                return Err(PackageEntryError::File(what.to_owned()));
            }
            Wanted::File(what.to_owned())
        } else {
            Wanted::Named(what.parse()?)
        };
        Ok(PackageEntry {
            wanted,
            architectures,
        })
    }
}

impl PackageEntry {
    /// Whether it counts for an architecture, by Debian's name of it.
    pub fn applies_to(&self, architecture: &str) -> bool {
        let list = self.architectures.as_deref();
        list.is_none_or(|list| relation::lists(list, architecture))
    }
}

/// Whether an entry is a path, as apt tells it from a name.
fn is_path(text: &str) -> bool {
    text.starts_with("./") || text.starts_with("../")
}

/// An entry as it is written in the profile in `folder`, for one that extends that: paths are made to start there.
/// `folder` is relative, and empty for the profile itself.
pub(super) fn moved(text: &str, folder: &str) -> String {
    if folder.is_empty() || !is_path(text) {
        return text.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let path = parts.join("/");
    if path.starts_with("../") {
        path
    } else {
        format!("./{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let check = |text: &str, amd64, arm64| {
            let entry: PackageEntry = text.parse().unwrap();
            let found = (entry.applies_to("amd64"), entry.applies_to("arm64"));
            assert_eq!(found, (amd64, arm64), "{text}");
            entry.wanted
        };
        let named = |text: &str| Wanted::Named(text.parse().unwrap());
        assert_eq!(check("a", true, true), named("a"));
        assert_eq!(check("a=1:2.* [amd64]", true, false), named("a=1:2.*"));
        assert_eq!(
            check("a/backports [!amd64]", false, true),
            named("a/backports")
        );
        let file = Wanted::File("./debs/a_1_amd64.deb".into());
        assert_eq!(check("./debs/a_1_amd64.deb [amd64]", true, false), file);
        for bad in ["", "A", "./a.rpm", "a [", "a []", "a [amd64] b", "/a.deb"] {
            assert!(bad.parse::<PackageEntry>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_profile() {
        let check = |text, folder, expected| assert_eq!(moved(text, folder), expected);
        check("a", "../base", "a");
        check("./a.deb", "", "./a.deb");
        check("./a.deb", "../base", "../base/a.deb");
        check("../debs/a.deb", "../base", "../debs/a.deb");
        check("../a.deb", "parts/one", "./parts/a.deb");
    }
}
