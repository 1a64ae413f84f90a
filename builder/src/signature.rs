//! Signatures over `SHA256SUMS`, in the form that minisign(1) makes and checks.
//!
//! A key pair is two small text files. The signature of `SHA256SUMS` is `SHA256SUMS.minisig`; it vouches for every
//! file that the sums name. Drawing a key and signing take random numbers, so both are kept out of images.

use crate::digest;
use crate::output::{Unfinished, write_atomically};
use anyhow::{Context, bail};
use minisign::{KeyPair, PublicKey, PublicKeyBox, SecretKey, SecretKeyBox, SignatureBox};
use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

/// The file that lists the digests of all outputs in a folder.
pub const SUMS: &str = "SHA256SUMS";

/// A secret key, ready to sign with.
pub struct Signer {
    secret: SecretKey,
}

impl Signer {
    /// Reads a secret key; `password` opens one that is encrypted.
    ///
    /// # Errors
    /// The file is no minisign secret key, or the password does not open it.
    pub fn read(path: &Path, password: Option<String>) -> anyhow::Result<Self> {
        let reading = || format!("reading secret key {}", path.display());
        let text = fs::read_to_string(path).with_context(reading)?;
        let parse = || SecretKeyBox::from_string(&text).with_context(reading);
        let plain = parse()?.into_unencrypted_secret_key();
        let secret = match (plain, password) {
            (Ok(secret), _) => secret,
            (Err(_), Some(password)) => {
                let opened = parse()?.into_secret_key(Some(password));
                opened.with_context(reading)?
            }
            (Err(error), None) => {
                return Err(error)
                    .with_context(reading)
                    .context("if the key is encrypted, give its password in SEEDBED_KEY_PASSWORD");
            }
        };
        Ok(Signer { secret })
    }

    /// Signs `SHA256SUMS` in `folder`; gives the signature's path.
    ///
    /// # Errors
    /// There is no such file, or the signature cannot be written.
    pub fn sign(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let sums = folder.join(SUMS);
        let signing = || format!("signing {}", sums.display());
        let bytes = fs::read(&sums).with_context(signing)?;
        let signature = minisign::sign(
            None,
            &self.secret,
            Cursor::new(bytes),
            Some(&format!("file:{SUMS}")),
            Some("signature from a Seedbed key"),
        );
        let text = signature.with_context(signing)?.into_string();
        let path = signature_path(&sums);
        write_atomically(&path, text.as_bytes())?;
        Ok(path)
    }
}

/// The files of a new key pair.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The secret key, which only its owner may read.
    pub secret: PathBuf,
    /// The public key.
    pub public: PathBuf,
}

/// Draws a key pair and writes it to `NAME.key` and `NAME.pub`; with a password, the secret key is encrypted.
///
/// # Errors
/// One of the files is there already, or cannot be written.
pub fn new_key(name: &Path, password: Option<String>) -> anyhow::Result<NewKey> {
    let with = |ending: &str| PathBuf::from(format!("{}.{ending}", name.display()));
    let files = NewKey {
        secret: with("key"),
        public: with("pub"),
    };
    for path in [&files.secret, &files.public] {
        if path.exists() {
            bail!(
                "{} is there already, and a key is never overwritten",
                path.display()
            );
        }
    }
    let drawing = "drawing a key pair";
    let pair = match password {
        None => KeyPair::generate_unencrypted_keypair(),
        some => KeyPair::generate_encrypted_keypair(some),
    };
    let pair = pair.context(drawing)?;
    let secret = pair
        .sk
        .to_box(Some("Seedbed secret key"))
        .context(drawing)?;
    let public = pair.pk.to_box().context(drawing)?;
    let unfinished = Unfinished::create_private(&files.secret)?;
    let writing = || format!("writing {}", files.secret.display());
    let mut file = unfinished.file();
    file.write_all(secret.into_string().as_bytes())
        .with_context(writing)?;
    unfinished.finish()?;
    write_atomically(&files.public, public.into_string().as_bytes())?;
    Ok(files)
}

