//! The journal's message catalog: `var/lib/systemd/catalog/database` from the `.catalog` files, as
//! `journalctl --update-catalog` writes it.
//!
//! ```text
//! header  signature "RHHHKSLP", two u32 of flags (0), then u64: size of the header (40), number of items, size
//!         of an item (56)
//! item    128-bit identifier, language (32 bytes, zero-padded), offset of the text among the strings (u64)
//! ```
//!
//! Numbers are little-endian, items are sorted by identifier and language, and the strings follow.

use super::conf_files::conf_files;
use super::string_pool::StringPool;
use formats::tree::{Tree, TreeError};
use std::collections::BTreeMap;
use std::io;

const SIGNATURE: &[u8; 8] = b"RHHHKSLP";
const HEADER: u64 = 40;
const ITEM: u64 = 56;
const LANGUAGE: usize = 32;

/// Where the database goes.
pub const PATH: &str = "var/lib/systemd/catalog/database";

const DIRECTORIES: &[&str] = &["usr/local/lib/systemd/catalog", "usr/lib/systemd/catalog"];

/// Why the catalog cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A file is malformed.
    #[error("{path}:{line}: {problem}")]
    Syntax {
        /// The file.
        path: String,
        /// The line, counted from one.
        line: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The database cannot be put into the tree.
    #[error("adding {PATH} to the tree")]
    Tree(#[source] TreeError),
}

/// Puts the database into the tree, mode 0644. Without any entry there is none.
pub fn write(tree: &mut Tree) -> Result<(), CatalogError> {
    let mut catalog = Catalog::default();
    for (path, content) in conf_files(tree, DIRECTORIES, ".catalog") {
        let bytes = content.to_vec().map_err(|source| CatalogError::Read {
            path: path.clone(),
            source,
        })?;
        catalog
            .import(&path, &bytes)
            .map_err(|(line, problem)| CatalogError::Syntax {
                path: path.clone(),
                line,
                problem,
            })?;
    }
    if catalog.order.is_empty() {
        return Ok(());
    }
    tree.insert_file(PATH, 0o644, catalog.render())
        .map_err(CatalogError::Tree)
}

/// Identifier and language.
type Key = ([u8; 16], Vec<u8>);

#[derive(Debug, Default)]
struct Catalog {
    /// Entries in the order in which they first came.
    order: Vec<Key>,
    texts: BTreeMap<Key, Vec<u8>>,
}

impl Catalog {
    /// Reads one file. An entry begins with `-- IDENTIFIER [LANGUAGE]` after an empty line.
    fn import(&mut self, path: &str, bytes: &[u8]) -> Result<(), (usize, &'static str)> {
        let language = file_language(path);
        let mut entry: Option<(Key, Vec<u8>)> = None;
        let mut after_empty = true;
        let lines = bytes
            .strip_suffix(b"\n")
            .unwrap_or(bytes)
            .split(|byte| *byte == b'\n');
        let mut last = 0;
        for (number, line) in (1..).zip(lines) {
            last = number;
            if line.is_empty() {
                after_empty = true;
                continue;
            }
            if matches!(line[0], b'#' | b';') {
                continue;
            }
            let head = if after_empty {
                entry_head(line).map_err(|problem| (number, problem))?
            } else {
                None
            };
            if let Some((id, own)) = head {
                self.finish(entry.take())
                    .map_err(|problem| (number, problem))?;
                let key = (id, own.unwrap_or(language).to_vec());
                entry = Some((key, Vec::new()));
            } else {
                let (_, text) = entry
                    .as_mut()
                    .ok_or((number, "text before the first entry"))?;
                if after_empty {
                    text.push(b'\n');
                }
                text.extend(line);
                text.push(b'\n');
            }
            after_empty = false;
        }
        self.finish(entry).map_err(|problem| (last, problem))
    }

    /// An entry that is there already is put behind the new one: its headers add to those of the new one, its
    /// body counts only if the new one has none.
    fn finish(&mut self, entry: Option<(Key, Vec<u8>)>) -> Result<(), &'static str> {
        let Some((key, text)) = entry else {
            return Ok(());
        };
        if text.is_empty() {
            return Err("an entry without text ends here");
        }
        let text = match self.texts.get(&key) {
            Some(old) => combine(&text, old),
            None => {
                self.order.push(key.clone());
                text
            }
        };
        self.texts.insert(key, text);
        Ok(())
    }

    fn render(&self) -> Vec<u8> {
        let mut strings = StringPool::new();
        let mut places = BTreeMap::new();
        for key in &self.order {
            places.insert(key, strings.add(&self.texts[key]) as u64);
        }
        let mut out = SIGNATURE.to_vec();
        out.extend([0; 8]);
        for word in [HEADER, places.len() as u64, ITEM] {
            out.extend(word.to_le_bytes());
        }
        for ((id, language), place) in places {
            let mut padded = [0; LANGUAGE];
            padded[..language.len()].copy_from_slice(language);
            out.extend(id);
            out.extend(padded);
            out.extend(place.to_le_bytes());
        }
        out.extend(strings.bytes());
        out
    }
}

