//! Runs the core of the protocol on a machine: over [`crate::discovery`], with its memory on STATE.
//!
//! It begins when the machine knows who it is and where it is reached, and goes on for as long as the machine runs,
//! since others may ask what was decided. What it finds, the phases read from files: the memory itself
//! ([`crate::birth`]), the other machines ([`crate::neighbours`]), and why there is no birth yet.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::datagram::{self, MachineId, Payload, Roles};
use contract::guid::Guid;
use contract::peer::keys::PublicKey;
use contract::seed::Seed;
use serde::{Deserialize, Serialize};

use crate::assembly::message::Standing;
use crate::assembly::part::Part;
use crate::assembly::{Action, Beacon, Config, Entry, Event, Message, Timing, Trouble};
use crate::birth::{self, Birth};
use crate::discovery::{self, Discovery, Target};
use crate::facts;
use crate::host::{Cmd, Host};
use crate::ledger::{self, Address, ChannelKey, Epoch, Identity};
use crate::machine::identity::hex;
use crate::neighbours::{NEIGHBOURS, Neighbour};
use crate::phases::etcd;
use crate::phases::ready::READY;
use crate::pki::{self, PKI};

/// Between two looks at what this machine itself has done. Each costs a reading of a few small files.
const LOOK: Duration = Duration::from_secs(1);
/// No wait is shorter, whatever the core asks for.
const SHORTEST: Duration = Duration::from_millis(5);
/// Before another try, when the sockets or the disk failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Never returns.
pub fn run(host: &'static dyn Host) {
    loop {
        match Site::read(host) {
            Ok(Some(site)) => {
                if let Err(error) = follow(host, &site) {
                    tracing::error!("assembly: {error:#}");
                    host.sleep(PAUSE);
                }
            }
            Ok(None) => host.sleep(LOOK),
            Err(error) => {
                tracing::error!("assembly: {error:#}");
                host.sleep(PAUSE);
            }
        }
    }
}

/// What this machine is told about its site and itself, once all of it is decided.
struct Site {
    seed: Seed,
    /// The seed's text. A join seed may take its place.
    text: String,
    identity: Identity,
    address: IpAddr,
    key: PublicKey,
}

impl Site {
    fn read(host: &dyn Host) -> Result<Option<Self>> {
        let (Some(seed), Some(text), Some(identity), Some(address), Some(keys)) = (
            facts::seed(host)?,
            facts::seed_text(host)?,
            ledger::read::<Identity>(host)?,
            ledger::read::<Address>(host)?,
            ledger::read::<ChannelKey>(host)?,
        ) else {
            return Ok(None);
        };
        Ok(Some(Site {
            seed,
            text,
            identity,
            address: address.address,
            key: keys.public,
        }))
    }

    fn config(&self, host: &dyn Host) -> Result<Config> {
        Ok(Config {
            machines: self.seed.expect,
            seats: self.seed.control_planes,
            me: self.identity.machine_id()?,
            incarnation: host.random()?,
            key: *self.key.as_bytes(),
            timing: Timing::default(),
        })
    }

    /// What the machine says of itself: the core's part, and what other machines need to reach it.
    fn beacon(&self, core: &Beacon, birth: Option<&Birth>, ready: bool) -> datagram::Beacon {
        let role = birth.and_then(Birth::role);
        let seated = role == Some(ledger::Role::ControlPlane);
        datagram::Beacon {
            machine: core.machine,
            incarnation: core.incarnation,
            boot: 0,
            sequence: 0,
            key: core.key,
            host_name: self.identity.host_name.clone(),
            addresses: vec![self.address],
            decided: core
                .decided
                .map(|standing| (standing.slot, standing.digest)),
            cluster: birth
                .filter(|birth| birth.authority.is_some())
                .map(|birth| birth.id),
            roles: Roles {
                control_plane: seated,
                etcd: seated,
                worker: role.is_some() && !seated,
                ready,
                joins: self.seed.joins(),
            },
            phase: String::new(),
            time: 0,
        }
    }
}

/// A message of the core on the wire, which does not say by itself who sends it.
#[derive(Serialize, Deserialize)]
struct Letter {
    from: MachineId,
    message: Message,
}

fn follow(host: &'static dyn Host, site: &Site) -> Result<()> {
    let config = site.config(host)?;
    let part = Part::new(host, &site.seed, &config, birth::memory(host)?)?;
    let beacon = site.beacon(
        &part.beacon(),
        birth::read(host)?.as_ref(),
        host.exists(READY),
    );
    let wire = Discovery::start(host, discovery::Config::of(&site.seed), beacon)?;
    let mut driver = Driver {
        host,
        site,
        config,
        part,
        wire,
        wake: Some(host.uptime()),
        named: None,
        looked: None,
        told: String::new(),
    };
    while driver.turn()? {}
    tracing::info!("assembly: a join seed takes the place of the founding seed");
    Ok(())
}

