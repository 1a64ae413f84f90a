//! The index files, text and binary, from what was read.

use super::index::Index;
use super::{ModuleError, Modules, directory, module_name, read, read_text};
use formats::tree::{Kind, Metadata, Node, Tree};
use std::fmt::Write as _;

/// Reads the modules of `version` and puts all index files beside them.
pub fn write_index(tree: &mut Tree, version: &str) -> Result<(), ModuleError> {
    let files = index(tree, version)?;
    place_index(tree, version, files)
}

/// Puts index files beside the modules of `version`: mode 0644, with the time of the version's directory.
pub fn place_index(
    tree: &mut Tree,
    version: &str,
    files: Vec<(String, Vec<u8>)>,
) -> Result<(), ModuleError> {
    let directory = directory(version);
    let mtime = tree.get(&directory).map_or(0, |node| node.meta.mtime);
    for (name, bytes) in files {
        let meta = Metadata {
            mtime,
            ..Metadata::root(0o644)
        };
        let node = Node {
            kind: Kind::File(bytes.into()),
            meta,
        };
        tree.insert(&format!("{directory}/{name}"), node)
            .map_err(ModuleError::Tree)?;
    }
    Ok(())
}

/// Reads the modules of `version` and gives the index files that belong beside them, by name.
pub fn index(tree: &Tree, version: &str) -> Result<Vec<(String, Vec<u8>)>, ModuleError> {
    let modules = read(tree, version)?;
    let directory = directory(version);
    let builtin = read_text(tree, &format!("{directory}/modules.builtin"))?;
    let modinfo = read_text(tree, &format!("{directory}/modules.builtin.modinfo"))?;
    let files: [(&str, Vec<u8>); 11] = [
        ("modules.dep", dependencies(&modules).into_bytes()),
        ("modules.dep.bin", dependencies_bin(&modules)?),
        ("modules.alias", aliases(&modules).into_bytes()),
        ("modules.alias.bin", aliases_bin(&modules)?),
        ("modules.softdep", softdeps(&modules).into_bytes()),
        ("modules.weakdep", weakdeps(&modules).into_bytes()),
        ("modules.symbols", symbols(&modules).into_bytes()),
        ("modules.symbols.bin", symbols_bin(&modules)?),
        ("modules.builtin.bin", builtin_bin(&builtin)?),
        ("modules.builtin.alias.bin", builtin_aliases_bin(&modinfo)?),
        ("modules.devname", devnames(&modules).into_bytes()),
    ];
    Ok(files.map(|(name, bytes)| (name.to_owned(), bytes)).into())
}

/// `path: needed needed…` for the module at `place`.
fn dependency_line(modules: &Modules, place: usize) -> String {
    let mut line = format!("{}:", modules.list[place].path);
    for need in modules.all_needs(place) {
        line.push(' ');
        line.push_str(&modules.list[need].path);
    }
    line
}

fn dependencies(modules: &Modules) -> String {
    (0..modules.list.len())
        .map(|place| dependency_line(modules, place) + "\n")
        .collect()
}

fn dependencies_bin(modules: &Modules) -> Result<Vec<u8>, ModuleError> {
    let mut index = Index::default();
    for (place, module) in modules.list.iter().enumerate() {
        index.insert(
            &module.name,
            &dependency_line(modules, place),
            priority(place),
        )?;
    }
    index.write("modules.dep.bin")
}

fn aliases(modules: &Modules) -> String {
    let mut text = "# Aliases extracted from modules themselves.\n".to_owned();
    for module in &modules.list {
        for alias in &module.file.aliases {
            line(&mut text, format_args!("alias {alias} {}", module.name));
        }
    }
    text
}

fn aliases_bin(modules: &Modules) -> Result<Vec<u8>, ModuleError> {
    let mut index = Index::default();
    for (place, module) in modules.list.iter().enumerate() {
        for alias in module
            .file
            .aliases
            .iter()
            .filter_map(|alias| normalise(alias))
        {
            index.insert(&alias, &module.name, priority(place))?;
        }
    }
    index.write("modules.alias.bin")
}

fn softdeps(modules: &Modules) -> String {
    let mut text = "# Soft dependencies extracted from modules themselves.\n".to_owned();
    for module in &modules.list {
        for softdep in &module.file.softdeps {
            line(&mut text, format_args!("softdep {} {softdep}", module.name));
        }
    }
    text
}

fn weakdeps(modules: &Modules) -> String {
    let mut text = "# Weak dependencies extracted from modules themselves.\n".to_owned();
    for module in &modules.list {
        for weakdep in &module.file.weakdeps {
            line(&mut text, format_args!("weakdep {} {weakdep}", module.name));
        }
    }
    text
}

