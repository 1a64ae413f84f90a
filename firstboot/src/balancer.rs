//! The local load balancer: TCP connections on loopback, led to an API server that answers.
//!
//! kubelet, kube-proxy and kubectl use it as the API's address, so a machine needs no virtual address and no name
//! server to outlive any API server. TLS goes through from end to end. Which servers there are says a file that
//! `firstboot run` replaces ([`backends`]); which one a connection gets is decided by `Pool` and `Health`, which are
//! pure; `Probe` checks, `relay` moves bytes, and this file connects them. Nothing is written and nothing kept: a
//! balancer that is started again begins with checks.

pub mod backends;
mod connections;
mod health;
mod pool;
mod probe;
mod relay;
mod watch;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::balancer::backends::Backends;
use crate::balancer::connections::{Connections, MAX_CONNECTIONS};
use crate::balancer::probe::Probe;
use crate::balancer::watch::{Look, Watched};

/// Where it listens, on a machine: loopback, by both protocols.
pub const LISTEN: [SocketAddr; 2] = [
    SocketAddr::V4(SocketAddrV4::new(
        Ipv4Addr::LOCALHOST,
        contract::port::BALANCER,
    )),
    SocketAddr::V6(SocketAddrV6::new(
        Ipv6Addr::LOCALHOST,
        contract::port::BALANCER,
        0,
        0,
    )),
];

/// The certificate of the cluster's authority, on a machine.
pub const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";

/// Between two looks at the files.
const TICK: Duration = Duration::from_secs(1);

/// How long connections may go on after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait when the kernel hands out no connection, such as for want of memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Descriptors beside those of connections: listeners, checks, the runtime's own.
const SPARE_DESCRIPTORS: u64 = 256;

/// Balances until SIGTERM: listens at each of `listen`, reads [`Backends`] from the file `backends`, and checks
/// servers against the PEM file `authority`. Both files may come, change and go.
///
/// Fails if it can listen nowhere.
pub fn run(listen: &[SocketAddr], backends: &Path, authority: &Path) -> Result<()> {
    allow_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the balancer's runtime")?;
    let files = Files {
        backends: Watched::new(backends),
        authority: Watched::new(authority),
    };
    LocalSet::new().block_on(&runtime, serve(listen, files))
}

/// Each connection has two descriptors, and the usual limit is 1,024 in all.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = 2 * MAX_CONNECTIONS as u64 + SPARE_DESCRIPTORS;
    let allowed = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < allowed) {
        let raised = Rlimit {
            current: Some(allowed),
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("raising the limit of open files to {allowed}: {error}");
        }
    }
}

/// What others replace while the balancer runs.
struct Files {
    backends: Watched,
    authority: Watched,
}

async fn serve(listen: &[SocketAddr], mut files: Files) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate()).context("awaiting SIGTERM")?;
    let connections = Connections::new(RandomState::new().build_hasher().finish() as usize);
    let mut checks = Checks::new(connections.clone())?;
    checks.refresh(&mut files);
    let mut listeners = Vec::new();
    for address in listen {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!("listening on {}", listener.local_addr()?);
                listeners.push(spawn_local(accept(listener, connections.clone())));
            }
            // A kernel without IPv6 has no such address.
            Err(error) => tracing::warn!("listening on {address}: {error}"),
        }
    }
    if listeners.is_empty() {
        bail!("the balancer can listen at no address; stop what else uses the port");
    }
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                checks.refresh(&mut files);
                connections.sweep();
            }
            _ = terminated.recv() => break,
        }
    }
    for listener in listeners {
        listener.abort();
        // Its end is an error by its nature; what counts is that the socket is closed.
        let _ = listener.await;
    }
    tracing::info!("ending, with {} connections", connections.count());
    if timeout(GRACE, connections.all_closed()).await.is_err() {
        tracing::info!("closing {} connections", connections.count());
    }
    Ok(())
}

async fn accept(listener: TcpListener, connections: Rc<Connections>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => connections.admit(client),
            Err(error) => {
                tracing::warn!("accepting a connection: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// The checks of all servers that are listed.
struct Checks {
    connections: Rc<Connections>,
    probe: Probe,
    tasks: BTreeMap<SocketAddr, Task>,
}

impl Checks {
    /// None yet, and any certificate will do.
    fn new(connections: Rc<Connections>) -> Result<Self> {
        Ok(Checks {
            connections,
            probe: Probe::new(None)?,
            tasks: BTreeMap::new(),
        })
    }

    /// Looks at both files. One that makes no sense is reported, and changes nothing.
    fn refresh(&mut self, files: &mut Files) {
        let probe = match files.authority.look() {
            Ok(Look::Same) => None,
            Ok(Look::Absent) => Some(Probe::new(None)),
            Ok(Look::Content(pem)) => Some(
                Probe::new(Some(&pem))
                    .with_context(|| format!("reading {}", files.authority.path().display())),
            ),
            Err(error) => Some(Err(error)),
        };
        match probe {
            Some(Ok(probe)) => {
                // Every server is checked anew.
                self.probe = probe;
                self.tasks.clear();
            }
            Some(Err(error)) => tracing::warn!("{error:#}"),
            None => {}
        }
        let list = match files.backends.look() {
            Ok(Look::Same) => None,
            Ok(Look::Absent) => Some(Backends::default()),
            Ok(Look::Content(text)) => Backends::parse(&text)
                .with_context(|| format!("reading {}", files.backends.path().display()))
                .map_err(|error| tracing::warn!("{error:#}"))
                .ok(),
            Err(error) => {
                tracing::warn!("{error:#}");
                None
            }
        };
        if let Some(list) = list {
            tracing::info!(own = ?list.own, "API servers: {:?}", list.backends);
            self.connections.replace(&list);
        }
        self.start();
    }

    /// Starts what is listed and not checked, and ends what is checked and not listed.
    fn start(&mut self) {
        let listed = self.connections.listed();
        self.tasks.retain(|address, _| listed.contains(address));
        for address in listed {
            self.tasks.entry(address).or_insert_with(|| {
                let probe = self.probe.with_own_sessions();
                Task::spawn(check(address, probe, self.connections.clone()))
            });
        }
    }
}

async fn check(address: SocketAddr, probe: Probe, connections: Rc<Connections>) {
    loop {
        let finding = probe.check(address).await;
        connections.observe(address, finding);
        let Some(pause) = connections.pause(address) else {
            return;
        };
        sleep(pause).await;
    }
}

/// A task that ends when this is dropped.
struct Task(AbortHandle);

impl Task {
    fn spawn(future: impl Future<Output = ()> + 'static) -> Self {
        Task(spawn_local(future).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
