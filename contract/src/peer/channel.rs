//! The channel itself, over anything that reads and writes: handshake, then documents both ways.
//!
//! Time limits are the stream's business; how much is read is limited here.

use crate::peer::{MAX_PLAIN, NOISE, psk};
use crate::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snow::{Builder, HandshakeState, TransportState};
use std::io::{self, Read, Write};

/// What both sides mix into the handshake, so that it fits no other protocol with the same key.
const PROLOGUE: &[u8] = b"seedbed peer channel v1";

/// Bytes of a handshake message of `NNpsk0` without payload: an ephemeral key and a tag.
const HANDSHAKE: usize = 48;

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

/// An established channel: both sides know the secret.
#[derive(Debug)]
pub struct Channel<S> {
    stream: S,
    noise: TransportState,
}

impl<S: Read + Write> Channel<S> {
    /// The client's side.
    pub fn connect(mut stream: S, secret: &Secret) -> Result<Self, ChannelError> {
        let key = psk(secret);
        let mut noise = builder(&key)?
            .build_initiator()
            .map_err(ChannelError::Cryptography)?;
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

    /// The machine's side. The client's first message proves that it knows the secret.
    pub fn accept(mut stream: S, secret: &Secret) -> Result<Self, ChannelError> {
        let key = psk(secret);
        let mut noise = builder(&key)?
            .build_responder()
            .map_err(ChannelError::Cryptography)?;
        let first = read_frame(&mut stream, HANDSHAKE)?;
        if first.len() != HANDSHAKE {
            return Err(ChannelError::Message);
        }
        if noise.read_message(&first, &mut []).is_err() {
            write_frame(&mut stream, &[])?;
            return Err(ChannelError::Secret);
        }
        write_handshake(&mut stream, &mut noise)?;
        Channel::established(stream, noise)
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

fn builder(key: &[u8; 32]) -> Result<Builder<'_>, ChannelError> {
    let parameters = NOISE.parse().map_err(ChannelError::Cryptography)?;
    let builder = Builder::new(parameters)
        .psk(0, key)
        .and_then(|builder| builder.prologue(PROLOGUE));
    builder.map_err(ChannelError::Cryptography)
}

fn write_handshake(
    stream: &mut impl Write,
    noise: &mut HandshakeState,
) -> Result<(), ChannelError> {
    let mut message = [0; HANDSHAKE];
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
            let mut channel = Channel::accept(other, &secret)?;
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
            let error = Channel::accept(other, &Secret::new("secret"))
                .map(|_| ())
                .unwrap_err();
            assert!(
                matches!(error, ChannelError::Message | ChannelError::Closed),
                "{bytes:?} {error:?}"
            );
        }
    }
}
