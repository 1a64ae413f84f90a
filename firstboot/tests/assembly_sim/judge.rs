//! The judge sees what every disk takes in, and finds a second birth the moment it happens.

use std::collections::{BTreeMap, BTreeSet};

use contract::datagram::MachineId;
use firstboot::assembly::quorum::quorum;
use firstboot::assembly::{Ballot, Entry, Memory};

/// All votes ever cast, and what they chose.
pub(crate) struct Judge {
    quorum: usize,
    votes: BTreeMap<(u32, Ballot), (Entry, BTreeSet<MachineId>)>,
    chosen: BTreeMap<u32, Entry>,
    founded: Option<Entry>,
}

impl Judge {
    /// The judge of a site of `machines`.
    pub(crate) fn new(machines: u32) -> Self {
        let quorum = quorum(machines) as usize;
        Self {
            quorum,
            votes: BTreeMap::new(),
            chosen: BTreeMap::new(),
            founded: None,
        }
    }

    /// The one founding that was chosen.
    pub(crate) fn founded(&self) -> Option<&Entry> {
        self.founded.as_ref()
    }

    /// How many slots were decided.
    pub(crate) fn slots(&self) -> usize {
        self.chosen.len()
    }

    /// Sees that a disk holds this. Says what is wrong with it, if anything.
    pub(crate) fn persisted(&mut self, machine: MachineId, memory: &Memory) -> Result<(), String> {
        if let (Some(vote), Some(slot)) = (&memory.accepted, memory.slot()) {
            let (entry, voters) = self
                .votes
                .entry((slot, vote.ballot))
                .or_insert_with(|| (vote.entry.clone(), BTreeSet::new()));
            if *entry != vote.entry {
                return Err(format!(
                    "ballot {:?} of slot {slot} is for two entries",
                    vote.ballot
                ));
            }
            voters.insert(machine);
            if voters.len() >= self.quorum {
                self.choose(slot, &vote.entry)?;
            }
        }
        let Some(decision) = &memory.decided else {
            return Ok(());
        };
        if self.quorum == 1 {
            // A machine alone never has its vote on disk by itself.
            self.choose(decision.slot, &decision.entry)?;
        }
        match self.chosen.get(&decision.slot) {
            Some(entry) if *entry == decision.entry => Ok(()),
            Some(_) => Err(format!(
                "{machine} takes for decided in slot {} what was not",
                decision.slot
            )),
            None => Err(format!(
                "{machine} takes for decided what nobody chose in slot {}",
                decision.slot
            )),
        }
    }

    fn choose(&mut self, slot: u32, entry: &Entry) -> Result<(), String> {
        let chosen = self.chosen.entry(slot).or_insert_with(|| entry.clone());
        if chosen != entry {
            return Err(format!(
                "SECOND BIRTH: two entries are chosen in slot {slot}"
            ));
        }
        if entry.is_founded() && self.founded.get_or_insert_with(|| entry.clone()) != entry {
            return Err("SECOND BIRTH: the cluster is founded twice".to_owned());
        }
        Ok(())
    }
}
