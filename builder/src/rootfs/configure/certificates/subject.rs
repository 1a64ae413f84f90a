//! The hash of a certificate's subject by which OpenSSL names links in a directory of authorities:
//! the first four bytes, little-endian, of the SHA-1 of the subject in a canonical form. In that form every
//! string is UTF-8, its ASCII letters lower-case, its white space trimmed and single.
//!
//! Only as much of X.509 is read as leads to the subject.

use anyhow::{Context, bail};
use base64::Engine;
use sha1::{Digest, Sha1};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const UTF8_STRING: u8 = 0x0c;
const T61_STRING: u8 = 0x14;
const BMP_STRING: u8 = 0x1e;
const UNIVERSAL_STRING: u8 = 0x1c;
/// PrintableString, IA5String and VisibleString: ASCII.
const ASCII_STRINGS: [u8; 3] = [0x13, 0x16, 0x1a];

/// The hash of the first certificate in a PEM text.
pub(super) fn hash(pem: &str) -> anyhow::Result<u32> {
    let lines = pem
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "-----BEGIN CERTIFICATE-----")
        .skip(1);
    let body: String = lines.take_while(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(body)
        .context("decoding base64")?;
    let canonical = canonical(subject(&der)?)?;
    let digest = Sha1::digest(canonical);
    Ok(u32::from_le_bytes([
        digest[0], digest[1], digest[2], digest[3],
    ]))
}

/// The content of the subject's SEQUENCE.
fn subject(der: &[u8]) -> anyhow::Result<&[u8]> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // serialNumber, signature, issuer, validity
    for _ in 0..4 {
        rest = element(rest)?.2;
    }
    let (tag, subject, _) = element(rest)?;
    if tag != SEQUENCE {
        bail!("the subject is no SEQUENCE");
    }
    Ok(subject)
}

/// One DER element: tag, content, and what follows it.
fn element(der: &[u8]) -> anyhow::Result<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = der else {
        bail!("the certificate ends early")
    };
    let (len, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest
                .split_at_checked(usize::from(long & 0x7f))
                .context("a length ends early")?;
            (
                bytes
                    .iter()
                    .fold(0, |len, byte| len << 8 | usize::from(*byte)),
                rest,
            )
        }
        other => bail!("length byte {other:#x} is not of DER"),
    };
    let (content, rest) = rest
        .split_at_checked(len)
        .context("the certificate ends early")?;
    Ok((*tag, content, rest))
}

fn canonical(mut name: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    while !name.is_empty() {
        let (_, mut set, rest) = element(name)?;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let (_, attribute, rest) = element(set)?;
            let (oid_tag, oid, value) = element(attribute)?;
            let (tag, value, _) = element(value)?;
            let value = match text(tag, value)? {
                Some(text) => encode(UTF8_STRING, &fold(&text)),
                None => encode(tag, value),
            };
            attributes.push(encode(SEQUENCE, &[encode(oid_tag, oid), value].concat()));
            set = rest;
        }
        // DER orders the elements of a SET.
        attributes.sort();
        out.extend(encode(SET, &attributes.concat()));
        name = rest;
    }
    Ok(out)
}

/// A string value as Unicode; `None` if it is no string.
fn text(tag: u8, value: &[u8]) -> anyhow::Result<Option<String>> {
    let wide = |size: usize| -> anyhow::Result<String> {
        let chars = value
            .chunks(size)
            .map(|chunk| char::from_u32(chunk.iter().fold(0, |c, b| c << 8 | u32::from(*b))));
        chars
            .collect::<Option<String>>()
            .context("a string in the subject is not Unicode")
    };
    Ok(match tag {
        UTF8_STRING => Some(
            String::from_utf8(value.to_vec()).context("a string in the subject is not UTF-8")?,
        ),
        T61_STRING => Some(wide(1)?),
        BMP_STRING => Some(wide(2)?),
        UNIVERSAL_STRING => Some(wide(4)?),
        _ if ASCII_STRINGS.contains(&tag) => Some(wide(1)?),
        _ => None,
    })
}

fn fold(text: &str) -> Vec<u8> {
    let words: Vec<&str> = text
        .split(|c: char| c.is_ascii_whitespace() || c == '\x0b')
        .filter(|w| !w.is_empty())
        .collect();
    words.join(" ").to_ascii_lowercase().into_bytes()
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(len @ 0..=0x7f) => out.push(len),
        _ => {
            let bytes = content.len().to_be_bytes();
            let significant = bytes
                .iter()
                .position(|byte| *byte != 0)
                .map_or(&bytes[..0], |at| &bytes[at..]);
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
    }
    out.extend(content);
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `C=DE, O="  Seed  BED  ", CN=Grüner Test CA`; its hash is what `openssl x509 -subject_hash` prints.
    pub(crate) const PEM: &str = "\
-----BEGIN CERTIFICATE-----
MIIB0jCCAXmgAwIBAgIUFCvkwuTg0gJfzVbACZ8Q+Nv4elYwCgYIKoZIzj0EAwIw
PzELMAkGA1UEBhMCREUxFjAUBgNVBAoMDSAgU2VlZCAgQkVEICAxGDAWBgNVBAMM
D0dyw7xuZXIgVGVzdCBDQTAeFw0yNjExMjAxNDA1NTdaFw0zNjExMTcxNDA1NTda
MD8xCzAJBgNVBAYTAkRFMRYwFAYDVQQKDA0gIFNlZWQgIEJFRCAgMRgwFgYDVQQD
DA9HcsO8bmVyIFRlc3QgQ0EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR2xLZb
Uhnbn3rk7DzXJiljN/HmSbgViT/h43ZzLbDGV6XPTjDAW3xhIu3L2Pm2ve9kZQPX
VhpNnjSjc1353xV8o1MwUTAdBgNVHQ4EFgQUruAd8wSkAp0X3XNTXfZLLqEB00Yw
HwYDVR0jBBgwFoAUruAd8wSkAp0X3XNTXfZLLqEB00YwDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNHADBEAiAOpnxzi98PmtobQLMbwZLV5IbXJtbA7tVtXFa8
LfW7SAIgEBHjZSsejJnDdu+cAytPFXf2pCfVtXeLTTkxo17JHjE=
-----END CERTIFICATE-----
";
    pub(crate) const HASH: u32 = 0x7fda_3601;

    #[test]
    fn the_hash_is_openssls() {
        assert_eq!(hash(PEM).unwrap(), HASH);
    }

    #[test]
    fn broken_certificates_are_errors() {
        assert!(hash("").is_err());
        let body: String = PEM.lines().skip(1).take(2).collect();
        let cut = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            &body[..64]
        );
        assert!(format!("{:#}", hash(&cut).unwrap_err()).contains("ends early"));
    }

    #[test]
    fn long_lengths_are_encoded_minimally() {
        assert_eq!(encode(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(encode(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }
}
