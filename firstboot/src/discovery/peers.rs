//! Which machines were heard. A table without sockets or clock: the caller says when.
//!
//! Only what was sealed under the secret gets here. A machine whose disks were made anew is another entry, so
//! that two of one identity on a wire are seen side by side.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use contract::datagram::{Beacon, Incarnation, MachineId, Way};

/// Most machines in the table; then the one silent for longest is forgotten.
pub const MAX_PEERS: usize = 4096;

/// Addresses kept that a machine was heard from: the last ones.
const MAX_SOURCES: usize = 4;

/// A machine that was silent for so long is forgotten, and nothing more is sent to it.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A machine, as it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The last thing it said of itself.
    pub beacon: Beacon,
    /// Where its beacons came from, the last one first.
    pub sources: Vec<SocketAddr>,
    /// When it was heard first.
    pub first: Instant,
    /// When it was heard last.
    pub last: Instant,
    /// When it was heard by multicast last.
    pub multicast: Option<Instant>,
}

/// What a beacon changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The machine was not known, or was started again.
    Arrived,
    /// It says something else than before.
    Changed,
    /// It is still there.
    Nothing,
}

/// The machines that were heard.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    machines: BTreeMap<(MachineId, Incarnation), Heard>,
}

impl Peers {
    /// Takes a new beacon in.
    pub fn hear(&mut self, beacon: Beacon, from: SocketAddr, way: Way, now: Instant) -> News {
        let key = (beacon.machine, beacon.incarnation);
        let multicast = (way == Way::Multicast).then_some(now);
        let Some(heard) = self.machines.get_mut(&key) else {
            self.make_room();
            let heard = Heard {
                beacon,
                sources: vec![from],
                first: now,
                last: now,
                multicast,
            };
            self.machines.insert(key, heard);
            return News::Arrived;
        };
        let newer = (beacon.boot, beacon.sequence) > (heard.beacon.boot, heard.beacon.sequence);
        let news = if beacon.boot > heard.beacon.boot {
            News::Arrived
        } else if newer && !says_the_same(&beacon, &heard.beacon) {
            News::Changed
        } else {
            News::Nothing
        };
        // Datagrams overtake each other.
        if newer {
            heard.beacon = beacon;
        }
        heard.last = now;
        heard.multicast = multicast.or(heard.multicast);
        heard.sources.retain(|source| *source != from);
        heard.sources.insert(0, from);
        heard.sources.truncate(MAX_SOURCES);
        news
    }

    /// Forgets who was silent for [`FORGOTTEN_AFTER`].
    pub fn forget(&mut self, now: Instant) {
        let fresh = |heard: &Heard| now.saturating_duration_since(heard.last) < FORGOTTEN_AFTER;
        self.machines.retain(|_, heard| fresh(heard));
    }

    /// All that were heard and not forgotten, by machine and incarnation.
    pub fn all(&self) -> impl Iterator<Item = &Heard> {
        self.machines.values()
    }

    /// Those heard within the last `age`.
    pub fn alive(&self, now: Instant, age: Duration) -> impl Iterator<Item = &Heard> {
        let alive = move |heard: &&Heard| now.saturating_duration_since(heard.last) <= age;
        self.all().filter(alive)
    }

    /// The incarnation of a machine that was heard last.
    pub fn latest(&self, machine: MachineId) -> Option<&Heard> {
        self.incarnations(machine).max_by_key(|heard| heard.last)
    }

    /// All incarnations of a machine. More than one that is alive: its disks were copied, or wiped just now.
    pub fn incarnations(&self, machine: MachineId) -> impl Iterator<Item = &Heard> {
        let range = (machine, [0; 16])..=(machine, [0xff; 16]);
        self.machines.range(range).map(|(_, heard)| heard)
    }

    /// How many are in the table.
    pub fn len(&self) -> usize {
        self.machines.len()
    }

