//! How often things are sent, so that the whole cluster's traffic is bounded whatever its size.
//!
//! With `n` machines, each wire carries at most, beside what is caused by a change:
//!
//! - by multicast, 125 beacons a second for each of IPv4 and IPv6 (`n` / max(1 s, `n` · 8 ms));
//! - by unicast to known addresses, 125 a second in all;
//! - by looking through ranges, 50 a second in all, as long as they know each other.
//!
//! A beacon takes about 400 bytes on the wire, so that 1,000 machines stay below 200 kB/s.

use std::time::{Duration, Instant};

/// A machine is quiet so long after the last change; until then it calls once a second.
const LIVELY: Duration = Duration::from_secs(30);

/// Between two calls of a lively machine.
const SOON: Duration = Duration::from_secs(1);

/// Between two calls of a quiet machine.
const SELDOM: Duration = Duration::from_secs(5);

/// What each machine adds to the time between two calls of every machine.
const CALL_SHARE: Duration = Duration::from_millis(8);

/// The same for unicast to known addresses: 125 a second in all.
const UNICAST_SHARE: Duration = Duration::from_millis(8);

/// The same for ranges: 50 a second in all.
const SWEEP_SHARE: Duration = Duration::from_millis(20);

/// How much slower a range is looked through that was looked through twice.
const SWEPT: u32 = 10;

/// How often a machine sends, as one of `machines` and so long after the last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    machines: u32,
    quiet: bool,
}

impl Pace {
    /// The pace of a machine that heard `others`, and heard or said something new `unchanged` ago.
    pub fn new(others: usize, unchanged: Duration) -> Self {
        Pace {
            machines: u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1),
            quiet: unchanged >= LIVELY,
        }
    }

    /// Between two calls by multicast, on each wire and for each of IPv4 and IPv6.
    pub fn call(&self) -> Duration {
        let least = if self.quiet { SELDOM } else { SOON };
        CALL_SHARE.saturating_mul(self.machines).max(least)
    }

    /// Between two beacons to known addresses of which there are so many: each gets one a call, if the
    /// cluster's traffic allows it.
    pub fn unicast(&self, addresses: usize) -> Duration {
        let addresses = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
        let each = self.call() / addresses;
        UNICAST_SHARE.saturating_mul(self.machines).max(each)
    }

    /// Between two beacons into a range that was looked through `rounds` times.
    pub fn sweep(&self, rounds: u32) -> Duration {
        let pace = SWEEP_SHARE.saturating_mul(self.machines);
        if rounds < 2 {
            pace
        } else {
            pace.saturating_mul(SWEPT)
        }
    }

    /// A machine that was silent for so long is probably off or cut off, if multicast reaches it.
    pub fn silence(&self) -> Duration {
        let quiet = Pace {
            quiet: true,
            ..*self
        };
        quiet.call() * 4
    }
}

/// Lets through a burst, and then so many a second (a token bucket).
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    tokens: f64,
    filled: Instant,
}

impl Limit {
    /// Answers at once, before they are counted out.
    const BURST: f64 = 20.0;

    /// Answers a second of the whole cluster.
    const RATE: f64 = 200.0;

    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Limit {
            tokens: Limit::BURST,
            filled: now,
        }
    }

    /// Whether one more may pass, where `others` were heard, which have limits of their own.
    pub fn pass(&mut self, others: usize, now: Instant) -> bool {
        let rate = Limit::RATE / (others as f64 + 1.0);
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * rate).min(Limit::BURST);
        self.filled = now;
        let pass = self.tokens >= 1.0;
        if pass {
            self.tokens -= 1.0;
        }
        pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_machines_stay_below_200_kilobytes_a_second() {
        // A sealed beacon of 321 bytes behind UDP, IPv6 and Ethernet, with preamble and gap.
        const BYTES: f64 = 321.0 + 8.0 + 40.0 + 38.0;
        for machines in 1..=4096usize {
            for unchanged in [Duration::ZERO, LIVELY] {
                let pace = Pace::new(machines - 1, unchanged);
                let each = |every: Duration| machines as f64 / every.as_secs_f64();
                let unicast = each(pace.unicast(machines)).min(machines as f64 * each(pace.call()));
                let sweep = each(pace.sweep(0));
                let beacons = 2.0 * each(pace.call()) + unicast + sweep;
                assert!(beacons * BYTES < 200_000.0, "{machines} {beacons}");
            }
        }
    }

    #[test]
    fn few_machines_call_each_second_and_then_seldom() {
        assert_eq!(Pace::new(4, Duration::ZERO).call(), SOON);
        assert_eq!(Pace::new(4, LIVELY).call(), SELDOM);
        assert_eq!(Pace::new(999, LIVELY).call(), Duration::from_secs(8));
        assert_eq!(Pace::new(2, Duration::ZERO).unicast(2), SOON / 2);
        assert_eq!(Pace::new(4, Duration::ZERO).silence(), SELDOM * 4);
    }

    #[test]
    fn a_limit_passes_a_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let at_once = (0..100).filter(|_| limit.pass(0, start)).count();
        assert_eq!(at_once, 20);
        let later = start + Duration::from_millis(50);
        assert_eq!((0..100).filter(|_| limit.pass(0, later)).count(), 10);
        let much_later = later + Duration::from_secs(10);
        assert_eq!((0..100).filter(|_| limit.pass(999, much_later)).count(), 2);
    }
}
