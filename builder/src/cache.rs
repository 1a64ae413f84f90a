//! What builds made before, kept by what it was made of, so that no build does the same work twice.
//!
//! ```text
//! DIR/<64 hex of the key>    a result, followed by the 32 bytes of its SHA-256
//! ```
//!
//! A [`Key`] is the digest of everything that decides a result, the step's own name included. A result never
//! changes once it has its name, so any number of builds share a folder. It is verified whenever it is taken:
//! one that a power cut left half, or that rotted, is thrown away and made again. Hence nothing is synced.
//! The results that were not taken for longest go first when the folder grows beyond its limit.

pub mod files;

use crate::digest;
use anyhow::Context;
use formats::tree::Content;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes of the digest behind a result.
const DIGEST: u64 = 32;
/// Bytes that a folder may have after [`Cache::trim`]: some dozen builds' worth.
const LIMIT: u64 = 16 << 30;
/// Bytes that are written or hashed at once.
const CHUNK: usize = 256 << 10;

/// Where a result is written to.
pub type Out<'a> = dyn Write + Send + 'a;

/// Results of earlier builds, or nothing at all.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: Option<PathBuf>,
    /// SHA-256 of the program that is at work: another version may make other bytes of the same inputs.
    maker: String,
}

/// Names a result by all that decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

/// Collects what decides a result.
#[derive(Clone, Debug)]
pub struct KeyParts(Sha256);

/// 64 hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Key {
    /// Starts the key of a result of `step` that is the same whichever version of the program makes it.
    pub fn of(step: &str) -> KeyParts {
        KeyParts(Sha256::new()).with(step)
    }
}

impl KeyParts {
    /// Adds an input; its length is part of the key, so that inputs never run into each other.
    #[must_use]
    pub fn with(mut self, input: impl AsRef<[u8]>) -> Self {
        let input = input.as_ref();
        self.0.update((input.len() as u64).to_le_bytes());
        self.0.update(input);
        self
    }

    /// Adds bytes that need not be in memory.
    pub fn with_content(self, content: &Content) -> io::Result<Self> {
        let (digest, _) = digest::sha256_of(content.reader())?;
        Ok(self.with(digest))
    }

    /// The key.
    pub fn key(self) -> Key {
        Key(digest::hex(&self.0.finalize()))
    }
}

