//! Signatures of kernel modules, as Linux takes them at a module's end (`include/linux/module_signature.h`).
//!
//! ```text
//! the module | SignedData of PKCS#7, detached | 12 bytes | "~Module signature appended~\n"
//!
//! 0  algorithm, hash: 0      2  kind: 2, PKCS#7      3  lengths of signer and key identifier: 0
//! 5  zeros                   8  length of SignedData, big-endian
//! ```
//!
//! The signature is over all bytes of the module before it. Reading it says nothing about who made it.

use crate::der::{self, SET, element};
use crate::pkcs7::{self, SignedData};
use crate::x509::Certificate;
use sha2::{Digest, Sha256};

const MAGIC: &[u8] = b"~Module signature appended~\n";
const TRAILER: usize = 12;
const KIND_PKCS7: u8 = 2;
/// The trailer up to the length.
const FIELDS: [u8; 8] = [0, 0, KIND_PKCS7, 0, 0, 0, 0, 0];

/// Why a signature is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Linux takes no other kind.
    #[error("its signature is of kind {0}, and Linux takes only kind 2, PKCS#7")]
    Kind(u8),
    /// A field that Linux wants to be zero is not.
    #[error("the fields behind its signature are not those of a module's")]
    Trailer,
    /// The trailer promises more than there is.
    #[error("its signature is said to have {0} bytes, and the module is shorter")]
    Length(u32),
    /// The bytes are no SignedData.
    #[error("its signature is no SignedData of PKCS#7")]
    Der(#[source] der::Error),
    /// Only SHA-256 is checked here.
    #[error("its signature is not made with SHA-256")]
    Digest,
    /// Attributes that are signed do not name the module's digest.
    #[error("its signature is over something else")]
    Attributes,
    /// Another certificate made it.
    #[error("its signature was made by another certificate")]
    OtherCertificate,
    /// The numbers do not fit.
    #[error("its signature does not hold: the module was changed after it was signed")]
    Invalid,
}

/// The signature at the end of a module.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    module: &'a [u8],
    data: SignedData<'a>,
}

/// The signature of a module that is not compressed (any more); `None` if it has none.
pub fn read(file: &[u8]) -> Result<Option<Signature<'_>>, Error> {
    let Some(signed) = file.strip_suffix(MAGIC) else {
        return Ok(None);
    };
    let Some((rest, trailer)) = signed.split_last_chunk::<TRAILER>() else {
        return Err(Error::Length(0));
    };
    let [.., a, b, c, d] = *trailer;
    let length = u32::from_be_bytes([a, b, c, d]);
    if trailer[2] != KIND_PKCS7 {
        return Err(Error::Kind(trailer[2]));
    }
    if trailer[..8] != FIELDS {
        return Err(Error::Trailer);
    }
    let start = usize::try_from(length)
        .ok()
        .and_then(|length| rest.len().checked_sub(length));
    let (module, data) = rest.split_at(start.ok_or(Error::Length(length))?);
    let data = SignedData::parse(data).map_err(Error::Der)?;
    Ok(Some(Signature { module, data }))
}

impl<'a> Signature<'a> {
    /// Whom it names as its signer: IssuerAndSerialNumber of PKCS#7, in DER. See [`Certificate::issuer_and_serial`].
    pub fn signer(&self) -> &'a [u8] {
        self.data.issuer_and_serial
    }

    /// Checks that `certificate` made it over this module.
    pub fn verify(&self, certificate: &Certificate) -> Result<(), Error> {
        if self.signer() != certificate.issuer_and_serial() {
            return Err(Error::OtherCertificate);
        }
        if self.data.digest != pkcs7::SHA256 {
            return Err(Error::Digest);
        }
        let holds = match self.data.attributes {
            None => certificate.verify(self.module, self.data.signature),
            Some(attributes) => {
                let digest = Sha256::digest(self.module).into();
                if !self.data.attributes_name(pkcs7::DATA, &digest) {
                    return Err(Error::Attributes);
                }
                certificate.verify(&element(SET, &[attributes]), self.data.signature)
            }
        };
        holds.then_some(()).ok_or(Error::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: u8, length: u32, data: &[u8]) -> Vec<u8> {
        let trailer = [&[0, 0, kind, 0, 0, 0, 0, 0][..], &length.to_be_bytes()].concat();
        [b"module", data, &trailer, MAGIC].concat()
    }

    #[test]
    fn what_linux_does_not_take_is_refused() {
        assert!(read(b"module").unwrap().is_none());
        assert!(read(b"").unwrap().is_none());
        let error = |file: &[u8]| read(file).unwrap_err().to_string();
        assert!(error(MAGIC).contains("shorter"));
        assert!(error(&file(1, 0, b"")).contains("kind 1"));
        let mut odd = file(2, 0, b"");
        odd[6] = 1;
        assert!(error(&odd).contains("fields behind"));
        assert!(error(&file(2, 7, b"")).contains("7 bytes"));
        assert!(error(&file(2, u32::MAX, b"data")).contains("4294967295 bytes"));
        assert!(error(&file(2, 4, b"data")).contains("no SignedData"));
    }
}
