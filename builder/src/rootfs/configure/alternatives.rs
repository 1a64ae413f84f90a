//! The alternatives system: a link such as `/usr/bin/awk` leads to `/etc/alternatives/awk`, and that to the
//! program of highest priority. Stands for every `update-alternatives --install` in a postinst.
//!
//! The calls are read from the postinst's text, where they are plain lists of words; one that a shell would
//! have to expand is refused, unless [`EXPANDED`] says what it comes to. The registry in `/var/lib/dpkg/alternatives` is not written: nobody changes
//! alternatives on a read-only system.

use crate::rootfs::configure::System;
use crate::rootfs::deb::ScriptKind;
use anyhow::{Context, bail};
use std::collections::BTreeMap;

/// One `update-alternatives --install` call.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alternative {
    name: String,
    priority: i64,
    /// The master first, then its slaves.
    links: Vec<Link>,
}

/// `path` leads to `/etc/alternatives/NAME`, and that to `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    path: String,
    name: String,
    target: String,
}

/// What the calls of a package's postinst come to, where only a shell can tell.
const EXPANDED: [(&str, &str); 2] = [
    (
        "traceroute",
        "update-alternatives --install /usr/bin/traceroute traceroute /usr/bin/traceroute.db 100 \
           --slave /usr/sbin/traceroute traceroute.sbin /usr/bin/traceroute.db\n\
         update-alternatives --install /usr/bin/traceroute6 traceroute6 /usr/bin/traceroute6.db 100\n\
         update-alternatives --install /usr/bin/lft lft /usr/bin/lft.db 100\n\
         update-alternatives --install /usr/bin/traceproto traceproto /usr/bin/traceproto.db 100\n\
         update-alternatives --install /usr/sbin/tcptraceroute tcptraceroute /usr/sbin/tcptraceroute.db 100\n",
    ),
    (
        "xz-utils",
        "update-alternatives --install /usr/bin/lzma lzma /usr/bin/xz 20 \
           --slave /usr/bin/unlzma unlzma /usr/bin/unxz \
           --slave /usr/bin/lzcat lzcat /usr/bin/xzcat \
           --slave /usr/bin/lzmore lzmore /usr/bin/xzmore \
           --slave /usr/bin/lzless lzless /usr/bin/xzless \
           --slave /usr/bin/lzdiff lzdiff /usr/bin/xzdiff \
           --slave /usr/bin/lzcmp lzcmp /usr/bin/xzcmp \
           --slave /usr/bin/lzgrep lzgrep /usr/bin/xzgrep \
           --slave /usr/bin/lzegrep lzegrep /usr/bin/xzegrep \
           --slave /usr/bin/lzfgrep lzfgrep /usr/bin/xzfgrep\n",
    ),
];

/// Makes the links of the best alternative for each name.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    let mut best: BTreeMap<String, Alternative> = BTreeMap::new();
    for control in system.controls {
        let Some(script) = control.scripts.get(&ScriptKind::Postinst) else {
            continue;
        };
        let expanded = EXPANDED.iter().find(|(name, _)| *name == control.package());
        let found = parse(expanded.map_or(script.as_str(), |(_, calls)| *calls))
            .with_context(|| format!("reading the postinst of {}", control.package()))?;
        for alternative in found {
            // A target that the profile excludes, such as a manual page, is no alternative.
            if !system.exists(&alternative.links[0].target) {
                continue;
            }
            let better = best
                .get(&alternative.name)
                .is_none_or(|other| other.priority < alternative.priority);
            if better {
                best.insert(alternative.name.clone(), alternative);
            }
        }
    }
    for link in best.into_values().flat_map(|alternative| alternative.links) {
        if system.exists(&link.target) {
            make(system, &link)?;
        }
    }
    Ok(())
}

fn make(system: &mut System<'_>, link: &Link) -> anyhow::Result<()> {
    let path = link.path.trim_start_matches('/');
    let (parent, name) = path
        .rsplit_once('/')
        .with_context(|| format!("{path:?} has no directory"))?;
    let parent = system
        .tree
        .resolve(parent)
        .with_context(|| format!("links at {parent:?} form a loop"))?;
    let entry = format!("/etc/alternatives/{}", link.name);
    system.link(&entry[1..], &link.target)?;
    system.link_new(&format!("{parent}/{name}"), &entry)
}

