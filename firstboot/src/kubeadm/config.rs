//! kubeadm's configuration file: four documents, composed from the facts. Pure.
//!
//! JSON is YAML, and kubeadm reads it; so nothing here has to quote anything by hand. What differs between
//! kubeadm's API versions is data: see [`Api`].

use std::collections::BTreeMap;

use contract::seed::kubernetes::{Audit, Component, Kubernetes};
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::ledger::Role;
use crate::pki::PKI;
use crate::render::etcd::PKI as ETCD_PKI;
use crate::render::{audit, encryption};

/// A folder that does not exist.
const NOWHERE: &str = "/run/seedbed/no-certificates";

/// A version of kubeadm's configuration API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Such as `v1beta2`.
    pub version: &'static str,
    /// The minor versions of Kubernetes that use it here.
    pub minors: (u32, u32),
    /// Whether `extraArgs` is a list of `{name, value}` and not a map.
    pub args_are_list: bool,
    /// The feature gate that makes keys on P-256, or the setting that replaced it.
    pub ecdsa: Ecdsa,
    /// Whether the runtime's socket is written as a URL.
    pub socket_is_url: bool,
}

/// How an API version is told to make keys on P-256, which are far cheaper than RSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecdsa {
    /// `featureGates: {PublicKeysECDSA: true}`.
    Gate,
    /// `encryptionAlgorithm: ECDSA-P256`.
    Algorithm,
}

/// Every API version that is known, oldest first.
pub const APIS: [Api; 3] = [
    Api {
        version: "v1beta2",
        minors: (19, 21),
        args_are_list: false,
        ecdsa: Ecdsa::Gate,
        socket_is_url: false,
    },
    Api {
        version: "v1beta3",
        minors: (22, 30),
        args_are_list: false,
        ecdsa: Ecdsa::Gate,
        socket_is_url: true,
    },
    Api {
        version: "v1beta4",
        minors: (31, 99),
        args_are_list: true,
        ecdsa: Ecdsa::Algorithm,
        socket_is_url: true,
    },
];

/// A Kubernetes version that no API here is for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Kubernetes {0:?} is not a version between v1.19 and v1.99")]
pub struct Unsupported(String);

/// The API that a version's kubeadm is spoken to in.
pub fn api(kubernetes: &str) -> Result<Api, Unsupported> {
    let unsupported = || Unsupported(kubernetes.to_owned());
    let minor: u32 = kubernetes
        .strip_prefix("v1.")
        .and_then(|rest| rest.split('.').next())
        .and_then(|minor| minor.parse().ok())
        .ok_or_else(unsupported)?;
    APIS.into_iter()
        .find(|api| (api.minors.0..=api.minors.1).contains(&minor))
        .ok_or_else(unsupported)
}

/// The whole file.
pub fn render(facts: &Facts) -> Result<String, Unsupported> {
    let api = api(&facts.manifest.kubernetes)?;
    let documents = [
        init(facts, api),
        cluster(facts, api),
        kubelet(),
        kube_proxy(),
    ];
    let documents: Vec<String> = documents
        .iter()
        .map(|document| format!("{document:#}\n"))
        .collect();
    Ok(documents.join("---\n"))
}

fn init(facts: &Facts, api: Api) -> Value {
    let address = facts.address.address.to_string();
    let socket = "/run/containerd/containerd.sock";
    let mut document = json!({
        "apiVersion": format!("kubeadm.k8s.io/{}", api.version),
        "kind": "InitConfiguration",
        "localAPIEndpoint": { "advertiseAddress": address, "bindPort": 6443 },
        "nodeRegistration": {
            "name": facts.identity.host_name,
            "criSocket": if api.socket_is_url { format!("unix://{socket}") } else { socket.to_owned() },
            "kubeletExtraArgs": args(api, &Args::from([("node-ip", address.clone())])),
        },
    });
    // Where there are no workers, control planes run all pods; elsewhere kubeadm gives them its taint.
    let all_seated = facts.seed.expect == facts.seed.control_planes;
    if all_seated || facts.birth.role() == Some(Role::Worker) {
        document["nodeRegistration"]["taints"] = json!([]);
    }
    document
}

