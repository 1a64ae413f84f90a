//! Which file a library's name leads to, and all that a program needs: the dynamic loader's search, on a tree.
//!
//! The order is that of glibc's `ld.so` (ld.so(8)): what the process has loaded under that name, `DT_RUNPATH` or,
//! without one, the object's own `DT_RPATH`, then what `/etc/ld.so.conf` lists and ldconfig caches, then the
//! built-in directories. `$ORIGIN` is known, other tokens are not; a `DT_RPATH` of the loading object is not
//! inherited, and no package of Debian relies on that.

use super::elf::{Dynamic, ElfError, File, Priority};
use formats::tree::{Kind, Tree};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

/// Why the libraries of a tree cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// A file of the tree cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A file is damaged.
    #[error("{path} is not a sound ELF file")]
    Elf {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: ElfError,
    },
    /// A path that was asked for does not exist.
    #[error("{0} does not exist in the tree")]
    Missing(String),
    /// No directory holds a library that is needed.
    #[error("{path} needs {name}, which no library directory holds")]
    Unresolved {
        /// Who needs it.
        path: String,
        /// What is needed.
        name: String,
    },
    /// Configuration files include each other too deeply.
    #[error("{0} is included too deeply")]
    Include(String),
}

/// How deep `include` lines may nest.
const MAX_INCLUDES: usize = 16;

/// The directories that `etc/ld.so.conf` lists, in order, without a leading slash. None if there is no such file.
pub fn configured_directories(tree: &Tree) -> Result<Vec<String>, LibraryError> {
    let mut directories = Vec::new();
    if tree.get("etc/ld.so.conf").is_some() {
        read_configuration(tree, "etc/ld.so.conf", MAX_INCLUDES, &mut directories)?;
    }
    Ok(directories)
}

fn read_configuration(
    tree: &Tree,
    path: &str,
    depth: usize,
    found: &mut Vec<String>,
) -> Result<(), LibraryError> {
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| LibraryError::Include(path.to_owned()))?;
    let bytes = read(tree, path)?;
    for line in String::from_utf8_lossy(&bytes).lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(patterns) = line
            .strip_prefix("include")
            .filter(|rest| rest.starts_with([' ', '\t']))
        {
            for pattern in patterns.split_whitespace() {
                for file in glob(tree, path, pattern) {
                    read_configuration(tree, &file, depth, found)?;
                }
            }
        } else if !line.is_empty() && !line.starts_with("hwcap ") {
            let directory = line
                .trim_start_matches('/')
                .trim_end_matches('/')
                .to_owned();
            if !found.contains(&directory) {
                found.push(directory);
            }
        }
    }
    Ok(())
}

/// The files that a pattern names; `*` is understood in its last component, where configuration uses it.
fn glob(tree: &Tree, from: &str, pattern: &str) -> Vec<String> {
    let pattern = match pattern.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => format!("{}/{pattern}", parent(from)),
    };
    let (directory, name) = pattern.rsplit_once('/').unwrap_or(("", &pattern));
    let Some(directory) = tree.resolve(directory) else {
        return Vec::new();
    };
    let (start, end) = name.split_once('*').unwrap_or((name, ""));
    let fits = |child: &String| match name.contains('*') {
        true => {
            child.len() >= start.len() + end.len()
                && child.starts_with(start)
                && child.ends_with(end)
        }
        false => child == name,
    };
    let names = tree.children(&directory).map(|(name, _)| name).filter(fits);
    names.map(|name| format!("{directory}/{name}")).collect()
}

/// The built-in directories of Debian's loader for `multiarch`, in order.
pub fn default_directories(multiarch: &str) -> [String; 4] {
    [
        format!("lib/{multiarch}"),
        format!("usr/lib/{multiarch}"),
        "lib".into(),
        "usr/lib".into(),
    ]
}

/// Debian's multiarch tuple for an ELF machine, and the name of its 64-bit loader directory.
fn multiarch(machine: u16) -> &'static str {
    match machine {
        183 => "aarch64-linux-gnu",
        _ => "x86_64-linux-gnu",
    }
}

