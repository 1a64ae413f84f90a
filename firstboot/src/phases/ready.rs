//! Ready: the node says so, and every pod of the system runs.

use serde_json::Value;

use crate::api;
use crate::host::Host;
use crate::ledger::{self, Identity};
use crate::phase::{Outcome, Phase, State, Trouble};

/// Says that every phase was done in this boot; other machines of the control plane wait for it.
pub const READY: &str = "/run/seedbed/ready";

/// The node's condition `Ready` is true.
#[derive(Debug)]
pub struct NodeReady;

impl Phase for NodeReady {
    fn name(&self) -> &'static str {
        "node-ready"
    }

    fn after(&self) -> &'static [&'static str] {
        &["pod-network"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let node = super::control_plane::node(host)?.unwrap_or_default();
        match condition(&node, "Ready") {
            Some(ready) if ready["status"] == "True" => Ok(State::Done),
            Some(ready) => Err(Trouble::Waiting(format!(
                "the node is not ready: {}",
                ready["message"].as_str().unwrap_or("no reason given")
            ))),
            None => Err(Trouble::Waiting(String::from(
                "kubelet has not reported yet",
            ))),
        }
    }

    /// kubelet brings it about.
    fn apply(&self, _: &dyn Host) -> Outcome<()> {
        Ok(())
    }
}

/// Every pod in `kube-system` on this machine runs.
#[derive(Debug)]
pub struct Pods;

const STATIC: [&str; 3] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

impl Phase for Pods {
    fn name(&self) -> &'static str {
        "ready"
    }

    fn after(&self) -> &'static [&'static str] {
        &["node-ready", "kubelet-finalize", "founded"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let identity: Identity = ledger::decided(host)?;
        // Pods of a machine that is off do not keep this one from being ready.
        let path = format!(
            "/api/v1/namespaces/kube-system/pods?fieldSelector=spec.nodeName={}",
            identity.host_name
        );
        let list = api::object(host, &path)?.unwrap_or_default();
        let empty = Vec::new();
        let pods = list["items"].as_array().unwrap_or(&empty);
        let name = |pod: &Value| {
            pod["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        for component in STATIC {
            let wanted = format!("{component}-{}", identity.host_name);
            if !pods.iter().any(|pod| name(pod) == wanted) {
                return Err(Trouble::Waiting(format!("pod {wanted} is not there yet")));
            }
        }
        if !pods.iter().any(|pod| name(pod).starts_with("kube-proxy-")) {
            return Err(Trouble::Waiting(String::from(
                "kube-proxy is not there yet",
            )));
        }
        let running =
            |pod: &&Value| condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True");
        let late: Vec<String> = pods.iter().filter(|pod| !running(pod)).map(name).collect();
        match late.is_empty() {
            true => Ok(State::Done),
            false => Err(Trouble::Waiting(format!(
                "not running yet: {}",
                late.join(", ")
            ))),
        }
    }

    /// kubelet brings it about.
    fn apply(&self, _: &dyn Host) -> Outcome<()> {
        Ok(())
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}
