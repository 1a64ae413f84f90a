//! What goes on for as long as a machine is part of a cluster: routes to other machines' pods, where API servers are,
//! which nodes the firewall lets in, what is told of the nodes, and whether it was removed. It begins before the machine
//! is Ready, since pods need the routes.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::api;
use crate::api_servers;
use crate::birth;
use crate::host::{Cmd, Host};
use crate::ledger::{self, Identity, Role};
use crate::neighbours;
use crate::nodes;
use crate::phase::Trouble;
use crate::phases::{firewall, standing};
use crate::pod_routes;

/// Between two looks at the cluster's nodes.
const PERIOD: Duration = Duration::from_secs(5);
/// Between two questions whether this machine is still a member, while the API has no node of it or does not answer, or
/// nobody has told so in this boot.
const QUESTION: Duration = Duration::from_secs(60);
/// The labels of control planes, the newer first.
pub const LABELS: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];

/// Never returns.
pub fn run(host: &dyn Host, role: Role) {
    let mut last = String::new();
    let mut asked = host.uptime();
    loop {
        let (missed, why) = match look(host, role) {
            Ok(missed) => (missed, String::new()),
            Err(error) => (true, format!("{error:#}")),
        };
        let now = host.uptime();
        let untold = standing::settled(host).is_ok_and(|told| told == Some(false));
        if (missed || untold) && now.saturating_sub(asked) >= QUESTION {
            asked = now;
            if let Err(error) = leave(host) {
                tracing::warn!("{error:#}");
            }
        }
        if why != last && !why.is_empty() {
            tracing::warn!("following the cluster's nodes: {why}");
        }
        last = why;
        host.sleep(PERIOD);
    }
}

/// Restarts a machine that was removed: whatever it ran for the cluster ends, and at its start it says why it stays out.
/// One that says so already runs nothing.
pub(crate) fn leave(host: &dyn Host) -> Result<()> {
    if standing::settled(host)?.is_none() {
        return Ok(());
    }
    let Err(Trouble::Permanent(why)) = standing::ask(host) else {
        return Ok(());
    };
    tracing::error!("{why:#}");
    let line = format!("seedbed: {why:#}; the machine restarts\n");
    host.announce("/dev/console", line.as_bytes());
    host.run(&Cmd::new("/usr/bin/systemctl").args(["--no-block", "reboot"]))
        .map(drop)
}

/// Follows the cluster's nodes once, and says whether this machine's is not among them. While no API server answers, those
/// that the machines of the site tell of count.
fn look(host: &dyn Host, role: Role) -> Result<bool> {
    let nodes = match api::object(host, "/api/v1/nodes") {
        Ok(answer) => answer.unwrap_or_default(),
        Err(trouble) => {
            let mut known = api_servers::kept(host)?;
            known.extend(seats(host)?);
            api_servers::keep(host, &known)?;
            api_servers::tell(host, role)?;
            keep_own(host, &trouble)?;
            // A kubelet that may not list nodes knows at least the machines that are heard of.
            if let Trouble::Transient(_) = trouble {
                let heard = neighbours::read(host)?;
                known.extend(heard.iter().map(|one| one.address));
                firewall::follow(host, role, &known)?;
            }
            return match trouble {
                Trouble::Waiting(_) => Ok(true),
                Trouble::Transient(error) | Trouble::Permanent(error) => Err(error),
            };
        }
    };
    let nodes = pod_routes::list(&nodes["items"]);
    nodes::keep(host, nodes)?;
    let servers = control_planes(nodes);
    if !servers.is_empty() {
        api_servers::keep(host, &servers)?;
    }
    api_servers::tell(host, role)?;
    let identity: Identity = ledger::decided(host)?;
    let routed = pod_routes::apply(host, &pod_routes::wanted(nodes, &identity.host_name));
    // A route that cannot be made keeps no node out.
    firewall::follow(host, role, &addresses(nodes))?;
    routed?;
    let mut names = nodes.iter().map(|node| &node["metadata"]["name"]);
    Ok(!names.any(|name| *name == identity.host_name.as_str()))
}

/// The addresses of all nodes.
fn addresses(nodes: &[Value]) -> Vec<IpAddr> {
    nodes.iter().flat_map(pod_routes::addresses).collect()
}

/// Keeps what else is told when all nodes are not: a kubelet of v1.32 or newer may read its own node alone.
fn keep_own(host: &dyn Host, trouble: &Trouble) -> Result<()> {
    // One who does not answer at all is not asked again.
    if let Trouble::Transient(_) = trouble {
        let identity: Identity = ledger::decided(host)?;
        let path = format!("/api/v1/nodes/{}", identity.host_name);
        if let Ok(Some(own)) = api::object(host, &path) {
            return nodes::keep(host, &[own]);
        }
    }
    nodes::fail(host, &trouble.to_string())
}

/// The addresses of nodes that are marked as control planes.
fn control_planes(nodes: &[Value]) -> Vec<IpAddr> {
    let marked = |node: &&Value| {
        let labels = &node["metadata"]["labels"];
        LABELS.iter().any(|label| !labels[*label].is_null())
    };
    let first = |node: &Value| pod_routes::addresses(node).first().copied();
    nodes.iter().filter(marked).filter_map(first).collect()
}

/// The addresses of machines that were named for the control plane.
fn seats(host: &dyn Host) -> Result<Vec<IpAddr>> {
    let Some(birth) = birth::read(host)? else {
        return Ok(Vec::new());
    };
    let named = |machine| birth.seats.iter().any(|seat| seat.machine == machine);
    let neighbours = neighbours::read(host)?.into_iter();
    Ok(neighbours
        .filter(|one| named(one.machine))
        .map(|one| one.address)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;
    use serde_json::json;

    #[test]
    fn a_kubelet_that_may_not_list_nodes_knows_its_own() {
        let host = Fake::default();
        let identity = Identity {
            version: 1,
            machine: "ab".repeat(32),
            machine_id: "cd".repeat(16),
            incarnation: "07".repeat(16),
            host_name: String::from("plant-1"),
            cluster: String::from("plant"),
        };
        ledger::decide(&host, &identity).unwrap();
        host.put("/etc/kubernetes/pki/ca.crt", "x");
        host.put(api::KUBELET, "x");
        host.web(|_, url, _| match url {
            "7443/api/v1/nodes/plant-1" => Some((
                200,
                json!({ "metadata": { "name": "plant-1" } }).to_string(),
            )),
            _ => Some((403, String::new())),
        });
        let trouble = api::object(&host, "/api/v1/nodes").unwrap_err();
        keep_own(&host, &trouble).unwrap();
        let told = nodes::read(&host).unwrap();
        assert_eq!((told.nodes.len(), told.trouble), (1, None));
        host.web(|_, _, _| None);
        let trouble = api::object(&host, "/api/v1/nodes").unwrap_err();
        keep_own(&host, &trouble).unwrap();
        let told = nodes::read(&host).unwrap();
        assert_eq!(told.nodes.len(), 1);
        assert!(told.trouble.unwrap().contains("does not answer"));
    }

    #[test]
    fn control_planes_are_known_by_either_label() {
        let node = |label: &str, address: &str| {
            json!({
                "metadata": { "labels": { label: "" } },
                "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
            })
        };
        let nodes = [
            node("node-role.kubernetes.io/master", "10.0.0.1"),
            node("node-role.kubernetes.io/control-plane", "10.0.0.2"),
            node("other", "10.0.0.3"),
        ];
        let expected: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert_eq!(control_planes(&nodes), expected);
    }
}