/// `paths`, their interpreters, and every library that they need, load by load; with dlopen dependencies of at
/// least the given priority where they exist in the tree. Symbolic links on the way are part of the result, so
/// copying the result gives a set of files that runs. Scripts and other files simply stand for themselves.
pub fn closure<'p>(
    tree: &Tree,
    paths: impl IntoIterator<Item = &'p str>,
    dlopen: Option<Priority>,
) -> Result<BTreeSet<String>, LibraryError> {
    let mut search = Search {
        tree,
        configured: configured_directories(tree)?,
        dlopen,
        objects: BTreeMap::new(),
    };
    let mut found = BTreeSet::new();
    for path in paths {
        search.program(path.trim_start_matches('/'), &mut found)?;
    }
    Ok(found)
}

/// Adds every symbolic link on the way to `path`, and where it ends, which is returned if it exists.
fn links(tree: &Tree, path: &str, found: &mut BTreeSet<String>) -> Option<String> {
    let target = tree.resolve(path)?;
    tree.get(&target)?;
    let mut here = path.to_owned();
    for _ in 0..40 {
        let directory = tree.resolve(parent(&here))?;
        here = format!("{directory}/{}", here.rsplit('/').next()?)
            .trim_start_matches('/')
            .to_owned();
        found.insert(here.clone());
        let Some(Kind::Symlink(next)) = tree.get(&here).map(|node| &node.kind) else {
            break;
        };
        here = match next.strip_prefix('/') {
            Some(absolute) => absolute.to_owned(),
            None => format!("{directory}/{next}"),
        };
    }
    found.insert(target.clone());
    Some(target)
}

struct Search<'t> {
    tree: &'t Tree,
    configured: Vec<String>,
    dlopen: Option<Priority>,
    /// What was read already; `None` for files that are no ELF files.
    objects: BTreeMap<String, Option<Object>>,
}

/// What the search remembers of a file.
#[derive(Clone, Debug)]
struct Object {
    machine: u16,
    dynamic: Dynamic,
}

impl Search<'_> {
    /// Adds one program and all that a process of it loads. As in a process, a name that is loaded already is
    /// not searched again: private libraries find each other that way.
    fn program(&mut self, path: &str, found: &mut BTreeSet<String>) -> Result<(), LibraryError> {
        let mut loaded: BTreeSet<String> = BTreeSet::new();
        let mut todo = VecDeque::from([path.to_owned()]);
        while let Some(path) = todo.pop_front() {
            let target = links(self.tree, &path, found)
                .ok_or_else(|| LibraryError::Missing(path.clone()))?;
            let Some(object) = self.object(&target)? else {
                continue;
            };
            let directories = self.directories(&target, object.machine, &object.dynamic);
            loaded.extend(object.dynamic.soname.clone());
            if let Some(interpreter) = &object.dynamic.interpreter {
                todo.push_back(interpreter.clone());
            }
            for name in &object.dynamic.needed {
                if loaded.insert(name.clone()) {
                    let unresolved = || LibraryError::Unresolved {
                        path: target.clone(),
                        name: name.clone(),
                    };
                    todo.push_back(
                        self.find(name, &directories, object.machine)
                            .ok_or_else(unresolved)?,
                    );
                }
            }
            for entry in object
                .dynamic
                .dlopen
                .iter()
                .filter(|entry| Some(entry.priority) <= self.dlopen)
            {
                let mut candidates = entry.sonames.iter();
                let first = candidates
                    .find_map(|name| Some((name, self.find(name, &directories, object.machine)?)));
                if let Some((name, path)) = first.filter(|(name, _)| !loaded.contains(*name)) {
                    loaded.insert(name.clone());
                    todo.push_back(path);
                }
            }
        }
        Ok(())
    }

    /// Reads a file once.
    fn object(&mut self, path: &str) -> Result<Option<Object>, LibraryError> {
        if let Some(object) = self.objects.get(path) {
            return Ok(object.clone());
        }
        let object = read_object(self.tree, path)?;
        self.objects.insert(path.to_owned(), object.clone());
        Ok(object)
    }

    fn directories(&self, path: &str, machine: u16, dynamic: &Dynamic) -> Vec<String> {
        let own = if dynamic.runpath.is_empty() {
            &dynamic.rpath
        } else {
            &dynamic.runpath
        };
        let origin = parent(path);
        let own = own.iter().map(|directory| {
            directory
                .replace("$ORIGIN", origin)
                .replace("${ORIGIN}", origin)
                .trim_start_matches('/')
                .to_owned()
        });
        own.chain(self.configured.iter().cloned())
            .chain(default_directories(multiarch(machine)))
            .collect()
    }

    /// The first file of that name and machine.
    fn find(&self, name: &str, directories: &[String], machine: u16) -> Option<String> {
        if name.contains('/') {
            return Some(name.trim_start_matches('/').to_owned());
        }
        let candidates = directories
            .iter()
            .map(|directory| format!("{directory}/{name}"));
        candidates
            .into_iter()
            .find(|path| self.machine(path) == Some(machine))
    }

    fn machine(&self, path: &str) -> Option<u16> {
        let Kind::File(content) = &self.tree.get(&self.tree.resolve(path)?)?.kind else {
            return None;
        };
        let mut header = [0; 64];
        content.read_exact_at(&mut header, 0).ok()?;
        File::parse(&header).map(|file| file.machine())
    }
}

