//! Bakes bootable, immutable Kubernetes machine images from a profile.
//!
//! The flow, one value type per arrow:
//!
//! ```text
//! Profile -resolve-> Lock -fetch-> Blobs -assemble-> Tree -format-> file system images -plan-> DiskPlan -write-> artifact
//! ```
//!
//! Only `lock` and `fetch` touch the network, and `build` where a remote store is named; beside them what asks
//! machines, [`peer`], [`discovery`] and [`status`]. `build` starts no process and
//! needs no privilege, and is a function of profile, lock, blobs and overlays.

pub mod artifact;
pub mod blobs;
pub mod build;
pub mod bundle;
pub mod cache;
pub mod change;
pub mod cli;
pub mod contents;
pub mod debian;
pub mod digest;
pub mod discovery;
pub mod disk;
pub mod documents;
pub mod fetch;
#[doc(hidden)]
pub mod fixture;
pub mod images;
pub mod initrd;
pub mod inspect;
pub mod lock;
pub mod output;
pub mod overlay;
pub mod peer;
pub mod profile;
pub mod progress;
pub mod rebuild;
pub mod reference;
pub mod registry;
pub mod remote;
pub mod rewrite;
pub mod rootfs;
mod scratch;
pub mod secure_boot;
pub mod signature;
pub mod source;
pub mod status;
pub mod store;
pub mod transport;
mod xz;
