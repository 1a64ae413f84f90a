//! The Debian packages of an image, from dpkg's status file.

use super::image::Image;
use crate::debian::deb822::{self, Deb822Error};
use anyhow::Context;
use serde::Serialize;

/// Where dpkg keeps what is installed.
const STATUS: &str = "/var/lib/dpkg/status";
/// No status file is larger, in bytes.
const MAX_STATUS: u64 = 64 << 20;

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Package {
    /// `Package`
    pub name: String,
    /// `Version`
    pub version: String,
    /// `Architecture`
    pub architecture: String,
}

/// The packages of a status file, by name.
///
/// # Errors
/// The text is not of the form that deb-control(5) gives.
pub fn parse(status: &str) -> Result<Vec<Package>, Deb822Error> {
    let field = |paragraph: &[_], name| deb822::get(paragraph, name).unwrap_or_default().to_owned();
    let package = |paragraph: &Vec<_>| Package {
        name: field(paragraph, "Package"),
        version: field(paragraph, "Version"),
        architecture: field(paragraph, "Architecture"),
    };
    let mut packages: Vec<Package> = deb822::paragraphs(status)?.iter().map(package).collect();
    packages.sort();
    Ok(packages)
}

pub(super) fn read(image: &Image) -> anyhow::Result<Vec<Package>> {
    let text = image.read("ROOT", STATUS, MAX_STATUS)?;
    let text = String::from_utf8(text).with_context(|| format!("{STATUS} is no text"))?;
    parse(&text).with_context(|| format!("reading {STATUS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_come_by_name() {
        let text = "Package: b\nVersion: 1:2-3\nArchitecture: all\nDescription: x\n y\n\nPackage: a\nVersion: 1\nArchitecture: amd64\n";
        let found = parse(text).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|p| (p.name.as_str(), p.version.as_str()))
            .collect();
        assert_eq!(found, [("a", "1"), ("b", "1:2-3")]);
        assert!(parse("no field").is_err());
    }
}
