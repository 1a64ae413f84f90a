//! A random history of a site: faults of every kind for a while, and then peace, in which a birth must come.

use std::collections::BTreeSet;

use contract::datagram::MachineId;
use firstboot::assembly::quorum::{quorum, tolerated};
use firstboot::assembly::{Entry, Event};

use crate::network::Network;
use crate::random::Random;
use crate::world::{Hazard, Site, World};

/// How long after the faults end all machines must know the birth: ten times the wait for a silent initialiser.
pub(crate) const PATIENCE: u64 = 6_000_000;

/// What came of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Milliseconds from the end of the faults until all machines knew the birth.
    pub(crate) took: u64,
    /// How many slots it needed.
    pub(crate) slots: usize,
}

/// How a run departs from what is promised, to see that the judge finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Not at all.
    None,
    /// One machine more forgets than may.
    OneForgetsTooMany,
    /// Disks keep nothing.
    LyingDisks,
}

/// Who may go wrong in a run. Together they are at most what the theorem allows.
struct Budget {
    forgetful: BTreeSet<MachineId>,
    clone: bool,
    extra: bool,
}

impl Budget {
    fn draw(world: &World, machines: u32, departure: Departure, random: &mut Random) -> Self {
        let mut left = tolerated(machines) as usize;
        let mut one = |share| {
            let taken = left > 0 && random.chance(share);
            left -= usize::from(taken);
            taken
        };
        let (clone, extra) = (one(0.15), one(0.15));
        if departure == Departure::OneForgetsTooMany {
            left += 1;
        }
        let mut ids: Vec<_> = world.machines.iter().map(|machine| machine.id).collect();
        let forgetful = (0..left.min(ids.len()))
            .map(|_| ids.swap_remove(random.below(ids.len() as u64) as usize));
        Self {
            forgetful: forgetful.collect(),
            clone,
            extra,
        }
    }
}

/// Runs one history of a site, all of which follows from `seed`.
pub(crate) fn run(site: Site, seed: u64, departure: Departure) -> Result<Outcome, String> {
    let mut random = Random::new(seed ^ 0x5eed_bed0);
    let mut world = World::new(site, seed);
    let budget = Budget::draw(&world, site.machines, departure, &mut random);
    world.network = Network::faulty(&mut random);
    world.hazard = Hazard {
        crash: random.pick(&[0.0, 0.01, 0.05, 0.2]),
        wipe: random.pick(&[0.0, 0.3, 1.0]),
        forgetful: budget.forgetful.clone(),
        ambushes: random.pick(&[0, 1, 2, 8]),
        lying_disks: departure == Departure::LyingDisks,
    };
    let spread = random.pick(&[1, 1_000, 30_000, 120_000]);
    for machine in 0..world.machines.len() {
        let delay = random.below(spread);
        world.boot_after(machine, delay);
    }
    let end = random.pick(&[30_000, 120_000, 400_000, 1_200_000]);
    let count = random.below(24);
    let mut times: Vec<_> = (0..count).map(|_| random.below(end)).collect();
    times.sort_unstable();
    for at in times {
        world.run(at, |_| false);
        world.verdict.clone()?;
        fault(&mut world, &budget, &mut random);
    }
    world.run(end, |_| false);
    world.verdict.clone()?;
    peace(&mut world, site, &mut random);
    world.run(end + PATIENCE, all_know);
    world.verdict.clone()?;
    if !all_know(&world) {
        return Err(format!("no birth in {} s of peace", PATIENCE / 1000));
    }
    Ok(Outcome {
        took: world.now - end,
        slots: world.judge.slots(),
    })
}

/// Whether all machines that are on know the founding.
pub(crate) fn all_know(world: &World) -> bool {
    let Some(founded) = world.judge.founded() else {
        return false;
    };
    let mut on = world.machines.iter().filter(|machine| !machine.retired);
    on.all(|machine| {
        machine
            .core
            .as_ref()
            .is_some_and(|core| core.decided() == Some(founded))
    })
}

