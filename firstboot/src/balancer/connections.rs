//! The connections that are open, each a task: find a server, connect to it, pass bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use crate::balancer::backends::Backends;
use crate::balancer::health::{Belief, Finding};
use crate::balancer::pool::Pool;
use crate::balancer::relay::relay;

/// Connections at a time; one more is refused. kubelet, kube-proxy and the control plane of one machine have some
/// tens.
pub(super) const MAX_CONNECTIONS: usize = 4096;

/// Time for one attempt to connect to a server, before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Silence after which the kernel asks whether the other side is still there, how often, and how many questions may
/// stay without an answer: a machine that lost its power is noticed in 25 s also where no check speaks for it.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_COUNT: u32 = 3;

/// All connections, and the servers that they may go to.
#[derive(Debug)]
pub(super) struct Connections {
    started: Instant,
    pool: RefCell<Pool>,
    open: RefCell<Open>,
    none_open: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    task: AbortHandle,
    /// `None` until it is connected: what is only tried goes on with the next one by itself.
    server: Option<SocketAddr>,
}

impl Connections {
    /// None, and no servers; `turn` is [`Pool::new`]'s.
    pub(super) fn new(turn: usize) -> Rc<Self> {
        Rc::new(Connections {
            started: Instant::now(),
            pool: RefCell::new(Pool::new(turn)),
            open: RefCell::default(),
            none_open: Notify::new(),
        })
    }

    /// Takes a client, or refuses it if there are too many.
    pub(super) fn admit(self: &Rc<Self>, client: TcpStream) {
        if self.count() >= MAX_CONNECTIONS {
            tracing::warn!("a connection is refused: {MAX_CONNECTIONS} are open");
            return refuse(&client);
        }
        let mut open = self.open.borrow_mut();
        let id = open.next;
        open.next += 1;
        // The task runs only after this function, so it is registered before it begins.
        let place = Place {
            connections: self.clone(),
            id,
            counted: None,
        };
        let task = spawn_local(serve(client, place)).abort_handle();
        let connection = Connection { task, server: None };
        open.connections.insert(id, connection);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.open.borrow().connections.len()
    }

    /// Returns once there is none.
    pub(super) async fn all_closed(&self) {
        while self.count() > 0 {
            self.none_open.notified().await;
        }
    }

    /// See [`Pool::replace`].
    pub(super) fn replace(&self, list: &Backends) {
        self.pool.borrow_mut().replace(list, self.started.elapsed());
    }

    /// See [`Pool::listed`].
    pub(super) fn listed(&self) -> Vec<SocketAddr> {
        self.pool.borrow().listed().collect()
    }

    /// See [`Pool::pause`].
    pub(super) fn pause(&self, server: SocketAddr) -> Option<Duration> {
        self.pool.borrow().pause(server)
    }

    /// Takes in what a check or a connection met, and acts on it.
    pub(super) fn observe(&self, server: SocketAddr, finding: Finding) {
        let changed = self.pool.borrow_mut().observe(server, finding);
        if let Some(belief) = changed {
            match belief {
                Belief::Healthy => tracing::info!("API server {server} answers"),
                _ => tracing::warn!(?finding, "API server {server} is down"),
            }
            self.sweep();
        }
    }

    /// Closes what [`Pool::doomed`] says.
    pub(super) fn sweep(&self) {
        let doomed = self.pool.borrow().doomed(self.started.elapsed());
        if doomed.is_empty() {
            return;
        }
        let open = self.open.borrow();
        let tasks = open.connections.values().filter(|connection| {
            connection
                .server
                .is_some_and(|server| doomed.contains(&server))
        });
        let tasks: Vec<AbortHandle> = tasks.map(|connection| connection.task.clone()).collect();
        drop(open);
        tracing::info!("closing {} connections to {doomed:?}", tasks.len());
        for task in tasks {
            task.abort();
        }
    }
}

/// A connection's entry among all; it goes with the task, however that ends.
struct Place {
    connections: Rc<Connections>,
    id: u64,
    /// The server at which the pool counts this connection.
    counted: Option<SocketAddr>,
}

impl Place {
    /// Chooses a server, in place of the one before.
    fn choose(&mut self, tried: &[SocketAddr]) -> Option<SocketAddr> {
        self.leave();
        self.counted = self.connections.pool.borrow_mut().choose(tried);
        self.counted
    }

    fn leave(&mut self) {
        if let Some(server) = self.counted.take() {
            self.connections.pool.borrow_mut().closed(server);
        }
    }

    /// From here on the connection shares the server's fate.
    fn connected(&self, server: SocketAddr) {
        let mut open = self.connections.open.borrow_mut();
        if let Some(connection) = open.connections.get_mut(&self.id) {
            connection.server = Some(server);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
        let mut open = self.connections.open.borrow_mut();
        open.connections.remove(&self.id);
        if open.connections.is_empty() {
            self.connections.none_open.notify_waiters();
        }
    }
}

async fn serve(client: TcpStream, mut place: Place) {
    let Some(server) = connect(&mut place).await else {
        tracing::debug!("a connection is refused: no API server takes it");
        return refuse(&client);
    };
    let passed = async {
        prepare(&client)?;
        prepare(&server)?;
        relay(&client, &server).await
    };
    if let Err(error) = passed.await {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Connects to the best server that can be reached.
async fn connect(place: &mut Place) -> Option<TcpStream> {
    let mut tried = Vec::new();
    while let Some(address) = place.choose(&tried) {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(server)) => {
                place.connected(address);
                return Some(server);
            }
            Ok(Err(error)) => {
                tracing::debug!("connecting to {address}: {error}");
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    place.connections.observe(address, Finding::Refused);
                }
            }
            // A burst of connections may be slow without any fault, so this is left to the checks.
            Err(_) => tracing::debug!("connecting to {address}: no answer"),
        }
        tried.push(address);
    }
    None
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}

/// Has the client see a reset when the stream is dropped, as if nobody listened.
fn refuse(client: &TcpStream) {
    if let Err(error) = sockopt::set_socket_linger(client, Some(Duration::ZERO)) {
        tracing::debug!("refusing a connection: {error}");
    }
}
