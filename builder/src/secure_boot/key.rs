//! A certificate, and who holds its private key: a file, or whoever a program asks.

use super::program::Program;
use anyhow::{Context, bail};
use formats::signer::Signer;
use formats::x509::Certificate;
use rcgen::{KeyPair, SigningKey};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::fmt;
use std::fs;
use std::path::Path;

/// Signed once when a key is read, so that a key of another certificate is found before any work is done.
const PROBE: &[u8] = b"do key and certificate belong together?";

/// A certificate with access to its private key.
pub struct Key {
    certificate: Certificate,
    holder: Holder,
}

enum Holder {
    File(Box<KeyPair>),
    Program(Program),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl Key {
    /// Reads `NAME.crt` of `folder`, and `NAME.key` unless `program` signs.
    ///
    /// # Errors
    /// A file cannot be read, holds no RSA key or no certificate of one, or they do not belong together. Whether
    /// the program signs with the right key shows with the first signature.
    pub fn read(folder: &Path, name: &str, program: Option<&Path>) -> anyhow::Result<Self> {
        let certificate = certificate(&folder.join(format!("{name}.crt")))?;
        if let Some(program) = program {
            let holder = Holder::Program(Program::new(program, name));
            return Ok(Key {
                certificate,
                holder,
            });
        }
        let path = folder.join(format!("{name}.key"));
        let reading = || format!("reading private key {}", path.display());
        let pem = fs::read_to_string(&path).with_context(reading)?;
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &rcgen::PKCS_RSA_SHA256);
        let pair = pair
            .context("it is no RSA key in PKCS#8 and PEM (openssl pkcs8 -topk8 -nocrypt makes one)")
            .with_context(reading)?;
        let key = Key::new(certificate, pair);
        let signature = key.sign(PROBE).map_err(|error| anyhow::anyhow!(error));
        let signature = signature.with_context(|| format!("signing with {}", path.display()))?;
        if !key.certificate.verify(PROBE, &signature) {
            bail!(
                "{} is not the key of the certificate {name}.crt beside it",
                path.display()
            );
        }
        Ok(key)
    }

    /// A certificate with its key at hand.
    pub(super) fn new(certificate: Certificate, pair: KeyPair) -> Self {
        let holder = Holder::File(Box::new(pair));
        Key {
            certificate,
            holder,
        }
    }
}

/// Reads a certificate in PEM.
pub(crate) fn certificate(path: &Path) -> anyhow::Result<Certificate> {
    let reading = || format!("reading certificate {}", path.display());
    let bytes = fs::read(path).with_context(reading)?;
    let der = CertificateDer::from_pem_slice(&bytes).with_context(reading)?;
    Certificate::parse(&der).with_context(reading)
}

impl Signer for Key {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        match &self.holder {
            Holder::File(pair) => Ok(pair.sign(message)?),
            Holder::Program(program) => Ok(program.sign(message)?),
        }
    }
}
