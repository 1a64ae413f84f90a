//! The hardware underneath: who this machine is, and which disk it was booted from.

pub mod disk;
pub mod drawn;
pub mod identity;
pub mod loader;
