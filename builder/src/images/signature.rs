//! Signatures that cosign makes with a key pair, verified without cosign and without its transparency log.
//!
//! Beside an image with digest `sha256:HEX` its repository has the tag `sha256-HEX.sig`: a manifest whose layers
//! are *payloads*, each with a signature over its bytes in an annotation. A payload is JSON and names the digest
//! that it vouches for (cosign's SIGNATURE_SPEC, and the "simple signing" format of containers/image).

use crate::digest;
use crate::registry::Registry;
use crate::registry::document::{DOCUMENT_LIMIT, Manifest};
use crate::store::Store;
use anyhow::{Context, bail};
use base64::Engine;
use p256::ecdsa::signature::Verifier;
use p256::pkcs8::DecodePublicKey;
use serde::Deserialize;
use std::path::Path;

const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const TYPES: [&str; 2] = [
    "cosign container image signature",
    "atomic container signature",
];

/// A public key that images have to be signed with.
#[derive(Clone, Debug)]
pub struct Key {
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The file, for messages.
    name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    P256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: SignedImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct SignedImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl Key {
    /// Reads a public key in PEM: ECDSA on P-256, as `cosign generate-key-pair` makes, or Ed25519.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("reading the public key {name}"))?;
        let p256 = p256::ecdsa::VerifyingKey::from_public_key_pem(&text).map(Kind::P256);
        let Some(kind) = p256.ok().or_else(|| ed25519(&text)) else {
            bail!("{name} is no public key of ECDSA on P-256 or Ed25519 in PEM");
        };
        Ok(Key {
            sha256: digest::sha256(text.as_bytes()),
            name,
            kind,
        })
    }

    /// Looks for a good signature of one of `digests` in the repository.
    pub(super) fn verify(
        &self,
        registry: &Registry,
        repository: &str,
        digests: &[&str],
        store: &Store,
    ) -> anyhow::Result<()> {
        let mut seen = 0;
        for sha256 in digests {
            let tag = format!("sha256-{sha256}.sig");
            let Some(document) = registry.manifest(repository, &tag)? else {
                continue;
            };
            let manifest: Manifest =
                serde_json::from_slice(&document.bytes).context("reading the signatures")?;
            for layer in &manifest.layers {
                let Some(signature) = layer.annotations.get(ANNOTATION) else {
                    continue;
                };
                let blob = layer.locked()?;
                if blob.size > DOCUMENT_LIMIT {
                    bail!("a payload has {} bytes", blob.size);
                }
                registry.fetch_blob(repository, &blob, store, "the signed payload", None)?;
                let payload = store.open_verified(&blob.sha256, "the signed payload")?;
                let payload = std::io::read_to_string(payload).context("reading the payload")?;
                seen += 1;
                if self.vouches(payload.as_bytes(), signature, sha256) {
                    return Ok(());
                }
            }
        }
        let name = &self.name;
        match seen {
            0 => bail!(
                "there is no signature beside it; the profile asks for one by {name} \
                 (cosign 3 writes it there with --new-bundle-format=false)"
            ),
            _ => bail!("none of its {seen} signatures is by {name} for this digest"),
        }
    }

    /// Whether the payload is signed by this key and names the digest.
    fn vouches(&self, payload: &[u8], signature: &str, sha256: &str) -> bool {
        let bytes = base64::engine::general_purpose::STANDARD.decode(signature.trim());
        let signed = bytes.is_ok_and(|bytes| self.signed(payload, &bytes));
        let named = serde_json::from_slice(payload).is_ok_and(|payload: Payload| {
            let critical = payload.critical;
            TYPES.contains(&critical.kind.as_str())
                && critical.image.digest == format!("sha256:{sha256}")
        });
        signed && named
    }

    fn signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            Kind::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(payload, &signature).is_ok()),
            Kind::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(payload, &signature).is_ok()),
        }
    }
}

/// A SubjectPublicKeyInfo with an Ed25519 key is always these bytes and the key (RFC 8410, section 4).
fn ed25519(pem: &str) -> Option<Kind> {
    const START: [u8; 12] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
    let text = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let text: String = text
        .strip_suffix("-----END PUBLIC KEY-----")?
        .split_whitespace()
        .collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .ok()?;
    let key: [u8; 32] = bytes.strip_prefix(&START)?.try_into().ok()?;
    ed25519_dalek::VerifyingKey::from_bytes(&key)
        .ok()
        .map(Kind::Ed25519)
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::ecdsa::signature::Signer;

    const PAYLOAD: &str = r#"{"critical":{"identity":{"docker-reference":"r.example/a"},"image":{"docker-manifest-digest":"sha256:D"},"type":"cosign container image signature"},"optional":null}"#;

    fn keys() -> [(Kind, Vec<u8>); 2] {
        let p256 = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let signature: p256::ecdsa::Signature = p256.sign(PAYLOAD.as_bytes());
        let ed25519 = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        [
            (
                Kind::P256(*p256.verifying_key()),
                signature.to_der().as_bytes().to_vec(),
            ),
            (
                Kind::Ed25519(ed25519.verifying_key()),
                ed25519.sign(PAYLOAD.as_bytes()).to_bytes().to_vec(),
            ),
        ]
    }

    /// R021: keys as `openssl pkey -pubout` and cosign write them.
    #[test]
    fn keys_of_both_kinds_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pub");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Key::read(&path)
        };
        let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
        assert!(matches!(read(ed25519).unwrap().kind, Kind::Ed25519(_)));
        let p256 = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let public = p256::PublicKey::from(*p256.verifying_key());
        let pem = p256::pkcs8::EncodePublicKey::to_public_key_pem(&public, Default::default());
        assert!(matches!(read(&pem.unwrap()).unwrap().kind, Kind::P256(_)));
        let error = read("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n").unwrap_err();
        assert!(
            error.to_string().contains("is no public key of ECDSA"),
            "{error}"
        );
    }

    /// R021: signatures by both kinds of key, and everything that is not quite one.
    #[test]
    fn only_the_keys_own_words_about_this_digest_count() {
        for (kind, signature) in keys() {
            let key = Key {
                sha256: String::new(),
                name: "cosign.pub".into(),
                kind,
            };
            let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
            let good = base64(&signature);
            assert!(key.vouches(PAYLOAD.as_bytes(), &good, "D"));
            assert!(!key.vouches(PAYLOAD.as_bytes(), &good, "E"));
            assert!(!key.vouches(PAYLOAD.replace("null", "{}").as_bytes(), &good, "D"));
            let mut other = signature.clone();
            other[20] ^= 1;
            assert!(!key.vouches(PAYLOAD.as_bytes(), &base64(&other), "D"));
            assert!(!key.vouches(PAYLOAD.as_bytes(), "no base64", "D"));
        }
    }
}
