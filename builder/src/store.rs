//! The store: blobs by SHA-256, shared by any number of builds at once.
//!
//! ```text
//! STORE/sha256/HEX       a whole blob; written under another name, synced, then renamed
//! STORE/partial/HEX      a download under way or interrupted; resumed by range
//! ```
//!
//! A blob is verified when it is written and again when it is read. A partial file is locked while it is
//! written, so that two fetches of one blob do not mix.
//!
//! A store may stand on bundles: their blobs are read in place, and never copied into the folder.

use crate::bundle::Bundle;
use crate::digest;
use crate::output::bears;
use anyhow::{Context, bail, ensure};
use formats::tree::Content;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of blobs.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    bundles: Arc<[Bundle]>,
}

/// What came is not what was locked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} is not what was locked: expected sha256 {expected}, {size} bytes; got {found}, {len} bytes"
)]
pub struct WrongBytes {
    what: String,
    expected: String,
    size: u64,
    found: String,
    len: u64,
}

/// A download under way: append to `file` from `len` on, then [`Partial::commit`].
#[derive(Debug)]
pub struct Partial {
    store: Store,
    sha256: String,
    /// The file, locked, positioned at its end.
    pub file: File,
    /// How many bytes are there already.
    pub len: u64,
}

impl Store {
    /// Opens the store in `dir`, and makes it if need be.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        for part in ["sha256", "partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path)
                .with_context(|| format!("creating store {}", path.display()))?;
        }
        Ok(Store {
            dir: dir.to_owned(),
            bundles: Arc::new([]),
        })
    }

    /// The same store on top of `bundles`: [`Store::content`] looks into them, too.
    pub fn over(self, bundles: Vec<Bundle>) -> Self {
        Store {
            bundles: bundles.into(),
            ..self
        }
    }

    /// `$XDG_CACHE_HOME/seedbed/store`, or below `~/.cache`.
    pub fn default_dir() -> anyhow::Result<PathBuf> {
        Ok(cache_home()?.join("seedbed/store"))
    }

    /// Where the blob is, or would be.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.dir.join("sha256").join(sha256)
    }

    /// Whether a blob of this digest and size is there. Its bytes are checked when they are read.
    pub fn has(&self, sha256: &str, size: u64) -> bool {
        let meta = || fs::metadata(self.path(sha256));
        digest::is_sha256(sha256) && meta().is_ok_and(|meta| meta.is_file() && meta.len() == size)
    }

    /// Whether neither a bundle nor the folder has such a blob.
    pub fn lacks(&self, sha256: &str, size: u64) -> bool {
        let carried = || self.bundles.iter().any(|b| b.blob(sha256).is_some());
        !self.has(sha256, size) && !carried()
    }

    /// Opens a blob and verifies all of it; `what` names it in messages.
    pub fn open_verified(&self, sha256: &str, what: &str) -> anyhow::Result<File> {
        check(sha256)?;
        let path = self.path(sha256);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("{what} (sha256 {sha256}) is not in the store: run `seedbed fetch`")
            }
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        let (found, _) =
            digest::sha256_of(&mut file).with_context(|| format!("reading {}", path.display()))?;
        if found != sha256 {
            bail!(
                "{what} is damaged in the store: {} has sha256 {found}; remove it and run `seedbed fetch`",
                path.display()
            );
        }
        file.seek(SeekFrom::Start(0))
            .with_context(|| format!("reading {}", path.display()))?;
        Ok(file)
    }

    /// A blob of a bundle or of the folder, verified; `what` names it in messages.
    pub fn content(&self, sha256: &str, what: &str) -> anyhow::Result<Content> {
        for bundle in &*self.bundles {
            if let Some(content) = bundle.blob(sha256) {
                let reading = || format!("reading {what} from {}", bundle.path().display());
                let (found, _) = digest::sha256_of(content.reader()).with_context(reading)?;
                if found != sha256 {
                    bail!(
                        "{what} is damaged in {}: it has sha256 {found} instead of {sha256}; copy the bundle again",
                        bundle.path().display()
                    );
                }
                return Ok(content);
            }
        }
        let file = self.open_verified(sha256, what)?;
        let meta = file.metadata().with_context(|| format!("reading {what}"))?;
        Ok(Content::Slice {
            file: Arc::new(file),
            offset: 0,
            len: meta.len(),
        })
    }

    /// Starts or resumes the download of a blob. Waits while another has it, who may have finished it then:
    /// ask [`Store::has`] again, and [`Partial::discard`] it.
    pub fn partial(&self, sha256: &str) -> anyhow::Result<Partial> {
        check(sha256)?;
        let path = self.dir.join("partial").join(sha256);
        let mut file = lock_at(&path)?;
        let len = file
            .seek(SeekFrom::End(0))
            .with_context(|| format!("reading {}", path.display()))?;
        Ok(Partial {
            store: self.clone(),
            sha256: sha256.to_owned(),
            file,
            len,
        })
    }
}

