//! One picture of the site, from what its machines say of themselves and of each other.

use crate::status::ask::{Answer, Told};
use contract::port::PEER;
use contract::status::{Check, Known, Role, Status};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The site.
#[derive(Clone, Debug)]
pub struct Site {
    /// Every machine that answers or that is known: control planes first, then by name.
    pub machines: Vec<Machine>,
    /// How many machines the seed expects.
    pub expected: u32,
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its host name, once it has one.
    pub host_name: Option<String>,
    /// Its cluster address; before there is one, where it was asked.
    pub address: Option<String>,
    /// What is known of it.
    pub standing: Standing,
}

/// What is known of a machine.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Its own words.
    Told {
        /// Its document.
        status: Box<Status>,
        /// How far its clock is ahead, in milliseconds.
        skew: Option<i64>,
    },
    /// It answers, and has nothing to tell yet: why.
    Early(String),
    /// It does not answer: why.
    Silent(String),
}

impl Machine {
    /// Its own words.
    pub fn status(&self) -> Option<&Status> {
        match &self.standing {
            Standing::Told { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Whether it says that it is Ready, and that all its parts are healthy.
    pub fn is_ready(&self) -> bool {
        self.status().is_some_and(Status::is_ready)
    }

    fn order(&self) -> (bool, Option<Role>, &Option<String>, &Option<String>) {
        let role = self.status().and_then(|status| status.role);
        (role.is_none(), role, &self.host_name, &self.address)
    }
}

impl Site {
    /// The site that the answers tell of, with machines that were there `before`.
    pub fn new(answers: Vec<Answer>, before: Vec<Known>, expected: u32) -> Self {
        let mut machines: Vec<Machine> = Vec::new();
        let mut silent: Vec<Machine> = Vec::new();
        let mut known = before;
        let mut removed = BTreeMap::new();
        for Answer { target, told } in answers {
            let at = place(&target.address);
            match told {
                Ok(Told::Status { status, skew }) => {
                    known.extend(status.machines.iter().cloned());
                    let gone = status.removed.iter();
                    removed.extend(gone.map(|one| (one.host_name.clone(), one.joined)));
                    machines.push(Machine {
                        host_name: status.host_name.clone().or(target.host_name),
                        address: Some(status.address.clone().unwrap_or(at)),
                        standing: Standing::Told { status, skew },
                    });
                }
                Ok(Told::Early(why)) => machines.push(Machine {
                    host_name: target.host_name,
                    address: Some(at),
                    standing: Standing::Early(why),
                }),
                Err(why) => silent.push(Machine {
                    host_name: target.host_name,
                    address: Some(at),
                    standing: Standing::Silent(why),
                }),
            }
        }
        // One that is reached at two addresses says the same twice. Two machines with one identity differ in address.
        let same = |a: &mut Machine, b: &mut Machine| {
            let id = |machine: &Machine| machine.status().and_then(|status| status.machine.clone());
            id(a).is_some() && id(a) == id(b) && a.address == b.address
        };
        machines.sort_by(|a, b| a.order().cmp(&b.order()));
        machines.dedup_by(same);
        known.retain(|known| !removed.contains_key(&known.host_name));
        silent.extend(known.into_iter().map(|known| Machine {
            host_name: Some(known.host_name),
            address: known.address,
            standing: Standing::Silent(String::from("nobody knows its address")),
        }));
        for machine in silent {
            add_silent(&mut machines, machine);
        }
        machines.sort_by(|a, b| a.order().cmp(&b.order()));
        // One that was removed is on all the same, as long as nobody powers it off, and is no part of the site.
        let is_removed = |machine: &Machine| {
            let name = machine.host_name.as_ref();
            name.is_some_and(|name| removed.contains_key(name))
        };
        machines.retain(|machine| !is_removed(machine));
        let founding = removed.values().filter(|joined| !**joined).count();
        let founding = u32::try_from(founding).unwrap_or(u32::MAX);
        Site {
            machines,
            expected: expected.saturating_sub(founding),
        }
    }

    /// How many machines there are to be: those that are known, and at least as many as the seed expects.
    pub fn total(&self) -> usize {
        let expected = usize::try_from(self.expected).unwrap_or(usize::MAX);
        self.machines.len().max(expected)
    }

    /// Whether every machine is Ready.
    pub fn is_ready(&self) -> bool {
        self.total() > 0 && self.ready() == self.total()
    }

    fn ready(&self) -> usize {
        let machines = self.machines.iter();
        machines.filter(|machine| machine.is_ready()).count()
    }

    /// The machines that were heard of, for the next look.
    pub fn known(&self) -> Vec<Known> {
        let machines = self.machines.iter();
        let known = machines.filter_map(|machine| {
            Some(Known {
                host_name: machine.host_name.clone()?,
                address: machine.address.clone(),
            })
        });
        known.collect()
    }

    /// All of it in one line.
    pub fn summary(&self) -> String {
        let (ready, total) = (self.ready(), self.total());
        let unheard = match total - self.machines.len() {
            0 => String::new(),
            count => format!(", {count} not heard of"),
        };
        format!(
            "{ready} of {total} machines Ready{unheard}; {}",
            self.etcd()
        )
    }

    /// A member with a vote that is healthy proves a quorum. Who leads, says the newest term.
    fn etcd(&self) -> String {
        let all = || self.machines.iter().filter_map(Machine::status);
        let checks: Vec<(bool, &Check)> = all()
            .filter_map(|status| {
                let votes = status.etcd.as_ref().is_some_and(|etcd| !etcd.learner);
                Some((votes, status.health.as_ref()?.etcd.as_ref()?))
            })
            .collect();
        if checks.is_empty() {
            return String::from("nothing is known of etcd");
        }
        if !checks
            .iter()
            .any(|(votes, check)| *votes && check.is_good())
        {
            return String::from("etcd shows no quorum");
        }
        let names: BTreeMap<&str, &str> = all()
            .filter_map(|status| {
                let member = status.etcd.as_ref()?.member.as_str();
                Some((member, status.host_name.as_deref()?))
            })
            .collect();
        let newest = all()
            .filter_map(|status| status.etcd.as_ref())
            .filter(|etcd| etcd.leader.is_some())
            .max_by_key(|etcd| (etcd.raft_term, etcd.raft_index));
        let leader = newest.and_then(|etcd| {
            let id = etcd.leader.as_deref()?;
            let named = etcd.leader_name.as_deref();
            Some(names.get(id).copied().or(named).unwrap_or(id))
        });
        match leader {
            Some(leader) => format!("etcd has quorum, leader {leader}"),
            None => String::from("etcd has quorum, its leader is not known"),
        }
    }
}

/// Adds a machine that does not answer, unless one of these is it.
fn add_silent(machines: &mut Vec<Machine>, silent: Machine) {
    let at = |machine: &Machine| machine.address.as_deref().map(place);
    let mut there = machines.iter_mut();
    let same = there.find(|machine| {
        let named = machine.host_name.is_some() && machine.host_name == silent.host_name;
        named || at(machine).is_some() && at(machine) == at(&silent)
    });
    match same {
        Some(machine) => {
            machine.host_name = machine.host_name.take().or(silent.host_name);
            machine.address = machine.address.take().or(silent.address);
        }
        None => machines.push(silent),
    }
}

/// An address as it is compared and shown: without the channel's own port.
pub fn place(address: &str) -> String {
    if let Ok(socket) = address.parse::<SocketAddr>()
        && socket.port() == PEER
    {
        return socket.ip().to_string();
    }
    match address.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) => address.to_owned(),
    }
}
