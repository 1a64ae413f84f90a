//! Who was heard of lately, and who is there twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contract::datagram::MachineId;

use super::entry::Seat;
use super::message::Beacon;

/// The machines that beacons told of. This machine is always one of them.
#[derive(Clone, Debug)]
pub struct Roster {
    me: MachineId,
    silence: Duration,
    peers: BTreeMap<MachineId, Peer>,
    /// Heard of lately, and once each.
    live: BTreeSet<MachineId>,
    /// There twice.
    twice: BTreeSet<MachineId>,
    /// When a machine was last heard of for the first time.
    newcomer: Duration,
    /// When to look next for those that fell silent.
    sweep: Duration,
}

#[derive(Clone, Debug)]
struct Peer {
    /// How many were heard of before it.
    order: usize,
    key: [u8; 32],
    incarnation: [u8; 16],
    /// When that incarnation was heard last.
    heard: Duration,
    /// The incarnation before it, and when it was heard last.
    other: Option<([u8; 16], Duration)>,
}

impl Roster {
    /// A roster of this machine alone. Others count as off when they were silent for `silence`.
    pub fn new(me: Beacon, silence: Duration, now: Duration) -> Self {
        let own = Peer {
            order: 0,
            key: me.key,
            incarnation: me.incarnation,
            heard: now,
            other: None,
        };
        Self {
            me: me.machine,
            silence,
            peers: BTreeMap::from([(me.machine, own)]),
            live: BTreeSet::from([me.machine]),
            twice: BTreeSet::new(),
            newcomer: now,
            sweep: now + silence,
        }
    }

    /// Takes in a beacon. Returns whether the machine was not there before.
    ///
    /// An incarnation that is followed by another was a machine that started again. One that is heard of again
    /// after the other is a second machine; for this machine's own identity, any other incarnation is.
    pub fn hear(&mut self, beacon: &Beacon, now: Duration) -> bool {
        let machine = beacon.machine;
        let order = self.peers.len();
        let known = self.live.contains(&machine);
        let peer = self.peers.entry(machine).or_insert_with(|| {
            self.newcomer = now;
            Peer {
                order,
                key: beacon.key,
                incarnation: beacon.incarnation,
                heard: now,
                other: None,
            }
        });
        if machine == self.me {
            if beacon.incarnation != peer.incarnation {
                peer.other = Some((beacon.incarnation, now));
                self.twice.insert(machine);
                self.live.remove(&machine);
            }
            return false;
        }
        if beacon.incarnation != peer.incarnation {
            let returned = peer
                .other
                .is_some_and(|(incarnation, _)| incarnation == beacon.incarnation);
            peer.other = Some((peer.incarnation, peer.heard));
            peer.incarnation = beacon.incarnation;
            if returned {
                self.twice.insert(machine);
                self.live.remove(&machine);
            }
        }
        peer.heard = now;
        peer.key = beacon.key;
        if !self.twice.contains(&machine) {
            self.live.insert(machine);
        }
        !known && self.live.contains(&machine)
    }

    /// Drops those that fell silent, and forgives identities of which only one machine was heard for that long.
    pub fn sweep(&mut self, now: Duration) {
        if now < self.sweep {
            return;
        }
        let (me, silence) = (self.me, self.silence);
        let silent = |since: Duration| now.saturating_sub(since) >= silence;
        for (&machine, peer) in &mut self.peers {
            if peer.other.is_some_and(|(_, heard)| silent(heard)) {
                peer.other = None;
                if self.twice.remove(&machine) {
                    self.live.insert(machine);
                }
            }
            if machine != me && silent(peer.heard) {
                self.live.remove(&machine);
            }
        }
        self.sweep = now + silence / 4;
    }

    /// Whether no other machine was ever heard of.
    pub fn is_alone(&self) -> bool {
        self.peers.len() == 1 && self.twice.is_empty()
    }

    /// When [`Roster::sweep`] has something to do again.
    pub fn next_sweep(&self) -> Duration {
        self.sweep
    }

    /// The machines that are there now, once each, in their order.
    pub fn live(&self) -> &BTreeSet<MachineId> {
        &self.live
    }

    /// When the last machine was heard of for the first time.
    pub fn newcomer(&self) -> Duration {
        self.newcomer
    }

    /// Whether two machines say that they are this one.
    pub fn is_twice(&self, machine: MachineId) -> bool {
        self.twice.contains(&machine)
    }

    /// The identities that are there twice, with their incarnations.
    pub fn twice(&self) -> impl Iterator<Item = (MachineId, [[u8; 16]; 2])> {
        self.twice.iter().filter_map(|machine| {
            let peer = self.peers.get(machine)?;
            let mut both = [peer.incarnation, peer.other?.0];
            both.sort_unstable();
            Some((*machine, both))
        })
    }

    /// When this machine was last heard of with this key.
    pub fn last_heard(&self, seat: &Seat) -> Option<Duration> {
        self.peers
            .get(&seat.machine)
            .filter(|peer| peer.key == seat.key)
            .map(|peer| peer.heard)
    }

    /// The first `count` of the machines that are there, as seats.
    pub fn seats(&self, count: usize) -> Vec<Seat> {
        let seat = |machine| {
            self.peers.get(machine).map(|peer| Seat {
                machine: *machine,
                key: peer.key,
            })
        };
        self.live.iter().filter_map(seat).take(count).collect()
    }

    /// The machines that are there, those heard of first in front.
    pub fn by_arrival(&self) -> Vec<MachineId> {
        let mut machines: Vec<_> = self.live.iter().copied().collect();
        machines.sort_by_key(|machine| self.peers.get(machine).map(|peer| peer.order));
        machines
    }
}
