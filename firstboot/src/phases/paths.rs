//! Paths: what programs write lands on DATA or STATE.
//!
//! Before: `/var` and `/etc` are memory over the image's. After: the bind mounts below are there, and
//! `/opt/cni/bin` offers the image's plugins beside whatever a network add-on put there.

use anyhow::Result;
use contract::paths::{CNI_PLUGINS, DATA, STATE};

use crate::host::{Host, Mount, mounts};
use crate::phase::{Outcome, Phase, State};

/// Partition, folder on it, place, mode.
const BINDS: [(&str, &str, &str, u32); 6] = [
    (DATA, "log", "/var/log", 0o755),
    (DATA, "etcd", "/var/lib/etcd", 0o700),
    (DATA, "containerd", "/var/lib/containerd", 0o711),
    (DATA, "kubelet", "/var/lib/kubelet", 0o755),
    (DATA, "cni-bin", PLUGINS, 0o755),
    (STATE, "kubernetes", "/etc/kubernetes", 0o755),
];
const PLUGINS: &str = "/opt/cni/bin";

/// The phase.
#[derive(Debug)]
pub struct Paths;

impl Phase for Paths {
    fn name(&self) -> &'static str {
        "paths"
    }

    fn after(&self) -> &'static [&'static str] {
        &["identity"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let mounted = mounts::parse(&host.read_text("/proc/self/mountinfo")?.unwrap_or_default());
        let bound = |place: &str| mounted.iter().any(|mount| mount.target == place);
        let missing: Vec<&str> = BINDS
            .iter()
            .map(|bind| bind.2)
            .filter(|place| !bound(place))
            .collect();
        if missing.len() == BINDS.len() {
            return Ok(State::Absent);
        }
        if let Some(place) = missing.first() {
            return Ok(State::Partial(format!("{place} is not mounted")));
        }
        for plugin in host.list(CNI_PLUGINS)? {
            if !host.exists(&format!("{PLUGINS}/{plugin}")) {
                return Ok(State::Partial(format!("{PLUGINS} lacks {plugin}")));
            }
        }
        Ok(State::Done)
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        for (partition, folder, place, mode) in BINDS {
            if mounts::at(host, place)?.is_none() {
                let source = format!("{partition}/{folder}");
                host.create_dir(&source, mode)?;
                // In /opt the root is read-only, and the image has the folder.
                if !host.exists(place) {
                    host.create_dir(place, mode)?;
                }
                host.mount(&Mount::bind(&source, place))?;
            }
        }
        Ok(link_plugins(host)?)
    }
}

/// Links cost nothing at each boot, and a real file of the same name, which a network add-on put there, stays.
fn link_plugins(host: &dyn Host) -> Result<()> {
    for plugin in host.list(CNI_PLUGINS)? {
        let (place, target) = (
            format!("{PLUGINS}/{plugin}"),
            format!("{CNI_PLUGINS}/{plugin}"),
        );
        let link = host.read_link(&place)?;
        if link.as_ref() != Some(&target) && (link.is_some() || !host.exists(&place)) {
            host.symlink(&target, &place)?;
        }
    }
    Ok(())
}
