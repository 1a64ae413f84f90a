//! What Seedbed's builder and `firstboot` must agree on, and nothing else: the seed, the image's manifest,
//! partitions, paths and ports.
//!
//! Both programs import this crate; it imports neither, and does no input or output of its own.

pub mod datagram;
pub mod document;
pub mod guid;
pub mod journal;
pub mod manifest;
pub mod partition;
pub mod paths;
pub mod peer;
pub mod port;
pub mod secret;
pub mod seed;
pub mod status;
