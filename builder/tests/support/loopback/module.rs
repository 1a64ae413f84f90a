//! Kernel modules that say for which kernel they are, and carry signatures.

use super::machine::elf;
use contract::partition::Arch;

/// The header of an ELF section, in bytes.
const HEADER: usize = 64;

/// A module of `arch` with nothing but a `.modinfo`, which names the kernel `release` that it is for.
pub fn module(arch: Arch, release: &str) -> Vec<u8> {
    let info = format!("license=GPL\0vermagic={release} SMP preempt mod_unload modversions \0");
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut bytes = elf(arch);
    let (info_at, names_at) = (bytes.len(), bytes.len() + info.len());
    bytes.extend(info.as_bytes());
    bytes.extend(names);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let headers = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&headers.to_le_bytes());
    // Their number, and which of them has the names.
    bytes[60..62].copy_from_slice(&3_u16.to_le_bytes());
    bytes[62..64].copy_from_slice(&2_u16.to_le_bytes());
    let mut section = |name: u32, kind: u32, at: usize, len: usize| {
        let mut header = vec![0; HEADER];
        header[..4].copy_from_slice(&name.to_le_bytes());
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
        header[32..40].copy_from_slice(&(len as u64).to_le_bytes());
        bytes.extend(header);
    };
    section(0, 0, 0, 0);
    section(1, 1, info_at, info.len());
    section(10, 3, names_at, names.len());
    bytes
}

/// A module with SignedData at its end.
pub fn with_signature(module: &[u8], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    let trailer = [&[0, 0, 2, 0, 0, 0, 0, 0][..], &length].concat();
    let magic = b"~Module signature appended~\n";
    [module, data, &trailer, magic].concat()
}

/// SignedData of a key that only the kernel knows: whose it is can be read, and nobody here can check it.
pub fn kernels_signature() -> Vec<u8> {
    const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
    const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
    const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let algorithm = |oid: &'static [u8]| element(0x30, &[element(6, &[oid])]);
    let (version, serial) = (vec![2, 1, 1], vec![2, 1, 7]);
    let issuer_and_serial = element(0x30, &[element(0x30, NONE), serial]);
    let signature = element(4, &[[0_u8; 8]]);
    let signer = element(
        0x30,
        &[
            version.clone(),
            issuer_and_serial,
            algorithm(SHA256),
            algorithm(ECDSA),
            signature,
        ],
    );
    let signed = element(
        0x30,
        &[
            version,
            element(0x31, &[algorithm(SHA256)]),
            element(0x30, &[element(6, &[DATA])]),
            element(0x31, &[signer]),
        ],
    );
    element(
        0x30,
        &[element(6, &[SIGNED_DATA]), element(0xa0, &[signed])],
    )
}

const NONE: &[[u8; 0]] = &[];

/// An element of DER, which is short.
fn element<P: AsRef<[u8]>>(tag: u8, parts: &[P]) -> Vec<u8> {
    let content: Vec<u8> = parts
        .iter()
        .flat_map(|part| part.as_ref().to_vec())
        .collect();
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 0x80);
    [&[tag, length][..], &content].concat()
}
