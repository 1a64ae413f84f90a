//! Turns a machine that booted a Seedbed image, and a seed, into a Kubernetes node.
//!
//! [`service`] runs the [`engine`] with a plan of [`phases`]; what they do to the machine goes through [`host`],
//! what they decide is kept in the [`ledger`].

pub mod agent;
mod any_certificate;
pub mod api;
pub mod api_servers;
pub mod assembly;
pub mod balancer;
pub mod birth;
pub mod discovery;
pub mod engine;
pub mod etcd;
pub mod facts;
pub mod host;
pub mod initrd;
pub mod install;
pub mod journal;
pub mod kubeadm;
pub mod ledger;
mod limited;
pub mod machine;
pub mod neighbours;
pub mod nodes;
pub mod peers;
pub mod phase;
pub mod phases;
pub mod pki;
pub mod pod_routes;
pub mod register;
pub mod registry;
pub mod removal;
pub mod render;
pub mod service;
pub mod snapshotter;
pub mod sources;
pub mod status;
pub mod units;
