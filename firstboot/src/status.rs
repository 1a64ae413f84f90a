//! The status document: the phases that [`crate::service`] publishes, and what can be seen of the machine now.
//!
//! [`look`] asks and reads, for two seconds at most; [`document`] makes the document of that, and has no effect.

pub mod look;
pub mod text;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use contract::paths::STATUS;
use contract::status::{Certificate, Check, Clock, Etcd, Health, Known, Removed, Role, Status};

use crate::etcd::Member;
use crate::etcd::standing::Standing;
use crate::host::Host;
use crate::neighbours::Neighbour;
use crate::nodes::Nodes;

/// A list of nodes that is older than this says nothing about now. It is renewed every five seconds, or every fifteen
/// when the API server hardly answers.
const FRESH: Duration = Duration::from_secs(30);

/// Most machines that a document names, so that it fits into an answer.
const MOST: usize = 2000;

const DAY: i64 = 24 * 3600;

/// What can be seen of a machine at one moment.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Time since power-on.
    pub uptime: Duration,
    /// Seconds since 1970.
    pub now: u64,
    /// Who the machine is among those of its site.
    pub machine: Option<String>,
    /// What it does, once that is certain.
    pub role: Option<Role>,
    /// What it runs from.
    pub image: Option<contract::status::Image>,
    /// Whether the API server is ready; asked once there is a role.
    pub api_server: Option<Result<(), String>>,
    /// Whether etcd is healthy; asked on control planes.
    pub etcd_health: Option<Result<(), String>>,
    /// How this machine's member of etcd stands.
    pub etcd: Option<Standing>,
    /// Every member of etcd.
    pub members: Vec<Member>,
    /// The cluster's nodes.
    pub nodes: Nodes,
    /// Machines that were heard of lately.
    pub neighbours: Vec<Neighbour>,
    /// The host names of the seats of the control plane.
    pub seats: Vec<String>,
    /// Machines that were taken out of the cluster.
    pub removed: Vec<Removed>,
    /// Certificates: the file, and the end in seconds since 1970.
    pub certificates: Vec<(String, i64)>,
}

/// What the machine tells now; nothing if it has published no phase yet.
pub fn told(host: &dyn Host) -> Result<Option<Status>> {
    let Some(text) = host.read_text(STATUS)? else {
        return Ok(None);
    };
    let published = serde_json::from_str(&text).with_context(|| format!("reading {STATUS}"))?;
    Ok(Some(document(published, &look::look(host))))
}

/// The same for another computer, which compares the clocks.
pub fn answer(host: &dyn Host) -> Result<Option<Status>> {
    let milliseconds =
        || u64::try_from(host.clock().as_millis()).context("the clock is out of range");
    let received = milliseconds()?;
    let Some(mut status) = told(host)? else {
        return Ok(None);
    };
    let sent = milliseconds()?;
    status.clock = Some(Clock { received, sent });
    Ok(Some(status))
}

/// The document of what was published and what is seen.
pub fn document(published: Status, seen: &Seen) -> Status {
    let own = published.host_name.clone().unwrap_or_default();
    let node = seen.nodes.nodes.iter().find(|node| node.name == own);
    Status {
        machine: seen.machine.clone(),
        role: seen.role,
        image: seen.image.clone(),
        kubelet: node.and_then(|node| node.kubelet.clone()),
        health: seen.role.map(|role| health(role, &own, seen)),
        etcd: seen
            .etcd
            .as_ref()
            .map(|standing| etcd(standing, &seen.members)),
        certificate: certificate(&seen.certificates, seen.now),
        machines: known(&own, seen),
        removed: seen.removed.clone(),
        ..published
    }
}

fn health(role: Role, own: &str, seen: &Seen) -> Health {
    let check = |found: &Option<Result<(), String>>| match found {
        Some(Ok(())) => Check::good(),
        Some(Err(why)) => Check::bad(why.clone()),
        None => Check::unknown("it was not asked"),
    };
    Health {
        api_server: check(&seen.api_server),
        etcd: (role == Role::ControlPlane).then(|| check(&seen.etcd_health)),
        node: node(own, seen),
    }
}

/// Whether the node is ready, as far as the API server's last word is good for now.
fn node(own: &str, seen: &Seen) -> Check {
    let nodes = &seen.nodes;
    if let Some(trouble) = &nodes.trouble {
        return Check::unknown(trouble.clone());
    }
    let age = seen.uptime.saturating_sub(nodes.asked);
    if nodes.asked.is_zero() || age > FRESH {
        return Check::unknown("the API server was not asked lately");
    }
    match nodes.nodes.iter().find(|node| node.name == own) {
        None => Check::bad("the cluster has no node of this machine"),
        Some(node) => match node.ready {
            Some(true) => Check::good(),
            Some(false) => Check::bad(node.why.as_deref().unwrap_or("no reason is given")),
            None => Check::bad("kubelet has not reported yet"),
        },
    }
}

fn etcd(standing: &Standing, members: &[Member]) -> Etcd {
    let number = |text: &str| text.parse().unwrap_or(0);
    let leader: u64 = number(&standing.leader);
    let named = members
        .iter()
        .find(|member| number(&member.id) == leader && !member.name.is_empty());
    Etcd {
        member: format!("{:x}", number(&standing.header.member_id)),
        // 0 is raft's word for nobody.
        leader: (leader != 0).then(|| format!("{leader:x}")),
        leader_name: named.map(|member| member.name.clone()),
        learner: standing.is_learner,
        raft_index: number(&standing.raft_index),
        raft_term: number(&standing.raft_term),
        version: standing.version.clone(),
    }
}

/// The certificate that ends first; of several at once, the first by name.
fn certificate(all: &[(String, i64)], now: u64) -> Option<Certificate> {
    let (path, not_after) = all.iter().min_by_key(|(path, end)| (*end, path))?;
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    Some(Certificate {
        path: path.clone(),
        not_after: *not_after,
        days_left: not_after.saturating_sub(now).div_euclid(DAY),
    })
}

/// Every other machine that anything here tells of, by name.
fn known(own: &str, seen: &Seen) -> Vec<Known> {
    let nodes = seen.nodes.nodes.iter();
    let nodes = nodes.map(|node| (&node.name, node.address));
    let members = seen.members.iter();
    let members = members.map(|member| (&member.name, peer_address(member)));
    let neighbours = seen.neighbours.iter();
    let neighbours = neighbours.map(|one| (&one.host_name, Some(one.address)));
    let seats = seen.seats.iter().map(|name| (name, None));
    let mut known = BTreeMap::new();
    for (name, address) in nodes.chain(members).chain(neighbours).chain(seats) {
        // A member of etcd has no name before its first start.
        let gone = seen.removed.iter().any(|one| one.host_name == *name);
        if name != own && !name.is_empty() && !gone {
            let entry = known.entry(name.clone()).or_insert(None);
            *entry = entry.or(address);
        }
    }
    let known = known.into_iter().map(|(host_name, address)| Known {
        host_name,
        address: address.map(|address| address.to_string()),
    });
    known.take(MOST).collect()
}

/// The address in a member's URL, such as `https://192.168.7.10:2380`.
fn peer_address(member: &Member) -> Option<std::net::IpAddr> {
    let url = member.peer_urls.first()?.strip_prefix("https://")?;
    url.parse().ok().map(|address: SocketAddr| address.ip())
}

#[cfg(test)]
mod tests;