/// Checks the signature of `SHA256SUMS` beside `image` against the public key in a file.
///
/// # Errors
/// The key, the sums or the signature cannot be read, or the signature is not of this key over these sums.
pub fn check_signature(image: &Path, key: &Path) -> anyhow::Result<()> {
    let reading = || format!("reading public key {}", key.display());
    let text = fs::read_to_string(key).with_context(reading)?;
    let key: PublicKey = PublicKeyBox::from_string(&text)
        .and_then(PublicKeyBox::into_public_key)
        .with_context(reading)?;
    let sums = sums_of(image);
    let bytes = fs::read(&sums).with_context(|| format!("reading {}", sums.display()))?;
    let path = signature_path(&sums);
    let reading = || format!("reading signature {}", path.display());
    let text = fs::read_to_string(&path).with_context(reading)?;
    let signature = SignatureBox::from_string(&text).with_context(reading)?;
    minisign::verify(&key, &signature, Cursor::new(bytes), true, false, false)
        .with_context(|| format!("checking the signature of {}", sums.display()))
}

/// Checks the digest of `image` against `SHA256SUMS` beside it. Says whether there is such a file.
///
/// # Errors
/// The sums do not name the image, or its digest is another.
pub fn check_sum(image: &Path) -> anyhow::Result<bool> {
    let sums = sums_of(image);
    let text = match fs::read_to_string(&sums) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("reading {}", sums.display())),
    };
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let Some(expected) = sum(&text, &name) else {
        bail!("{} does not name {name}", sums.display());
    };
    let reading = || format!("reading {}", image.display());
    let found = File::open(image)
        .and_then(digest::sha256_of)
        .with_context(reading)?;
    if found.0 != expected {
        bail!(
            "{name} has the digest {}, not {expected} as in {}",
            found.0,
            sums.display()
        );
    }
    Ok(true)
}

/// What `SHA256SUMS` in `folder` lists: name and digest of each file.
///
/// # Errors
/// There is no such file, or a line of it is something else.
pub fn sums(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let path = folder.join(SUMS);
    let reading = || format!("reading {}", path.display());
    let text = fs::read_to_string(&path).with_context(reading)?;
    let line = |line: &str| {
        let (sha256, name) = line.split_once(' ')?;
        let name = name.strip_prefix([' ', '*'])?;
        digest::is_sha256(sha256).then(|| (name.to_owned(), sha256.to_owned()))
    };
    let parsed = |text: &str| line(text).with_context(|| format!("{text:?} is no line of it"));
    let lines = text.lines().map(parsed).collect::<anyhow::Result<_>>();
    lines.with_context(reading)
}

/// The digest that lines of `sha256sum` give to a file.
fn sum<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let is = |rest: &str| rest.strip_prefix([' ', '*']) == Some(name);
    lines.find(|(_, rest)| is(rest)).map(|(digest, _)| digest)
}

fn sums_of(image: &Path) -> PathBuf {
    image.with_file_name(SUMS)
}

fn signature_path(sums: &Path) -> PathBuf {
    PathBuf::from(format!("{}.minisig", sums.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let password = password.map(str::to_owned);
        let key = new_key(&dir.path().join("plant"), password.clone()).unwrap();
        assert!(new_key(&dir.path().join("plant"), None).is_err());
        let image = dir.path().join("a.raw");
        fs::write(&image, "image").unwrap();
        assert!(!check_sum(&image).unwrap());
        let sums = dir.path().join(SUMS);
        fs::write(&sums, format!("{}  a.raw\n", digest::sha256(b"image"))).unwrap();
        assert!(check_sum(&image).unwrap());
        Signer::read(&key.secret, password)
            .unwrap()
            .sign(dir.path())
            .unwrap();
        check_signature(&image, &key.public).unwrap();

        let other = new_key(&dir.path().join("other"), None).unwrap();
        check_signature(&image, &other.public).unwrap_err();
        fs::write(&sums, format!("{}  a.raw\n", digest::sha256(b"imagf"))).unwrap();
        check_signature(&image, &key.public).unwrap_err();
        check_sum(&image).unwrap_err();
    }

    #[test]
    fn a_signature_holds_for_its_key_and_its_text() {
        check(None);
        check(Some("four words of salt"));
    }

    #[test]
    fn an_encrypted_key_asks_for_its_password() {
        let dir = tempfile::tempdir().unwrap();
        let key = new_key(&dir.path().join("plant"), Some("x".into())).unwrap();
        let error = Signer::read(&key.secret, None).err().unwrap();
        assert!(format!("{error:#}").contains("SEEDBED_KEY_PASSWORD"));
        assert!(Signer::read(&key.secret, Some("y".into())).is_err());
    }

    #[test]
    fn sums_are_those_of_sha256sum() {
        let text = "aa  a.raw\nbb *b c.raw\n";
        assert_eq!(sum(text, "a.raw"), Some("aa"));
        assert_eq!(sum(text, "b c.raw"), Some("bb"));
        assert_eq!(sum(text, "raw"), None);
    }
}
