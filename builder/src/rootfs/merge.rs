//! Lays unpacked packages over each other into one tree, as dpkg would on an empty machine.
//!
//! Packages come in name order with base-files first, because it ships the links of merged `/usr` and the
//! modes of the root's directories. A path that two packages ship must be explained by `Replaces` or by a
//! diversion; else both are named. Owners' names become the numbers of base-passwd.

use crate::rootfs::configure::accounts::Accounts;
use crate::rootfs::deb::Control;
use crate::rootfs::unpack::{Entry, Unpacked};
use anyhow::{Context, bail};
use debversion::Version;
use formats::tree::{Content, Kind, Node, Tree};
use std::collections::BTreeMap;

/// A path of other packages that `package` moves out of its own way, as dpkg-divert(1) would record it.
#[derive(Clone, Copy, Debug)]
pub struct Diversion {
    /// Whose file takes the path.
    pub package: &'static str,
    /// The path.
    pub path: &'static str,
    /// Where everybody else's file goes.
    pub to: &'static str,
}

/// What is merged, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// Path prefixes left out. Copyright files below `usr/share/doc` stay in any case.
    pub exclude: &'a [String],
    /// Diversions in force.
    pub diversions: &'a [Diversion],
}

/// Packages in one tree.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Their files.
    pub tree: Tree,
    /// Which package each path is from; directories are nobody's.
    pub owners: BTreeMap<String, String>,
}

/// Merges packages, in any order, into a tree.
pub fn merge(packages: &[Unpacked], rules: Rules<'_>) -> anyhow::Result<Merged> {
    let mut sorted: Vec<&Unpacked> = packages.iter().collect();
    sorted.sort_by_key(|unpacked| {
        (
            unpacked.control.package() != "base-files",
            unpacked.control.package(),
        )
    });
    let accounts = base_accounts(&sorted)?;
    let mut merge = Merge {
        tree: Tree::new(),
        owners: BTreeMap::new(),
        packages: &sorted,
    };
    for (index, unpacked) in sorted.iter().enumerate() {
        let package = unpacked.control.package();
        for entry in &unpacked.entries {
            if is_excluded(&entry.path, rules.exclude) {
                continue;
            }
            let diverted = rules
                .diversions
                .iter()
                .find(|d| d.path == entry.path && d.package != package);
            let path = diverted.map_or(entry.path.as_str(), |diversion| diversion.to);
            merge
                .add(index, path, entry, &accounts)
                .with_context(|| format!("placing {path:?} of {package}"))?;
        }
    }
    let owner = |(path, index): (String, usize)| {
        let package = sorted[index].control.package();
        (path, package.to_owned())
    };
    Ok(Merged {
        tree: merge.tree,
        owners: merge.owners.into_iter().map(owner).collect(),
    })
}

struct Merge<'a> {
    tree: Tree,
    /// Which package, by index, a path other than a directory comes from.
    owners: BTreeMap<String, usize>,
    packages: &'a [&'a Unpacked],
}

