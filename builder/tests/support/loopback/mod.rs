//! A world on the loopback device: servers with the layouts of upstream's sites, and the program run against
//! them, with an environment in which nothing of the host is left.

pub mod command;
pub mod docker_registry;
pub mod machine;
pub mod module;
pub mod registry;
pub mod server;
pub mod small;
pub mod upstream;

/// When the fixture archives were signed. Long ago: profiles that use them accept any age.
pub const DATE: i64 = 1_760_000_000;
