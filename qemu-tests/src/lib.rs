//! Boots Seedbed machines under QEMU on private networks, and the tests on them.
//!
//! A [`machine::Spec`] says what a machine has; [`machine::Machine::start`] powers it on. Everything that the
//! machine shows (serial console, phase transitions, QMP events, its end) arrives on one channel, and every
//! wait blocks on that channel with a deadline: nothing here sleeps. A wait that fails tells the last lines of
//! the console and the journal.
//!
//! The library runs QEMU, `qemu-img`, `kubectl` and `seedbed` as processes and needs neither root nor a
//! bridge; but for [`lab`], where machines are namespaces of this host, which only root can make. It does not build
//! images: tests take one from the environment, see [`environment`].

pub mod accelerator;
pub mod arguments;
pub mod bake;
pub mod cluster;
pub mod command;
pub mod disk;
pub mod environment;
pub mod events;
pub mod firmware;
pub mod fleet;
pub mod lab;
pub mod long;
pub mod machine;
pub mod network;
pub mod process;
pub mod qmp;
pub mod registry;
pub mod report;
pub mod seed;
pub mod site;
pub mod stand;
