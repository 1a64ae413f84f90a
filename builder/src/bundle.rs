//! A bundle: one file with everything that a lock names, to be carried to where no network is.
//!
//! It is a plain tar archive, so that anybody can look inside:
//!
//! ```text
//! bundle.json           what the bundle is, and which blobs it holds: see [`Index`]
//! profile.lock          the lock
//! profile/…             the profile, what it extends and what it lays over the root, as they stand to each other
//! blobs/sha256/HEX      the blobs, in the order of their digests
//! ```
//!
//! It is written from its beginning to its end, so it can be sent while it is made, and equal locks and profiles
//! give equal bytes. A build reads blobs where they are in the file: nothing but the profile is unpacked.
//! [`write`](write::write) makes one, [`Bundle`] reads it, [`import`](import::import) copies its blobs to a store.

mod folder;
pub mod import;
mod read;
mod unpack;
pub mod write;

pub use read::{Bundle, newest};

use crate::fetch::Named;
use serde::{Deserialize, Serialize};

/// The first member's name.
const INDEX: &str = "bundle.json";
/// The folder of the profile's tree.
const PROFILE: &str = "profile/";
/// The folder of the blobs.
const BLOBS: &str = "blobs/sha256/";

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Index {
    /// Version of this document: 1.
    pub version: u32,
    /// The profile's name.
    pub profile: String,
    /// The profile's folder below `profile/`; empty if it is that folder itself.
    pub folder: String,
    /// The lock's digest.
    pub lock: String,
    /// The digest of the lock whose blobs are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The blobs inside, in their order.
    pub blobs: Vec<Named>,
    /// Blobs of the lock that were left out.
    pub elsewhere: Vec<Named>,
}
