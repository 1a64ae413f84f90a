//! The seed: one YAML file for a whole cluster, the same on every machine.
//!
//! [`SeedFile`](file::SeedFile) is the file as written; [`parse`] is the only way to a [`Seed`], so every
//! `Seed` makes sense. Where seeds are looked for is `firstboot`'s business.

mod arguments;
pub mod discovery;
pub mod file;
pub mod install;
pub mod join;
pub mod kubernetes;
pub mod subnet;
mod validate;

use crate::document::{self, Faults};
use crate::guid::Guid;
use crate::secret::Secret;
use crate::seed::discovery::Discovery;
use crate::seed::file::SeedFile;
use crate::seed::install::Install;
use crate::seed::kubernetes::Kubernetes;
use crate::seed::subnet::{InterfaceAddress, Subnet};
use std::fmt;
use std::net::IpAddr;

/// Characters of a cluster secret: 160 bits, five each (RFC 4648 base32, lower case).
pub const SECRET_LENGTH: usize = 32;

/// Bytes that a cluster secret is made of.
pub const SECRET_BYTES: usize = 20;

/// A validated seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Which cluster this is.
    pub cluster: Cluster,
    /// How many machines are ever powered on with this seed.
    pub expect: u32,
    /// How many of them run etcd and the control plane: odd, and at most `expect`.
    pub control_planes: u32,
    /// Addresses of machines, pods and services.
    pub network: Network,
    /// How machines find each other.
    pub discovery: Discovery,
    /// The host name's template; see [`Seed::hostname`].
    hostname: String,
    /// Timeouts of etcd.
    pub etcd: Etcd,
    /// Settings of Kubernetes.
    pub kubernetes: Kubernetes,
    /// NTP servers, by name or address.
    pub time_servers: Vec<String>,
    /// Whether and where the machine is to be installed.
    pub install: Option<Install>,
}

/// Which cluster a seed is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// A DNS label.
    pub name: String,
    /// What its machines know.
    pub secret: Secret,
    /// The id of the cluster to join: this is a join seed, and its machines take no part in a birth.
    pub id: Option<Guid>,
}

/// Addresses of machines, pods and services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The interface that carries the cluster's traffic; any wired one if absent.
    pub interface: Option<Interface>,
    /// How the machine gets its address.
    pub addressing: Addressing,
    /// Where it draws one from if nobody gives it any.
    pub auto: Subnet,
    /// Where pods get their addresses from.
    pub pods: Subnet,
    /// Where services get their addresses from.
    pub services: Subnet,
    /// Whether machines let in only what they need.
    pub firewall: bool,
}

/// How an interface is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// By its name; `*` and `?` stand for others.
    Name(String),
    /// By its hardware address.
    Mac([u8; 6]),
}

/// How the machine gets its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// From a DHCP server, or drawn where none answers.
    Dhcp,
    /// Drawn.
    Auto,
    /// From the seed.
    Static {
        /// The address and its network.
        address: InterfaceAddress,
        /// The router, in the same network.
        gateway: Option<IpAddr>,
        /// Name servers.
        dns: Vec<IpAddr>,
    },
}

/// Timeouts of etcd in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// Between two heartbeats.
    pub heartbeat_ms: u32,
    /// Without a heartbeat, before an election.
    pub election_ms: u32,
}

/// Reads and validates a seed; `name` stands in messages.
pub fn parse(name: &str, text: &str) -> Result<Seed, Faults> {
    validate::validate(&document::parse::<SeedFile>(name, text)?)
}

/// The JSON Schema of `seed.yaml`, for editors and the reference.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(SeedFile).to_value()
}

/// The secret's text for random bytes that the caller has drawn.
pub fn secret(random: &[u8; SECRET_BYTES]) -> Secret {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(SECRET_LENGTH);
    for group in random.chunks(5) {
        let bits = group
            .iter()
            .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for i in (0..8).rev() {
            text.push(char::from(
                ALPHABET[usize::from((bits >> (5 * i)) as u8 & 31)],
            ));
        }
    }
    Secret::new(text)
}

