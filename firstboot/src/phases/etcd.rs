//! etcd: the unit, the founding, and its health.
//!
//! Before: certificates are there and `/var/lib/etcd` is on DATA. After: `etcd.service` runs and answers.
//!
//! **The point of no return.** The ledger says "member" before etcd is asked to found the cluster; a data
//! directory that lost its member after that is never started again as if it were new.

use anyhow::anyhow;

use crate::facts::Facts;
use crate::host::{Get, Host};
use crate::ledger::{self, EtcdMember};
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::render::etcd;
use crate::units;

const UNIT: &str = "etcd.service";
/// Says that etcd was healthy once: from then on an empty directory is a loss, not a beginning.
const FOUNDED: &str = "/run/seedbed/state/etcd-founded";

/// The unit is rendered and started.
#[derive(Debug)]
pub struct Etcd;

impl Phase for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn after(&self) -> &'static [&'static str] {
        &["etcd-certificates"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let facts = Facts::read(host)?;
        if host.exists(FOUNDED) && !host.exists(&format!("{}/member", etcd::DATA_DIR)) {
            return Err(Trouble::Permanent(anyhow!(
                "{} is empty, and this machine's ledger says that it is a member of etcd; restore DATA, or restore \
                 etcd from a snapshot",
                etcd::DATA_DIR
            )));
        }
        if ledger::read::<EtcdMember>(host)?.is_none() {
            return Ok(State::Absent);
        }
        let rendered = host.read_text(&unit_path())?.as_ref() == Some(&etcd::unit(&facts));
        // Its start ends when it serves; that is the next phase's to wait for.
        Ok(crate::phase::done_if(
            rendered && units::is_running(host, UNIT)?,
            "etcd is not started",
        ))
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let facts = Facts::read(host)?;
        let member = EtcdMember {
            version: 1,
            name: facts.identity.host_name.clone(),
            token: etcd::token(&facts),
        };
        ledger::decide(host, &member)?;
        host.create_dir(units::RUNTIME, 0o755)?;
        // systemd finds a unit that it has not loaded by itself; only another text of a known one needs a reload.
        let known = host.exists(&unit_path());
        if host.write_if_changed(&unit_path(), 0o644, etcd::unit(&facts).as_bytes())? && known {
            units::reload(host)?;
        }
        Ok(units::start(host, UNIT)?)
    }
}

fn unit_path() -> String {
    format!("{}/{UNIT}", units::RUNTIME)
}

/// It answers its health probe.
#[derive(Debug)]
pub struct Healthy;

impl Phase for Healthy {
    fn name(&self) -> &'static str {
        "etcd-health"
    }

    fn after(&self) -> &'static [&'static str] {
        &["etcd"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let healthy = match host.get(&Get::loopback(etcd::METRICS_PORT, "/health")) {
            Ok(reply) => reply.status == 200,
            Err(_) => false,
        };
        Ok(match (healthy, host.exists(FOUNDED)) {
            (true, true) => State::Done,
            (true, false) => State::Partial(String::from("its founding is not recorded")),
            (false, _) => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        match host.get(&Get::loopback(etcd::METRICS_PORT, "/health")) {
            Ok(reply) if reply.status == 200 => Ok(host.write(FOUNDED, 0o600, b"1\n")?),
            _ => Err(Trouble::Waiting(String::from("etcd is not healthy yet"))),
        }
    }
}
