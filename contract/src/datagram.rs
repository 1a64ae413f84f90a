//! Sealed datagrams: how machines of one secret, and programs that know it, find each other over UDP port
//! [`crate::port::DISCOVERY`].
//!
//! | bytes | what | |
//! |---|---|---|
//! | 1 | version | [`VERSION`] |
//! | 16 | salt | random; drawn by each sender when it starts, and again every [`MAX_SEALED`] datagrams |
//! | 24 | nonce | random, for this datagram alone |
//! | 8 | mark | SipHash-2-4 over all of the above, little-endian |
//! | 64 n | sealed | XChaCha20-Poly1305 of the frame below; the 49 bytes above are its associated data |
//! | 16 | tag | of the same |
//!
//! The key is HKDF-SHA256 (RFC 5869) of the cluster secret with the salt; the mark's key is the same without a
//! salt. The mark lets a receiver drop a flood of garbage for the price of one short hash, before it derives a
//! key; what proves a datagram is the tag alone. Everything but the version looks random to a stranger, and
//! lengths tell no more than a multiple of 64.
//!
//! The frame: the payload's length (two bytes, little-endian), the [`Way`] (one byte), the payload, and zeros up
//! to a multiple of 64. The payload is a [`Payload`] in postcard's format 1. Reading is strict: each payload has
//! exactly one form.
//!
//! What is in a datagram is proven to come from somebody who knows the secret, once. It decides nothing: whoever
//! recorded a datagram can send it to a machine that has not heard it yet.

mod cipher;
pub mod endpoint;
mod frame;
mod recent;
mod window;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The version of datagrams that this program speaks.
pub const VERSION: u8 = 1;

/// The IPv4 group that machines call each other by: administratively scoped, local (RFC 2365, section 6.1).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 74, 46);

/// The IPv6 group: transient and link-local (RFC 4291, section 2.7).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0x5eed, 0x0bed);

/// Most bytes of a datagram: what fits into every IPv6 path without fragments (RFC 8200, section 5: 1,280, less
/// 40 of IPv6 and 8 of UDP).
pub const MAX_DATAGRAM: usize = 1232;

/// Datagrams that a sender seals with one salt.
pub const MAX_SEALED: u32 = 1 << 20;

/// Most bytes of an encoded payload.
pub const MAX_PAYLOAD: usize = frame::MAX_PAYLOAD;

/// Most bytes of [`Payload::Assembly`]: a payload less its kind, the addressee, and the length of the bytes.
pub const MAX_ASSEMBLY: usize = MAX_PAYLOAD - 1 - 17 - 2;

/// Most characters of a host name (a DNS label, RFC 1035, section 2.3.4).
pub const MAX_HOST_NAME: usize = 63;

/// Most bytes of a phase's text.
pub const MAX_PHASE: usize = 63;

/// Most addresses in a beacon.
pub const MAX_ADDRESSES: usize = 4;

/// Who a machine is: the 16 bytes of its machine id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MachineId(pub [u8; 16]);

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One life of a machine's disks: drawn when they are made, so that a wiped machine has another.
pub type Incarnation = [u8; 16];

/// What a machine does in the cluster; nothing of it before that is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// It runs the Kubernetes control plane.
    pub control_plane: bool,
    /// It is a member of etcd.
    pub etcd: bool,
    /// It runs pods of users.
    pub worker: bool,
    /// It has done all that it has to do for that.
    pub ready: bool,
    /// It came with a join seed, and takes no part in a birth.
    pub joins: bool,
}

/// What a machine says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// Who it is.
    pub machine: MachineId,
    /// Which life of its disks.
    pub incarnation: Incarnation,
    /// How often this incarnation has been started.
    pub boot: u32,
    /// Grows with every beacon of this boot; the sender's discovery sets it.
    pub sequence: u64,
    /// The public key (X25519) of its channel.
    pub key: [u8; 32],
    /// Its host name, at most [`MAX_HOST_NAME`] bytes.
    pub host_name: String,
    /// Its addresses, the best first, at most [`MAX_ADDRESSES`].
    pub addresses: Vec<IpAddr>,
    /// The last slot of the founding log that it knows decided, and the digest of what was decided there.
    pub decided: Option<(u32, [u8; 16])>,
    /// The cluster that it belongs to.
    pub cluster: Option<[u8; 16]>,
    /// What it does there.
    pub roles: Roles,
    /// What it is busy with, for people; at most [`MAX_PHASE`] bytes.
    pub phase: String,
    /// Its clock: seconds since 1970 (UTC).
    pub time: u64,
}

/// What is in a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// A machine says who it is.
    Beacon(Beacon),
    /// Somebody asks who is there; machines answer with a beacon.
    Probe,
    /// A message of the assembly protocol, which is opaque here.
    Assembly {
        /// Whom it is for; every machine if absent.
        to: Option<MachineId>,
        /// The message, at most [`MAX_ASSEMBLY`] bytes.
        bytes: Vec<u8>,
    },
}

/// How its sender sent a datagram. Who hears a machine by multicast needs no copies by unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To one address.
    Unicast,
    /// To a group.
    Multicast,
}

/// Why a payload cannot be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A part has more than its limit.
    #[error("{what} of a payload has {length} parts or bytes, but {most} are the most")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        most: usize,
    },
    /// A text would do harm on a console.
    #[error("{0} of a payload holds control characters")]
    ControlCharacters(&'static str),
    /// The bytes are no payload of this version, or not in their one form.
    #[error("the bytes are no payload; do both sides have the same version?")]
    Malformed,
}

impl Payload {
    /// The payload's one form in bytes, at most [`MAX_PAYLOAD`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, PayloadError> {
        self.check()?;
        let bytes = postcard::to_stdvec(self).map_err(|_| PayloadError::Malformed)?;
        at_most("the whole", bytes.len(), MAX_PAYLOAD)?;
        Ok(bytes)
    }

    /// Reads what [`Payload::to_bytes`] wrote, and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PayloadError> {
        at_most("the whole", bytes.len(), MAX_PAYLOAD)?;
        let (payload, rest) =
            postcard::take_from_bytes::<Payload>(bytes).map_err(|_| PayloadError::Malformed)?;
        // Numbers of variable length have longer forms, too, which nobody writes.
        if !rest.is_empty() || payload.to_bytes()? != bytes {
            return Err(PayloadError::Malformed);
        }
        Ok(payload)
    }

    fn check(&self) -> Result<(), PayloadError> {
        match self {
            Payload::Probe => Ok(()),
            Payload::Assembly { bytes, .. } => at_most("the message", bytes.len(), MAX_ASSEMBLY),
            Payload::Beacon(beacon) => {
                at_most("the addresses", beacon.addresses.len(), MAX_ADDRESSES)?;
                text("the host name", &beacon.host_name, MAX_HOST_NAME)?;
                text("the phase", &beacon.phase, MAX_PHASE)
            }
        }
    }
}

fn text(what: &'static str, text: &str, most: usize) -> Result<(), PayloadError> {
    if text.chars().any(char::is_control) {
        return Err(PayloadError::ControlCharacters(what));
    }
    at_most(what, text.len(), most)
}

fn at_most(what: &'static str, length: usize, most: usize) -> Result<(), PayloadError> {
    if length > most {
        return Err(PayloadError::TooLong { what, length, most });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
