//! The ledger: what this machine has decided, on STATE, before the first effect that relies on it.
//!
//! Each entry is a file that is written once, at once, and never again; whoever wants to write another value
//! is told so. What is *observed* is never in it.
//!
//! | entry | decides |
//! |---|---|
//! | `seed.yaml` | the seed that founded this machine's membership; until it is a member, a join seed may take its place |
//! | `identity.json` | who the machine is, its machine-id, host name and cluster |
//! | `channel.json` | the keys by which other machines know it |
//! | `address.json` | its cluster address |
//! | `epoch.json` | which attempt to found the cluster everything below belongs to |
//! | `etcd.json` | that it is a member of etcd: the point of no return |
//! | `membership.json` | that the cluster is founded, and what the machine is in it |
//!
//! The votes about the birth are beside it, in `assembly.json` ([`crate::birth`]): they do change.

use anyhow::{Context, Result, bail, ensure};
use contract::datagram::MachineId;
use contract::peer::keys::{PrivateKey, PublicKey};
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
    /// The cluster's name.
    pub cluster: String,
}

impl Identity {
    /// The name under which every machine finds an API server.
    pub fn endpoint(&self) -> String {
        format!("api.{}.internal", self.cluster)
    }

    /// The machine among those of its site: the first half of its digest.
    pub fn machine_id(&self) -> Result<MachineId> {
        let mut bytes = [0; 16];
        ensure!(
            self.machine.len() >= 32,
            "the machine's digest is too short"
        );
        let digits = self.machine.as_bytes().chunks_exact(2);
        for (byte, two) in bytes.iter_mut().zip(digits) {
            let two =
                std::str::from_utf8(two).context("the machine's digest is not hexadecimal")?;
            *byte =
                u8::from_str_radix(two, 16).context("the machine's digest is not hexadecimal")?;
        }
        Ok(MachineId(bytes))
    }
}

/// The keys of the machine's channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelKey {
    /// Version of this document: 1.
    pub version: u32,
    /// Known to the machine alone.
    pub private: PrivateKey,
    /// What others know it by.
    pub public: PublicKey,
}

/// What a machine does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A seat of the control plane: API server, controllers, a member of etcd.
    ControlPlane,
    /// Runs pods only.
    Worker,
}

/// The attempt to found the cluster that this machine works for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Epoch {
    /// Version of this document: 1.
    pub version: u32,
    /// Counts attempts, from 1.
    pub epoch: u32,
    /// The identifier of the cluster that it would found.
    pub cluster: String,
}

/// Membership in a cluster that is founded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Membership {
    /// Version of this document: 1.
    pub version: u32,
    /// What the machine is in it.
    pub role: Role,
    /// The cluster's identifier.
    pub cluster: String,
    /// SHA-256 of the certificate of the cluster's authority, in hexadecimal.
    pub authority: String,
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
    /// The members that it is started with, as `--initial-cluster` wants them.
    pub initial_cluster: String,
    /// Whether these members found etcd together, and it is no later member.
    pub founds: bool,
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

impl Entry for ChannelKey {
    const NAME: &'static str = "channel.json";
}

impl Entry for Epoch {
    const NAME: &'static str = "epoch.json";
}

impl Entry for Membership {
    const NAME: &'static str = "membership.json";
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

/// Takes a decision back. Only an attempt to found the cluster that was given up lets that happen, and, of membership in
/// etcd, the loss of its data.
pub fn forget<E: Entry>(host: &dyn Host) -> Result<()> {
    host.remove(&format!("{FOLDER}/{}", E::NAME))
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

/// Takes a join seed in place of the founding seed of the same cluster. Only a machine that is no member may: what it
/// has promised and voted stays, and it votes for nothing any more.
pub fn replace_seed(host: &dyn Host, text: &str) -> Result<()> {
    if read::<Membership>(host)?.is_some() {
        bail!("this machine is a member of its cluster, and keeps the seed that it came with");
    }
    host.write(&seed_path(), 0o600, text.as_bytes())
}

fn seed_path() -> String {
    format!("{FOLDER}/{}", contract::paths::SEED_FILE)
}
