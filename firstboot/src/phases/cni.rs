//! Pod network: the built-in bridge has this node's pod range.
//!
//! A machine that is alone is its cluster's first node, and the controller manager gives the first node the first
//! range of the pod network. So it takes that range before anybody runs, and the network is there when kubelet first
//! asks; then it writes the range into its node object. If the controller manager was faster, and whatever it gave,
//! the node object is right. Of several machines, each waits for what the controller manager gives it.

use anyhow::Context;
use contract::seed::subnet::Subnet;
use std::net::IpAddr;

use crate::facts;
use crate::host::{Cmd, Host};
use crate::ledger::{self, Identity};
use crate::phase::{Outcome, Phase, State, Trouble, done_if};
use crate::render::cni;

const FOLDER: &str = "/etc/cni/net.d";
const CONFIG: &str = "/etc/cni/net.d/10-seedbed.conflist";
/// The node's ranges, one a line; what the node object says overrules it, hence not in the ledger.
pub const RANGES: &str = "/run/seedbed/state/pod-ranges";
/// The rules of nftables that are loaded; gone at the next boot, as the kernel's are.
const RULES: &str = "/run/seedbed/pods.nft";
/// The controller manager gives each node so many bits of an IPv4 network, if nobody tells it otherwise.
const NODE_PREFIX: u8 = 24;

/// The range of a machine that is alone is chosen, and the bridge configured with it.
#[derive(Debug)]
pub struct PodRange;

impl Phase for PodRange {
    fn name(&self) -> &'static str {
        "pod-range"
    }

    fn after(&self) -> &'static [&'static str] {
        &["identity"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        match known(host)? {
            Some(ranges) => Ok(configured(host, &ranges)?),
            None if first_range(host)?.is_none() => Ok(State::Done),
            None => Ok(State::Absent),
        }
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let ranges = match known(host)? {
            Some(ranges) => ranges,
            None => first_range(host)?.into_iter().collect(),
        };
        configure(host, &ranges)
    }
}

/// The node object and the bridge have the same range.
#[derive(Debug)]
pub struct PodNetwork;

impl Phase for PodNetwork {
    fn name(&self) -> &'static str {
        "pod-network"
    }

    fn after(&self) -> &'static [&'static str] {
        &["node", "pod-range"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let given = given(host)?;
        if given.is_empty() || known(host)?.as_ref() != Some(&given) {
            return Ok(State::Absent);
        }
        configured(host, &given)
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let given = given(host)?;
        if !given.is_empty() {
            return configure(host, &given);
        }
        // Of several machines, another node may have what this one had before its node object was deleted.
        let alone = first_range(host)?.is_some();
        let Some(ranges) = known(host)?.filter(|_| alone) else {
            return Err(Trouble::Waiting(String::from(
                "the controller manager has given no pod range yet",
            )));
        };
        claim(host, &ranges)
    }
}

/// The first node's range if there is no other, and where the controller manager's arithmetic is beyond doubt: for an IPv4 network with room
/// for a node.
fn first_range(host: &dyn Host) -> Outcome<Option<String>> {
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    Ok(match seed.expect {
        1 if !seed.joins() => first_of(seed.network.pods),
        _ => None,
    })
}

fn first_of(pods: Subnet) -> Option<String> {
    let fits = pods.prefix() <= NODE_PREFIX;
    match pods.address() {
        IpAddr::V4(first) if fits => Some(format!("{first}/{NODE_PREFIX}")),
        _ => None,
    }
}

fn known(host: &dyn Host) -> Outcome<Option<Vec<String>>> {
    let text = host.read_text(RANGES)?.unwrap_or_default();
    let ranges: Vec<String> = text.lines().map(str::to_owned).collect();
    Ok((!ranges.is_empty()).then_some(ranges))
}

fn configured(host: &dyn Host, ranges: &[String]) -> Outcome<State> {
    let config = host.read_text(CONFIG)?;
    Ok(done_if(
        config.as_ref() == Some(&cni::conflist(ranges)) && host.exists(RULES),
        "it is not configured",
    ))
}

fn configure(host: &dyn Host, ranges: &[String]) -> Outcome<()> {
    if known(host)?.as_deref() != Some(ranges) {
        host.write(RANGES, 0o600, (ranges.join("\n") + "\n").as_bytes())?;
    }
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    let loading = format!("{RULES}.loading");
    host.write(
        &loading,
        0o644,
        cni::masquerade(seed.network.pods).as_bytes(),
    )?;
    host.run(&Cmd::new("/usr/sbin/nft").args(["-f", &loading]))?;
    host.copy(&loading, RULES)?;
    host.create_dir(FOLDER, 0o755)?;
    Ok(host.write(CONFIG, 0o644, cni::conflist(ranges).as_bytes())?)
}

/// Writes the ranges into the node object. The API server lets that happen once, so that a controller manager that
/// was faster wins, and the next look sees its answer.
fn claim(host: &dyn Host, ranges: &[String]) -> Outcome<()> {
    let identity: Identity = ledger::decided(host)?;
    let patch = serde_json::json!({ "spec": { "podCIDR": ranges.first(), "podCIDRs": ranges } });
    let command = Cmd::new("/usr/bin/kubectl")
        .args(["--kubeconfig", "/etc/kubernetes/admin.conf"])
        .args(["patch", "node", &identity.host_name, "--type=merge"])
        .args(["--patch", &patch.to_string()]);
    match host.run(&command) {
        Ok(_) => Ok(()),
        Err(error) => Err(Trouble::Transient(error)),
    }
}

/// What the node object says.
fn given(host: &dyn Host) -> Outcome<Vec<String>> {
    let node = super::control_plane::node(host)?.unwrap_or_default();
    let ranges = node["spec"]["podCIDRs"].as_array();
    let ranges = ranges.into_iter().flatten();
    Ok(ranges
        .filter_map(|range| range.as_str().map(str::to_owned))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_range_of_an_ipv4_network() {
        let first = |text: &str| first_of(text.parse().unwrap());
        assert_eq!(first("10.244.0.0/16").as_deref(), Some("10.244.0.0/24"));
        assert_eq!(first("10.1.2.0/24").as_deref(), Some("10.1.2.0/24"));
        // Too small for a node, and a family whose ranges kubeadm computes.
        assert_eq!(first("10.1.2.0/25"), None);
        assert_eq!(first("fd00:10::/48"), None);
    }
}
