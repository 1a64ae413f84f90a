//! The dynamic loader's cache, `etc/ld.so.cache`, and the SONAME links that ldconfig makes beside libraries.
//!
//! ```text
//! header     "glibc-ld.so.cache1.1", entries (u32), bytes of strings (u32), byte order (u8, 2 is little-endian),
//!            3 bytes of 0, offset of the extensions (u32), 12 bytes of 0
//! entry      flags (u32), offsets of name and path (u32 each), 0 (u32), capabilities (u64)
//! strings    zero-terminated; one that ends another has no bytes of its own
//! extension  after padding to 4: magic 0xEAA42174, count (u32), count * (tag, flags, offset, size: u32), bodies
//! ```
//!
//! This is what glibc 2.33 and later write and read; all numbers are in the machine's order, and both
//! architectures are little-endian. Extension 0 names the generator; extension 1 lists the `glibc-hwcaps`
//! subdirectories, to which an entry with bit 62 in its capabilities points. Foreign and 32-bit libraries are
//! left out. The loader looks only at the first fitting entry, so the order is ldconfig's: by name, numbers by
//! value, downwards.

use super::elf::{File, machine};
use super::libraries::{LibraryError, configured_directories, read};
use contract::partition::Arch;
use formats::tree::{Kind, Tree, TreeError};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
const LITTLE_ENDIAN: u8 = 2;
const EXTENSION_MAGIC: u32 = 0xEAA4_2174;
const EXTENSION_GENERATOR: u32 = 0;
const EXTENSION_HWCAPS: u32 = 1;
/// An entry of a `glibc-hwcaps` subdirectory.
const HWCAP_EXTENSION: u64 = 1 << 62;
const GENERATOR: &str = "seedbed";

/// Where the cache goes.
pub const PATH: &str = "etc/ld.so.cache";

/// Why the cache cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LdCacheError {
    /// A library or the configuration cannot be read.
    #[error("reading the shared libraries")]
    Library(#[from] LibraryError),
    /// More or longer names than 32 bits can place.
    #[error("the loader's cache would be larger than 4 GiB")]
    TooLarge,
    /// A link or the cache cannot be put into the tree.
    #[error("adding {PATH} to the tree")]
    Tree(#[from] TreeError),
}

/// Makes the SONAME links and the cache, mode 0644.
pub fn write(tree: &mut Tree, arch: Arch) -> Result<(), LdCacheError> {
    let mut entries = Vec::new();
    for directory in directories(tree, arch)? {
        let libraries = search(tree, &directory, arch)?;
        if directory.hwcap.is_none() {
            link(tree, &directory, &libraries)?;
        }
        entries.extend(
            libraries
                .into_iter()
                .map(|(soname, library)| Entry::new(&directory, soname, &library)),
        );
    }
    entries.sort_by(Entry::order);
    let bytes = render(&entries, arch, GENERATOR).ok_or(LdCacheError::TooLarge)?;
    tree.insert_file(PATH, 0o644, bytes)?;
    Ok(())
}

/// A directory of libraries.
#[derive(Clone, Debug)]
struct Directory {
    /// As configured, without a leading slash: what the cache shows.
    path: String,
    /// Where that leads.
    real: String,
    /// The `glibc-hwcaps` subdirectory that it is.
    hwcap: Option<String>,
}

/// Every directory once, the configured ones first, each followed by its `glibc-hwcaps` subdirectories.
fn directories(tree: &Tree, arch: Arch) -> Result<Vec<Directory>, LdCacheError> {
    let multiarch = arch.multiarch();
    let builtin = [
        format!("lib/{multiarch}"),
        format!("usr/lib/{multiarch}"),
        "lib".into(),
        "usr/lib".into(),
    ];
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for path in configured_directories(tree)?.into_iter().chain(builtin) {
        let Some(real) = real_directory(tree, &path).filter(|real| seen.insert(real.clone()))
        else {
            continue;
        };
        let hwcaps: Vec<String> = tree
            .children(&format!("{real}/glibc-hwcaps"))
            .map(|(name, _)| name)
            .collect();
        found.push(Directory {
            path: path.clone(),
            real: real.clone(),
            hwcap: None,
        });
        for name in hwcaps
            .into_iter()
            .filter(|name| !name.starts_with('.') && !name.contains(':'))
        {
            let path = format!("{path}/glibc-hwcaps/{name}");
            if let Some(real) = real_directory(tree, &path).filter(|real| seen.insert(real.clone()))
            {
                found.push(Directory {
                    path,
                    real,
                    hwcap: Some(name),
                });
            }
        }
    }
    Ok(found)
}

fn real_directory(tree: &Tree, path: &str) -> Option<String> {
    tree.resolve(path)
        .filter(|real| matches!(tree.get(real), Some(node) if matches!(node.kind, Kind::Directory)))
}

/// A file or link that stands for a SONAME.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Library {
    file: String,
    is_link: bool,
}

