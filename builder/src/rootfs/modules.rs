//! The kernel's module index: what `depmod` (kmod 34) would write below `usr/lib/modules/VERSION`.
//!
//! [`read`] looks into every module of one kernel version, in parallel, and gives [`Modules`]: the modules in
//! the kernel's own order, with the dependencies between them. [`write_index`] puts the text and binary index
//! files into the tree. [`closure`] answers from those files which modules a list of names pulls in.
//!
//! A name that two files claim goes to the one below `updates/`. Other rules of `depmod.d` are not read: Debian
//! ships none. The lines of `modules.symbols` are sorted by symbol, where depmod leaves them in the order of a
//! hash table; all other files are equal to depmod's, byte by byte.

mod closure;
mod file;
mod index;
pub mod kept;
pub mod output;
pub mod signature;

pub use closure::closure;
pub use output::{index, place_index, write_index};

use self::file::ModuleFile;
use super::elf::ElfError;
use formats::tree::{Content, Kind, Tree, TreeError};
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Why the modules of a kernel cannot be indexed.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// There is no such kernel in the tree.
    #[error("{0} does not exist in the tree")]
    NoKernel(String),
    /// A file cannot be read or decompressed.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A module is no ELF file of a supported kind.
    #[error("{0} is not a 64-bit little-endian ELF file")]
    NotElf(String),
    /// A module is damaged.
    #[error("{path} is not a sound kernel module")]
    Elf {
        /// The module.
        path: String,
        /// What is wrong with it.
        #[source]
        source: ElfError,
    },
    /// A module was built for another kernel than the one beside which it lies.
    #[error(
        "{path} is built for another kernel than {version} (its vermagic is {vermagic:?}), which does not load it: build it with the headers of {version}, or pin the kernel's packages to those that it is for"
    )]
    OtherKernel {
        /// The module.
        path: String,
        /// The kernel's release, as its modules' directory is called.
        version: String,
        /// What the module says of its kernel.
        vermagic: String,
    },
    /// What stands at a module's end is no signature that the kernel takes.
    #[error("the signature of {path}")]
    Signature {
        /// The module.
        path: String,
        /// What is wrong with it.
        #[source]
        source: formats::module_signature::Error,
    },
    /// Modules need each other in a circle.
    #[error("modules depend on each other in a circle: {}", .0.join(", "))]
    Circle(Vec<String>),
    /// The binary index cannot hold this text.
    #[error(
        "{0:?} cannot be a key or value of a module index: it is not ASCII, or longer than 4095 bytes"
    )]
    Key(String),
    /// An index file would be too large for its 28-bit offsets.
    #[error("the index {0} would be larger than 256 MiB")]
    TooLarge(&'static str),
    /// A name was asked for that is neither a module, nor built in, nor an alias of either.
    #[error("kernel {version} has no module named {name}")]
    Unknown {
        /// The kernel's version.
        version: String,
        /// The name as asked for.
        name: String,
    },
    /// The index cannot be put into the tree.
    #[error("adding a module index to the tree")]
    Tree(#[source] TreeError),
}

impl ModuleError {
    /// The module that it is about, as a path in the tree.
    pub fn path(&self) -> Option<&str> {
        match self {
            ModuleError::Read { path, .. }
            | ModuleError::NotElf(path)
            | ModuleError::Elf { path, .. }
            | ModuleError::OtherKernel { path, .. }
            | ModuleError::Signature { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// One module.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// Its file, relative to the version's directory: `kernel/fs/erofs/erofs.ko.xz`.
    pub path: String,
    /// What it says of itself and uses.
    file: ModuleFile,
    /// Modules that it uses directly, as places in [`Modules::list`], in load order.
    needs: Vec<usize>,
    /// Its place in an order in which users come before what they use.
    rank: usize,
}

/// All modules of one kernel version, in the order of `modules.order`.
#[derive(Clone, Debug)]
pub struct Modules {
    list: Vec<Module>,
    /// Exported symbol to its module's place.
    symbols: BTreeMap<String, usize>,
}

impl Modules {
    /// The modules in order.
    pub fn iter(&self) -> impl Iterator<Item = &Module> {
        self.list.iter()
    }

    /// Everything that the module at `place` needs, directly or not; what must be loaded first comes last.
    fn all_needs(&self, place: usize) -> Vec<usize> {
        let mut found = BTreeSet::new();
        let mut todo = self.list[place].needs.clone();
        while let Some(next) = todo.pop() {
            if found.insert(next) {
                todo.extend(&self.list[next].needs);
            }
        }
        let mut found: Vec<usize> = found.into_iter().collect();
        found.sort_by_key(|place| self.list[*place].rank);
        found
    }
}

/// The directory of a kernel version's modules.
pub fn directory(version: &str) -> String {
    format!("usr/lib/modules/{version}")
}

/// The kernel versions that a tree has modules for, in byte order.
pub fn versions(tree: &Tree) -> Vec<String> {
    let children = tree.children("usr/lib/modules");
    children
        .filter(|(_, node)| matches!(node.kind, Kind::Directory))
        .map(|(name, _)| name)
        .collect()
}

/// Reads every module of `version` and works out who needs whom. One that was built for another kernel is an error.
pub fn read(tree: &Tree, version: &str) -> Result<Modules, ModuleError> {
    let directory = directory(version);
    if tree.get(&directory).is_none() {
        return Err(ModuleError::NoKernel(directory));
    }
    let found: Vec<(String, &Content)> = chosen_files(tree, &directory)?;
    let list: Result<Vec<Module>, ModuleError> = found
        .into_par_iter()
        // Modules differ in size by a factor of a thousand: small shares keep all cores at work to the end.
        .with_max_len(8)
        .map(|(path, content)| {
            let full = format!("{directory}/{path}");
            let file = file::read(&full, content)?;
            require_kernel(&full, &file, version)?;
            Ok(Module {
                name: module_name(&path),
                path,
                file,
                needs: Vec::new(),
                rank: 0,
            })
        })
        .collect();
    let mut list = list?;
    let symbols = exported_symbols(&list);
    for module in &mut list {
        for name in &module.file.imports {
            if let Some(owner) = symbols
                .get(name)
                .filter(|owner| !module.needs.contains(owner))
            {
                module.needs.push(*owner);
            }
        }
    }
    rank(&mut list)?;
    Ok(Modules { list, symbols })
}

/// A module says first in its vermagic which release it was built for, and the kernel loads it under no other.
fn require_kernel(path: &str, file: &ModuleFile, version: &str) -> Result<(), ModuleError> {
    let Some(vermagic) = &file.vermagic else {
        return Ok(());
    };
    if vermagic.split_whitespace().next() == Some(version) {
        return Ok(());
    }
    Err(ModuleError::OtherKernel {
        path: path.to_owned(),
        version: version.to_owned(),
        vermagic: vermagic.clone(),
    })
}

/// The module files below `directory`, one for each name, in the order of `modules.order`; files that it does
/// not list follow, in byte order.
fn chosen_files<'t>(
    tree: &'t Tree,
    directory: &str,
) -> Result<Vec<(String, &'t Content)>, ModuleError> {
    let order = read_text(tree, &format!("{directory}/modules.order"))?;
    let order: BTreeMap<&str, usize> = order
        .lines()
        .enumerate()
        .map(|(at, line)| (line, at))
        .collect();
    let mut chosen: BTreeMap<String, (bool, usize, String, &Content)> = BTreeMap::new();
    for (path, node) in tree.descendants(directory) {
        let Kind::File(content) = &node.kind else {
            continue;
        };
        let relative = path[directory.len() + 1..].to_owned();
        let Some(plain) = uncompressed(&relative) else {
            continue;
        };
        let at = order.get(plain).copied().unwrap_or(usize::MAX);
        let candidate = (
            !relative.starts_with("updates/"),
            at,
            relative.clone(),
            content,
        );
        let better = |old: &(bool, usize, String, &Content)| {
            (candidate.0, candidate.1, &candidate.2) < (old.0, old.1, &old.2)
        };
        let name = module_name(&relative);
        if chosen.get(&name).is_none_or(better) {
            chosen.insert(name, candidate);
        }
    }
    let mut files: Vec<_> = chosen.into_values().collect();
    files.sort_by(|a, b| (a.1, &a.2).cmp(&(b.1, &b.2)));
    Ok(files
        .into_iter()
        .map(|(_, _, path, content)| (path, content))
        .collect())
}

/// The later of two modules that export the same symbol owns it, as depmod has it.
fn exported_symbols(list: &[Module]) -> BTreeMap<String, usize> {
    let exports = list.iter().enumerate().flat_map(|(place, module)| {
        module
            .file
            .exports
            .iter()
            .map(move |symbol| (symbol.clone(), place))
    });
    exports.collect()
}

/// Orders modules so that users come before what they use, the way depmod does: a stack of modules without
/// (further) users. Dependencies of each module are then sorted by that order.
fn rank(list: &mut [Module]) -> Result<(), ModuleError> {
    let mut users = vec![0usize; list.len()];
    for need in list.iter().flat_map(|module| &module.needs) {
        users[*need] += 1;
    }
    let mut roots: Vec<usize> = (0..list.len()).filter(|place| users[*place] == 0).collect();
    let mut ranked = 0;
    while let Some(place) = roots.pop() {
        list[place].rank = ranked;
        ranked += 1;
        for need in &list[place].needs {
            users[*need] -= 1;
            if users[*need] == 0 {
                roots.push(*need);
            }
        }
    }
    if ranked < list.len() {
        let circle = (0..list.len()).filter(|place| users[*place] > 0);
        return Err(ModuleError::Circle(
            circle.map(|place| list[place].name.clone()).collect(),
        ));
    }
    let ranks: Vec<usize> = list.iter().map(|module| module.rank).collect();
    for module in list {
        module.needs.sort_by_key(|need| ranks[*need]);
    }
    Ok(())
}

/// `kernel/a/b-c.ko.xz` is module `b_c`.
fn module_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.split('.').next().unwrap_or_default().replace('-', "_")
}

/// The bytes of a module, decompressed according to the suffix of `path`.
pub fn decompress(path: &str, content: &Content) -> Result<Vec<u8>, ModuleError> {
    file::decompress(path, content).map_err(|source| ModuleError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The path without its compression's suffix, if it is a module's at all.
pub fn uncompressed(path: &str) -> Option<&str> {
    let plain = [".xz", ".zst", ".gz"]
        .into_iter()
        .find_map(|suffix| path.strip_suffix(suffix))
        .unwrap_or(path);
    plain.ends_with(".ko").then_some(plain)
}

/// A text file of the tree; one that does not exist is empty.
fn read_text(tree: &Tree, path: &str) -> Result<String, ModuleError> {
    match tree.get(path).map(|node| &node.kind) {
        Some(Kind::File(content)) => {
            let bytes = content.to_vec().map_err(|source| ModuleError::Read {
                path: path.to_owned(),
                source,
            })?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Module, ModuleError, Modules, file::ModuleFile, module_name, rank, uncompressed};
    use std::collections::BTreeMap;

    fn modules(needs: &[&[usize]]) -> Result<Modules, ModuleError> {
        let name = |place: usize| format!("m{place}");
        let module = |(place, needs): (usize, &&[usize])| Module {
            name: name(place),
            path: format!("{}.ko", name(place)),
            file: ModuleFile::default(),
            needs: needs.to_vec(),
            rank: 0,
        };
        let mut list: Vec<Module> = needs.iter().enumerate().map(module).collect();
        rank(&mut list)?;
        Ok(Modules {
            list,
            symbols: BTreeMap::new(),
        })
    }

    #[test]
    fn what_is_loaded_first_comes_last() {
        let modules = modules(&[&[1, 2], &[2], &[], &[2]]).unwrap();
        assert_eq!(modules.all_needs(0), [1, 2]);
        assert_eq!(modules.all_needs(3), [2]);
        assert_eq!(modules.all_needs(2), [] as [usize; 0]);
    }

    #[test]
    fn a_circle_is_named() {
        let error = modules(&[&[1], &[2], &[1]]).unwrap_err().to_string();
        assert_eq!(error, "modules depend on each other in a circle: m1, m2");
    }

    #[test]
    fn names_and_suffixes() {
        assert_eq!(module_name("kernel/drivers/md/dm-mod.ko.xz"), "dm_mod");
        assert_eq!(uncompressed("a/b.ko.zst"), Some("a/b.ko"));
        assert_eq!(uncompressed("a/b.ko"), Some("a/b.ko"));
        assert_eq!(uncompressed("modules.dep"), None);
    }
}
