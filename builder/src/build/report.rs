//! What a build made, for people and programs.

use crate::progress::size;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The result of one build.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The profile's name.
    pub profile: String,
    /// The architecture.
    pub arch: String,
    /// Whether an earlier build had written all of it, from the same inputs.
    pub unchanged: bool,
    /// The remote store that all of it came from, if it was not built here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<String>,
    /// Files written, each with its SHA-256.
    pub outputs: BTreeMap<PathBuf, String>,
    /// Root hash of the operating system.
    pub root_hash: String,
    /// Root hash of the image store.
    pub store_hash: String,
    /// Bytes by part: `root`, `store`, `kernel`, `initrd`, `esp`; of the files in the store `storeBlobs` and
    /// `storeLayers`.
    pub bytes: BTreeMap<String, u64>,
    /// Seconds by stage, in order.
    pub seconds: Vec<(String, f64)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self
            .bytes
            .iter()
            .map(|(part, bytes)| format!("{part} {}", size(*bytes)))
            .collect();
        writeln!(
            f,
            "{} for {}: {}",
            self.profile,
            self.arch,
            parts.join(", ")
        )?;
        let stages: Vec<String> = self
            .seconds
            .iter()
            .map(|(stage, took)| format!("{stage} {took:.1} s"))
            .collect();
        if let Some(place) = &self.taken_from {
            writeln!(f, "not built here: taken from remote store {place}")?;
        }
        writeln!(
            f,
            "{}took {:.1} s: {}",
            if self.unchanged { "unchanged; " } else { "" },
            self.seconds.iter().map(|(_, took)| took).sum::<f64>(),
            stages.join(", ")
        )?;
        for (path, digest) in &self.outputs {
            writeln!(f, "{digest}  {}", path.display())?;
        }
        Ok(())
    }
}
