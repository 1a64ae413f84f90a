//! API servers as the balancer sees them: TLS with an answer to `/readyz`, and, for connections of clients, a byte
//! that names the server followed by whatever the client sends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 22;

/// A cluster's authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let names = [String::from("kubernetes.default.svc")];
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

struct State {
    name: u8,
    acceptor: TlsAcceptor,
    /// Connections are taken, and nothing is ever said.
    hangs: AtomicBool,
    status: AtomicU16,
    checks: AtomicUsize,
}

/// A server that runs until it is dropped, which closes all its connections as the end of a process does.
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Starts the server `name` at a free port.
    pub(crate) fn start(name: u8, authority: &Authority) -> ApiServer {
        ApiServer::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), name, authority)
    }

    pub(crate) fn start_at(address: SocketAddr, name: u8, authority: &Authority) -> ApiServer {
        let state = Arc::new(State {
            name,
            acceptor: authority.acceptor(),
            hangs: AtomicBool::new(false),
            status: AtomicU16::new(200),
            checks: AtomicUsize::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let (bound, address_bound) = std::sync::mpsc::channel();
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(address).unwrap();
                let listener = socket.listen(4096).unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                let accept = async {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        tokio::spawn(answer(stream, shared.clone()));
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        ApiServer {
            address: address_bound.recv().unwrap(),
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn hang(&self) {
        self.state.hangs.store(true, Ordering::SeqCst);
    }

    /// What `/readyz` answers from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    /// How often `/readyz` was asked.
    pub(crate) fn checks(&self) -> usize {
        self.state.checks.load(Ordering::SeqCst)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn answer(stream: TcpStream, state: Arc<State>) {
    let mut first = [0];
    let there = stream.peek(&mut first).await;
    if state.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    // Whatever goes wrong is the other side's end.
    let _ = match (there, first) {
        (Ok(1), [HANDSHAKE]) => ready(stream, &state).await,
        (Ok(1), _) => echo(stream, &state).await,
        _ => Ok(()),
    };
}

async fn ready(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut stream = state.acceptor.accept(stream).await?;
    let mut request = [0; 512];
    let n = stream.read(&mut request).await?;
    assert!(request[..n].starts_with(b"GET /readyz HTTP/1.1\r\n"));
    assert!(request[..n].ends_with(b"\r\n\r\n"));
    state.checks.fetch_add(1, Ordering::SeqCst);
    let status = state.status.load(Ordering::SeqCst);
    let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

async fn echo(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(&[state.name]).await?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = stream.read(&mut buffer).await?;
        while state.hangs.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if n == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..n]).await?;
    }
}
