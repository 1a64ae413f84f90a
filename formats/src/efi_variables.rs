//! The firmware variables that Secure Boot trusts, and signed updates of them (UEFI Specification, sections
//! 8.2.2 and 32.4): what systemd-boot enrols from `loader/keys/NAME/` of the ESP.
//!
//! ```text
//! EFI_VARIABLE_AUTHENTICATION_2
//!   EFI_TIME                     16 bytes: the year as 2 bytes, month, day, hour, minute, second, zeros
//!   WIN_CERTIFICATE_UEFI_GUID    dwLength, wRevision 0x0200, wCertificateType 0x0ef1, EFI_CERT_TYPE_PKCS7_GUID
//!     PKCS#7 SignedData          detached, without a ContentInfo around it and without attributes
//! EFI_SIGNATURE_LIST             one for each certificate
//! ```
//!
//! Firmware takes an update only if its time is later than that of the last one.

use crate::bytes::{put, swap_guid};
use crate::civil::Civil;
use crate::der::{SEQUENCE, element};
use crate::pkcs7;
use crate::signer::{self, Signer};
use crate::x509::Certificate;

/// A GUID with its bytes in the order of the text form.
type Guid = [u8; 16];

/// EFI_GLOBAL_VARIABLE, 8be4df61-93ca-11d2-aa0d-00e098032b8c.
const GLOBAL_VARIABLE: Guid = 0x8be4df61_93ca_11d2_aa0d_00e098032b8c_u128.to_be_bytes();
/// EFI_IMAGE_SECURITY_DATABASE_GUID, d719b2cb-3d3a-4596-a3bc-dad00e67656f.
const IMAGE_SECURITY_DATABASE: Guid = 0xd719b2cb_3d3a_4596_a3bc_dad00e67656f_u128.to_be_bytes();
/// EFI_CERT_X509_GUID, a5c059a1-94e4-4aa7-87b5-ab155c2bf072.
const CERT_X509: Guid = 0xa5c059a1_94e4_4aa7_87b5_ab155c2bf072_u128.to_be_bytes();
/// EFI_CERT_TYPE_PKCS7_GUID, 4aafd29d-68df-49ee-8aa9-347d375665a7.
const CERT_TYPE_PKCS7: Guid = 0x4aafd29d_68df_49ee_8aa9_347d375665a7_u128.to_be_bytes();

/// EFI_VARIABLE_NON_VOLATILE, _BOOTSERVICE_ACCESS, _RUNTIME_ACCESS, _TIME_BASED_AUTHENTICATED_WRITE_ACCESS.
const ATTRIBUTES: u32 = 0x0000_0027;
const LIST_HEADER: usize = 28;
const CERTIFICATE_HEADER: usize = 24;
const REVISION_2: u16 = 0x0200;
const WIN_CERT_TYPE_EFI_GUID: u16 = 0x0ef1;

/// A variable that holds certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Who may change the platform key and the key exchange keys; once it is set, Secure Boot is on.
    PlatformKey,
    /// Who may change what may be started.
    KeyExchangeKey,
    /// Whose programs may be started.
    Database,
}

impl Variable {
    /// Its name, which is also what systemd-boot calls the file with its update, before `.auth`.
    pub fn name(self) -> &'static str {
        match self {
            Variable::PlatformKey => "PK",
            Variable::KeyExchangeKey => "KEK",
            Variable::Database => "db",
        }
    }

    fn vendor(self) -> Guid {
        match self {
            Variable::PlatformKey | Variable::KeyExchangeKey => GLOBAL_VARIABLE,
            Variable::Database => IMAGE_SECURITY_DATABASE,
        }
    }
}

/// Why there is no signature list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a certificate has {0} bytes, more than a signature list can hold")]
pub struct TooLarge(usize);

/// The content of a variable: one EFI_SIGNATURE_LIST for each certificate. `owner` is a GUID, its bytes in
/// the order of the text form, which tells later whose certificates these are.
pub fn signature_lists(owner: Guid, certificates: &[&Certificate]) -> Result<Vec<u8>, TooLarge> {
    let mut lists = Vec::new();
    for certificate in certificates {
        let der = certificate.der();
        let short = |size: usize| u32::try_from(size).map_err(|_| TooLarge(der.len()));
        let mut header = [0; LIST_HEADER];
        put(&mut header, 0, &swap_guid(CERT_X509));
        put(
            &mut header,
            16,
            &short(LIST_HEADER + 16 + der.len())?.to_le_bytes(),
        );
        put(&mut header, 24, &short(16 + der.len())?.to_le_bytes());
        lists.extend_from_slice(&header);
        lists.extend_from_slice(&swap_guid(owner));
        lists.extend_from_slice(der);
    }
    Ok(lists)
}

/// An update that sets `variable` to `content`, dated `time` (seconds since 1970, clamped to the years 1980
/// to 2107) and signed by `signer`. Firmware wants the platform key's update signed by the platform key
/// itself, that of the key exchange keys by the platform key, that of the database by a key exchange key.
pub fn signed_update(
    variable: Variable,
    time: i64,
    content: &[u8],
    signer: &(impl Signer + ?Sized),
) -> Result<Vec<u8>, signer::Error> {
    let time = efi_time(time);
    let mut message: Vec<u8> = variable
        .name()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    message.extend_from_slice(&swap_guid(variable.vendor()));
    message.extend_from_slice(&ATTRIBUTES.to_le_bytes());
    message.extend_from_slice(&time);
    message.extend_from_slice(content);
    let signature = signer::sign(signer, &message)?;
    let detached = element(SEQUENCE, &[&pkcs7::identifier(pkcs7::DATA)]);
    let signed_data = pkcs7::signed_data(signer.certificate(), &detached, None, &signature);

    let length = CERTIFICATE_HEADER + signed_data.len();
    let length = u32::try_from(length).map_err(|_| signer::Error::TooLarge(length))?;
    let mut header = [0; CERTIFICATE_HEADER];
    put(&mut header, 0, &length.to_le_bytes());
    put(&mut header, 4, &REVISION_2.to_le_bytes());
    put(&mut header, 6, &WIN_CERT_TYPE_EFI_GUID.to_le_bytes());
    put(&mut header, 8, &swap_guid(CERT_TYPE_PKCS7));
    Ok([&time[..], &header, &signed_data, content].concat())
}

/// EFI_TIME with nanosecond, time zone and daylight saving zero, as such updates want it.
fn efi_time(seconds: i64) -> [u8; 16] {
    let time = Civil::at(seconds);
    let mut bytes = [0; 16];
    put(&mut bytes, 0, &time.year.to_le_bytes());
    let rest = [time.month, time.day, time.hour, time.minute, time.second];
    put(&mut bytes, 2, &rest);
    bytes
}
