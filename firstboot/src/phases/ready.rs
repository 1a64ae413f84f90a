//! Ready: the node says so, and every program of the system is well.

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

/// The control plane's programs on this machine are well, and so is kube-proxy.
///
/// The programs are asked themselves: kubelet shows its static pods in the API only when it next looks at them, which
/// is up to one and a half minutes after they run (`syncFrequency`, with jitter).
#[derive(Debug)]
pub struct Pods;

/// The controllers, and the ports on loopback where they answer (Kubernetes, "Ports and Protocols").
const CONTROLLERS: [(&str, u16); 2] = [
    ("kube-controller-manager", 10257),
    ("kube-scheduler", 10259),
];

impl Phase for Pods {
    fn name(&self) -> &'static str {
        "ready"
    }

    fn after(&self) -> &'static [&'static str] {
        &["node-ready", "kubelet-finalize", "founded"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        api::ready(host)?;
        for (component, port) in CONTROLLERS {
            api::healthy(host, component, port)?;
        }
        let identity: Identity = ledger::decided(host)?;
        // Pods of a machine that is off do not keep this one from being ready.
        let path = format!(
            "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-proxy&fieldSelector=spec.nodeName={}",
            identity.host_name
        );
        let list = api::object(host, &path)?.unwrap_or_default();
        let pods = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        let running =
            |pod: &Value| condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True");
        match pods {
            [] => Err(Trouble::Waiting(String::from(
                "kube-proxy is not there yet",
            ))),
            pods if pods.iter().any(running) => Ok(State::Done),
            _ => Err(Trouble::Waiting(String::from(
                "kube-proxy does not run yet",
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
