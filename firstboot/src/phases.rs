//! The phases, one file a subject, and the plans that are lists of them.
//!
//! Every machine begins with [`COMMON`]; what comes then depends on what it is to do ([`plan`]). A role is another list, never
//! an `if` inside a phase. A phase waits for those of the phases that it names which its plan has.

pub mod api_servers;
pub mod assembly;
pub mod audit;
pub mod authorities;
pub mod clock;
pub mod cni;
pub mod control_plane;
pub mod disks;
pub mod etcd;
pub mod etcd_certificates;
pub mod firewall;
pub mod identity;
pub mod images;
pub mod install;
pub mod join;
pub mod kubeadm;
pub mod kubelet;
pub mod network;
pub mod paths;
pub mod queue;
pub mod ready;
pub mod runtime;
pub mod seed;
pub mod snapshotter;
pub mod standing;
pub mod store;
#[cfg(test)]
pub(crate) mod tests;
pub mod time_servers;

use crate::ledger::Role;
use crate::phase::Phase;

/// What every machine does, until it is certain what it is to do in its cluster.
pub const COMMON: &[&dyn Phase] = &[
    &clock::Clock,
    &seed::SeedPhase,
    &firewall::FirewallPhase,
    &network::Configuration,
    &store::Store,
    &install::Install,
    &disks::Disks,
    &identity::IdentityPhase,
    &cni::PodRange,
    &paths::Paths,
    &images::Images,
    &snapshotter::Snapshotter,
    &runtime::Runtime,
    &network::NetworkPhase,
    &time_servers::TimeServers,
    &assembly::Assembly,
];

/// The last phase of [`COMMON`]: when it is done, the role is certain.
pub const CERTAIN: &str = "assembly";

/// A seat of the control plane: member of etcd, API server, controllers.
pub const CONTROL_PLANE: &[&dyn Phase] = &[
    &firewall::Ports,
    &authorities::AuthoritiesPhase,
    &api_servers::ApiServers,
    &etcd_certificates::EtcdCertificates,
    &etcd::Membership,
    &etcd::Etcd,
    &standing::Standing,
    &kubeadm::Configuration,
    &kubeadm::Certificates,
    &kubeadm::Kubeconfigs,
    &audit::AuditPhase,
    &kubeadm::ApiServer,
    &kubelet::Configuration,
    &queue::Queue,
    &kubelet::Kubelet,
    &etcd::Healthy,
    &assembly::Founded,
    &control_plane::Api,
    &kubeadm::Controllers,
    &control_plane::Node,
    &cni::PodNetwork,
    &control_plane::KubeProxy,
    &control_plane::MarkControlPlane,
    &control_plane::UploadConfig,
    &control_plane::BootstrapToken,
    &kubelet::Finalize,
    &ready::NodeReady,
    &ready::Pods,
];

/// A machine that runs pods only.
pub const WORKER: &[&dyn Phase] = &[
    &firewall::Ports,
    &join::JoinPhase,
    &assembly::Founded,
    &standing::Standing,
    &api_servers::ApiServers,
    &kubeadm::Configuration,
    &kubelet::Configuration,
    &kubelet::Kubelet,
    &control_plane::Node,
    &cni::PodNetwork,
    &ready::NodeReady,
];

/// What comes after [`COMMON`].
pub fn plan(role: Role) -> &'static [&'static dyn Phase] {
    match role {
        Role::ControlPlane => CONTROL_PLANE,
        Role::Worker => WORKER,
    }
}
