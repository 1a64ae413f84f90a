//! Trusted OpenPGP keys, and what we ask of a signature by one of them.
//!
//! The library does the arithmetic; the policy is here. A clear-signed text is accepted if at least one of its
//! signatures is a text signature with a strong digest, made by a key of the keyring, or a signing subkey with
//! a proper binding, that was neither expired nor revoked at the signature's time. A revocation for any reason
//! but "superseded" or "retired" voids a key's past as well. Only the signed text is handed out, so that
//! whatever else a file holds cannot be parsed by mistake.
//!
//! There is no web of trust: all keys of the keyring are trusted alike.

use crate::debian::date::Date;
use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType, SubpacketData};
use pgp::types::{Duration, KeyDetails, Tag, Timestamp};
use thiserror::Error;

/// How far ahead of our clock a signer's may be, in seconds.
const FUTURE_SLACK: u64 = 600;

/// Why a signed text is refused.
#[derive(Debug, Error)]
pub enum SignatureError {
    /// The keyring is damaged.
    #[error("the keyring cannot be read")]
    Keyring(#[source] Box<pgp::errors::Error>),
    /// The keyring holds no key.
    #[error("the keyring holds no key")]
    NoKeys,
    /// The file is not UTF-8.
    #[error("the file is not UTF-8")]
    Encoding(#[source] std::str::Utf8Error),
    /// The file is not one clear-signed message, from its first byte to its last.
    #[error("the file is not a clear-signed message")]
    NotClearSigned(#[source] Box<pgp::errors::Error>),
    /// There is no signature.
    #[error("the file carries no signature")]
    Unsigned,
    /// No signer is in the keyring.
    #[error("it is signed by {0}, which is not in the keyring")]
    UnknownKey(String),
    /// The signature is of a kind that we do not read.
    #[error("the signature by {key} is not usable: {why}")]
    Unusable {
        /// Who seems to have signed.
        key: String,
        /// What we miss or do not know.
        why: &'static str,
    },
    /// The signature is over a digest for which forgeries can be made.
    #[error("the signature by {key} rests on the weak digest {digest}")]
    WeakDigest {
        /// Who seems to have signed.
        key: String,
        /// The digest's name.
        digest: String,
    },
    /// The signature was made later than now.
    #[error("the signature by {key} is from the future, {made}; correct the clock")]
    Future {
        /// Who seems to have signed.
        key: String,
        /// When.
        made: Date,
    },
    /// The signature itself has an end, which is over.
    #[error("the signature by {key} expired at {at}")]
    SignatureExpired {
        /// Who seems to have signed.
        key: String,
        /// When it expired.
        at: Date,
    },
    /// The key had expired when it signed.
    #[error("key {key} expired at {expired}, before it signed at {made}")]
    KeyExpired {
        /// The key.
        key: String,
        /// When it expired.
        expired: Date,
        /// When it signed.
        made: Date,
    },
    /// The key is revoked.
    #[error("key {0} is revoked")]
    KeyRevoked(String),
    /// The key was not, or not yet, meant for signatures, or lacks a valid self-signature.
    #[error("key {0} carries no valid statement that it may sign")]
    NotASigningKey(String),
    /// The text was changed, or the signature is forged.
    #[error("the signature by {key} does not match the text")]
    Bad {
        /// Who seems to have signed.
        key: String,
        /// What the arithmetic says.
        #[source]
        source: Box<pgp::errors::Error>,
    },
}

impl SignatureError {
    /// Of several refused signatures the one that tells most is reported: the highest.
    fn weight(&self) -> u8 {
        match self {
            SignatureError::UnknownKey(_) => 0,
            SignatureError::Unusable { .. } => 1,
            SignatureError::Future { .. } | SignatureError::SignatureExpired { .. } => 2,
            SignatureError::WeakDigest { .. } | SignatureError::NotASigningKey(_) => 3,
            SignatureError::KeyExpired { .. } | SignatureError::KeyRevoked(_) => 4,
            _ => 5,
        }
    }
}

/// Keys that are trusted to sign an archive.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
}

impl Keyring {
    /// Reads a keyring file: keys one after the other, binary or ASCII-armored.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        if bytes.is_empty() {
            return Err(SignatureError::NoKeys);
        }
        let unreadable = |error| SignatureError::Keyring(Box::new(error));
        let (keys, _) = SignedPublicKey::from_reader_many(bytes).map_err(unreadable)?;
        let keys: Vec<_> = keys.collect::<Result<_, _>>().map_err(unreadable)?;
        if keys.is_empty() {
            return Err(SignatureError::NoKeys);
        }
        Ok(Keyring { keys })
    }

