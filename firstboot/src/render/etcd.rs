//! etcd's unit.

use std::net::IpAddr;

use crate::facts::Facts;
use crate::ledger::EtcdMember;

/// Certificates of etcd, as kubeadm names them.
pub const PKI: &str = "/etc/kubernetes/pki/etcd";
/// Its data, on DATA.
pub const DATA_DIR: &str = "/var/lib/etcd";
/// Where it answers health probes, in plain HTTP on loopback.
pub const METRICS_PORT: u16 = 2381;

/// What etcd's cluster is told apart by.
pub fn token(facts: &Facts) -> String {
    format!("seedbed-{}-{}", facts.birth.cluster, facts.birth.epoch)
}

/// Where other members reach the member at `address`.
pub fn peer_url(address: IpAddr) -> String {
    format!("https://{}:2380", literal(address))
}

/// An address as URLs have it.
fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// `etcd.service` of this machine's member.
pub fn unit(facts: &Facts, member: &EtcdMember) -> String {
    let EtcdMember {
        name,
        token,
        initial_cluster,
        ..
    } = member;
    let state = if member.founds { "new" } else { "existing" };
    let address = literal(facts.address.address);
    let (heartbeat, election) = (facts.seed.etcd.heartbeat_ms, facts.seed.etcd.election_ms);
    format!(
        "[Unit]
Description=etcd: the cluster's store
RequiresMountsFor={DATA_DIR}
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/usr/bin/etcd --name={name} --data-dir={DATA_DIR} \\
  --listen-client-urls=https://127.0.0.1:2379,https://{address}:2379 --advertise-client-urls=https://{address}:2379 \\
  --listen-peer-urls=https://{address}:2380 --initial-advertise-peer-urls=https://{address}:2380 \\
  --initial-cluster={initial_cluster} --initial-cluster-token={token} --initial-cluster-state={state} \\
  --listen-metrics-urls=http://127.0.0.1:{METRICS_PORT} \\
  --cert-file={PKI}/server.crt --key-file={PKI}/server.key --trusted-ca-file={PKI}/ca.crt --client-cert-auth \\
  --peer-cert-file={PKI}/peer.crt --peer-key-file={PKI}/peer.key --peer-trusted-ca-file={PKI}/ca.crt --peer-client-cert-auth \\
  --heartbeat-interval={heartbeat} --election-timeout={election} \\
  --auto-compaction-mode=periodic --auto-compaction-retention=1h --snapshot-count=10000 --log-level=warn
Restart=always
RestartSec=1
TimeoutStartSec=300
LimitNOFILE=65536
OOMScoreAdjust=-900
ProtectHome=yes
PrivateTmp=yes
NoNewPrivileges=yes
"
    )
}
