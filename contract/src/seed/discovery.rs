//! How machines find each other, beside what they do by themselves.

use crate::seed::subnet::{Subnet, SubnetError};
use crate::seed::validate::{is_host, is_link_local};
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

/// Reads one of `discovery.peers`; an error is its message and hint.
pub(super) fn peer(text: &str) -> Result<Peer, (String, String)> {
    if text.contains('/') {
        let range: Subnet = text.parse().map_err(|error: SubnetError| {
            let hint = match &error {
                SubnetError::HostBits { network, .. } => format!("write {network}"),
                _ => "write a range as 192.168.8.0/24".to_owned(),
            };
            (error.to_string(), hint)
        })?;
        let least = if range.is_v4() {
            MIN_PREFIX_V4
        } else {
            MIN_PREFIX_V6
        };
        if range.prefix() < least {
            let message = format!("{range} is too large to look through");
            return Err((
                message,
                format!("give ranges of /{least} or less, or names"),
            ));
        }
        check_peer(text, range.address())?;
        return Ok(Peer::Range(range));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        check_peer(text, address)?;
        return Ok(Peer::Address(address));
    }
    if is_host(text) {
        return Ok(Peer::Name(text.to_owned()));
    }
    Err((
        format!("{text:?} is neither an address nor a DNS name nor a range"),
        "write it as 192.168.8.10, nodes.plant.example or 192.168.8.0/24, without a port".into(),
    ))
}

/// Whether a machine can be at this address, seen from another one.
fn check_peer(text: &str, address: IpAddr) -> Result<(), (String, String)> {
    let reason = if address.is_multicast() {
        "a group of machines; multicast needs no setting"
    } else if address.is_loopback() || address.is_unspecified() {
        "no address that other machines have"
    } else if is_link_local(address) {
        "good on one wire only, and its meaning depends on the interface"
    } else {
        return Ok(());
    };
    let hint = "give an address that is routed, or a DNS name";
    Err((format!("{text} is {reason}"), hint.into()))
}
