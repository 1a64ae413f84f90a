//! `seed.yaml` as people write it, version 1. Every field's comment is its reference documentation, and every
//! default is stated here and nowhere else.

use super::install::Bus;
use super::kubernetes::Audit;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One file for a whole cluster, the same on every machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeedFile {
    /// Version of this document: 1.
    pub version: u32,
    /// Which cluster this is.
    pub cluster: ClusterFile,
    /// How many machines there are.
    #[serde(default)]
    pub machines: MachinesFile,
    /// The machines that run etcd and the Kubernetes control plane.
    #[serde(default)]
    pub control_plane: ControlPlaneFile,
    /// Addresses of machines, pods and services.
    #[serde(default)]
    pub network: NetworkFile,
    /// How machines find each other.
    #[serde(default)]
    pub discovery: DiscoveryFile,
    /// The machines' host name: `{cluster}` stands for the cluster's name, `{machine}` for the first eight
    /// characters of the machine's id.
    #[serde(default = "default_hostname")]
    pub hostname: String,
    /// Timeouts of etcd, for networks or disks that are slow.
    #[serde(default)]
    pub etcd: EtcdFile,
    /// Settings of Kubernetes.
    #[serde(default)]
    pub kubernetes: KubernetesFile,
    /// Where machines take the time from.
    #[serde(default)]
    pub time: TimeFile,
    /// Installs a machine that was started from a stick, a CD or virtual media to one of its disks. Without it,
    /// a machine runs from what it was started from.
    pub install: Option<InstallFile>,
}

fn default_hostname() -> String {
    "{cluster}-{machine}".into()
}

/// Which cluster this is.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterFile {
    /// The cluster's name: a DNS label, such as `plant-7`.
    #[schemars(extend("pattern" = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// 32 characters of a-z and 2-7, drawn by `seedbed seed new NAME`. Who knows it may join and ask.
    #[schemars(extend("pattern" = "^[a-z2-7]{32}$", "writeOnly" = true))]
    pub secret: String,
    /// The id, a GUID, of a cluster that exists. It makes this a join seed, as `seedbed seed join` writes it: machines
    /// with it become workers of that cluster, and never found one.
    pub id: Option<String>,
}

impl std::fmt::Debug for ClusterFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterFile")
            .field("name", &self.name)
            .field("secret", &format_args!("[redacted]"))
            .field("id", &self.id)
            .finish()
    }
}

/// How many machines there are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MachinesFile {
    /// The number of machines that are ever powered on with the founding seed; those with a join seed do not count.
    #[schemars(range(min = 1, max = 1000))]
    pub expect: u32,
}

impl Default for MachinesFile {
    fn default() -> Self {
        MachinesFile { expect: 1 }
    }
}

/// The machines that run etcd and the Kubernetes control plane.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ControlPlaneFile {
    /// How many of the machines: 1, 3, 5 or 7.
    #[schemars(range(min = 1, max = 7))]
    pub count: u32,
}

impl Default for ControlPlaneFile {
    fn default() -> Self {
        ControlPlaneFile { count: 1 }
    }
}

/// Addresses of machines, pods and services.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkFile {
    /// The interface that carries the cluster's traffic, by name (`enp3s0`, `en*`) or MAC address
    /// (`52:54:00:12:34:56`). Without it, every wired interface is configured and the first that has an
    /// address is taken.
    pub interface: Option<String>,
    /// Whether DHCP servers are asked; true unless `static` is given. Where none answers, and without it at once,
    /// each machine draws an address of `auto`.
    pub dhcp: Option<bool>,
    /// The range that machines draw addresses from where no DHCP server is. Each tries the address first that
    /// belongs to its hardware, and no address that another machine has (RFC 5227).
    pub auto: String,
    /// A fixed address, for one machine.
    #[serde(rename = "static")]
    pub fixed: Option<StaticFile>,
    /// The range that pods get their addresses from.
    pub pod_subnet: String,
    /// The range that services get their addresses from.
    pub service_subnet: String,
    /// Whether machines let in only what they need: nodes and pods of the cluster, and from elsewhere the ports of
    /// discovery, joining, kubelet, node ports, and on control planes API server and etcd.
    pub firewall: bool,
}

impl Default for NetworkFile {
    fn default() -> Self {
        NetworkFile {
            interface: None,
            dhcp: None,
            auto: "172.29.0.0/16".into(),
            fixed: None,
            pod_subnet: "10.244.0.0/16".into(),
            service_subnet: "10.96.0.0/12".into(),
            firewall: true,
        }
    }
}

