//! Enables systemd units by the presets in the tree, as `systemctl preset-all` does: the first matching line
//! of the preset files decides, and a unit that no line names is enabled. Stands for what dh_installsystemd
//! adds to a postinst, and for the `systemctl enable` calls of systemd's own.
//!
//! Enabling makes the links that a unit's `[Install]` section asks for, in `/etc/systemd/system`. Links
//! that are there already stay; disabling takes none away, because an image starts without any.

use crate::rootfs::configure::System;
use anyhow::{Context, bail};
use formats::tree::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// Where units are looked for; an earlier directory hides a later one.
const UNITS: [&str; 3] = [
    "etc/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
];
const PRESETS: [&str; 4] = [
    "etc/systemd/system-preset",
    "run/systemd/system-preset",
    "usr/local/lib/systemd/system-preset",
    "usr/lib/systemd/system-preset",
];
const CONFIG: &str = "etc/systemd/system";
/// Kinds of units that can be enabled.
const SUFFIXES: [&str; 8] = [
    "service",
    "socket",
    "target",
    "timer",
    "path",
    "mount",
    "automount",
    "swap",
];

/// A line of a preset file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    enable: bool,
    pattern: String,
    /// Instances that are enabled in place of a template.
    instances: Vec<String>,
}

/// The `[Install]` section of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Install {
    alias: Vec<String>,
    /// Directory suffix (`wants`, `requires`, `upholds`) and unit.
    wanted: Vec<(&'static str, String)>,
    also: Vec<String>,
    default_instance: Option<String>,
}

/// Enables every unit of the tree that the presets do not disable.
pub fn enable_units(system: &mut System<'_>) -> anyhow::Result<()> {
    let rules = read_rules(system)?;
    let units = find_units(system);
    let mut todo: Vec<String> = Vec::new();
    for name in units.keys() {
        match rules.iter().find(|rule| matches(&rule.pattern, name)) {
            Some(rule) if rule.enable && !rule.instances.is_empty() => {
                todo.extend(
                    rule.instances
                        .iter()
                        .filter_map(|instance| instantiate(name, instance)),
                );
            }
            Some(rule) if !rule.enable => {}
            _ => todo.push(name.clone()),
        }
    }
    let mut done = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if done.insert(name.clone()) {
            let also =
                enable(system, &name, &units).with_context(|| format!("enabling unit {name}"))?;
            todo.extend(also);
        }
    }
    Ok(())
}

/// All unit files by name, with their path. Links are other names of units or masks, and so are left out.
fn find_units(system: &System<'_>) -> BTreeMap<String, String> {
    let mut units = BTreeMap::new();
    for directory in UNITS {
        for (name, node) in system.tree.children(directory) {
            let known = name
                .rsplit_once('.')
                .is_some_and(|(_, suffix)| SUFFIXES.contains(&suffix));
            if known && !matches!(node.kind, Kind::Directory) {
                let path = match &node.kind {
                    Kind::File(content) if !content.is_empty() => format!("{directory}/{name}"),
                    _ => String::new(),
                };
                units.entry(name).or_insert(path);
            }
        }
    }
    units.retain(|_, path| !path.is_empty());
    units
}

