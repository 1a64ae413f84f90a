//! Ports that Seedbed listens on, beside Kubernetes' own (6443, 2379, 2380, 10250).

/// The local load balancer to the API servers, on loopback only.
pub const BALANCER: u16 = 7443;
/// The read-only image registry, on loopback only.
pub const REGISTRY: u16 = 7445;
/// The peers' channel: Noise over TCP, keyed by the cluster secret (see [`crate::peer`]).
pub const PEER: u16 = 7444;
/// Discovery: sealed datagrams over UDP (see [`crate::datagram`]).
pub const DISCOVERY: u16 = 7446;
