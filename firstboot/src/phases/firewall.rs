//! Firewall: what gets in to this machine is what its role needs.
//!
//! Before: everything does. After `firewall`, before any address comes to an interface: only what a machine of
//! unknown role needs. After `ports`: what its role needs. The cluster's nodes are added as [`crate::agent`] sees them.

use std::net::IpAddr;
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::facts;
use crate::host::{Cmd, Host};
use crate::ledger::Role;
use crate::phase::{Outcome, Phase, State, done_if};
use crate::phases::assembly;
use crate::render::firewall::{Firewall, table};

/// The table that is loaded; gone at the next boot, as the kernel's is.
const LOADED: &str = "/run/seedbed/host.nft";
/// The cluster's nodes that were seen in this boot, one address a line.
const NODES: &str = "/run/seedbed/nodes";

/// Phases and [`crate::agent`] run beside each other; the file says what was loaded last.
static LOADING: Mutex<()> = Mutex::new(());

/// The machine is closed.
#[derive(Debug)]
pub struct FirewallPhase;

impl Phase for FirewallPhase {
    fn name(&self) -> &'static str {
        "firewall"
    }

    fn after(&self) -> &'static [&'static str] {
        &["seed"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        Ok(match wanted(host, None)?.is_none() || host.exists(LOADED) {
            true => State::Done,
            false => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        Ok(load(host, None)?)
    }
}

/// What the machine's role needs is open.
#[derive(Debug)]
pub struct Ports;

impl Phase for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }

    fn after(&self) -> &'static [&'static str] {
        &["assembly", "firewall"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let role = assembly::role(host)?;
        let loaded = host.read_text(LOADED)?;
        Ok(match wanted(host, role)? {
            None => State::Done,
            Some(table) => done_if(
                loaded.as_ref() == Some(&table),
                "what the machine's role needs is not open",
            ),
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        Ok(load(host, assembly::role(host)?)?)
    }
}

/// Lets these nodes in from now on, in place of those before.
pub fn follow(host: &dyn Host, role: Role, nodes: &[IpAddr]) -> Result<()> {
    let mut lines: Vec<String> = nodes.iter().map(|node| format!("{node}\n")).collect();
    lines.sort_unstable();
    lines.dedup();
    host.write_if_changed(NODES, 0o644, lines.concat().as_bytes())?;
    load(host, Some(role))
}

/// The table that there is to be; none if the seed wants none.
fn wanted(host: &dyn Host, role: Option<Role>) -> Result<Option<String>> {
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    if !seed.network.firewall {
        return Ok(None);
    }
    let nodes = host.read_text(NODES)?.unwrap_or_default();
    Ok(Some(table(&Firewall {
        role,
        pods: seed.network.pods,
        node_ports: seed.kubernetes.node_ports.clone(),
        nodes: nodes.lines().filter_map(|line| line.parse().ok()).collect(),
    })))
}

/// Loads the table unless it is there.
fn load(host: &dyn Host, role: Option<Role>) -> Result<()> {
    let _turn = LOADING.lock();
    let Some(table) = wanted(host, role)? else {
        return Ok(());
    };
    if host.read_text(LOADED)?.as_ref() == Some(&table) {
        return Ok(());
    }
    let loading = format!("{LOADED}.loading");
    host.write(&loading, 0o644, table.as_bytes())?;
    host.run(&Cmd::new("/usr/sbin/nft").args(["-f", &loading]))?;
    host.copy(&loading, LOADED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phases::tests::{SEED, machine};

    #[test]
    fn nodes_come_and_go_and_nothing_is_loaded_twice() {
        let host = machine();
        host.put(facts::FOUND_SEED, SEED);
        let loads = || {
            let effects = host.effects();
            let loads = effects.iter().filter(|effect| effect.contains("nft -f"));
            loads.count()
        };
        let nodes = ["10.0.0.2", "fd00::2"].map(|text| text.parse().unwrap());
        FirewallPhase.apply(&host).unwrap();
        assert_eq!(loads(), 1);
        for _ in 0..3 {
            follow(&host, Role::Worker, &nodes).unwrap();
        }
        assert_eq!(loads(), 1);
        let text = host.text(LOADED).unwrap();
        assert!(text.contains("{ 10.0.0.2 }") && text.contains("{ fd00::2 }"));
        follow(&host, Role::Worker, &nodes[..1]).unwrap();
        assert_eq!(loads(), 1);
        assert!(!host.text(LOADED).unwrap().contains("fd00::2"));
    }
}
