//! What discovery knows, and what is to be done next. No socket and no clock: the threads ask and send.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use contract::datagram::endpoint::{Endpoint, SealError};
use contract::datagram::{Beacon, MachineId, Payload, Way};

use super::interfaces::Link;
use super::pace::{Limit, Pace};
use super::peers::{News, Peers};
use super::targets::Targets;
use super::{Config, Target};

/// Machines heard within this time count for the pace.
const COUNTED: Duration = Duration::from_secs(600);

/// Everything that changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) endpoint: Endpoint,
    pub(super) peers: Peers,
    pub(super) targets: Targets,
    /// The interfaces that we call on.
    pub(super) links: Vec<Link>,
    beacon: Beacon,
    /// When we or somebody else said something new.
    changed: Instant,
    /// Whether we said something new and did not call since.
    pub(super) urgent: bool,
    /// Machines heard of late.
    others: usize,
    answers: Limit,
}

/// What to do with what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The caller wants to know.
    pub(super) deliver: bool,
    /// The sender gets a beacon.
    pub(super) answer: bool,
    /// There is something new, so the plan for calls changes.
    pub(super) news: bool,
}

impl State {
    /// `uptime` since power-on makes the sequence grow over restarts of this program in one boot.
    pub(super) fn new(
        endpoint: Endpoint,
        mut beacon: Beacon,
        config: &Config,
        uptime: Duration,
        now: Instant,
    ) -> Self {
        beacon.sequence = u64::try_from(uptime.as_micros()).unwrap_or(u64::MAX);
        State {
            endpoint,
            peers: Peers::default(),
            targets: Targets::new(&config.discovery.peers, config.port),
            links: Vec::new(),
            beacon,
            changed: now,
            urgent: true,
            others: 0,
            answers: Limit::new(now),
        }
    }

    /// Whether the beacon says something new.
    pub(super) fn announce(&mut self, mut beacon: Beacon, now: Instant) -> bool {
        beacon.sequence = self.beacon.sequence;
        beacon.time = self.beacon.time;
        let new = beacon != self.beacon;
        if new {
            self.beacon = beacon;
            self.renew(now);
        }
        new
    }

    /// Something is new: for a while everybody calls more often.
    pub(super) fn renew(&mut self, now: Instant) {
        self.changed = now;
        self.urgent = true;
    }

    /// The next beacon, sealed.
    pub(super) fn beacon(&mut self, way: Way, time: u64) -> Result<Vec<u8>, SealError> {
        self.beacon.sequence += 1;
        self.beacon.time = time;
        self.endpoint
            .seal(&Payload::Beacon(self.beacon.clone()), way)
    }

    pub(super) fn pace(&self, now: Instant) -> Pace {
        Pace::new(self.others, now.saturating_duration_since(self.changed))
    }

    /// Whom to send the next beacon by unicast, and how many share the time.
    pub(super) fn next_target(&mut self, now: Instant) -> Option<(SocketAddr, usize)> {
        self.targets.next(&self.peers, now)
    }