impl Merge<'_> {
    fn add(
        &mut self,
        index: usize,
        path: &str,
        entry: &Entry,
        accounts: &Accounts,
    ) -> anyhow::Result<()> {
        let path = self.real_path(path)?;
        let is_directory = matches!(entry.kind, Kind::Directory);
        if let Some(there) = self.tree.get(&path) {
            match (&there.kind, &entry.kind) {
                // The first package's mode holds, as with dpkg. A link to a directory stands for it.
                (Kind::Directory | Kind::Symlink(_), Kind::Directory) => return Ok(()),
                (Kind::Symlink(a), Kind::Symlink(b)) if a == b => return Ok(()),
                _ => {}
            }
            if self.owners.get(&path).is_none_or(|first| *first == index) {
                // Two paths of one package that merged /usr makes one, or a directory in the way.
                bail!("something else is at {path:?} already");
            }
            if !self.takes_over(&path, index)? {
                return Ok(());
            }
        }
        let mut meta = entry.meta.clone();
        meta.uid = accounts.uid(&entry.user).unwrap_or(meta.uid);
        meta.gid = accounts.gid(&entry.group).unwrap_or(meta.gid);
        self.tree.insert(
            &path,
            Node {
                kind: entry.kind.clone(),
                meta,
            },
        )?;
        if !is_directory {
            self.owners.insert(path, index);
        }
        Ok(())
    }

    /// Links to directories on the way are followed, as the kernel does for dpkg.
    fn real_path(&self, path: &str) -> anyhow::Result<String> {
        let Some((parent, name)) = path.rsplit_once('/') else {
            return Ok(path.to_owned());
        };
        let parent = self
            .tree
            .resolve(parent)
            .with_context(|| format!("symbolic links at {parent:?} form a loop"))?;
        Ok(if parent.is_empty() {
            name.to_owned()
        } else {
            format!("{parent}/{name}")
        })
    }

    /// Whether the package `index` replaces the one that `path` is from; an error if neither replaces.
    fn takes_over(&self, path: &str, index: usize) -> anyhow::Result<bool> {
        let first = &self.packages[self.owners[path]].control;
        let second = &self.packages[index].control;
        match (replaces(second, first), replaces(first, second)) {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            _ => bail!(
                "{} and {} both ship {path:?}, and neither replaces the other",
                first.package(),
                second.package()
            ),
        }
    }
}

/// Whether `control` declares that it replaces files of `other`.
fn replaces(control: &Control, other: &Control) -> bool {
    let field = control.fields.get("replaces").map_or("", String::as_str);
    field.split(',').any(|relation| {
        let (name, constraint) = relation.trim().split_once('(').unwrap_or((relation, ""));
        let name = name.trim().split(':').next().unwrap_or_default();
        name == other.package()
            && satisfies(other.version(), constraint.trim_end_matches([')', ' ']))
    })
}

/// Whether `version` is within a constraint such as `<< 2.0`. A constraint that cannot be read is not met.
fn satisfies(version: &str, constraint: &str) -> bool {
    let constraint = constraint.trim();
    let (operator, bound) =
        constraint.split_at(constraint.find(|c| !"<>=".contains(c)).unwrap_or(0));
    let (Ok(version), Ok(bound)) = (version.parse::<Version>(), bound.trim().parse::<Version>())
    else {
        return constraint.is_empty();
    };
    match operator {
        "<<" => version < bound,
        "<=" => version <= bound,
        "=" => version == bound,
        ">=" => version >= bound,
        ">>" => version > bound,
        _ => false,
    }
}

/// The accounts that dpkg knows while it unpacks: those of base-passwd.
fn base_accounts(packages: &[&Unpacked]) -> anyhow::Result<Accounts> {
    let mut accounts = Accounts::default();
    let entries = packages.iter().flat_map(|unpacked| &unpacked.entries);
    for entry in entries.filter(|entry| entry.path.starts_with("usr/share/base-passwd/")) {
        let Kind::File(content) = &entry.kind else {
            continue;
        };
        match entry.path.rsplit('/').next() {
            Some("passwd.master") => accounts.read_passwd(&text(content, &entry.path)?)?,
            Some("group.master") => accounts.read_group(&text(content, &entry.path)?)?,
            _ => {}
        }
    }
    Ok(accounts)
}

fn text(content: &Content, path: &str) -> anyhow::Result<String> {
    let bytes = content
        .to_vec()
        .with_context(|| format!("reading {path}"))?;
    String::from_utf8(bytes).with_context(|| format!("reading {path}"))
}