/// Reads what the loader would; `None` for anything that is no ELF file, which costs no more than four bytes.
fn read_object(tree: &Tree, path: &str) -> Result<Option<Object>, LibraryError> {
    let Some(Kind::File(content)) = tree.get(path).map(|node| &node.kind) else {
        return Ok(None);
    };
    let mut start = [0; 4];
    if content.read_exact_at(&mut start, 0).is_err() || start != *b"\x7fELF" {
        return Ok(None);
    }
    let bytes = read(tree, path)?;
    let Some(file) = File::parse(&bytes) else {
        return Ok(None);
    };
    let dynamic = file.dynamic().map_err(|source| LibraryError::Elf {
        path: path.to_owned(),
        source,
    })?;
    Ok(Some(Object {
        machine: file.machine(),
        dynamic,
    }))
}

/// The bytes of the regular file that `path` leads to.
pub(crate) fn read(tree: &Tree, path: &str) -> Result<Vec<u8>, LibraryError> {
    let missing = || LibraryError::Missing(path.to_owned());
    let target = tree.resolve(path).ok_or_else(missing)?;
    match tree.get(&target).map(|node| &node.kind) {
        Some(Kind::File(content)) => content.to_vec().map_err(|source| LibraryError::Read {
            path: path.to_owned(),
            source,
        }),
        _ => Err(missing()),
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::{closure, configured_directories};
    use formats::tree::{Content, Tree};
    use std::collections::BTreeSet;

    #[test]
    fn included_files_come_in_order_and_once() {
        let mut tree = Tree::new();
        tree.insert_file(
            "etc/ld.so.conf",
            0o644,
            "include /etc/ld.so.conf.d/*.conf\n/opt/lib/ # ours\n",
        )
        .unwrap();
        tree.insert_file("etc/ld.so.conf.d/b.conf", 0o644, "/usr/lib/b\n/usr/lib/a")
            .unwrap();
        tree.insert_file("etc/ld.so.conf.d/a.conf", 0o644, "# comment\n/usr/lib/a\n")
            .unwrap();
        tree.insert_file("etc/ld.so.conf.d/c.txt", 0o644, "/usr/lib/c\n")
            .unwrap();
        assert_eq!(
            configured_directories(&tree).unwrap(),
            ["usr/lib/a", "usr/lib/b", "opt/lib"]
        );
    }

    #[test]
    fn configuration_that_includes_itself_is_an_error() {
        let mut tree = Tree::new();
        tree.insert_file("etc/ld.so.conf", 0o644, "include ld.so.conf\n")
            .unwrap();
        let error = configured_directories(&tree).unwrap_err();
        assert_eq!(error.to_string(), "etc/ld.so.conf is included too deeply");
    }

    #[test]
    fn a_closure_holds_links_and_names_what_is_missing() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut tree = Tree::new();
        tree.insert_file("usr/bin/prog", 0o755, Content::from(own))
            .unwrap();
        tree.insert_symlink("bin", "usr/bin").unwrap();
        tree.insert_symlink("usr/bin/link", "/bin/prog").unwrap();
        tree.insert_file("usr/bin/script", 0o755, "#!/bin/sh\n")
            .unwrap();
        let found = closure(&tree, ["usr/bin/script"], None).unwrap();
        assert_eq!(found, BTreeSet::from(["usr/bin/script".to_owned()]));
        let error = closure(&tree, ["usr/bin/link"], None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("usr/bin/prog needs lib"), "{error}");
        let error = closure(&tree, ["usr/bin/none"], None)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "usr/bin/none does not exist in the tree");
    }
}