struct Driver<'a> {
    host: &'static dyn Host,
    site: &'a Site,
    config: Config,
    part: Part,
    wire: Discovery,
    /// When the core wants to be asked again; nothing if it waits for others alone.
    wake: Option<Duration>,
    /// Since when this machine is to initialise, and has not.
    named: Option<Duration>,
    /// When this machine looked last at what it has done itself.
    looked: Option<Duration>,
    /// What stands in [`birth::WHY`].
    told: String,
}

impl Driver<'_> {
    /// Takes in what comes next, and from time to time what this machine has done itself.
    /// Says whether to go on; not if the machine has another seed now.
    fn turn(&mut self) -> Result<bool> {
        let now = self.host.uptime();
        let left = self.wake.map_or(LOOK, |wake| wake.saturating_sub(now));
        match self.wire.receive(left.clamp(SHORTEST, LOOK)) {
            Some((_, payload)) => {
                if let Some(event) = event(payload) {
                    self.step(event)?;
                }
            }
            None => self.step(Event::Tick)?,
        }
        let now = self.host.uptime();
        if self.looked.is_none_or(|looked| now >= looked + LOOK) {
            self.looked = Some(now);
            if let Some(event) = self.own()? {
                self.step(event)?;
            }
            self.announce()?;
            self.neighbours()?;
            if facts::seed_text(self.host)?.as_ref() != Some(&self.site.text) {
                return Ok(false);
            }
        }
        self.why()?;
        Ok(true)
    }

    /// Says what this machine is now; the others are told at once if that is new.
    fn announce(&self) -> Result<()> {
        let birth = birth::read(self.host)?;
        let ready = self.host.exists(READY);
        self.wire
            .announce(self.site.beacon(&self.part.beacon(), birth.as_ref(), ready));
        Ok(())
    }

    fn step(&mut self, event: Event) -> Result<()> {
        // The core asks anew at each step for which there is a reason.
        self.wake = None;
        for action in self.part.step(event, self.host.uptime()) {
            match action {
                Action::Persist(memory) => {
                    let json = serde_json::to_vec(&memory).context("composing the votes")?;
                    self.host.write(birth::MEMORY, 0o600, &json)?;
                }
                Action::Send { to, message } => {
                    self.send(Target::Machine(to), Some(to), message)?;
                }
                Action::Broadcast(message) => self.send(Target::All, None, message)?,
                Action::WakeAt(at) => self.wake = Some(at),
                Action::Decided(entry) => self.decided(&entry)?,
                Action::Trouble(trouble) => tracing::error!("assembly: {trouble}"),
            }
        }
        Ok(())
    }

    fn send(&self, target: Target, to: Option<MachineId>, message: Message) -> Result<()> {
        let letter = Letter {
            from: self.config.me,
            message,
        };
        let bytes = postcard::to_stdvec(&letter).context("composing a message")?;
        self.wire.send(target, &Payload::Assembly { to, bytes })
    }

    /// What was decided is on disk. What an earlier attempt made is disposed of at the next start.
    fn decided(&self, entry: &Entry) -> Result<()> {
        self.announce()?;
        tracing::info!(
            "assembly: {} of cluster {}, attempt {}, initialiser {}",
            if entry.is_founded() {
                "founding"
            } else {
                "naming"
            },
            hex(entry.cluster()),
            entry.epoch(),
            entry.initialiser()
        );
        let worked = ledger::read::<Epoch>(self.host)?;
        let cluster = Guid::derived(*entry.cluster()).to_string();
        let same = |worked: &Epoch| worked.epoch == entry.epoch() && worked.cluster == cluster;
        if worked.is_some_and(|worked| !same(&worked)) {
            tracing::warn!("assembly: another attempt begins; this machine starts again for it");
            self.host
                .run(&Cmd::new("/usr/bin/systemctl").args(["--no-block", "reboot"]))?;
        }
        Ok(())
    }

    /// What this machine has done, or lost, of what it was named for.
    fn own(&mut self) -> Result<Option<Event>> {
        let named = birth::read(self.host)?
            .filter(|birth| birth.authority.is_none() && birth.initialises());
        // What an earlier attempt left on the disks is none of this one's.
        let Some(birth) = named.filter(|birth| birth.is_worked_on(self.host).unwrap_or(false))
        else {
            self.named = None;
            return Ok(None);
        };
        let epoch = birth.epoch;
        if etcd::is_lost(self.host, birth.seats.len()) {
            return Ok(Some(Event::Lost { epoch }));
        }
        if self.host.exists(etcd::FOUNDED) {
            let authority = pki::read(self.host, &format!("{PKI}/ca"))?;
            let fingerprint = authority
                .map(|pair| pki::fingerprint(&pair.public))
                .transpose()?;
            return Ok(fingerprint.map(|fingerprint| Event::MadeAuthority { epoch, fingerprint }));
        }
        let now = self.host.uptime();
        let since = *self.named.get_or_insert(now);
        let late = now.saturating_sub(since) >= self.config.timing.initialiser;
        let peers = self.wire.peers();
        let gone = birth.seats.iter().any(|seat| {
            let heard = peers.latest(seat.machine);
            // A seat that came back with a new key has lost its part of etcd; one that is silent may be dead.
            seat.machine != self.config.me
                && heard.map_or(late, |heard| {
                    let silent = heard.last.elapsed() >= self.config.timing.silence;
                    heard.beacon.key != seat.key || late && silent
                })
        });
        Ok(gone.then_some(Event::Lost { epoch }))
    }

    /// Writes down who was heard of lately.
    fn neighbours(&self) -> Result<()> {
        let peers = self.wire.peers();
        let alive = peers.alive(Instant::now(), self.config.timing.silence);
        let mut neighbours: Vec<Neighbour> = alive
            .filter_map(|heard| {
                Some(Neighbour {
                    machine: heard.beacon.machine,
                    key: PublicKey::new(heard.beacon.key),
                    host_name: heard.beacon.host_name.clone(),
                    address: *heard.beacon.addresses.first()?,
                    ready: heard.beacon.roles.ready,
                })
            })
            .collect();
        // A machine that was started again is heard of as two until the first falls silent, with one key.
        neighbours.sort_by_key(|neighbour| (neighbour.machine, neighbour.key));
        neighbours.dedup_by_key(|neighbour| (neighbour.machine, neighbour.key));
        let json = serde_json::to_vec(&neighbours).context("composing the list of neighbours")?;
        self.host
            .write_if_changed(NEIGHBOURS, 0o600, &json)
            .map(drop)
    }

    /// Tells people why there is no birth yet.
    fn why(&mut self) -> Result<()> {
        let troubles = self.part.troubles().iter();
        let troubles: Vec<String> = troubles.map(ToString::to_string).collect();
        let why = match (troubles.is_empty(), self.part.decided()) {
            (false, _) => troubles.join("\n"),
            (true, Some(Entry::Founded { .. })) => String::from("the cluster is founded"),
            (true, Some(Entry::Named { initialiser, .. })) => {
                format!("machine {initialiser} founds the cluster")
            }
            (true, None) => self.part.waits_for(self.config.machines),
        };
        if why != self.told {
            let second = |trouble: &Trouble| matches!(trouble, Trouble::SecondBirth { .. });
            match self.part.troubles().iter().any(second) {
                true => self.host.write(birth::SECOND, 0o644, why.as_bytes())?,
                false => self.host.remove(birth::SECOND)?,
            }
            self.host
                .write(birth::WHY, 0o644, format!("{why}\n").as_bytes())?;
            self.told = why;
        }
        Ok(())
    }
}

