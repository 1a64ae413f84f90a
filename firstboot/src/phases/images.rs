//! Images: every blob of the store is in containerd's content store already, as a link.
//!
//! Before: the store is mounted, and `/var/lib/containerd` is on DATA. After: the content store's folder has
//! a symbolic link for each blob. containerd looks there before it fetches a blob (its content sharing policy
//! is `shared`), so that a pull asks the registry on loopback for the manifest and reads the layers in place:
//! nothing is copied, and nothing is hashed twice. What its garbage collector takes away is a link; it is put
//! back at the next boot, and until then a pull goes through the registry.

use crate::host::Host;
use crate::phase::{Outcome, Phase, State, done_if};
use contract::paths;

const CONTENT: &str = "/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256";

/// The phase.
#[derive(Debug)]
pub struct Images;

impl Phase for Images {
    fn name(&self) -> &'static str {
        "images"
    }

    fn after(&self) -> &'static [&'static str] {
        &["paths", "store"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        Ok(done_if(
            missing(host)?.is_empty(),
            "not every image is linked",
        ))
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        host.create_dir(CONTENT, 0o755)?;
        for blob in missing(host)? {
            let target = format!("{}/blobs/sha256/{blob}", paths::STORE);
            host.symlink(&target, &format!("{CONTENT}/{blob}"))?;
        }
        Ok(())
    }
}

/// Blobs of the store that the content store lacks.
fn missing(host: &dyn Host) -> anyhow::Result<Vec<String>> {
    let blobs = host.list(&format!("{}/blobs/sha256", paths::STORE))?;
    let lacks = |blob: &String| !host.exists(&format!("{CONTENT}/{blob}"));
    Ok(blobs.into_iter().filter(lacks).collect())
}