/// The `--install` calls of a script.
fn parse(script: &str) -> anyhow::Result<Vec<Alternative>> {
    let joined = script.replace("\\\n", " ");
    let calls = joined
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("update-alternatives "));
    calls
        .filter(|line| line.contains("--install"))
        .map(parse_call)
        .collect()
}

fn parse_call(line: &str) -> anyhow::Result<Alternative> {
    let words: Vec<&str> = line
        .split_whitespace()
        .skip(1)
        .take_while(|word| *word != "||" && *word != ";")
        .collect();
    if let Some(word) = words
        .iter()
        .find(|word| word.contains(['$', '`', '"', '\'', '*']))
    {
        bail!("{word:?} in {line:?} needs a shell");
    }
    let mut alternative = None;
    let mut rest = words.as_slice();
    while let Some((option, after)) = rest.split_first() {
        rest = match (*option, after, &mut alternative) {
            ("--quiet" | "--force", _, _) => after,
            ("--install", [path, name, target, priority, after @ ..], None) => {
                let priority = priority
                    .parse()
                    .with_context(|| format!("reading priority {priority:?}"))?;
                let links = vec![link(path, name, target)];
                alternative = Some(Alternative {
                    name: (*name).to_owned(),
                    priority,
                    links,
                });
                after
            }
            ("--slave", [path, name, target, after @ ..], Some(alternative)) => {
                alternative.links.push(link(path, name, target));
                after
            }
            _ => bail!("{option:?} in {line:?} is not understood"),
        };
    }
    alternative.with_context(|| format!("{line:?} installs nothing"))
}

fn link(path: &str, name: &str, target: &str) -> Link {
    Link {
        path: path.to_owned(),
        name: name.to_owned(),
        target: target.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{dump, package, run, tree};

    #[test]
    fn the_highest_priority_wins_with_its_slaves() {
        let low = "update-alternatives --install /usr/bin/x x /usr/bin/x-low 10 || true\n";
        let high = "if true; then\n  update-alternatives --quiet \\\n\t--install /bin/x x /usr/bin/x-high 20 \\\n\
                    --slave /usr/bin/y y /usr/bin/y-high \\\n  --slave /usr/share/man/x.1 x.1 /usr/share/man/gone\nfi\n";
        let packages = [package("a", low), package("b", high), package("c", low)];
        let mut tree = tree(&[
            ("bin -> usr/bin", ""),
            ("usr/bin/x-low", ""),
            ("usr/bin/x-high", ""),
            ("usr/bin/y-high", ""),
        ]);
        run(apply, &mut tree, &packages).unwrap();
        let links: Vec<String> = dump(&tree)
            .lines()
            .filter(|l| l.contains("->"))
            .map(str::to_owned)
            .collect();
        assert_eq!(
            links,
            [
                "bin -> usr/bin",
                "etc/alternatives/x -> /usr/bin/x-high",
                "etc/alternatives/y -> /usr/bin/y-high",
                "usr/bin/x -> /etc/alternatives/x",
                "usr/bin/y -> /etc/alternatives/y",
            ]
        );
    }

    #[test]
    fn what_a_shell_would_expand_is_known() {
        let loops = "for name in lzcat; do update-alternatives --install $(slave $name)\ndone\n";
        let mut tree = tree(&[("usr/bin/xz", ""), ("usr/bin/xzcat -> xz", "")]);
        run(apply, &mut tree, &[package("xz-utils", loops)]).unwrap();
        let lzcat = tree.resolve("usr/bin/lzcat");
        assert_eq!(lzcat.as_deref(), Some("usr/bin/xz"));
    }

    #[test]
    fn what_needs_a_shell_is_refused() {
        let check = |line: &str, expected: &str| {
            let error = format!("{:#}", parse(line).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(
            "update-alternatives --install /usr/bin/$i x /y 1",
            "\"/usr/bin/$i\"",
        );
        check(
            "update-alternatives --install /usr/bin/x x /y many",
            "priority \"many\"",
        );
        check(
            "update-alternatives --install /usr/bin/x x",
            "not understood",
        );
        assert!(
            parse("update-alternatives --remove x /y\n# update-alternatives --install\n")
                .unwrap()
                .is_empty()
        );
    }
}
