//! Keys and certificates by openssl, which also signs: the private key never enters this process, as with a
//! key in a hardware module.

use crate::referee;
use formats::signer::Signer;
use formats::x509::Certificate;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A certificate with a private key in a file.
pub(crate) struct Key {
    dir: TempDir,
    certificate: Certificate,
}

/// Draws a key of that kind (as `openssl req -newkey` calls it); `None`, with a line that says so, where
/// openssl is not installed.
pub(crate) fn draw(test: &str, kind: &str, name: &str) -> Option<(TempDir, Vec<u8>)> {
    let dir = TempDir::new().unwrap();
    let path = |file: &str| dir.path().join(file).to_str().unwrap().to_owned();
    let (key, pem, der) = (
        path("key.pem"),
        path("certificate.pem"),
        path("certificate.der"),
    );
    let subject = format!("/CN={name}");
    let (new, date) = (["req", "-x509", "-newkey", kind], ["-days", "3650"]);
    let files = ["-nodes", "-subj", &subject, "-keyout", &key, "-out", &pem];
    referee::run(test, "openssl", &[&new[..], &date, &files].concat())?;
    let convert = ["x509", "-in", &pem, "-outform", "DER", "-out", &der];
    referee::run(test, "openssl", &convert)?;
    let der = std::fs::read(der).unwrap();
    Some((dir, der))
}

impl Key {
    /// Draws an RSA key, as firmware takes it.
    pub(crate) fn new(test: &str, name: &str) -> Option<Self> {
        let (dir, der) = draw(test, "rsa:2048", name)?;
        let certificate = Certificate::parse(&der).unwrap();
        Some(Key { dir, certificate })
    }

    /// The private key's file, in PEM.
    pub(crate) fn key(&self) -> String {
        self.path("key.pem")
    }

    /// The certificate's file, in PEM.
    pub(crate) fn pem(&self) -> String {
        self.path("certificate.pem")
    }

    fn path(&self, file: &str) -> String {
        self.dir.path().join(file).to_str().unwrap().to_owned()
    }
}

impl Signer for Key {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let dir = TempDir::new()?;
        let (input, output) = (dir.path().join("message"), dir.path().join("signature"));
        std::fs::write(&input, message)?;
        sign_file(&self.key(), &input, &output)?;
        Ok(std::fs::read(output)?)
    }
}

fn sign_file(key: &str, input: &Path, output: &Path) -> std::io::Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign", key, "-out"]);
    let status = openssl.arg(output).arg(input).status()?;
    assert!(status.success(), "openssl dgst -sign: {status}");
    Ok(())
}
