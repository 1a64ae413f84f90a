//! What later phases know: the image's manifest, the accepted seed, and the ledger's decisions.

use anyhow::{Context, Result, anyhow};
use contract::manifest::Manifest;
use contract::seed::Seed;

use crate::birth::{self, Birth};
use crate::host::Host;
use crate::ledger::{self, Address, Identity};

/// The seed that was found in this boot, until the ledger holds it.
pub const FOUND_SEED: &str = "/run/seedbed/seed.yaml";

/// The image's manifest.
pub fn manifest(host: &dyn Host) -> Result<Manifest> {
    let path = contract::paths::MANIFEST;
    let text = host
        .read_text(path)?
        .with_context(|| format!("the image has no {path}"))?;
    serde_json::from_str(&text).with_context(|| format!("reading {path}"))
}

/// The founding seed of the ledger; before there is one, the seed found in this boot.
pub fn seed(host: &dyn Host) -> Result<Option<Seed>> {
    let text = seed_text(host)?;
    text.map(|text| parse("seed.yaml", &text)).transpose()
}

/// The text of that seed.
pub fn seed_text(host: &dyn Host) -> Result<Option<String>> {
    match ledger::seed(host)? {
        Some(text) => Ok(Some(text)),
        None => host.read_text(FOUND_SEED),
    }
}

/// Parses, with all faults in one error.
pub fn parse(name: &str, text: &str) -> Result<Seed> {
    contract::seed::parse(name, text).map_err(|faults| anyhow!("{faults}"))
}

/// Everything that the cluster's configuration is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The image.
    pub manifest: Manifest,
    /// The cluster's settings.
    pub seed: Seed,
    /// Who this machine is.
    pub identity: Identity,
    /// Where it is reached.
    pub address: Address,
    /// What the machines have agreed on.
    pub birth: Birth,
}

impl Facts {
    /// Reads them all; an error if one is not decided yet.
    pub fn read(host: &dyn Host) -> Result<Self> {
        Ok(Facts {
            manifest: manifest(host)?,
            seed: seed(host)?.context("there is no seed yet")?,
            identity: ledger::decided(host)?,
            address: ledger::decided(host)?,
            birth: birth::decided(host)?,
        })
    }
}
