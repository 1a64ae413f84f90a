//! The hardware database: `usr/lib/udev/hwdb.bin` from the `.hwdb` files, as `systemd-hwdb --usr update` writes
//! it. udev looks devices up in it by modalias patterns.
//!
//! ```text
//! file    signature "KSLPHHRH", then nine u64: version of the tool, size of the file, sizes of header, node,
//!         child and value (80, 24, 16, 32), offset of the root node, size of all nodes, size of the strings
//! node    offset of the prefix, number of children (u8, padded to 8), number of values; children; values
//! child   byte (padded to 8), offset of the node
//! value   offsets of key, value and file name; line (u32), priority of the file (u16), padding (u16)
//! ```
//!
//! All numbers are little-endian; a node stands after its children; offsets of strings count from the start of
//! the file. A line that is malformed is skipped, as systemd does, which only warns.

use super::conf_files::conf_files;
use super::string_pool::StringPool;
use formats::tree::{Content, Tree, TreeError};
use std::collections::BTreeMap;
use std::io;

const SIGNATURE: &[u8; 8] = b"KSLPHHRH";
/// The release of systemd whose file this is; its readers look at the sizes, not at this.
const TOOL_VERSION: u64 = 257;
const HEADER: u64 = 80;
const NODE: u64 = 24;
const CHILD: u64 = 16;
const VALUE: u64 = 32;

/// Where the file goes.
pub const PATH: &str = "usr/lib/udev/hwdb.bin";

const DIRECTORIES: &[&str] = &[
    "etc/udev/hwdb.d",
    "usr/local/lib/udev/hwdb.d",
    "usr/lib/udev/hwdb.d",
];

/// Why the database cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HwdbError {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// More files, lines or children than the format has bits for.
    #[error(
        "{path} has more lines, or comes after more files, than a hardware database can number"
    )]
    TooMany {
        /// The file.
        path: String,
    },
    /// The database cannot be put into the tree.
    #[error("adding {PATH} to the tree")]
    Tree(#[source] TreeError),
}

/// The files that the database is made of, in their order.
pub fn sources(tree: &Tree) -> Vec<(String, &Content)> {
    conf_files(tree, DIRECTORIES, ".hwdb")
}

/// Puts a database into the tree, mode 0444.
///
/// # Errors
/// Something other than a file is at its place.
pub fn place(tree: &mut Tree, database: Vec<u8>) -> Result<(), HwdbError> {
    tree.insert_file(PATH, 0o444, database)
        .map_err(HwdbError::Tree)
}

/// The database of these files. Without any file there is none.
///
/// # Errors
/// A file cannot be read, or there are more of them than the format can number.
pub fn render(files: &[(String, &Content)]) -> Result<Option<Vec<u8>>, HwdbError> {
    if files.is_empty() {
        return Ok(None);
    }
    let mut trie = Trie {
        strings: StringPool::new(),
        root: Node::default(),
    };
    for (priority, (path, content)) in (1u32..).zip(files) {
        let too_many = || HwdbError::TooMany { path: path.clone() };
        let bytes = content.to_vec().map_err(|source| HwdbError::Read {
            path: path.clone(),
            source,
        })?;
        let priority = u16::try_from(priority).map_err(|_| too_many())?;
        let mut source = Source {
            file: format!("/{path}"),
            priority,
            line: 0,
        };
        import(&mut trie, &bytes, &mut source).ok_or_else(too_many)?;
    }
    Ok(Some(trie.write()))
}

/// Where a property comes from.
#[derive(Clone, Debug)]
struct Source {
    file: String,
    priority: u16,
    line: u32,
}

/// Reads one file: records of match lines, then properties that begin with a blank, ended by an empty line.
/// `None` if its lines cannot be numbered.
fn import(trie: &mut Trie, bytes: &[u8], source: &mut Source) -> Option<()> {
    let mut matches: Vec<&[u8]> = Vec::new();
    let mut has_properties = false;
    for line in bytes.split(|byte| *byte == b'\n') {
        source.line = source.line.checked_add(1)?;
        if line.first() == Some(&b'#') {
            continue;
        }
        let line = line
            .split(|byte| *byte == b'#')
            .next()
            .unwrap_or_default()
            .trim_ascii_end();
        if line.is_empty() {
            matches.clear();
            has_properties = false;
        } else if line[0] != b' ' {
            if has_properties {
                // A record must end with an empty line: what follows belongs to none.
                matches.clear();
                has_properties = false;
            } else {
                matches.push(line);
            }
        } else if !matches.is_empty() {
            has_properties = true;
            if let Some((key, value)) = property(line) {
                for pattern in &matches {
                    trie.insert(pattern, key, value, source);
                }
            }
        }
    }
    Some(())
}

/// ` KEY=VALUE`; the key keeps one blank before it.
fn property(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let (mut key, value) = (&line[..equals], &line[equals + 1..]);
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    while is_blank(key.first()) && is_blank(key.get(1)) {
        key = &key[1..];
    }
    (key.len() > 1).then_some((key, value))
}

/// The database under construction: a Patricia trie over the patterns.
#[derive(Debug)]
struct Trie {
    strings: StringPool,
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    /// Place of the prefix in the strings.
    prefix: usize,
    children: BTreeMap<u8, Node>,
    /// By the key's text.
    values: BTreeMap<Vec<u8>, Value>,
}