/// The text of a new seed for one machine, with comments that say what else there is. The caller draws the
/// random bytes of its secret.
pub fn new_text(name: &str, random: &[u8; SECRET_BYTES]) -> String {
    let secret = secret(random);
    format!(
        include_str!("seed/new.yaml.txt"),
        name = name,
        secret = secret.expose()
    )
}

impl Seed {
    /// Whether machines with this seed join a cluster that exists, and never found one.
    pub fn joins(&self) -> bool {
        self.cluster.id.is_some()
    }

    /// Whether both are of one cluster: the name and the secret are the same, and no id contradicts.
    pub fn is_of_the_same_cluster(&self, other: &Seed) -> bool {
        let (one, other) = (&self.cluster, &other.cluster);
        let contradict = one
            .id
            .zip(other.id)
            .is_some_and(|(one, other)| one != other);
        one.name == other.name && one.secret == other.secret && !contradict
    }

    /// The host name of the machine with this id, in which eight characters or more tell machines apart.
    pub fn hostname(&self, machine: &str) -> String {
        let short: String = machine.chars().take(8).collect();
        hostname(&self.hostname, &self.cluster.name, &short)
    }

    /// The seed with all its defaults spelled out, one setting a line, without the secret.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        let mut line =
            |key: &str, value: &dyn fmt::Display| text.push_str(&format!("{key:<32}{value}\n"));
        line("cluster.name", &self.cluster.name);
        line("cluster.secret", &"[redacted]");
        if let Some(id) = &self.cluster.id {
            line("cluster.id", id);
        }
        line("machines.expect", &self.expect);
        line("controlPlane.count", &self.control_planes);
        if let Some(interface) = &self.network.interface {
            line("network.interface", interface);
        }
        match &self.network.addressing {
            Addressing::Dhcp => line("network.dhcp", &true),
            Addressing::Auto => line("network.dhcp", &false),
            Addressing::Static {
                address,
                gateway,
                dns,
            } => {
                line("network.static.address", address);
                if let Some(gateway) = gateway {
                    line("network.static.gateway", gateway);
                }
                dns.iter()
                    .for_each(|server| line("network.static.dns", server));
            }
        }
        if !matches!(self.network.addressing, Addressing::Static { .. }) {
            line("network.auto", &self.network.auto);
        }
        line("network.podSubnet", &self.network.pods);
        line("network.serviceSubnet", &self.network.services);
        line("network.firewall", &self.network.firewall);
        line("discovery.multicast", &self.discovery.multicast);
        let peers = &self.discovery.peers;
        peers.iter().for_each(|peer| line("discovery.peers", peer));
        line("hostname", &self.hostname);
        line("etcd.heartbeat", &self.etcd.heartbeat_ms);
        line("etcd.election", &self.etcd.election_ms);
        self.kubernetes.explain(&mut line);
        self.time_servers
            .iter()
            .for_each(|server| line("time.servers", server));
        if let Some(install) = &self.install {
            install.explain(&mut line);
        }
        text
    }
}

fn hostname(template: &str, cluster: &str, machine: &str) -> String {
    template
        .replace("{cluster}", cluster)
        .replace("{machine}", machine)
}

impl Interface {
    fn parse(text: &str) -> Option<Self> {
        if text.contains(':') {
            let mut mac = [0u8; 6];
            let mut parts = text.split(':');
            for byte in &mut mac {
                let part = parts.next().filter(|part| part.len() == 2)?;
                let digits = part.bytes().all(|c| c.is_ascii_hexdigit());
                *byte = u8::from_str_radix(part, 16).ok().filter(|_| digits)?;
            }
            return parts.next().is_none().then_some(Interface::Mac(mac));
        }
        // IFNAMSIZ is 16, with the final zero; a name without `/`, white space and `!`, which negates.
        let known = |c: char| c.is_ascii_alphanumeric() || "._-*?".contains(c);
        let good = (1..=15).contains(&text.len()) && text.chars().all(known);
        good.then(|| Interface::Name(text.to_owned()))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interface::Name(name) => f.write_str(name),
            Interface::Mac([a, b, c, d, e, g]) => {
                write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
