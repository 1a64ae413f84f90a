//! Lays folders of the project over the root file system.
//!
//! Owners are root; modes are 0755 for folders and executables and 0644 for the rest, whatever the build
//! host's umask made of them. Files named `*.j2` are minijinja templates and lose that ending.

use anyhow::Context;
use contract::partition::Arch;
use formats::tree::{Content, Kind, Metadata, Node, Tree};
use serde::Serialize;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What templates can say.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variables {
    /// The profile's name.
    pub profile: String,
    /// Debian's name of the architecture.
    pub arch: Arch,
    /// The Kubernetes version, with its `v`.
    pub kubernetes: String,
    /// The pause image's reference.
    pub pause: String,
    /// Sizes of the slots, for the second set that the machine makes.
    pub slot: SlotSizes,
}

/// Sizes of the slots in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotSizes {
    /// The operating system.
    pub root: u64,
    /// Its hash tree.
    pub root_verity: u64,
    /// Container images.
    pub store: u64,
    /// Their hash tree.
    pub store_verity: u64,
}

/// Reads the folder `dir` into a tree, with its templates rendered.
pub fn read(dir: &Path, variables: &Variables, epoch: i64) -> anyhow::Result<Tree> {
    let mut environment = minijinja::Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    let templates = Some((&environment, variables));
    let mut tree = Tree::new();
    read_dir(dir, "", templates, epoch, &mut tree)?;
    Ok(tree)
}

/// Reads the folder `dir` into a tree with its templates as they are, which tells one state of it from another.
pub fn read_unrendered(dir: &Path) -> anyhow::Result<Tree> {
    let mut tree = Tree::new();
    read_dir(dir, "", None, 0, &mut tree)?;
    Ok(tree)
}

/// Lays `over` over `tree`. Folders that both have keep the owner and mode they had.
pub fn lay(tree: &mut Tree, over: &Tree) -> anyhow::Result<()> {
    for (path, node) in over.iter().filter(|(path, _)| !path.is_empty()) {
        let target = match path.rsplit_once('/') {
            // `lib/x` of an overlay lands where the link `lib` leads to.
            Some((parent, name)) => {
                let parent = tree
                    .resolve(parent)
                    .with_context(|| format!("{path} is below a loop of links"))?;
                if parent.is_empty() {
                    name.to_owned()
                } else {
                    format!("{parent}/{name}")
                }
            }
            None => path.clone(),
        };
        let is_dir = |node: &Node| matches!(node.kind, Kind::Directory);
        let resolved = tree.resolve(&target).and_then(|path| tree.get(&path));
        if is_dir(node) && resolved.is_some_and(is_dir) {
            continue;
        }
        tree.insert(&target, node.clone())
            .with_context(|| format!("laying {path} over the root file system"))?;
    }
    Ok(())
}

fn read_dir(
    dir: &Path,
    prefix: &str,
    templates: Option<(&minijinja::Environment<'_>, &Variables)>,
    epoch: i64,
    tree: &mut Tree,
) -> anyhow::Result<()> {
    let reading = || format!("reading overlay {}", dir.display());
    for entry in fs::read_dir(dir).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name().into_string();
        let name =
            name.map_err(|name| anyhow::anyhow!("{name:?} in {} is not UTF-8", dir.display()))?;
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let meta = |mode| Metadata {
            mtime: epoch,
            ..Metadata::root(mode)
        };
        let host = entry.path();
        let kind = entry.file_type().with_context(reading)?;
        if kind.is_symlink() {
            let target =
                fs::read_link(&host).with_context(|| format!("reading {}", host.display()))?;
            let target = target
                .to_str()
                .with_context(|| format!("the target of {path} is not UTF-8"))?
                .to_owned();
            tree.insert(
                &path,
                Node {
                    kind: Kind::Symlink(target),
                    meta: meta(0o777),
                },
            )?;
        } else if kind.is_dir() {
            tree.insert(
                &path,
                Node {
                    kind: Kind::Directory,
                    meta: meta(0o755),
                },
            )?;
            read_dir(&host, &path, templates, epoch, tree)?;
        } else {
            let executable =
                entry.metadata().with_context(reading)?.permissions().mode() & 0o111 != 0;
            let bytes = fs::read(&host).with_context(|| format!("reading {}", host.display()))?;
            let (path, content) = match (path.strip_suffix(".j2"), templates) {
                (Some(path), Some((environment, variables))) => (
                    path.to_owned(),
                    render(environment, variables, &host, &bytes)?,
                ),
                _ => (path, Content::from(bytes)),
            };
            let meta = meta(if executable { 0o755 } else { 0o644 });
            tree.insert(
                &path,
                Node {
                    kind: Kind::File(content),
                    meta,
                },
            )?;
        }
    }
    Ok(())
}

fn render(
    environment: &minijinja::Environment<'_>,
    variables: &Variables,
    host: &Path,
    bytes: &[u8],
) -> anyhow::Result<Content> {
    let rendering = || format!("rendering {}", host.display());
    let text = std::str::from_utf8(bytes).with_context(rendering)?;
    let text = environment
        .render_str(text, minijinja::value::Serde(variables))
        .with_context(rendering)?;
    Ok(Content::from(text.into_bytes()))
}