/// Makes the links of one unit, which may be an instance of a template; gives the units of `Also=`.
fn enable(
    system: &mut System<'_>,
    name: &str,
    units: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<String>> {
    let Some(path) = units.get(name).or_else(|| units.get(&template_of(name)?)) else {
        return Ok(Vec::new());
    };
    let install = read_install(system, path)?;
    let link = match (name.contains("@."), &install.default_instance) {
        (true, Some(instance)) => {
            instantiate(name, instance).context("a template has an instance")?
        }
        // A template that names no instance can only be linked below other templates; presets skip it.
        (true, None) => return Ok(Vec::new()),
        (false, _) => name.to_owned(),
    };
    let target = format!("/{path}");
    for (kind, by) in &install.wanted {
        let by = expand(by, &link)?;
        system.link_new(&format!("{CONFIG}/{by}.{kind}/{link}"), &target)?;
    }
    for alias in &install.alias {
        let alias = expand(alias, &link)?;
        system.link_new(&format!("{CONFIG}/{alias}"), &target)?;
    }
    install
        .also
        .iter()
        .map(|also| expand(also, &link))
        .collect()
}

fn read_install(system: &System<'_>, path: &str) -> anyhow::Result<Install> {
    let mut install = Install::default();
    parse_install(&system.text(path)?.unwrap_or_default(), &mut install);
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut drop_ins: BTreeMap<String, String> = BTreeMap::new();
    for directory in UNITS.map(|directory| format!("{directory}/{name}.d")) {
        for (file, _) in system
            .tree
            .children(&directory)
            .filter(|(file, _)| file.ends_with(".conf"))
        {
            let path = format!("{directory}/{file}");
            drop_ins.entry(file).or_insert(path);
        }
    }
    for path in drop_ins.values() {
        parse_install(&system.text(path)?.unwrap_or_default(), &mut install);
    }
    Ok(install)
}

fn parse_install(text: &str, install: &mut Install) {
    let mut section = "";
    let text = text.replace("\\\n", " ");
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', ';']))
    {
        if line.starts_with('[') {
            section = line;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| section == "[Install]") else {
            continue;
        };
        let mut words = value.split_whitespace().map(str::to_owned);
        let wanted = |kind| words.clone().map(move |unit| (kind, unit));
        match key.trim() {
            "Alias" => install.alias.extend(words),
            "WantedBy" => install.wanted.extend(wanted("wants")),
            "RequiredBy" => install.wanted.extend(wanted("requires")),
            "UpheldBy" => install.wanted.extend(wanted("upholds")),
            "Also" => install.also.extend(words),
            "DefaultInstance" => install.default_instance = words.next_back(),
            _ => {}
        }
    }
}

fn read_rules(system: &System<'_>) -> anyhow::Result<Vec<Rule>> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for directory in PRESETS {
        for (name, _) in system
            .tree
            .children(directory)
            .filter(|(name, _)| name.ends_with(".preset"))
        {
            let path = format!("{directory}/{name}");
            files.entry(name).or_insert(path);
        }
    }
    let mut rules = Vec::new();
    for path in files.values() {
        let text = system.text(path)?.unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let rule =
                parse_rule(line).with_context(|| format!("reading {path}, line {}", number + 1))?;
            rules.extend(rule);
        }
    }
    Ok(rules)
}

fn parse_rule(line: &str) -> anyhow::Result<Option<Rule>> {
    let line = line.trim();
    let mut words = line.split_whitespace();
    let enable = match words.next() {
        None => return Ok(None),
        Some(word) if word.starts_with(['#', ';']) => return Ok(None),
        Some("enable") => true,
        Some("disable" | "ignore") => false,
        Some(other) => bail!("{other:?} is not enable, disable or ignore"),
    };
    let pattern = words.next().context("no unit is named")?.to_owned();
    Ok(Some(Rule {
        enable,
        pattern,
        instances: words.map(str::to_owned).collect(),
    }))
}

/// A shell pattern with `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// `getty@.service` and `tty1` make `getty@tty1.service`.
fn instantiate(template: &str, instance: &str) -> Option<String> {
    let (prefix, suffix) = template.split_once("@.")?;
    Some(format!("{prefix}@{instance}.{suffix}"))
}

/// `getty@tty1.service` is of `getty@.service`.
fn template_of(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@')?;
    let (_, suffix) = rest.rsplit_once('.')?;
    Some(format!("{prefix}@.{suffix}"))
}

