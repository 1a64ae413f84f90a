//! How machines find each other, beside what they do by themselves.

use crate::seed::subnet::Subnet;
use std::fmt;
use std::net::IpAddr;

/// The shortest prefix of an IPv4 range: 4,096 addresses are looked through.
pub const MIN_PREFIX_V4: u8 = 20;

/// The shortest prefix of an IPv6 range: as many.
pub const MIN_PREFIX_V6: u8 = 116;

/// Most peers of a seed.
pub const MAX_PEERS: usize = 256;

/// How machines find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Where machines are looked for that multicast does not reach.
    pub peers: Vec<Peer>,
    /// Whether machines call each other by multicast.
    pub multicast: bool,
}

/// Where to look for machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// At one address.
    Address(IpAddr),
    /// At all addresses that a DNS name has (A and AAAA).
    Name(String),
    /// At any address of a range.
    Range(Subnet),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => address.fmt(f),
            Peer::Name(name) => name.fmt(f),
            Peer::Range(range) => range.fmt(f),
        }
    }
}
