//! The digest of a file, from what its publisher says of it when it is locked.
//!
//! A publisher's SHA-256 is taken at its word, and every later byte is held to it. From a SHA-512 the file itself
//! has to be read once, since locks and store speak SHA-256. A file that nobody vouches for is locked only when that
//! is asked for; a file on the build host is its owner's own.

use crate::digest::{self, HashWriter};
use crate::source::Sources;
use crate::store::Store;
use crate::transport::{Transport, shown};
use anyhow::{Context, bail};
use sha2::{Digest as _, Sha512};
use std::io::{Read, Seek, SeekFrom};

/// Where files are, and what counts as known of them.
pub(super) struct Place<'a> {
    pub(super) sources: &'a Sources,
    pub(super) source: &'a str,
    pub(super) transport: &'a Transport,
    pub(super) store: &'a Store,
    pub(super) trust_on_first_use: bool,
}

/// One file.
pub(super) struct File<'a> {
    /// Below the source.
    pub(super) path: &'a str,
    /// What the profile says.
    pub(super) sha256: Option<&'a str>,
    /// The checksum file that the profile names.
    pub(super) sums: Option<&'a str>,
    /// Whether it is in a folder of the profile's owner.
    pub(super) own: bool,
}

/// What a checksum file says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Published {
    Sha256(String),
    Sha512(String),
}

impl Place<'_> {
    /// SHA-256, hexadecimal, and size.
    pub(super) fn digest(&self, file: &File<'_>) -> anyhow::Result<(String, u64)> {
        let path = file.path;
        if let Some(sha256) = file.sha256 {
            if !digest::is_sha256(sha256) {
                bail!("{sha256:?}, given for {path}, is not a SHA-256 in lower-case hexadecimal");
            }
            return Ok((sha256.to_owned(), self.size(path)?));
        }
        match self.published(file)? {
            Some(Published::Sha256(sha256)) => Ok((sha256, self.size(path)?)),
            Some(Published::Sha512(sha512)) => self.read(path, Some(&sha512)),
            None if file.own => self.read(path, None),
            None => {
                let (sha256, size) = self.read(path, None)?;
                let url = self.sources.url(self.source, path)?;
                let url = shown(&url);
                tracing::warn!("{url} has no published digest; locked as it is, sha256 {sha256}");
                Ok((sha256, size))
            }
        }
    }

    fn size(&self, path: &str) -> anyhow::Result<u64> {
        let size = |url: &str| self.transport.size(url);
        self.sources.try_each(self.source, path, size)
    }

    fn published(&self, file: &File<'_>) -> anyhow::Result<Option<Published>> {
        let name = file.path.rsplit('/').next().unwrap_or(file.path);
        let parse = |sums: &str, text: &[u8]| {
            let found = published(&String::from_utf8_lossy(text), name);
            found.with_context(|| format!("{sums} has no SHA-256 or SHA-512 for {name}"))
        };
        if let Some(sums) = file.sums {
            let get = |url: &str| self.transport.get(url);
            let text = self.sources.try_each(self.source, sums, get)?;
            return parse(sums, &text).map(Some);
        }
        for ending in ["sha256", "sha512"] {
            let sums = format!("{}.{ending}", file.path);
            let get = |url: &str| self.transport.get_optional(url);
            let text = self.sources.try_each_optional(self.source, &sums, get)?;
            if let Some(text) = text {
                return parse(&sums, &text).map(Some);
            }
        }
        if !file.own && !self.trust_on_first_use {
            bail!(
                "{0}.sha256 and {0}.sha512 do not exist (404): name the checksum file with sums:, or the digest with \
                 sha256:, or take the file as it is today with --trust-on-first-use",
                file.path
            );
        }
        Ok(None)
    }

    /// Reads the whole file into the store, and holds it to a SHA-512 if there is one.
    fn read(&self, path: &str, sha512: Option<&str>) -> anyhow::Result<(String, u64)> {
        let read = |url: &str| self.read_from(url, sha512);
        self.sources.try_each(self.source, path, read)
    }

    fn read_from(&self, url: &str, sha512: Option<&str>) -> anyhow::Result<(String, u64)> {
        let mut file = tempfile::tempfile().context("creating a file for a download")?;
        self.transport.download(url, &mut file, 0, &mut |_| {})?;
        file.seek(SeekFrom::Start(0))
            .context("reading a download")?;
        let mut sha256 = HashWriter::new(std::io::sink());
        let mut hash = Sha512::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let n = file.read(&mut buffer).context("reading a download")?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            std::io::Write::write_all(&mut sha256, &buffer[..n]).context("hashing a download")?;
        }
        let found = digest::hex(&hash.finalize());
        if let Some(expected) = sha512.filter(|expected| **expected != found) {
            let url = shown(url);
            bail!("{url} is not what its publisher says: expected sha512 {expected}, got {found}");
        }
        let (_, sha256, size) = sha256.finish();
        self.keep(&mut file, &sha256, size, &shown(url))?;
        Ok((sha256, size))
    }

    /// What was read is not fetched again.
    fn keep(
        &self,
        file: &mut std::fs::File,
        sha256: &str,
        size: u64,
        url: &str,
    ) -> anyhow::Result<()> {
        if self.store.has(sha256, size) {
            return Ok(());
        }
        let mut partial = self.store.partial(sha256)?;
        if self.store.has(sha256, size) {
            return partial.discard();
        }
        file.seek(SeekFrom::Start(0))
            .context("reading a download")?;
        partial.restart().context("storing a download")?;
        std::io::copy(file, &mut partial.file).context("storing a download")?;
        partial.commit(size, url)
    }
}

/// The digest in a checksum file: nothing but the digest, or lines of digest and file name as coreutils write them,
/// or `SHA256 (name) = digest` as BSD does.
fn published(text: &str, name: &str) -> Option<Published> {
    let fits = |file: &str| {
        let file = file.trim().trim_start_matches('*');
        file.is_empty() || file == name || file.ends_with(&format!("/{name}"))
    };
    let digest = |text: &str| {
        let hex = text.len() == 128
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match digest::is_sha256(text) {
            true => Some(Published::Sha256(text.to_owned())),
            false => hex.then(|| Published::Sha512(text.to_owned())),
        }
    };
    text.lines().find_map(|line| {
        let line = line.trim();
        if let Some((kind, rest)) = line.split_once(" (")
            && matches!(kind, "SHA256" | "SHA512")
        {
            let (file, value) = rest.split_once(") = ")?;
            return fits(file).then(|| digest(value)).flatten();
        }
        let (value, file) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        fits(file).then(|| digest(value)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R021, R022.
    #[test]
    fn digests_are_found_in_all_kinds_of_checksum_files() {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(128));
        let check = |text: &str, expected: Option<&str>| {
            let found = published(text, "kubelet").map(|found| match found {
                Published::Sha256(hex) | Published::Sha512(hex) => hex,
            });
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check(&a, Some(&a));
        check(&format!("{a}\n"), Some(&a));
        check(&format!("{a}  kubectl\n{b} *./kubelet\n"), Some(&b));
        check(&format!("{a}  kubectl\n"), None);
        check(&format!("{c}  kubelet\n"), Some(&c));
        check(
            &format!("SHA256 (kubectl) = {a}\nSHA256 (kubelet) = {b}\n"),
            Some(&b),
        );
        check(&format!("SHA512 (bin/kubelet) = {c}\n"), Some(&c));
        check("not a digest", None);
    }
}
