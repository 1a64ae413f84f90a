//! The register: which machines a cluster that is founded has taken in, and which were sent away for good. It is kept
//! in etcd, where all machines of the control plane see the same.
//!
//! Seats need no entry to be let in, since the birth names them; they get one when they are removed. An entry is never
//! deleted: a machine that was removed is to be told so whenever it comes back.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use contract::datagram::MachineId;
use contract::peer::keys::PublicKey;
use serde::{Deserialize, Serialize};

use crate::etcd::Client;
use crate::neighbours::Neighbour;

/// Where entries are in etcd, each by its machine's id in hexadecimal.
const PREFIX: &str = "/seedbed/machines/";
/// How often a change that another one came before is tried.
const TRIES: u32 = 8;

/// A machine that the cluster knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Version of this document: 1.
    pub version: u32,
    /// Its host name.
    pub host_name: String,
    /// The key of its channel; nothing if the machine was never heard of.
    pub key: Option<PublicKey>,
    /// Whether it came with a join seed.
    pub joined: bool,
    /// When it was removed, in seconds since 1970.
    pub removed: Option<u64>,
}

/// All entries, as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    revision: i64,
    /// By machine.
    pub machines: BTreeMap<MachineId, Entry>,
}

/// What is to be done about a machine that wants in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in already.
    Known,
    /// There is room for it.
    Welcome,
    /// It came with the founding seed, after as many as that expects.
    TooMany,
    /// It was removed.
    Removed,
    /// Another machine has its host name.
    NameTaken,
}

impl Register {
    /// Reads it.
    pub fn read(etcd: &Client<'_>) -> Result<Self> {
        let keys = etcd
            .keys(PREFIX)
            .context("reading the register of machines")?;
        let mut machines = BTreeMap::new();
        for (name, value) in keys.values {
            let machine = parse(&name)
                .with_context(|| format!("etcd's key {PREFIX}{name} names no machine"))?;
            let entry = serde_json::from_slice(&value)
                .with_context(|| format!("reading etcd's key {PREFIX}{name}"))?;
            machines.insert(machine, entry);
        }
        Ok(Register {
            revision: keys.revision,
            machines,
        })
    }

    /// Judges a machine that is no seat. Of machines with the founding seed, which expects `expect` of them, the seats
    /// and all that were ever taken in count, also those that were removed.
    ///
    /// A machine that was removed is let in again only as a new one: with other keys, so without what it was, and with
    /// a join seed.
    pub fn judge(
        &self,
        caller: &Neighbour,
        joins: bool,
        seats: &[MachineId],
        expect: u32,
    ) -> Verdict {
        let (machine, key) = (caller.machine, &caller.key);
        let mut others = self.machines.iter().filter(|(other, _)| **other != machine);
        if others.any(|(_, entry)| entry.host_name == caller.host_name && entry.removed.is_none()) {
            return Verdict::NameTaken;
        }
        match self.machines.get(&machine) {
            Some(entry) if entry.removed.is_none() => return Verdict::Known,
            Some(entry) if !joins || entry.key.as_ref() == Some(key) => return Verdict::Removed,
            _ if joins => return Verdict::Welcome,
            _ => {}
        }
        let founding = self.machines.iter().filter(|(_, entry)| !entry.joined);
        let known: BTreeSet<MachineId> = founding
            .map(|(machine, _)| *machine)
            .chain(seats.iter().copied())
            .collect();
        match u32::try_from(known.len()).is_ok_and(|known| known < expect) {
            true => Verdict::Welcome,
            false => Verdict::TooMany,
        }
    }

    /// When a machine was removed, if it was.
    pub fn removed(&self, machine: MachineId) -> Option<u64> {
        self.machines.get(&machine)?.removed
    }

    /// Writes an entry, if nothing was written since this was read. Says whether it did.
    pub fn write(&self, etcd: &Client<'_>, machine: MachineId, entry: &Entry) -> Result<bool> {
        let value = serde_json::to_vec(entry).context("composing an entry of the register")?;
        etcd.set(PREFIX, self.revision, &machine.to_string(), &value)
    }
}

