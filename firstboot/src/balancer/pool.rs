//! Which API server a connection gets, and which connections have to end. Pure: time and findings come from outside.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::balancer::backends::Backends;
use crate::balancer::health::{Belief, Finding, Health};

/// How long connections go on to a server that is no longer listed: enough for any request that is under way,
/// and a watch is begun again elsewhere without loss.
pub(super) const DRAIN: Duration = Duration::from_secs(60);

/// The API servers, with what is known of each. Times are since the balancer's start.
#[derive(Debug)]
pub(super) struct Pool {
    servers: BTreeMap<SocketAddr, Server>,
    own: Option<SocketAddr>,
    turn: usize,
}

#[derive(Debug)]
struct Server {
    health: Health,
    connections: usize,
    /// Since when the list is without it; `None` while it is listed.
    dropped: Option<Duration>,
}

impl Pool {
    /// Without any server. Of equal servers the first choice is the one at `turn`, which every machine draws for
    /// itself, or the first connections of all machines would meet at one server.
    pub(super) fn new(turn: usize) -> Self {
        Pool {
            servers: BTreeMap::new(),
            own: None,
            turn,
        }
    }

    /// Takes a new list. Servers that are in both keep their health; one that is not in the new list stays for as
    /// long as it has connections.
    pub(super) fn replace(&mut self, list: &Backends, now: Duration) {
        for (address, server) in &mut self.servers {
            server.dropped = match list.backends.contains(address) {
                true => None,
                false => server.dropped.or(Some(now)),
            };
        }
        for address in &list.backends {
            self.servers.entry(*address).or_insert(Server {
                health: Health::unknown(),
                connections: 0,
                dropped: None,
            });
        }
        self.servers
            .retain(|_, server| server.dropped.is_none() || server.connections > 0);
        self.own = list.own;
    }

    /// The servers that are listed.
    pub(super) fn listed(&self) -> impl Iterator<Item = SocketAddr> {
        let listed = self.servers.iter().filter(|(_, s)| s.dropped.is_none());
        listed.map(|(address, _)| *address)
    }

    /// The best server that is not among those `tried`, and counts the connection to it: healthy before others, the
    /// machine's own before others, then by the number of connections. One that is not healthy is better than none,
    /// since the checks may be wrong.
    pub(super) fn choose(&mut self, tried: &[SocketAddr]) -> Option<SocketAddr> {
        let (own, count) = (self.own, self.servers.len());
        let candidates = self.servers.iter_mut().enumerate().filter(|(_, (a, s))| {
            let listed = s.dropped.is_none();
            listed && !tried.contains(a)
        });
        let (_, (address, server)) = candidates.min_by_key(|(place, (address, server))| {
            (
                server.health.belief() != Belief::Healthy,
                own != Some(**address),
                server.connections,
                (place + count - self.turn % count) % count,
            )
        })?;
        server.connections += 1;
        self.turn = self.turn.wrapping_add(1);
        Some(*address)
    }

    /// A connection that [`Pool::choose`] counted has ended, or never came about.
    pub(super) fn closed(&mut self, address: SocketAddr) {
        if let Some(server) = self.servers.get_mut(&address) {
            server.connections = server.connections.saturating_sub(1);
            if server.dropped.is_some() && server.connections == 0 {
                self.servers.remove(&address);
            }
        }
    }

    /// Takes in what a check or a connection met; the new belief if it changed.
    pub(super) fn observe(&mut self, address: SocketAddr, finding: Finding) -> Option<Belief> {
        let server = self.servers.get_mut(&address)?;
        let changed = server.health.observe(finding);
        changed.then(|| server.health.belief())
    }

    /// How long to wait until the next check of a server; `None` if it is not listed.
    pub(super) fn pause(&self, address: SocketAddr) -> Option<Duration> {
        let server = self.servers.get(&address)?;
        server.dropped.is_none().then(|| server.health.pause())
    }

    /// The servers whose connections are to be closed: those that are no longer listed and had [`DRAIN`], and those
    /// that are down, so that clients begin again elsewhere. While no listed server is healthy there is no elsewhere,
    /// and connections are left as they are.
    pub(super) fn doomed(&self, now: Duration) -> Vec<SocketAddr> {
        let elsewhere = self
            .servers
            .values()
            .any(|server| server.dropped.is_none() && server.health.belief() == Belief::Healthy);
        let doomed = self.servers.iter().filter(|(_, server)| {
            let drained = server.dropped.is_some_and(|since| now >= since + DRAIN);
            let down = elsewhere && server.health.belief() == Belief::Down;
            server.connections > 0 && (drained || down)
        });
        doomed.map(|(address, _)| *address).collect()
    }
}

#[cfg(test)]
mod tests;
