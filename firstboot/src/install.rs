//! Installation of a machine that was started from a medium: which disk, and what is written to it.
//!
//! [`candidates`] looks at the machine's disks, [`choose`] decides without looking, [`write`] carries it out.

pub mod candidates;
pub mod choose;
pub mod write;
