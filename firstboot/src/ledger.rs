//! The ledger: what this machine has decided, on STATE, before the first effect that relies on it.
//!
//! Each entry is a file that is written once, at once, and never again; whoever wants to write another value
//! is told so. What is *observed* is never in it.
//!
//! | entry | decides |
//! |---|---|
//! | `seed.yaml` | the seed that founded this machine's membership |
//! | `identity.json` | who the machine is, its machine-id, host name, role and cluster |
//! | `address.json` | its cluster address |
//! | `etcd.json` | that it is a member of etcd: the point of no return |

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::host::Host;

/// Where the entries are.
pub const FOLDER: &str = "/run/seedbed/state/ledger";

/// Who the machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// Version of this document: 1.
    pub version: u32,
    /// Digest over the machine's hardware when it first came up.
    pub machine: String,
    /// systemd's machine-id.
    pub machine_id: String,
    /// Drawn when STATE was made; DATA carries it too.
    pub incarnation: String,
    /// The host name and node name.
    pub host_name: String,
    /// What the machine does in its cluster.
    pub role: Role,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's identifier.
    pub cluster_id: String,
}

/// What a machine does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Creates the cluster: first control plane, first etcd member.
    Founder,
}

/// The machine's cluster address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Address {
    /// Version of this document: 1.
    pub version: u32,
    /// The address itself.
    pub address: std::net::IpAddr,
    /// Length of its network's prefix.
    pub prefix: u8,
    /// Permanent hardware address of the interface that holds it.
    pub mac: String,
}

/// Membership in etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EtcdMember {
    /// Version of this document: 1.
    pub version: u32,
    /// The member's name.
    pub name: String,
    /// The cluster token that it was started with.
    pub token: String,
}

/// A kind of entry.
pub trait Entry: Serialize + DeserializeOwned + PartialEq {
    /// Its file name.
    const NAME: &'static str;
}

impl Entry for Identity {
    const NAME: &'static str = "identity.json";
}

impl Entry for Address {
    const NAME: &'static str = "address.json";
}

impl Entry for EtcdMember {
    const NAME: &'static str = "etcd.json";
}

/// The entry, if it was decided.
pub fn read<E: Entry>(host: &dyn Host) -> Result<Option<E>> {
    let path = format!("{FOLDER}/{}", E::NAME);
    let Some(bytes) = host.read(&path)? else {
        return Ok(None);
    };
    let entry =
        serde_json::from_slice(&bytes).with_context(|| format!("reading ledger entry {path}"))?;
    Ok(Some(entry))
}

/// The entry, which an earlier phase has decided.
pub fn decided<E: Entry>(host: &dyn Host) -> Result<E> {
    read(host)?.with_context(|| format!("the ledger has no {} yet", E::NAME))
}

/// Decides. The same value again is fine; another one is refused.
pub fn decide<E: Entry>(host: &dyn Host, entry: &E) -> Result<()> {
    match read::<E>(host)? {
        Some(old) if old == *entry => return Ok(()),
        Some(_) => bail!(
            "the ledger has another {} already, and entries are never rewritten",
            E::NAME
        ),
        None => {}
    }
    let mut text = serde_json::to_string_pretty(entry)
        .with_context(|| format!("composing ledger entry {}", E::NAME))?;
    text.push('\n');
    host.create_dir(FOLDER, 0o700)?;
    host.write(&format!("{FOLDER}/{}", E::NAME), 0o600, text.as_bytes())
}

/// The founding seed's text, if one was accepted.
pub fn seed(host: &dyn Host) -> Result<Option<String>> {
    host.read_text(&seed_path())
}

/// Accepts the founding seed.
pub fn accept_seed(host: &dyn Host, text: &str) -> Result<()> {
    match seed(host)? {
        Some(old) if old == text => Ok(()),
        Some(_) => bail!("the ledger has a founding seed already, and entries are never rewritten"),
        None => {
            host.create_dir(FOLDER, 0o700)?;
            host.write(&seed_path(), 0o600, text.as_bytes())
        }
    }
}

fn seed_path() -> String {
    format!("{FOLDER}/{}", contract::paths::SEED_FILE)
}
