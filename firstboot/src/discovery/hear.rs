//! The threads that hear: each waits at one socket.

use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use contract::datagram::{MAX_DATAGRAM, Payload, Way};

use super::Shared;
use super::sockets::Family;

/// How long to wait when the kernel gives an error in place of a datagram.
const PAUSE: Duration = Duration::from_millis(100);

/// Hears until the end.
pub(super) fn run(shared: &Shared, family: Family, heard: &SyncSender<(SocketAddr, Payload)>) {
    // One byte more than the longest datagram tells the longer ones.
    let mut buffer = [0; MAX_DATAGRAM + 1];
    while !shared.stopped() {
        match shared.sockets.receive(family, &mut buffer) {
            Ok(None) => {}
            Ok(Some((length, from))) => take(shared, &buffer[..length], from, heard),
            Err(error) => {
                tracing::warn!("listening for machines: {error}");
                thread::sleep(PAUSE);
            }
        }
    }
}

fn take(
    shared: &Shared,
    datagram: &[u8],
    from: SocketAddr,
    heard: &SyncSender<(SocketAddr, Payload)>,
) {
    let mut state = shared.state();
    let Ok(opened) = state.endpoint.open(datagram) else {
        return;
    };
    let verdict = state.hear(&opened.payload, opened.way, from, Instant::now());
    let answer = verdict
        .answer
        .then(|| state.beacon(Way::Unicast, shared.host.now()));
    drop(state);
    if verdict.news {
        shared.wake.notify_all();
    }
    match answer {
        Some(Ok(datagram)) => shared.send(from, &datagram),
        Some(Err(error)) => tracing::warn!("answering {from}: {error}"),
        None => {}
    }
    if verdict.deliver && heard.try_send((from, opened.payload)).is_err() {
        tracing::debug!("a datagram from {from} is lost: too many wait");
    }
}
