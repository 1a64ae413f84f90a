//! The control plane answers, and kubeadm's objects are in it.
//!
//! Before: kubelet runs with the static pods' manifests. After: the API server is ready, this machine's node
//! object exists and is marked, and the objects that later machines and add-ons rely on are there.
//!
//! kubeadm's phases run one after another, kube-proxy's first, and all of them once the controllers' pods are
//! written: each takes a processor for seconds.

use serde_json::Value;

use crate::api;
use crate::host::Host;
use crate::kubeadm;
use crate::ledger::{self, Identity};
use crate::phase::{Outcome, Phase, State, Trouble};

/// The API server is ready.
#[derive(Debug)]
pub struct Api;

impl Phase for Api {
    fn name(&self) -> &'static str {
        "api-server"
    }

    fn after(&self) -> &'static [&'static str] {
        &["control-plane", "kubelet", "etcd-health"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        api::ready(host).map(|()| State::Done)
    }

    /// kubelet brings it up.
    fn apply(&self, _: &dyn Host) -> Outcome<()> {
        Ok(())
    }
}

/// This machine's node object.
pub(super) fn node(host: &dyn Host) -> Outcome<Option<Value>> {
    let identity: Identity = ledger::decided(host)?;
    api::object(host, &format!("/api/v1/nodes/{}", identity.host_name))
}

/// kubelet has registered this machine.
#[derive(Debug)]
pub struct Node;

impl Phase for Node {
    fn name(&self) -> &'static str {
        "node"
    }

    fn after(&self) -> &'static [&'static str] {
        &["api-server", "kubelet"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        match node(host)? {
            Some(_) => Ok(State::Done),
            None => Err(Trouble::Waiting(String::from(
                "kubelet has not registered this machine yet",
            ))),
        }
    }

    /// kubelet registers it.
    fn apply(&self, _: &dyn Host) -> Outcome<()> {
        Ok(())
    }
}

/// kubeadm's and kubelet's configuration are in the cluster.
#[derive(Debug)]
pub struct UploadConfig;

impl Phase for UploadConfig {
    fn name(&self) -> &'static str {
        "upload-config"
    }

    fn after(&self) -> &'static [&'static str] {
        // kubeadm annotates the node object with the runtime's socket.
        &["node", "mark-control-plane"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let annotated = node(host)?.is_some_and(|node| {
            !node["metadata"]["annotations"]["kubeadm.alpha.kubernetes.io/cri-socket"].is_null()
        });
        let map = api::object(
            host,
            "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
        )?;
        Ok(match map.is_some() && annotated {
            true => State::Done,
            false => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        Ok(kubeadm::init_phase(host, &["upload-config", "all"])?)
    }
}

/// The node carries the control plane's label.
#[derive(Debug)]
pub struct MarkControlPlane;

impl Phase for MarkControlPlane {
    fn name(&self) -> &'static str {
        "mark-control-plane"
    }

    fn after(&self) -> &'static [&'static str] {
        &["node", "kube-proxy"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let node = node(host)?.unwrap_or_default();
        let marked = crate::agent::LABELS
            .iter()
            .any(|label| !node["metadata"]["labels"][*label].is_null());
        Ok(if marked { State::Done } else { State::Absent })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        Ok(kubeadm::init_phase(host, &["mark-control-plane"])?)
    }
}

/// Bootstrap tokens work, and `cluster-info` is public.
#[derive(Debug)]
pub struct BootstrapToken;

impl Phase for BootstrapToken {
    fn name(&self) -> &'static str {
        "bootstrap-token"
    }

    fn after(&self) -> &'static [&'static str] {
        &["upload-config"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/rolebindings/kubeadm:bootstrap-signer-clusterinfo";
        Ok(match api::object(host, path)? {
            Some(_) => State::Done,
            None => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        Ok(kubeadm::init_phase(host, &["bootstrap-token"])?)
    }
}

/// kube-proxy runs on every node.
#[derive(Debug)]
pub struct KubeProxy;

impl Phase for KubeProxy {
    fn name(&self) -> &'static str {
        "kube-proxy"
    }

    fn after(&self) -> &'static [&'static str] {
        &["controllers", "pod-network"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let path = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy";
        let binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubeadm:node-proxier";
        let there = api::object(host, path)?.is_some() && api::object(host, binding)?.is_some();
        Ok(if there { State::Done } else { State::Absent })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        Ok(kubeadm::init_phase(host, &["addon", "kube-proxy"])?)
    }
}