/// One fault.
fn fault(world: &mut World, budget: &Budget, random: &mut Random) {
    let any = random.below(world.machines.len() as u64) as usize;
    let later = random.pick(&[0, 1_000, 20_000, 200_000]);
    match random.below(12) {
        0 | 1 => world.network = Network::faulty(random),
        2 => world.network = Network::good(),
        3 | 4 => {
            world.power_off(any);
            world.boot_after(any, later);
        }
        5 | 6 => {
            if let Some(id) = nth(&budget.forgetful, random) {
                let machine = world
                    .machines
                    .iter()
                    .position(|machine| machine.id == id)
                    .unwrap_or(any);
                world.wipe(machine);
                world.boot_after(machine, later);
            }
        }
        7 => {
            let clock = random.below(100_000_000);
            world.set_clock(any, clock);
        }
        8 => lose(world),
        9 if budget.clone => clone(world, any, random),
        10 if budget.extra => bring(world, any, later, random),
        _ => {}
    }
}

/// Switches on a second machine of an identity, blank or with a copy of its disk. All are of the first one that was.
fn clone(world: &mut World, any: usize, random: &mut Random) {
    let count = |id| {
        world
            .machines
            .iter()
            .filter(|machine| machine.id == id)
            .count()
    };
    let cloned = world
        .machines
        .iter()
        .position(|machine| count(machine.id) > 1);
    let original = cloned.unwrap_or(any);
    let disk = random
        .chance(0.5)
        .then(|| world.machines[original].disk.clone());
    let clone = world.add(world.machines[original].id, disk);
    world.boot_after(clone, 0);
}

/// Switches on a machine beyond those expected, once: in place of one that is gone for good, or by mistake, until peace.
fn bring(world: &mut World, any: usize, later: u64, random: &mut Random) {
    let known: BTreeSet<_> = world.machines.iter().map(|machine| machine.id).collect();
    if known.len() > world.site.machines as usize {
        return;
    }
    let extra = world.add(MachineId(random.bytes()), None);
    world.boot_after(extra, later);
    let id = world.machines[any].id;
    if random.chance(0.7) {
        for machine in 0..world.machines.len() {
            if world.machines[machine].id == id {
                world.machines[machine].retired = true;
                world.power_off(machine);
            }
        }
    }
}

/// Whoever is to initialise says that it cannot.
fn lose(world: &mut World) {
    for machine in 0..world.machines.len() {
        let node = &world.machines[machine];
        let named = node.core.as_ref().and_then(|core| core.decided());
        if let Some(Entry::Named {
            epoch, initialiser, ..
        }) = named
            && *initialiser == node.id
        {
            let epoch = *epoch;
            world.step(machine, Event::Lost { epoch });
        }
    }
}

/// Ends the faults: a network that works, one machine for each identity, no more than are expected, and as few
/// of them as a birth needs, or more.
fn peace(world: &mut World, site: Site, random: &mut Random) {
    world.hazard = Hazard::default();
    world.network = Network {
        loss: random.pick(&[0.0, 0.1]),
        delay: random.pick(&[10, 500]),
        ..Network::good()
    };
    let mut seen = BTreeSet::new();
    for machine in 0..world.machines.len() {
        let expected = seen.len() < site.machines as usize;
        let node = &mut world.machines[machine];
        if !node.retired && (!expected || !seen.insert(node.id)) {
            node.retired = true;
            world.power_off(machine);
        }
    }
    let spare = site.machines - quorum(site.machines).max(site.seats);
    for _ in 0..random.below(u64::from(spare) + 1) {
        let machine = random.below(world.machines.len() as u64) as usize;
        let on = world
            .machines
            .iter()
            .filter(|machine| !machine.retired)
            .count();
        if on > quorum(site.machines).max(site.seats) as usize {
            world.machines[machine].retired = true;
            world.power_off(machine);
        }
    }
    for machine in 0..world.machines.len() {
        let delay = random.below(10_000);
        world.boot_after(machine, delay);
    }
}

fn nth(ids: &BTreeSet<MachineId>, random: &mut Random) -> Option<MachineId> {
    ids.iter()
        .nth(random.below(ids.len() as u64) as usize)
        .copied()
}
