//! Who signs: a certificate, and somebody with its private key.
//!
//! The key is never here. It may be a file that the caller reads, or in a module or a service that gives
//! nothing but signatures away.

use crate::x509::Certificate;

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The holder of the key gave none.
    #[error("signing failed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A signature by another key, by another algorithm, or damaged.
    #[error(
        "the signature that was given ({got} bytes) does not hold under the certificate (RSA, PKCS#1 v1.5, SHA-256, {expected} bytes): do key and certificate belong together?"
    )]
    Mismatch {
        /// Bytes given.
        got: usize,
        /// Bytes that a signature by the certificate's key has.
        expected: usize,
    },
    /// A certificate of 4 GiB.
    #[error(
        "the signature with its certificate has {0} bytes, more than its length field can tell"
    )]
    TooLarge(usize),
}

/// A certificate with access to its private key.
pub trait Signer {
    /// The certificate that signatures hold under.
    fn certificate(&self) -> &Certificate;

    /// Signs `message`: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2), as many bytes as the modulus.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;
}

/// A signature over `message`, checked against the certificate: a key that belongs to another certificate
/// would otherwise be found out by a machine that does not boot.
pub(crate) fn sign(signer: &(impl Signer + ?Sized), message: &[u8]) -> Result<Vec<u8>, Error> {
    let signature = signer.sign(message).map_err(Error::Sign)?;
    match signer.certificate().verify(message, &signature) {
        true => Ok(signature),
        false => Err(Error::Mismatch {
            got: signature.len(),
            expected: signer.certificate().signature_len(),
        }),
    }
}
