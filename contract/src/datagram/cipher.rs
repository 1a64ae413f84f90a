//! Keys from the secret, and a datagram's header.

use crate::datagram::VERSION;
use crate::secret::Secret;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use siphasher::sip::SipHasher24;
use std::fmt;

/// Bytes of a salt.
pub(super) const SALT: usize = 16;

/// Bytes of XChaCha20-Poly1305's nonce.
const NONCE: usize = 24;

/// Bytes of a mark.
const MARK: usize = 8;

/// Bytes in front of what is sealed.
pub(super) const HEADER: usize = 1 + SALT + NONCE + MARK;

/// Bytes of Poly1305's tag.
pub(super) const TAG: usize = 16;

/// A sender's salt.
pub(super) type Salt = [u8; SALT];

/// What all datagrams of one secret have in common. `Debug` shows no key.
pub(super) struct Keys {
    secret: Secret,
    mark: SipHasher24,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys [redacted]")
    }
}

impl Keys {
    /// The keys of this secret, always: HKDF refuses lengths alone that are not asked for here.
    pub(super) fn new(secret: &Secret) -> Option<Self> {
        let key: [u8; 16] = derive(secret, None, b"seedbed datagram mark v1")?;
        Some(Keys {
            secret: secret.clone(),
            mark: SipHasher24::new_with_key(&key),
        })
    }

    /// The cipher of the sender that drew this salt, always as well.
    pub(super) fn cipher(&self, salt: &Salt) -> Option<XChaCha20Poly1305> {
        let key: [u8; 32] = derive(&self.secret, Some(salt), b"seedbed datagram v1")?;
        Some(XChaCha20Poly1305::new(&key.into()))
    }

    /// The header of a datagram.
    pub(super) fn header(&self, salt: &Salt, nonce: &[u8; NONCE]) -> [u8; HEADER] {
        let mut header = [VERSION; HEADER];
        let (_, rest) = header.split_at_mut(1);
        let (salt_part, rest) = rest.split_at_mut(SALT);
        salt_part.copy_from_slice(salt);
        rest[..NONCE].copy_from_slice(nonce);
        let mark = self.mark.hash(&header[..HEADER - MARK]);
        header[HEADER - MARK..].copy_from_slice(&mark.to_le_bytes());
        header
    }

    /// The parts of a header, if its mark was made by somebody who knows the secret.
    pub(super) fn parts<'d>(&self, header: &'d [u8; HEADER]) -> Option<Parts<'d>> {
        let (marked, mark) = header.split_last_chunk::<MARK>()?;
        let mark = u64::from_le_bytes(*mark);
        let (salt, nonce) = marked.get(1..)?.split_first_chunk::<SALT>()?;
        let good = self.mark.hash(marked) == mark;
        good.then_some(Parts {
            salt,
            nonce: XNonce::from_slice(nonce),
            mark,
        })
    }
}

/// What a header is made of.
pub(super) struct Parts<'d> {
    pub(super) salt: &'d Salt,
    pub(super) nonce: &'d XNonce,
    /// As good as a name of the datagram: no two have the same, but once in 2^64.
    pub(super) mark: u64,
}

/// A key by HKDF-SHA256; none if it is longer than 255 hashes.
fn derive<const N: usize>(secret: &Secret, salt: Option<&[u8]>, label: &[u8]) -> Option<[u8; N]> {
    let mut key = [0; N];
    let hkdf = Hkdf::<Sha256>::new(salt, secret.expose().as_bytes());
    hkdf.expand(label, &mut key).ok().map(|()| key)
}
