//! The operator's side of discovery: asks on the local network which machines of a seed are there.
//!
//! Probes go out by multicast on every interface with a carrier, IPv4 and IPv6, and to the seed's peers; machines
//! answer with a beacon. What they say is proven by the cluster secret, but may be old: a recording of it is
//! believed here, so whoever is found is to be asked over the peers' channel, which proves itself.

use anyhow::Context;
use contract::datagram::endpoint::Endpoint;
use contract::datagram::{Beacon, GROUP_V4, GROUP_V6, Incarnation, MachineId, Payload, Way};
use contract::port::{DISCOVERY, PEER};
use contract::seed::Seed;
use contract::seed::discovery::Peer;
use rustix::net::sockopt;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

/// Probes are sent so often, since the wire may lose one.
const ROUNDS: u32 = 3;

/// Between two probes into a range, so that no queue on the way overflows.
const PAUSE: Duration = Duration::from_millis(1);

/// A machine that has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it says of itself.
    pub beacon: Beacon,
    /// Where the answer came from.
    pub from: SocketAddr,
}

impl Found {
    /// Where its channel is: at the address that it answered from, which is good beyond the wire if it has one
    /// that is.
    pub fn channel(&self) -> SocketAddr {
        let local = |address: &IpAddr| match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let mut channel = self.from;
        if local(&channel.ip())
            && let Some(better) = self.beacon.addresses.iter().find(|address| !local(address))
        {
            channel = SocketAddr::new(*better, PEER);
        }
        channel.set_port(PEER);
        channel
    }
}

/// Asks for so long; those who answered, by machine. It takes longer by what the seed's ranges take.
pub fn find(seed: &Seed, patience: Duration) -> anyhow::Result<Vec<Found>> {
    let mut search = Search::new(seed)?;
    let pause = patience / ROUNDS;
    for _ in 0..ROUNDS {
        search.probe(seed)?;
        search.listen(Instant::now() + pause);
    }
    Ok(search.found.into_values().collect())
}

struct Search {
    endpoint: Endpoint,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    port: u16,
    found: BTreeMap<(MachineId, Incarnation), Found>,
}

impl Search {
    fn new(seed: &Seed) -> anyhow::Result<Self> {
        let endpoint = Endpoint::new(&seed.cluster.secret).context("making keys for discovery")?;
        let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        // A kernel without IPv6 has one socket only.
        let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok();
        let v4 = if v6.is_some() {
            v4.ok()
        } else {
            Some(v4.context("opening a UDP socket")?)
        };
        for socket in [&v4, &v6].into_iter().flatten() {
            let patience = Some(PAUSE);
            socket
                .set_read_timeout(patience)
                .context("setting up a UDP socket")?;
        }
        Ok(Search {
            endpoint,
            v4,
            v6,
            port: DISCOVERY,
            found: BTreeMap::new(),
        })
    }

