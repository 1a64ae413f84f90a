//! Signatures that were made once, given out again for the same image: who has a signed image can make it anew,
//! and compare, without the key.

use super::{Error, Signature};
use crate::signer::Signer;
use crate::x509::Certificate;

/// The signatures of one certificate.
#[derive(Clone, Debug)]
pub struct Recorded {
    certificate: Certificate,
    signatures: Vec<Signature>,
}

impl Recorded {
    /// Takes `signatures`, all of which came along with the same certificate. `None` if there are none.
    pub fn new(signatures: Vec<Signature>) -> Result<Option<Self>, Error> {
        let Some(first) = signatures.first() else {
            return Ok(None);
        };
        let certificate = first.certificate()?;
        for signature in &signatures {
            signature.verify(&certificate)?;
        }
        Ok(Some(Recorded {
            certificate,
            signatures,
        }))
    }
}

/// Nothing was ever signed with these contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a boot program is not the one that was signed")]
struct NeverSigned;

impl Signer for Recorded {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut same = self.signatures.iter().filter(|one| one.message == message);
        Ok(same.next().ok_or(NeverSigned)?.signature.clone())
    }
}
