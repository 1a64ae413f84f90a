//! The formats that a disk is written in.

use super::Identity;
use formats::disk::{Disk, Error};
use formats::qcow2::{self, Compression};
use formats::{ova, seekable_zstd, vhd, vhdx, vmdk};
use std::fmt;
use std::fs::File;
use std::io::{Seek, Write};

/// A file format of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// A disk image, sparse.
    Raw,
    /// The same, compressed.
    RawZst,
    /// For sticks, CDs and virtual media: a disk image as small as its contents, which is a CD too.
    Iso,
    /// For QEMU and private clouds, compressed with zstd.
    Qcow2,
    /// The same compressed with deflate, for hosts that know no other.
    Qcow2Deflate,
    /// For VMware and VirtualBox: streamOptimized.
    Vmdk,
    /// A machine with such a disk.
    Ova,
    /// For Azure: fixed.
    Vhd,
    /// For Hyper-V: dynamic.
    Vhdx,
}

impl Format {
    /// How files of this format are called after their stem, without a leading dot.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::RawZst => "raw.zst",
            Format::Iso => "iso",
            Format::Qcow2 => "qcow2",
            Format::Qcow2Deflate => "deflate.qcow2",
            Format::Vmdk => "vmdk",
            Format::Ova => "ova",
            Format::Vhd => "vhd",
            Format::Vhdx => "vhdx",
        }
    }

    /// Whether machines see 512-byte sectors on every disk of this format, whatever they are told.
    pub(super) fn has_sectors_of_512(self) -> bool {
        match self {
            Format::Raw | Format::RawZst | Format::Qcow2 | Format::Qcow2Deflate => false,
            Format::Iso | Format::Vmdk | Format::Ova | Format::Vhd | Format::Vhdx => true,
        }
    }

    /// Whether it is made from the raw disk, rather than written by itself.
    pub(super) fn is_converted(self) -> bool {
        !matches!(self, Format::Raw | Format::Iso)
    }

    /// Converts the disk; nothing for formats that are not made so.
    pub(super) fn write(
        self,
        disk: &Disk<'_, File>,
        identity: &Identity,
        out: impl Write + Seek + Send,
    ) -> Result<(), Error> {
        let id = identity.guid;
        let content_id = u32::from_be_bytes([id[0], id[1], id[2], id[3]]);
        match self {
            Format::Raw | Format::Iso => Ok(()),
            Format::RawZst => seekable_zstd::write(disk, out),
            Format::Qcow2 => qcow2::write(disk, Compression::Zstd, out),
            Format::Qcow2Deflate => qcow2::write(disk, Compression::Deflate, out),
            Format::Vmdk => vmdk::write(disk, content_id, out),
            Format::Ova => {
                let machine = ova::Machine {
                    name: &identity.name,
                    time: identity.epoch,
                    content_id,
                };
                ova::write(disk, &machine, out)
            }
            Format::Vhd => {
                let time = identity.epoch;
                vhd::write(disk, &vhd::Options { id, time }, out)
            }
            Format::Vhdx => vhdx::write(disk, id, out),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.ending())
    }
}
