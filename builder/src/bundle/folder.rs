//! The part of a project that a profile needs: its folder, those of the profiles that it extends, and the overlays,
//! certificates, keyrings, manifests, charts and keys that they name, as they stand to each other.

use crate::overlay;
use crate::profile::Profile;
use anyhow::{Context, bail};
use formats::tree::{Content, Tree};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Files below the one folder that holds all of them.
pub(super) struct Folder {
    /// The files; executables have mode 0755, others 0644.
    pub(super) tree: Tree,
    /// The profile's folder in it; empty for the root.
    pub(super) profile: String,
}

/// What is at a path.
enum Part {
    /// A file.
    File,
    /// A folder with all that is below it.
    Folder,
}

impl Part {
    /// What is there now.
    fn at(path: &Path) -> Self {
        match path.is_dir() {
            true => Part::Folder,
            false => Part::File,
        }
    }
}

/// Collects what `profile` needs.
///
/// # Errors
/// It names something by an absolute path, or through symbolic links that lead elsewhere: nothing of it would be found
/// again on another machine.
pub(super) fn collect(profile: &Profile) -> anyhow::Result<Folder> {
    let home = profile.dir.canonicalize();
    let home = home.with_context(|| format!("opening {}", profile.dir.display()))?;
    let mut parts = BTreeMap::new();
    for document in &profile.documents {
        let path = document.join("profile.yaml");
        parts.insert(place(profile, &home, &path)?, Part::File);
    }
    for arch in &profile.arch {
        let named = profile.parts(*arch);
        for overlay in named.overlays.iter().chain(&named.initrd_overlays) {
            parts.insert(place(profile, &home, overlay)?, Part::Folder);
        }
        for certificate in &named.certificates {
            parts.insert(place(profile, &home, certificate)?, Part::File);
        }
    }
    for path in &profile.inputs {
        parts.insert(place(profile, &home, path)?, Part::at(path));
    }
    let debian = profile.sources.values().filter_map(|s| s.debian.as_ref());
    for keyring in debian
        .filter_map(|debian| debian.keyring.as_ref())
        .map(Path::new)
    {
        // One of the host's is needed to lock, and not to build.
        if keyring.starts_with(&profile.dir) && keyring.is_file() {
            parts.insert(place(profile, &home, keyring)?, Part::File);
        }
    }
    let root = common(&home, parts.keys());
    let mut tree = Tree::new();
    for (path, part) in &parts {
        let reading = || format!("reading {}", path.display());
        let below = relative(&root, path)?;
        match part {
            Part::File => {
                let bytes = fs::read(path).with_context(reading)?;
                tree.insert_file(&below, 0o644, Content::from(bytes))?;
            }
            Part::Folder => {
                if !below.is_empty() {
                    tree.insert_dir(&below, 0o755)?;
                }
                for (name, node) in overlay::read_unrendered(path)?.iter() {
                    let to = format!("{below}/{name}");
                    if !name.is_empty() {
                        tree.insert(to.trim_start_matches('/'), node.clone())?;
                    }
                }
            }
        }
    }
    Ok(Folder {
        tree,
        profile: relative(&root, &home)?,
    })
}

/// Where a file of the profile is, without `..` on the way.
fn place(profile: &Profile, home: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    let Ok(below) = path.strip_prefix(&profile.dir) else {
        bail!(
            "{} is named by an absolute path: a bundle takes what stands beside the profile, so name it relative to \
             the profile",
            path.display()
        );
    };
    let mut place = home.to_owned();
    for component in below.components() {
        match component {
            Component::ParentDir => {
                place.pop();
            }
            Component::Normal(name) => place.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let reading = || format!("opening {}", path.display());
    let found = path.canonicalize().with_context(reading)?;
    if place.canonicalize().with_context(reading)? != found {
        bail!(
            "{} leads through a symbolic link to {}: a bundle cannot keep that, so name it without the link",
            path.display(),
            found.display()
        );
    }
    Ok(place)
}

/// The deepest folder that holds all of `paths` and `home`.
fn common<'a>(home: &Path, paths: impl Iterator<Item = &'a PathBuf>) -> PathBuf {
    let mut root = home.to_owned();
    for path in paths {
        while !path.starts_with(&root) && root.pop() {}
    }
    root
}

fn relative(root: &Path, path: &Path) -> anyhow::Result<String> {
    let below = path.strip_prefix(root);
    let below = below.with_context(|| format!("{} is not in its folder", path.display()))?;
    let below = below.to_str();
    let below = below.with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(below.to_owned())
}
