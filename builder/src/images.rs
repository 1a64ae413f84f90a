//! Container images of the store: composed from packages and files, or pulled from their registries, and
//! laid out as one OCI image layout, with the layers' trees beside it.
//!
//! ```text
//! Image -layout-> oci-layout, index.json, blobs/
//! Image -config-> diff IDs -layer-> Layer (overlayfs form) -layers-> layers/N, chains/<chain ID>
//! ```

pub mod compose;
pub mod config;
pub mod layer;
pub mod layers;
pub mod layout;
pub mod reference;
pub mod registry;
