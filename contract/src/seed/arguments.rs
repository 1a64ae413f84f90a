//! Arguments of Kubernetes' components that a seed may not set, since they contradict what Seedbed sets.

use crate::seed::kubernetes::Component;

/// Why an argument is refused, and what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The end of a sentence that begins with the argument.
    pub(super) reason: &'static str,
    /// What to do.
    pub(super) hint: &'static str,
}

const AWAY: &str = "take the line away";

const CERTIFICATES: Refusal = Refusal {
    reason: "names a certificate or key that Seedbed makes",
    hint: AWAY,
};
const CREDENTIALS: Refusal = Refusal {
    reason: "names a kubeconfig that Seedbed makes",
    hint: AWAY,
};
const ENCRYPTION: Refusal = Refusal {
    reason: "names the key of this cluster's Secrets, which Seedbed draws",
    hint: AWAY,
};
const AUDIT: Refusal = Refusal {
    reason: "is what kubernetes.audit says",
    hint: "set kubernetes.audit instead",
};
const ETCD: Refusal = Refusal {
    reason: "leads to another etcd than the machine's own",
    hint: AWAY,
};
const ADDRESS: Refusal = Refusal {
    reason: "moves the API server away from where all machines look for it",
    hint: AWAY,
};
const HEALTH: Refusal = Refusal {
    reason: "decides whether health checks are answered, which ask without a login",
    hint: AWAY,
};
const CHECKS: Refusal = Refusal {
    reason: "moves its health checks away from where the machine asks for them",
    hint: AWAY,
};
const SERVICES: Refusal = Refusal {
    reason: "is what network.serviceSubnet says",
    hint: "set network.serviceSubnet instead",
};
const PODS: Refusal = Refusal {
    reason: "is what network.podSubnet says",
    hint: "set network.podSubnet instead",
};
const NODES: Refusal = Refusal {
    reason: "decides which pods' addresses a node gets, which machines compute, too",
    hint: AWAY,
};
const NAME: Refusal = Refusal {
    reason: "is what cluster.name says",
    hint: AWAY,
};
const LEASES: Refusal = Refusal {
    reason: "is what kubernetes.leases says",
    hint: "set kubernetes.leases instead",
};
const ELECTION: Refusal = Refusal {
    reason: "decides whether several of them work at once",
    hint: AWAY,
};

const API_SERVER: &[(&[&str], Refusal)] = &[
    (
        &["advertise-address", "bind-address", "secure-port"],
        ADDRESS,
    ),
    (&["anonymous-auth"], HEALTH),
    (&["audit-log-path", "audit-policy-file"], AUDIT),
    (&["encryption-provider-config"], ENCRYPTION),
    (
        &[
            "etcd-servers",
            "etcd-cafile",
            "etcd-certfile",
            "etcd-keyfile",
        ],
        ETCD,
    ),
    (
        &[
            "client-ca-file",
            "kubelet-client-certificate",
            "kubelet-client-key",
            "proxy-client-cert-file",
            "proxy-client-key-file",
            "requestheader-client-ca-file",
            "service-account-key-file",
            "service-account-signing-key-file",
            "tls-cert-file",
            "tls-private-key-file",
        ],
        CERTIFICATES,
    ),
    (&["service-cluster-ip-range"], SERVICES),
];

const CONTROLLER_MANAGER: &[(&[&str], Refusal)] = &[
    (
        &[
            "client-ca-file",
            "cluster-signing-cert-file",
            "cluster-signing-key-file",
            "requestheader-client-ca-file",
            "root-ca-file",
            "service-account-private-key-file",
        ],
        CERTIFICATES,
    ),
    (&["cluster-cidr"], PODS),
    (
        &[
            "allocate-node-cidrs",
            "node-cidr-mask-size",
            "node-cidr-mask-size-ipv4",
            "node-cidr-mask-size-ipv6",
        ],
        NODES,
    ),
    (&["cluster-name"], NAME),
    (&["service-cluster-ip-range"], SERVICES),
];

/// What controller manager and scheduler have in common.
const LEADERS: &[(&[&str], Refusal)] = &[
    (
        &[
            "authentication-kubeconfig",
            "authorization-kubeconfig",
            "kubeconfig",
        ],
        CREDENTIALS,
    ),
    (
        &[
            "leader-elect-lease-duration",
            "leader-elect-renew-deadline",
            "leader-elect-retry-period",
        ],
        LEASES,
    ),
    (&["leader-elect"], ELECTION),
    (&["authorization-always-allow-paths", "secure-port"], CHECKS),
];

/// Why the component may not have this argument, if so.
pub(super) fn refusal(component: Component, name: &str) -> Option<Refusal> {
    let tables: &[&[(&[&str], Refusal)]] = match component {
        Component::ApiServer => &[API_SERVER],
        Component::ControllerManager => &[CONTROLLER_MANAGER, LEADERS],
        Component::Scheduler => &[LEADERS],
    };
    let mut rows = tables.iter().copied().flatten();
    let row = rows.find(|(names, _)| names.contains(&name));
    row.map(|(_, refusal)| *refusal)
}
