//! The cluster's nodes, as the API server told of them last.
//!
//! [`crate::agent`] reads them anyway; who wants to know more of them reads this file and asks the API server nothing.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::host::Host;
use crate::pod_routes;

/// Where the list is.
pub const NODES: &str = "/run/seedbed/nodes.json";

/// The list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nodes {
    /// When the API server was asked last, since power-on.
    pub asked: Duration,
    /// Why it did not answer then; the nodes are those of an earlier answer.
    pub trouble: Option<String>,
    /// Every node.
    pub nodes: Vec<Node>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// Its name, which is its machine's host name.
    pub name: String,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Whether its condition `Ready` is true; nothing if it has none yet.
    pub ready: Option<bool>,
    /// The condition's message.
    pub why: Option<String>,
    /// The version of its kubelet.
    pub kubelet: Option<String>,
}

/// What was told last; nothing before the first answer.
pub fn read(host: &dyn Host) -> Result<Nodes> {
    match host.read(NODES)? {
        None => Ok(Nodes::default()),
        Some(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("reading {NODES}")),
    }
}

/// Keeps an answer of the API server.
pub fn keep(host: &dyn Host, objects: &[Value]) -> Result<()> {
    let nodes = objects.iter().filter_map(node).collect();
    write(
        host,
        Nodes {
            nodes,
            ..Nodes::default()
        },
    )
}

/// Notes that there was no answer.
pub fn fail(host: &dyn Host, why: &str) -> Result<()> {
    // A list that cannot be read is as good as none.
    let nodes = read(host).unwrap_or_default().nodes;
    let trouble = Some(why.to_owned());
    write(
        host,
        Nodes {
            trouble,
            nodes,
            ..Nodes::default()
        },
    )
}

fn write(host: &dyn Host, nodes: Nodes) -> Result<()> {
    let asked = host.uptime();
    let json =
        serde_json::to_vec(&Nodes { asked, ..nodes }).context("composing the list of nodes")?;
    host.write(NODES, 0o600, &json)
}

fn node(object: &Value) -> Option<Node> {
    let conditions = pod_routes::list(&object["status"]["conditions"]);
    let ready = conditions
        .iter()
        .find(|condition| condition["type"] == "Ready");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Node {
        name: text(&object["metadata"]["name"])?,
        address: pod_routes::addresses(object).first().copied(),
        ready: ready.map(|ready| ready["status"] == "True"),
        why: ready.and_then(|ready| text(&ready["message"])),
        kubelet: text(&object["status"]["nodeInfo"]["kubeletVersion"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;
    use serde_json::json;

    #[test]
    fn a_failure_keeps_the_nodes_that_were_told_before() {
        let host = Fake::default();
        assert_eq!(read(&host).unwrap(), Nodes::default());
        let object = json!({
            "metadata": { "name": "plant-1" },
            "status": {
                "addresses": [{ "type": "InternalIP", "address": "10.0.2.15" }],
                "conditions": [
                    { "type": "DiskPressure", "status": "False" },
                    { "type": "Ready", "status": "Unknown", "message": "kubelet is silent" },
                ],
                "nodeInfo": { "kubeletVersion": "v1.20.2" },
            },
        });
        let new = json!({ "metadata": { "name": "plant-2" } });
        keep(&host, &[object, new, json!({})]).unwrap();
        let told = read(&host).unwrap();
        assert_eq!(told.trouble, None);
        assert_eq!(
            told.nodes,
            [
                Node {
                    name: "plant-1".into(),
                    address: Some("10.0.2.15".parse().unwrap()),
                    ready: Some(false),
                    why: Some("kubelet is silent".into()),
                    kubelet: Some("v1.20.2".into()),
                },
                Node {
                    name: "plant-2".into(),
                    address: None,
                    ready: None,
                    why: None,
                    kubelet: None,
                },
            ]
        );
        fail(&host, "it is off").unwrap();
        let later = read(&host).unwrap();
        assert_eq!(later.trouble.as_deref(), Some("it is off"));
        assert_eq!(later.nodes, told.nodes);
    }
}
