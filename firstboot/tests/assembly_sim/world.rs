//! A site in virtual time: machines with disks and clocks, and what happens to them in order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

use contract::datagram::MachineId;
use firstboot::assembly::{Action, Config, Core, Entry, Event, Memory, Message, Timing, Trouble};

use crate::judge::Judge;
use crate::network::{Cut, Network};
use crate::random::Random;

/// Sizes of a site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(crate) machines: u32,
    pub(crate) seats: u32,
    /// Milliseconds between two beacons of a machine.
    pub(crate) beacon: u64,
}

/// What may go wrong at any step, until it is switched off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hazard {
    /// Share of actions before which the power fails.
    pub(crate) crash: f64,
    /// Share of power failures after which the disk is found empty.
    pub(crate) wipe: f64,
    /// Identities that may lose their disk.
    pub(crate) forgetful: BTreeSet<MachineId>,
    /// At the very moment of so many decisions, all those machines lose their disks and one that votes well is cut off.
    pub(crate) ambushes: u32,
    /// Whether disks keep nothing that they are told to keep.
    pub(crate) lying_disks: bool,
}

/// One machine.
pub(crate) struct Machine {
    pub(crate) id: MachineId,
    /// `None` while it is off.
    pub(crate) core: Option<Core>,
    /// Never switched on again.
    pub(crate) retired: bool,
    pub(crate) disk: Disk,
    /// How often it was switched on; what was planned for an earlier time is void.
    boots: u64,
    /// Counts its requests to be woken; only the newest is good.
    wakes: u64,
    /// What its clock shows beyond the true time, in milliseconds.
    pub(crate) clock: u64,
    pub(crate) traffic: Traffic,
}

/// What survives a loss of power.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) memory: Memory,
    pub(crate) key: [u8; 32],
    authority: Option<(u32, [u8; 32])>,
}

/// Messages of the protocol, without beacons.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received: u64,
    pub(crate) received_bytes: u64,
}

/// What is planned.
enum Plan {
    Deliver {
        to: usize,
        event: Rc<Event>,
        bytes: u64,
    },
    Wake {
        machine: usize,
        count: u64,
    },
    Beacon {
        machine: usize,
        boot: u64,
    },
    Boot {
        machine: usize,
    },
    MakeAuthority {
        machine: usize,
        boot: u64,
        epoch: u32,
    },
}

/// All of it.
pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) network: Network,
    pub(crate) hazard: Hazard,
    pub(crate) machines: Vec<Machine>,
    pub(crate) judge: Judge,
    /// Whether an entry was chosen just now, and an ambush follows.
    ambushed: bool,
    /// The first thing that the judge found.
    pub(crate) verdict: Result<(), String>,
    plans: BinaryHeap<Reverse<(u64, u64, usize)>>,
    planned: Vec<Option<Plan>>,
    free: Vec<usize>,
    order: u64,
}

impl World {
    /// A site of machines that are all off.
    pub(crate) fn new(site: Site, seed: u64) -> Self {
        let mut world = Self {
            site,
            now: 0,
            random: Random::new(seed),
            network: Network::good(),
            hazard: Hazard::default(),
            machines: Vec::new(),
            judge: Judge::new(site.machines),
            ambushed: false,
            verdict: Ok(()),
            plans: BinaryHeap::new(),
            planned: Vec::new(),
            free: Vec::new(),
            order: 0,
        };
        for _ in 0..site.machines {
            let id = MachineId(world.random.bytes());
            world.add(id, None);
        }
        world
    }

    /// Adds a machine that is off, blank or with a copy of another's disk.
    pub(crate) fn add(&mut self, id: MachineId, disk: Option<Disk>) -> usize {
        let key = self.random.bytes();
        let disk = disk.unwrap_or(Disk {
            key,
            ..Disk::default()
        });
        let traffic = Traffic::default();
        self.machines.push(Machine {
            id,
            core: None,
            retired: false,
            disk,
            boots: 0,
            wakes: 0,
            clock: 0,
            traffic,
        });
        self.machines.len() - 1
    }

    /// Lets things happen until `end`, or until `done` says so, or the judge objects. A large site, which takes
    /// long to look at, is asked once for each machine that it has.
    pub(crate) fn run(&mut self, end: u64, mut done: impl FnMut(&Self) -> bool) {
        let mut unasked = 0;
        while let Some(Reverse((at, _, place))) =
            self.plans.peek().copied().filter(|next| next.0.0 < end)
        {
            self.plans.pop();
            self.now = at;
            self.free.push(place);
            if let Some(plan) = self.planned[place].take() {
                self.perform(plan);
            }
            if self.verdict.is_err() {
                return;
            }
            unasked += 1;
            if unasked >= self.machines.len() / 50 {
                unasked = 0;
                if done(self) {
                    return;
                }
            }
        }
        self.now = self.now.max(end);
    }

