//! Bytes to values and back: erofs, dm-verity, FAT, GPT, cpio, PE/UKI, Secure Boot's signatures and those of
//! kernel modules, GRUB for BIOS, ISO 9660, and disk images: qcow2, vmdk, VHD, VHDX, seekable zstd.
//!
//! Nothing here knows a clock, randomness, a process or the network, and nothing panics on bad input.

pub mod addon;
pub mod authenticode;
mod bytes;
mod civil;
pub mod cpio;
mod der;
pub mod disk;
pub mod efi_variables;
pub mod erofs;
pub mod fat;
pub mod gpt;
pub mod grub;
pub mod iso9660;
pub mod module_signature;
pub mod ova;
pub mod pe;
mod pkcs7;
pub mod qcow2;
pub mod read_at;
pub mod seekable_zstd;
pub mod signer;
pub mod tree;
pub mod uki;
pub mod verity;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;
pub mod x509;
