//! The keys by which machines know each other on the channel: X25519 (RFC 7748), drawn once per machine. And the key
//! that the control plane's machines hand each other, since its text is like theirs.

use std::fmt;

use crate::peer::MACHINE_NOISE;
use crate::peer::channel::ChannelError;
use serde::{Deserialize, Serialize};

/// A machine's public key; as text, 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// A machine's private key. `Debug` says `[redacted]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrivateKey([u8; 32]);

/// Both keys of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// Known to the machine alone.
    pub private: PrivateKey,
    /// What others know it by.
    pub public: PublicKey,
}

/// What the cluster's Secrets are encrypted with in etcd: 32 bytes for XSalsa20-Poly1305. `Debug` says `[redacted]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EncryptionKey([u8; 32]);

/// The text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits")]
pub struct BadKey;

impl KeyPair {
    /// Draws a pair from the system's randomness.
    pub fn draw() -> Result<Self, ChannelError> {
        let parameters = MACHINE_NOISE.parse().map_err(ChannelError::Cryptography)?;
        let drawn = snow::Builder::new(parameters)
            .generate_keypair()
            .map_err(ChannelError::Cryptography)?;
        let array = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| ChannelError::Message);
        Ok(KeyPair {
            private: PrivateKey(array(drawn.private)?),
            public: PublicKey(array(drawn.public)?),
        })
    }
}

impl PublicKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        PublicKey(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PrivateKey {
    /// Its bytes. The name is long so that a reader of the code sees each place.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl EncryptionKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        EncryptionKey(bytes)
    }

    /// Its bytes. The name is long so that a reader of the code sees each place.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digits(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl From<PrivateKey> for String {
    fn from(key: PrivateKey) -> Self {
        digits(&key.0)
    }
}

impl From<EncryptionKey> for String {
    fn from(key: EncryptionKey) -> Self {
        digits(&key.0)
    }
}

impl TryFrom<String> for EncryptionKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        parse(&text).map(EncryptionKey)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        parse(&text).map(PublicKey)
    }
}

impl TryFrom<String> for PrivateKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        parse(&text).map(PrivateKey)
    }
}

fn digits(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(text: &str) -> Result<[u8; 32], BadKey> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(BadKey);
    }
    for (byte, two) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let two = std::str::from_utf8(two).map_err(|_| BadKey)?;
        *byte = u8::from_str_radix(two, 16).map_err(|_| BadKey)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_digits_and_private_ones_never_shown() {
        let pair = KeyPair::draw().unwrap();
        let text = serde_json::to_string(&pair.public).unwrap();
        assert_eq!(
            serde_json::from_str::<PublicKey>(&text).unwrap(),
            pair.public
        );
        let text = serde_json::to_string(&pair.private).unwrap();
        assert_eq!(
            serde_json::from_str::<PrivateKey>(&text).unwrap(),
            pair.private
        );
        assert_eq!(format!("{:?}", pair.private), "[redacted]");
        let key = EncryptionKey::new([7; 32]);
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<EncryptionKey>(&text).unwrap(), key);
        assert_eq!(format!("{key:?}"), "[redacted]");
        for bad in ["\"\"", "\"00\"", &format!("\"{}\"", "+0".repeat(32))] {
            assert!(serde_json::from_str::<PublicKey>(bad).is_err(), "{bad}");
        }
    }
}