/// Identifier and own language of an entry.
type Head<'l> = ([u8; 16], Option<&'l [u8]>);

/// `-- 32 hexadecimal digits [language]`, or `None` for a line of text.
fn entry_head(line: &[u8]) -> Result<Option<Head<'_>>, &'static str> {
    let Some((digits, rest)) = line
        .strip_prefix(b"-- ")
        .and_then(|line| line.split_at_checked(32))
    else {
        return Ok(None);
    };
    if !matches!(rest.first(), None | Some(b' ')) {
        return Ok(None);
    }
    let digits = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    let Some(id) = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()) else {
        return Ok(None);
    };
    if rest.is_empty() {
        return Ok(Some((id.to_be_bytes(), None)));
    }
    let language = rest.trim_ascii();
    if !(2..LANGUAGE).contains(&language.len()) {
        return Err("a language has 2 to 31 characters");
    }
    Ok(Some((id.to_be_bytes(), Some(language))))
}

/// `systemd.pt_BR.catalog` is in `pt_BR`; `systemd.catalog` is in none.
fn file_language(path: &str) -> &[u8] {
    let name = path.rsplit('/').next().unwrap_or_default();
    let language = name
        .strip_suffix(".catalog")
        .and_then(|stem| stem.rsplit_once('.'))
        .map(|(_, language)| language);
    language
        .filter(|language| (2..LANGUAGE).contains(&language.len()))
        .unwrap_or_default()
        .as_bytes()
}

fn combine(new: &[u8], old: &[u8]) -> Vec<u8> {
    let (new_head, new_body) = new.split_at(body(new));
    let (old_head, old_body) = old.split_at(body(old));
    [
        new_head,
        old_head,
        if new_body.is_empty() {
            old_body
        } else {
            new_body
        },
    ]
    .concat()
}

/// Where the headers end: at the first empty line.
fn body(text: &[u8]) -> usize {
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\n" {
            break;
        }
        at += line.len();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::{Catalog, file_language, write};
    use formats::tree::Tree;

    const ID: &str = "-- 0123456789abcdef0123456789abcdef";

    fn catalog(files: &[(&str, &str)]) -> Result<Catalog, (usize, &'static str)> {
        let mut catalog = Catalog::default();
        for (path, text) in files {
            catalog.import(path, text.as_bytes())?;
        }
        Ok(catalog)
    }

    #[test]
    fn later_headers_come_first_and_a_missing_body_is_taken_over() {
        let first = format!("{ID}\nSubject: a\n\nBody\n");
        let second = format!("{ID}\nSupport: b\n");
        let catalog = catalog(&[("a.catalog", &first), ("b.catalog", &second)]).unwrap();
        let text: Vec<&Vec<u8>> = catalog.texts.values().collect();
        assert_eq!(text, [b"Support: b\nSubject: a\n\nBody\n"]);
    }

    #[test]
    fn languages_come_from_the_file_or_the_entry() {
        assert_eq!(file_language("x/systemd.pt_BR.catalog"), b"pt_BR");
        assert_eq!(file_language("x.y/systemd.catalog"), b"");
        let text = format!("{ID} fr\nSubject: a\n");
        let catalog = catalog(&[("a.de.catalog", &text)]).unwrap();
        assert_eq!(catalog.order[0].1, b"fr");
    }

    #[test]
    fn malformed_entries_are_named_by_line() {
        let check = |text: &str, expected| {
            assert_eq!(catalog(&[("a.catalog", text)]).unwrap_err(), expected)
        };
        check("x\n", (1, "text before the first entry"));
        check(
            &format!("{ID}\n\n{ID} de\nx\n"),
            (3, "an entry without text ends here"),
        );
        check(
            &format!("{ID} x\n"),
            (1, "a language has 2 to 31 characters"),
        );
    }

    #[test]
    fn without_entries_there_is_no_database() {
        let mut tree = Tree::new();
        write(&mut tree).unwrap();
        assert!(tree.is_empty());
    }
}
