//! Writing results: whole under their final name, or not there at all.

pub mod bounded;
pub mod pipeline;

use anyhow::{Context, bail};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file being written beside its final name, locked so that two programs do not mix. Dropped before [`Unfinished::finish`], it is removed.
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
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let creating = || format!("creating {}", temporary.display());
        let file = loop {
            let file = options.mode(mode).open(&temporary);
            let file = file.with_context(creating)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => bail!(
                    "another seedbed is writing {}: wait for it, or write elsewhere",
                    path.display()
                ),
                Err(TryLockError::Error(error)) => return Err(error).with_context(creating),
            }
            // Whoever held the lock before may have given the file its final name.
            if bears(&file, &temporary).with_context(creating)? {
                break file;
            }
        };
        file.set_len(0).with_context(creating)?;
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

/// Whether the open file is the one at `path`.
pub(crate) fn bears(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_that_write_one_file_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let first = Unfinished::create(&path).unwrap();
        let error = format!("{:#}", Unfinished::create(&path).unwrap_err());
        assert!(error.contains("another seedbed is writing"), "{error}");
        first.file().write_all(b"first").unwrap();
        first.finish().unwrap();
        // What a killed program left is written over.
        fs::write(dir.path().join(".file.unfinished"), "half of it").unwrap();
        let second = Unfinished::create(&path).unwrap();
        second.file().write_all(b"2").unwrap();
        second.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"2");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
