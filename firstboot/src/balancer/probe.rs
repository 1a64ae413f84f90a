//! The check of one API server: `GET /readyz` over TLS, without a client certificate.
//!
//! That a server takes connections proves little, since the kernel does that for a process that hangs. Nothing
//! secret is sent or learnt; clients verify the server for themselves, end to end. The authority is asked all the
//! same as soon as the machine has it: a stranger at the address of a former API server would answer every client
//! with a certificate that it refuses, and, since such connections are short, always have the fewest.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::any_certificate::AnyCertificate;
use crate::balancer::health::Finding;

/// Time for a whole check. A server on the same network answers within milliseconds, an emulated one within some
/// hundred.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A name that every API server's certificate has, whatever its address.
const NAME: &str = "kubernetes.default.svc";

const REQUEST: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: kubernetes.default.svc\r\nUser-Agent: seedbed-balancer\r\nConnection: close\r\n\r\n";

/// Length of the status line as far as its number: `HTTP/1.1 200`.
const STATUS: usize = 12;

/// TLS sessions that are kept to be taken up again, which spares the server a signature at each check.
const SESSIONS: usize = 4;

/// What checks have in common.
pub(super) struct Probe {
    config: Arc<ClientConfig>,
}

impl Probe {
    /// A check that takes any certificate, or only those of the authorities in a PEM text.
    pub(super) fn new(authority: Option<&[u8]>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match authority {
            None => Arc::new(AnyCertificate(provider.clone())),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    roots.add(certificate.context("reading the authority's certificate")?)?;
                }
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build()
                    .context("preparing to verify API servers")?
            }
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("preparing TLS")?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Probe {
            config: Arc::new(config),
        })
    }

    /// The same for one server: all have one name, and no use for each other's sessions.
    pub(super) fn with_own_sessions(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Probe {
            config: Arc::new(config),
        }
    }

    /// Checks the server at `address`, within a second.
    pub(super) async fn check(&self, address: SocketAddr) -> Finding {
        let Ok(result) = tokio::time::timeout(TIMEOUT, self.ask(address)).await else {
            return Finding::Silent;
        };
        match result {
            Ok(finding) => finding,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Finding::Refused,
            Err(error) => {
                tracing::debug!(%address, "checking an API server: {error}");
                Finding::Silent
            }
        }
    }

    async fn ask(&self, address: SocketAddr) -> io::Result<Finding> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.config.clone());
        let mut stream = connector.connect(name, stream).await?;
        stream.write_all(REQUEST).await?;
        let mut status = [0; STATUS];
        stream.read_exact(&mut status).await?;
        Ok(finding(&status))
    }
}

/// What the beginning of an answer says. A refusal of anonymous questions is as good as an answer; a status of 500
/// is that of a server that is not ready.
fn finding(status: &[u8; STATUS]) -> Finding {
    match status {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', code @ ..]
            if [b"200", b"401", b"403"].contains(&code) =>
        {
            Finding::Alive
        }
        _ => Finding::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::{Probe, finding};
    use crate::balancer::health::Finding::{self, Alive, Silent};

    #[test]
    fn a_file_without_certificates_is_no_authority() {
        for pem in ["", "half a certif", "-----BEGIN CERTIFICATE-----\nAA=="] {
            assert!(Probe::new(Some(pem.as_bytes())).is_err(), "{pem}");
        }
    }

    #[test]
    fn answers_that_prove_an_api_server() {
        let check = |answer: &[u8; 12], expected: Finding| {
            let text = String::from_utf8_lossy(answer);
            assert_eq!(finding(answer), expected, "{text}");
        };
        check(b"HTTP/1.1 200", Alive);
        check(b"HTTP/1.0 200", Alive);
        check(b"HTTP/1.1 401", Alive);
        check(b"HTTP/1.1 403", Alive);
        check(b"HTTP/1.1 404", Silent);
        check(b"HTTP/1.1 500", Silent);
        check(b"HTTP/1.1 503", Silent);
        check(b"SSH-2.0-Open", Silent);
        check(b"HTTP/2.0 200", Silent);
    }
}
