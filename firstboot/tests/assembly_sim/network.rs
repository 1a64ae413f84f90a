//! The network between machines: loses, delays, repeats and parts.

use crate::random::Random;

/// What the network does to datagrams, until it is changed.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Share of datagrams that are lost.
    pub(crate) loss: f64,
    /// Share that arrive twice.
    pub(crate) repeated: f64,
    /// The longest that most take, in milliseconds.
    pub(crate) delay: u64,
    /// Share that take up to ten minutes.
    pub(crate) late: f64,
    /// Who hears whom.
    pub(crate) cut: Cut,
}

/// Where the network is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// Nowhere.
    Whole,
    /// Around this machine.
    Alone(usize),
    /// Into so many islands, drawn from a number.
    Islands(u64, u64),
    /// This share of the directions between two machines, drawn from a number.
    Directions(f64, u64),
}

impl Network {
    /// One that works: a hundredth of a second, and nothing lost.
    pub(crate) fn good() -> Self {
        Self {
            loss: 0.0,
            repeated: 0.0,
            delay: 10,
            late: 0.0,
            cut: Cut::Whole,
        }
    }

    /// One with any of the faults.
    pub(crate) fn faulty(random: &mut Random) -> Self {
        let seed = random.number();
        Self {
            loss: random.pick(&[0.0, 0.05, 0.2, 0.4]),
            repeated: random.pick(&[0.0, 0.05, 0.3]),
            delay: random.pick(&[10, 100, 1_000, 10_000, 120_000]),
            late: random.pick(&[0.0, 0.0, 0.02, 0.2]),
            cut: match random.below(6) {
                0 => Cut::Islands(2, seed),
                1 => Cut::Islands(3, seed),
                2 => Cut::Directions(0.2, seed),
                _ => Cut::Whole,
            },
        }
    }

    /// How long a datagram takes, in milliseconds, once for each time that it arrives.
    pub(crate) fn arrivals(&self, from: usize, to: usize, random: &mut Random) -> [Option<u64>; 2] {
        if !self.connects(from, to) {
            return [None, None];
        }
        let mut once = || {
            if self.loss > 0.0 && random.chance(self.loss) {
                return None;
            }
            let most = if self.late > 0.0 && random.chance(self.late) {
                600_000
            } else {
                self.delay
            };
            Some(1 + random.below(most))
        };
        let first = once();
        let second = if self.repeated > 0.0 { once() } else { None };
        [first, second.filter(|_| random.chance(self.repeated))]
    }

    fn connects(&self, from: usize, to: usize) -> bool {
        match self.cut {
            Cut::Whole => true,
            Cut::Alone(machine) => from != machine && to != machine,
            Cut::Islands(count, seed) => {
                let island = |machine: usize| Random::new(seed ^ machine as u64).below(count);
                island(from) == island(to)
            }
            Cut::Directions(share, seed) => {
                !Random::new(seed ^ ((from as u64) << 20) ^ to as u64).chance(share)
            }
        }
    }
}
