//! The pool of strings that systemd's databases share: one run of zero-terminated texts in which a text that is
//! the tail of an earlier one gets that one's place. The exact places matter, since the databases are compared
//! with systemd's own byte by byte; so this is systemd's search, by last byte first, and not a better one.

use std::collections::BTreeMap;

/// Strings and where they are. Place 0 is the empty text.
#[derive(Debug)]
pub(super) struct StringPool {
    bytes: Vec<u8>,
    nodes: Vec<Node>,
}

/// A text that was stored, found by the last bytes that led to its node.
#[derive(Debug, Default)]
struct Node {
    start: usize,
    len: usize,
    /// By the byte before those that led here.
    children: BTreeMap<u8, usize>,
}

impl StringPool {
    /// A pool with the empty text.
    pub(super) fn new() -> Self {
        StringPool {
            bytes: vec![0],
            nodes: vec![Node::default()],
        }
    }

    /// The place of `text`, which is added if no earlier text ends with it.
    pub(super) fn add(&mut self, text: &[u8]) -> usize {
        if text.is_empty() {
            return 0;
        }
        let mut at = 0;
        for byte in text.iter().rev() {
            if let Some(place) = self.tail(at, text) {
                return place;
            }
            match self.nodes[at].children.get(byte) {
                Some(child) => at = *child,
                None => {
                    let start = self.bytes.len();
                    self.bytes.extend(text);
                    self.bytes.push(0);
                    let node = self.nodes.len();
                    self.nodes[at].children.insert(*byte, node);
                    self.nodes.push(Node {
                        start,
                        len: text.len(),
                        children: BTreeMap::new(),
                    });
                    return start;
                }
            }
        }
        // Every byte led further, so the text of this node ends with all of them.
        self.nodes[at].start + self.nodes[at].len - text.len()
    }

    /// The bytes at a place, up to the terminating zero.
    pub(super) fn get(&self, place: usize) -> &[u8] {
        let rest = self.bytes.get(place..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// All strings as they are stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn tail(&self, node: usize, text: &[u8]) -> Option<usize> {
        let Node { start, len, .. } = self.nodes[node];
        let place = (start + len)
            .checked_sub(text.len())
            .filter(|_| len >= text.len())?;
        (self.bytes[place..start + len] == *text).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::StringPool;
    use proptest::prelude::proptest;

    #[test]
    fn tails_share_their_place() {
        let mut pool = StringPool::new();
        assert_eq!(pool.add(b"waldo"), 1);
        assert_eq!(pool.add(b"foo"), 7);
        assert_eq!(pool.add(b"aldo"), 2);
        assert_eq!(pool.add(b""), 0);
        assert_eq!(pool.add(b"o"), 5);
        assert_eq!(pool.bytes(), b"\0waldo\0foo\0");
    }

    proptest! {
        #[test]
        fn what_was_added_is_found(texts in proptest::collection::vec("[ab]{0,6}", 0..50)) {
            let mut pool = StringPool::new();
            for text in &texts {
                let place = pool.add(text.as_bytes());
                assert_eq!(pool.get(place), text.as_bytes());
            }
        }
    }
}
