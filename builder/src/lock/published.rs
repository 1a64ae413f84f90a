//! The digest of a file, from what its publisher says of it when it is locked.
//!
//! A publisher's SHA-256 is taken at its word, and every later byte is held to it. From a SHA-512 the file itself
//! has to be read once, since locks and store speak SHA-256. A file that nobody vouches for is locked only when that
//! is asked for; a file on the build host is its owner's own.

use crate::digest::{self, HashWriter};
use crate::scratch;
use crate::source::Sources;
use crate::store::Store;
use crate::transport::{Transport, shown};
use anyhow::{Context, bail};
use sha2::{Digest as _, Sha512};
use std::collections::BTreeSet;
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
            return self.known(path, Published::Sha256(sha256.to_owned()));
        }
        match self.published(file)? {
            Some(known) => self.known(path, known),
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

    /// Asks for the size alone where that will do, or else reads the file: where the digest is none of the store's,
    /// and where the server does not tell the size.
    fn known(&self, path: &str, digest: Published) -> anyhow::Result<(String, u64)> {
        if let Published::Sha256(sha256) = &digest {
            let size = |url: &str| self.transport.size(url);
            if let Some(size) = self.sources.try_each(self.source, path, size)? {
                return Ok((sha256.clone(), size));
            }
        }
        self.read(path, Some(&digest))
    }

    fn published(&self, file: &File<'_>) -> anyhow::Result<Option<Published>> {
        let parse = |sums: &str, text: &[u8]| {
            let found = published(&String::from_utf8_lossy(text), file.path);
            let found = found.with_context(|| format!("reading {sums}"))?;
            found.with_context(|| format!("{sums} has no SHA-256 or SHA-512 for {}", file.path))
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

    /// Reads the whole file into the store, and holds it to what is known of it.
    fn read(&self, path: &str, known: Option<&Published>) -> anyhow::Result<(String, u64)> {
        let read = |url: &str| self.read_from(url, known);
        self.sources.try_each(self.source, path, read)
    }

    fn read_from(&self, url: &str, known: Option<&Published>) -> anyhow::Result<(String, u64)> {
        let mut file = scratch::file(self.store).context("creating a file for a download")?;
        let out = (&mut file, u64::MAX);
        self.transport.download(url, out, 0, &mut |_| {})?;
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
        let (_, sha256, size) = sha256.finish();
        let (kind, expected, found) = match known {
            Some(Published::Sha256(expected)) => ("sha256", expected, sha256.clone()),
            Some(Published::Sha512(expected)) => {
                ("sha512", expected, digest::hex(&hash.finalize()))
            }
            None => ("sha256", &sha256, sha256.clone()),
        };
        if *expected != found {
            let url = shown(url);
            bail!("{url} is not what its publisher says: expected {kind} {expected}, got {found}");
        }
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

/// The digest of the file `path` in a checksum file: nothing but the digest, or lines of digest and file name as
/// coreutils write them, or `SHA256 (name) = digest` as BSD does.
///
/// A list may have files of one name in several folders, and its folders need not be those of `path`. The line
/// counts whose path agrees with `path` for longest, from the end; of several such lines, the one that names no
/// other folder.
fn published(text: &str, path: &str) -> anyhow::Result<Option<Published>> {
    let mut best = None;
    let mut digests = BTreeSet::new();
    for (file, digest) in text.lines().filter_map(line) {
        let Some(agreement) = agreement(file, path) else {
            continue;
        };
        if best < Some(agreement) {
            best = Some(agreement);
            digests.clear();
        }
        if best == Some(agreement) {
            digests.insert(digest);
        }
    }
    let (mut first, mut second): (Vec<_>, Vec<_>) = digests
        .into_iter()
        .partition(|digest| matches!(digest, Published::Sha256(_)));
    if first.len() > 1 || (first.is_empty() && second.len() > 1) {
        bail!("it has different digests for {path}: give the right one with sha256:");
    }
    Ok(first.pop().or(second.pop()))
}

/// File and digest of a line; no file if the line has none.
fn line(line: &str) -> Option<(&str, Published)> {
    let line = line.trim();
    if let Some((kind, rest)) = line.split_once(" (")
        && matches!(kind, "SHA256" | "SHA512")
    {
        let (file, value) = rest.split_once(") = ")?;
        return Some((file, parse_digest(value)?));
    }
    let (value, file) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let file = file.trim().trim_start_matches('*');
    Some((file, parse_digest(value)?))
}

fn parse_digest(text: &str) -> Option<Published> {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match digest::is_sha256(text) {
        true => Some(Published::Sha256(text.to_owned())),
        false => (text.len() == 128 && text.bytes().all(is_hex))
            .then(|| Published::Sha512(text.to_owned())),
    }
}

/// How many of the last parts of both paths are the same, and whether `file` has no others. `None` if they are
/// called differently.
fn agreement(file: &str, path: &str) -> Option<(usize, bool)> {
    let parts = |path: &str| {
        let parts = path.rsplit('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(str::to_owned).collect::<Vec<_>>()
    };
    let (file, path) = (parts(file), parts(path));
    let same = file.iter().zip(&path).take_while(|(a, b)| a == b).count();
    (file.is_empty() || same > 0).then_some((same, same == file.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R021, R022.
    #[test]
    fn digests_are_found_in_all_kinds_of_checksum_files() {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(128));
        let check = |text: &str, expected: Option<&str>| {
            let found = published(text, "bin/amd64/kubelet").unwrap();
            let found = found.map(|found| match found {
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
        check(
            &format!("SHA512 (kubelet) = {c}\nSHA256 (kubelet) = {b}\n"),
            Some(&b),
        );
        check(
            &format!("{a}  arm64/kubelet\n{b}  amd64/kubelet\n"),
            Some(&b),
        );
        check(&format!("{a}  kubelet\n{b}  bin/amd64/kubelet\n"), Some(&b));
        check(&format!("{a}  arm64/kubelet\n{b}  ./kubelet\n"), Some(&b));
        check(
            &format!("{a}  dist/kubelet\n{a}  build/kubelet\n"),
            Some(&a),
        );
        let different = format!("{a}  one/kubelet\n{b}  two/kubelet\n");
        let error = published(&different, "bin/amd64/kubelet").unwrap_err();
        assert!(error.to_string().contains("different digests"), "{error}");
    }
}
