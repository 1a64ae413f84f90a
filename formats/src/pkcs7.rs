//! SignedData of PKCS#7 (RFC 2315), with exactly one signer: the form of signatures in boot programs, in updates of
//! firmware variables, and of kernel modules. What is made here has SHA-256.
//!
//! ```text
//! SignedData: version 1, SHA-256, contentInfo, [0] the signer's certificate,
//!   signerInfo: version 1, issuer and serial number, SHA-256, [0] attributes, rsaEncryption, signature
//! ```
//!
//! What the signature is over is the caller's matter: the attributes as a SET, or without any the content.

use crate::der::{
    self, INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET, context, element,
};
use crate::x509::{Certificate, RSA_ENCRYPTION};

/// id-data, 1.2.840.113549.1.7.1.
pub(crate) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
/// id-signedData, 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
/// contentType, 1.2.840.113549.1.9.3.
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
/// messageDigest, 1.2.840.113549.1.9.4.
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
/// SHA-256, 2.16.840.1.101.3.4.2.1.
pub(crate) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const VERSION_1: &[u8] = &[INTEGER, 1, 1];

/// An object identifier.
pub(crate) fn identifier(oid: &[u8]) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, &[oid])
}

fn algorithm(oid: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[&identifier(oid), &[NULL, 0]])
}

/// The AlgorithmIdentifier of SHA-256.
pub(crate) fn sha256() -> Vec<u8> {
    algorithm(SHA256)
}

/// ContentInfo: a type, and content in an element of its own.
pub(crate) fn content_info(oid: &[u8], content: &[u8]) -> Vec<u8> {
    let content = element(context(0), &[content]);
    element(SEQUENCE, &[&identifier(oid), &content])
}

/// ContentInfo around SignedData.
pub(crate) fn wrap(signed_data: &[u8]) -> Vec<u8> {
    content_info(SIGNED_DATA, signed_data)
}

/// The attributes' content in DER's order: what content was signed, and its digest.
pub(crate) fn attributes(content_type: &[u8], digest: &[u8; 32]) -> Vec<u8> {
    let attribute = |oid: &[u8], value: &[u8]| {
        let values = element(SET, &[value]);
        element(SEQUENCE, &[&identifier(oid), &values])
    };
    let mut both = [
        attribute(CONTENT_TYPE, &identifier(content_type)),
        attribute(MESSAGE_DIGEST, &element(OCTET_STRING, &[digest])),
    ];
    both.sort();
    both.concat()
}

/// SignedData with the parts that differ.
pub(crate) fn signed_data(
    certificate: &Certificate,
    content_info: &[u8],
    attributes: Option<&[u8]>,
    signature: &[u8],
) -> Vec<u8> {
    let attributes = attributes.map(|content| element(context(0), &[content]));
    let signer_info = element(
        SEQUENCE,
        &[
            VERSION_1,
            certificate.issuer_and_serial(),
            &sha256(),
            &attributes.unwrap_or_default(),
            &algorithm(RSA_ENCRYPTION),
            &element(OCTET_STRING, &[signature]),
        ],
    );
    element(
        SEQUENCE,
        &[
            VERSION_1,
            &element(SET, &[&sha256()]),
            content_info,
            &element(context(0), &[certificate.der()]),
            &element(SET, &[&signer_info]),
        ],
    )
}

/// SignedData that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedData<'a> {
    /// The type of what was signed.
    pub(crate) content_type: &'a [u8],
    /// What was signed, if it is not detached.
    pub(crate) content: Option<der::Element<'a>>,
    /// The certificates that come along, one after the other.
    pub(crate) certificates: &'a [u8],
    /// The digest's algorithm.
    pub(crate) digest: &'a [u8],
    /// Who signed.
    pub(crate) issuer_and_serial: &'a [u8],
    /// The attributes' content.
    pub(crate) attributes: Option<&'a [u8]>,
    /// The signature itself.
    pub(crate) signature: &'a [u8],
}

impl<'a> SignedData<'a> {
    /// Reads SignedData in its ContentInfo. Zeros may follow, as they do in a certificate table.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, der::Error> {
        let mut outer = Reader::new(bytes);
        let mut info = outer.take(SEQUENCE, "ContentInfo")?.inside();
        if outer.rest().iter().any(|byte| *byte != 0) {
            return Err(der::Error("end behind ContentInfo"));
        }
        info.identifier(SIGNED_DATA, "content type (signedData)")?;
        let mut content = info.take(context(0), "content")?.inside();
        let mut data = content.take(SEQUENCE, "SignedData")?.inside();
        data.take(INTEGER, "version")?;
        data.take(SET, "digestAlgorithms")?;
        let mut info = data.take(SEQUENCE, "contentInfo")?.inside();
        let content_type = info.take(OBJECT_IDENTIFIER, "contentType")?.content;
        let content = info.optional(context(0));
        let certificates = data.optional(context(0)).map(|set| set.content);
        data.optional(context(1));
        let mut signers = data.take(SET, "signerInfos")?.inside();
        let mut signer = signers.take(SEQUENCE, "signerInfo")?.inside();
        signers.end("single signerInfo")?;
        signer.take(INTEGER, "version of signerInfo")?;
        let issuer_and_serial = signer.take(SEQUENCE, "issuerAndSerialNumber")?.whole;
        let mut digest = signer.take(SEQUENCE, "digestAlgorithm")?.inside();
        let digest = digest.take(OBJECT_IDENTIFIER, "digestAlgorithm")?.content;
        let attributes = signer.optional(context(0)).map(|set| set.content);
        signer.take(SEQUENCE, "digestEncryptionAlgorithm")?;
        Ok(SignedData {
            content_type,
            content: content.and_then(|content| content.inside().any()),
            certificates: certificates.unwrap_or_default(),
            digest,
            issuer_and_serial,
            attributes,
            signature: signer.take(OCTET_STRING, "encryptedDigest")?.content,
        })
    }

    /// Whether the attributes name this content's type and digest, each exactly once.
    pub(crate) fn attributes_name(&self, content_type: &[u8], digest: &[u8; 32]) -> bool {
        let value = |oid| self.attribute(oid).map(|value| value.content);
        value(CONTENT_TYPE) == Some(content_type) && value(MESSAGE_DIGEST) == Some(&digest[..])
    }

    fn attribute(&self, oid: &[u8]) -> Option<der::Element<'a>> {
        let mut attributes = Reader::new(self.attributes?);
        let mut found = None;
        while let Some(attribute) = attributes.any() {
            let mut fields = attribute.inside();
            if fields.optional(OBJECT_IDENTIFIER)?.content != oid {
                continue;
            }
            let value = fields.optional(SET)?.inside().any()?;
            if found.replace(value).is_some() {
                return None;
            }
        }
        found
    }
}
