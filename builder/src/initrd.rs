//! The initial RAM disk: a declared list of what finds, checks and mounts the root file system.
//!
//! It is made from the root file tree itself, so both carry the same systemd and the same modules. Nothing is
//! guessed from the build host. What goes in is in [`list`]: programs, units, udev rules and module names; the
//! libraries and modules that those need follow by themselves. Inside, systemd runs as `/init`, udev finds the
//! disk, `systemd-veritysetup-generator` turns `roothash=` into `/dev/mapper/root`, `systemd-fstab-generator`
//! mounts that as `/sysroot`, and systemd switches to it. There is no shell: when the root cannot be mounted,
//! the console says why and the machine stays there.
//!
//! Modules are stored decompressed, since the archive as a whole is compressed, and better so.

mod list;

use crate::rootfs::elf::Priority;
use crate::rootfs::libraries::{self, LibraryError};
use crate::rootfs::modules::{self, ModuleError};
use contract::partition::Arch;
use formats::tree::{Kind, Metadata, Node, Tree, TreeError};

pub use list::MODULES;

/// What an initrd is made for.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The architecture of the root tree.
    pub arch: Arch,
    /// Modules and aliases of modules to carry; what they need follows. [`MODULES`] is a good list.
    pub modules: &'a [&'a str],
    /// Files to lay over the result, such as a program and its units. They bring their own libraries.
    pub extra: Option<&'a Tree>,
}

/// Why an initrd cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum InitrdError {
    /// The root tree lacks a file of the list.
    #[error(
        "the initrd needs {path}, which the root file system lacks; add package {package} to the profile"
    )]
    Missing {
        /// The file.
        path: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program's libraries cannot be found.
    #[error("finding the libraries of the initrd's programs")]
    Library(#[from] LibraryError),
    /// The modules cannot be found or indexed.
    #[error("choosing the initrd's kernel modules")]
    Module(#[from] ModuleError),
    /// A file cannot be put into the initrd.
    #[error("composing the initrd")]
    Tree(#[from] TreeError),
}

/// Composes the initrd's tree for the kernel `version` from `root`, which already has its module index.
pub fn build(root: &Tree, version: &str, options: &Options<'_>) -> Result<Tree, InitrdError> {
    let mut initrd = Tree::new();
    add_skeleton(root, &mut initrd)?;
    add_listed(root, options.arch, &mut initrd)?;
    add_modules(root, version, options.modules, &mut initrd)?;
    for (path, text) in list::OWN_FILES {
        initrd.insert_file(path, 0o644, *text)?;
    }
    if let Some(extra) = options.extra {
        for (path, node) in extra.iter().filter(|(path, _)| !path.is_empty()) {
            initrd.insert(&path, node.clone())?;
        }
    }
    Ok(initrd)
}

/// Mount points, the links of a merged `/usr`, and the files that say what this is.
fn add_skeleton(root: &Tree, initrd: &mut Tree) -> Result<(), InitrdError> {
    for path in [
        "dev", "etc", "proc", "root", "run", "sys", "sysroot", "usr", "var",
    ] {
        initrd.insert_dir(path, 0o755)?;
    }
    initrd.insert_dir("tmp", 0o1777)?;
    for path in ["bin", "lib", "lib64", "sbin"] {
        if let Some(node) = root
            .get(path)
            .filter(|node| matches!(node.kind, Kind::Symlink(_)))
        {
            initrd.insert(path, node.clone())?;
        }
    }
    initrd.insert_symlink("init", "usr/lib/systemd/systemd")?;
    initrd.insert_symlink("etc/os-release", "initrd-release")?;
    let missing = || InitrdError::Missing {
        path: list::OS_RELEASE.to_owned(),
        package: "base-files",
    };
    let release = root
        .resolve(list::OS_RELEASE)
        .and_then(|path| root.get(&path))
        .ok_or_else(missing)?;
    initrd.insert("etc/initrd-release", release.clone())?;
    Ok(())
}

/// The listed files, and the libraries of those that are programs.
fn add_listed(root: &Tree, arch: Arch, initrd: &mut Tree) -> Result<(), InitrdError> {
    let multiarch = arch.multiarch();
    let mut paths = Vec::new();
    for (package, listed) in list::FILES {
        for path in *listed {
            let path = path.replace("MULTIARCH", multiarch);
            if root
                .resolve(&path)
                .and_then(|path| root.get(&path))
                .is_none()
            {
                return Err(InitrdError::Missing { path, package });
            }
            paths.push(path);
        }
    }
    let found = libraries::closure(
        root,
        paths.iter().map(String::as_str),
        Some(Priority::Required),
    )?;
    for path in found {
        if let Some(node) = root.get(&path) {
            initrd.insert(&path, node.clone())?;
        }
    }
    for (path, target) in list::LINKS {
        initrd.insert_symlink(path, target)?;
    }
    Ok(())
}

/// The modules, decompressed, with an index of just these.
fn add_modules(
    root: &Tree,
    version: &str,
    names: &[&str],
    initrd: &mut Tree,
) -> Result<(), InitrdError> {
    let directory = modules::directory(version);
    for path in modules::closure(root, version, names)? {
        let full = format!("{directory}/{path}");
        let Some(Node {
            kind: Kind::File(content),
            meta,
        }) = root.get(&full)
        else {
            return Err(ModuleError::NoKernel(full).into());
        };
        let bytes = modules::decompress(&full, content)?;
        let node = Node {
            kind: Kind::File(bytes.into()),
            meta: Metadata {
                mode: 0o644,
                ..meta.clone()
            },
        };
        initrd.insert(modules::uncompressed(&full).unwrap_or(&full), node)?;
    }
    for name in [
        "modules.order",
        "modules.builtin",
        "modules.builtin.modinfo",
    ] {
        let path = format!("{directory}/{name}");
        if let Some(node) = root.get(&path) {
            initrd.insert(&path, node.clone())?;
        }
    }
    modules::write_index(initrd, version)?;
    for name in list::UNUSED_INDEX {
        initrd.remove(&format!("{directory}/{name}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{MODULES, Options, build};
    use contract::partition::Arch;
    use formats::tree::Tree;

    #[test]
    fn a_missing_file_is_named_with_its_package() {
        let mut root = Tree::new();
        root.insert_file("usr/lib/os-release", 0o644, "ID=debian\n")
            .unwrap();
        root.insert_file("usr/lib/systemd/systemd", 0o755, "")
            .unwrap();
        let options = Options {
            arch: Arch::Amd64,
            modules: MODULES,
            extra: None,
        };
        let error = build(&root, "6", &options).unwrap_err().to_string();
        assert!(
            error.starts_with("the initrd needs usr/bin/systemctl, which"),
            "{error}"
        );
        assert!(
            error.ends_with("add package systemd to the profile"),
            "{error}"
        );
    }
}