/// Changes one entry of what is there at that moment: `change` says what to write, if anything, and what came of it.
pub fn change<T>(
    etcd: &Client<'_>,
    machine: MachineId,
    change: impl Fn(&Register) -> (Option<Entry>, T),
) -> Result<T> {
    for _ in 0..TRIES {
        let register = Register::read(etcd)?;
        let (entry, result) = change(&register);
        match entry {
            None => return Ok(result),
            Some(entry) if register.write(etcd, machine, &entry)? => return Ok(result),
            Some(_) => {}
        }
    }
    bail!("the register of machines changes too fast; try again")
}

fn parse(text: &str) -> Option<MachineId> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(MachineId(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(number: u8, key: u8) -> Neighbour {
        Neighbour {
            machine: MachineId([number; 16]),
            key: PublicKey::new([key; 32]),
            host_name: format!("plant-{number}"),
            address: [10, 0, 0, number].into(),
            ready: false,
        }
    }

    fn entry(key: u8, joined: bool, removed: bool) -> Entry {
        Entry {
            version: 1,
            host_name: format!("plant-{key}"),
            key: Some(PublicKey::new([key; 32])),
            joined,
            removed: removed.then_some(1),
        }
    }

    #[test]
    fn the_founding_seed_lets_in_as_many_as_it_expects() {
        let machine = |number| MachineId([number; 16]);
        let seats = [machine(1), machine(2), machine(3)];
        let mut register = Register::default();
        let check = |register: &Register, number, joins, expected| {
            let verdict = register.judge(&caller(number, number), joins, &seats, 4);
            assert_eq!(verdict, expected, "{number} {joins} {register:?}");
        };
        check(&register, 4, false, Verdict::Welcome);
        // Whoever joins does not count.
        register.machines.insert(machine(9), entry(9, true, false));
        check(&register, 4, false, Verdict::Welcome);
        register.machines.insert(machine(4), entry(4, false, false));
        check(&register, 4, false, Verdict::Known);
        check(&register, 5, false, Verdict::TooMany);
        check(&register, 5, true, Verdict::Welcome);
        // A machine that was removed makes no room, and a seat that was counts once.
        register.machines.insert(machine(4), entry(4, false, true));
        register.machines.insert(machine(1), entry(1, false, true));
        check(&register, 5, false, Verdict::TooMany);
    }

    #[test]
    fn a_machine_that_was_removed_comes_back_as_a_new_one_only() {
        let machine = MachineId([4; 16]);
        let mut register = Register::default();
        register.machines.insert(machine, entry(4, false, true));
        let check = |key: u8, joins, expected| {
            let verdict = register.judge(&caller(4, key), joins, &[], 9);
            assert_eq!(verdict, expected);
        };
        check(4, false, Verdict::Removed);
        check(4, true, Verdict::Removed);
        check(5, false, Verdict::Removed);
        check(5, true, Verdict::Welcome);
        assert_eq!(register.removed(machine), Some(1));
    }

    #[test]
    fn no_two_machines_have_one_name() {
        let machine = MachineId([4; 16]);
        let mut register = Register::default();
        register.machines.insert(machine, entry(4, true, false));
        let mut other = caller(5, 5);
        other.host_name = register.machines[&machine].host_name.clone();
        assert_eq!(register.judge(&other, true, &[], 9), Verdict::NameTaken);
        // The name of one that was removed is free.
        register.machines.insert(machine, entry(4, true, true));
        assert_eq!(register.judge(&other, true, &[], 9), Verdict::Welcome);
    }

    #[test]
    fn machines_are_named_in_hexadecimal() {
        let machine = MachineId([0xab; 16]);
        assert_eq!(parse(&machine.to_string()), Some(machine));
        for text in [
            "",
            "ab",
            &"zz".repeat(16),
            &"äb".repeat(16),
            &"ab".repeat(17),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
