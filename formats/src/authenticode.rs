//! Signatures of UEFI programs: Microsoft's "Windows Authenticode Portable Executable Signature Format", as
//! UEFI's Secure Boot uses it (UEFI Specification, section 32.5), with RSA and SHA-256.
//!
//! ```text
//! the image                 its certificate table's entry and CheckSum set, padded to 8 bytes
//! WIN_CERTIFICATE           dwLength, wRevision 0x0200, wCertificateType 2
//!   PKCS#7 SignedData       of SpcIndirectDataContent, which holds the image's digest
//! zeros                     to 8 bytes
//! ```
//!
//! The digest is over every byte of the padded image but CheckSum, the entry of the certificate table, and
//! the table itself. The format hashes headers, sections by their place in the file, and what follows; that
//! is the file from end to end if the sections leave no gap. Where they do, implementations disagree
//! ([`Error::Gap`]), so such an image is neither signed nor verified.
//!
//! No time is in a signature: the same image, certificate and key give the same bytes.

mod image;
mod indirect_data;
mod recorded;

pub use recorded::Recorded;

use crate::bytes::hex;
use crate::der;
use crate::pe;
use crate::pkcs7::{self, SignedData};
use crate::signer::{self, Signer};
use crate::tree::Content;
use crate::x509::Certificate;
use image::Image;
use std::io::{self, Write};

