//! Keys of Secure Boot as files, and signing with them.
//!
//! ```text
//! PK.key  KEK.key  db.key     private keys, PKCS#8 in PEM, which only their owner reads
//! PK.crt  KEK.crt  db.crt     their certificates in PEM, each signed by its own key
//! PK.auth KEK.auth db.auth    signed updates of the firmware's variables
//! ```
//!
//! Only `db.key` signs boot programs. The other two keys change what a machine trusts, and belong in a safe once
//! the updates are made. Drawing takes random numbers and the time, so none of this happens in a build.

use crate::output::{Unfinished, write_atomically};
use anyhow::{Context, bail};
use formats::efi_variables::{self, Variable};
use formats::signer::Signer;
use formats::x509::Certificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SigningKey};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::OsRng;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What firmware takes everywhere.
const BITS: usize = 2048;
/// Firmware does not look at the dates, other programs do.
const FIRST_YEAR: i32 = 2000;
const LAST_YEAR: i32 = 2099;
const VARIABLES: [Variable; 3] = [
    Variable::PlatformKey,
    Variable::KeyExchangeKey,
    Variable::Database,
];

/// A certificate with its private key, both from files.
pub struct Key {
    certificate: Certificate,
    pair: KeyPair,
}

impl Key {
    /// Reads `NAME.key` and `NAME.crt` of `folder`.
    ///
    /// # Errors
    /// A file cannot be read, or holds no RSA key or no certificate of one. Whether they belong together shows
    /// with the first signature.
    pub fn read(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(format!("{name}.key"));
        let reading = || format!("reading private key {}", path.display());
        let pem = fs::read_to_string(&path).with_context(reading)?;
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&pem, &rcgen::PKCS_RSA_SHA256);
        let pair = pair.with_context(reading)?;
        let path = folder.join(format!("{name}.crt"));
        let reading = || format!("reading certificate {}", path.display());
        let der = CertificateDer::from_pem_file(&path).with_context(reading)?;
        let certificate = Certificate::parse(&der).with_context(reading)?;
        Ok(Key { certificate, pair })
    }

    fn draw(name: &str) -> anyhow::Result<Drawn> {
        let drawing = || format!("drawing the key {name}");
        let secret = RsaPrivateKey::new(&mut OsRng, BITS).with_context(drawing)?;
        let secret = secret.to_pkcs8_pem(LineEnding::LF).with_context(drawing)?;
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&secret, &rcgen::PKCS_RSA_SHA256);
        let pair = pair.with_context(drawing)?;
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(FIRST_YEAR, 1, 1);
        params.not_after = rcgen::date_time_ymd(LAST_YEAR, 12, 31);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let subject = format!("Seedbed Secure Boot {name}");
        params.distinguished_name.push(DnType::CommonName, subject);
        let certificate = params.self_signed(&pair).with_context(drawing)?;
        Ok(Drawn {
            secret: secret.to_string(),
            pem: certificate.pem(),
            key: Key {
                certificate: Certificate::parse(certificate.der()).with_context(drawing)?,
                pair,
            },
        })
    }
}

impl Signer for Key {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.pair.sign(message)?)
    }
}

struct Drawn {
    secret: String,
    pem: String,
    key: Key,
}

/// Draws the three keys and writes all files to `folder`, which is made if it is missing; gives their paths.
/// The updates are dated `time`, in seconds since 1970: firmware that knows a later update refuses these.
///
/// # Errors
/// One of the files is there already, or cannot be written.
pub fn new_keys(folder: &Path, time: i64) -> anyhow::Result<Vec<PathBuf>> {
    let path = |variable: Variable, ending: &str| {
        let name = variable.name();
        folder.join(format!("{name}.{ending}"))
    };
    for variable in VARIABLES {
        for ending in ["key", "crt", "auth"] {
            let path = path(variable, ending);
            if path.exists() {
                bail!(
                    "{} is there already, and a key is never overwritten",
                    path.display()
                );
            }
        }
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let [platform, exchange, database] = VARIABLES.map(|variable| Key::draw(variable.name()));
    let (platform, exchange, database) = (platform?, exchange?, database?);
    let mut written = Vec::new();
    let owner = owner(&platform.key);
    for (variable, drawn, signer) in [
        (Variable::PlatformKey, &platform, &platform.key),
        (Variable::KeyExchangeKey, &exchange, &platform.key),
        (Variable::Database, &database, &exchange.key),
    ] {
        let lists = efi_variables::signature_lists(owner, &[&drawn.key.certificate])?;
        let update = efi_variables::signed_update(variable, time, &lists, signer)
            .with_context(|| format!("signing the update of {}", variable.name()))?;
        let secret = path(variable, "key");
        let unfinished = Unfinished::create_private(&secret)?;
        let mut file = unfinished.file();
        file.write_all(drawn.secret.as_bytes())
            .with_context(|| format!("writing {}", secret.display()))?;
        unfinished.finish()?;
        written.push(secret);
        for (ending, bytes) in [("crt", drawn.pem.as_bytes()), ("auth", &update)] {
            let path = path(variable, ending);
            write_atomically(&path, bytes)?;
            written.push(path);
        }
    }
    Ok(written)
}

/// The GUID that marks certificates as this platform key's: from its digest, as version 8 of RFC 9562 has it.
fn owner(platform: &Key) -> [u8; 16] {
    let digest = Sha256::digest(platform.certificate.der());
    let mut guid = [0; 16];
    guid.copy_from_slice(&digest[..16]);
    guid[6] = 0x80 | guid[6] & 0x0f;
    guid[8] = 0x80 | guid[8] & 0x3f;
    guid
}
