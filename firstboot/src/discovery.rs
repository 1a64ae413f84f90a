//! Discovery: the machine calls the others of its secret, and hears them.
//!
//! What goes over the wire is [`contract::datagram`]; how often, is [`pace`]; who was heard, is [`peers`]. Three
//! kinds of threads do the work: two that hear, one that calls, and one that resolves the seed's names. All
//! end when the [`Discovery`] is dropped.
//!
//! Machines call by multicast on every wired interface that is up, IPv4 and IPv6, and by unicast those that
//! multicast does not reach: the seed's peers, and every address that a beacon ever came from. Who is called by
//! unicast for the first time, answers. Nothing is decided here: a beacon says who may be there.

mod call;
mod hear;
mod interfaces;
mod names;
pub mod pace;
pub mod peers;
mod sockets;
mod state;
mod targets;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use contract::datagram::endpoint::{Counters, Endpoint};
use contract::datagram::{Beacon, MachineId, Payload, Way};
use contract::secret::Secret;
use contract::seed::{Interface, Seed};

use crate::host::Host;
use peers::Peers;
use sockets::{Family, Sockets};
use state::State;

/// Payloads that wait for [`Discovery::receive`]; what comes when it is full is lost, as on the wire.
const WAITING: usize = 1024;

/// How machines of one secret are looked for.
#[derive(Clone, Debug)]
pub struct Config {
    /// What they share.
    pub secret: Secret,
    /// The UDP port, on all of them.
    pub port: u16,
    /// The interface to call on; every wired device if absent.
    pub interface: Option<Interface>,
    /// Whom to call by unicast, and whether to call by multicast.
    pub discovery: contract::seed::discovery::Discovery,
}

impl Config {
    /// What the seed says.
    pub fn of(seed: &Seed) -> Self {
        Config {
            secret: seed.cluster.secret.clone(),
            port: contract::port::DISCOVERY,
            interface: seed.network.interface.clone(),
            discovery: seed.discovery.clone(),
        }
    }
}

/// Whom something is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every machine: by multicast, and with a copy for each that it does not reach.
    All,
    /// One machine, where it was heard last. Nowhere, if it was not heard.
    Machine(MachineId),
    /// One address.
    Address(SocketAddr),
}

/// The machine's end of discovery.
#[derive(Debug)]
pub struct Discovery {
    shared: Arc<Shared>,
    incoming: Mutex<Receiver<(SocketAddr, Payload)>>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads have in common.
struct Shared {
    host: &'static dyn Host,
    config: Config,
    sockets: Sockets,
    state: Mutex<State>,
    /// Told when there is something to send sooner than planned.
    wake: Condvar,
    stopped: AtomicBool,
}

impl Discovery {
    /// Opens the sockets and begins to call with this beacon, whose sequence and time are set here.
    pub fn start(host: &'static dyn Host, config: Config, beacon: Beacon) -> Result<Self> {
        let sockets = Sockets::open(config.port)?;
        let endpoint = Endpoint::new(&config.secret).context("making keys for discovery")?;
        let state = State::new(endpoint, beacon, &config, host.uptime(), Instant::now());
        let shared = Arc::new(Shared {
            host,
            config,
            sockets,
            state: Mutex::new(state),
            wake: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        let (sender, incoming) = sync_channel(WAITING);
        let mut discovery = Discovery {
            shared,
            incoming: Mutex::new(incoming),
            threads: Vec::new(),
        };
        discovery.hear(Family::V4, &sender)?;
        discovery.hear(Family::V6, &sender)?;
        discovery.run("discovery-call", call::run)?;
        discovery.run("discovery-names", names::run)?;
        Ok(discovery)
    }

    /// What beacons say from now on. If it is something new, the others are told at once.
    pub fn announce(&self, beacon: Beacon) {
        if self.shared.state().announce(beacon, Instant::now()) {
            self.shared.wake.notify_all();
        }
    }

    /// Sends once. An address that cannot be reached is no error: the wire loses datagrams, too.
    pub fn send(&self, to: Target, payload: &Payload) -> Result<()> {
        let way = match to {
            Target::All => Way::Multicast,
            Target::Machine(_) | Target::Address(_) => Way::Unicast,
        };
        let (datagram, addresses, links) = {
            let mut state = self.shared.state();
            let datagram = state
                .endpoint
                .seal(payload, way)
                .context("sealing a datagram")?;
            let (addresses, links) = state.reach(to, self.shared.config.port, Instant::now());
            (datagram, addresses, links)
        };
        // The copies are one datagram, so that a machine that gets several takes one.
        for link in &links {
            for family in [Family::V4, Family::V6] {
                self.shared.call(link, family, &datagram);
            }
        }
        for address in addresses {
            self.shared.send(address, &datagram);
        }
        Ok(())
    }

    /// The next beacon, or message for this machine or all; none if none came in time. Probes are answered here.
    ///
    /// A beacon with this machine's own id and incarnation comes from a copy of its disks. Of two copies one
    /// hears the other: that which was started fewer times, or later. A message may be a recording from before
    /// this program was started, or come twice after very many others.
    pub fn receive(&self, timeout: Duration) -> Option<(SocketAddr, Payload)> {
        let incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        incoming.recv_timeout(timeout).ok()
    }

    /// The machines that were heard.
    pub fn peers(&self) -> Peers {
        self.shared.state().peers.clone()
    }

    /// What became of all datagrams that came.
    pub fn counters(&self) -> Counters {
        self.shared.state().endpoint.counters()
    }

    fn hear(&mut self, family: Family, sender: &SyncSender<(SocketAddr, Payload)>) -> Result<()> {
        if !self.shared.sockets.has(family) {
            return Ok(());
        }
        let sender = sender.clone();
        self.run("discovery-hear", move |shared| {
            hear::run(shared, family, &sender)
        })
    }

    fn run(&mut self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || work(&shared))
            .with_context(|| format!("starting the thread {name}"))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Under the lock, so that no thread is between its look at the flag and its sleep.
        drop(self.shared.state());
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of discovery has failed");
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Sends to one address. That nobody can be reached there now, is as if the datagram were lost.
    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        if let Err(error) = self.sockets.send(to, datagram) {
            tracing::debug!("sending to {to}: {error}");
        }
    }

    /// Calls on one wire; an interface may be without an address yet.
    fn call(&self, link: &interfaces::Link, family: Family, datagram: &[u8]) {
        if let Err(error) = self.sockets.call(link, family, datagram) {
            tracing::debug!("calling on {}: {error}", link.name);
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
