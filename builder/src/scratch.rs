//! Files without a name, for what is too large for memory and is no blob yet. They are on the store's file system:
//! the folder for temporary files is often in memory.

use crate::store::Store;
use anyhow::Context;
use std::fs::File;

/// An empty file, which is gone when it is closed.
pub(crate) fn file(store: &Store) -> anyhow::Result<File> {
    // The folder of the blobs: what has no name there is none.
    let folder = store.path("");
    let file = tempfile::tempfile_in(&folder);
    file.with_context(|| format!("creating a file without a name in {}", folder.display()))
}
