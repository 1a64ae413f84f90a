//! The documents beside an image: what is inside, for programs and for people.
//!
//! ```text
//! manifest.json                 every input and output, by digest
//! report.html                   what takes the space, and the rest, for people
//! NAME-ARCH.spdx.json           the bill of materials in SPDX 2.3
//! NAME-ARCH.cdx.json            the same in CycloneDX 1.6
//! ```
//!
//! They are pure functions of what the build knows, so that equal builds give equal documents.

mod cyclonedx;
mod manifest;
mod purl;
mod report;
mod spdx;
mod treemap;

use crate::build::{Built, Sums};
use crate::digest;
use crate::output::write_atomically;
use anyhow::Context;
use chrono::{DateTime, SecondsFormat};
use contract::guid::Guid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The program's name and version, as documents name their maker.
const TOOL: (&str, &str) = ("seedbed", env!("CARGO_PKG_VERSION"));

/// Writes the documents of `builds` to `out`, where `SHA256SUMS` lists them; gives their paths, each with its
/// SHA-256.
///
/// # Errors
/// A date is out of range, or a file cannot be written.
pub fn write(out: &Path, builds: &[Built]) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let mut texts = BTreeMap::from([("report.html".to_owned(), report::render(builds)?)]);
    for built in builds {
        let name = name(built);
        let created = created(built)?;
        texts.insert(
            format!("{name}.spdx.json"),
            json(&spdx::render(built, &created))?,
        );
        texts.insert(
            format!("{name}.cdx.json"),
            json(&cyclonedx::render(built, &created))?,
        );
    }
    let digest = |(name, text): (&String, &String)| (name.clone(), digest::sha256(text.as_bytes()));
    let manifest = manifest::render(builds, &texts.iter().map(digest).collect());
    texts.insert("manifest.json".to_owned(), json(&manifest)?);
    let in_out = |(name, sha256): (String, String)| (out.join(name), sha256);
    let digests = texts.iter().map(digest).map(in_out).collect();
    let sums = Sums::open(BTreeMap::keys(&digests))?;
    if sums.holds(&digests)?
        && texts
            .iter()
            .all(|(name, text)| is_there(&out.join(name), text))
    {
        return Ok(digests);
    }
    sums.forget(&digests)?;
    for (name, text) in texts {
        write_atomically(&out.join(name), text.as_bytes())?;
    }
    sums.record(&digests)?;
    Ok(digests)
}

fn is_there(path: &Path, text: &str) -> bool {
    fs::read(path).is_ok_and(|found| found == text.as_bytes())
}

fn json(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value).context("writing a document")? + "\n")
}

/// How the image's files are called, without ending.
fn name(built: &Built) -> String {
    format!("seedbed-{}-{}", built.contents.profile, built.contents.arch)
}

/// When the image's inputs were locked, as RFC 3339 has it. A build does not know the time.
fn created(built: &Built) -> anyhow::Result<String> {
    let date = DateTime::from_timestamp(built.contents.epoch, 0);
    let date = date.context("the lock's date is out of range")?;
    Ok(date.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A UUID that stands for this image and this kind of document.
fn uuid(built: &Built, kind: &str) -> String {
    let (report, contents) = (&built.report, &built.contents);
    let parts = [
        kind,
        TOOL.1,
        &contents.lock,
        &report.root_hash,
        &report.store_hash,
        &contents.kernel.arguments.join(" "),
    ];
    let bytes = digest::derive(&parts.join("\n"), "document");
    Guid::derived(std::array::from_fn(|i| bytes[i])).to_string()
}

/// The digests of the image's files by name, without folders.
fn outputs(built: &Built) -> BTreeMap<String, String> {
    let output = |(path, sha256): (&PathBuf, &String)| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some((name, sha256.clone()))
    };
    built.report.outputs.iter().filter_map(output).collect()
}

/// The homepage, if it is a URL.
fn website(homepage: Option<&str>) -> Option<&str> {
    homepage.filter(|url| {
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        is_web
            && url
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&b))
    })
}

/// The name in `NAME <ADDRESS>`.
fn maintainer(field: Option<&str>) -> Option<&str> {
    let name = field?.split(['<', '\n']).next()?.trim();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_are_websites() {
        for (text, good) in [
            ("https://www.kernel.org/", true),
            ("http://a b", false),
            ("ftp://a", false),
            ("https://a/<b>", false),
        ] {
            assert_eq!(website(Some(text)).is_some(), good, "{text}");
        }
    }

    #[test]
    fn maintainers_lose_their_address() {
        assert_eq!(maintainer(Some("Ann B <a@b>")), Some("Ann B"));
        assert_eq!(maintainer(Some("<a@b>")), None);
        assert_eq!(maintainer(None), None);
    }
}