/// A digest becomes the name of a file; anything else could lead out of the store.
fn check(sha256: &str) -> anyhow::Result<()> {
    ensure!(
        digest::is_sha256(sha256),
        "{sha256:?} is no SHA-256 in lower-case hexadecimal"
    );
    Ok(())
}

/// The user's folder for what can be made again: `$XDG_CACHE_HOME` or `~/.cache`.
pub fn cache_home() -> anyhow::Result<PathBuf> {
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(dir.into());
    }
    let home = std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache"))
}

/// Opens and locks the file that bears the name `path` when the lock is held. Who held the lock before may
/// have renamed the file to a whole blob, which nobody may write to any more.
fn lock_at(path: &Path) -> anyhow::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).read(true);
        let file = options
            .open(path)
            .with_context(|| format!("opening {}", path.display()))?;
        file.lock()
            .with_context(|| format!("locking {}", path.display()))?;
        if bears(&file, path).with_context(|| format!("reading {}", path.display()))? {
            return Ok(file);
        }
    }
}

impl Partial {
    /// Forgets what is there, to start again.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.len = 0;
        Ok(())
    }

    /// Takes the file away: the blob came another way.
    pub fn discard(self) -> anyhow::Result<()> {
        let path = self.store.dir.join("partial").join(&self.sha256);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }

    /// Verifies the whole file and gives it its name in the store. Wrong bytes are thrown away.
    pub fn commit(mut self, size: u64, what: &str) -> anyhow::Result<()> {
        let path = self.store.dir.join("partial").join(&self.sha256);
        self.file
            .seek(SeekFrom::Start(0))
            .with_context(|| format!("reading {}", path.display()))?;
        let (found, len) = digest::sha256_of(&mut self.file)
            .with_context(|| format!("reading {}", path.display()))?;
        if found != self.sha256 || len != size {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            return Err(WrongBytes {
                what: what.to_owned(),
                expected: self.sha256,
                size,
                found,
                len,
            }
            .into());
        }
        self.file
            .sync_all()
            .with_context(|| format!("syncing {}", path.display()))?;
        let done = self.store.path(&self.sha256);
        fs::rename(&path, &done)
            .with_context(|| format!("renaming {} to {}", path.display(), done.display()))?;
        let folder = self.store.dir.join("sha256");
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        synced.with_context(|| format!("syncing {}", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A lock or a bundle may come from anywhere.
    #[test]
    fn what_is_no_digest_is_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        for name in ["../../victim", "..", "", &"A".repeat(64)] {
            assert!(store.partial(name).is_err(), "{name}");
            assert!(store.open_verified(name, "it").is_err(), "{name}");
            assert!(!store.has(name, 4), "{name}");
        }
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
    }

    #[test]
    fn an_interrupted_blob_is_resumed_and_a_wrong_one_never_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let sha256 = digest::sha256(b"hello world");
        store
            .partial(&sha256)
            .unwrap()
            .file
            .write_all(b"hello ")
            .unwrap();
        let mut partial = store.partial(&sha256).unwrap();
        assert_eq!(partial.len, 6);
        partial.file.write_all(b"world").unwrap();
        partial.commit(11, "greeting").unwrap();
        assert!(store.has(&sha256, 11) && !store.has(&sha256, 12));
        store.open_verified(&sha256, "greeting").unwrap();

        let wrong = digest::sha256(b"other");
        let mut partial = store.partial(&wrong).unwrap();
        partial.file.write_all(b"0ther").unwrap();
        let error = partial.commit(5, "greeting").unwrap_err().to_string();
        assert!(error.contains("greeting is not what was locked"), "{error}");
        assert!(!store.path(&wrong).exists() && store.partial(&wrong).unwrap().len == 0);
    }

    #[test]
    fn who_waited_for_the_lock_does_not_write_to_the_finished_blob() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let sha256 = digest::sha256(b"whole");
        let mut first = store.partial(&sha256).unwrap();
        let second = std::thread::scope(|scope| {
            let second = scope.spawn(|| store.partial(&sha256).unwrap());
            first.file.write_all(b"whole").unwrap();
            first.commit(5, "greeting").unwrap();
            second.join().unwrap()
        });
        assert_eq!(second.len, 0);
        second.file.set_len(1).unwrap();
        second.discard().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("partial")).unwrap().count(), 0);
        store.open_verified(&sha256, "greeting").unwrap();
    }

    #[test]
    fn a_blob_that_rotted_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let sha256 = digest::sha256(b"good");
        fs::write(store.path(&sha256), "evil").unwrap();
        let error = store
            .open_verified(&sha256, "package x")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("package x is damaged in the store"),
            "{error}"
        );
    }
}
