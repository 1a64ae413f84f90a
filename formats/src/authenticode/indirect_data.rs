//! SpcIndirectDataContent: the structure around an image's digest.
//!
//! ```text
//! SEQUENCE
//!   SEQUENCE SpcAttributeTypeAndOptionalValue: SPC_PE_IMAGE_DATAOBJ,
//!     SEQUENCE SpcPeImageData: flags (an empty BIT STRING), [0] [2] [0] "<<<Obsolete>>>"
//!   SEQUENCE DigestInfo: SHA-256, the digest
//! ```

use crate::der::{self, BIT_STRING, Element, OCTET_STRING, SEQUENCE, context, element, implicit};
use crate::pkcs7;
use sha2::{Digest, Sha256};

/// SPC_INDIRECT_DATA_OBJID, 1.3.6.1.4.1.311.2.1.4.
pub(super) const OID: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 4];
/// SPC_PE_IMAGE_DATAOBJ, 1.3.6.1.4.1.311.2.1.15.
const PE_IMAGE_DATA: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 15];
/// What the format prescribes as the name of the file.
const FILE: &str = "<<<Obsolete>>>";

/// The structure for an image with this digest.
pub(super) fn encode(digest: &[u8; 32]) -> Vec<u8> {
    let file: Vec<u8> = FILE.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let file = element(context(2), &[&element(implicit(0), &[&file])]);
    let flags = element(BIT_STRING, &[&[0]]);
    let image = element(SEQUENCE, &[&flags, &element(context(0), &[&file])]);
    let kind = element(SEQUENCE, &[&pkcs7::identifier(PE_IMAGE_DATA), &image]);
    let digest = element(OCTET_STRING, &[digest]);
    let digest = element(SEQUENCE, &[&pkcs7::sha256(), &digest]);
    element(SEQUENCE, &[&kind, &digest])
}

/// The signed attributes for an encoded structure.
pub(super) fn attributes(content: &[u8]) -> Vec<u8> {
    // Of the outer SEQUENCE only the content is hashed (RFC 2315, section 9.3).
    let content = der::Reader::new(content).any();
    let inside = content.map_or(&[][..], |content| content.content);
    pkcs7::attributes(OID, &hash(inside))
}

pub(super) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The digest in the structure.
pub(super) fn parse(content: Element<'_>) -> Result<[u8; 32], der::Error> {
    if content.tag != SEQUENCE {
        return Err(der::Error("SpcIndirectDataContent"));
    }
    let mut fields = content.inside();
    let mut kind = fields
        .take(SEQUENCE, "SpcAttributeTypeAndOptionalValue")?
        .inside();
    kind.identifier(PE_IMAGE_DATA, "type of signed data (PE image)")?;
    let mut info = fields.take(SEQUENCE, "DigestInfo")?.inside();
    fields.end("end of SpcIndirectDataContent")?;
    let mut algorithm = info.take(SEQUENCE, "digestAlgorithm")?.inside();
    algorithm.identifier(pkcs7::SHA256, "digestAlgorithm (SHA-256)")?;
    let digest = info.take(OCTET_STRING, "digest")?;
    info.end("end of DigestInfo")?;
    digest
        .content
        .try_into()
        .map_err(|_| der::Error("digest of 32 bytes"))
}