    /// Forgets and counts anew; from time to time.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.peers.forget(now);
        self.others = self.peers.alive(now, COUNTED).count();
    }

    /// Takes in what was opened.
    pub(super) fn hear(
        &mut self,
        payload: &Payload,
        way: Way,
        from: SocketAddr,
        now: Instant,
    ) -> Verdict {
        let mut verdict = Verdict {
            deliver: true,
            answer: false,
            news: false,
        };
        match payload {
            Payload::Probe => {
                verdict.deliver = false;
                verdict.answer = self.answers.pass(self.others, now);
            }
            Payload::Assembly { to, .. } => verdict.deliver = to.is_none_or(|to| to == self.me()),
            Payload::Beacon(beacon) if self.is_old(beacon) => verdict.deliver = false,
            Payload::Beacon(beacon) => {
                let news = self.peers.hear(beacon.clone(), from, way, now);
                if news == News::Arrived {
                    self.others += 1;
                    // Our own calls by multicast go where this one came from.
                    verdict.answer = way == Way::Unicast && self.answers.pass(self.others, now);
                }
                verdict.news = news != News::Nothing;
                if verdict.news {
                    self.changed = now;
                }
            }
        }
        verdict
    }

    /// Where something goes.
    pub(super) fn reach(
        &self,
        to: Target,
        port: u16,
        now: Instant,
    ) -> (Vec<SocketAddr>, Vec<Link>) {
        match to {
            Target::Address(address) => (vec![address], Vec::new()),
            Target::Machine(machine) => {
                let heard = self.peers.latest(machine);
                let addresses = heard.map(|heard| heard.addresses(port));
                (addresses.unwrap_or_default(), Vec::new())
            }
            Target::All => {
                let needed = self.targets.needed(&self.peers, now);
                (needed.into_iter().collect(), self.links.clone())
            }
        }
    }

    fn me(&self) -> MachineId {
        self.beacon.machine
    }

    /// One of our own beacons, of before this program was started. What is newer than anything that we said is
    /// another machine with a copy of our disks.
    fn is_old(&self, beacon: &Beacon) -> bool {
        let us = &self.beacon;
        (beacon.machine, beacon.incarnation) == (us.machine, us.incarnation)
            && (beacon.boot, beacon.sequence) <= (us.boot, us.sequence)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use contract::datagram::Roles;
    use contract::secret::Secret;
    use contract::seed::discovery::Discovery;

    /// What machine `n` says of itself in its first boot.
    pub(in crate::discovery) fn beacon(n: u32, sequence: u64) -> Beacon {
        let mut machine = [0; 16];
        machine[..4].copy_from_slice(&n.to_be_bytes());
        Beacon {
            machine: MachineId(machine),
            incarnation: [1; 16],
            boot: 1,
            sequence,
            key: [2; 32],
            host_name: format!("plant-7-{n:08x}"),
            addresses: Vec::new(),
            decided: None,
            cluster: None,
            roles: Roles::default(),
            phase: String::new(),
            time: 0,
        }
    }

    fn state(now: Instant) -> State {
        let config = Config {
            secret: Secret::new("secret"),
            port: 7446,
            interface: None,
            discovery: Discovery {
                peers: Vec::new(),
                multicast: true,
            },
        };
        let endpoint = Endpoint::new(&config.secret).unwrap();
        State::new(
            endpoint,
            beacon(1, 0),
            &config,
            Duration::from_micros(500),
            now,
        )
    }

    const FROM: &str = "192.168.7.10:7446";

    fn hear(state: &mut State, payload: Payload, way: Way, now: Instant) -> (bool, bool, bool) {
        let verdict = state.hear(&payload, way, FROM.parse().unwrap(), now);
        (verdict.deliver, verdict.answer, verdict.news)
    }

    #[test]
    fn arrivals_by_unicast_and_probes_are_answered() {
        let now = Instant::now();
        let mut state = state(now);
        let by = |n, way| (Payload::Beacon(beacon(n, 1)), way);
        let (said, way) = by(2, Way::Unicast);
        assert_eq!(hear(&mut state, said, way, now), (true, true, true));
        let (said, way) = by(3, Way::Multicast);
        assert_eq!(hear(&mut state, said, way, now), (true, false, true));
        let again = Payload::Beacon(beacon(3, 2));
        assert_eq!(
            hear(&mut state, again, Way::Unicast, now),
            (true, false, false)
        );
        let answers = (0..100).filter(|_| hear(&mut state, Payload::Probe, Way::Unicast, now).1);
        assert_eq!(answers.count(), 19, "and no more at once");
    }

    #[test]
    fn messages_for_others_are_not_delivered() {
        let now = Instant::now();
        let mut state = state(now);
        for (to, expected) in [(None, true), (Some(1), true), (Some(2), false)] {
            let to = to.map(|n| beacon(n, 0).machine);
            let message = Payload::Assembly { to, bytes: vec![1] };
            let verdict = hear(&mut state, message, Way::Multicast, now);
            assert_eq!(verdict, (expected, false, false));
        }
    }

    #[test]
    fn old_beacons_of_our_own_are_no_news_but_a_copy_of_our_disks_is() {
        let now = Instant::now();
        let mut state = state(now);
        let own = |boot, sequence| {
            Payload::Beacon(Beacon {
                boot,
                ..beacon(1, sequence)
            })
        };
        assert_eq!(
            hear(&mut state, own(1, 400), Way::Multicast, now),
            (false, false, false)
        );
        assert_eq!(
            hear(&mut state, own(0, 9999), Way::Multicast, now),
            (false, false, false)
        );
        assert_eq!(
            hear(&mut state, own(1, 600), Way::Multicast, now),
            (true, false, true)
        );
    }

    #[test]
    fn what_is_said_anew_is_said_soon_and_the_rest_at_its_pace() {
        let now = Instant::now();
        let mut state = state(now);
        state.urgent = false;
        let mut said = beacon(1, 77);
        said.time = 12;
        assert!(
            !state.announce(said.clone(), now),
            "sequence and time are not the caller's"
        );
        said.phase = "etcd".into();
        let later = now + Duration::from_secs(100);
        let quiet = state.pace(later).call();
        assert!(state.announce(said, later) && state.urgent);
        assert!(state.pace(later).call() < quiet);
    }

    #[test]
    fn everybody_is_reached_by_multicast_or_else_by_unicast() {
        let now = Instant::now();
        let mut state = state(now);
        let link = Link {
            index: 2,
            name: "enp1s0".into(),
        };
        state.links.push(link.clone());
        hear(&mut state, Payload::Beacon(beacon(2, 1)), Way::Unicast, now);
        let here: SocketAddr = FROM.parse().unwrap();
        assert_eq!(
            state.reach(Target::All, 7446, now),
            (vec![here], vec![link.clone()])
        );
        let machine = |n| Target::Machine(beacon(n, 0).machine);
        assert_eq!(state.reach(machine(2), 7446, now), (vec![here], Vec::new()));
        assert_eq!(state.reach(machine(3), 7446, now), (Vec::new(), Vec::new()));
        hear(
            &mut state,
            Payload::Beacon(beacon(2, 2)),
            Way::Multicast,
            now,
        );
        assert_eq!(
            state.reach(Target::All, 7446, now),
            (Vec::new(), vec![link])
        );
    }
}