/// Replaces the specifiers that name a unit itself.
fn expand(text: &str, unit: &str) -> anyhow::Result<String> {
    let (stem, _) = unit.rsplit_once('.').unwrap_or((unit, ""));
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('i' | 'I')) => out.push_str(instance),
            ('%', Some('p' | 'P')) => out.push_str(prefix),
            ('%', Some('j' | 'J')) => out.push_str(prefix.rsplit('-').next().unwrap_or(prefix)),
            ('%', Some('n')) => out.push_str(unit),
            ('%', Some('N')) => out.push_str(stem),
            ('%', Some('%')) => out.push('%'),
            ('%', _) => bail!("specifier in {text:?} is not supported"),
            _ => out.push(c),
        }
    }
    if out.contains('/') {
        bail!("{out:?} is not a unit's name");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{dump, run, tree};

    const UNIT: &str = "usr/lib/systemd/system";

    /// Units as (name, `[Install]` lines); the links that come out, without their common directory.
    fn check(presets: &str, units: &[(&str, &str)], expected: &[&str]) {
        let mut files = vec![(
            "usr/lib/systemd/system-preset/90.preset".to_owned(),
            presets.to_owned(),
        )];
        for (name, install) in units {
            let text = if name.contains(" -> ") {
                String::new()
            } else {
                format!("[Unit]\nAlso=no\n[Install]\n{install}")
            };
            files.push((format!("{UNIT}/{name}"), text));
        }
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        let mut tree = tree(&files);
        run(enable_units, &mut tree, &[]).unwrap();
        let dumped = dump(&tree);
        let links = dumped
            .lines()
            .filter_map(|line| line.strip_prefix("etc/systemd/system/"));
        assert_eq!(links.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn presets_decide_and_enabling_is_the_default() {
        let units = [
            ("a.service", "WantedBy=multi-user.target"),
            ("b.service", "RequiredBy=x.target\nAlias=c.service"),
        ];
        let b = [
            "c.service -> /usr/lib/systemd/system/b.service",
            "x.target.requires/b.service -> /usr/lib/systemd/system/b.service",
        ];
        let a = "multi-user.target.wants/a.service -> /usr/lib/systemd/system/a.service";
        check("", &units, &[b[0], a, b[1]]);
        check("# x\nenable a.*\ndisable *", &units, &[a]);
        check("disable *", &units, &[]);
        check("ignore a.service", &units, &b);
        check(
            "",
            &[
                ("a.service", "WantedBy=x.target"),
                ("b.service -> a.service", ""),
            ],
            &["x.target.wants/a.service -> /usr/lib/systemd/system/a.service"],
        );
    }

    #[test]
    fn templates_take_their_default_instance_and_also_follows() {
        let getty = (
            "getty@.service",
            "WantedBy=getty.target\nDefaultInstance=tty1",
        );
        let tty = |n| {
            format!(
                "getty.target.wants/getty@tty{n}.service -> /usr/lib/systemd/system/getty@.service"
            )
        };
        check(
            "enable getty@.service",
            &[getty, ("x@.service", "WantedBy=y.target")],
            &[&tty(1)],
        );
        check(
            "enable getty@.service tty2 tty3",
            &[getty],
            &[&tty(2), &tty(3)],
        );
        let also = [
            ("a.service", "Also=a.socket"),
            ("a.socket", "WantedBy=sockets.target"),
        ];
        check(
            "enable a.service\ndisable *",
            &also,
            &["sockets.target.wants/a.socket -> /usr/lib/systemd/system/a.socket"],
        );
        check(
            "",
            &[("d@x.service", "WantedBy=%i.target %p-%%.target")],
            &[
                "d-%.target.wants/d@x.service -> /usr/lib/systemd/system/d@x.service",
                "x.target.wants/d@x.service -> /usr/lib/systemd/system/d@x.service",
            ],
        );
    }

    #[test]
    fn masked_units_stay_off_and_etc_hides_usr() {
        let mut tree = tree(&[
            (
                "usr/lib/systemd/system/a.service",
                "[Install]\nWantedBy=x.target\n",
            ),
            ("etc/systemd/system/a.service -> /dev/null", ""),
            (
                "usr/lib/systemd/system/b.service",
                "[Install]\nWantedBy=x.target\n",
            ),
            (
                "etc/systemd/system/b.service",
                "[Install]\nWantedBy=y.target\n",
            ),
            (
                "etc/systemd/system/b.service.d/10.conf",
                "[Install]\nWantedBy=z.target\n",
            ),
        ]);
        run(enable_units, &mut tree, &[]).unwrap();
        let b = "/etc/systemd/system/b.service";
        let links: Vec<String> = dump(&tree)
            .lines()
            .filter(|l| l.contains(".wants/"))
            .map(str::to_owned)
            .collect();
        assert_eq!(
            links,
            [
                format!("etc/systemd/system/y.target.wants/b.service -> {b}"),
                format!("etc/systemd/system/z.target.wants/b.service -> {b}"),
            ]
        );
    }

    #[test]
    fn patterns() {
        let cases = [
            ("*", "x", true),
            ("a.*", "a.service", true),
            ("a?c", "abc", true),
            ("a*c*", "abbcd", true),
            ("a*d", "abc", false),
            ("", "", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