    /// One probe for all: a machine that gets several copies answers once.
    fn probe(&mut self, seed: &Seed) -> anyhow::Result<()> {
        let probe = self
            .endpoint
            .seal(&Payload::Probe, Way::Multicast)
            .context("sealing a probe")?;
        if seed.discovery.multicast {
            for index in interfaces()? {
                self.call(index, &probe);
            }
        }
        for peer in &seed.discovery.peers {
            match peer {
                Peer::Address(address) => self.send(&probe, SocketAddr::new(*address, self.port)),
                Peer::Name(name) => match (name.as_str(), self.port).to_socket_addrs() {
                    Ok(addresses) => addresses.for_each(|address| self.send(&probe, address)),
                    Err(error) => {
                        tracing::warn!("resolving {name}, one of discovery.peers: {error}")
                    }
                },
                Peer::Range(range) => {
                    for address in (0..).map_while(|n| range.nth(n)) {
                        if !range.is_reserved(address) {
                            self.send(&probe, SocketAddr::new(address, self.port));
                            self.listen(Instant::now() + PAUSE);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn call(&self, index: u32, probe: &[u8]) {
        if let Some(socket) = &self.v4 {
            let none = Ipv4Addr::UNSPECIFIED;
            match sockopt::set_ip_multicast_if_with_ifindex(socket, &GROUP_V4, &none, index) {
                Ok(()) => self.send(probe, SocketAddr::from((GROUP_V4, self.port))),
                Err(error) => tracing::debug!("calling on interface {index}: {error}"),
            }
        }
        let group = SocketAddrV6::new(GROUP_V6, self.port, 0, index);
        self.send(probe, group.into());
    }

    /// That nobody can be reached there is as if nobody were there.
    fn send(&self, probe: &[u8], to: SocketAddr) {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let sent = socket.as_ref().map(|socket| socket.send_to(probe, to));
        if let Some(Err(error)) = sent {
            tracing::debug!("asking {to}: {error}");
        }
    }

    fn listen(&mut self, deadline: Instant) {
        let mut buffer = [0; contract::datagram::MAX_DATAGRAM + 1];
        loop {
            for socket in [&self.v4, &self.v6].into_iter().flatten() {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let Ok(opened) = self.endpoint.open(&buffer[..length]) else {
                    continue;
                };
                if let Payload::Beacon(beacon) = opened.payload {
                    let key = (beacon.machine, beacon.incarnation);
                    self.found.insert(key, Found { beacon, from });
                }
            }
            if Instant::now() >= deadline {
                return;
            }
        }
    }
}

/// The indices of all interfaces that can carry a call, wireless ones too: it is the operator's computer.
fn interfaces() -> anyhow::Result<Vec<u32>> {
    const NET: &str = "/sys/class/net";
    let mut indices = Vec::new();
    for entry in fs::read_dir(NET).with_context(|| format!("reading {NET}"))? {
        let path = entry.with_context(|| format!("reading {NET}"))?.path();
        // One may vanish while it is looked at; the carrier of one that is down cannot be read.
        let text = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
        if text("carrier").trim() == "1"
            && let Ok(index) = text("ifindex").trim().parse()
        {
            indices.push(index);
        }
    }
    indices.sort_unstable();
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::datagram::Roles;
    use contract::secret::Secret;
    use std::sync::mpsc::channel;
    use std::thread;

    fn beacon(number: u8, addresses: &[&str]) -> Beacon {
        Beacon {
            machine: MachineId([number; 16]),
            incarnation: [number; 16],
            boot: 1,
            sequence: 1,
            key: [number; 32],
            host_name: format!("machine-{number}"),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            decided: None,
            cluster: None,
            roles: Roles::default(),
            phase: String::new(),
            time: 0,
        }
    }

    /// A machine at loopback that answers one probe; its port.
    fn machine(secret: &'static str) -> u16 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let (ready, wait) = channel();
        thread::spawn(move || {
            let mut endpoint = Endpoint::new(&Secret::new(secret)).unwrap();
            let mut buffer = [0; 2048];
            ready.send(()).unwrap();
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            let opened = endpoint.open(&buffer[..length]);
            if opened.is_ok_and(|opened| opened.payload == Payload::Probe) {
                let answer = Payload::Beacon(beacon(1, &[]));
                let answer = endpoint.seal(&answer, Way::Unicast).unwrap();
                socket.send_to(&answer, from).unwrap();
            }
        });
        wait.recv().unwrap();
        port
    }

    fn search(secret: &'static str, machine: u16) -> Vec<Found> {
        let mut text = contract::seed::new_text("plant-7", &[7; contract::seed::SECRET_BYTES]);
        text.push_str("\ndiscovery: {multicast: false}\n");
        let mut seed = contract::seed::parse("seed.yaml", &text).unwrap();
        seed.cluster.secret = Secret::new(secret);
        // A seed does not name loopback, but a test has no other network.
        seed.discovery.peers = vec![Peer::Address("127.0.0.1".parse().unwrap())];
        let mut search = Search::new(&seed).unwrap();
        search.port = machine;
        search.probe(&seed).unwrap();
        search.listen(Instant::now() + Duration::from_millis(500));
        search.found.into_values().collect()
    }

    #[test]
    fn who_knows_the_secret_answers() {
        let port = machine("secret");
        let found = search("secret", port);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].beacon.host_name, "machine-1");
        assert_eq!(found[0].channel().to_string(), "127.0.0.1:7444");
        assert_eq!(search("secret", machine("another")), []);
    }

    #[test]
    fn a_channel_is_where_it_can_be_reached_from_elsewhere() {
        let check = |from: &str, said: &[&str], expected: &str| {
            let found = Found {
                beacon: beacon(1, said),
                from: from.parse().unwrap(),
            };
            assert_eq!(found.channel().to_string(), expected);
        };
        check("192.168.7.10:7446", &["10.0.0.1"], "192.168.7.10:7444");
        check(
            "[fe80::1%2]:7446",
            &["fe80::2", "10.0.0.1"],
            "10.0.0.1:7444",
        );
        check("[fe80::1%2]:7446", &[], "[fe80::1%2]:7444");
    }
}
