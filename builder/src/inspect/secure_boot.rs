//! Who signed what firmware starts from the ESP.

use super::boot::MAX_UKI;
use super::image::{FileSystem, Image};
use super::verify::Verification;
use crate::digest;
use crate::secure_boot::{ENROLMENT, SecureBoot};
use anyhow::{Context, anyhow, bail};
use formats::authenticode::{self, Recorded};
use formats::fat::read::{DirEntry, Error};
use formats::tree::Content;
use formats::x509::Certificate;
use std::collections::BTreeMap;

/// Where boot programs and add-ons are on the ESP.
const FOLDERS: [&str; 4] = ["EFI/BOOT", "EFI/systemd", "EFI/Linux", "loader/addons"];
/// No update of a variable, and no loader.conf, is larger, in bytes.
const MAX_SMALL: u64 = 1 << 20;

/// The ESP of an image.
struct Esp<'a>(&'a Image);

impl Esp<'_> {
    /// The files of a folder, none if there is no such folder.
    fn files(&self, folder: &str) -> anyhow::Result<Vec<String>> {
        let FileSystem::Fat(esp) = self.0.file_system("ESP")? else {
            bail!("partition ESP holds no FAT");
        };
        let path = |entry: DirEntry| format!("{folder}/{}", entry.name);
        match esp.read_dir(folder) {
            Ok(entries) => {
                let files = entries.into_iter().filter(|entry| !entry.directory);
                Ok(files.map(path).collect())
            }
            Err(Error::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("reading {folder}")),
        }
    }

    fn read(&self, path: &str, limit: u64) -> anyhow::Result<Vec<u8>> {
        self.0.read("ESP", path, limit)
    }

    /// The paths of all boot programs.
    fn programs(&self) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for folder in FOLDERS {
            all.extend(self.files(folder)?);
        }
        all.retain(|path| path.to_ascii_lowercase().ends_with(".efi"));
        Ok(all)
    }

    fn program(&self, path: &str) -> anyhow::Result<Content> {
        Ok(Content::from(self.read(path, MAX_UKI)?))
    }
}

/// Checks the signatures of all boot programs: against `certificate`, or else each against the certificate that
/// came along with the first. An image that nobody signed is as good without a certificate.
pub fn check(image: &Image, certificate: Option<&Certificate>) -> Verification {
    let mut found = Verification::default();
    match signers(image, certificate) {
        Ok(Some(sha256)) => {
            let what = format!("Secure Boot (certificate {sha256})");
            found.verified.push(what);
        }
        Ok(None) => {
            let note = "nobody signed what firmware starts: Secure Boot would refuse it";
            found.notes.push(note.to_owned());
        }
        Err(error) => found.damage.push(format!("Secure Boot: {error:#}")),
    }
    found
}

/// The SHA-256 of the certificate that all boot programs are signed by; `None` if none is signed.
fn signers(image: &Image, certificate: Option<&Certificate>) -> anyhow::Result<Option<String>> {
    let esp = Esp(image);
    let mut by = certificate.cloned();
    let mut unsigned = Vec::new();
    for path in esp.programs()? {
        let program = esp.program(&path)?;
        let checking = || path.clone();
        let signatures = authenticode::signatures(&program).with_context(checking)?;
        let Some(first) = signatures.first() else {
            unsigned.push(path);
            continue;
        };
        let by = match &by {
            Some(certificate) => certificate,
            None => by.insert(first.certificate().with_context(checking)?),
        };
        authenticode::verify(&program, by).with_context(checking)?;
    }
    match (by, unsigned.as_slice()) {
        (None, _) => Ok(None),
        (Some(certificate), []) => Ok(Some(digest::sha256(certificate.der()))),
        (Some(_), several) => Err(anyhow!("nobody signed {}", several.join(", "))),
    }
}

/// What an image was signed with, to build it again; `None` if it was not signed.
pub fn recorded(image: &Image) -> anyhow::Result<Option<SecureBoot>> {
    let esp = Esp(image);
    let mut signatures = Vec::new();
    for path in esp.programs()? {
        let found = authenticode::signatures(&esp.program(&path)?);
        signatures.extend(found.with_context(|| format!("reading the signature of {path}"))?);
    }
    let recorded = Recorded::new(signatures).context("reading the signatures of boot programs")?;
    let Some(recorded) = recorded else {
        return Ok(None);
    };
    let mut updates = BTreeMap::new();
    for path in esp.files(ENROLMENT)? {
        let name = path.rsplit('/').next().unwrap_or(&path);
        updates.insert(name.to_owned(), esp.read(&path, MAX_SMALL)?);
    }
    let text = esp.read("loader/loader.conf", MAX_SMALL)?;
    let text = String::from_utf8_lossy(&text);
    Ok(Some(SecureBoot::recorded(recorded, updates, &text)))
}
