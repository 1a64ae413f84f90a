//! A machine's status: what `firstboot status --json` prints, what the file at [`crate::paths::STATUS`] holds the
//! lasting part of, and the answer to [`crate::peer::Request::Status`].
//!
//! Version 1 grows by fields that an older machine leaves out, so every later field may be missing. Readers pass over
//! fields that they do not know. Nothing in the document is secret from those who know the cluster secret, and the
//! type holds no secret at all.

use serde::{Deserialize, Serialize};

/// The machine as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of this document: 1.
    pub version: u32,
    /// How the machine stands.
    pub state: Overall,
    /// Its host name, once it has one.
    pub host_name: Option<String>,
    /// Its cluster's name, once it is known.
    pub cluster: Option<String>,
    /// The id of its cluster, a GUID, once that is founded and the machine is a member.
    #[serde(default)]
    pub cluster_id: Option<String>,
    /// Its cluster address, once it is fixed.
    pub address: Option<String>,
    /// The image's Kubernetes version.
    pub kubernetes: String,
    /// Every phase, in the order of the plan.
    pub phases: Vec<PhaseStatus>,
    /// Who it is among the machines of its site: 32 hexadecimal digits.
    #[serde(default)]
    pub machine: Option<String>,
    /// What it does in the cluster, once that is certain.
    #[serde(default)]
    pub role: Option<Role>,
    /// What it runs from.
    #[serde(default)]
    pub image: Option<Image>,
    /// The version that its kubelet tells the cluster.
    #[serde(default)]
    pub kubelet: Option<String>,
    /// Whether its parts work now; nothing before its role is certain.
    #[serde(default)]
    pub health: Option<Health>,
    /// Its member of etcd, as far as etcd tells of it.
    #[serde(default)]
    pub etcd: Option<Etcd>,
    /// Of its certificates the one that ends first.
    #[serde(default)]
    pub certificate: Option<Certificate>,
    /// Its clock around this answer; only in an answer to another computer.
    #[serde(default)]
    pub clock: Option<Clock>,
    /// Other machines that it knows of.
    #[serde(default)]
    pub machines: Vec<Known>,
    /// Machines that were taken out of the cluster; told by its control planes.
    #[serde(default)]
    pub removed: Vec<Removed>,
}

/// A machine that was taken out of the cluster for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// Its host name.
    pub host_name: String,
    /// Whether it came with a join seed, and so was none of those that the founding seed expects.
    pub joined: bool,
}

/// How the machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Overall {
    /// Phases are being applied.
    Working,
    /// All that is left waits for something.
    Waiting,
    /// A phase failed in a way that does not mend itself.
    Failed,
    /// Every phase is done.
    Ready,
}

/// How a phase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Progress {
    /// Phases before it are not done.
    Pending,
    /// It is being looked at or applied.
    Working,
    /// It waits for something that will show by itself.
    Waiting,
    /// It failed and is tried again.
    Retrying,
    /// It failed, and somebody has to change something.
    Failed,
    /// It is done.
    Done,
}

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseStatus {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: Progress,
    /// Why it is not done, if there is a reason.
    pub why: Option<String>,
    /// How often it was applied in this boot.
    pub applied: u32,
    /// Seconds after power-on when it was first looked at.
    pub started: Option<f64>,
    /// Seconds after power-on when it was done.
    pub finished: Option<f64>,
}

/// What a machine does in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// API server, controllers, a member of etcd.
    ControlPlane,
    /// Pods only.
    Worker,
}

impl Role {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::ControlPlane => "control-plane",
            Role::Worker => "worker",
        }
    }
}

/// What a machine runs from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The profile that it was baked from.
    pub profile: String,
    /// SHA-256 of its lock, in hexadecimal.
    pub lock: String,
    /// Where on the disk it is; nothing if the booted partition cannot be told.
    pub slot: Option<Slot>,
}

/// One of the two places on a disk for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    /// The one that disks are installed with.
    A,
    /// The other.
    B,
}

/// Whether a machine's parts work now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The API server: of a control plane its own, of a worker any that its load balancer reaches.
    pub api_server: Check,
    /// Its member of etcd, whose probe takes a quorum; nothing on a worker.
    pub etcd: Option<Check>,
    /// Its node, as the API server tells.
    pub node: Check,
}

/// What looking at one part found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Whether it works; `null` if nobody can tell.
    pub healthy: Option<bool>,
    /// Why not.
    pub why: Option<String>,
}

impl Check {
    /// It works.
    pub const fn good() -> Self {
        Check {
            healthy: Some(true),
            why: None,
        }
    }

    /// It does not work.
    pub fn bad(why: impl Into<String>) -> Self {
        Check {
            healthy: Some(false),
            why: Some(why.into()),
        }
    }

    /// Nobody can tell.
    pub fn unknown(why: impl Into<String>) -> Self {
        Check {
            healthy: None,
            why: Some(why.into()),
        }
    }

