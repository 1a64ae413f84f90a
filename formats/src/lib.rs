//! Bytes to values and back: erofs, dm-verity, FAT, GPT, qcow2, cpio, PE/UKI.
//!
//! Nothing here knows a clock, randomness, a process or the network, and nothing panics on bad input.

mod bytes;
pub mod cpio;
pub mod erofs;
pub mod fat;
pub mod gpt;
pub mod pe;
pub mod qcow2;
pub mod read_at;
pub mod tree;
pub mod uki;
pub mod verity;
