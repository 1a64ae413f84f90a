//! Reads bundles: where every member is, without copying any.

use super::{BLOBS, INDEX, Index, PROFILE, unpack};
use crate::lock::{self, Lock};
use crate::profile::{self, Profile};
use anyhow::{Context, bail, ensure};
use formats::tree::Content;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tar::Archive;

/// Most bytes of `bundle.json` and `profile.lock`: a lock of thousands of packages has a tenth of that.
const DOCUMENT_LIMIT: u64 = 64 << 20;

/// An open bundle that is as long as it says. Blobs are verified when they are read.
#[derive(Clone, Debug)]
pub struct Bundle {
    path: PathBuf,
    index: Index,
    lock: Lock,
    blobs: BTreeMap<String, Content>,
    folder: Vec<unpack::Member>,
}

impl Bundle {
    /// Reads the index and the lock, and finds the blobs.
    ///
    /// # Errors
    /// It is no bundle, of another version, cut short, or its lock is not the one of its index.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let reading = || format!("reading bundle {}", path.display());
        let file = File::open(path).with_context(reading)?;
        read(path, Arc::new(file)).with_context(reading)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the bundle says of itself.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Its lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// A blob, not yet verified; `None` if the bundle has none of this digest.
    pub fn blob(&self, sha256: &str) -> Option<Content> {
        self.blobs.get(sha256).cloned()
    }

    /// Unpacks the profile below the empty folder `to`, and reads it.
    ///
    /// # Errors
    /// A member would leave the folder, or the profile names something outside of it.
    pub fn unpack(&self, to: &Path) -> anyhow::Result<Profile> {
        let unpacking = || format!("unpacking the profile of bundle {}", self.path.display());
        unpack::unpack(&self.folder, to).with_context(unpacking)?;
        let profile = profile::read(&to.join(&self.index.folder)).with_context(unpacking)?;
        unpack::confined(&profile, to).with_context(unpacking)?;
        if self.lock.profile_digest != profile.digest {
            bail!(
                "the lock in bundle {} was made from another text of the profile: make the bundle again",
                self.path.display()
            );
        }
        Ok(profile)
    }
}

/// The bundle whose profile and lock count: the one that no other was made after.
///
/// # Errors
/// Several bundles are of different locks, and none was made after the others.
pub fn newest(bundles: &[Bundle]) -> anyhow::Result<&Bundle> {
    // One that was made since its own lock has no blobs, and is as new as those that have them.
    let replaced: BTreeSet<&str> = bundles
        .iter()
        .filter_map(|bundle| Some((bundle.index.lock.as_str(), bundle.index.since.as_deref()?)))
        .filter(|(lock, since)| lock != since && bundles.iter().any(|b| b.index.lock == **since))
        .map(|(_, since)| since)
        .collect();
    let heads = bundles
        .iter()
        .filter(|bundle| !replaced.contains(bundle.index.lock.as_str()));
    let heads: Vec<&Bundle> = heads.collect();
    let (Some(head), rest) = (heads.first(), heads.get(1..).unwrap_or_default()) else {
        bail!("no bundle is newer than the others: name those to build from, and no more");
    };
    if let Some(other) = rest.iter().find(|b| b.index.lock != head.index.lock) {
        bail!(
            "{} and {} hold different locks, and neither was made by --since the other: build from one of them",
            head.path.display(),
            other.path.display()
        );
    }
    Ok(head)
}

fn read(path: &Path, file: Arc<File>) -> anyhow::Result<Bundle> {
    let end = file.metadata().context("asking for its length")?.len();
    let mut archive = Archive::new(&*file);
    let mut index: Option<Index> = None;
    let mut lock: Option<Lock> = None;
    let mut blobs = BTreeMap::new();
    let mut folder = Vec::new();
    for entry in archive
        .entries_with_seek()
        .context("it is no tar archive")?
    {
        let mut entry = entry.context("it is no tar archive, or cut short")?;
        let name = entry.path().context("reading a member's name")?;
        let name = name.to_str().context("a member's name is not UTF-8")?;
        let name = name.to_owned();
        let (offset, len) = (entry.raw_file_position(), entry.size());
        ensure!(
            offset.checked_add(len).is_some_and(|past| past <= end),
            "it is cut short, in {name}: copy it again"
        );
        let content = Content::Slice {
            file: Arc::clone(&file),
            offset,
            len,
        };
        match (&index, name.as_str()) {
            (None, INDEX) => index = Some(parse(&document(&mut entry)?)?),
            (None, _) => bail!("it is no bundle: it does not begin with {INDEX}"),
            (Some(_), lock::FILE_NAME) if lock.is_some() => bail!("{name} is there twice"),
            (Some(index), lock::FILE_NAME) => {
                lock = Some(parse_lock(&document(&mut entry)?, index)?)
            }
            (Some(_), _) => {
                if let Some(sha256) = name.strip_prefix(BLOBS) {
                    let before = blobs.insert(sha256.to_owned(), content);
                    ensure!(before.is_none(), "{name} is there twice");
                } else if let Some(path) = name.strip_prefix(PROFILE) {
                    folder.push(unpack::Member::of(path, &entry, content)?);
                } else {
                    bail!("{name} does not belong into a bundle of version 1");
                }
            }
        }
    }
    let index = index.context("it is no bundle: it is empty")?;
    let lock = lock.with_context(|| format!("it has no {}: copy it again", lock::FILE_NAME))?;
    for named in &index.blobs {
        let len = blobs.get(&named.sha256).map(Content::len);
        ensure!(
            len == Some(named.size),
            "it is cut short, and lacks {named}: copy it again"
        );
    }
    Ok(Bundle {
        path: path.to_owned(),
        index,
        lock,
        blobs,
        folder,
    })
}

