//! X.509 certificates (RFC 5280), as far as checking a signature under one needs: who issued it, its serial
//! number and its RSA key.
//!
//! Neither chains nor validity are looked at. Firmware takes a certificate because it is in its databases,
//! and does not look at the dates, since its clock may be wrong.

use crate::der::{self, BIT_STRING, INTEGER, OBJECT_IDENTIFIER, Reader, SEQUENCE, context};
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey, traits::PublicKeyParts};
use sha2::{Digest, Sha256};

/// rsaEncryption, 1.2.840.113549.1.1.1.
pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// DigestInfo of SHA-256 up to the digest (RFC 8017, section 9.2).
const SHA256_DIGEST_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
/// Fewer bits are too weak; the `rsa` crate refuses more than 4096.
const MIN_BITS: usize = 2048;

/// Why bytes are no certificate that can be used here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no certificate in DER.
    #[error("it is no X.509 certificate in DER")]
    Der(#[source] der::Error),
    /// Another kind of key, which firmware does not take.
    #[error("its key is not RSA")]
    NotRsa,
    /// A key that is too weak, too long or no key at all.
    #[error("its RSA key is not usable: 2048 to 4096 bits and an odd exponent are needed")]
    Key,
}

/// A certificate with an RSA key.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    issuer_and_serial: Vec<u8>,
    key: RsaPublicKey,
}

impl Certificate {
    /// Reads a certificate in DER.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (issuer_and_serial, key) = fields(bytes).map_err(Error::Der)?;
        Ok(Certificate {
            der: bytes.to_vec(),
            issuer_and_serial,
            key: public_key(key)?,
        })
    }

    /// The certificate's bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The length of its key, and of every signature by it, in bytes.
    pub fn signature_len(&self) -> usize {
        self.key.size()
    }

    /// Whether `signature` is one over `message` by the certificate's key: RSASSA-PKCS1-v1_5 with SHA-256.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let scheme = Pkcs1v15Sign {
            hash_len: Some(32),
            prefix: SHA256_DIGEST_INFO.into(),
        };
        let digest = Sha256::digest(message);
        self.key.verify(scheme, &digest, signature).is_ok()
    }

    /// How a signature names the certificate: IssuerAndSerialNumber of PKCS#7.
    pub fn issuer_and_serial(&self) -> &[u8] {
        &self.issuer_and_serial
    }
}

/// IssuerAndSerialNumber, and the content of SubjectPublicKeyInfo.
fn fields(bytes: &[u8]) -> Result<(Vec<u8>, Reader<'_>), der::Error> {
    let mut outer = Reader::new(bytes);
    let certificate = outer.take(SEQUENCE, "Certificate")?;
    outer.end("Certificate: something follows it")?;
    let mut certificate = certificate.inside();
    let mut fields = certificate.take(SEQUENCE, "TBSCertificate")?.inside();
    certificate.take(SEQUENCE, "signatureAlgorithm")?;
    certificate.take(BIT_STRING, "signatureValue")?;
    certificate.end("end of Certificate")?;
    fields.optional(context(0));
    let serial = fields.take(INTEGER, "serialNumber")?;
    fields.take(SEQUENCE, "signature")?;
    let issuer = fields.take(SEQUENCE, "issuer")?;
    fields.take(SEQUENCE, "validity")?;
    fields.take(SEQUENCE, "subject")?;
    let key = fields.take(SEQUENCE, "subjectPublicKeyInfo")?;
    let name = der::element(SEQUENCE, &[issuer.whole, serial.whole]);
    Ok((name, key.inside()))
}

fn public_key(mut info: Reader<'_>) -> Result<RsaPublicKey, Error> {
    let algorithm = info.take(SEQUENCE, "algorithm").map_err(Error::Der)?;
    let kind = algorithm
        .inside()
        .take(OBJECT_IDENTIFIER, "algorithm")
        .map_err(Error::Der)?;
    if kind.content != RSA_ENCRYPTION {
        return Err(Error::NotRsa);
    }
    let (modulus, exponent) = numbers(info).map_err(Error::Der)?;
    let modulus = BigUint::from_bytes_be(modulus);
    if modulus.bits() < MIN_BITS {
        return Err(Error::Key);
    }
    RsaPublicKey::new(modulus, BigUint::from_bytes_be(exponent)).map_err(|_| Error::Key)
}

/// Modulus and exponent of RSAPublicKey.
fn numbers(mut info: Reader<'_>) -> Result<(&[u8], &[u8]), der::Error> {
    let bits = info.take(BIT_STRING, "subjectPublicKey")?;
    let Some((0, key)) = bits.content.split_first() else {
        return Err(der::Error("subjectPublicKey"));
    };
    let mut key = Reader::new(key).take(SEQUENCE, "RSAPublicKey")?.inside();
    let modulus = key.take(INTEGER, "modulus")?;
    let exponent = key.take(INTEGER, "publicExponent")?;
    Ok((modulus.content, exponent.content))
}