fn symbols(modules: &Modules) -> String {
    let mut text = "# Aliases for symbols, used by symbol_request().\n".to_owned();
    for (symbol, owner) in &modules.symbols {
        line(
            &mut text,
            format_args!("alias symbol:{symbol} {}", modules.list[*owner].name),
        );
    }
    text
}

fn symbols_bin(modules: &Modules) -> Result<Vec<u8>, ModuleError> {
    let mut index = Index::default();
    for (symbol, owner) in &modules.symbols {
        index.insert(
            &format!("symbol:{symbol}"),
            &modules.list[*owner].name,
            priority(*owner),
        )?;
    }
    index.write("modules.symbols.bin")
}

fn builtin_bin(builtin: &str) -> Result<Vec<u8>, ModuleError> {
    let mut index = Index::default();
    for path in builtin
        .lines()
        .filter(|path| path.starts_with(|c: char| c.is_ascii_alphabetic()))
    {
        index.insert(&module_name(path), "", 0)?;
    }
    index.write("modules.builtin.bin")
}

/// `modinfo` is a sequence of `module.key=value`, each ended by a zero.
fn builtin_aliases_bin(modinfo: &str) -> Result<Vec<u8>, ModuleError> {
    let mut index = Index::default();
    for (module, alias) in builtin_aliases(modinfo) {
        if let Some(alias) = normalise(alias) {
            index.insert(&alias, module, 0)?;
        }
    }
    index.write("modules.builtin.alias.bin")
}

/// The pairs of built-in module and alias of a `modules.builtin.modinfo`.
pub(super) fn builtin_aliases(modinfo: &str) -> impl Iterator<Item = (&str, &str)> {
    let entries = modinfo
        .split('\0')
        .filter_map(|entry| entry.split_once('='));
    entries.filter_map(|(key, value)| Some((key.strip_suffix(".alias")?, value)))
}

/// Modules that a device node stands for: opening the node loads the module.
fn devnames(modules: &Modules) -> String {
    let mut text = String::new();
    for module in &modules.list {
        let (mut name, mut number) = (None, None);
        for alias in &module.file.aliases {
            if let Some(devname) = alias.strip_prefix("devname:") {
                name = Some(devname);
            }
            number = device_number(alias).or(number);
            if let (Some(name), Some(number)) = (name, &number) {
                if text.is_empty() {
                    text.push_str("# Device nodes to trigger on-demand module loading.\n");
                }
                line(&mut text, format_args!("{} {name} {number}", module.name));
                break;
            }
        }
    }
    text
}

/// `char-major-10-203` is `c10:203`.
fn device_number(alias: &str) -> Option<String> {
    let (kind, rest) = match alias.strip_prefix("char-major-") {
        Some(rest) => ('c', rest),
        None => ('b', alias.strip_prefix("block-major-")?),
    };
    let (major, minor) = rest.split_once('-')?;
    Some(format!(
        "{kind}{}:{}",
        major.parse::<u32>().ok()?,
        minor.parse::<u32>().ok()?
    ))
}

/// Dashes become underscores, but not between brackets; `None` if a bracket has no partner.
pub(super) fn normalise(alias: &str) -> Option<String> {
    let mut inside = false;
    let mut text = String::with_capacity(alias.len());
    for c in alias.chars() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            ']' => return None,
            _ => {}
        }
        text.push(if c == '-' && !inside { '_' } else { c });
    }
    (!inside).then_some(text)
}

fn priority(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a String never fails");
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{builtin_aliases, device_number, normalise};

    #[test]
    fn dashes_between_brackets_stay() {
        for (alias, expected) in [
            ("crypto-sha256", Some("crypto_sha256")),
            ("usb:d[0-9]-x", Some("usb:d[0-9]_x")),
            ("a]b", None),
            ("a[b", None),
        ] {
            assert_eq!(normalise(alias).as_deref(), expected);
        }
    }

    #[test]
    fn device_numbers_need_both_parts() {
        assert_eq!(
            device_number("char-major-10-203").as_deref(),
            Some("c10:203")
        );
        assert_eq!(device_number("block-major-7-0").as_deref(), Some("b7:0"));
        assert_eq!(device_number("block-major-7-*"), None);
    }

    #[test]
    fn only_aliases_are_taken_from_what_is_built_in() {
        let modinfo = "a.license=GPL\0a.alias=x=y\0b.alias=z\0";
        assert_eq!(
            builtin_aliases(modinfo).collect::<Vec<_>>(),
            [("a", "x=y"), ("b", "z")]
        );
    }
}
