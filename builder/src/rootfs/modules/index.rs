//! kmod's binary index: keys (module names or alias patterns) to values with a priority, as a Patricia trie.
//!
//! ```text
//! file    magic 0xB007F457, version 0x00020001, offset of the root node    (each u32, big-endian)
//! node    [prefix, zero-terminated]                                        if flag 0x8000_0000
//!         [first, last: u8, (last - first + 1) node offsets: u32]          if flag 0x2000_0000
//!         [count: u32, count * (priority: u32, value, zero-terminated)]    if flag 0x4000_0000
//! ```
//!
//! A node's flags are the high bits of the offset that leads to it; offset 0 is "no child". A node
//! is followed by its children, depth first. A child's label is the byte it is reached by, and then its prefix.

use super::ModuleError;
use std::collections::BTreeMap;

const MAGIC: u32 = 0xB007_F457;
const VERSION: u32 = 0x0002_0001;
const PREFIX: u32 = 0x8000_0000;
const VALUES: u32 = 0x4000_0000;
const CHILDREN: u32 = 0x2000_0000;
/// Offsets have 28 bits.
const MAX_SIZE: usize = 0x0FFF_FFFF;
/// The longest key or value, as in kmod.
const MAX_TEXT: usize = 4095;

/// An index under construction.
#[derive(Debug, Default)]
pub(super) struct Index {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    prefix: Vec<u8>,
    values: Vec<(u32, String)>,
    children: BTreeMap<u8, Node>,
}

impl Index {
    /// Adds a value; of equal priority, the one added last comes first.
    pub(super) fn insert(
        &mut self,
        key: &str,
        value: &str,
        priority: u32,
    ) -> Result<(), ModuleError> {
        for text in [key, value] {
            if !text.is_ascii() || text.len() > MAX_TEXT {
                return Err(ModuleError::Key(text.to_owned()));
            }
        }
        let values = &mut self.root.descend(key.as_bytes()).values;
        let at = values
            .iter()
            .take_while(|(other, _)| *other < priority)
            .count();
        values.insert(at, (priority, value.to_owned()));
        Ok(())
    }

    /// The file; `name` is only for the error.
    pub(super) fn write(&self, name: &'static str) -> Result<Vec<u8>, ModuleError> {
        let mut out = Vec::new();
        for word in [MAGIC, VERSION, 0] {
            out.extend(word.to_be_bytes());
        }
        let root = self
            .root
            .write(&mut out)
            .filter(|_| out.len() <= MAX_SIZE)
            .ok_or(ModuleError::TooLarge(name))?;
        out[8..12].copy_from_slice(&root.to_be_bytes());
        Ok(out)
    }
}

impl Node {
    /// The node of `key`, made if it is not there.
    fn descend(&mut self, mut key: &[u8]) -> &mut Node {
        let mut node = self;
        loop {
            let common = node
                .prefix
                .iter()
                .zip(key)
                .take_while(|(a, b)| a == b)
                .count();
            if common < node.prefix.len() {
                node.split(common);
            }
            let Some((first, rest)) = key[common..].split_first() else {
                return node;
            };
            key = rest;
            node = node.children.entry(*first).or_insert_with(|| Node {
                prefix: rest.to_vec(),
                ..Node::default()
            });
        }
    }

    /// Keeps `length` bytes of the prefix; all else moves to a single child.
    fn split(&mut self, length: usize) {
        let tail = self.prefix.split_off(length);
        let prefix = std::mem::take(&mut self.prefix);
        let mut child = std::mem::take(self);
        self.prefix = prefix;
        if let Some((first, rest)) = tail.split_first() {
            child.prefix = rest.to_vec();
            self.children.insert(*first, child);
        }
    }