fn cluster(facts: &Facts, api: Api) -> Value {
    let seed = &facts.seed;
    let mut document = json!({
        "apiVersion": format!("kubeadm.k8s.io/{}", api.version),
        "kind": "ClusterConfiguration",
        "clusterName": facts.identity.cluster,
        "kubernetesVersion": facts.manifest.kubernetes,
        "imageRepository": facts.manifest.image_repository,
        "controlPlaneEndpoint": format!("{}:{}", facts.identity.endpoint(), contract::port::BALANCER),
        "networking": {
            "dnsDomain": "cluster.local",
            "podSubnet": seed.network.pods.to_string(),
            "serviceSubnet": seed.network.services.to_string(),
        },
        "etcd": {
            "external": {
                "endpoints": ["https://127.0.0.1:2379"],
                "caFile": format!("{ETCD_PKI}/ca.crt"),
                "certFile": "/etc/kubernetes/pki/apiserver-etcd-client.crt",
                "keyFile": "/etc/kubernetes/pki/apiserver-etcd-client.key",
            },
        },
        "apiServer": {
            "certSANs": sans(facts),
            "extraArgs": args(api, &server(&seed.kubernetes)),
            "extraVolumes": volumes(&seed.kubernetes),
        },
        "controllerManager": {
            "extraArgs": args(api, &elected(&seed.kubernetes, Component::ControllerManager)),
        },
        "scheduler": { "extraArgs": args(api, &elected(&seed.kubernetes, Component::Scheduler)) },
    });
    if facts.birth.role() == Some(Role::Worker) {
        // Where there is an authority without its key, kubeadm wants the API server's certificate to be there, too.
        document["certificatesDir"] = json!(NOWHERE);
    }
    match api.ecdsa {
        Ecdsa::Gate => document["featureGates"] = json!({ "PublicKeysECDSA": true }),
        Ecdsa::Algorithm => document["encryptionAlgorithm"] = json!("ECDSA-P256"),
    }
    document
}

/// Arguments by name.
type Args<'a> = BTreeMap<&'a str, String>;

/// The API server's arguments.
fn server(settings: &Kubernetes) -> Args<'_> {
    let mut args = Args::new();
    let mut set = |name, value: &str| args.insert(name, value.to_owned());
    set(
        "enable-admission-plugins",
        "NodeRestriction,AlwaysPullImages",
    );
    set("encryption-provider-config", encryption::CONFIG);
    if settings.audit == Audit::Default {
        set("audit-policy-file", audit::POLICY);
        set("audit-log-path", audit::LOG);
        for (name, value) in audit::ROTATION {
            set(name, value);
        }
    }
    further(&mut args, settings, Component::ApiServer);
    args
}

/// What the API server sees of the machine, beside its certificates.
fn volumes(settings: &Kubernetes) -> Vec<Value> {
    let volume = |name: &str, folder: &str, read_only: bool| {
        json!({
            "name": name,
            "hostPath": folder,
            "mountPath": folder,
            "readOnly": read_only,
            "pathType": "Directory",
        })
    };
    let mut volumes = vec![volume("encryption", encryption::FOLDER, true)];
    if settings.audit == Audit::Default {
        volumes.push(volume("audit-policy", audit::FOLDER, true));
        volumes.push(volume("audit-log", audit::LOG_FOLDER, false));
    }
    volumes
}

/// The arguments of a component of which one leads.
fn elected(settings: &Kubernetes, component: Component) -> Args<'_> {
    let leases = settings.leases;
    let mut args = Args::from([
        (
            "leader-elect-lease-duration",
            format!("{}s", leases.duration),
        ),
        (
            "leader-elect-renew-deadline",
            format!("{}s", leases.renew_deadline),
        ),
        (
            "leader-elect-retry-period",
            format!("{}s", leases.retry_period),
        ),
    ]);
    further(&mut args, settings, component);
    args
}

