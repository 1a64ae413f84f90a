//! The thread that calls: looks for interfaces, and sends beacons at the pace.

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use contract::datagram::Way;
use contract::datagram::endpoint::SealError;

use super::sockets::Family;
use super::state::State;
use super::{Shared, interfaces};

/// Between two looks at the interfaces.
const SCAN: Duration = Duration::from_secs(2);

/// What is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Look which interfaces there are.
    Scan,
    /// Call by multicast.
    Call,
    /// Send a beacon to the next known address.
    Unicast,
    /// Send one to the next address of the ranges.
    Sweep,
}

const TASKS: [Task; 4] = [Task::Scan, Task::Call, Task::Unicast, Task::Sweep];

/// When each task was done last, in the order of [`TASKS`], and what their pace depends on.
#[derive(Debug, Default)]
struct Plan {
    last: [Option<Instant>; TASKS.len()],
    /// Addresses that shared the time at the last unicast beacon.
    addresses: usize,
    /// How often the ranges were looked through.
    rounds: u32,
    /// What is added to the pause between calls, in 256ths: machines started at once do not stay in step.
    jitter: u32,
}

/// A beacon for each family on all interfaces, and those for single addresses.
#[derive(Debug, Default)]
struct Batch {
    calls: Vec<(Family, Vec<u8>)>,
    beacons: Vec<(SocketAddr, Vec<u8>)>,
}

/// Calls until the end.
pub(super) fn run(shared: &Shared) {
    let mut plan = Plan::default();
    while !shared.stopped() {
        let state = shared.state();
        let now = Instant::now();
        let due = plan.due(&state, now);
        let next = TASKS.iter().zip(due).find(|(_, due)| *due <= now);
        let Some((task, _)) = next else {
            let wait = due.iter().min().map_or(SCAN, |due| *due - now);
            if !shared.stopped() {
                let waited = shared.wake.wait_timeout(state, wait);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
            continue;
        };
        drop(state);
        if let Err(error) = plan.work(shared, *task, now) {
            tracing::warn!("calling other machines: {error}");
        }
    }
}

impl Plan {
    /// When each task is to be done next.
    fn due(&self, state: &State, now: Instant) -> [Instant; TASKS.len()] {
        let pace = state.pace(now);
        let mut call = pace.call() + pace.call() / 256 * self.jitter;
        // News of our own goes out soon, but is no flood either.
        if state.urgent {
            call /= 4;
        }
        let pauses = [
            SCAN,
            call,
            pace.unicast(self.addresses),
            pace.sweep(self.rounds),
        ];
        let mut due = [now; TASKS.len()];
        for ((due, last), pause) in due.iter_mut().zip(self.last).zip(pauses) {
            *due = last.map_or(now, |last| last + pause);
        }
        if !state.targets.has_ranges() {
            due[Task::Sweep as usize] = now + SCAN;
        }
        due
    }

    fn work(&mut self, shared: &Shared, task: Task, now: Instant) -> Result<(), SealError> {
        self.last[task as usize] = Some(now);
        if task == Task::Scan {
            scan(shared, now);
            return Ok(());
        }
        let mut batch = Batch::default();
        let mut state = shared.state();
        let time = shared.host.now();
        match task {
            Task::Scan => {}
            Task::Call => {
                state.urgent = false;
                self.jitter = shared
                    .host
                    .random()
                    .map_or(0, |random| random[0] / 4)
                    .into();
                for family in [Family::V4, Family::V6] {
                    // Each has a beacon of its own, so that both ways to us are learnt.
                    let datagram = state.beacon(Way::Multicast, time)?;
                    batch.calls.push((family, datagram));
                }
            }
            Task::Unicast => {
                let next = state.next_target(now);
                self.addresses = next.map_or(0, |(_, addresses)| addresses);
                if let Some((address, _)) = next {
                    batch
                        .beacons
                        .push((address, state.beacon(Way::Unicast, time)?));
                }
            }
            Task::Sweep => {
                let next = state.targets.sweep();
                self.rounds = next.map_or(0, |(_, rounds)| rounds);
                if let Some((address, _)) = next {
                    batch
                        .beacons
                        .push((address, state.beacon(Way::Unicast, time)?));
                }
            }
        }
        let links = state.links.clone();
        drop(state);
        for (family, datagram) in &batch.calls {
            links
                .iter()
                .for_each(|link| shared.call(link, *family, datagram));
        }
        for (address, datagram) in &batch.beacons {
            shared.send(*address, datagram);
        }
        Ok(())
    }
}

/// Finds the interfaces, enters the groups on new ones, and calls there soon.
fn scan(shared: &Shared, now: Instant) {
    let found = if shared.config.discovery.multicast {
        interfaces::scan(shared.host, shared.config.interface.as_ref())
    } else {
        Ok(Vec::new())
    };
    let mut links = match found {
        Ok(links) => links,
        Err(error) => return tracing::warn!("looking for interfaces: {error:#}"),
    };
    let before = shared.state().links.clone();
    // One that went away has left the groups, so one that comes back enters them again.
    links.retain(|link| before.contains(link) || shared.sockets.join(link));
    let mut state = shared.state();
    if links.iter().any(|link| !before.contains(link)) {
        state.renew(now);
    }
    state.links = links;
    state.tidy(now);
}
