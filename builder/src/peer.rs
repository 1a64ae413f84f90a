//! The operator's side of the peers' channel: one question to one machine.

pub mod plain;

use crate::peer::plain::plain;
use anyhow::{Context, anyhow, bail};
use contract::peer::channel::{Channel, ChannelError};
use contract::peer::{MAX_RESPONSE, Request, Response};
use contract::port::PEER;
use contract::secret::Secret;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a machine may take to accept, and then for each piece of its answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// An answer, and when it came.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The answer; its reasons are fit for a terminal, its documents are as they came.
    pub response: Response,
    /// When the question was sent, by this computer's clock: time since 1970.
    pub sent: Duration,
    /// How long it took from then until the answer was there.
    pub took: Duration,
}

/// Asks the machine at `address`: a name or an IP address, with a port or without.
pub fn ask(address: &str, secret: &Secret, request: &Request) -> anyhow::Result<Response> {
    Ok(exchange(address, secret, request, PATIENCE)?.response)
}

/// The same with times; each piece of the answer may take as long as `patience`.
pub fn exchange(
    address: &str,
    secret: &Secret,
    request: &Request,
    patience: Duration,
) -> anyhow::Result<Exchange> {
    let stream = connect(address, patience)?;
    let exchange = || -> Result<Exchange, ChannelError> {
        let mut channel = Channel::connect(&stream, secret)?;
        let sent = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let begin = Instant::now();
        channel.send(request)?;
        let response = match channel.receive(MAX_RESPONSE)? {
            Response::NotYet(reason) => Response::NotYet(plain(&reason)),
            Response::Refused(reason) => Response::Refused(plain(&reason)),
            Response::Barred(reason) => Response::Barred(plain(&reason)),
            other => other,
        };
        Ok(Exchange {
            response,
            sent,
            took: begin.elapsed(),
        })
    };
    exchange()
        .map_err(|error| match error {
            ChannelError::Secret => {
                anyhow!("the machine does not know this secret: is the seed that of its cluster?")
            }
            ChannelError::Closed => {
                anyhow!("the machine closed the connection; it may not have found a seed yet")
            }
            error => anyhow::Error::from(error),
        })
        .with_context(|| format!("asking {address}"))
}

fn connect(address: &str, patience: Duration) -> anyhow::Result<TcpStream> {
    let connecting = || format!("connecting to {address}");
    let mut last = anyhow!("the name has no address");
    for target in resolve(address).with_context(connecting)? {
        match TcpStream::connect_timeout(&target, patience) {
            Ok(stream) => {
                stream
                    .set_read_timeout(Some(patience))
                    .with_context(connecting)?;
                stream
                    .set_write_timeout(Some(patience))
                    .with_context(connecting)?;
                return Ok(stream);
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last).with_context(connecting)
}

/// Every address that the text may mean; without a port, the channel's own.
fn resolve(address: &str) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::from((ip, PEER))]);
    }
    match address.rsplit_once(':') {
        Some(_) => address.to_socket_addrs().map(Iterator::collect),
        None => (address, PEER).to_socket_addrs().map(Iterator::collect),
    }
}

/// The kubeconfig with every server replaced by `server`, an address that the operator can reach. The file is
/// changed in these lines only.
pub fn with_server(kubeconfig: &str, server: &str) -> anyhow::Result<String> {
    if !server.starts_with("https://")
        || server.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        bail!("{server:?} is not the address of an API server: write it as https://HOST:6443");
    }
    let mut replaced = 0;
    let mut text = String::with_capacity(kubeconfig.len());
    for line in kubeconfig.lines() {
        match line.split_once("server:") {
            Some((indent, _)) if indent.chars().all(|c| c == ' ' || c == '-') => {
                text.push_str(&format!("{indent}server: {server}\n"));
                replaced += 1;
            }
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    if replaced == 0 {
        bail!("the machine's kubeconfig names no server");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const KUBECONFIG: &str = "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: c2VydmVyOg==
    server: https://api.plant-7.internal:7443
  name: plant-7
";

    /// A machine with `secret` that answers one question.
    fn machine(secret: &'static str, response: Response) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let (mut channel, _) = Channel::accept(&stream, &Secret::new(secret), None).ok()?;
            let _: Request = channel.receive(4096).ok()?;
            channel.send(&response).ok()
        });
        address.to_string()
    }

    #[test]
    fn a_question_is_answered() {
        let response = Response::Document(KUBECONFIG.into());
        let address = machine("secret", response.clone());
        assert_eq!(
            ask(&address, &Secret::new("secret"), &Request::Kubeconfig).unwrap(),
            response
        );
    }

    #[test]
    fn what_goes_wrong_is_told_apart() {
        let address = machine("another", Response::NotYet("x".into()));
        let shown = format!(
            "{:#}",
            ask(&address, &Secret::new("secret"), &Request::Status).unwrap_err()
        );
        assert!(
            shown.contains("the machine does not know this secret"),
            "{shown}"
        );
        assert!(shown.starts_with(&format!("asking {address}")), "{shown}");

        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap().to_string();
        drop(closed);
        let shown = format!(
            "{:#}",
            ask(&address, &Secret::new("secret"), &Request::Status).unwrap_err()
        );
        assert!(
            shown.starts_with(&format!("connecting to {address}")),
            "{shown}"
        );
    }

    #[test]
    fn addresses_have_the_channels_port_unless_another_is_given() {
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7:7444"),
            ("192.0.2.7:1", "192.0.2.7:1"),
            ("2001:db8::7", "[2001:db8::7]:7444"),
            ("[2001:db8::7]", "[2001:db8::7]:7444"),
            ("[2001:db8::7]:1", "[2001:db8::7]:1"),
        ] {
            let addresses = resolve(text).unwrap();
            assert_eq!(
                addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
                [expected]
            );
        }
    }

    #[test]
    fn the_server_is_replaced_and_nothing_else() {
        let text = with_server(KUBECONFIG, "https://192.0.2.7:6443").unwrap();
        let expected = KUBECONFIG.replace(
            "https://api.plant-7.internal:7443",
            "https://192.0.2.7:6443",
        );
        assert_eq!(text, expected);
        for bad in [
            "192.0.2.7:6443",
            "https://x\nusers: []",
            "https://x y",
            "http://x",
        ] {
            assert!(with_server(KUBECONFIG, bad).is_err(), "{bad}");
        }
        assert!(with_server("apiVersion: v1\n", "https://x:6443").is_err());
    }
}
