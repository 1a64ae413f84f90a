//! What `firstboot status --json` says, and the file at [`contract::paths::STATUS`] holds.

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

    /// The table that people read.
    pub fn to_text(&self) -> String {
        let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| String::from("-"));
        let mut text = format!(
            "machine {}  address {}  cluster {}  Kubernetes {}  {:?}\n",
            dash(&self.host_name),
            dash(&self.address),
            dash(&self.cluster),
            self.kubernetes,
            self.state
        );
        for phase in &self.phases {
            let time = match phase.finished.or(phase.started) {
                Some(time) => format!("{time:8.1} s"),
                None => String::from("         -"),
            };
            let why = phase.why.as_deref().unwrap_or_default();
            let state = format!("{:?}", phase.state).to_lowercase();
            text += format!("{time}  {:<22} {state:<9} {why}", phase.name).trim_end();
            text.push('\n');
        }
        text
    }
}