pub(super) fn document(entry: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = entry.take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes);
    read.context("it is cut short")?;
    ensure!(
        bytes.len() as u64 <= DOCUMENT_LIMIT,
        "a document in it is too large"
    );
    Ok(bytes)
}

/// Reads the index, of this version alone.
pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Index> {
    let value: serde_json::Value =
        serde_json::from_slice(bytes).with_context(|| format!("reading {INDEX}"))?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    ensure!(
        version == Some(1),
        "this seedbed reads bundles of version 1, and this one says {}",
        version.map_or("nothing".to_owned(), |v| v.to_string())
    );
    serde_json::from_value(value).with_context(|| format!("reading {INDEX}"))
}

fn parse_lock(bytes: &[u8], index: &Index) -> anyhow::Result<Lock> {
    let lock: Lock =
        serde_json::from_slice(bytes).with_context(|| format!("reading {}", lock::FILE_NAME))?;
    let found = lock::digest(&lock);
    ensure!(
        found == index.lock,
        "its lock has digest {found}, and its index says {}: copy it again",
        index.lock
    );
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;
    use tar::{Builder, EntryType, Header};

    const LOCK: &str = r#"{"version": 1, "profile": "p", "profileDigest": "", "epoch": 0,
        "archives": [], "arch": {}}"#;

    /// A bundle of an empty lock with `members`: a name, a kind and a link's target.
    fn open(members: &[(&str, EntryType, &str)]) -> anyhow::Result<Bundle> {
        let lock: Lock = serde_json::from_str(LOCK).unwrap();
        let index = serde_json::json!({
            "version": 1, "profile": "p", "folder": "", "lock": lock::digest(&lock),
            "blobs": [], "elsewhere": [],
        });
        let mut tar = Builder::new(tempfile::tempfile().unwrap());
        let mut add = |name: &str, kind, link: &str, text: &str| {
            let mut header = Header::new_gnu();
            // As an attacker would: the library refuses some names.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(kind);
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append(&header, text.as_bytes()).unwrap();
        };
        add(INDEX, EntryType::Regular, "", &index.to_string());
        add(lock::FILE_NAME, EntryType::Regular, "", LOCK);
        for (name, kind, link) in members {
            add(name, *kind, link, "");
        }
        let mut file = tar.into_inner().unwrap();
        file.rewind().unwrap();
        read(Path::new("b.tar"), Arc::new(file))
    }

    fn refuse(members: &[(&str, EntryType, &str)], expected: &str) {
        let to = tempfile::tempdir().unwrap();
        let unpacked = open(members).and_then(|bundle| unpack::unpack(&bundle.folder, to.path()));
        let error = format!("{:#}", unpacked.unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn hostile_members_are_refused_by_name() {
        let file = EntryType::Regular;
        assert!(open(&[("profile/profile.yaml", file, "")]).is_ok());
        refuse(&[("profile/../x", file, "")], "../x would leave the folder");
        refuse(
            &[("profile//etc/x", file, "")],
            "/etc/x would leave the folder",
        );
        refuse(
            &[("/etc/x", file, "")],
            "/etc/x does not belong into a bundle",
        );
        refuse(
            &[
                ("profile/a", EntryType::Symlink, "/etc"),
                ("profile/a/x", file, ""),
            ],
            "a/x is below a link",
        );
        for kind in [
            EntryType::Block,
            EntryType::Char,
            EntryType::Fifo,
            EntryType::Link,
        ] {
            refuse(
                &[("profile/a", kind, "/etc/passwd")],
                "a is neither file, folder nor link",
            );
        }
    }

    #[test]
    fn duplicate_entries_are_refused_by_name() {
        let file = EntryType::Regular;
        refuse(
            &[(lock::FILE_NAME, file, "")],
            "profile.lock is there twice",
        );
        let blob = format!("{BLOBS}{}", "0".repeat(64));
        refuse(&[(&blob, file, ""), (&blob, file, "")], "00 is there twice");
        refuse(
            &[("profile/a", file, ""), ("profile/a", file, "")],
            "writing",
        );
    }
}
