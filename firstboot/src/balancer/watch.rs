//! A file that others replace, looked at now and then.
//!
//! One `stat` a second takes a few microseconds; the kernel's notifications would have to watch the folder instead,
//! which may not be there yet.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file and what was last seen of it.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    seen: Seen,
}

/// A replaced file has another inode, one that was written on has another time or length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Absent,
    File {
        inode: u64,
        time: (i64, i64),
        length: u64,
    },
}

/// What a look gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is as it was.
    Same,
    /// It is gone, or was not there at the first look.
    Absent,
    /// It is another.
    Content(Vec<u8>),
}

impl Watched {
    pub(super) fn new(path: &Path) -> Self {
        Watched {
            path: path.to_owned(),
            seen: Seen::Nothing,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the file is another than at the last look.
    pub(super) fn look(&mut self) -> Result<Look> {
        let reading = || format!("reading {}", self.path.display());
        let seen = match fs::metadata(&self.path) {
            Ok(metadata) => Seen::File {
                inode: metadata.ino(),
                time: (metadata.mtime(), metadata.mtime_nsec()),
                length: metadata.len(),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Absent,
            Err(error) => return Err(error).with_context(reading),
        };
        if seen == self.seen {
            return Ok(Look::Same);
        }
        // If it is replaced right now, the next look finds it changed once more.
        let look = match seen {
            Seen::File { .. } => Look::Content(fs::read(&self.path).with_context(reading)?),
            Seen::Nothing | Seen::Absent => Look::Absent,
        };
        self.seen = seen;
        Ok(look)
    }
}

#[cfg(test)]
mod tests {
    use super::{Look, Watched};
    use std::fs;

    #[test]
    fn every_replacement_is_seen_once() {
        let dir = tempfile::tempdir().unwrap();
        let (path, next) = (dir.path().join("file"), dir.path().join("next"));
        let mut watched = Watched::new(&path);
        assert_eq!(watched.look().unwrap(), Look::Absent);
        assert_eq!(watched.look().unwrap(), Look::Same);
        for text in ["one", "two", "one"] {
            fs::write(&next, text).unwrap();
            fs::rename(&next, &path).unwrap();
            assert_eq!(watched.look().unwrap(), Look::Content(text.into()));
            assert_eq!(watched.look().unwrap(), Look::Same);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(watched.look().unwrap(), Look::Absent);
        assert_eq!(watched.look().unwrap(), Look::Same);
    }
}