    /// The text of a clear-signed file with one good signature at least.
    pub fn verify(&self, file: &[u8], now: Date) -> Result<String, SignatureError> {
        let file = std::str::from_utf8(file).map_err(SignatureError::Encoding)?;
        let (message, _) = CleartextSignedMessage::from_string(file)
            .map_err(|error| SignatureError::NotClearSigned(Box::new(error)))?;
        let text = message.signed_text();
        let mut refused = SignatureError::Unsigned;
        for (i, signature) in message.signatures().iter().enumerate() {
            match self.check(signature, text.as_bytes(), now) {
                Ok(()) => return Ok(text.replace("\r\n", "\n")),
                Err(error) if i == 0 || error.weight() > refused.weight() => refused = error,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    fn check(&self, signature: &Signature, text: &[u8], now: Date) -> Result<(), SignatureError> {
        let key = issuer(signature);
        let made = check_form(signature, &key, now)?;
        for certificate in &self.keys {
            if issued_by(signature, &certificate.primary_key) {
                let verified = signature.verify(&certificate.primary_key, text);
                verified.map_err(|error| bad(&key, error))?;
                return check_primary(certificate, made, true);
            }
            for subkey in &certificate.public_subkeys {
                if issued_by(signature, &subkey.key) {
                    let verified = signature.verify(&subkey.key, text);
                    verified.map_err(|error| bad(&key, error))?;
                    check_primary(certificate, made, false)?;
                    return check_subkey(certificate, subkey, made);
                }
            }
        }
        Err(SignatureError::UnknownKey(key))
    }
}

fn bad(key: &str, error: pgp::errors::Error) -> SignatureError {
    SignatureError::Bad {
        key: key.to_owned(),
        source: Box::new(error),
    }
}

/// Whom the signature names as its maker; not to be believed before the signature is verified.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(|f| format!("{f:X}"));
    let id = || {
        signature
            .issuer_key_id()
            .first()
            .map(|id| id.to_string().to_uppercase())
    };
    fingerprint
        .or_else(id)
        .unwrap_or_else(|| "an unnamed key".to_owned())
}

fn issued_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        return signature.issuer_key_id().contains(&&key.legacy_key_id());
    }
    fingerprints.contains(&&key.fingerprint())
}

/// What can be told without a key: kind, digest, dates. Gives the time of the signature.
fn check_form(signature: &Signature, key: &str, now: Date) -> Result<Timestamp, SignatureError> {
    let unusable = |why| SignatureError::Unusable {
        key: key.to_owned(),
        why,
    };
    let config = signature
        .config()
        .ok_or_else(|| unusable("its version is not known"))?;
    if config.typ != SignatureType::Text {
        return Err(unusable("it is not a signature over a text"));
    }
    if !is_strong(signature) {
        return Err(SignatureError::WeakDigest {
            key: key.to_owned(),
            digest: config.hash_alg.to_string(),
        });
    }
    let unknown = |data: &SubpacketData| {
        matches!(
            data,
            SubpacketData::Experimental(..) | SubpacketData::Other(..) | SubpacketData::Notation(_)
        )
    };
    if config
        .hashed_subpackets
        .iter()
        .any(|part| part.is_critical && unknown(&part.data))
    {
        return Err(unusable("it has a critical part that is not known"));
    }
    let made = signature
        .created()
        .ok_or_else(|| unusable("it does not say when it was made"))?;
    if date(made) > now.plus(FUTURE_SLACK) {
        return Err(SignatureError::Future {
            key: key.to_owned(),
            made: date(made),
        });
    }
    match end(made, signature.signature_expiration_time()) {
        Some(at) if at <= now => Err(SignatureError::SignatureExpired {
            key: key.to_owned(),
            at,
        }),
        _ => Ok(made),
    }
}

