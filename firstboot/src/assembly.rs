//! Self-assembly: machines that carry the same seed agree on one birth of one cluster, at most once.
//!
//! This is the core of the protocol. It opens no socket, reads no clock and touches no disk: [`Core::step`]
//! takes what happened and the time, and returns what to do about it, in order. Whoever drives it sends the
//! messages, keeps the [`Memory`] on disk, and passes on what other machines say.
//!
//! The machines keep a short log together. Each slot of it is decided by single-decree Paxos with quorums of
//! three quarters, [`quorum::quorum`]. That is more than a majority, and what it buys is that machines
//! may lose their memory and vote again: [`quorum::tolerated`] says how many, and `docs/assembly.md` why.
//!
//! | module | holds |
//! |---|---|
//! | [`entry`] | what the log says: who founds the cluster, and that it is founded |
//! | [`message`] | what machines say to each other |
//! | [`memory`] | what a machine must have on disk before it speaks: the acceptor |
//! | [`proposal`] | one attempt to have an entry decided: the proposer |
//! | [`roster`] | who was heard of lately, and who is there twice |
//! | [`core`] | all of it together, with timers |
//! | [`follower`] | the part of a machine with a join seed, which takes no part in a birth |

pub mod config;
pub mod core;
pub mod driver;
pub mod entry;
pub mod follower;
pub mod memory;
pub mod message;
mod part;
pub mod proposal;
pub mod quorum;
pub mod random;
pub mod roster;
pub mod trouble;

pub use config::{Config, ConfigError, Timing};
pub use core::{Action, Core, Event};
pub use entry::{Entry, Seat};
pub use follower::Follower;
pub use memory::Memory;
pub use message::{Ballot, Beacon, Message};
pub use trouble::Trouble;
