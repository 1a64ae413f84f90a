//! Whom beacons go to by unicast, one after the other. Nothing here sends.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use contract::seed::discovery::Peer;
use contract::seed::subnet::Subnet;

use super::peers::Peers;

/// A machine that was heard by multicast so recently probably hears ours.
const BY_MULTICAST: Duration = Duration::from_secs(60);

/// The seed's peers, and where we are with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets {
    port: u16,
    addresses: BTreeSet<SocketAddr>,
    resolved: BTreeSet<SocketAddr>,
    ranges: Vec<Subnet>,
    /// The last address that got a beacon.
    last: Option<SocketAddr>,
    /// The last of those that probably need none.
    last_spare: Option<SocketAddr>,
    sweep: Sweep,
}

/// Where in the ranges we are.
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    range: usize,
    host: u32,
    rounds: u32,
}

impl Targets {
    pub(super) fn new(peers: &[Peer], port: u16) -> Self {
        let mut targets = Targets {
            port,
            ..Targets::default()
        };
        for peer in peers {
            match peer {
                Peer::Address(address) => {
                    targets.addresses.insert(SocketAddr::new(*address, port));
                }
                Peer::Range(range) => targets.ranges.push(*range),
                Peer::Name(_) => {}
            }
        }
        targets
    }

    /// What the seed's names stand for now.
    pub(super) fn resolve(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        let port = self.port;
        let addresses = addresses.into_iter();
        self.resolved = addresses
            .map(|address| SocketAddr::new(address, port))
            .collect();
    }

    /// Those that multicast probably does not reach: the seed's, and who was not heard by it of late.
    pub(super) fn needed(&self, peers: &Peers, now: Instant) -> BTreeSet<SocketAddr> {
        let mut needed: BTreeSet<_> = self.addresses.union(&self.resolved).copied().collect();
        for heard in peers.all() {
            let addresses = heard.addresses(self.port);
            if by_multicast(heard.multicast, now) {
                // One of the seed's peers that is on our wire after all.
                addresses.iter().for_each(|address| {
                    needed.remove(address);
                });
            } else {
                needed.extend(addresses);
            }
        }
        needed
    }

    /// The next one, and how many share the time. After each round comes one of those that multicast reaches,
    /// in case it reaches them no more.
    pub(super) fn next(&mut self, peers: &Peers, now: Instant) -> Option<(SocketAddr, usize)> {
        let needed = self.needed(peers, now);
        let count = needed.len() + 1;
        if let Some(next) = after(&needed, self.last) {
            self.last = Some(next);
            return Some((next, count));
        }
        self.last = None;
        let spare = peers
            .all()
            .filter(|heard| by_multicast(heard.multicast, now));
        let spare: BTreeSet<_> = spare.flat_map(|heard| heard.addresses(self.port)).collect();
        let next = after(&spare, self.last_spare).or_else(|| spare.first().copied());
        self.last_spare = next;
        if next.is_none() {
            self.last = needed.first().copied();
        }
        next.or(self.last).map(|next| (next, count))
    }

    /// Whether there is something to look through.
    pub(super) fn has_ranges(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// The next address of the ranges, and how often they were looked through.
    pub(super) fn sweep(&mut self) -> Option<(SocketAddr, u32)> {
        // A range holds an address that is a machine's, or else one of the next three things is tried.
        for _ in 0..self.ranges.len() + 3 {
            let range = self.ranges.get(self.sweep.range)?;
            let rounds = self.sweep.rounds;
            match range.nth(self.sweep.host) {
                Some(address) => {
                    self.sweep.host += 1;
                    if !range.is_reserved(address) {
                        return Some((SocketAddr::new(address, self.port), rounds));
                    }
                }
                None => {
                    self.sweep.host = 0;
                    self.sweep.range += 1;
                    if self.sweep.range == self.ranges.len() {
                        self.sweep.range = 0;
                        self.sweep.rounds = rounds.saturating_add(1);
                    }
                }
            }
        }
        None
    }
}

fn by_multicast(last: Option<Instant>, now: Instant) -> bool {
    last.is_some_and(|last| now.saturating_duration_since(last) < BY_MULTICAST)
}

/// The first one behind `last`.
fn after(set: &BTreeSet<SocketAddr>, last: Option<SocketAddr>) -> Option<SocketAddr> {
    match last {
        None => set.first().copied(),
        Some(last) => {
            let behind = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
            set.range(behind).next().copied()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::state::tests::beacon;
    use contract::datagram::Way;

    const PORT: u16 = 7446;

    fn targets(peers: &[&str]) -> Targets {
        let peer = |text: &&str| match text.parse() {
            Ok(range) => Peer::Range(range),
            Err(_) => Peer::Address(text.parse().unwrap()),
        };
        Targets::new(&peers.iter().map(peer).collect::<Vec<_>>(), PORT)
    }

    fn heard(machines: &[(u32, &str, Way)], now: Instant) -> Peers {
        let mut peers = Peers::default();
        for (n, from, way) in machines {
            peers.hear(beacon(*n, 1), from.parse().unwrap(), *way, now);
        }
        peers
    }

    /// The last part of each address that gets a beacon.
    fn next(targets: &mut Targets, peers: &Peers, now: Instant, count: usize) -> Vec<String> {
        let next = (0..count).filter_map(|_| targets.next(peers, now));
        next.map(|(to, _)| to.ip().to_string()).collect()
    }

    #[test]
    fn the_seeds_peers_take_turns_with_whom_multicast_does_not_reach() {
        let now = Instant::now();
        let mut targets = targets(&["10.0.0.1", "10.0.0.3"]);
        targets.resolve(["10.0.0.2".parse().unwrap()]);
        let peers = heard(&[(1, "10.0.0.9:7446", Way::Unicast)], now);
        let round = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9"];
        assert_eq!(next(&mut targets, &peers, now, 8), [round, round].concat());
        assert_eq!(targets.next(&peers, now).unwrap().1, 5);
        assert_eq!(
            next(&mut Targets::default(), &Peers::default(), now, 3).len(),
            0
        );
    }

    #[test]
    fn whom_multicast_reaches_gets_one_a_round_until_it_does_not() {
        let now = Instant::now();
        let mut targets = targets(&["10.0.0.1", "10.0.0.7"]);
        let by = |n, from| (n, from, Way::Multicast);
        let peers = heard(&[by(1, "10.0.0.7:7446"), by(2, "10.0.0.8:7446")], now);
        let expected = [
            "10.0.0.1", "10.0.0.7", "10.0.0.1", "10.0.0.8", "10.0.0.1", "10.0.0.7",
        ];
        assert_eq!(next(&mut targets, &peers, now, 6), expected);
        let later = now + BY_MULTICAST;
        assert_eq!(targets.needed(&peers, later).len(), 3);
    }

    #[test]
    fn ranges_are_looked_through_again_and_again() {
        let mut targets = targets(&["10.0.0.0/30", "10.0.1.5/32", "fd00::/126"]);
        let round = [
            "10.0.0.1", "10.0.0.2", "10.0.1.5", "fd00::1", "fd00::2", "fd00::3",
        ];
        for expected in 0..3 {
            for address in round {
                let (to, rounds) = targets.sweep().unwrap();
                assert_eq!((to.ip().to_string().as_str(), rounds), (address, expected));
            }
        }
        assert_eq!(Targets::default().sweep().map(|_| ()), None);
        assert!(targets.has_ranges());
    }
}
