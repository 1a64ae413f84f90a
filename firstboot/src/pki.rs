//! Certificates: pairs of files, authorities, and what they sign (RFC 5280). Keys are on P-256, in PKCS #8.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contract::peer::Pair;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::host::Host;

/// Where Kubernetes' certificates are, as kubeadm names them.
pub const PKI: &str = "/etc/kubernetes/pki";

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Ten years for an authority, one for what it signs.
const AUTHORITY: Duration = Duration::from_secs(3650 * 24 * 3600);
const LEAF: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The common name.
    pub name: &'a str,
    /// The organisation, which Kubernetes takes for a group.
    pub group: Option<&'a str>,
    /// The names and addresses that it serves under; a client has none.
    pub serves: Option<(&'a [&'a str], &'a [IpAddr])>,
}

/// Certificate and key at `path` with `.crt` and `.key`, if both are there, whole, and belong together.
pub fn read(host: &dyn Host, path: &str) -> Result<Option<Pair>> {
    let public = host.read_text(&format!("{path}.crt"))?;
    let key = host.read_text(&format!("{path}.key"))?;
    let (Some(public), Some(key)) = (public, key) else {
        return Ok(None);
    };
    let same = || -> Option<bool> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(public.as_bytes()).ok()?;
        let parsed = pem.parse_x509().ok()?;
        let pair = KeyPair::from_pem(&key).ok()?;
        Some(parsed.public_key().raw == pair.subject_public_key_info())
    };
    Ok((same() == Some(true)).then_some(Pair { public, key }))
}

/// Writes `path.crt` and `path.key`, the key first: a certificate without its key would look like an authority
/// kept elsewhere.
pub fn write(host: &dyn Host, path: &str, pair: &Pair) -> Result<()> {
    host.write(&format!("{path}.key"), 0o600, pair.key.as_bytes())?;
    host.write(&format!("{path}.crt"), 0o644, pair.public.as_bytes())
}

/// The host's time, from which certificates are valid.
pub fn now(host: &dyn Host) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(host.now()).unwrap_or(i64::MAX))
        .context("the clock is out of range")
}

/// A new authority, valid from a day ago.
pub fn authority(name: &str, now: OffsetDateTime) -> Result<Pair> {
    let making = || format!("making the authority {name}");
    let key = KeyPair::generate().with_context(making)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    (params.not_before, params.not_after) = (now - DAY, now + AUTHORITY);
    let certificate = params.self_signed(&key).with_context(making)?;
    Ok(Pair {
        public: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// A new pair of keys without a certificate.
pub fn keys() -> Result<Pair> {
    let key = KeyPair::generate().context("drawing a pair of keys")?;
    Ok(Pair {
        public: key.public_key_pem(),
        key: key.serialize_pem(),
    })
}

/// A new key with a certificate of `authority`.
pub fn issue(authority: &Pair, subject: &Subject<'_>, now: OffsetDateTime) -> Result<Pair> {
    let making = || format!("making a certificate for {}", subject.name);
    let key = KeyPair::generate().with_context(making)?;
    let certificate = params(subject, now)
        .and_then(|params| Ok(params.signed_by(&key, &issuer(authority)?)?))
        .with_context(making)?;
    Ok(Pair {
        public: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// A key and a request for a certificate of it (RFC 2986).
pub fn request() -> Result<Pair> {
    let asking = "making a certificate signing request";
    let key = KeyPair::generate().context(asking)?;
    let request = CertificateParams::default()
        .serialize_request(&key)
        .context(asking)?;
    Ok(Pair {
        public: request.pem().context(asking)?,
        key: key.serialize_pem(),
    })
}

/// The certificate of `authority` for the key of a request; whatever else the request asks for does not count.
pub fn sign(
    authority: &Pair,
    request: &str,
    subject: &Subject<'_>,
    now: OffsetDateTime,
) -> Result<String> {
    let mut request = CertificateSigningRequestParams::from_pem(request)
        .context("reading a certificate signing request")?;
    request.params = params(subject, now)?;
    let certificate = request
        .signed_by(&issuer(authority)?)
        .with_context(|| format!("signing a certificate for {}", subject.name))?;
    Ok(certificate.pem())
}

/// SHA-256 of a certificate's DER.
pub fn fingerprint(certificate: &str) -> Result<[u8; 32]> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes())
        .context("reading a certificate")?;
    ensure!(
        pem.label == "CERTIFICATE",
        "a {} is no certificate",
        pem.label
    );
    Ok(Sha256::digest(&pem.contents).into())
}

fn issuer(authority: &Pair) -> Result<Issuer<'static, KeyPair>> {
    let key = KeyPair::from_pem(&authority.key).context("reading an authority's key")?;
    Issuer::from_ca_cert_pem(&authority.public, key).context("reading an authority")
}

fn params(subject: &Subject<'_>, now: OffsetDateTime) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, subject.name);
    if let Some(group) = subject.group {
        params
            .distinguished_name
            .push(DnType::OrganizationName, group);
    }
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![Usage::ClientAuth];
    if let Some((names, addresses)) = subject.serves {
        params.extended_key_usages.insert(0, Usage::ServerAuth);
        for name in names {
            let name = (*name).try_into().context("naming a certificate")?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let addresses = addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
    }
    (params.not_before, params.not_after) = (now - DAY, now + LEAF);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer, X509Certificate};

    #[test]
    fn a_request_gets_the_subject_that_the_authority_gives() {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let authority = authority("kubernetes", now).unwrap();
        let asked = request().unwrap();
        let subject = Subject {
            name: "system:node:plant-1",
            group: Some("system:nodes"),
            serves: None,
        };
        let text = sign(&authority, &asked.public, &subject, now).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
        let (_, parsed) = X509Certificate::from_der(&pem.contents).unwrap();
        let name = parsed.subject().to_string();
        assert!(
            name.contains("CN=system:node:plant-1") && name.contains("O=system:nodes"),
            "{name}"
        );
        let key = KeyPair::from_pem(&asked.key).unwrap();
        assert_eq!(parsed.public_key().raw, key.subject_public_key_info());
        assert!(sign(&authority, "nonsense", &subject, now).is_err());
    }

    #[test]
    fn a_fingerprint_is_of_a_certificate_alone() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let one = authority("one", now).unwrap();
        assert_eq!(
            fingerprint(&one.public).unwrap(),
            fingerprint(&one.public).unwrap()
        );
        assert!(fingerprint(&one.key).is_err());
        assert!(fingerprint("").is_err());
    }
}