/// The best file of each SONAME in a directory: a file before a link, then the one of the highest version.
fn search(
    tree: &Tree,
    directory: &Directory,
    arch: Arch,
) -> Result<BTreeMap<String, Library>, LdCacheError> {
    let mut found: BTreeMap<String, Library> = BTreeMap::new();
    let names = tree
        .children(&directory.real)
        .filter(|(name, _)| is_library_name(name));
    for (name, node) in names {
        let path = format!("{}/{name}", directory.real);
        let mut is_link = matches!(node.kind, Kind::Symlink(_));
        let Some(mut soname) = soname(tree, &path, &name, arch)? else {
            continue;
        };
        if is_link {
            // A development link (libx.so) or one named as the SONAME stands for itself; any other counts as
            // one more file with that SONAME.
            let is_development = name.ends_with(".so") && soname.starts_with(&name);
            is_link = name == soname || is_development;
            if is_link {
                soname = name.clone();
            }
        }
        let library = Library {
            file: name,
            is_link,
        };
        let better = |old: &Library| match (old.is_link, library.is_link) {
            (true, false) => true,
            (false, true) => false,
            _ => compare(&old.file, &library.file) == Ordering::Less,
        };
        if found.get(&soname).is_none_or(better) {
            found.insert(soname, library);
        }
    }
    Ok(found)
}

/// `lib*.so*` and the loader itself.
fn is_library_name(name: &str) -> bool {
    let named = (name.starts_with("lib") || name.starts_with("ld-")) && name.contains(".so");
    named || name.starts_with("ld.so.") || name.starts_with("ld64.so.")
}

/// The SONAME of a library of this architecture (its file name, if it has none); `None` for any other file.
fn soname(tree: &Tree, path: &str, name: &str, arch: Arch) -> Result<Option<String>, LdCacheError> {
    let Some(real) = tree.resolve(path) else {
        return Ok(None);
    };
    let Some(Kind::File(content)) = tree.get(&real).map(|node| &node.kind) else {
        return Ok(None);
    };
    let mut start = [0; 64];
    if content.read_exact_at(&mut start, 0).is_err() || File::parse(&start).is_none() {
        return Ok(None);
    }
    let bytes = read(tree, &real)?;
    let Some(file) =
        File::parse(&bytes).filter(|file| file.machine() == machine(arch) && file.is_shared())
    else {
        return Ok(None);
    };
    let dynamic = file
        .dynamic()
        .map_err(|source| LibraryError::Elf { path: real, source })?;
    Ok(dynamic
        .is_dynamic
        .then(|| dynamic.soname.unwrap_or_else(|| name.to_owned())))
}

/// Makes the links SONAME → file that are missing or lead elsewhere, and takes away links to libraries that are
/// gone.
fn link(
    tree: &mut Tree,
    directory: &Directory,
    libraries: &BTreeMap<String, Library>,
) -> Result<(), TreeError> {
    let is_stale = |(name, node): &(String, &formats::tree::Node)| {
        let target = tree.resolve(&format!("{}/{name}", directory.real));
        matches!(node.kind, Kind::Symlink(_))
            && is_library_name(name)
            && name.contains(".so.")
            && target.and_then(|target| tree.get(&target)).is_none()
    };
    let stale: Vec<String> = tree
        .children(&directory.real)
        .filter(is_stale)
        .map(|(name, _)| name)
        .collect();
    for name in stale {
        tree.remove(&format!("{}/{name}", directory.real));
    }
    for (soname, library) in libraries.iter().filter(|(_, library)| !library.is_link) {
        let path = format!("{}/{soname}", directory.real);
        let right = tree.resolve(&format!("{}/{}", directory.real, library.file));
        let is_right = tree.get(&path).is_some() && tree.resolve(&path) == right;
        let is_file =
            matches!(tree.get(&path), Some(node) if !matches!(node.kind, Kind::Symlink(_)));
        if !is_right && !is_file {
            tree.insert_symlink(&path, &library.file)?;
        }
    }
    Ok(())
}