/// What the seed adds, and what of ours it replaces.
fn further<'a>(args: &mut Args<'a>, settings: &'a Kubernetes, component: Component) {
    let own = settings.args(component);
    args.extend(own.map(|(name, value)| (name, value.to_owned())));
}

/// Each name once, in a fixed order.
fn sans(facts: &Facts) -> Vec<String> {
    let mut sans = vec![
        facts.identity.endpoint(),
        String::from("127.0.0.1"),
        String::from("::1"),
        facts.address.address.to_string(),
        facts.identity.host_name.clone(),
    ];
    for san in &facts.seed.kubernetes.cert_sans {
        if !sans.contains(san) {
            sans.push(san.clone());
        }
    }
    sans
}

fn args(api: Api, args: &Args<'_>) -> Value {
    match api.args_are_list {
        false => json!(args),
        true => args
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect(),
    }
}

fn kubelet() -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": { "x509": { "clientCAFile": format!("{PKI}/ca.crt") } },
        "cgroupDriver": "systemd",
        "serializeImagePulls": false,
        "resolvConf": crate::phases::network::RESOLV_CONF,
        "rotateCertificates": true,
        "staticPodPath": "/etc/kubernetes/manifests",
        "nodeStatusUpdateFrequency": "5s",
    })
}

fn kube_proxy() -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        // Zero leaves the kernel's own limits, which grow with memory.
        "conntrack": { "maxPerCore": 0, "min": 0 },
    })
}

#[cfg(test)]
mod tests {
    use super::{api, render};
    use crate::phases::tests::facts;

    #[test]
    fn each_version_has_its_api() {
        for (version, expected) in [
            ("v1.20.2", Some("v1beta2")),
            ("v1.29.0", Some("v1beta3")),
            ("v1.34.1", Some("v1beta4")),
            ("v1.18.0", None),
            ("v2.0.0", None),
            ("1.20", None),
        ] {
            assert_eq!(
                api(version).ok().map(|api| api.version),
                expected,
                "{version}"
            );
        }
    }

    #[test]
    fn the_file_for_v1_20() {
        insta::assert_snapshot!(render(&facts("v1.20.2")).unwrap());
    }

    #[test]
    fn what_the_seed_adds_is_in_the_arguments() {
        let mut facts = facts("v1.20.2");
        let more = "kubernetes:
  audit: none
  apiServer: {extraArgs: {enable-admission-plugins: NodeRestriction}}
  controllerManager: {extraArgs: {v: '3'}}
  leases: {duration: 60, renewDeadline: 40, retryPeriod: 8}
";
        let text = format!("{}{more}", crate::phases::tests::SEED);
        facts.seed = contract::seed::parse("seed.yaml", &text).unwrap();
        let text = render(&facts).unwrap();
        let document = text.split("---\n").nth(1).unwrap();
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        assert_eq!(
            document["apiServer"]["extraArgs"]["enable-admission-plugins"],
            "NodeRestriction"
        );
        let leases = serde_json::json!({
            "leader-elect-lease-duration": "60s",
            "leader-elect-renew-deadline": "40s",
            "leader-elect-retry-period": "8s",
        });
        assert_eq!(document["scheduler"]["extraArgs"], leases);
        assert_eq!(
            document["apiServer"]["extraVolumes"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            document["apiServer"]["extraArgs"].get("audit-log-path"),
            None
        );
        let manager = &document["controllerManager"]["extraArgs"];
        assert_eq!(manager["v"], "3");
        assert_eq!(manager["leader-elect-lease-duration"], "60s");
    }

    #[test]
    fn arguments_are_a_list_in_v1beta4() {
        let text = render(&facts("v1.34.1")).unwrap();
        assert!(
            text.contains("\"encryptionAlgorithm\": \"ECDSA-P256\""),
            "{text}"
        );
        assert!(text.contains("\"name\": \"node-ip\""), "{text}");
    }
}
