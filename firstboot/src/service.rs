//! `firstboot run`: the engine with its plan, and what goes on once the machine is ready.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::Result;
use contract::journal::Step;
use contract::status::{PhaseStatus, Status};

use crate::agent;
use crate::assembly::driver;
use crate::engine::Engine;
use crate::facts;
use crate::host::{Cmd, Host};
use crate::journal::Journal;
use crate::ledger::{self, Address, Identity, Membership, Role};
use crate::phases;

/// The administrator's kubeconfig, which machines of the control plane have.
const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// Between two savings of the time.
const SAVE_TIME: Duration = Duration::from_secs(300);

/// Runs the plan, and returns only if the machine cannot even begin.
pub fn run(host: &'static dyn Host) -> Result<()> {
    host.create_dir("/run/seedbed", 0o755)?;
    let kubernetes = facts::manifest(host)?.kubernetes;
    notify("READY=1");
    let journal = Journal::default();
    journal.record(
        host,
        "machine",
        Step::Begin,
        &format!("Kubernetes {kubernetes}"),
    );
    let publish = |phases: &[PhaseStatus]| publish(host, &kubernetes, phases);
    std::thread::spawn(move || driver::run(host));
    let engine = Engine::new(host, &journal, &publish);
    engine.run(phases::COMMON, phases::CERTAIN, || {
        let role = role(host);
        std::thread::spawn(move || agent::run(host, role));
        phases::plan(role)
    });
    if let Err(error) = host.write(phases::ready::READY, 0o644, b"") {
        tracing::warn!("{error:#}");
    }
    for line in overview(host) {
        host.announce("/dev/console", format!("{line}\n").as_bytes());
    }
    match phases::seed::contradiction(host) {
        Ok(None) => {}
        Ok(Some(what)) => journal.record(host, "seed", Step::Note, &what),
        Err(error) => tracing::warn!("{error:#}"),
    }
    loop {
        if let Err(error) = phases::clock::save(host) {
            tracing::warn!("{error:#}");
        }
        host.sleep(SAVE_TIME);
    }
}

/// What this machine is to do, which a phase that is done has found.
fn role(host: &dyn Host) -> Role {
    loop {
        match phases::assembly::role(host) {
            Ok(Some(role)) => return role,
            Ok(None) => {}
            Err(error) => tracing::warn!("{error:#}"),
        }
        host.sleep(Duration::from_secs(1));
    }
}

/// In place of an emergency shell: says what happened, and leaves time to read it.
pub fn give_up(host: &dyn Host) {
    let pause = Duration::from_secs(60);
    let text = format!(
        "seedbed: this machine could not start; a unit that everything needs has failed (see above). \
         It restarts in {} s.\n",
        pause.as_secs()
    );
    host.announce("/dev/console", text.as_bytes());
    host.sleep(pause);
}

/// The status file, with what a look at the machine does not show, and systemd's status line.
fn publish(host: &dyn Host, kubernetes: &str, phases: &[PhaseStatus]) {
    let identity = ledger::read::<Identity>(host).ok().flatten();
    let address = ledger::read::<Address>(host).ok().flatten();
    let membership = ledger::read::<Membership>(host).ok().flatten();
    let status = Status {
        version: 1,
        state: Status::sum(phases),
        host_name: identity.as_ref().map(|identity| identity.host_name.clone()),
        cluster: identity.map(|identity| identity.cluster),
        cluster_id: membership.map(|membership| membership.cluster),
        address: address.map(|address| address.address.to_string()),
        kubernetes: kubernetes.to_owned(),
        phases: phases.to_vec(),
        machine: None,
        role: None,
        image: None,
        kubelet: None,
        health: None,
        etcd: None,
        certificate: None,
        clock: None,
        machines: Vec::new(),
        removed: Vec::new(),
    };
    let written = serde_json::to_vec_pretty(&status)
        .map_err(anyhow::Error::from)
        .and_then(|json| host.write(contract::paths::STATUS, 0o644, &json));
    if let Err(error) = written {
        tracing::warn!("{error:#}");
    }
    let done = phases
        .iter()
        .filter(|phase| phase.finished.is_some())
        .count();
    notify(&format!("STATUS={done} of {} phases done", phases.len()));
}

/// What an administrator would ask first, on a machine that may answer.
fn overview(host: &dyn Host) -> Vec<String> {
    let mut lines = Vec::new();
    if !host.exists(ADMIN) {
        return lines;
    }
    for args in [
        ["get", "nodes", "-o", "wide"],
        ["get", "pods", "-A", "-owide"],
    ] {
        let kubectl = Cmd::new("/usr/bin/kubectl")
            .args(["--kubeconfig", ADMIN])
            .args(args);
        match host.run(&kubectl) {
            Ok(output) => lines.extend(output.stdout.lines().map(str::to_owned)),
            Err(error) => lines.push(format!("{error:#}")),
        }
    }
    lines
}

/// sd_notify(3), without its library. Outside systemd there is nobody to tell.
fn notify(message: &str) {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else {
        return;
    };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _ = socket.send_to_addr(message.as_bytes(), &address);
    }
}