impl Cache {
    /// Opens the cache in `dir`, and makes it if need be.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)
            .with_context(|| format!("creating the build cache {}", dir.display()))?;
        let me = std::env::current_exe().context("finding this program")?;
        let reading = || format!("reading {}", me.display());
        let me = File::open(&me).with_context(reading)?;
        Ok(Cache {
            dir: Some(dir.to_owned()),
            maker: digest::sha256_of(me).with_context(reading)?.0,
        })
    }

    /// A cache that holds nothing and keeps nothing.
    pub fn none() -> Self {
        Cache {
            dir: None,
            maker: String::new(),
        }
    }

    /// Whether it keeps anything.
    pub fn keeps(&self) -> bool {
        self.dir.is_some()
    }

    /// `$XDG_CACHE_HOME/seedbed/build`, or below `~/.cache`.
    pub fn default_dir() -> anyhow::Result<PathBuf> {
        Ok(crate::store::cache_home()?.join("seedbed/build"))
    }

    /// Starts the key of a result that only the same program takes again.
    pub fn key(&self, step: &str) -> KeyParts {
        Key::of(step).with(&self.maker)
    }

    /// Whether there is a result of `key`. It may turn out not to be whole when it is taken.
    pub fn has(&self, key: &Key) -> bool {
        let path = self.dir.as_ref().map(|dir| dir.join(&key.0));
        path.is_some_and(|path| path.exists())
    }

    /// The result of `key`, if there is one and it is whole.
    pub fn get(&self, key: &Key) -> Option<Content> {
        let path = self.dir.as_ref()?.join(&key.0);
        // A result that cannot be read is made again, whatever the reason was.
        let file = File::open(&path).ok()?;
        match take(&file) {
            Ok(Some(result)) => {
                touch(&file);
                Some(result)
            }
            _ => {
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// The result of `key`: the one that is there, or what `make` writes. Without a folder it is kept in an
    /// unnamed file below `scratch`.
    pub fn get_or_make(
        &self,
        key: &Key,
        scratch: &Path,
        make: impl FnOnce(&mut Out<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Content> {
        match self.get(key) {
            Some(content) => Ok(content),
            None => self.put(key, scratch, make),
        }
    }

    /// Keeps what `make` writes as the result of `key`, and gives it back.
    pub fn put(
        &self,
        key: &Key,
        scratch: &Path,
        make: impl FnOnce(&mut Out<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Content> {
        let Some(dir) = &self.dir else {
            let writing = || format!("writing a scratch file in {}", scratch.display());
            let file = tempfile::tempfile_in(scratch).with_context(writing)?;
            let mut out = BufWriter::with_capacity(CHUNK, file);
            make(&mut out)?;
            let file = out.into_inner().map_err(io::IntoInnerError::into_error);
            return content(file.with_context(writing)?, 0).with_context(writing);
        };
        let writing = || {
            format!(
                "writing to the build cache {}, which --no-cache does without",
                dir.display()
            )
        };
        let file = tempfile::Builder::new()
            .prefix(".unfinished-")
            .tempfile_in(dir)
            .with_context(writing)?;
        let mut out = BufWriter::with_capacity(CHUNK, Hashed::new(file));
        make(&mut out)?;
        let hashed = out.into_inner().map_err(io::IntoInnerError::into_error);
        let Hashed { mut file, hash } = hashed.with_context(writing)?;
        file.write_all(&hash.finalize()).with_context(writing)?;
        // Whoever else made the same result at the same time made the same bytes.
        let file = file.persist(dir.join(&key.0)).with_context(writing)?;
        content(file, DIGEST).with_context(writing)
    }

    /// Removes what was not used for longest until the folder is within its limit, and what killed builds left.
    pub fn trim(&self) -> anyhow::Result<()> {
        match &self.dir {
            Some(dir) => trim(dir, LIMIT).with_context(|| format!("trimming {}", dir.display())),
            None => Ok(()),
        }
    }
}

/// Passes bytes on to a file and hashes them.
struct Hashed {
    file: tempfile::NamedTempFile,
    hash: Sha256,
}

impl Hashed {
    fn new(file: tempfile::NamedTempFile) -> Self {
        Hashed {
            file,
            hash: Sha256::new(),
        }
    }
}

impl Write for Hashed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.hash.update(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether the digest behind the result is its own.
fn is_whole(result: &Content, file: &File) -> io::Result<bool> {
    let mut hash = Sha256::new();
    result.read_chunks(
        0,
        |error| error,
        |_, bytes| {
            hash.update(bytes);
            Ok(())
        },
    )?;
    let mut expected = [0; DIGEST as usize];
    file.read_exact_at(&mut expected, result.len())?;
    Ok(hash.finalize()[..] == expected)
}

/// The result in `file`, if it is whole.
fn take(file: &File) -> io::Result<Option<Content>> {
    let result = content(file.try_clone()?, DIGEST)?;
    Ok(is_whole(&result, file)?.then_some(result))
}

/// All of `file` but the last `behind` bytes.
fn content(file: File, behind: u64) -> io::Result<Content> {
    let len = file.metadata()?.len().checked_sub(behind);
    Ok(Content::Slice {
        file: Arc::new(file),
        offset: 0,
        len: len.ok_or(io::ErrorKind::UnexpectedEof)?,
    })
}

/// Remembers that a result was taken now. Only the order of removal depends on it, so a failure is no matter.
fn touch(file: &File) {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    let _ = rustix::fs::futimens(file, &times);
}

fn trim(dir: &Path, limit: u64) -> io::Result<()> {
    let mut results: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Another build may have removed it meanwhile.
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_file() {
            results.push((meta.modified()?, meta.len(), entry.path()));
        }
    }
    results.sort();
    let mut size: u64 = results.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in results {
        if size <= limit {
            break;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => size -= len,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_result_is_made_once_and_again_when_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let key = Key::of("greeting").with("world").key();
        let made = Cell::new(0);
        let make = |out: &mut Out<'_>| {
            made.set(made.get() + 1);
            Ok(out.write_all(b"hello world")?)
        };
        for _ in 0..2 {
            let content = cache.get_or_make(&key, dir.path(), make).unwrap();
            assert_eq!(content.to_vec().unwrap(), b"hello world");
        }
        assert_eq!(made.get(), 1);
        let path = dir.path().join(&key.0);
        let good = fs::read(&path).unwrap();
        for damaged in [&b"jello"[..], &good[..good.len() - 1], &good[..7], b""] {
            fs::write(&path, damaged).unwrap();
            assert!(cache.get(&key).is_none());
            assert!(!path.exists(), "what is damaged is thrown away");
        }
        cache.get_or_make(&key, dir.path(), make).unwrap();
        assert_eq!(made.get(), 2);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let fail = |out: &mut Out<'_>| {
            out.write_all(b"half")?;
            anyhow::bail!("no")
        };
        cache
            .get_or_make(&Key::of("x").key(), dir.path(), fail)
            .unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn inputs_do_not_run_into_each_other() {
        let key = |parts: &[&str]| {
            let start = Key::of("step");
            parts.iter().fold(start, |key, part| key.with(part)).key()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["a", ""]));
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
    }

    #[test]
    fn without_a_folder_nothing_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::none();
        let key = Key::of("x").key();
        let content = cache
            .get_or_make(&key, dir.path(), |out| Ok(out.write_all(b"x")?))
            .unwrap();
        assert_eq!(content.to_vec().unwrap(), b"x");
        assert!(cache.get(&key).is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::UNIX_EPOCH;
        for (name, age) in [("a", 3), ("b", 1), ("c", 2)] {
            let path = dir.path().join(name);
            fs::write(&path, [0; 10]).unwrap();
            let file = File::options().append(true).open(path).unwrap();
            let time = old + std::time::Duration::from_secs(100 - age);
            file.set_modified(time).unwrap();
        }
        trim(dir.path(), 25).unwrap();
        let left = |name| dir.path().join(name).exists();
        assert!(!left("a") && left("b") && left("c"));
    }
}
