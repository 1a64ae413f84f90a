//! One end of the wire: seals what is sent, and opens what is received, under one secret.
//!
//! Nothing that a stranger sends costs more than one short hash or leaves a trace: keys and replay windows are
//! kept for datagrams that have opened only. What a stranger recorded and sends again is dropped as cheaply for
//! as long as it is among the last [`REMEMBERED`] datagrams taken; older ones cost an opening, and are then
//! found out by the window of beacons.

use crate::datagram::cipher::{self, HEADER, Keys, Salt};
use crate::datagram::recent::Recent;
use crate::datagram::window::Window;
use crate::datagram::{
    Incarnation, MAX_DATAGRAM, MAX_SEALED, MachineId, Payload, PayloadError, VERSION, Way, frame,
};
use crate::secret::Secret;
use chacha20poly1305::aead::{Aead, Payload as Sealed};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use std::fmt;

/// Senders whose keys and windows are kept: those heard last.
pub const SENDERS: usize = 4096;

/// Datagrams taken last, of which copies are known without opening them.
pub const REMEMBERED: usize = 16_384;

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The payload breaks a limit.
    #[error("a payload cannot be sent")]
    Payload(#[source] PayloadError),
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// The cipher refused, which it does for lengths alone that nothing here has.
    #[error("the cipher refused a length")]
    Cipher,
}

/// What was in a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The payload.
    pub payload: Payload,
    /// How it was sent.
    pub way: Way,
}

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is longer than any datagram of ours.
    #[error("it is longer than {MAX_DATAGRAM} bytes")]
    Oversized,
    /// It has another version, or a length that none of ours has.
    #[error("it is no datagram of this protocol")]
    Garbage,
    /// Its sender does not know the secret, or it was changed on its way.
    #[error("it is not sealed under this secret, or was changed")]
    Forged,
    /// It is one of our own that came back.
    #[error("it is our own")]
    Own,
    /// It was taken before: several paths lead here, or somebody sends what he recorded.
    #[error("it was taken before")]
    Replayed,
    /// It is sealed under the secret, but says nothing that this version understands.
    #[error("what it says is not understood; do both sides have the same version?")]
    Unreadable,
}

/// How many datagrams came, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All that came.
    pub received: u64,
    /// Those that were opened and are new.
    pub taken: u64,
    /// See [`Refusal::Oversized`].
    pub oversized: u64,
    /// See [`Refusal::Garbage`].
    pub garbage: u64,
    /// See [`Refusal::Forged`].
    pub forged: u64,
    /// See [`Refusal::Own`].
    pub own: u64,
    /// See [`Refusal::Replayed`].
    pub replayed: u64,
    /// See [`Refusal::Unreadable`].
    pub unreadable: u64,
}

/// One end of the wire.
#[derive(Debug)]
pub struct Endpoint {
    keys: Keys,
    sender: Sender,
    /// The salts that this endpoint had before.
    former: Vec<Salt>,
    ciphers: Recent<Salt, Cipher>,
    taken: Recent<u64, ()>,
    windows: Recent<(MachineId, Incarnation), Window>,
    counters: Counters,
}

/// What this endpoint seals with.
#[derive(Debug)]
struct Sender {
    salt: Salt,
    cipher: Cipher,
    sealed: u32,
}

impl Endpoint {
    /// An endpoint with a salt of its own; it has heard nobody yet.
    pub fn new(secret: &Secret) -> Result<Self, SealError> {
        let keys = Keys::new(secret).ok_or(SealError::Cipher)?;
        let sender = Sender::new(&keys)?;
        Ok(Endpoint {
            keys,
            sender,
            former: Vec::new(),
            ciphers: Recent::new(SENDERS),
            taken: Recent::new(REMEMBERED),
            windows: Recent::new(SENDERS),
            counters: Counters::default(),
        })
    }