/// Whether a prefix of the list holds `path`. Copyright files, and links that lead to them, stay.
fn is_excluded(path: &str, exclude: &[String]) -> bool {
    if path.starts_with("usr/share/doc/")
        && (path.ends_with("/copyright") || path.matches('/').count() == 3)
    {
        return false;
    }
    exclude.iter().any(|prefix| {
        let rest = path.strip_prefix(prefix.trim_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::tree::Metadata;

    fn entry(path: &str, kind: Kind) -> Entry {
        let meta = Metadata {
            gid: 4242,
            ..Metadata::root(0o640)
        };
        Entry {
            path: path.into(),
            kind,
            meta,
            user: "root".into(),
            group: "shadow".into(),
        }
    }

    fn package(name: &str, version: &str, replaces: &str, entries: Vec<Entry>) -> Unpacked {
        let fields = [
            ("package", name),
            ("version", version),
            ("replaces", replaces),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Unpacked {
            control: Control {
                fields: fields.into(),
                ..Control::default()
            },
            entries,
        }
    }

    fn file(path: &str, text: &str) -> Entry {
        entry(path, Kind::File(text.into()))
    }

    fn check(packages: &[Unpacked], path: &str, expected: Result<&str, &str>) {
        let merged = merge(packages, Rules::default());
        match (merged, expected) {
            (Ok(merged), Ok(text)) => {
                let Kind::File(content) = &merged.tree.get(path).unwrap().kind else {
                    panic!("{path} is no file")
                };
                assert_eq!(content.to_vec().unwrap(), text.as_bytes());
            }
            (Err(error), Err(text)) => assert!(format!("{error:#}").contains(text), "{error:#}"),
            (merged, _) => panic!("{path}: {merged:?}"),
        }
    }

    #[test]
    fn conflicts_need_an_explanation() {
        let pair = |a: &str, b: &str| {
            [
                package("a", "1", a, vec![file("x", "from a")]),
                package("b", "2", b, vec![file("x", "from b")]),
            ]
        };
        check(
            &pair("", ""),
            "x",
            Err("a and b both ship \"x\", and neither replaces the other"),
        );
        check(&pair("b", ""), "x", Ok("from a"));
        check(&pair("", "a"), "x", Ok("from b"));
        check(&pair("z, b (<< 3)", ""), "x", Ok("from a"));
        check(&pair("b (<< 2)", ""), "x", Err("neither replaces"));
        check(&pair("", "a:any (= 1)"), "x", Ok("from b"));
    }

    #[test]
    fn a_diversion_moves_the_others_file() {
        let packages = [
            package("a", "1", "", vec![file("x", "a")]),
            package("b", "1", "", vec![file("x", "b")]),
        ];
        let diversions = [Diversion {
            package: "b",
            path: "x",
            to: "x.a",
        }];
        let tree = merge(
            &packages,
            Rules {
                exclude: &[],
                diversions: &diversions,
            },
        )
        .unwrap()
        .tree;
        assert!(tree.get("x").is_some() && tree.get("x.a").is_some());
    }

    #[test]
    fn owners_get_base_passwds_numbers_and_links_are_followed() {
        let base = package(
            "base-passwd",
            "1",
            "",
            vec![
                file(
                    "usr/share/base-passwd/passwd.master",
                    "root:*:0:0:root:/root:/bin/bash\n",
                ),
                file(
                    "usr/share/base-passwd/group.master",
                    "root:*:0:\nshadow:*:42:\n",
                ),
            ],
        );
        let links = package(
            "base-files",
            "1",
            "",
            vec![entry("var/run", Kind::Symlink("/run".into()))],
        );
        let other = package(
            "x",
            "1",
            "",
            vec![entry("var/run", Kind::Directory), file("var/run/y", "y")],
        );
        let merged = merge(&[other, base, links], Rules::default()).unwrap();
        assert_eq!(merged.owners["run/y"], "x");
        let tree = merged.tree;
        let node = tree.get("run/y").unwrap();
        assert_eq!((node.meta.uid, node.meta.gid), (0, 42));
    }

    #[test]
    fn documentation_goes_and_copyright_stays() {
        let exclude = ["usr/share/doc".to_owned(), "/usr/share/man/".to_owned()];
        let cases = [
            ("usr/share/doc", true),
            ("usr/share/doc/x", false),
            ("usr/share/doc/x/copyright", false),
            ("usr/share/doc/x/README", true),
            ("usr/share/man/man1/x.1", true),
            ("usr/share/manners", false),
        ];
        for (path, expected) in cases {
            assert_eq!(is_excluded(path, &exclude), expected, "{path}");
        }
    }
}
