//! Writing results: whole under their final name, or not there at all.

pub mod bounded;

use anyhow::Context;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file being written beside its final name. Dropped before [`Unfinished::finish`], it is removed.
#[derive(Debug)]
pub struct Unfinished {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Unfinished {
    /// Starts `path` under the name `.NAME.unfinished` in the same folder.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        Self::create_with(path, 0o666)
    }

    /// As [`Unfinished::create`], for the owner's eyes only.
    pub fn create_private(path: &Path) -> anyhow::Result<Self> {
        Self::create_with(path, 0o600)
    }

    fn create_with(path: &Path, mode: u32) -> anyhow::Result<Self> {
        let name = path
            .file_name()
            .with_context(|| format!("{} names no file", path.display()))?;
        let temporary = path.with_file_name(format!(".{}.unfinished", name.to_string_lossy()));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary);
        let file = file.with_context(|| format!("creating {}", temporary.display()))?;
        Ok(Unfinished {
            file,
            temporary,
            path: path.to_owned(),
            finished: false,
        })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the file is on its disk. [`Unfinished::finish`] does that too, and then has nothing to wait
    /// for.
    pub fn sync(&self) -> anyhow::Result<()> {
        let synced = self.file.sync_all();
        synced.with_context(|| format!("writing {}", self.path.display()))
    }

    /// Syncs the file, gives it its final name, and syncs the folder that has the name.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.sync()?;
        let renamed = fs::rename(&self.temporary, &self.path);
        renamed.with_context(|| {
            format!(
                "renaming {} to {}",
                self.temporary.display(),
                self.path.display()
            )
        })?;
        self.finished = true;
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.with_context(|| format!("writing {}", folder.display()))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing more can be done about a leftover than to leave it under its telling name.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a small file whole.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let unfinished = Unfinished::create(path)?;
    unfinished
        .file()
        .write_all(bytes)
        .with_context(|| format!("writing {}", path.display()))?;
    unfinished.finish()
}
