//! What the schema cannot say of a seed: every value read into its type, and held against the others.

mod kubernetes;

use crate::document::{Document, Fault, Faults};
use crate::guid::Guid;
use crate::secret::Secret;
use crate::seed::discovery::{self, Discovery, MAX_PEERS};
use crate::seed::file::{SeedFile, StaticFile};
use crate::seed::install::{Install, Pattern, Selector};
use crate::seed::subnet::{InterfaceAddress, Subnet, SubnetError};
use crate::seed::{Addressing, Cluster, Etcd, Interface, Network, SECRET_LENGTH, Seed, hostname};
use std::net::IpAddr;

const DRAW: &str =
    "draw one with `seedbed seed new NAME`, or copy it whole from another machine's seed";
const LABEL: &str = "use 1 to 63 of a-z, 0-9 and -, with no - at either end";

/// Lowers the file to the seed, or reports everything that is wrong with it.
pub(super) fn validate(document: &Document<SeedFile>) -> Result<Seed, Faults> {
    let mut check = Check {
        document,
        file: &document.value,
        faults: Vec::new(),
    };
    let seed = check.seed();
    document.faults(check.faults)?;
    seed.ok_or_else(|| {
        Faults::whole(
            document.name(),
            "a value has no meaning",
            "run `seedbed seed check`",
        )
    })
}

struct Check<'d> {
    document: &'d Document<SeedFile>,
    file: &'d SeedFile,
    faults: Vec<Fault>,
}

