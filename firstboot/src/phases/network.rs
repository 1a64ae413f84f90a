//! Network: the wired interface has an address, and one address is the machine's for good.
//!
//! Before: nothing is configured. After: networkd runs with our files, the ledger holds the cluster address, an
//! interface has it, and `/etc/hosts` and `resolv.conf` are written.
//!
//! Where no DHCP server answers, the machine draws an address. networkd asks the network first whether another
//! machine has it; if the address does not come, the next one is drawn.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use contract::seed::{Addressing, Interface, Seed};
use serde::Deserialize;

use crate::facts;
use crate::host::{Cmd, Host};
use crate::ledger::{self, Address, Identity};
use crate::machine::drawn;
use crate::machine::identity::{self, permanent_mac};
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::render::{names, networkd};
use crate::units;

/// What kubelet hands to pods.
pub const RESOLV_CONF: &str = "/run/seedbed/resolv.conf";
const NETWORKD: &str = "systemd-networkd.service";
const FOLDER: &str = "/run/systemd/network";
const CLUSTER_FILE: &str = "/run/systemd/network/40-seedbed-cluster.network";
const OTHER_FILE: &str = "/run/systemd/network/50-seedbed-other.network";

/// How many addresses were drawn in this boot, and the uptime in seconds when the last one was, or the wait began.
const DRAWN: &str = "/run/seedbed/drawn-addresses";
/// How long DHCP servers have to answer: a port of a switch may first listen for half a minute (IEEE 802.1D).
const DHCP: Duration = Duration::from_secs(60);
/// How long an address has to come: three probes and an announcement take up to nine seconds (RFC 5227).
const DETECTION: Duration = Duration::from_secs(20);

/// networkd runs with our files; on a first boot beside the making of partitions.
#[derive(Debug)]
pub struct Configuration;

impl Phase for Configuration {
    fn name(&self) -> &'static str {
        "network-config"
    }

    fn after(&self) -> &'static [&'static str] {
        // No address comes to a machine that is open.
        &["seed", "firewall"]
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
        let draw = match seed.network.addressing {
            Addressing::Auto => Some(0),
            _ => None,
        };
        configure(host, &seed, ledger::read::<Address>(host)?.as_ref(), draw)?;
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
            None => match choose(&seed, &held) {
                Some(address) => {
                    ledger::decide(host, address)?;
                    address.clone()
                }
                None => {
                    draw(host, &seed)?;
                    return Err(waiting(host, &seed));
                }
            },
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
            Addressing::Dhcp | Addressing::Auto => names::networkd_servers(
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
fn configure(
    host: &dyn Host,
    seed: &Seed,
    decided: Option<&Address>,
    draw: Option<u32>,
) -> Result<()> {
    host.create_dir(FOLDER, 0o755)?;
    let changed = match decided {
        None => {
            let drawn = draw
                .map(|attempt| candidate(host, seed, attempt))
                .transpose()?;
            let text = networkd::first(&seed.network, drawn.flatten());
            host.write_if_changed(CLUSTER_FILE, 0o644, text.as_bytes())?
        }
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

/// The address that this machine tries at an attempt. Without any hardware to tell it by, it is drawn anew each time.
fn candidate(host: &dyn Host, seed: &Seed, attempt: u32) -> Result<Option<IpAddr>> {
    let machine = match ledger::read::<Identity>(host)? {
        Some(identity) => identity.machine,
        None => match identity::digest(&identity::facts(host)?) {
            Some(digest) => digest,
            None => identity::hex(&host.random()?),
        },
    };
    Ok(drawn::candidate(seed.network.auto, &machine, attempt))
}

/// Draws an address if no DHCP server has answered for a while, and another if that one did not come.
fn draw(host: &dyn Host, seed: &Seed) -> Result<()> {
    if matches!(seed.network.addressing, Addressing::Static { .. }) {
        return Ok(());
    }
    let now = host.uptime().as_secs();
    let text = host.read_text(DRAWN)?.unwrap_or_default();
    let mut words = text.split_whitespace().map(str::parse::<u64>);
    let (Some(Ok(attempts)), Some(Ok(since))) = (words.next(), words.next()) else {
        let begun = matches!(seed.network.addressing, Addressing::Auto);
        return host.write(
            DRAWN,
            0o644,
            format!("{} {now}\n", u8::from(begun)).as_bytes(),
        );
    };
    let patience = if attempts == 0 { DHCP } else { DETECTION };
    if now < since + patience.as_secs() {
        return Ok(());
    }
    let attempt = u32::try_from(attempts).unwrap_or(u32::MAX);
    configure(host, seed, None, Some(attempt))?;
    host.write(DRAWN, 0o644, format!("{} {now}\n", attempts + 1).as_bytes())
}

/// The first address that an interface of the seed's choice holds.
fn choose<'a>(seed: &Seed, held: &'a [Address]) -> Option<&'a Address> {
    held.iter().find(|one| match &seed.network.addressing {
        Addressing::Static { address, .. } => one.address == address.address,
        Addressing::Dhcp | Addressing::Auto => match &seed.network.interface {
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
        Addressing::Auto => format!(
            "no address drawn from {} has come to {names} yet",
            seed.network.auto
        ),
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
