//! The birth: what the machines of this site have agreed on, as the phases see it.
//!
//! [`crate::assembly`] reaches the agreement and [`crate::assembly::driver`] keeps it in [`MEMORY`], on STATE.

use anyhow::{Context, Result};
use contract::datagram::MachineId;
use contract::guid::Guid;

use crate::assembly::{Entry, Memory, Seat};
use crate::facts;
use crate::host::Host;
use crate::ledger::{self, ChannelKey, Epoch, Identity, Role};

/// What this machine has promised, voted for and learnt.
pub const MEMORY: &str = "/run/seedbed/state/assembly.json";
/// Why there is no birth yet, for people; one text, rewritten.
pub const WHY: &str = "/run/seedbed/assembly.txt";

/// That another cluster was born of the same seed, for people; while it is there, nobody is let in.
pub const SECOND: &str = "/run/seedbed/second-birth.txt";

/// The newest decision, and this machine's part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Counts attempts to found the cluster, from 1.
    pub epoch: u32,
    /// The cluster's identifier, as it was drawn.
    pub id: [u8; 16],
    /// The same as a GUID.
    pub cluster: String,
    /// The control plane.
    pub seats: Vec<Seat>,
    /// The machine that makes the cluster's authorities.
    pub initialiser: MachineId,
    /// SHA-256 of the authority's certificate, once the cluster is founded.
    pub authority: Option<[u8; 32]>,
    /// This machine, with the key that it has now.
    pub me: Seat,
}

impl Birth {
    /// The birth that `entry` tells of, as `me` sees it.
    pub fn new(entry: &Entry, me: Seat) -> Self {
        Birth {
            epoch: entry.epoch(),
            id: *entry.cluster(),
            cluster: Guid::derived(*entry.cluster()).to_string(),
            seats: entry.seats().to_vec(),
            initialiser: entry.initialiser(),
            authority: match entry {
                Entry::Founded { authority, .. } => Some(*authority),
                Entry::Named { .. } => None,
            },
            me,
        }
    }

    /// Whether this machine makes the authorities: it was named for that, and has lost nothing since.
    pub fn initialises(&self) -> bool {
        self.initialiser == self.me.machine && self.seats.contains(&self.me)
    }

    /// The entry of the ledger for work on this attempt.
    pub fn work(&self) -> Epoch {
        Epoch {
            version: 1,
            epoch: self.epoch,
            cluster: self.cluster.clone(),
        }
    }

    /// Whether what is on this machine's disks belongs to this attempt, and not to one that was given up.
    pub fn is_worked_on(&self, host: &dyn Host) -> Result<bool> {
        Ok(ledger::read::<Epoch>(host)?.is_some_and(|epoch| epoch == self.work()))
    }

    /// What this machine is to do, once that is certain. Before the founding, only a seat is, and only if the
    /// machine has lost nothing since it was named; after it, a machine comes back to its seat with a new key, too.
    pub fn role(&self) -> Option<Role> {
        let mut seats = self.seats.iter();
        match self.authority {
            None => self.seats.contains(&self.me).then_some(Role::ControlPlane),
            Some(_) if seats.any(|seat| seat.machine == self.me.machine) => {
                Some(Role::ControlPlane)
            }
            Some(_) => Some(Role::Worker),
        }
    }
}

/// What this machine has promised, voted for and learnt; nothing at its first start.
pub fn memory(host: &dyn Host) -> Result<Memory> {
    match host.read(MEMORY)? {
        None => Ok(Memory::default()),
        Some(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("reading {MEMORY}")),
    }
}

/// The birth, if the machines have agreed on one.
pub fn read(host: &dyn Host) -> Result<Option<Birth>> {
    let Some(identity) = ledger::read::<Identity>(host)? else {
        return Ok(None);
    };
    let Some(keys) = ledger::read::<ChannelKey>(host)? else {
        return Ok(None);
    };
    let me = Seat {
        machine: identity.machine_id()?,
        key: *keys.public.as_bytes(),
    };
    let birth = memory(host)?.entry().map(|entry| Birth::new(entry, me));
    // What the machine learnt of another founding before it was given a join seed is not its cluster's.
    let wanted = facts::seed(host)?.and_then(|seed| seed.cluster.id);
    Ok(birth.filter(|birth| wanted.is_none_or(|id| id.to_string() == birth.cluster)))
}

/// The birth, which the phase `assembly` has waited for.
pub fn decided(host: &dyn Host) -> Result<Birth> {
    read(host)?.context("the machines have not agreed yet")
}
