//! The steps that change the disk, one by one, so that a test can stop between any two of them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;

use anyhow::{Context, Result};

/// What can be done to the disk. Every error names the path.
pub(crate) trait Effects: Send + Sync {
    /// Makes a directory with exactly this mode.
    fn make_dir(&self, path: &Path, mode: u32) -> Result<()>;
    /// Sets user and group.
    fn set_owner(&self, path: &Path, user: u32, group: u32) -> Result<()>;
    /// Writes a file anew, and brings its content to the disk.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()>;
    /// Renames, replacing a file that is there.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Brings a directory's names to the disk.
    fn sync_dir(&self, path: &Path) -> Result<()>;
    /// Deletes a directory with all that is in it; a missing one is fine.
    fn remove_tree(&self, path: &Path) -> Result<()>;
}

/// The real ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real;

impl Effects for Real {
    fn make_dir(&self, path: &Path, mode: u32) -> Result<()> {
        DirBuilder::new()
            .mode(mode)
            .create(path)
            // The process's umask may have taken something from it.
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
            .with_context(|| format!("making directory {}", path.display()))
    }

    fn set_owner(&self, path: &Path, user: u32, group: u32) -> Result<()> {
        lchown(path, Some(user), Some(group))
            .with_context(|| format!("giving {} to {user}:{group}", path.display()))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let run = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = options.open(path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        run().with_context(|| format!("writing {}", path.display()))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to)
            .with_context(|| format!("renaming {} to {}", from.display(), to.display()))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("bringing {} to the disk", path.display()))
    }

    fn remove_tree(&self, path: &Path) -> Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("deleting {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}
