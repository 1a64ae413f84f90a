//! One HTTP/1.1 request to a service on this machine, plain or over TLS with the cluster's own authority.
//!
//! Health probes, a few questions to the API server and etcd's JSON gateway need no more; what it does not do:
//! redirects, proxies, keep-alive, answers over 8 MiB.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::any_certificate::AnyCertificate;
use crate::limited::Limited;

const LIMIT: u64 = 8 << 20;

/// What to ask, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Address and port.
    pub address: SocketAddr,
    /// Path and query.
    pub path: String,
    /// What to send: `None` is a GET, a JSON document a POST.
    pub body: Option<String>,
    /// TLS, with the authority to trust and, if wanted, a client certificate; `None` is plain HTTP.
    pub tls: Option<Tls>,
    /// Time for the whole exchange.
    pub timeout: Duration,
}

/// PEM texts for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whom to believe.
    pub trust: Trust,
    /// Certificate and private key of the client.
    pub client: Option<(Vec<u8>, contract::secret::Secret)>,
}

/// Which servers are believed to be who they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those with a certificate by one of these, a PEM text.
    Authority(Vec<u8>),
    /// Any: for a question about its health to a program of this machine that signs its certificate itself.
    Anybody,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A GET of plain HTTP to a port on loopback.
    pub fn loopback(port: u16, path: &str) -> Self {
        Request {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            path: path.to_owned(),
            body: None,
            tls: None,
            timeout: Duration::from_secs(5),
        }
    }

    /// The same as a POST of a JSON document.
    pub fn post(self, body: String) -> Self {
        Request {
            body: Some(body),
            ..self
        }
    }

    /// The same over TLS.
    pub fn tls(self, tls: Tls) -> Self {
        Request {
            tls: Some(tls),
            ..self
        }
    }
}

/// Sends the request and reads the whole answer.
pub(super) fn ask(request: &Request) -> Result<Reply> {
    let scheme = if request.tls.is_some() {
        "https"
    } else {
        "http"
    };
    exchange(request)
        .with_context(|| format!("asking {scheme}://{}{}", request.address, request.path))
}

fn exchange(request: &Request) -> Result<Reply> {
    let begin = Instant::now();
    let stream = TcpStream::connect_timeout(&request.address, request.timeout)?;
    stream.set_nodelay(true)?;
    let mut stream = Limited::new(stream, request.timeout.saturating_sub(begin.elapsed()));
    let message = message(request);
    let mut answer = Vec::new();
    match &request.tls {
        None => {
            stream.write_all(message.as_bytes())?;
            read_all(&mut stream, &mut answer)?;
        }
        Some(tls) => {
            let name = ServerName::from(request.address.ip());
            let connection = rustls::ClientConnection::new(Arc::new(config(tls)?), name)?;
            let mut stream = rustls::StreamOwned::new(connection, stream);
            stream.write_all(message.as_bytes())?;
            read_all(&mut stream, &mut answer)?;
        }
    }
    parse(&answer)
}

fn message(request: &Request) -> String {
    let head = |method: &str| {
        format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: seedbed\r\nAccept: application/json, */*\r\nConnection: close\r\n",
            request.path, request.address
        )
    };
    match &request.body {
        None => head("GET") + "\r\n",
        Some(body) => {
            let length = body.len();
            head("POST")
                + &format!(
                    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                )
        }
    }
}

/// A peer that closes without TLS's goodbye has still answered: the body's length is checked afterwards.
fn read_all(stream: &mut dyn Read, answer: &mut Vec<u8>) -> Result<()> {
    match stream.take(LIMIT).read_to_end(answer) {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error.into()),
        _ => Ok(()),
    }
}

fn config(tls: &Tls) -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match &tls.trust {
        Trust::Authority(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.add(certificate.context("reading the authority's certificate")?)?;
            }
            builder.with_root_certificates(roots)
        }
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
    };
    let Some((certificate, key)) = &tls.client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
        .context("reading the client's private key")?;
    Ok(builder.with_client_auth_cert(chain.context("reading the client's certificate")?, key)?)
}

fn parse(answer: &[u8]) -> Result<Reply> {
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .context("the answer has no end of headers")?;
    let head = std::str::from_utf8(&answer[..end]).context("the answer's headers are not text")?;
    let body = &answer[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .context("the answer has no status line")?;
    let (mut chunked, mut length) = (false, None);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("content-length") {
            length = value.parse::<usize>().ok();
        }
    }
    let body = match (chunked, length) {
        (true, _) => dechunk(body)?,
        (false, Some(length)) => body
            .get(..length)
            .context("the answer is shorter than it says")?
            .to_vec(),
        (false, None) => body.to_vec(),
    };
    Ok(Reply { status, body })
}

fn dechunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|bytes| bytes == b"\r\n")
            .context("a chunk of the answer has no length")?;
        let size = std::str::from_utf8(&rest[..end])
            .ok()
            .and_then(|line| line.split(';').next())
            .and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok())
            .context("a chunk of the answer has no length")?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(body);
        }
        match (
            rest.get(..size),
            rest.get(size..).and_then(|r| r.strip_prefix(b"\r\n")),
        ) {
            (Some(chunk), Some(after)) => {
                body.extend_from_slice(chunk);
                rest = after;
            }
            _ => bail!("a chunk of the answer is cut off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reply, Request, ask, message, parse};
    use std::io::{Read, Write};
    use std::time::{Duration, Instant};

    #[test]
    fn answers_are_read_in_each_framing_and_cut_ones_refused() {
        let check = |answer: &str, expected: Option<(u16, &str)>| {
            let reply = parse(answer.as_bytes()).ok();
            let expected = expected.map(|(status, body)| Reply {
                status,
                body: body.into(),
            });
            assert_eq!(reply, expected, "{answer:?}");
        };
        check("HTTP/1.1 200 OK\r\n\r\nok", Some((200, "ok")));
        check(
            "HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nno!",
            Some((503, "no")),
        );
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno", None);
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n",
            Some((200, "abc")),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
            None,
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab",
            None,
        );
        check("nonsense", None);
        check("", None);
    }

    #[test]
    fn a_document_is_posted_with_its_length() {
        let request = Request::loopback(2379, "/v3/cluster/member/list").post(String::from("{}"));
        let text = message(&request);
        assert!(
            text.starts_with("POST /v3/cluster/member/list HTTP/1.1\r\n")
                && text.ends_with("\r\nContent-Length: 2\r\n\r\n{}"),
            "{text}"
        );
    }

    #[test]
    fn a_server_that_drips_is_given_up_in_time() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(b"H").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let request = Request {
            timeout: Duration::from_millis(200),
            ..Request::loopback(port, "/health")
        };
        let begin = Instant::now();
        assert!(ask(&request).is_err());
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_server_on_loopback_is_asked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let n = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhealthy").unwrap();
            String::from_utf8(request[..n].to_vec()).unwrap()
        });
        let reply = ask(&Request::loopback(port, "/health")).unwrap();
        assert_eq!(
            (reply.status, reply.body.as_slice()),
            (200, &b"healthy"[..])
        );
        assert!(
            server
                .join()
                .unwrap()
                .starts_with("GET /health HTTP/1.1\r\n")
        );
    }
}