impl Check<'_> {
    fn fault(&mut self, path: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.faults
            .push(self.document.fault(path, message, Some(hint.into())));
    }

    /// Looks at everything before it gives up, so that all faults are found.
    fn seed(&mut self) -> Option<Seed> {
        if self.file.version != 1 {
            let message = format!("version {} is not known", self.file.version);
            self.fault("version", message, "this seedbed reads version 1");
        }
        let cluster = self.cluster();
        self.control_plane();
        let network = self.network();
        let discovery = self.discovery();
        self.hostname();
        let etcd = self.etcd();
        let kubernetes = self.kubernetes();
        self.time();
        let install = self.install();
        Some(Seed {
            cluster: cluster?,
            expect: self.file.machines.expect,
            control_planes: self.file.control_plane.count,
            network: network?,
            discovery,
            hostname: self.file.hostname.clone(),
            etcd,
            kubernetes,
            time_servers: self.file.time.servers.clone(),
            install: install?,
        })
    }

    fn cluster(&mut self) -> Option<Cluster> {
        let file = &self.file.cluster;
        if !is_label(&file.name) {
            self.fault(
                "cluster.name",
                format!("{:?} is not a DNS label", file.name),
                LABEL,
            );
        }
        self.secret(&file.secret);
        let id = match &file.id {
            None => None,
            Some(text) => match text.parse::<Guid>() {
                Ok(id) => Some(id),
                Err(error) => {
                    self.fault(
                        "cluster.id",
                        error.to_string(),
                        "copy it whole, or take the line away",
                    );
                    return None;
                }
            },
        };
        Some(Cluster {
            name: file.name.clone(),
            secret: Secret::new(&file.secret),
            id,
        })
    }

    /// Says how the secret is wrong without a character of it.
    fn secret(&mut self, secret: &str) {
        let length = secret.chars().count();
        if length != SECRET_LENGTH {
            let message =
                format!("the secret has {length} characters, but {SECRET_LENGTH} are expected");
            return self.fault("cluster.secret", message, DRAW);
        }
        let known = |c: &char| c.is_ascii_lowercase() || ('2'..='7').contains(c);
        if let Some(i) = secret.chars().position(|c| !known(&c)) {
            let message = format!(
                "character {} of the secret is not one of a-z and 2-7",
                i + 1
            );
            return self.fault("cluster.secret", message, DRAW);
        }
        if secret.chars().all(|c| secret.starts_with(c)) {
            self.fault("cluster.secret", "the secret repeats one character", DRAW);
        }
    }

    /// Whether a machine with this seed is not alone: others have it, too, or there is a cluster to join.
    fn has_others(&self) -> bool {
        self.file.machines.expect > 1 || self.file.cluster.id.is_some()
    }

    fn control_plane(&mut self) {
        let (count, expect) = (self.file.control_plane.count, self.file.machines.expect);
        if count % 2 == 0 {
            let message = format!(
                "{count} control planes tolerate no more failures than {}",
                count.saturating_sub(1)
            );
            self.fault(
                "controlPlane.count",
                message,
                "give an odd number: 1, 3, 5 or 7",
            );
        }
        if count > expect {
            let message =
                format!("{count} control planes are wanted, but machines.expect is {expect}");
            self.fault(
                "controlPlane.count",
                message,
                "raise machines.expect, or lower controlPlane.count",
            );
        }
    }

    fn network(&mut self) -> Option<Network> {
        let file = &self.file.network;
        let pods = self.subnet("network.podSubnet", &file.pod_subnet, 8..=24, 8..=64);
        let services = self.subnet(
            "network.serviceSubnet",
            &file.service_subnet,
            12..=28,
            108..=124,
        );
        if let (Some(pods), Some(services)) = (&pods, &services) {
            if pods.is_v4() != services.is_v4() {
                let message = format!("services in {services} cannot reach pods in {pods}");
                self.fault(
                    "network.serviceSubnet",
                    message,
                    "give both of one kind, IPv4 or IPv6",
                );
            }
            if pods.overlaps(services) {
                let message = format!("serviceSubnet {services} overlaps podSubnet {pods}");
                self.fault(
                    "network.serviceSubnet",
                    message,
                    "choose two ranges that share no address",
                );
            }
        }
        let auto = self.subnet("network.auto", &file.auto, 8..=24, 64..=112);
        for (name, other) in [("podSubnet", pods), ("serviceSubnet", services)] {
            if let (Some(auto), Some(other)) = (&auto, &other)
                && auto.overlaps(other)
            {
                let message = format!("auto {auto} overlaps {name} {other}");
                let hint = "choose two ranges that share no address";
                self.fault("network.auto", message, hint);
            }
        }
        let interface = self.interface();
        let taken = [("podSubnet", pods), ("serviceSubnet", services)];
        let addressing = match (&file.fixed, file.dhcp) {
            (None, None | Some(true)) => Some(Addressing::Dhcp),
            (None, Some(false)) => Some(Addressing::Auto),
            (Some(fixed), dhcp) => {
                if dhcp == Some(true) {
                    let hint = "keep one of the two";
                    self.fault("network.dhcp", "dhcp and static exclude each other", hint);
                }
                if self.file.machines.expect > 1 {
                    let hint = "use dhcp, or one machine";
                    self.fault(
                        "network.static",
                        "several machines cannot share one address",
                        hint,
                    );
                }
                self.fixed(fixed, &taken)
            }
        };
        Some(Network {
            interface: interface?,
            addressing: addressing?,
            auto: auto?,
            pods: pods?,
            services: services?,
            firewall: file.firewall,
        })
    }

    fn subnet(
        &mut self,
        path: &str,
        text: &str,
        v4: std::ops::RangeInclusive<u8>,
        v6: std::ops::RangeInclusive<u8>,
    ) -> Option<Subnet> {
        let subnet = match text.parse::<Subnet>() {
            Ok(subnet) => subnet,
            Err(error) => {
                let hint = match &error {
                    SubnetError::HostBits { network, .. } => format!("write {network}"),
                    _ => "write a range such as 10.244.0.0/16".into(),
                };
                self.fault(path, error.to_string(), hint);
                return None;
            }
        };
        let range = if subnet.is_v4() { v4 } else { v6 };
        if !range.contains(&subnet.prefix()) {
            let (least, most) = (range.start(), range.end());
            let message = format!(
                "/{} is not a size that Kubernetes can use here",
                subnet.prefix()
            );
            self.fault(
                path,
                message,
                format!("give a prefix length from {least} to {most}"),
            );
        }
        if subnet.address().is_loopback() || subnet.address().is_multicast() {
            self.fault(
                path,
                format!("{subnet} is not a range for machines"),
                "give a private range",
            );
        }
        Some(subnet)
    }

    fn fixed(
        &mut self,
        fixed: &StaticFile,
        taken: &[(&str, Option<Subnet>)],
    ) -> Option<Addressing> {
        let address = match fixed.address.parse::<InterfaceAddress>() {
            Ok(address) => {
                self.fixed_address(&address, taken);
                Some(address)
            }
            Err(error) => {
                self.fault(
                    "network.static.address",
                    error.to_string(),
                    "write it as 192.168.7.10/24",
                );
                None
            }
        };
        let gateway = match &fixed.gateway {
            None => Some(None),
            Some(text) => self.address("network.static.gateway", text).map(Some),
        };
        if let (Some(own), Some(Some(gateway))) = (address, gateway) {
            if gateway == own.address {
                let hint = "give the router's address, or take the line away if there is none";
                self.fault(
                    "network.static.gateway",
                    "the gateway is the machine's own address",
                    hint,
                );
            } else if !own.subnet.contains(gateway) {
                let message = format!(
                    "gateway {gateway} is not in the machine's network {}",
                    own.subnet
                );
                self.fault(
                    "network.static.gateway",
                    message,
                    "correct it, or the address and its prefix length",
                );
            }
        }
        let mut dns = Vec::new();
        for (i, text) in fixed.dns.iter().enumerate() {
            dns.extend(self.address(&format!("network.static.dns[{i}]"), text));
        }
        Some(Addressing::Static {
            address: address?,
            gateway: gateway?,
            dns,
        })
    }

    fn fixed_address(&mut self, own: &InterfaceAddress, taken: &[(&str, Option<Subnet>)]) {
        let path = "network.static.address";
        let address = own.address;
        if own.subnet.is_reserved(address) {
            let message = format!(
                "{address} names the network {} or all of it, not a machine",
                own.subnet
            );
            self.fault(
                path,
                message,
                "choose an address between the network's first and last",
            );
        }
        if address.is_loopback()
            || address.is_multicast()
            || address.is_unspecified()
            || is_link_local(address)
        {
            let message = format!("{address} is not an address that other machines can reach");
            self.fault(path, message, "choose one of the site's network");
        }
        for (name, subnet) in taken {
            if let Some(subnet) = subnet.filter(|subnet| subnet.overlaps(&own.subnet)) {
                let message = format!(
                    "the machine's network {} overlaps {name} {subnet}",
                    own.subnet
                );
                self.fault(path, message, format!("choose another network.{name}"));
            }
        }
    }

    fn address(&mut self, path: &str, text: &str) -> Option<IpAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            self.fault(
                path,
                format!("{text:?} is not an IP address"),
                "write it as 192.168.7.1, without a prefix length",
            );
        }
        address
    }

    fn interface(&mut self) -> Option<Option<Interface>> {
        let Some(text) = &self.file.network.interface else {
            return Some(None);
        };
        let interface = Interface::parse(text);
        if interface.is_none() {
            let message = format!("{text:?} is neither an interface's name nor a MAC address");
            self.fault(
                "network.interface",
                message,
                "write it as enp3s0, en* or 52:54:00:12:34:56",
            );
        }
        interface.map(Some)
    }

    fn discovery(&mut self) -> Discovery {
        let file = &self.file.discovery;
        if file.peers.len() > MAX_PEERS {
            let message = format!("{} peers are too many", file.peers.len());
            let hint = format!("give at most {MAX_PEERS}: a range or a DNS name stands for many");
            self.fault("discovery.peers", message, hint);
        }
        let mut peers = Vec::new();
        for (i, text) in file.peers.iter().enumerate() {
            let path = format!("discovery.peers[{i}]");
            match discovery::peer(text) {
                Ok(peer) if peers.contains(&peer) => {
                    let hint = "keep one of the lines";
                    self.fault(&path, format!("{text} is there twice"), hint);
                }
                Ok(peer) => peers.push(peer),
                Err((message, hint)) => self.fault(&path, message, hint),
            }
        }
        if !file.multicast && file.peers.is_empty() && self.has_others() {
            let message = "without multicast and peers no machine finds another";
            let hint = "add discovery.peers, or take multicast: false away";
            self.fault("discovery.multicast", message, hint);
        }
        Discovery {
            peers,
            multicast: file.multicast,
        }
    }

    fn hostname(&mut self) {
        let template = &self.file.hostname;
        let name = hostname(template, &self.file.cluster.name, "01234567");
        if !is_label(&name) && is_label(&self.file.cluster.name) {
            let message = format!("a host name like {name:?} is not a DNS label");
            self.fault("hostname", message, LABEL);
        }
        if self.has_others() && !template.contains("{machine}") {
            let message = "all machines would have the same host name";
            self.fault("hostname", message, "put {machine} into it");
        }
    }

    fn etcd(&mut self) -> Etcd {
        let (heartbeat, election) = (self.file.etcd.heartbeat, self.file.etcd.election);
        if election < heartbeat.saturating_mul(5) {
            let message = format!(
                "an election timeout of {election} ms is too short for heartbeats each {heartbeat} ms"
            );
            let hint = format!("give at least {}", heartbeat.saturating_mul(5));
            self.fault("etcd.election", message, hint);
        }
        Etcd {
            heartbeat_ms: heartbeat,
            election_ms: election,
        }
    }

    fn time(&mut self) {
        for (i, server) in self.file.time.servers.iter().enumerate() {
            if server.parse::<IpAddr>().is_err() && !is_host(server) {
                let message = format!("{server:?} is neither a DNS name nor an IP address");
                self.fault(
                    &format!("time.servers[{i}]"),
                    message,
                    "write it without scheme or port",
                );
            }
        }
    }

    fn install(&mut self) -> Option<Option<Install>> {
        let Some(file) = &self.file.install else {
            return Some(None);
        };
        let disk = &file.disk;
        let texts = [
            ("serial", &disk.serial),
            ("wwn", &disk.wwn),
            ("model", &disk.model),
            ("path", &disk.path),
        ];
        for (key, text) in texts {
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                let hint = "give it, or take the line away";
                self.fault(&format!("install.disk.{key}"), "it is empty", hint);
            }
        }
        let least = self.size("minSize", disk.min_size.as_deref(), 0);
        let most = self.size("maxSize", disk.max_size.as_deref(), u64::MAX);
        if let (Some(least), Some(most)) = (least, most)
            && least > most
        {
            let hint = "exchange the two";
            self.fault("install.disk.maxSize", "it is below minSize", hint);
        }
        let again = match file.again.as_deref().map(str::parse::<Guid>) {
            None => Some(None),
            Some(Ok(guid)) => Some(Some(guid)),
            Some(Err(error)) => {
                let hint = "copy it from the machine's console, or take the line away";
                self.fault("install.again", error.to_string(), hint);
                None
            }
        };
        let pattern = |text: &Option<String>| text.as_deref().map(|text| Pattern::new(text.trim()));
        let selector = Selector {
            serial: pattern(&disk.serial),
            wwn: pattern(&disk.wwn),
            model: pattern(&disk.model),
            path: pattern(&disk.path),
            bus: disk.bus,
            size: least?..=most?,
            rotational: disk.rotational,
        };
        Some(Some(Install {
            disk: selector,
            wipe: file.wipe,
            again: again?,
        }))
    }

    /// Bytes of a size such as `100 GB` or `16 GiB`.
    fn size(&mut self, key: &str, text: Option<&str>, otherwise: u64) -> Option<u64> {
        let Some(text) = text else {
            return Some(otherwise);
        };
        let size = parse_size::parse_size(text).ok();
        if size.is_none() {
            let message = format!("{text:?} is not a size");
            let hint = "write it as 100 GB, or as 100 GiB for units of 1024";
            self.fault(&format!("install.disk.{key}"), message, hint);
        }
        size
    }
}

/// A DNS label in lower case (RFC 1123, section 2.1).
fn is_label(text: &str) -> bool {
    let known = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(known)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

pub(super) fn is_host(text: &str) -> bool {
    let numeric = text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    text.len() <= 253
        && !numeric
        && text
            .split('.')
            .all(|label| is_label(&label.to_ascii_lowercase()))
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0) == 0xfe80,
    }
}