/// Places of strings, and the source.
#[derive(Clone, Copy, Debug)]
struct Value {
    key: usize,
    value: usize,
    file: usize,
    line: u32,
    priority: u16,
}

impl Trie {
    fn insert(&mut self, pattern: &[u8], key: &[u8], value: &[u8], source: &Source) {
        let strings = &mut self.strings;
        let node = self.root.descend(strings, pattern);
        let new = Value {
            key: strings.add(key),
            value: strings.add(value),
            file: strings.add(source.file.as_bytes()),
            line: source.line,
            priority: source.priority,
        };
        let kept = node.values.entry(key.to_vec()).or_insert(new);
        *kept = Value {
            key: kept.key,
            ..new
        };
    }

    fn write(&self) -> Vec<u8> {
        let strings_start = HEADER + self.root.size();
        let mut out = vec![0; HEADER as usize];
        let root = self.root.write(&mut out, strings_start);
        out.extend(self.strings.bytes());
        let strings_len = self.strings.bytes().len() as u64;
        let size = out.len() as u64;
        let words = [
            TOOL_VERSION,
            size,
            HEADER,
            NODE,
            CHILD,
            VALUE,
            root,
            strings_start - HEADER,
            strings_len,
        ];
        out[..8].copy_from_slice(SIGNATURE);
        for (slot, word) in out[8..HEADER as usize].chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        out
    }
}

impl Node {
    /// The node of `pattern`, made if it is not there.
    fn descend(&mut self, strings: &mut StringPool, pattern: &[u8]) -> &mut Node {
        let mut node = self;
        let mut rest = pattern;
        loop {
            let prefix = strings.get(node.prefix);
            let common = prefix.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if let Some(label) = prefix.get(common).copied() {
                let head = prefix[..common].to_vec();
                let child = Node {
                    prefix: node.prefix + common + 1,
                    ..std::mem::take(node)
                };
                node.prefix = strings.add(&head);
                node.children.insert(label, child);
            }
            let Some((label, tail)) = rest[common..].split_first() else {
                return node;
            };
            rest = tail;
            let new = || Node {
                prefix: strings.add(tail),
                ..Node::default()
            };
            node = node.children.entry(*label).or_insert_with(new);
        }
    }

    /// Bytes of this node and all below it.
    fn size(&self) -> u64 {
        let below: u64 = self.children.values().map(Node::size).sum();
        below + NODE + CHILD * self.children.len() as u64 + VALUE * self.values.len() as u64
    }

    /// Writes the children and then the node; gives its offset.
    fn write(&self, out: &mut Vec<u8>, strings: u64) -> u64 {
        let children: Vec<(u8, u64)> = self
            .children
            .iter()
            .map(|(label, child)| (*label, child.write(out, strings)))
            .collect();
        let offset = out.len() as u64;
        let place = |place: usize| (strings + place as u64).to_le_bytes();
        out.extend(place(self.prefix));
        // At most 255 children: no text holds a zero byte.
        out.extend([
            u8::try_from(children.len()).unwrap_or(u8::MAX),
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        out.extend((self.values.len() as u64).to_le_bytes());
        for (label, child) in children {
            out.extend([label, 0, 0, 0, 0, 0, 0, 0]);
            out.extend(child.to_le_bytes());
        }
        for value in self.values.values() {
            out.extend(place(value.key));
            out.extend(place(value.value));
            out.extend(place(value.file));
            out.extend(value.line.to_le_bytes());
            out.extend(value.priority.to_le_bytes());
            out.extend([0; 2]);
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, Trie, import, property, render, sources};
    use crate::rootfs::hwdb::Node;
    use crate::rootfs::string_pool::StringPool;
    use formats::tree::Tree;

    /// Pattern and `KEY=VALUE` of every value, in the order of the trie.
    fn check(text: &str, expected: &[(&str, &str)]) {
        let mut trie = Trie {
            strings: StringPool::new(),
            root: Node::default(),
        };
        let mut source = Source {
            file: "f".into(),
            priority: 1,
            line: 0,
        };
        import(&mut trie, text.as_bytes(), &mut source).unwrap();
        let mut found = Vec::new();
        let mut todo = vec![(String::new(), &trie.root)];
        while let Some((path, node)) = todo.pop() {
            let text = |place| String::from_utf8_lossy(trie.strings.get(place)).into_owned();
            let path = path + &text(node.prefix);
            for value in node.values.values() {
                found.push((
                    path.clone(),
                    format!("{}={}", text(value.key), text(value.value)),
                ));
            }
            for (label, child) in node.children.iter().rev() {
                todo.push((format!("{path}{}", char::from(*label)), child));
            }
        }
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn records_have_several_matches_and_properties() {
        check(
            "# c\npci:a*\npci:b*\n K=1\n   L=2 # c\n\npci:a*\n K=3\n",
            &[
                ("pci:a*", " K=3"),
                ("pci:a*", " L=2"),
                ("pci:b*", " K=1"),
                ("pci:b*", " L=2"),
            ],
        );
    }

    #[test]
    fn malformed_lines_are_skipped() {
        check(" K=1\nm\n\n", &[]);
        check("m\n no value\n =1\n K=\nn\n K=2\n", &[("m", " K=")]);
        assert_eq!(property(b" \t K=x=y"), Some((&b" K"[..], &b"x=y"[..])));
    }

    #[test]
    fn without_files_there_is_no_database() {
        let tree = Tree::new();
        let files = sources(&tree);
        assert!(render(&files).unwrap().is_none());
    }
}
