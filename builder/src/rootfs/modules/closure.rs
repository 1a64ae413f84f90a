//! Which module files a list of names needs, from the text index in the tree.

use super::output::{builtin_aliases, normalise};
use super::{ModuleError, directory, module_name, read_text};
use formats::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// The files of the modules `names`, of what they need, and of their soft dependencies, relative to the
/// version's directory; what must be loaded first comes first. A name may be an alias, which stands for every
/// module that carries exactly this alias. Built-in modules have no file. A soft dependency that does not exist
/// is nothing, as for modprobe; a name of `names` that does not exist is an error.
pub fn closure(tree: &Tree, version: &str, names: &[&str]) -> Result<Vec<String>, ModuleError> {
    let index = TextIndex::read(tree, version)?;
    let mut walk = Walk {
        index: &index,
        visited: BTreeSet::new(),
        order: Vec::new(),
    };
    for name in names {
        let found = index.lookup(name);
        if found.is_empty() && !index.builtin.contains(&name.replace('-', "_")) {
            return Err(ModuleError::Unknown {
                version: version.to_owned(),
                name: (*name).to_owned(),
            });
        }
        for module in found {
            walk.visit(&module);
        }
    }
    Ok(walk.order)
}

/// The names before and after a module.
type SoftDeps = (Vec<String>, Vec<String>);

/// The text index files of one kernel version.
struct TextIndex {
    /// Module name to its file and the files it needs, nearest first.
    files: BTreeMap<String, (String, Vec<String>)>,
    /// Module name to the names before and after it.
    softdeps: BTreeMap<String, SoftDeps>,
    /// Alias to module names.
    aliases: BTreeMap<String, Vec<String>>,
    /// Modules and aliases that are part of the kernel.
    builtin: BTreeSet<String>,
}

impl TextIndex {
    fn read(tree: &Tree, version: &str) -> Result<Self, ModuleError> {
        let directory = directory(version);
        let text = |name: &str| read_text(tree, &format!("{directory}/{name}"));
        let dependencies = text("modules.dep")?;
        if dependencies.is_empty() {
            return Err(ModuleError::NoKernel(format!("{directory}/modules.dep")));
        }
        let files = dependencies.lines().filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            Some((module_name(path), (path.to_owned(), needs)))
        });
        let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text("modules.alias")?.lines() {
            if let Some((alias, module)) = line
                .strip_prefix("alias ")
                .and_then(|line| line.rsplit_once(' '))
            {
                aliases
                    .entry(normalise(alias).unwrap_or_default())
                    .or_default()
                    .push(module.to_owned());
            }
        }
        let mut builtin: BTreeSet<String> =
            text("modules.builtin")?.lines().map(module_name).collect();
        let modinfo = text("modules.builtin.modinfo")?;
        builtin.extend(builtin_aliases(&modinfo).filter_map(|(_, alias)| normalise(alias)));
        let softdeps = text("modules.softdep")?
            .lines()
            .filter_map(softdep)
            .collect();
        Ok(TextIndex {
            files: files.collect(),
            softdeps,
            aliases,
            builtin,
        })
    }

    /// The modules with files that a name stands for.
    fn lookup(&self, name: &str) -> Vec<String> {
        let name = name.replace('-', "_");
        if self.files.contains_key(&name) {
            return vec![name];
        }
        self.aliases.get(&name).cloned().unwrap_or_default()
    }
}

/// `softdep name pre: a b post: c`
fn softdep(line: &str) -> Option<(String, SoftDeps)> {
    let mut words = line.strip_prefix("softdep ")?.split_whitespace();
    let name = words.next()?.to_owned();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut is_before = true;
    for word in words {
        match word {
            "pre:" => is_before = true,
            "post:" => is_before = false,
            _ if is_before => before.push(word.to_owned()),
            _ => after.push(word.to_owned()),
        }
    }
    Some((name, (before, after)))
}

struct Walk<'i> {
    index: &'i TextIndex,
    visited: BTreeSet<String>,
    order: Vec<String>,
}

impl Walk<'_> {
    fn visit(&mut self, name: &str) {
        if !self.visited.insert(name.to_owned()) {
            return;
        }
        let Some((path, needs)) = self.index.files.get(name) else {
            return;
        };
        let none = (Vec::new(), Vec::new());
        let (before, after) = self.index.softdeps.get(name).unwrap_or(&none);
        for module in before.iter().flat_map(|name| self.index.lookup(name)) {
            self.visit(&module);
        }
        for need in needs.iter().rev() {
            self.visit(&module_name(need));
        }
        self.order.push(path.clone());
        for module in after.iter().flat_map(|name| self.index.lookup(name)) {
            self.visit(&module);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::closure;
    use formats::tree::Tree;

    fn tree() -> Tree {
        let mut tree = Tree::new();
        for (name, text) in [
            (
                "modules.dep",
                "fs/a-b.ko: lib/c.ko lib/d.ko\nlib/c.ko: lib/d.ko\nlib/d.ko:\nx/e.ko.xz:\nx/f.ko.xz:\n",
            ),
            ("modules.alias", "# x\nalias crypto-e e\nalias fs-g f\n"),
            (
                "modules.softdep",
                "# x\nsoftdep a_b pre: crypto-e nothing post: f\nsoftdep f pre: a_b\n",
            ),
            ("modules.builtin", "kernel/fs/built-in.ko\n"),
        ] {
            tree.insert_file(&format!("usr/lib/modules/1/{name}"), 0o644, text)
                .unwrap();
        }
        tree
    }

    fn check(names: &[&str], expected: &[&str]) {
        assert_eq!(closure(&tree(), "1", names).unwrap(), expected);
    }

    #[test]
    fn needs_come_before_their_users() {
        check(&["c"], &["lib/d.ko", "lib/c.ko"]);
        check(
            &["a-b"],
            &[
                "x/e.ko.xz",
                "lib/d.ko",
                "lib/c.ko",
                "fs/a-b.ko",
                "x/f.ko.xz",
            ],
        );
        check(
            &["fs_g", "built_in"],
            &[
                "x/e.ko.xz",
                "lib/d.ko",
                "lib/c.ko",
                "fs/a-b.ko",
                "x/f.ko.xz",
            ],
        );
        check(&["crypto-e", "e"], &["x/e.ko.xz"]);
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let error = closure(&tree(), "1", &["c", "zfs"])
            .unwrap_err()
            .to_string();
        assert_eq!(error, "kernel 1 has no module named zfs");
    }
}
