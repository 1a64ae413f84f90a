//! The layers of the store: unpacked trees, found by chain ID.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use contract::paths::{STORE_CHAINS, STORE_LAYERS};
use serde::{Deserialize, Serialize};

/// The chain ID of a layer (OCI image specification, "Layer ChainID"): it names the layer together with all
/// that lie below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ChainId(String);

impl ChainId {
    /// `sha256:` and 64 lower-case hexadecimal digits; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<ChainId> {
        let hex = text.strip_prefix("sha256:")?;
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (hex.len() == 64 && hex.bytes().all(digit)).then(|| ChainId(hex.to_owned()))
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl TryFrom<String> for ChainId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        ChainId::parse(&text).ok_or_else(|| format!("{text} is no chain ID"))
    }
}

impl From<ChainId> for String {
    fn from(chain: ChainId) -> String {
        chain.to_string()
    }
}

/// The number of a layer's folder in this image's store. Another image numbers anew, so it is never kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layer(u32);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The store, read-only.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// The store mounted at `root`; it may lack layers altogether.
    pub(crate) fn new(root: &Path) -> Store {
        Store {
            root: root.to_owned(),
        }
    }

    /// The folder of all layers.
    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join(STORE_LAYERS)
    }

    /// The folder of one layer.
    pub(crate) fn path(&self, layer: Layer) -> PathBuf {
        self.layers().join(layer.to_string())
    }

    /// The layer of this chain ID, if the store holds it.
    pub(crate) fn find(&self, chain: &ChainId) -> Option<Layer> {
        let link = fs::read_link(self.root.join(STORE_CHAINS).join(&chain.0)).ok()?;
        let number = link.strip_prefix("..").ok()?.strip_prefix(STORE_LAYERS);
        let layer = Layer(number.ok()?.to_str()?.parse().ok()?);
        self.path(layer).is_dir().then_some(layer)
    }
}
