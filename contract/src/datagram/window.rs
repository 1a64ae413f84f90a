//! Which beacons of a machine were heard already (as in RFC 6479, with the boot counter above the sequence).

/// Sequences behind the highest one that are told apart; older ones count as heard.
const WIDTH: u64 = 1024;

const WORDS: usize = (WIDTH / 64) as usize;

/// What was heard of one incarnation of a machine.
#[derive(Debug)]
pub(super) struct Window {
    boot: u32,
    highest: u64,
    /// Bit `sequence % WIDTH`, for the sequences from `highest - WIDTH + 1` to `highest`.
    heard: [u64; WORDS],
}

impl Window {
    /// The window after the first beacon.
    pub(super) fn new(boot: u32, sequence: u64) -> Self {
        let mut window = Window {
            boot,
            highest: sequence,
            heard: [0; WORDS],
        };
        window.set(sequence);
        window
    }

    /// Whether a beacon is new; from now on it is not.
    pub(super) fn take(&mut self, boot: u32, sequence: u64) -> bool {
        if boot > self.boot {
            *self = Window::new(boot, sequence);
            return true;
        }
        if boot < self.boot || self.highest.saturating_sub(sequence) >= WIDTH {
            return false;
        }
        if sequence > self.highest {
            self.forget(sequence);
            self.highest = sequence;
        }
        let new = self.heard[Self::word(sequence)] & Self::bit(sequence) == 0;
        self.set(sequence);
        new
    }

    /// Clears the bits of the sequences above the highest one, up to this one.
    fn forget(&mut self, sequence: u64) {
        if sequence - self.highest >= WIDTH {
            self.heard = [0; WORDS];
            return;
        }
        for passed in self.highest + 1..=sequence {
            self.heard[Self::word(passed)] &= !Self::bit(passed);
        }
    }

    fn set(&mut self, sequence: u64) {
        self.heard[Self::word(sequence)] |= Self::bit(sequence);
    }

    fn word(sequence: u64) -> usize {
        // The remainder is below WIDTH, so it fits.
        (sequence % WIDTH / 64) as usize
    }

    fn bit(sequence: u64) -> u64 {
        1 << (sequence % 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_older_boot_is_never_new_and_a_newer_one_starts_anew() {
        let mut window = Window::new(3, 100);
        assert!(!window.take(3, 100));
        assert!(!window.take(2, 1_000_000));
        assert!(window.take(4, 5));
        assert!(!window.take(4, 5));
        assert!(window.take(4, 4));
        assert!(window.take(4, u64::MAX));
        assert!(!window.take(4, 6));
    }

    proptest! {
        #[test]
        fn nothing_is_new_twice(sequences in prop::collection::vec(0u64..5000, 1..400)) {
            let mut window = Window::new(1, sequences[0]);
            let mut heard = BTreeSet::from([sequences[0]]);
            for sequence in &sequences[1..] {
                let highest = *heard.last().unwrap();
                let recent = highest < WIDTH || *sequence > highest - WIDTH;
                let new = !heard.contains(sequence) && recent;
                prop_assert_eq!(window.take(1, *sequence), new);
                if new {
                    heard.insert(*sequence);
                }
            }
        }
    }
}
