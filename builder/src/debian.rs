//! Debian archives: reading, verifying and resolving them.
//!
//! The flow: `InRelease` bytes become a verified [`release::Release`], its digests admit a `Packages` index
//! ([`packages`]), and [`solve`] turns names into the closure of packages to lock. [`archive::Opened`] is the
//! whole way. There is no effect here but the one that the caller passes in as an [`ArchiveReader`]: no
//! clock, no network, no file of the host.

pub mod apt_sources;
pub mod archive;
pub mod date;
pub mod deb822;
pub mod keyring;
pub mod packages;
pub mod relation;
pub mod release;
pub mod solve;
pub mod version;

/// Reads files of one archive.
pub trait ArchiveReader {
    /// All bytes of one file, by its path below the archive's root, such as `dists/trixie/InRelease`.
    fn read(&self, path: &str) -> anyhow::Result<Vec<u8>>;
}