/// Digests for which no way to a forgery is known.
fn is_strong(signature: &Signature) -> bool {
    let strong = [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
        HashAlgorithm::Sha3_256,
        HashAlgorithm::Sha3_512,
    ];
    signature
        .hash_alg()
        .is_some_and(|digest| strong.contains(&digest))
}

fn date(time: Timestamp) -> Date {
    Date::from_unix(time.as_secs().into())
}

/// When a duration that starts at `start` is over; none, or one of zero, never is.
fn end(start: Timestamp, duration: Option<Duration>) -> Option<Date> {
    let seconds = duration
        .map(Duration::as_secs)
        .filter(|seconds| *seconds != 0)?;
    Some(date(start).plus(seconds.into()))
}

fn name(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

/// Whether the primary key was valid at `made`, and may sign texts itself if it is `the_signer`.
fn check_primary(
    certificate: &SignedPublicKey,
    made: Timestamp,
    the_signer: bool,
) -> Result<(), SignatureError> {
    let key = &certificate.primary_key;
    let details = &certificate.details;
    let mut revocations = details.revocation_signatures.iter();
    if revocations.any(|revocation| revocation.verify_key(key).is_ok() && revokes(revocation, made))
    {
        return Err(SignatureError::KeyRevoked(name(key)));
    }
    let direct = details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key) && signature.verify_key(key).is_ok()
    });
    let by_user = details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && signature
                    .verify_certification(key, Tag::UserId, &user.id)
                    .is_ok()
        })
    });
    let statement = newest(direct.chain(by_user), made)
        .ok_or_else(|| SignatureError::NotASigningKey(name(key)))?;
    check_life(key, statement, made)?;
    if the_signer && !statement.key_flags().sign() {
        return Err(SignatureError::NotASigningKey(name(key)));
    }
    Ok(())
}

/// Whether the subkey was bound to the primary key, valid and meant for signing at `made`.
fn check_subkey(
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    made: Timestamp,
) -> Result<(), SignatureError> {
    let (primary, key) = (&certificate.primary_key, &subkey.key);
    let verified = |typ| {
        subkey
            .signatures
            .iter()
            .filter(move |s| s.typ() == Some(typ) && s.verify_subkey_binding(primary, key).is_ok())
    };
    if verified(SignatureType::SubkeyRevocation).any(|revocation| revokes(revocation, made)) {
        return Err(SignatureError::KeyRevoked(name(key)));
    }
    let not_signing = || SignatureError::NotASigningKey(name(key));
    let binding = newest(verified(SignatureType::SubkeyBinding), made).ok_or_else(not_signing)?;
    check_life(key, binding, made)?;
    // The subkey must state in turn that it belongs to the primary key, or anyone could adopt it.
    let back = binding.embedded_signature().filter(|back| is_strong(back));
    let mutual = back.is_some_and(|back| back.verify_primary_key_binding(key, primary).is_ok());
    if !binding.key_flags().sign() || !mutual {
        return Err(not_signing());
    }
    Ok(())
}

/// The statement about a key that held at `at`: the last one made until then that had not expired itself.
fn newest<'a>(
    statements: impl Iterator<Item = &'a Signature>,
    at: Timestamp,
) -> Option<&'a Signature> {
    statements
        .filter(|statement| is_strong(statement))
        .filter_map(|statement| Some((statement.created()?, statement)))
        .filter(|(made, statement)| {
            let expired = end(*made, statement.signature_expiration_time())
                .is_some_and(|end| end <= date(at));
            *made <= at && !expired
        })
        .max_by_key(|(made, _)| *made)
        .map(|(_, statement)| statement)
}

fn check_life(
    key: &impl KeyDetails,
    statement: &Signature,
    made: Timestamp,
) -> Result<(), SignatureError> {
    match end(key.created_at(), statement.key_expiration_time()) {
        Some(expired) if expired <= date(made) => Err(SignatureError::KeyExpired {
            key: name(key),
            expired,
            made: date(made),
        }),
        _ => Ok(()),
    }
}

/// Whether a verified revocation concerns what the key did at `made`.
fn revokes(revocation: &Signature, made: Timestamp) -> bool {
    let soft = [RevocationCode::KeySuperseded, RevocationCode::KeyRetired];
    let is_soft = revocation
        .revocation_reason_code()
        .is_some_and(|code| soft.contains(code));
    !is_soft || revocation.created().is_none_or(|since| since <= made)
}
