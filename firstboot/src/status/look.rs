//! Looks at the machine: its files, its API server, its etcd. What cannot be seen is left out; nothing is changed.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use contract::port::BALANCER;
use contract::status::{Image, Removed, Role, Slot};
use x509_parser::pem::Pem;

use super::Seen;
use crate::api::{self, KUBELET, embedded};
use crate::api_servers;
use crate::birth;
use crate::etcd::{Client, standing};
use crate::facts;
use crate::host::Host;
use crate::ledger::{self, Identity};
use crate::machine::{disk, loader};
use crate::neighbours;
use crate::nodes;
use crate::phases::assembly;
use crate::pki::PKI;
use crate::register::Register;
use crate::render;

/// How long one question may take. They are all asked at once.
const PATIENCE: Duration = Duration::from_secs(2);
/// kubeconfigs with a certificate in them; kubelet's names a file.
const KUBECONFIGS: [&str; 3] = ["admin", "controller-manager", "scheduler"];

/// What can be seen now.
pub fn look(host: &dyn Host) -> Seen {
    let role = fact("role", assembly::role(host)).map(Role::from);
    let seated = role == Some(Role::ControlPlane);
    let mut seen = Seen {
        uptime: host.uptime(),
        now: host.now(),
        machine: fact("identity", machine(host)),
        role,
        image: fact("image", image(host).map(Some)),
        nodes: fact("nodes", nodes::read(host).map(Some)).unwrap_or_default(),
        neighbours: fact("neighbours", neighbours::read(host).map(Some)).unwrap_or_default(),
        seats: fact("seats", seats(host).map(Some)).unwrap_or_default(),
        certificates: certificates(host),
        ..Seen::default()
    };
    thread::scope(|scope| {
        let api_server = role.map(|role| scope.spawn(move || api_server(host, role)));
        let health = seated.then(|| scope.spawn(|| standing::health(host, PATIENCE)));
        let own = seated.then(|| scope.spawn(|| standing::standing(host, PATIENCE)));
        let members = seated.then(|| scope.spawn(|| standing::members(host, PATIENCE)));
        let removed = seated.then(|| scope.spawn(|| removed(host)));
        // A question whose thread broke was not answered.
        seen.api_server = api_server.and_then(|thread| thread.join().ok());
        seen.etcd_health = health.and_then(|thread| thread.join().ok());
        seen.etcd = own.and_then(|thread| thread.join().ok()?.ok());
        let members = members.and_then(|thread| thread.join().ok()?.ok());
        seen.members = members.unwrap_or_default();
        let removed = removed.and_then(|thread| thread.join().ok()?.ok());
        seen.removed = removed.unwrap_or_default();
    });
    seen
}

/// What is there; a log has the reason if something cannot be read.
fn fact<T>(what: &str, read: Result<Option<T>>) -> Option<T> {
    read.unwrap_or_else(|error| {
        tracing::warn!("looking at this machine's {what}: {error:#}");
        None
    })
}

impl From<ledger::Role> for Role {
    fn from(role: ledger::Role) -> Self {
        match role {
            ledger::Role::ControlPlane => Role::ControlPlane,
            ledger::Role::Worker => Role::Worker,
        }
    }
}

fn machine(host: &dyn Host) -> Result<Option<String>> {
    let identity = ledger::read::<Identity>(host)?;
    let id = identity.map(|identity| identity.machine_id()).transpose()?;
    Ok(id.map(|id| id.to_string()))
}

fn image(host: &dyn Host) -> Result<Image> {
    let manifest = facts::manifest(host)?;
    Ok(Image {
        slot: fact("slot", slot(host, manifest.arch)),
        profile: manifest.profile,
        lock: manifest.lock,
    })
}

/// The slot that was booted: which of the disk's root partitions has the data that the kernel was started with.
fn slot(host: &dyn Host, arch: contract::partition::Arch) -> Result<Option<Slot>> {
    let Some(root) = loader::root(host)? else {
        return Ok(None);
    };
    let kind = contract::partition::Role::Root.type_guid(arch);
    let table = disk::booted(host)?.table;
    let mut roots = table
        .entries
        .values()
        .filter(|entry| entry.type_guid == *kind.as_bytes());
    let place = roots.position(|entry| entry.guid == *root.as_bytes());
    Ok(match place {
        Some(0) => Some(Slot::A),
        Some(1) => Some(Slot::B),
        _ => None,
    })
}

fn seats(host: &dyn Host) -> Result<Vec<String>> {
    let (Some(birth), Some(seed)) = (birth::read(host)?, facts::seed(host)?) else {
        return Ok(Vec::new());
    };
    let seats = birth.seats.iter();
    Ok(seats
        .map(|seat| seed.hostname(&seat.machine.to_string()))
        .collect())
}

/// The machines that the register says were taken out, which takes a quorum of etcd.
fn removed(host: &dyn Host) -> Result<Vec<Removed>> {
    let register = Register::read(&Client::own(host).within(PATIENCE))?;
    let entries = register.machines.into_values();
    let removed = entries.filter(|entry| entry.removed.is_some());
    Ok(removed
        .map(|entry| Removed {
            host_name: entry.host_name,
            joined: entry.joined,
        })
        .collect())
}

/// A worker has no API server of its own, and asks through its load balancer as its kubelet does.
fn api_server(host: &dyn Host, role: Role) -> Result<(), String> {
    let port = match role {
        Role::ControlPlane => api_servers::PORT,
        Role::Worker => BALANCER,
    };
    api::ready_at(host, port, PATIENCE).map_err(|trouble| trouble.to_string())
}

/// Every certificate that something here would not work without, and when it ends.
fn certificates(host: &dyn Host) -> Vec<(String, i64)> {
    let mut paths = vec![KUBELET.to_owned()];
    for folder in [PKI, render::etcd::PKI] {
        let names = fact("certificates", host.list(folder).map(Some)).unwrap_or_default();
        let names = names.iter().filter(|name| name.ends_with(".crt"));
        paths.extend(names.map(|name| format!("{folder}/{name}")));
    }
    let files = paths
        .into_iter()
        .filter_map(|path| Some((fact("certificates", host.read(&path))?, path)));
    let kubeconfigs = KUBECONFIGS.iter().filter_map(|name| {
        let path = format!("/etc/kubernetes/{name}.conf");
        let text = fact("certificates", host.read_text(&path))?;
        Some((embedded(&text, "client-certificate-data")?, path))
    });
    let all = files.chain(kubeconfigs);
    all.filter_map(|(pem, path)| Some((path, end(&pem)?)))
        .collect()
}

/// When the first of the certificates in these PEM blocks ends, in seconds since 1970. Keys between them are passed
/// over.
fn end(pem: &[u8]) -> Option<i64> {
    let blocks = Pem::iter_from_buffer(pem).filter_map(Result::ok);
    let ends = blocks
        .filter(|block| block.label == "CERTIFICATE")
        .filter_map(|block| Some(block.parse_x509().ok()?.validity().not_after.timestamp()));
    ends.min()
}
