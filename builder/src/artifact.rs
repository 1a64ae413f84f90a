//! Images in registries: what a build left, as an OCI artifact (OCI image specification 1.1, "Guidelines for Artifact
//! Usage").
//!
//! ```text
//! index       one manifest for each architecture, if there are several
//! manifest    artifactType ours, an empty config, one layer for each file
//! layer       the file as it is, with its name as org.opencontainers.image.title
//! ```
//!
//! [`plan`] decides all bytes before anything is sent; [`push`] sends what the registry has not, and the tag last;
//! [`pull`] takes files whole or not at all. Equal files give equal manifests.

mod plan;
mod pull;
mod push;
mod reference;

pub(crate) use plan::descriptor;
pub use plan::{Plan, PlanError, PlannedFile, PlannedManifest, plan};
pub use pull::{Pulled, pull};
pub use push::{Pushed, push};
pub use reference::{ArtifactReference, ArtifactReferenceError};

/// `artifactType` of a manifest or index that holds an image with its documents.
pub const ARTIFACT_TYPE: &str = "application/vnd.seedbed.image.v1";
/// Where an OCI descriptor has the file's name (OCI image specification 1.1, "Pre-Defined Annotation Keys").
pub(crate) const TITLE: &str = "org.opencontainers.image.title";
/// Media type of an image manifest.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image index.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type and bytes of the config of a manifest that needs none (OCI image specification 1.1, "Guidance for an
/// Empty Descriptor").
pub(crate) const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// Whether a name can only be that of a visible file in the folder itself: no other is pushed or pulled.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && !name.contains('/')
        && !name.chars().any(char::is_control)
}
