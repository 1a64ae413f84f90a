//! Container images of the store: composed from packages and files, or pulled from their registries, and
//! laid out as one OCI image layout, with the layers' trees beside it.
//!
//! ```text
//! Profile -list-> names -pull, local-> LockedImage -fetch-> blobs in the store
//! Image -layout-> oci-layout, index.json, blobs/
//! Image -config-> diff IDs -layer-> Layer (overlayfs form) -layers-> layers/N, chains/<chain ID>
//! ```

pub mod chart;
pub mod compose;
pub mod config;
pub mod credentials;
pub mod fetch;
pub mod layer;
pub mod layers;
pub mod layout;
pub mod list;
pub mod local;
pub mod pull;
pub mod reference;
pub mod registries;
pub mod registry;
pub mod signature;