    /// Switches a machine on after so many milliseconds.
    pub(crate) fn boot_after(&mut self, machine: usize, delay: u64) {
        self.plan(delay, Plan::Boot { machine });
    }

    /// Takes the power from a machine.
    pub(crate) fn power_off(&mut self, machine: usize) {
        self.machines[machine].core = None;
        self.machines[machine].boots += 1;
    }

    /// Empties a machine's disk, which takes its power too.
    pub(crate) fn wipe(&mut self, machine: usize) {
        self.power_off(machine);
        self.machines[machine].disk = Disk {
            key: self.random.bytes(),
            ..Disk::default()
        };
    }

    /// Sets a machine's clock.
    pub(crate) fn set_clock(&mut self, machine: usize, clock: u64) {
        self.machines[machine].clock = clock;
        self.step(machine, Event::Tick);
    }

    /// Lets something happen to a machine, if it is on.
    pub(crate) fn step(&mut self, machine: usize, event: Event) {
        let node = &mut self.machines[machine];
        let now = Duration::from_millis(self.now + node.clock);
        let Some(core) = &mut node.core else { return };
        let actions = core.step(event, now);
        let mut unsynced: Option<Memory> = None;
        for action in actions {
            if self.hazard.crash > 0.0 && self.random.chance(self.hazard.crash) {
                // Nothing was said since; the disk may or may not have it.
                if let Some(memory) = unsynced.filter(|_| self.random.chance(0.5)) {
                    self.write(machine, memory);
                }
                self.ambushed = false;
                return self.crash(machine);
            }
            if let Some(memory) = unsynced.take() {
                self.write(machine, memory);
            }
            if std::mem::take(&mut self.ambushed) {
                return self.ambush(machine);
            }
            match action {
                Action::Persist(memory) => unsynced = Some(memory),
                Action::Send { to, message } => {
                    let all = (0..self.machines.len())
                        .filter(|&one| self.machines[one].id == to)
                        .collect();
                    self.transmit(machine, message, all);
                }
                Action::Broadcast(message) => {
                    self.transmit(machine, message, (0..self.machines.len()).collect())
                }
                Action::WakeAt(at) => {
                    let at = (at.as_nanos().div_ceil(1_000_000) as u64)
                        .saturating_sub(self.machines[machine].clock);
                    self.machines[machine].wakes += 1;
                    let count = self.machines[machine].wakes;
                    self.plan(at.saturating_sub(self.now), Plan::Wake { machine, count });
                }
                Action::Decided(entry) => {
                    // Whoever drives a core says at once what is new.
                    self.beacon(machine);
                    self.initialise(machine, &entry);
                }
                Action::Trouble(Trouble::SecondBirth { .. }) => {
                    let fault = format!("{} believes in a second birth", self.machines[machine].id);
                    self.verdict = self.verdict.clone().and(Err(fault));
                }
                Action::Trouble(_) => {}
            }
        }
        if let Some(memory) = unsynced {
            self.write(machine, memory);
        }
        if std::mem::take(&mut self.ambushed) {
            self.ambush(machine);
        }
    }

    fn perform(&mut self, plan: Plan) {
        match plan {
            Plan::Deliver { to, event, bytes } if self.machines[to].core.is_some() => {
                self.machines[to].traffic.received += u64::from(bytes > 0);
                self.machines[to].traffic.received_bytes += bytes;
                self.step(to, Event::clone(&event));
            }
            Plan::Wake { machine, count } if self.machines[machine].wakes == count => {
                self.step(machine, Event::Tick)
            }
            Plan::Beacon { machine, boot } if self.machines[machine].boots == boot => {
                self.beacon(machine);
                let jitter = self.random.below(self.site.beacon / 10);
                self.plan(self.site.beacon + jitter, Plan::Beacon { machine, boot });
            }
            Plan::Boot { machine }
                if self.machines[machine].core.is_none() && !self.machines[machine].retired =>
            {
                self.boot(machine);
            }
            Plan::MakeAuthority {
                machine,
                boot,
                epoch,
            } if self.machines[machine].boots == boot => {
                let fingerprint = self.random.bytes();
                self.machines[machine].disk.authority = Some((epoch, fingerprint));
                self.step(machine, Event::MadeAuthority { epoch, fingerprint });
            }
            _ => {}
        }
    }

