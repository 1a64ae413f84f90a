//! The two UDP sockets of discovery, for IPv4 and IPv6, and the groups that they are in.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use contract::datagram::{GROUP_V4, GROUP_V6};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::interfaces::Link;

/// How long a reader waits before it looks whether it is to end.
const PATIENCE: Duration = Duration::from_millis(250);

/// Bytes that the kernel keeps for us while we are busy with a flood.
const BUFFER: usize = 4 << 20;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// At least one of the two is there.
#[derive(Debug)]
pub(super) struct Sockets {
    port: u16,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    /// The interface that IPv4 multicast goes out by is a property of the socket.
    outgoing: Mutex<()>,
}

impl Sockets {
    /// Opens the port on all addresses. A kernel without IPv6 has one socket only.
    pub(super) fn open(port: u16) -> Result<Self> {
        let v4 = open_v4(port);
        let v6 = open_v6(port);
        if let (Err(error), Err(_)) = (&v4, &v6) {
            return Err(io::Error::from(*error))
                .with_context(|| format!("listening for machines on UDP port {port}"));
        }
        for error in [v4.as_ref().err(), v6.as_ref().err()].into_iter().flatten() {
            tracing::warn!("listening for machines on UDP port {port}: {error}");
        }
        Ok(Sockets {
            port,
            v4: v4.ok(),
            v6: v6.ok(),
            outgoing: Mutex::new(()),
        })
    }

    /// Whether there is a socket of this family.
    pub(super) fn has(&self, family: Family) -> bool {
        self.of(family).is_some()
    }

    /// The next datagram, cut at the buffer's end; none if none came for a while.
    pub(super) fn receive(
        &self,
        family: Family,
        buffer: &mut [u8],
    ) -> io::Result<Option<(usize, SocketAddr)>> {
        let Some(socket) = self.of(family) else {
            return Ok(None);
        };
        match socket.recv_from(buffer) {
            Ok(received) => Ok(Some(received)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::TimedOut
                | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Enters the groups on an interface; says whether it is in one of them now.
    pub(super) fn join(&self, link: &Link) -> bool {
        let none = Ipv4Addr::UNSPECIFIED;
        let v4 = self.v4.as_ref().map(|socket| {
            sockopt::set_ip_add_membership_with_ifindex(socket, &GROUP_V4, &none, link.index)
        });
        let v6 = self
            .v6
            .as_ref()
            .map(|socket| sockopt::set_ipv6_add_membership(socket, &GROUP_V6, link.index));
        let mut joined = false;
        for result in [v4, v6].into_iter().flatten() {
            match result {
                // It was here before, went away, and came back.
                Ok(()) | Err(Errno::ADDRINUSE) => joined = true,
                Err(error) => tracing::warn!("listening for machines on {}: {error}", link.name),
            }
        }
        joined
    }

    /// Calls all machines on one wire.
    pub(super) fn call(&self, link: &Link, family: Family, datagram: &[u8]) -> io::Result<()> {
        match (family, &self.v4) {
            (Family::V6, _) => {
                let group = SocketAddrV6::new(GROUP_V6, self.port, 0, link.index);
                self.send(group.into(), datagram)
            }
            (Family::V4, None) => Ok(()),
            (Family::V4, Some(socket)) => {
                let _outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
                let none = Ipv4Addr::UNSPECIFIED;
                sockopt::set_ip_multicast_if_with_ifindex(socket, &GROUP_V4, &none, link.index)?;
                self.send(SocketAddr::from((GROUP_V4, self.port)), datagram)
            }
        }
    }

    /// Sends to one address; where there is no socket of its family, to nobody.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
        match self.of(family) {
            Some(socket) => socket.send_to(datagram, to).map(|_| ()),
            None => Ok(()),
        }
    }

    fn of(&self, family: Family) -> Option<&UdpSocket> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }
}

fn open_v4(port: u16) -> rustix::io::Result<UdpSocket> {
    open(
        AddressFamily::INET,
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    )
}

fn open_v6(port: u16) -> rustix::io::Result<UdpSocket> {
    open(
        AddressFamily::INET6,
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    )
}

fn open(family: AddressFamily, address: SocketAddr) -> rustix::io::Result<UdpSocket> {
    let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
    let socket = net::socket_with(family, kind, flags, Some(ipproto::UDP))?;
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // Beyond the limit of ordinary programs if we may; a smaller buffer only loses more in a flood.
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, BUFFER));
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    net::bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}