/// What a datagram tells the core.
fn event(payload: Payload) -> Option<Event> {
    match payload {
        Payload::Probe => None,
        // Who takes no part in a birth is none of the machines that are expected.
        Payload::Beacon(beacon) if beacon.roles.joins => None,
        Payload::Beacon(beacon) => Some(Event::Heard(Beacon {
            machine: beacon.machine,
            incarnation: beacon.incarnation,
            key: beacon.key,
            decided: beacon
                .decided
                .map(|(slot, digest)| Standing { slot, digest }),
        })),
        Payload::Assembly { bytes, .. } => {
            let letter: Letter = postcard::from_bytes(&bytes).ok()?;
            Some(Event::Message {
                from: letter.from,
                message: letter.message,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_with_a_join_seed_count_for_nothing_in_a_birth() {
        let beacon = |joins| {
            Payload::Beacon(datagram::Beacon {
                machine: MachineId([1; 16]),
                incarnation: [2; 16],
                boot: 0,
                sequence: 0,
                key: [3; 32],
                host_name: String::from("plant"),
                addresses: Vec::new(),
                decided: None,
                cluster: None,
                roles: Roles {
                    joins,
                    ..Roles::default()
                },
                phase: String::new(),
                time: 0,
            })
        };
        assert!(matches!(event(beacon(false)), Some(Event::Heard(_))));
        assert_eq!(event(beacon(true)), None);
    }
}