/// How machines find each other.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DiscoveryFile {
    /// Where to look for machines that multicast does not reach, as behind a router: addresses
    /// (`192.168.8.10`), DNS names (`nodes.plant.example`, all of whose A and AAAA records count) and ranges
    /// (`192.168.8.0/24`; at most /20, with IPv6 /116).
    #[schemars(length(max = 256))]
    pub peers: Vec<String>,
    /// Whether machines call each other by multicast, on every wired network they are on.
    pub multicast: bool,
}

impl Default for DiscoveryFile {
    fn default() -> Self {
        DiscoveryFile {
            peers: Vec::new(),
            multicast: true,
        }
    }
}

/// A fixed address.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticFile {
    /// The machine's address with the length of its network's prefix, such as `192.168.7.10/24`.
    pub address: String,
    /// The router; without it, only the machine's own network is reached.
    pub gateway: Option<String>,
    /// Name servers.
    #[serde(default)]
    pub dns: Vec<String>,
}

/// Timeouts of etcd.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EtcdFile {
    /// Milliseconds between two heartbeats of the leader.
    #[schemars(range(min = 10, max = 10_000))]
    pub heartbeat: u32,
    /// Milliseconds without a heartbeat after which a member stands for election; at least five heartbeats.
    #[schemars(range(min = 50, max = 50_000))]
    pub election: u32,
}

impl Default for EtcdFile {
    fn default() -> Self {
        EtcdFile {
            heartbeat: 100,
            election: 1000,
        }
    }
}

/// Settings of Kubernetes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubernetesFile {
    /// Further names and addresses that the API server's certificate is valid for.
    #[serde(rename = "certSANs")]
    pub cert_sans: Vec<String>,
    /// Settings of the API server.
    pub api_server: ComponentFile,
    /// Settings of the controller manager.
    pub controller_manager: ComponentFile,
    /// Settings of the scheduler.
    pub scheduler: ComponentFile,
    /// Leases of controller manager and scheduler, for machines or disks that are slow.
    pub leases: LeasesFile,
    /// What the API server writes down, in `/var/log/kubernetes/audit` on DATA.
    pub audit: Audit,
}

/// Settings of a component of the control plane.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ComponentFile {
    /// Further arguments, by name without leading dashes. What contradicts the rest of the cluster is refused.
    pub extra_args: BTreeMap<String, String>,
}

/// Leases of controller manager and scheduler: which of several leads.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LeasesFile {
    /// Seconds without a renewal after which another may lead; more than `renewDeadline`.
    #[schemars(range(min = 2, max = 3600))]
    pub duration: u32,
    /// Seconds without a success after which the leader gives up and starts anew; more than 1.2 times
    /// `retryPeriod`.
    #[schemars(range(min = 1, max = 3600))]
    pub renew_deadline: u32,
    /// Seconds between two attempts to take a lease, or to renew it.
    #[schemars(range(min = 1, max = 3600))]
    pub retry_period: u32,
}

impl Default for LeasesFile {
    fn default() -> Self {
        LeasesFile {
            duration: 15,
            renew_deadline: 10,
            retry_period: 2,
        }
    }
}

/// Where machines take the time from.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TimeFile {
    /// NTP servers, by name or address. Without any, the hardware clock is believed.
    pub servers: Vec<String>,
}

/// Installs a machine to one of its disks, and restarts it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InstallFile {
    /// Which disk. Everything that is given must fit, and exactly one of the machine's disks must; the one that
    /// it was started from is none of them.
    pub disk: DiskFile,
    /// Whether a disk that holds something may be erased. One that is named by its whole serial number or WWN
    /// may be without this. A disk with Seedbed on it never is.
    pub wipe: bool,
    /// The GUID of a disk with Seedbed on it that is to be installed once more; the console shows it. An
    /// installed disk has a new one, so this holds for one installation.
    pub again: Option<String>,
}

/// What a disk must be like. In texts, `*` and `?` stand for others, and case does not matter.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DiskFile {
    /// Its serial number.
    pub serial: Option<String>,
    /// Its World Wide Name, such as `0x5002538e40a1b2c3`.
    pub wwn: Option<String>,
    /// Its model, such as `Samsung SSD 8*`.
    pub model: Option<String>,
    /// Where it is plugged in: a name of `/dev/disk/by-path`, such as `pci-0000:00:17.0-ata-1`.
    pub path: Option<String>,
    /// What it is attached by.
    pub bus: Option<Bus>,
    /// Its least size, such as `100 GB`.
    pub min_size: Option<String>,
    /// Its greatest size.
    pub max_size: Option<String>,
    /// Whether it has moving parts.
    pub rotational: Option<bool>,
}
