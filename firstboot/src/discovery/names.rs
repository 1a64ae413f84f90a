//! The thread that resolves the seed's names, which may come to stand for other addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::PoisonError;
use std::time::Duration;

use contract::seed::discovery::Peer;

use super::Shared;

/// Between two questions for the same name.
const AGAIN: Duration = Duration::from_secs(60);

/// As long as a name is unknown: DNS may start later than we do.
const SOON: Duration = Duration::from_secs(5);

/// Resolves until the end; returns at once if there is no name.
pub(super) fn run(shared: &Shared) {
    let names: Vec<_> = shared
        .config
        .discovery
        .peers
        .iter()
        .filter_map(name)
        .collect();
    while !names.is_empty() && !shared.stopped() {
        let mut addresses = BTreeSet::new();
        let mut unknown = false;
        for name in &names {
            match resolve(name) {
                Ok(found) => addresses.extend(found),
                Err(error) => {
                    unknown = true;
                    tracing::info!("resolving {name}, one of discovery.peers: {error}");
                }
            }
        }
        let mut state = shared.state();
        state.targets.resolve(addresses);
        if shared.stopped() {
            return;
        }
        let pause = if unknown { SOON } else { AGAIN };
        let ended = |_: &mut super::State| !shared.stopped();
        let waited = shared.wake.wait_timeout_while(state, pause, ended);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

fn name(peer: &Peer) -> Option<&str> {
    match peer {
        Peer::Name(name) => Some(name),
        Peer::Address(_) | Peer::Range(_) => None,
    }
}

/// By the system's resolver: /etc/hosts, and A and AAAA records.
fn resolve(name: &str) -> std::io::Result<Vec<IpAddr>> {
    Ok((name, 0)
        .to_socket_addrs()?
        .map(|found| found.ip())
        .collect())
}
