//! What the API server writes down: a `Policy` of `audit.k8s.io/v1`, which every version from v1.12 on reads. The first
//! rule that fits a request decides.

use serde_json::{Value, json};

/// Where the policy's file is, on STATE; nothing else is there, for the API server sees the folder.
pub const FOLDER: &str = "/etc/kubernetes/audit";
/// The policy's file.
pub const POLICY: &str = "/etc/kubernetes/audit/policy.yaml";
/// Where the API server writes, on DATA.
pub const LOG_FOLDER: &str = "/var/log/kubernetes/audit";
/// The file that it writes; older ones are beside it, with their time in the name.
pub const LOG: &str = "/var/log/kubernetes/audit/audit.log";

/// Arguments of the API server by which the log takes half a GiB at most, and lasts a month at most: size of a file in
/// MiB, number of older files, their age in days.
pub const ROTATION: [(&str, &str); 3] = [
    ("audit-log-maxsize", "64"),
    ("audit-log-maxbackup", "7"),
    ("audit-log-maxage", "30"),
];

/// Who reads and watches all the time because that is its work: the parts of Kubernetes itself.
const COMPONENTS: [&str; 4] = [
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-proxy",
    "system:kube-scheduler",
];
const COMPONENT_GROUPS: [&str; 2] = ["system:nodes", "system:serviceaccounts:kube-system"];

/// API groups of Kubernetes itself whose objects have no place for secrets, but for the core's, which come before.
const GROUPS: [&str; 15] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// The file's text.
pub fn policy() -> String {
    let document = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        // The answer's event says all that the request's would.
        "omitStages": ["RequestReceived"],
        "rules": rules(),
    });
    format!("{document:#}\n")
}

fn rules() -> Vec<Value> {
    let of = |group: &str, resources: &[&str]| json!({ "group": group, "resources": resources });
    let reading = ["get", "list", "watch"];
    let mut rules = vec![
        // Nobody reads a Secret unseen. Bodies and tokens stay out of the log, or its readers had them all.
        json!({
            "level": "Metadata",
            "resources": [
                of("", &["secrets", "configmaps", "serviceaccounts/token"]),
                of("authentication.k8s.io", &["tokenreviews"]),
            ],
        }),
        json!({
            "level": "None",
            "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version"],
        }),
        json!({
            "level": "None",
            "resources": [
                of("coordination.k8s.io", &["leases"]),
                of("", &["events"]),
                of("events.k8s.io", &["events"]),
            ],
        }),
        // A kubelet's heartbeat, beside its lease.
        json!({
            "level": "None",
            "userGroups": ["system:nodes"],
            "verbs": ["update", "patch"],
            "resources": [of("", &["nodes/status"])],
        }),
        // Each machine of the control plane looks at the nodes every few seconds.
        json!({
            "level": "None",
            "users": ["kubernetes-admin"],
            "verbs": reading,
            "resources": [of("", &["nodes"])],
        }),
    ];
    // Users and groups of one rule must both fit, so they need two.
    rules.push(json!({ "level": "None", "users": COMPONENTS, "verbs": reading }));
    rules.push(json!({ "level": "None", "userGroups": COMPONENT_GROUPS, "verbs": reading }));
    rules.push(json!({ "level": "Metadata", "verbs": reading }));
    let groups: Vec<Value> = GROUPS
        .iter()
        .map(|group| json!({ "group": group }))
        .collect();
    rules.push(json!({ "level": "Request", "resources": groups }));
    // Objects of others may hold anything.
    rules.push(json!({ "level": "Metadata" }));
    rules
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_policy() {
        insta::assert_snapshot!(super::policy());
    }
}
