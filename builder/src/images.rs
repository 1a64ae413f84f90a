//! Container images of the store: composed from packages and files, or pulled from their registries, and
//! laid out as one OCI image layout.

pub mod compose;
pub mod layout;
pub mod reference;
pub mod registry;
