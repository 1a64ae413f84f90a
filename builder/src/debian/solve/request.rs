//! A package asked for by name.

use super::candidate;
use crate::debian::version::{self, VersionError};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A package asked for by name: `name`, `name=version`, `name/archive`, `name/archive=version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The package.
    pub name: String,
    /// This version and no other; `*` stands for any text.
    pub version: Option<String>,
    /// From this archive and no other, by its name in the profile or its suite.
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
            // Any text in the place of an asterisk, and so a digit, makes a version of a pattern.
            version::validate(&version.replace('*', "0")).map_err(RequestError::Version)?;
        }
        let name = name.to_owned();
        Ok(Request {
            name,
            version,
            archive,
        })
    }
}

impl Request {
    /// Whether any version from any archive will do.
    pub(super) fn is_open(&self) -> bool {
        self.version.is_none() && self.archive.is_none()
    }

    /// Whether a version from an archive is what is asked for.
    pub(super) fn accepts(&self, version: &str, archive: &str, suite: &str) -> bool {
        let wanted = self.archive.as_deref();
        wanted.is_none_or(|wanted| wanted == archive || wanted == suite)
            && self
                .version
                .as_deref()
                .is_none_or(|wanted| candidate::is_version(wanted, version))
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
