//! The journal's lines: what `firstboot` tells of its phases, and whoever watches a machine reads.
//!
//! Each line is one [`Transition`] as JSON. A machine writes them to [`crate::paths::JOURNAL`], to STATE, and to the virtio
//! port [`PORT`] if it has one.

use serde::{Deserialize, Serialize};

/// The virtio port that takes the lines as they are written.
pub const PORT: &str = "seedbed.status";

/// A transition of a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Seconds after power-on, by the machine's clock.
    pub at: f64,
    /// Seconds since 1970.
    pub time: u64,
    /// The phase's name; `machine` for the machine as a whole.
    pub phase: String,
    /// What happened to it.
    pub event: Step,
    /// Why, if there is a reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What happened to a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// `firstboot` began.
    Begin,
    /// The phase was found not done, and is applied.
    Apply,
    /// The phase waits for something.
    Waiting,
    /// The phase failed and is tried again.
    Retry,
    /// The phase failed, and somebody has to change something.
    Failed,
    /// The phase is done.
    Done,
    /// Every phase is done.
    Ready,
    /// Something that people should know.
    Note,
}
