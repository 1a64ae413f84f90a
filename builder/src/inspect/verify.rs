//! Whether an image is what its hashes say: the unified kernel image vouches for the root, the root for the
//! store.
//!
//! That the unified kernel image is the right one is a matter of a signature over the whole file, or over what
//! firmware starts; see [`crate::signature`] and [`super::secure_boot`].

use super::boot;
use super::image::Image;
use super::part;
use anyhow::Context;
use contract::partition::Role;
use formats::verity;

/// No `/etc/veritytab` is larger, in bytes.
const MAX_TABLE: u64 = 1 << 20;

/// What a check found.
#[derive(Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// What was checked and is as it should be.
    pub verified: Vec<String>,
    /// What is wrong.
    pub damage: Vec<String>,
    /// What is neither, and worth knowing.
    pub notes: Vec<String>,
}

impl Verification {
    /// Adds what another check found.
    pub fn extend(&mut self, other: Verification) {
        self.verified.extend(other.verified);
        self.damage.extend(other.damage);
        self.notes.extend(other.notes);
    }

    /// Adds the result of one check, which is about `what`.
    pub fn add(&mut self, what: &str, result: anyhow::Result<()>) {
        match result {
            Ok(()) => self.verified.push(what.to_owned()),
            Err(error) => self.damage.push(format!("{what}: {error:#}")),
        }
    }
}

/// Checks every block of root and store against its root hash. Fails only if the image is no disk at all.
pub fn blocks(image: &Image) -> Verification {
    let mut found = Verification::default();
    let entries = part(&mut found.damage, "ESP", boot::entries(image)).unwrap_or_default();
    found.add("ROOT", root(image, &entries));
    found.add("STORE", store(image));
    found
}

fn root(image: &Image, entries: &[boot::BootEntry]) -> anyhow::Result<()> {
    let hash = entries.iter().find_map(boot::BootEntry::root_hash);
    let hash = hash.context("no command line names its root hash")?;
    against(image, Role::Root, Role::RootVerity, hash)
}

fn store(image: &Image) -> anyhow::Result<()> {
    let table = image.read("ROOT", "/etc/veritytab", MAX_TABLE)?;
    let table = String::from_utf8(table).context("/etc/veritytab is no text")?;
    let hash = table.split_whitespace().nth(3);
    let hash = hash.context("/etc/veritytab names no root hash")?;
    against(image, Role::Store, Role::StoreVerity, hash)
}

fn against(image: &Image, data: Role, hashes: Role, hash: &str) -> anyhow::Result<()> {
    let hash = crate::digest::parse(hash).with_context(|| format!("{hash:?} is no SHA-256"))?;
    let volumes = (image.volume(data.label())?, image.volume(hashes.label())?);
    verity::verify(&volumes.0, &volumes.1, &hash)
        .with_context(|| format!("checking {} against its root hash", data.label()))?;
    Ok(())
}
