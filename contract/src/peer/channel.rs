//! The channel itself, over anything that reads and writes: handshake, then documents both ways.
//!
//! Time limits are the stream's business; how much is read is limited here.

use crate::peer::keys::{PrivateKey, PublicKey};
use crate::peer::{MACHINE_NOISE, MAX_PLAIN, OPERATOR_NOISE, psk};
use crate::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snow::{Builder, HandshakeState, TransportState};
use std::io::{self, Read, Write};

/// What both sides mix into the handshake, so that it fits no other protocol with the same key.
const PROLOGUE: &[u8] = b"seedbed peer channel v1";

/// Bytes of a handshake message without payload: an ephemeral key and a tag.
const HANDSHAKE: usize = 48;

/// Bytes of the first message of `IKpsk1`: the machine's own key with a tag comes on top. By its length the asked
/// machine tells who is asking.
const MACHINE_HANDSHAKE: usize = HANDSHAKE + 32 + TAG;

/// Bytes of a Noise message's tag.
const TAG: usize = 16;

/// Why a channel does not come about, or breaks.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The stream failed.
    #[error("the connection failed")]
    Stream(#[source] io::Error),
    /// The other side closed the connection in the middle.
    #[error("the other side closed the connection")]
    Closed,
    /// The other side has another secret.
    #[error("the other side does not know this secret")]
    Secret,
    /// What came is no message of this channel.
    #[error("the other side does not speak this protocol, or a message was changed on its way")]
    Message,
    /// A document is longer than whoever reads it allows.
    #[error("a document of more than {0} bytes is refused")]
    TooLong(usize),
    /// The document has another form than expected.
    #[error("a document has another form than expected; do both sides have the same version?")]
    Document(#[source] serde_json::Error),
    /// The cryptography does not work at all on this machine.
    #[error("the channel's cryptography cannot be set up")]
    Cryptography(#[source] snow::Error),
}

/// Who asks, once the handshake has proved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who knows the cluster secret.
    Operator,
    /// The machine with this key, which knows the cluster secret, too.
    Machine(PublicKey),
}

/// An established channel: both sides know the secret.
#[derive(Debug)]
pub struct Channel<S> {
    stream: S,
    noise: TransportState,
}

impl<S: Read + Write> Channel<S> {
    /// An operator's side.
    pub fn connect(stream: S, secret: &Secret) -> Result<Self, ChannelError> {
        let key = psk(secret);
        let noise = builder(OPERATOR_NOISE)?
            .psk(0, &key)
            .and_then(|builder| builder.build_initiator())
            .map_err(ChannelError::Cryptography)?;
        Channel::initiate(stream, noise)
    }

    /// The side of a machine with the key `own`, which asks the machine with the key `theirs`.
    pub fn join(
        stream: S,
        secret: &Secret,
        own: &PrivateKey,
        theirs: &PublicKey,
    ) -> Result<Self, ChannelError> {
        let key = psk(secret);
        let noise = builder(MACHINE_NOISE)?
            .psk(1, &key)
            .and_then(|builder| builder.local_private_key(own.expose()))
            .and_then(|builder| builder.remote_public_key(theirs.as_bytes()))
            .and_then(|builder| builder.build_initiator())
            .map_err(ChannelError::Cryptography)?;
        Channel::initiate(stream, noise)
    }

    fn initiate(mut stream: S, mut noise: HandshakeState) -> Result<Self, ChannelError> {
        write_handshake(&mut stream, &mut noise)?;
        let answer = read_frame(&mut stream, HANDSHAKE)?;
        // The machine says by an empty message that the keys differ.
        if answer.is_empty() {
            return Err(ChannelError::Secret);
        }
        noise
            .read_message(&answer, &mut [])
            .map_err(|_| ChannelError::Message)?;
        Channel::established(stream, noise)
    }

    /// The asked machine's side, with its key once it has one. The first message proves that the caller knows the
    /// secret, and of a machine that it has its key.
    pub fn accept(
        mut stream: S,
        secret: &Secret,
        own: Option<&PrivateKey>,
    ) -> Result<(Self, Caller), ChannelError> {
        let key = psk(secret);
        let first = read_frame(&mut stream, MACHINE_HANDSHAKE)?;
        let mut noise = match (first.len(), own) {
            (HANDSHAKE, _) => builder(OPERATOR_NOISE)?
                .psk(0, &key)
                .and_then(|builder| builder.build_responder()),
            (MACHINE_HANDSHAKE, Some(own)) => builder(MACHINE_NOISE)?
                .psk(1, &key)
                .and_then(|builder| builder.local_private_key(own.expose()))
                .and_then(|builder| builder.build_responder()),
            _ => return Err(ChannelError::Message),
        }
        .map_err(ChannelError::Cryptography)?;
        if noise.read_message(&first, &mut []).is_err() {
            write_frame(&mut stream, &[])?;
            return Err(ChannelError::Secret);
        }
        let caller = match noise.get_remote_static().map(<[u8; 32]>::try_from) {
            None => Caller::Operator,
            Some(Ok(key)) => Caller::Machine(PublicKey::new(key)),
            Some(Err(_)) => return Err(ChannelError::Message),
        };
        write_handshake(&mut stream, &mut noise)?;
        Ok((Channel::established(stream, noise)?, caller))
    }

    fn established(stream: S, noise: HandshakeState) -> Result<Self, ChannelError> {
        let noise = noise
            .into_transport_mode()
            .map_err(ChannelError::Cryptography)?;
        Ok(Channel { stream, noise })
    }

    /// Sends a document as JSON, in as many messages as it takes.
    pub fn send<T: Serialize>(&mut self, document: &T) -> Result<(), ChannelError> {
        let bytes = serde_json::to_vec(document).map_err(ChannelError::Document)?;
        let mut cipher = vec![0; MAX_PLAIN + TAG];
        // A message that is not full ends the document, so that a last full one is followed by an empty one.
        for start in (0..=bytes.len()).step_by(MAX_PLAIN) {
            let plain = &bytes[start..bytes.len().min(start + MAX_PLAIN)];
            let length = self
                .noise
                .write_message(plain, &mut cipher)
                .map_err(ChannelError::Cryptography)?;
            write_frame(&mut self.stream, &cipher[..length])?;
        }
        Ok(())
    }

    /// Receives a document of at most `limit` bytes.
    pub fn receive<T: DeserializeOwned>(&mut self, limit: usize) -> Result<T, ChannelError> {
        let mut bytes = Vec::new();
        let mut plain = vec![0; MAX_PLAIN];
        loop {
            let cipher = read_frame(&mut self.stream, MAX_PLAIN + TAG)?;
            let length = self
                .noise
                .read_message(&cipher, &mut plain)
                .map_err(|_| ChannelError::Message)?;
            if bytes.len() + length > limit {
                return Err(ChannelError::TooLong(limit));
            }
            bytes.extend_from_slice(&plain[..length]);
            if length < MAX_PLAIN {
                return serde_json::from_slice(&bytes).map_err(ChannelError::Document);
            }
        }
    }
}

fn builder(protocol: &str) -> Result<Builder<'_>, ChannelError> {
    let parameters = protocol.parse().map_err(ChannelError::Cryptography)?;
    Builder::new(parameters)
        .prologue(PROLOGUE)
        .map_err(ChannelError::Cryptography)
}