    /// Whether it works for certain.
    pub fn is_good(&self) -> bool {
        self.healthy == Some(true)
    }
}

/// A member of etcd, as it tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Etcd {
    /// Its identifier in hexadecimal, as etcdctl has it.
    pub member: String,
    /// The leader's identifier; nothing while there is no leader.
    pub leader: Option<String>,
    /// The leader's name, if this member knows it.
    pub leader_name: Option<String>,
    /// Whether it only follows, without a vote.
    pub learner: bool,
    /// The index in raft's log that it has come to.
    pub raft_index: u64,
    /// Raft's term.
    pub raft_term: u64,
    /// etcd's version.
    pub version: String,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The file that it is in.
    pub path: String,
    /// When it ends: seconds since 1970.
    pub not_after: i64,
    /// Whole days until then by the machine's clock; negative when it has ended.
    pub days_left: i64,
}

/// A machine's clock, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// When the question had come.
    pub received: u64,
    /// When the answer was ready.
    pub sent: u64,
}

/// Another machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// Its host name.
    pub host_name: String,
    /// Its cluster address, if that is known.
    pub address: Option<String>,
}

impl Status {
    /// The overall state that the phases add up to.
    pub fn sum(phases: &[PhaseStatus]) -> Overall {
        let any = |state| phases.iter().any(|phase| phase.state == state);
        if any(Progress::Failed) {
            Overall::Failed
        } else if any(Progress::Working) || any(Progress::Retrying) {
            Overall::Working
        } else if any(Progress::Waiting) {
            Overall::Waiting
        } else if any(Progress::Pending) {
            Overall::Working
        } else {
            Overall::Ready
        }
    }

    /// Whether all that the machine is for works now: every phase was done, and all its parts are healthy. A learner
    /// of etcd is not there yet.
    pub fn is_ready(&self) -> bool {
        let Some(health) = &self.health else {
            return false;
        };
        let etcd = match self.role {
            Some(Role::Worker) => true,
            Some(Role::ControlPlane) => {
                health.etcd.as_ref().is_some_and(Check::is_good)
                    && self.etcd.as_ref().is_some_and(|etcd| !etcd.learner)
            }
            None => false,
        };
        self.state == Overall::Ready && health.api_server.is_good() && health.node.is_good() && etcd
    }

    /// The phases that it works at or waits for, what is worst first.
    pub fn current(&self) -> Vec<&PhaseStatus> {
        let order = [
            Progress::Failed,
            Progress::Retrying,
            Progress::Working,
            Progress::Waiting,
        ];
        let all = self.phases.iter();
        order
            .iter()
            .flat_map(|state| all.clone().filter(move |phase| phase.state == *state))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As machines wrote it before there was more.
    const FIRST: &str = r#"{
        "version": 1, "state": "ready", "hostName": "plant-1", "cluster": "plant", "address": "10.0.2.15",
        "kubernetes": "v1.20.2", "phases": [], "later": {"unknown": true}
    }"#;

    fn phase(name: &str, state: Progress) -> PhaseStatus {
        PhaseStatus {
            name: name.into(),
            state,
            why: None,
            applied: 0,
            started: None,
            finished: None,
        }
    }

    #[test]
    fn an_earlier_and_a_later_document_are_read() {
        let status: Status = serde_json::from_str(FIRST).unwrap();
        assert_eq!(status.host_name.as_deref(), Some("plant-1"));
        assert_eq!((&status.health, &status.role), (&None, &None));
        assert!(!status.is_ready(), "nobody has looked");
    }

    #[test]
    fn ready_is_all_that_a_role_takes() {
        let mut status: Status = serde_json::from_str(FIRST).unwrap();
        status.role = Some(Role::Worker);
        status.health = Some(Health {
            api_server: Check::good(),
            etcd: None,
            node: Check::good(),
        });
        assert!(status.is_ready());
        status.role = Some(Role::ControlPlane);
        assert!(!status.is_ready(), "etcd was not looked at");
        let mut etcd = Etcd {
            member: "1".into(),
            leader: Some("1".into()),
            leader_name: None,
            learner: false,
            raft_index: 1,
            raft_term: 1,
            version: "3.5.16".into(),
        };
        status.etcd = Some(etcd.clone());
        let health = status.health.as_mut().unwrap();
        health.etcd = Some(Check::good());
        assert!(status.is_ready());
        etcd.learner = true;
        status.etcd = Some(etcd);
        assert!(!status.is_ready(), "a learner");
    }

    #[test]
    fn the_worst_phase_comes_first() {
        let mut status: Status = serde_json::from_str(FIRST).unwrap();
        status.phases = vec![
            phase("a", Progress::Done),
            phase("b", Progress::Waiting),
            phase("c", Progress::Working),
            phase("d", Progress::Failed),
            phase("e", Progress::Pending),
        ];
        let names: Vec<&str> = status.current().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["d", "c", "b"]);
        assert_eq!(Status::sum(&status.phases), Overall::Failed);
    }
}
