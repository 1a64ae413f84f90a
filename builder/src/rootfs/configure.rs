//! What maintainer scripts would have done to the unpacked files, as native steps on the tree.
//!
//! Each step is one function with a name; [`scripts`](crate::rootfs::scripts) says which scripts each stands
//! for. Steps never replace a file that a package or an overlay has put there, unless they own it, so running
//! them twice gives the same tree. A step whose package is absent does nothing.

pub mod accounts;
pub mod alternatives;
pub mod base_files;
pub mod capabilities;
pub mod certificates;
pub mod dpkg;
pub mod merged_usr;
pub mod names;
pub mod pam;
pub mod shells;
pub mod stamps;
pub mod statoverride;
pub mod sysusers;
pub mod tmpfiles;
pub mod ucf;
pub mod units;
pub mod users;

pub use stamps::mark_updated;
pub use units::enable_units;

use crate::rootfs::deb::Control;
use anyhow::Context;
use formats::tree::{Content, Kind, Metadata, Node, Tree};

/// A tree and what the steps need to know about it.
#[derive(Debug)]
pub struct System<'a> {
    /// The tree that is configured.
    pub tree: &'a mut Tree,
    /// Control data of all packages in it, in name order.
    pub controls: &'a [Control],
    /// The time that everything made here carries, seconds since 1970.
    pub epoch: i64,
}

