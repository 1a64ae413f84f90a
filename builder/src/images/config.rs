//! The part of an image's config that a build needs (OCI image specification 1.1, "Image Configuration").

use anyhow::{Context, bail};
use contract::partition::Arch;
use serde::Deserialize;

/// An image's config, for the machine that was asked for.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    architecture: String,
    os: String,
    /// What the root file system is made of.
    #[serde(default)]
    pub rootfs: RootFs,
}

/// The layers as the config names them.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RootFs {
    /// Digest of each layer's uncompressed archive, such as `sha256:…`, the lowest layer first.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// Reads a config; it is an error if the image is for anything but Linux on `arch`.
pub fn parse(text: &[u8], arch: Arch) -> anyhow::Result<Config> {
    let config: Config = serde_json::from_slice(text).context("reading the config")?;
    if config.os != "linux" || config.architecture != arch.as_str() {
        bail!(
            "the image is for {}/{}, not for linux/{arch}",
            config.os,
            config.architecture
        );
    }
    Ok(config)
}