    /// Whether nobody was heard.
    pub fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }

    fn make_room(&mut self) {
        if self.machines.len() < MAX_PEERS {
            return;
        }
        let silent = self.machines.iter().min_by_key(|(_, heard)| heard.last);
        if let Some(key) = silent.map(|(key, _)| *key) {
            self.machines.remove(&key);
        }
    }
}

impl Heard {
    /// Where to send to, so that it arrives if anything does: the last source of each family, else what the
    /// machine says of itself.
    pub fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        let of = |v4: bool| self.sources.iter().find(|source| source.is_ipv4() == v4);
        let heard: Vec<_> = [of(true), of(false)]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let said =
            |address: &&IpAddr| !heard.iter().any(|have| have.is_ipv4() == address.is_ipv4());
        let said = self.beacon.addresses.iter().find(said);
        let said = said.map(|address| SocketAddr::new(*address, port));
        heard.iter().copied().chain(said).collect()
    }
}

fn says_the_same(one: &Beacon, other: &Beacon) -> bool {
    let mut same = one.clone();
    (same.sequence, same.time) = (other.sequence, other.time);
    same == *other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::state::tests::beacon;

    fn from(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const HERE: &str = "192.168.7.10:7446";

    #[test]
    fn news_is_told_from_repetition() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let mut hear =
            |beacon: &Beacon| peers.hear(beacon.clone(), from(HERE), Way::Multicast, now);
        let mut said = beacon(1, 1);
        assert_eq!(hear(&said), News::Arrived);
        (said.sequence, said.time) = (2, 99);
        assert_eq!(hear(&said), News::Nothing);
        (said.sequence, said.phase) = (3, "etcd".into());
        assert_eq!(hear(&said), News::Changed);
        let late = beacon(1, 2);
        assert_eq!(hear(&late), News::Nothing, "it was overtaken");
        (said.boot, said.sequence) = (2, 1);
        assert_eq!(hear(&said), News::Arrived);
        assert_eq!(peers.latest(said.machine).unwrap().beacon.phase, "etcd");
        assert_eq!(peers.len(), 1);
    }

    #[test]
    fn incarnations_stand_side_by_side() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let (old, mut new) = (beacon(1, 1), beacon(1, 1));
        new.incarnation = [9; 16];
        let later = now + Duration::from_secs(1);
        peers.hear(old.clone(), from(HERE), Way::Multicast, now);
        peers.hear(new.clone(), from(HERE), Way::Multicast, later);
        peers.hear(beacon(2, 1), from(HERE), Way::Multicast, now);
        assert_eq!(peers.incarnations(old.machine).count(), 2);
        assert_eq!(peers.latest(old.machine).unwrap().beacon, new);
        assert_eq!(peers.alive(later, Duration::ZERO).count(), 1);
    }

    #[test]
    fn the_last_sources_count_and_then_what_the_machine_says() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let mut said = beacon(1, 1);
        said.addresses = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        for last in 1..=9 {
            said.sequence += 1;
            let source = from(&format!("192.168.7.{last}:7446"));
            peers.hear(said.clone(), source, Way::Unicast, now);
        }
        let heard = peers.latest(said.machine).unwrap();
        assert_eq!(heard.sources.len(), MAX_SOURCES);
        assert_eq!(
            heard.addresses(7446),
            [from("192.168.7.9:7446"), from("[fd00::1]:7446")]
        );
        assert_eq!(heard.multicast, None);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_is_silent() {
        let (mut peers, start) = (Peers::default(), Instant::now());
        for n in 0..MAX_PEERS as u32 + 10 {
            let now = start + Duration::from_secs(n.into());
            peers.hear(beacon(n, 1), from(HERE), Way::Multicast, now);
        }
        assert_eq!(peers.len(), MAX_PEERS);
        assert!(peers.latest(beacon(9, 1).machine).is_none());
        assert!(peers.latest(beacon(10, 1).machine).is_some());
        peers.forget(start + FORGOTTEN_AFTER + Duration::from_secs(100));
        assert_eq!(peers.len(), MAX_PEERS - 91);
        peers.forget(start + FORGOTTEN_AFTER * 3);
        assert!(peers.is_empty());
    }
}