/// One line of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    path: String,
    hwcap: Option<String>,
}

impl Entry {
    fn new(directory: &Directory, soname: String, library: &Library) -> Self {
        // In a subdirectory there are no links, so the file itself is named.
        let file = if directory.hwcap.is_some() {
            &library.file
        } else {
            &soname
        };
        Entry {
            path: format!("/{}/{file}", directory.path),
            hwcap: directory.hwcap.clone(),
            name: soname,
        }
    }

    /// By name, downwards; subdirectories before the directory, by their names; else as found.
    fn order(&self, other: &Self) -> Ordering {
        let by_hwcap = match (&self.hwcap, &other.hwcap) {
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => a.is_none().cmp(&b.is_none()),
        };
        compare(&other.name, &self.name).then(by_hwcap)
    }
}

/// The loader's order of names: runs of digits by their value, a digit after any other character.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (digits_a, rest_a) = digits(a);
        let (digits_b, rest_b) = digits(b);
        let order = match (digits_a, digits_b) {
            ([], []) => match (a.split_first(), b.split_first()) {
                (Some((x, rest_a)), Some((y, rest_b))) => {
                    (a, b) = (rest_a, rest_b);
                    x.cmp(y)
                }
                (None, None) => return Ordering::Equal,
                (x, _) => {
                    return if x.is_some() {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    };
                }
            },
            ([], _) => Ordering::Less,
            (_, []) => Ordering::Greater,
            (x, y) => {
                (a, b) = (rest_a, rest_b);
                x.len().cmp(&y.len()).then(x.cmp(y))
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The digits at the start, without leading zeros unless there is nothing else, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeros = digits
        .iter()
        .take_while(|digit| **digit == b'0')
        .count()
        .min(digits.len().saturating_sub(1));
    (&digits[zeros..], rest)
}

/// "An ELF library for glibc 2" and the architecture's own kind.
fn flags(arch: Arch) -> u32 {
    match arch {
        Arch::Amd64 => 0x0303,
        Arch::Arm64 => 0x0a03,
    }
}

/// The cache's bytes; `None` if offsets do not fit.
fn render(entries: &[Entry], arch: Arch, generator: &str) -> Option<Vec<u8>> {
    let hwcaps: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| entry.hwcap.as_deref())
        .collect();
    let texts = entries
        .iter()
        .flat_map(|entry| [entry.name.as_str(), entry.path.as_str()]);
    let strings = Strings::new(texts.chain(hwcaps.iter().copied()));
    let start = HEADER + ENTRY * entries.len();
    let place = |text: &str| u32::try_from(start + strings.places.get(text)?).ok();
    let extensions = (start + strings.bytes.len()).next_multiple_of(4);

    let mut out = MAGIC.to_vec();
    out.extend(u32::try_from(entries.len()).ok()?.to_le_bytes());
    out.extend(u32::try_from(strings.bytes.len()).ok()?.to_le_bytes());
    out.extend([LITTLE_ENDIAN, 0, 0, 0]);
    out.extend(u32::try_from(extensions).ok()?.to_le_bytes());
    out.resize(HEADER, 0);
    for entry in entries {
        let subdirectory = entry
            .hwcap
            .as_deref()
            .and_then(|hwcap| hwcaps.iter().position(|name| *name == hwcap));
        let hwcap = subdirectory.map_or(0, |index| HWCAP_EXTENSION | index as u64);
        for word in [flags(arch), place(&entry.name)?, place(&entry.path)?, 0] {
            out.extend(word.to_le_bytes());
        }
        out.extend(hwcap.to_le_bytes());
    }
    out.extend(&strings.bytes);
    out.resize(extensions, 0);

    let list: Option<Vec<u8>> = hwcaps
        .iter()
        .map(|name| place(name).map(u32::to_le_bytes))
        .collect::<Option<Vec<_>>>()
        .map(|list| list.concat());
    let list = list?;
    let count = if list.is_empty() { 1 } else { 2 };
    let bodies = u32::try_from(extensions + 8 + 16 * count).ok()?;
    let (list_len, generator_len) = (
        u32::try_from(list.len()).ok()?,
        u32::try_from(generator.len()).ok()?,
    );
    let mut words = vec![
        EXTENSION_MAGIC,
        u32::try_from(count).ok()?,
        EXTENSION_GENERATOR,
        0,
        bodies + list_len,
        generator_len,
    ];
    if count == 2 {
        words.extend([EXTENSION_HWCAPS, 0, bodies, list_len]);
    }
    out.extend(words.into_iter().flat_map(u32::to_le_bytes));
    out.extend(list);
    out.extend(generator.as_bytes());
    Some(out)
}