fn write_handshake(
    stream: &mut impl Write,
    noise: &mut HandshakeState,
) -> Result<(), ChannelError> {
    let mut message = [0; MACHINE_HANDSHAKE];
    let length = noise
        .write_message(&[], &mut message)
        .map_err(ChannelError::Cryptography)?;
    write_frame(stream, &message[..length])
}

/// Length in two bytes, big-endian, and the message, in one write.
fn write_frame(stream: &mut impl Write, message: &[u8]) -> Result<(), ChannelError> {
    let length =
        u16::try_from(message.len()).map_err(|_| ChannelError::TooLong(u16::MAX.into()))?;
    let mut frame = Vec::with_capacity(2 + message.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    stream
        .write_all(&frame)
        .and_then(|()| stream.flush())
        .map_err(ended)
}

fn read_frame(stream: &mut impl Read, most: usize) -> Result<Vec<u8>, ChannelError> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).map_err(ended)?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > most {
        return Err(ChannelError::Message);
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).map_err(ended)?;
    Ok(message)
}

fn ended(error: io::Error) -> ChannelError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => ChannelError::Closed,
        _ => ChannelError::Stream(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::keys::KeyPair;
    use std::os::unix::net::UnixStream;
    use std::thread;

    /// Runs both sides; the machine answers with the document it got, twice over.
    fn exchange(
        client: &str,
        machine: &str,
        text: &str,
    ) -> (Result<String, ChannelError>, Result<(), ChannelError>) {
        let (one, other) = UnixStream::pair().unwrap();
        let secret = Secret::new(machine);
        let machine = thread::spawn(move || {
            let (mut channel, caller) = Channel::accept(other, &secret, None)?;
            assert_eq!(caller, Caller::Operator);
            let text: String = channel.receive(1 << 20)?;
            channel.send(&format!("{text}{text}"))
        });
        let run = || {
            let mut channel = Channel::connect(one, &Secret::new(client))?;
            channel.send(&text)?;
            channel.receive(1 << 20)
        };
        (run(), machine.join().unwrap())
    }

    #[test]
    fn documents_of_all_lengths_arrive() {
        // JSON adds two quotes, so some of these fill whole messages.
        for length in [
            0,
            1,
            MAX_PLAIN - 3,
            MAX_PLAIN - 2,
            MAX_PLAIN - 1,
            MAX_PLAIN,
            2 * MAX_PLAIN - 2,
            300_000,
        ] {
            let text = "x".repeat(length);
            let (answer, machine) = exchange("secret", "secret", &text);
            machine.unwrap();
            assert_eq!(answer.unwrap().len(), 2 * length);
        }
    }

    #[test]
    fn another_secret_is_told_to_both_sides() {
        let (answer, machine) = exchange("secret", "secrets", "x");
        assert!(matches!(answer, Err(ChannelError::Secret)), "{answer:?}");
        assert!(matches!(machine, Err(ChannelError::Secret)), "{machine:?}");
    }

    #[test]
    fn a_document_longer_than_allowed_is_refused() {
        let (answer, machine) = exchange("secret", "secret", &"x".repeat(1 << 20));
        assert!(answer.is_err());
        assert!(
            matches!(machine, Err(ChannelError::TooLong(_))),
            "{machine:?}"
        );
    }

    #[test]
    fn a_stranger_is_no_client() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\0\0",
            b"\0\x30short",
            b"",
            b"\0\x01x",
        ] {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(bytes).unwrap();
            one.shutdown(std::net::Shutdown::Write).unwrap();
            let error = Channel::accept(other, &Secret::new("secret"), None)
                .map(|_| ())
                .unwrap_err();
            assert!(
                matches!(error, ChannelError::Message | ChannelError::Closed),
                "{bytes:?} {error:?}"
            );
        }
    }

    /// A machine with `private` asks one that has `asked` and is taken for `public`.
    fn introduce(
        own: &KeyPair,
        asked: &KeyPair,
        public: PublicKey,
    ) -> (Result<String, ChannelError>, Result<Caller, ChannelError>) {
        let (one, other) = UnixStream::pair().unwrap();
        let asked = asked.private.clone();
        let machine = thread::spawn(move || {
            let (mut channel, caller) =
                Channel::accept(other, &Secret::new("secret"), Some(&asked))?;
            channel.send(&"welcome")?;
            Ok(caller)
        });
        let run = || {
            let secret = Secret::new("secret");
            Channel::join(one, &secret, &own.private, &public)?.receive(1 << 10)
        };
        (run(), machine.join().unwrap())
    }

    #[test]
    fn machines_know_each_other_by_their_keys() {
        let [own, asked, third] = [(); 3].map(|()| KeyPair::draw().unwrap());
        let (answer, caller) = introduce(&own, &asked, asked.public);
        assert_eq!(answer.unwrap(), "welcome");
        assert_eq!(caller.unwrap(), Caller::Machine(own.public));
        // Who has another key than it should is not told anything.
        let (answer, caller) = introduce(&own, &asked, third.public);
        assert!(matches!(answer, Err(ChannelError::Secret)), "{answer:?}");
        assert!(matches!(caller, Err(ChannelError::Secret)), "{caller:?}");
    }
}