    /// Appends the node and then its children; gives its offset with flags, if the offset still fits.
    fn write(&self, out: &mut Vec<u8>) -> Option<u32> {
        let mut offset = u32::try_from(out.len())
            .ok()
            .filter(|_| out.len() <= MAX_SIZE)?;
        if !self.prefix.is_empty() {
            out.extend(&self.prefix);
            out.push(0);
            offset |= PREFIX;
        }
        let range = self
            .children
            .first_key_value()
            .zip(self.children.last_key_value());
        let mut table = 0;
        if let Some(((first, _), (last, _))) = range {
            out.extend([*first, *last]);
            table = out.len();
            out.resize(table + 4 * (usize::from(last - first) + 1), 0);
            offset |= CHILDREN;
        }
        if !self.values.is_empty() {
            out.extend(u32::try_from(self.values.len()).ok()?.to_be_bytes());
            for (priority, value) in &self.values {
                out.extend(priority.to_be_bytes());
                out.extend(value.as_bytes());
                out.push(0);
            }
            offset |= VALUES;
        }
        for (label, child) in &self.children {
            let child = child.write(out)?.to_be_bytes();
            let at = table + 4 * usize::from(label - range.map_or(0, |((first, _), _)| *first));
            out[at..at + 4].copy_from_slice(&child);
        }
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::Index;
    use proptest::prelude::proptest;
    use std::collections::BTreeMap;

    /// Reads an index back, key by key: an independent reading of the byte map above.
    fn dump(bytes: &[u8]) -> BTreeMap<String, Vec<(u32, String)>> {
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let text = |at: usize| {
            let end = at + bytes[at..].iter().position(|byte| *byte == 0).unwrap();
            (String::from_utf8(bytes[at..end].to_vec()).unwrap(), end + 1)
        };
        assert_eq!((word(0), word(4)), (0xB007_F457, 0x0002_0001));
        let mut found = BTreeMap::new();
        let mut todo = vec![(String::new(), word(8))];
        while let Some((mut key, offset)) = todo.pop() {
            let mut at = (offset & 0x0FFF_FFFF) as usize;
            if offset & 0x8000_0000 != 0 {
                let (prefix, next) = text(at);
                key += &prefix;
                at = next;
            }
            if offset & 0x2000_0000 != 0 {
                let (first, last) = (bytes[at], bytes[at + 1]);
                at += 2;
                for label in first..=last {
                    if word(at) != 0 {
                        todo.push((format!("{key}{}", char::from(label)), word(at)));
                    }
                    at += 4;
                }
            }
            if offset & 0x4000_0000 != 0 {
                let count = word(at);
                at += 4;
                for _ in 0..count {
                    let (value, next) = text(at + 4);
                    found
                        .entry(key.clone())
                        .or_insert_with(Vec::new)
                        .push((word(at), value));
                    at = next;
                }
            }
        }
        found
    }

    #[test]
    fn values_are_sorted_by_priority_and_the_latest_of_equals_is_first() {
        let mut index = Index::default();
        for (value, priority) in [("b", 2), ("a", 1), ("c", 2)] {
            index.insert("key", value, priority).unwrap();
        }
        let expected = vec![
            (1, "a".to_owned()),
            (2, "c".to_owned()),
            (2, "b".to_owned()),
        ];
        assert_eq!(dump(&index.write("test").unwrap())["key"], expected);
    }

    #[test]
    fn what_kmod_would_refuse_is_an_error() {
        let error = Index::default()
            .insert("ü", "x", 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("not ASCII"), "{error}");
        assert!(Index::default().insert("x", &"y".repeat(4096), 0).is_err());
    }

    proptest! {
        #[test]
        fn every_key_is_found_again(keys in proptest::collection::btree_set("[a-c:*]{0,6}", 1..40)) {
            let mut index = Index::default();
            for key in keys.iter().rev() {
                index.insert(key, key, 7).unwrap();
            }
            let found: Vec<String> = dump(&index.write("test").unwrap()).into_keys().collect();
            assert_eq!(found, keys.into_iter().collect::<Vec<_>>());
        }
    }
}
