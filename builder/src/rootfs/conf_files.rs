//! Configuration directories that override each other by file name, as systemd and udev read them.

use formats::tree::{Content, Kind, Tree};
use std::collections::BTreeMap;

/// The regular files with `suffix` in `directories`, with full paths, in the order of their names. Of several
/// files of one name the one in the directory named first counts; an empty one, or a link to `/dev/null`, hides
/// the others and is left out itself.
pub(super) fn conf_files<'t>(
    tree: &'t Tree,
    directories: &[&str],
    suffix: &str,
) -> Vec<(String, &'t Content)> {
    let mut found: BTreeMap<String, (String, Option<&Content>)> = BTreeMap::new();
    for directory in directories {
        for (name, _) in tree
            .children(directory)
            .filter(|(name, _)| name.ends_with(suffix))
        {
            let path = format!("{directory}/{name}");
            let target = tree.resolve(&path);
            let content = match target
                .as_deref()
                .and_then(|target| tree.get(target))
                .map(|node| &node.kind)
            {
                Some(Kind::File(content)) => Some(content).filter(|content| !content.is_empty()),
                _ if target.as_deref() == Some("dev/null") => None,
                _ => continue,
            };
            found.entry(name).or_insert((path, content));
        }
    }
    found
        .into_values()
        .filter_map(|(path, content)| Some((path, content?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::conf_files;
    use formats::tree::Tree;

    #[test]
    fn the_first_directory_wins_and_can_hide() {
        let mut tree = Tree::new();
        for path in [
            "usr/lib/x/b.conf",
            "usr/lib/x/a.conf",
            "usr/lib/x/c.conf",
            "usr/lib/x/d.txt",
            "etc/x/b.conf",
        ] {
            tree.insert_file(path, 0o644, path).unwrap();
        }
        tree.insert_symlink("etc/x/c.conf", "/dev/null").unwrap();
        let found: Vec<String> = conf_files(&tree, &["etc/x", "usr/lib/x"], ".conf")
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(found, ["usr/lib/x/a.conf", "etc/x/b.conf"]);
    }
}
