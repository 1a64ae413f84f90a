//! Unpacks the profile of a bundle, which may be anybody's: nothing is written outside of the folder, and a profile
//! that would take files of this host into an image is refused.

use crate::profile::Profile;
use anyhow::{Context, bail, ensure};
use formats::tree::Content;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use tar::{Entry, EntryType};

/// One member below `profile/`.
#[derive(Clone, Debug)]
pub(super) struct Member {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Folder,
    Link(PathBuf),
    File { content: Content, executable: bool },
}

impl Member {
    /// The member at `path` below the folder, with its bytes where they are.
    pub(super) fn of<R: Read + Seek>(
        path: &str,
        entry: &Entry<'_, R>,
        content: Content,
    ) -> anyhow::Result<Self> {
        let path = PathBuf::from(path.trim_end_matches('/'));
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        ensure!(
            path.components().all(plain),
            "{} would leave the folder",
            path.display()
        );
        let header = entry.header();
        let kind = match header.entry_type() {
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => {
                let target = entry.link_name().context("reading a link's target")?;
                let target = target.with_context(|| format!("{} leads nowhere", path.display()))?;
                Kind::Link(target.into_owned())
            }
            EntryType::Regular => Kind::File {
                content,
                executable: header.mode().context("reading a member's mode")? & 0o111 != 0,
            },
            _ => bail!("{} is neither file, folder nor link", path.display()),
        };
        Ok(Member { path, kind })
    }
}

/// Writes `members` below the empty folder `to`.
pub(super) fn unpack(members: &[Member], to: &Path) -> anyhow::Result<()> {
    for member in members {
        let path = to.join(&member.path);
        let writing = || format!("writing {}", path.display());
        for above in member.path.ancestors().skip(1) {
            let above = to.join(above);
            // A link here could lead anywhere.
            let is_link = fs::symlink_metadata(&above).is_ok_and(|meta| meta.is_symlink());
            ensure!(!is_link, "{} is below a link", member.path.display());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(writing)?;
        }
        match &member.kind {
            Kind::Folder => fs::create_dir_all(&path).with_context(writing)?,
            Kind::Link(target) => symlink(target, &path).with_context(writing)?,
            Kind::File {
                content,
                executable,
            } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(&path);
                let mut file = file.with_context(writing)?;
                io::copy(&mut content.reader(), &mut file).with_context(writing)?;
            }
        }
    }
    Ok(())
}

/// Whether all that `profile` names is below the folder `to`.
pub(super) fn confined(profile: &Profile, to: &Path) -> anyhow::Result<()> {
    let to = to.canonicalize();
    let to = to.context("opening the unpacked profile")?;
    let parts = profile.arch.iter().map(|arch| profile.parts(*arch));
    let named = parts.flat_map(|p| [p.overlays, p.initrd_overlays, p.certificates].concat());
    let documents = profile.documents.iter().map(|dir| dir.join("profile.yaml"));
    let inputs = profile.inputs.iter().cloned();
    for path in named.chain(documents).chain(inputs) {
        let found = path.canonicalize();
        let found = found.with_context(|| format!("opening {}", path.display()))?;
        ensure!(
            found.starts_with(&to),
            "the profile names {}, which is not in the bundle",
            found.display()
        );
    }
    Ok(())
}
