//! The phases, one file a subject, and the plans that are lists of them.
//!
//! A role is another list, never an `if` inside a phase.

pub mod clock;
pub mod cni;
pub mod control_plane;
pub mod disks;
pub mod etcd;
pub mod etcd_certificates;
pub mod identity;
pub mod images;
pub mod install;
pub mod kubeadm;
pub mod kubelet;
pub mod network;
pub mod paths;
pub mod ready;
pub mod runtime;
pub mod seed;
pub mod snapshotter;
pub mod store;
#[cfg(test)]
pub(crate) mod tests;
pub mod time_servers;

use crate::phase::Phase;

/// The way of the machine that founds a cluster: first control plane, first member of etcd.
pub const FOUNDER: &[&dyn Phase] = &[
    &clock::Clock,
    &seed::SeedPhase,
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
    &etcd_certificates::EtcdCertificates,
    &etcd::Etcd,
    &kubeadm::Configuration,
    &kubeadm::Certificates,
    &kubeadm::Kubeconfigs,
    &kubeadm::ApiServer,
    &kubelet::Configuration,
    &kubelet::Kubelet,
    &etcd::Healthy,
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