/// A native step.
pub type Step = fn(&mut System<'_>) -> anyhow::Result<()>;

/// All steps by name, in the order they run: accounts come before what refers to them by name.
pub const STEPS: [(&str, Step); 12] = [
    ("base_files", base_files::apply),
    ("users", users::apply),
    ("tmpfiles", tmpfiles::apply),
    ("ucf", ucf::apply),
    ("statoverride", statoverride::apply),
    ("capabilities", capabilities::apply),
    ("alternatives", alternatives::apply),
    ("pam", pam::apply),
    ("shells", shells::apply),
    ("certificates", certificates::apply),
    ("names", names::apply),
    ("dpkg", dpkg::apply),
];

/// Runs all steps.
pub fn configure(system: &mut System<'_>) -> anyhow::Result<()> {
    for (name, step) in STEPS {
        step(system).with_context(|| format!("configuring the tree, step {name}"))?;
    }
    Ok(())
}

/// Runs the steps that a container image needs as much as a machine does.
pub fn for_container(system: &mut System<'_>) -> anyhow::Result<()> {
    merged_usr::apply(system)?;
    base_files::apply(system)?;
    users::apply(system)?;
    statoverride::apply(system)?;
    capabilities::apply(system)?;
    alternatives::apply(system)?;
    certificates::apply(system)?;
    dpkg::apply(system)
}

impl System<'_> {
    /// The control data of a package, if it is in the tree.
    pub fn package(&self, name: &str) -> Option<&Control> {
        self.controls
            .iter()
            .find(|control| control.package() == name)
    }

    /// Whether there is something at `path`, links on the way followed.
    pub fn exists(&self, path: &str) -> bool {
        self.tree
            .resolve(path)
            .is_some_and(|path| self.tree.get(&path).is_some())
    }

    /// The content of the regular file that `path` leads to.
    pub fn content(&self, path: &str) -> Option<Content> {
        match &self.tree.get(&self.tree.resolve(path)?)?.kind {
            Kind::File(content) => Some(content.clone()),
            _ => None,
        }
    }

    /// The text of the regular file that `path` leads to, if there is one.
    pub fn text(&self, path: &str) -> anyhow::Result<Option<String>> {
        let Some(content) = self.content(path) else {
            return Ok(None);
        };
        let bytes = content
            .to_vec()
            .with_context(|| format!("reading {path}"))?;
        String::from_utf8(bytes)
            .map(Some)
            .with_context(|| format!("reading {path}"))
    }

    /// Puts a file of root there, replacing what is there.
    pub fn put(
        &mut self,
        path: &str,
        mode: u16,
        content: impl Into<Content>,
    ) -> anyhow::Result<()> {
        self.place(path, Kind::File(content.into()), mode)
    }

    /// As [`System::put`], unless something is there.
    pub fn put_new(
        &mut self,
        path: &str,
        mode: u16,
        content: impl Into<Content>,
    ) -> anyhow::Result<()> {
        if self.tree.get(path).is_none() {
            self.put(path, mode, content)
        } else {
            Ok(())
        }
    }

    /// Puts a symbolic link there, replacing a file or a link.
    pub fn link(&mut self, path: &str, target: &str) -> anyhow::Result<()> {
        self.place(path, Kind::Symlink(target.to_owned()), 0o777)
    }

    /// As [`System::link`], unless something is there.
    pub fn link_new(&mut self, path: &str, target: &str) -> anyhow::Result<()> {
        if self.tree.get(path).is_none() {
            self.link(path, target)
        } else {
            Ok(())
        }
    }

    /// Puts a directory of root there, unless something is there.
    pub fn directory_new(&mut self, path: &str, mode: u16) -> anyhow::Result<()> {
        if self.tree.get(path).is_none() {
            self.place(path, Kind::Directory, mode)
        } else {
            Ok(())
        }
    }

    /// Copies the file at `from` to `to`, owner, mode and time included, unless something is there.
    pub fn copy_new(&mut self, from: &str, to: &str) -> anyhow::Result<()> {
        if let (Some(node), None) = (self.tree.get(from).cloned(), self.tree.get(to)) {
            self.tree.insert(to, node)?;
        }
        Ok(())
    }

    /// Changes owner and mode by the names in the tree's own `/etc/passwd` and `/etc/group`.
    pub fn own(&mut self, path: &str, user: &str, group: &str, mode: u16) -> anyhow::Result<()> {
        let accounts = users::read(self)?;
        let uid = accounts
            .uid(user)
            .with_context(|| format!("user {user}, to own {path}, does not exist"))?;
        let gid = accounts
            .gid(group)
            .with_context(|| format!("group {group}, to own {path}, does not exist"))?;
        let node = self
            .tree
            .get_mut(path)
            .with_context(|| format!("{path} is not there to be owned by {user}"))?;
        node.meta = Metadata {
            mode,
            uid,
            gid,
            ..node.meta.clone()
        };
        Ok(())
    }

    fn place(&mut self, path: &str, kind: Kind, mode: u16) -> anyhow::Result<()> {
        let meta = Metadata {
            mtime: self.epoch,
            ..Metadata::root(mode)
        };
        Ok(self.tree.insert(path, Node { kind, meta })?)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Small systems for the tests of the steps.

    use super::{Step, System};
    use crate::rootfs::deb::{Control, ScriptKind};
    use formats::tree::{Kind, Tree};

    /// A tree of text files; `name -> target` makes a symbolic link.
    pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (path, text) in files {
            match path.split_once(" -> ") {
                Some((path, target)) => tree.insert_symlink(path, target).unwrap(),
                None => tree.insert_file(path, 0o644, *text).unwrap(),
            }
        }
        tree
    }

    /// A package that has only a name and perhaps a postinst.
    pub(crate) fn package(name: &str, postinst: &str) -> Control {
        let text = format!("Package: {name}\nVersion: 1\nArchitecture: all\n");
        let fields = [("package", name), ("version", "1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let scripts = [(ScriptKind::Postinst, postinst.to_owned())].into();
        Control {
            text,
            fields: fields.into(),
            scripts,
            ..Control::default()
        }
    }

    /// Runs the step twice, and checks that the second run changes nothing.
    pub(crate) fn run(step: Step, tree: &mut Tree, controls: &[Control]) -> anyhow::Result<()> {
        step(&mut System {
            tree,
            controls,
            epoch: 86400,
        })?;
        let once = dump(tree);
        step(&mut System {
            tree,
            controls,
            epoch: 86400,
        })?;
        assert_eq!(once, dump(tree), "the step is not idempotent");
        Ok(())
    }

    /// Every path but directories, with what it holds.
    pub(crate) fn dump(tree: &Tree) -> String {
        let lines = tree.iter().filter_map(|(path, node)| match &node.kind {
            Kind::File(content) => {
                let text = String::from_utf8_lossy(&content.to_vec().unwrap()).into_owned();
                Some(format!(
                    "{path} {:o} {}:{} {text:?}\n",
                    node.meta.mode, node.meta.uid, node.meta.gid
                ))
            }
            Kind::Symlink(target) => Some(format!("{path} -> {target}\n")),
            _ => None,
        });
        lines.collect()
    }

    /// The text of a file.
    pub(crate) fn text(tree: &Tree, path: &str) -> String {
        match tree.get(path).map(|node| &node.kind) {
            Some(Kind::File(content)) => String::from_utf8(content.to_vec().unwrap()).unwrap(),
            other => panic!("{path}: {other:?}"),
        }
    }
}