    fn boot(&mut self, machine: usize) {
        let config = Config {
            machines: self.site.machines,
            seats: self.site.seats,
            me: self.machines[machine].id,
            incarnation: self.random.bytes(),
            key: self.machines[machine].disk.key,
            timing: Timing::default(),
        };
        let memory = self.machines[machine].disk.memory.clone();
        let decided = memory.entry().cloned();
        let core =
            Core::new(config, memory, self.random.bytes()).expect("the configuration is valid");
        self.machines[machine].core = Some(core);
        self.machines[machine].boots += 1;
        let boot = self.machines[machine].boots;
        let first = self.random.below(self.site.beacon);
        self.plan(first, Plan::Beacon { machine, boot });
        self.step(machine, Event::Tick);
        if let Some(entry) = decided {
            self.initialise(machine, &entry);
        }
    }

    fn crash(&mut self, machine: usize) {
        if self.hazard.forgetful.contains(&self.machines[machine].id)
            && self.random.chance(self.hazard.wipe)
        {
            self.wipe(machine);
        } else {
            self.power_off(machine);
        }
        let delay = self.random.pick(&[0, 5_000, 60_000]);
        self.boot_after(machine, delay);
    }

    /// The worst moment for all who may forget to do so: something was chosen, and hardly anybody knows.
    fn ambush(&mut self, last: usize) {
        self.power_off(last);
        self.boot_after(last, 0);
        let (forgetful, good): (Vec<_>, Vec<_>) = (0..self.machines.len())
            .partition(|&machine| self.hazard.forgetful.contains(&self.machines[machine].id));
        for machine in forgetful {
            self.wipe(machine);
            self.boot_after(machine, 0);
        }
        if !good.is_empty() {
            let alone = self.random.pick(&good);
            self.network = Network {
                cut: Cut::Alone(alone),
                ..Network::good()
            };
        }
    }

    /// What a machine does that is named to initialise: it makes the authority, unless it has made it already.
    fn initialise(&mut self, machine: usize, entry: &Entry) {
        let node = &self.machines[machine];
        let boot = node.boots;
        let mine =
            entry.initialiser() == node.id && entry.initialiser_key() == Some(&node.disk.key);
        if entry.is_founded() || !mine || node.core.is_none() {
            return;
        }
        match node.disk.authority {
            Some((epoch, fingerprint)) if epoch == entry.epoch() => {
                self.step(machine, Event::MadeAuthority { epoch, fingerprint });
            }
            _ => {
                let delay = self.random.below(60_000);
                self.plan(
                    delay,
                    Plan::MakeAuthority {
                        machine,
                        boot,
                        epoch: entry.epoch(),
                    },
                );
            }
        }
    }

    fn write(&mut self, machine: usize, memory: Memory) {
        let id = self.machines[machine].id;
        let slots = self.judge.slots();
        if let Err(fault) = self.judge.persisted(id, &memory) {
            self.verdict = self.verdict.clone().and(Err(fault));
        }
        if self.judge.slots() > slots && self.hazard.ambushes > 0 {
            self.hazard.ambushes -= 1;
            self.ambushed = true;
        }
        if !self.hazard.lying_disks {
            self.machines[machine].disk.memory = memory;
        }
    }

    fn beacon(&mut self, machine: usize) {
        let Some(core) = &self.machines[machine].core else {
            return;
        };
        let event = Rc::new(Event::Heard(core.beacon()));
        for to in 0..self.machines.len() {
            self.send(machine, to, &event, 0);
        }
    }

    fn transmit(&mut self, machine: usize, message: Message, to: Vec<usize>) {
        let bytes = postcard::to_stdvec(&message)
            .expect("every message can be encoded")
            .len() as u64;
        self.machines[machine].traffic.sent += 1;
        self.machines[machine].traffic.sent_bytes += bytes;
        let from = self.machines[machine].id;
        let event = Rc::new(Event::Message { from, message });
        for to in to {
            self.send(machine, to, &event, bytes);
        }
    }

    fn send(&mut self, from: usize, to: usize, event: &Rc<Event>, bytes: u64) {
        if from == to {
            return;
        }
        for delay in self
            .network
            .arrivals(from, to, &mut self.random)
            .into_iter()
            .flatten()
        {
            self.plan(
                delay,
                Plan::Deliver {
                    to,
                    event: Rc::clone(event),
                    bytes,
                },
            );
        }
    }

    fn plan(&mut self, delay: u64, plan: Plan) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.planned.push(None);
            self.planned.len() - 1
        });
        self.planned[place] = Some(plan);
        self.order += 1;
        self.plans
            .push(Reverse((self.now + delay, self.order, place)));
    }
}
