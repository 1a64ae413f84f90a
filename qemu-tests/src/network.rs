//! Network cards, and what their cables lead to.

use crate::site::TAP;
use anyhow::Context;
use std::net::{Ipv4Addr, TcpListener};

/// What machines on [`Network::Host`] call this host's loopback.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// A TCP port of this host that leads into a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The port on this host's loopback.
    pub host: u16,
    /// The port in the machine.
    pub guest: u16,
}

/// What a network card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// QEMU's own DHCP server and nothing else: no way out, only the forwarded ports lead in.
    Isolated(Vec<Forward>),
    /// The same with a way out: this host's loopback is at [`HOST`].
    Host(Vec<Forward>),
    /// A segment that all machines with the same number share: multicast on loopback, no root needed. Every
    /// frame reaches every machine.
    Segment(u16),
    /// The segment of the machine's site, where servers are.
    Served,
    /// A cable that is not plugged in anywhere.
    Unplugged,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// What it is plugged into.
    pub network: Network,
}

impl Nic {
    /// A card with a locally administered address that ends in `number`.
    pub fn new(number: u8, network: Network) -> Self {
        let mac = [0x52, 0x54, 0x00, 0x5e, 0xed, number];
        Nic { mac, network }
    }

    /// The options of QEMU's `-netdev`, with `id` as the backend's name.
    pub fn netdev(&self, id: &str) -> String {
        match &self.network {
            Network::Isolated(forwards) => format!("user,id={id},restrict=on{}", listed(forwards)),
            Network::Host(forwards) => format!("user,id={id}{}", listed(forwards)),
            Network::Segment(port) => {
                format!("socket,id={id},mcast=230.0.0.1:{port},localaddr=127.0.0.1")
            }
            Network::Served => format!("tap,id={id},ifname={TAP},script=no,downscript=no"),
            Network::Unplugged => format!("hubport,id={id},hubid=0"),
        }
    }

    /// The hardware address as text.
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

fn listed(forwards: &[Forward]) -> String {
    let option =
        |Forward { host, guest }: &Forward| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
    forwards.iter().map(option).collect()
}

/// A TCP port of loopback that nobody listens on now.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address.context("looking for a free TCP port")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_become_options() {
        let forwards = vec![Forward {
            host: 16443,
            guest: 6443,
        }];
        let check =
            |network, expected: &str| assert_eq!(Nic::new(7, network).netdev("n0"), expected);
        check(
            Network::Host(forwards.clone()),
            "user,id=n0,hostfwd=tcp:127.0.0.1:16443-:6443",
        );
        check(
            Network::Isolated(forwards),
            "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:16443-:6443",
        );
        check(
            Network::Segment(5001),
            "socket,id=n0,mcast=230.0.0.1:5001,localaddr=127.0.0.1",
        );
        check(Network::Unplugged, "hubport,id=n0,hubid=0");
        assert_eq!(
            Nic::new(7, Network::Unplugged).mac_text(),
            "52:54:00:5e:ed:07"
        );
    }
}
