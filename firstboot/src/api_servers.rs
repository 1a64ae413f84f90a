//! Where API servers are, for the load balancer on this machine.
//!
//! The list is kept on STATE, so that a machine that starts finds them; the load balancer has a copy of its own.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use contract::paths::BACKENDS;

use crate::balancer::backends::Backends;
use crate::host::Host;
use crate::ledger::{self, Address, Role};

/// Where the list is kept.
pub const KEPT: &str = "/run/seedbed/state/api-servers.json";
/// The port of the API server itself.
pub const PORT: u16 = 6443;

/// Keeps the addresses, in order.
pub fn keep(host: &dyn Host, addresses: &[IpAddr]) -> Result<()> {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses.dedup();
    let json = serde_json::to_vec(&addresses).context("composing the list of API servers")?;
    host.write_if_changed(KEPT, 0o600, &json).map(drop)
}

/// The addresses that are kept.
pub fn kept(host: &dyn Host) -> Result<Vec<IpAddr>> {
    match host.read(KEPT)? {
        None => Ok(Vec::new()),
        Some(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("reading {KEPT}")),
    }
}

/// What the load balancer is told: all that are kept, and this machine's own if it has one.
pub fn document(host: &dyn Host, role: Role) -> Result<String> {
    let address: Address = ledger::decided(host)?;
    let own = (role == Role::ControlPlane).then_some(address.address);
    let at = |address: IpAddr| SocketAddr::from((address, PORT));
    let others = kept(host)?.into_iter().filter(|one| Some(*one) != own);
    let backends = Backends {
        backends: own.into_iter().chain(others).map(at).collect(),
        own: own.map(at),
    };
    backends
        .to_json()
        .context("composing the list of API servers")
}

/// Tells the load balancer, if there is anything new.
pub fn tell(host: &dyn Host, role: Role) -> Result<()> {
    let document = document(host, role)?;
    host.write_if_changed(BACKENDS, 0o644, document.as_bytes())
        .map(drop)
}
