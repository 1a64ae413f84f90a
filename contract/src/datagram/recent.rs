//! A map of bounded size that forgets what was used the longest time ago.

use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Recent<K, V> {
    most: usize,
    uses: u64,
    values: BTreeMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
}

impl<K: Ord + Copy, V> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Recent {
            most,
            uses: 0,
            values: BTreeMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// The value of this key, which thereby is the most recently used one.
    pub(super) fn get(&mut self, key: &K) -> Option<&mut V> {
        let (used, value) = self.values.get_mut(key)?;
        self.order.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.order.insert(self.uses, *key);
        Some(value)
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.values.contains_key(key)
    }

    /// Adds a value; if there are too many then, the one unused for longest goes.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.uses += 1;
        self.order.insert(self.uses, key);
        if let Some((used, _)) = self.values.insert(key, (self.uses, value)) {
            self.order.remove(&used);
        }
        if self.values.len() > self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.values.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_forgotten() {
        let mut recent = Recent::new(3);
        for key in [1, 2, 3] {
            recent.insert(key, key * 10);
        }
        assert_eq!(recent.get(&1), Some(&mut 10));
        recent.insert(4, 40);
        recent.insert(3, 31);
        recent.insert(5, 50);
        let left: Vec<_> = recent.values.keys().copied().collect();
        assert_eq!(left, [3, 4, 5]);
        assert_eq!(recent.order.len(), 3);
        assert_eq!(recent.get(&3), Some(&mut 31));
    }
}
