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