/// Why an image cannot be signed, or a signature does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a PE image.
    #[error("the boot program is not usable")]
    Pe(#[source] pe::Error),
    /// The bytes cannot be read.
    #[error("reading the boot program failed")]
    Read(#[source] io::Error),
    /// Sections that leave a gap, or overlap each other or the headers.
    #[error(
        "the boot program's sections are not one behind the other: one begins at byte {found:#x} of the file, not at {expected:#x}"
    )]
    Gap {
        /// Where the section begins.
        found: u64,
        /// Where what is before it ends.
        expected: u64,
    },
    /// No entry for the certificate table among the data directories.
    #[error("the boot program's headers have no place for a certificate table")]
    NoDirectory,
    /// A certificate table that is not at the end, or not made of certificates.
    #[error("the boot program's certificate table is damaged: {0}")]
    Table(&'static str),
    /// Signed images are not signed again.
    #[error("the boot program carries a signature already: sign the unsigned one")]
    Signed,
    /// Nothing vouches for the image.
    #[error("the boot program carries no signature")]
    Unsigned,
    /// The image would not fit in its own offsets.
    #[error("the signed boot program would have 4 GiB or more")]
    TooLarge,
    /// There is no signature to embed.
    #[error("the boot program cannot be signed")]
    Signer(#[source] signer::Error),
    /// The signature cannot be read.
    #[error("the boot program's signature is not usable")]
    Der(#[source] der::Error),
    /// A signature that contradicts itself.
    #[error("the boot program's signature is damaged: {0}")]
    Signature(&'static str),
    /// Somebody else's signature.
    #[error("the boot program's signature was made by another certificate")]
    OtherCertificate,
    /// The signature names the certificate, but the certificate's key did not make it.
    #[error("the boot program's signature does not hold under its certificate")]
    Invalid,
    /// The image is not the one that was signed.
    #[error(
        "the boot program was changed after it was signed: its digest is {}, and the signature is over {}",
        hex(.found), hex(.signed)
    )]
    Digest {
        /// The digest of the image.
        found: [u8; 32],
        /// The digest in the signature.
        signed: [u8; 32],
    },
    /// The signed image cannot be written.
    #[error("writing the signed boot program failed")]
    Write(#[source] io::Error),
}

/// The Authenticode digest (SHA-256) of `image`. An unsigned image counts as padded to 8 bytes, as it is
/// once it is signed.
pub fn digest(image: &Content) -> Result<[u8; 32], Error> {
    Ok(Image::read(image)?.sums()?.digest)
}

/// An image with its signature, ready to be written.
#[derive(Clone, Debug)]
pub struct Signed {
    headers: Vec<u8>,
    image: Content,
    tail: Vec<u8>,
}

/// Signs `image`.
pub fn sign(image: &Content, signer: &(impl Signer + ?Sized)) -> Result<Signed, Error> {
    let unsigned = Image::read(image)?;
    if unsigned.is_signed() {
        return Err(Error::Signed);
    }
    let sums = unsigned.sums()?;
    let content = indirect_data::encode(&sums.digest);
    let attributes = indirect_data::attributes(&content);
    let message = der::element(der::SET, &[&attributes]);
    let signature = signer::sign(signer, &message).map_err(Error::Signer)?;
    let content_info = pkcs7::content_info(indirect_data::OID, &content);
    let certificate = signer.certificate();
    let signed_data = pkcs7::signed_data(certificate, &content_info, Some(&attributes), &signature);
    let (headers, tail) = unsigned.embed(&pkcs7::wrap(&signed_data), &sums)?;
    Ok(Signed {
        headers,
        image: image.clone(),
        tail,
    })
}

impl Signed {
    /// The size of the signed image in bytes.
    pub fn size(&self) -> u64 {
        self.image.len() + self.tail.len() as u64
    }

    /// Writes the signed image.
    pub fn write(&self, out: &mut impl Write) -> Result<(), Error> {
        out.write_all(&self.headers).map_err(Error::Write)?;
        let written = self.headers.len() as u64;
        self.image.read_chunks(written, Error::Read, |_, chunk| {
            out.write_all(chunk).map_err(Error::Write)
        })?;
        out.write_all(&self.tail).map_err(Error::Write)
    }
}

/// A signature that an image carries. That it was read says nothing about who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The Authenticode digest (SHA-256) of the image that was signed.
    pub digest: [u8; 32],
    certificates: Vec<u8>,
    issuer_and_serial: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Signature {
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let data = SignedData::parse(bytes).map_err(Error::Der)?;
        if data.digest != pkcs7::SHA256 {
            return Err(Error::Signature("it is not made with SHA-256"));
        }
        if data.content_type != indirect_data::OID {
            return Err(Error::Signature("it is over something else than an image"));
        }
        let content = data.content.ok_or(Error::Signature("it has no content"))?;
        let named = data.attributes_name(indirect_data::OID, &indirect_data::hash(content.content));
        let attributes = data.attributes.filter(|_| named);
        let attributes =
            attributes.ok_or(Error::Signature("its attributes do not name its content"))?;
        Ok(Signature {
            digest: indirect_data::parse(content).map_err(Error::Der)?,
            certificates: data.certificates.to_vec(),
            issuer_and_serial: data.issuer_and_serial.to_vec(),
            message: der::element(der::SET, &[attributes]),
            signature: data.signature.to_vec(),
        })
    }

    /// The certificate that the signature names, which came along with it: whoever signed chose it.
    pub fn certificate(&self) -> Result<Certificate, Error> {
        let mut rest = der::Reader::new(&self.certificates);
        while let Some(element) = rest.any() {
            match Certificate::parse(element.whole) {
                Ok(found) if found.issuer_and_serial() == self.issuer_and_serial => {
                    return Ok(found);
                }
                // Others of the signer's chain may have keys of any kind.
                Ok(_) | Err(_) => {}
            }
        }
        Err(Error::Signature("its certificate did not come along"))
    }

    /// Checks that `certificate` made the signature, itself: chains of certificates are not followed.
    pub fn verify(&self, certificate: &Certificate) -> Result<(), Error> {
        if self.issuer_and_serial != certificate.issuer_and_serial() {
            return Err(Error::OtherCertificate);
        }
        match certificate.verify(&self.message, &self.signature) {
            true => Ok(()),
            false => Err(Error::Invalid),
        }
    }
}

/// The signatures that `image` carries, in their order; none are of another kind than PKCS#7.
pub fn signatures(image: &Content) -> Result<Vec<Signature>, Error> {
    let found = Image::read(image)?.certificates()?;
    found.iter().map(|bytes| Signature::parse(bytes)).collect()
}

/// Checks that one of the signatures of `image` is over these bytes and by `certificate`.
pub fn verify(image: &Content, certificate: &Certificate) -> Result<(), Error> {
    let found = digest(image)?;
    let mut reason = Error::Unsigned;
    for signature in signatures(image)? {
        let signed = signature.digest;
        match signature.verify(certificate) {
            Ok(()) if signed == found => return Ok(()),
            Ok(()) => reason = Error::Digest { found, signed },
            // What is wrong with somebody else's signature explains less than what is wrong with ours.
            Err(other) if matches!(reason, Error::Unsigned | Error::OtherCertificate) => {
                reason = other;
            }
            Err(_) => {}
        }
    }
    Err(reason)
}
