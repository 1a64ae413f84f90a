//! The machines' side of the peers' channel: answers whoever knows the cluster secret, and asks other machines.
//!
//! Each connection carries one question. Strangers get no further than the handshake, and none of them can
//! take much: connections, bytes and time are limited. What is answered is decided by [`answer`].

pub(crate) mod answer;

use crate::facts;
use crate::host::{Call, Host};
use crate::ledger::{self, ChannelKey};
use crate::limited::Limited;
use anyhow::Context;
use contract::peer::channel::{Channel, ChannelError};
use contract::peer::{MAX_REQUEST, MAX_RESPONSE, Response};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Connections at a time; one more is closed at once.
const MAX_CONNECTIONS: usize = 16;

/// The time that a connection may take in all.
const MAX_TIME: Duration = Duration::from_secs(20);

/// The time that another machine may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long to wait when the kernel hands out no connection, such as for want of memory.
const PAUSE: Duration = Duration::from_secs(1);

/// Listens on the port of the peers' channel, for IPv4 and IPv6.
pub fn listen() -> anyhow::Result<TcpListener> {
    let port = contract::port::PEER;
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    // A kernel without IPv6 has no such socket.
    TcpListener::bind(any)
        .or_else(|_| TcpListener::bind(("0.0.0.0", port)))
        .with_context(|| format!("listening for peers on port {port}"))
}

/// Answers in the background for as long as the process runs. A machine that cannot listen still becomes
/// Ready; the log says why nobody can ask it.
pub fn start(host: &'static dyn Host) {
    match listen() {
        Ok(listener) => {
            thread::spawn(move || serve(host, &listener));
        }
        Err(error) => tracing::error!("{error:#}"),
    }
}

/// Answers for as long as the process runs.
pub fn serve(host: &dyn Host, listener: &TcpListener) {
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        loop {
            let (stream, from) = match listener.accept() {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!("accepting a peer's connection: {error}");
                    thread::sleep(PAUSE);
                    continue;
                }
            };
            if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(%from, "too many connections of peers at once");
                continue;
            }
            let open = &open;
            let connection = move || {
                converse(host, stream, from);
                open.fetch_sub(1, Ordering::Relaxed);
            };
            if let Err(error) = thread::Builder::new()
                .name("peer".into())
                .spawn_scoped(scope, connection)
            {
                open.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(%from, "starting a thread for a peer: {error}");
            }
        }
    });
}

fn converse(host: &dyn Host, stream: TcpStream, from: SocketAddr) {
    let secret = match facts::seed(host) {
        Ok(Some(seed)) => seed.cluster.secret,
        // There is nothing to prove, and nothing to say: the connection closes.
        Ok(None) => return,
        Err(error) => return tracing::warn!(%from, "a peer asks, but {error:#}"),
    };
    let own = match ledger::read::<ChannelKey>(host) {
        Ok(keys) => keys.map(|keys| keys.private),
        Err(error) => return tracing::warn!(%from, "a peer asks, but {error:#}"),
    };
    let exchange = || -> Result<(), ChannelError> {
        let stream = Limited::new(stream, MAX_TIME);
        let (mut channel, caller) = Channel::accept(stream, &secret, own.as_ref())?;
        let request = channel.receive(MAX_REQUEST)?;
        tracing::debug!(%from, ?caller, ?request, "a peer asks");
        channel.send(&answer::answer(host, caller, &request))
    };
    if let Err(error) = exchange() {
        let error = anyhow::Error::from(error);
        tracing::info!(%from, "a peer's connection ended: {error:#}");
    }
}

/// Asks another machine one question.
pub fn call(call: &Call) -> anyhow::Result<Response> {
    let stream = TcpStream::connect_timeout(&call.address, CONNECT)?;
    let stream = Limited::new(stream, MAX_TIME);
    let mut channel = Channel::join(stream, &call.secret, &call.own, &call.theirs)?;
    channel.send(&call.request)?;
    Ok(channel.receive(MAX_RESPONSE)?)
}

#[cfg(test)]
mod tests;
