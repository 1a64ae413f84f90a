//! What the log says. An entry stands for itself, so that a machine that was away learns the newest one alone.

use contract::datagram::MachineId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A machine that is named for the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seat {
    /// Which machine it is.
    pub machine: MachineId,
    /// The public key of its channel. A machine that lost its disk has another one, and no seat.
    pub key: [u8; 32],
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Entry {
    /// These machines are to found the cluster. In slot `s` its epoch is `s + 1`; what an earlier epoch made is void.
    Named {
        /// Counts attempts to found, from 1.
        epoch: u32,
        /// The cluster's identifier, drawn at random for each epoch.
        cluster: [u8; 16],
        /// The control plane, in the order of machines.
        seats: Vec<Seat>,
        /// The one of them that makes the certificate authority and starts etcd.
        initialiser: MachineId,
    },
    /// The cluster exists. This is the end of the log.
    Founded {
        /// Which attempt succeeded.
        epoch: u32,
        /// The cluster's identifier.
        cluster: [u8; 16],
        /// The control plane, in the order of machines.
        seats: Vec<Seat>,
        /// The one of them that made the authority.
        initialiser: MachineId,
        /// SHA-256 fingerprint of the cluster's certificate authority.
        authority: [u8; 32],
    },
}

impl Entry {
    /// Which attempt to found this is about, from 1.
    pub fn epoch(&self) -> u32 {
        match self {
            Self::Named { epoch, .. } | Self::Founded { epoch, .. } => *epoch,
        }
    }

    /// The identifier of the cluster that this is about.
    pub fn cluster(&self) -> &[u8; 16] {
        match self {
            Self::Named { cluster, .. } | Self::Founded { cluster, .. } => cluster,
        }
    }

    /// The control plane, in the order of machines.
    pub fn seats(&self) -> &[Seat] {
        match self {
            Self::Named { seats, .. } | Self::Founded { seats, .. } => seats,
        }
    }

    /// The machine that makes the certificate authority.
    pub fn initialiser(&self) -> MachineId {
        match self {
            Self::Named { initialiser, .. } | Self::Founded { initialiser, .. } => *initialiser,
        }
    }

    /// The key that the initialiser had when it was named. `None` for an entry whose initialiser has no seat,
    /// which no machine accepts.
    pub fn initialiser_key(&self) -> Option<&[u8; 32]> {
        let initialiser = self.initialiser();
        self.seats()
            .iter()
            .find(|seat| seat.machine == initialiser)
            .map(|seat| &seat.key)
    }

    /// Whether this ends the log.
    pub fn is_founded(&self) -> bool {
        matches!(self, Self::Founded { .. })
    }

    /// The entry that says that what this one names exists, under the authority with this fingerprint.
    pub fn founded(&self, authority: [u8; 32]) -> Self {
        Self::Founded {
            epoch: self.epoch(),
            cluster: *self.cluster(),
            seats: self.seats().to_vec(),
            initialiser: self.initialiser(),
            authority,
        }
    }

    /// Whether this may be in `slot` at all: its epoch is the one of that slot, it has `seats` seats in order,
    /// each machine once, and the initialiser has one of them.
    pub fn fits(&self, slot: u32, seats: usize) -> bool {
        let epoch = match self {
            Self::Named { epoch, .. } => epoch.checked_sub(1),
            Self::Founded { epoch, .. } => Some(*epoch).filter(|&epoch| epoch > 0),
        };
        epoch == Some(slot)
            && self.seats().len() == seats
            && self.seats().is_sorted_by(|a, b| a.machine < b.machine)
            && self.initialiser_key().is_some()
    }

    /// Whether this may come right after `before`, the entry of the slot before, or `None` for the first slot.
    /// A replacement is another cluster; a founding is of exactly what was named.
    pub fn follows(&self, before: Option<&Entry>) -> bool {
        match (before, self) {
            (None, Self::Named { .. }) => true,
            (Some(Self::Named { cluster, .. }), Self::Named { cluster: next, .. }) => {
                cluster != next
            }
            (Some(before @ Self::Named { .. }), Self::Founded { authority, .. }) => {
                *self == before.founded(*authority)
            }
            (None, Self::Founded { .. }) | (Some(Self::Founded { .. }), _) => false,
        }
    }

    /// The first half of a SHA-256 digest over all that it says; equal digests mean equal entries.
    pub fn digest(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(self.epoch().to_le_bytes());
        hash.update(self.cluster());
        hash.update(self.initialiser().0);
        for seat in self.seats() {
            hash.update(seat.machine.0);
            hash.update(seat.key);
        }
        if let Self::Founded { authority, .. } = self {
            hash.update(b"founded");
            hash.update(authority);
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        digest
    }
}