    /// A datagram that says this, once: each call gives another one.
    pub fn seal(&mut self, payload: &Payload, way: Way) -> Result<Vec<u8>, SealError> {
        let plain = payload.to_bytes().map_err(SealError::Payload)?;
        let plain = frame::write(&plain, way).ok_or(SealError::Cipher)?;
        if self.sender.sealed >= MAX_SEALED {
            let former = std::mem::replace(&mut self.sender, Sender::new(&self.keys)?);
            self.former.push(former.salt);
        }
        self.sender.sealed += 1;
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).map_err(SealError::Random)?;
        let header = self.keys.header(&self.sender.salt, &nonce);
        let text = Sealed {
            msg: &plain,
            aad: &header,
        };
        let sealed = self
            .sender
            .cipher
            .0
            .encrypt(XNonce::from_slice(&nonce), text);
        let mut datagram = header.to_vec();
        datagram.extend(sealed.map_err(|_| SealError::Cipher)?);
        Ok(datagram)
    }

    /// What a datagram says, if somebody who knows the secret says it to us for the first time.
    pub fn open(&mut self, datagram: &[u8]) -> Result<Opened, Refusal> {
        let opened = self.judge(datagram);
        let counters = &mut self.counters;
        counters.received += 1;
        let count = match &opened {
            Ok(_) => &mut counters.taken,
            Err(Refusal::Oversized) => &mut counters.oversized,
            Err(Refusal::Garbage) => &mut counters.garbage,
            Err(Refusal::Forged) => &mut counters.forged,
            Err(Refusal::Own) => &mut counters.own,
            Err(Refusal::Replayed) => &mut counters.replayed,
            Err(Refusal::Unreadable) => &mut counters.unreadable,
        };
        *count += 1;
        opened
    }

    /// What came so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The next datagram has another salt.
    #[cfg(test)]
    pub(super) fn exhaust(&mut self) {
        self.sender.sealed = MAX_SEALED;
    }

    /// The cheap questions first: a flood asks no others.
    fn judge(&mut self, datagram: &[u8]) -> Result<Opened, Refusal> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(Refusal::Oversized);
        }
        let (header, sealed) = datagram
            .split_first_chunk::<HEADER>()
            .filter(|(header, _)| header[0] == VERSION && frame::fits(datagram.len()))
            .ok_or(Refusal::Garbage)?;
        let parts = self.keys.parts(header).ok_or(Refusal::Forged)?;
        if *parts.salt == self.sender.salt || self.former.contains(parts.salt) {
            return Err(Refusal::Own);
        }
        if self.taken.contains(&parts.mark) {
            return Err(Refusal::Replayed);
        }
        let plain = self.decrypt(&parts, header, sealed)?;
        self.taken.insert(parts.mark, ());
        let (payload, way) = frame::read(&plain).ok_or(Refusal::Unreadable)?;
        let payload = Payload::from_bytes(payload).map_err(|_| Refusal::Unreadable)?;
        if let Payload::Beacon(beacon) = &payload {
            let sender = (beacon.machine, beacon.incarnation);
            let (boot, sequence) = (beacon.boot, beacon.sequence);
            if let Some(window) = self.windows.get(&sender) {
                if !window.take(boot, sequence) {
                    return Err(Refusal::Replayed);
                }
            } else {
                self.windows.insert(sender, Window::new(boot, sequence));
            }
        }
        Ok(Opened { payload, way })
    }

    fn decrypt(
        &mut self,
        parts: &cipher::Parts<'_>,
        header: &[u8; HEADER],
        sealed: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let text = Sealed {
            msg: sealed,
            aad: header,
        };
        if let Some(Cipher(cipher)) = self.ciphers.get(parts.salt) {
            return cipher
                .decrypt(parts.nonce, text)
                .map_err(|_| Refusal::Forged);
        }
        let cipher = self.keys.cipher(parts.salt).ok_or(Refusal::Forged)?;
        let plain = cipher
            .decrypt(parts.nonce, text)
            .map_err(|_| Refusal::Forged)?;
        self.ciphers.insert(*parts.salt, Cipher(cipher));
        Ok(plain)
    }
}

impl Sender {
    fn new(keys: &Keys) -> Result<Self, SealError> {
        let mut salt = Salt::default();
        getrandom::fill(&mut salt).map_err(SealError::Random)?;
        let cipher = Cipher(keys.cipher(&salt).ok_or(SealError::Cipher)?);
        Ok(Sender {
            salt,
            cipher,
            sealed: 0,
        })
    }
}

/// A cipher whose key `Debug` does not show.
struct Cipher(XChaCha20Poly1305);

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher [redacted]")
    }
}
