//! The other machines of the site, as they tell of themselves, and how one of them is asked.
//!
//! The list is a file that [`crate::assembly::driver`] rewrites as machines are heard of and fall silent.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, anyhow};
use contract::datagram::MachineId;
use contract::peer::keys::PublicKey;
use contract::peer::{Request, Response};
use serde::{Deserialize, Serialize};

use crate::birth::Birth;
use crate::facts;
use crate::host::{Call, Host};
use crate::ledger::{self, ChannelKey};
use crate::phase::{Outcome, Trouble};

/// Where the list is.
pub const NEIGHBOURS: &str = "/run/seedbed/neighbours.json";

/// A machine that was heard of lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Neighbour {
    /// Which machine it is.
    pub machine: MachineId,
    /// The key of its channel.
    pub key: PublicKey,
    /// Its host name.
    pub host_name: String,
    /// Its cluster address.
    pub address: IpAddr,
    /// Whether it has done every phase.
    pub ready: bool,
}

/// Every machine that was heard of lately.
pub fn read(host: &dyn Host) -> Result<Vec<Neighbour>> {
    match host.read(NEIGHBOURS)? {
        None => Ok(Vec::new()),
        Some(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("reading {NEIGHBOURS}"))
        }
    }
}

/// Asks one machine.
pub fn ask(host: &dyn Host, whom: &Neighbour, request: &Request) -> Result<Response> {
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    let own: ChannelKey = ledger::decided(host)?;
    host.call(&Call {
        address: SocketAddr::from((whom.address, contract::port::PEER)),
        secret: seed.cluster.secret,
        own: own.private,
        theirs: whom.key,
        request: request.clone(),
    })
    .with_context(|| format!("asking {} at {}", whom.host_name, whom.address))
}

/// Asks the other machines of the control plane in turn, until one answers more than that it is too early.
///
/// Before the founding only the machines that were named are asked: their keys are known from the birth. After it, one
/// that came back with a new key is, too: the fingerprint of the authority, which the birth also tells, finds out an
/// impostor.
pub fn ask_control_plane(host: &dyn Host, birth: &Birth, request: &Request) -> Outcome<Response> {
    let neighbours = read(host)?;
    let seat = |neighbour: &&Neighbour| {
        let mut seats = birth.seats.iter().filter(|seat| **seat != birth.me);
        seats.any(|seat| {
            let same = seat.key == *neighbour.key.as_bytes() || birth.authority.is_some();
            seat.machine == neighbour.machine && same
        })
    };
    let mut refused = None;
    let mut why = String::from("no other machine of the control plane is heard of");
    for neighbour in neighbours.iter().filter(seat) {
        match ask(host, neighbour, request) {
            Ok(Response::NotYet(reason)) => why = format!("{}: {reason}", neighbour.host_name),
            Ok(Response::Refused(reason)) => refused = Some((neighbour.host_name.clone(), reason)),
            Ok(Response::Barred(reason)) => return Err(Trouble::Permanent(anyhow!("{reason}"))),
            Ok(response) => return Ok(response),
            Err(error) => why = format!("{error:#}"),
        }
    }
    match refused {
        Some((name, reason)) => Err(Trouble::Transient(anyhow!("{name} refuses: {reason}"))),
        None => Err(Trouble::Waiting(why)),
    }
}
