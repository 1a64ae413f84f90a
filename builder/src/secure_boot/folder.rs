//! A folder of keys: drawn, and the updates made that enrol them. Both take random numbers or the time, so
//! neither happens in a build.

use super::key::{self, Key};
use super::{VARIABLES, Variable};
use crate::output::{Unfinished, write_atomically};
use anyhow::{Context, bail};
use formats::efi_variables;
use formats::signer::Signer;
use formats::x509::Certificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::OsRng;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What firmware takes everywhere.
const BITS: usize = 2048;
/// Firmware does not look at the dates, other programs do.
const FIRST_YEAR: i32 = 2000;
const LAST_YEAR: i32 = 2099;

/// Draws the three keys and writes all files to `folder`, which is made if it is missing; gives their paths.
/// The updates are dated `time`, in seconds since 1970: firmware that knows a later update refuses these.
///
/// # Errors
/// One of the files is there already, or cannot be written.
pub fn new_keys(folder: &Path, time: i64) -> anyhow::Result<Vec<PathBuf>> {
    for variable in VARIABLES {
        for ending in ["key", "crt", "auth"] {
            let path = path(folder, variable, ending);
            if path.exists() {
                bail!(
                    "{} is there already, and a key is never overwritten",
                    path.display()
                );
            }
        }
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut written = Vec::new();
    for variable in VARIABLES {
        written.extend(draw(folder, variable)?);
    }
    written.extend(write_updates(folder, None, time)?);
    Ok(written)
}

/// Draws one key, and writes it and its certificate.
fn draw(folder: &Path, variable: Variable) -> anyhow::Result<[PathBuf; 2]> {
    let drawing = || format!("drawing the key {}", variable.name());
    let secret = RsaPrivateKey::new(&mut OsRng, BITS).with_context(drawing)?;
    let secret = secret.to_pkcs8_pem(LineEnding::LF).with_context(drawing)?;
    let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&secret, &rcgen::PKCS_RSA_SHA256);
    let pair = pair.with_context(drawing)?;
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(FIRST_YEAR, 1, 1);
    params.not_after = rcgen::date_time_ymd(LAST_YEAR, 12, 31);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let subject = format!("Seedbed Secure Boot {}", variable.name());
    params.distinguished_name.push(DnType::CommonName, subject);
    let certificate = params.self_signed(&pair).with_context(drawing)?;

    let key = path(folder, variable, "key");
    let unfinished = Unfinished::create_private(&key)?;
    let mut file = unfinished.file();
    file.write_all(secret.as_bytes())
        .with_context(|| format!("writing {}", key.display()))?;
    unfinished.finish()?;
    let public = path(folder, variable, "crt");
    write_atomically(&public, certificate.pem().as_bytes())?;
    Ok([key, public])
}

/// Makes the updates that enrol the certificates of `folder`, dated `time` in seconds since 1970, and writes them
/// there; gives their paths. The platform key signs its own and the key exchange key's, that one the database's:
/// by their files, or by `program`.
///
/// # Errors
/// A certificate or a key is missing or of no use, they do not belong together, or a file cannot be written.
pub fn write_updates(
    folder: &Path,
    program: Option<&Path>,
    time: i64,
) -> anyhow::Result<Vec<PathBuf>> {
    let platform = Key::read(folder, Variable::PlatformKey.name(), program)?;
    let exchange = Key::read(folder, Variable::KeyExchangeKey.name(), program)?;
    // Its key has nothing to sign here, and may be elsewhere.
    let database = key::certificate(&path(folder, Variable::Database, "crt"))?;
    let owner = owner(platform.certificate());
    let rows = [
        (Variable::PlatformKey, platform.certificate(), &platform),
        (Variable::KeyExchangeKey, exchange.certificate(), &platform),
        (Variable::Database, &database, &exchange),
    ];
    let mut updates = Vec::new();
    for (variable, certificate, signer) in rows {
        let lists = efi_variables::signature_lists(owner, &[certificate])?;
        let update = efi_variables::signed_update(variable, time, &lists, signer);
        let update =
            update.with_context(|| format!("signing the update of {}", variable.name()))?;
        updates.push((path(folder, variable, "auth"), update));
    }
    let mut written = Vec::new();
    for (path, update) in updates {
        write_atomically(&path, &update)?;
        written.push(path);
    }
    Ok(written)
}

fn path(folder: &Path, variable: Variable, ending: &str) -> PathBuf {
    folder.join(format!("{}.{ending}", variable.name()))
}

/// The GUID that marks certificates as this platform key's: from its digest, as version 8 of RFC 9562 has it.
fn owner(platform: &Certificate) -> [u8; 16] {
    let digest = Sha256::digest(platform.der());
    let mut guid = [0; 16];
    guid.copy_from_slice(&digest[..16]);
    guid[6] = 0x80 | guid[6] & 0x0f;
    guid[8] = 0x80 | guid[8] & 0x3f;
    guid
}
