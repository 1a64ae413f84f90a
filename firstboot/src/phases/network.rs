//! Network: the wired interface has an address, and one address is the machine's for good.
//!
//! Before: nothing is configured. After: networkd runs with our files, the ledger holds the cluster address, an
//! interface has it, and `/etc/hosts` and `resolv.conf` are written.

use std::net::IpAddr;

use anyhow::{Context, Result};
use contract::seed::{Addressing, Interface, Seed};
use serde::Deserialize;

use crate::facts;
use crate::host::{Cmd, Host};
use crate::ledger::{self, Address, Identity};
use crate::machine::identity::permanent_mac;
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::render::{names, networkd};
use crate::units;

/// What kubelet hands to pods.
pub const RESOLV_CONF: &str = "/run/seedbed/resolv.conf";
const NETWORKD: &str = "systemd-networkd.service";
const FOLDER: &str = "/run/systemd/network";
const CLUSTER_FILE: &str = "/run/systemd/network/40-seedbed-cluster.network";
const OTHER_FILE: &str = "/run/systemd/network/50-seedbed-other.network";

/// networkd runs with our files; on a first boot beside the making of partitions.
#[derive(Debug)]
pub struct Configuration;

impl Phase for Configuration {
    fn name(&self) -> &'static str {
        "network-config"
    }

    fn after(&self) -> &'static [&'static str] {
        &["seed"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let there = host.exists(CLUSTER_FILE);
        Ok(match there && units::is_running(host, NETWORKD)? {
            true => State::Done,
            false => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let seed = facts::seed(host)?.context("there is no seed yet")?;
        configure(host, &seed, ledger::read::<Address>(host)?.as_ref())?;
        if !units::is_running(host, NETWORKD)? {
            return Err(Trouble::Waiting(String::from(
                "systemd-networkd does not run yet",
            )));
        }
        Ok(())
    }
}

/// The cluster address is decided, and an interface has it.
#[derive(Debug)]
pub struct NetworkPhase;

impl Phase for NetworkPhase {
    fn name(&self) -> &'static str {
        "network"
    }

    fn after(&self) -> &'static [&'static str] {
        &["identity", "network-config"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let Some(address) = ledger::read::<Address>(host)? else {
            return Ok(State::Absent);
        };
        let here = addresses(host)?
            .iter()
            .any(|held| held.address == address.address);
        if !here {
            return Ok(State::Partial(format!(
                "no interface has {}",
                address.address
            )));
        }
        let hosts = host.read_text("/etc/hosts")?.unwrap_or_default();
        Ok(crate::phase::done_if(
            hosts == hosts_of(host)? && host.exists(RESOLV_CONF),
            "/etc/hosts and resolv.conf are not written",
        ))
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let seed = facts::seed(host)?.context("there is no seed yet")?;
        let decided = ledger::read::<Address>(host)?;
        let held = addresses(host)?;
        let address = match decided {
            Some(address) => address,
            None => {
                let address = choose(&seed, &held).ok_or_else(|| waiting(host, &seed))?;
                ledger::decide(host, address)?;
                address.clone()
            }
        };
        if !held.iter().any(|one| one.address == address.address) {
            return Err(Trouble::Waiting(format!(
                "no interface has {} yet",
                address.address
            )));
        }
        host.write_if_changed("/etc/hosts", 0o644, hosts_of(host)?.as_bytes())?;
        let servers = match &seed.network.addressing {
            Addressing::Static { dns, .. } => dns.clone(),
            Addressing::Dhcp => names::networkd_servers(
                &host
                    .read_text("/run/systemd/netif/state")?
                    .unwrap_or_default(),
            ),
        };
        host.write_if_changed(RESOLV_CONF, 0o644, names::resolv_conf(&servers).as_bytes())?;
        Ok(host.symlink(RESOLV_CONF, "/etc/resolv.conf")?)
    }
}

fn hosts_of(host: &dyn Host) -> Result<String> {
    let identity: Identity = ledger::decided(host)?;
    let address: Address = ledger::decided(host)?;
    Ok(names::hosts(
        &identity.host_name,
        address.address,
        &identity.endpoint(),
    ))
}

/// Renders networkd's files and makes it read them.
fn configure(host: &dyn Host, seed: &Seed, decided: Option<&Address>) -> Result<()> {
    host.create_dir(FOLDER, 0o755)?;
    let changed = match decided {
        None => host.write_if_changed(
            CLUSTER_FILE,
            0o644,
            networkd::first(&seed.network).as_bytes(),
        )?,
        Some(address) => {
            let text = networkd::decided(&seed.network, address);
            let first = host.write_if_changed(CLUSTER_FILE, 0o644, text.as_bytes())?;
            host.write_if_changed(OTHER_FILE, 0o644, networkd::others().as_bytes())? || first
        }
    };
    match (units::is_running(host, NETWORKD)?, changed) {
        (false, _) => units::start(host, NETWORKD),
        (true, true) => host
            .run(&Cmd::new("/usr/bin/networkctl").arg("reload"))
            .map(|_| ()),
        (true, false) => Ok(()),
    }
}

/// The first address that an interface of the seed's choice holds.
fn choose<'a>(seed: &Seed, held: &'a [Address]) -> Option<&'a Address> {
    held.iter().find(|one| match &seed.network.addressing {
        Addressing::Static { address, .. } => one.address == address.address,
        Addressing::Dhcp => match &seed.network.interface {
            Some(mac @ Interface::Mac(_)) => one.mac == mac.to_string(),
            _ => true,
        },
    })
}

fn waiting(host: &dyn Host, seed: &Seed) -> Trouble {
    let interfaces = host.list("/sys/class/net").unwrap_or_default();
    let wired: Vec<&String> = interfaces
        .iter()
        .filter(|name| permanent_mac(host, name).is_ok_and(|mac| mac.is_some()))
        .collect();
    if wired.is_empty() {
        return Trouble::Waiting(String::from("this machine shows no wired interface yet"));
    }
    let names = wired
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    Trouble::Waiting(match &seed.network.addressing {
        Addressing::Dhcp => format!("no DHCP server has answered on {names} yet"),
        Addressing::Static { address, .. } => format!("none of {names} has {address} yet"),
    })
}

#[derive(Deserialize)]
struct Link {
    /// Filtered links are empty objects.
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Held>,
}

#[derive(Deserialize)]
struct Held {
    local: Option<IpAddr>,
    prefixlen: Option<u8>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    tentative: bool,
}

/// Every global address of a wired interface; link-local ones are none that kubelet takes.
fn addresses(host: &dyn Host) -> Result<Vec<Address>> {
    let output = host.run(&Cmd::new("/usr/bin/ip").args(["-json", "address", "show", "up"]))?;
    let links: Vec<Link> = match output.stdout.trim() {
        "" => Vec::new(),
        text => serde_json::from_str(text).context("reading the output of ip -json address")?,
    };
    let mut addresses = Vec::new();
    for link in links {
        let Some(mac) = permanent_mac(host, &link.ifname)? else {
            continue;
        };
        for held in link.addr_info {
            if let (Some(address), Some(prefix)) = (held.local, held.prefixlen)
                && held.scope == "global"
                && !held.tentative
            {
                addresses.push(Address {
                    version: 1,
                    address,
                    prefix,
                    mac: mac.clone(),
                });
            }
        }
    }
    // IPv4 first: the pod network is.
    addresses.sort_by_key(|held| held.address.is_ipv6());
    Ok(addresses)
}