/// Strings, longest tails first, so that each string that ends another shares its bytes.
struct Strings {
    bytes: Vec<u8>,
    places: BTreeMap<String, usize>,
}

impl Strings {
    fn new<'s>(texts: impl Iterator<Item = &'s str>) -> Self {
        let reversed: BTreeSet<Vec<u8>> = texts.map(|text| text.bytes().rev().collect()).collect();
        let mut strings = Strings {
            bytes: Vec::new(),
            places: BTreeMap::new(),
        };
        let mut last: Vec<u8> = Vec::new();
        for mut text in reversed.into_iter().rev() {
            let shares = last.starts_with(&text);
            if !shares {
                last.clone_from(&text);
                strings.bytes.extend(text.iter().rev());
                strings.bytes.push(0);
            }
            let place = strings.bytes.len() - 1 - text.len();
            text.reverse();
            // The bytes came from a text, so the lossy reading loses nothing.
            strings
                .places
                .insert(String::from_utf8_lossy(&text).into_owned(), place);
        }
        strings
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Strings, compare, is_library_name};
    use proptest::prelude::proptest;
    use std::cmp::Ordering;

    #[test]
    fn numbers_are_compared_by_value() {
        for (a, b, expected) in [
            ("libx.so.10", "libx.so.9", Ordering::Greater),
            ("libx.so.1", "libx.so.1", Ordering::Equal),
            ("libx.so.01", "libx.so.1", Ordering::Equal),
            ("libx1", "libxa", Ordering::Greater),
            ("libx", "libx.so", Ordering::Less),
            ("libB", "liba", Ordering::Less),
        ] {
            assert_eq!(compare(a, b), expected, "{a} {b}");
            assert_eq!(compare(b, a), expected.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn subdirectories_come_before_their_directory() {
        let entry = |name: &str, hwcap: Option<&str>| Entry {
            name: name.into(),
            path: String::new(),
            hwcap: hwcap.map(str::to_owned),
        };
        let mut entries = [
            entry("liba", None),
            entry("liba", Some("x86-64-v3")),
            entry("liba", Some("x86-64-v2")),
            entry("libb", None),
        ];
        entries.sort_by(Entry::order);
        let found: Vec<(&str, Option<&str>)> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.hwcap.as_deref()))
            .collect();
        let expected = [
            ("libb", None),
            ("liba", Some("x86-64-v2")),
            ("liba", Some("x86-64-v3")),
            ("liba", None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn library_names() {
        for name in [
            "libc.so.6",
            "ld-linux-x86-64.so.2",
            "libx.so",
            "libx-1.so.2.3",
        ] {
            assert!(is_library_name(name), "{name}");
        }
        for name in ["libc.a", "preloadable_libintl.so", "x.so"] {
            assert!(!is_library_name(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_string_is_at_its_place(texts in proptest::collection::vec("[ab/]{1,6}", 0..40)) {
            let strings = Strings::new(texts.iter().map(String::as_str));
            for text in &texts {
                let place = strings.places[text];
                assert_eq!(&strings.bytes[place..place + text.len()], text.as_bytes());
                assert_eq!(strings.bytes[place + text.len()], 0);
            }
        }
    }
}
