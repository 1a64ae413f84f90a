//! Opens a disk image, whatever its format.

use anyhow::Context;
use formats::disk::ReadError;
use formats::read_at::ReadAt;
use formats::{ova, qcow2, seekable_zstd, vhd, vhdx, vmdk};
use std::fs::File;
use std::io;
use std::path::Path;

/// A disk, and the format of the file that holds it.
pub(super) struct Disk {
    pub(super) format: &'static str,
    bytes: Box<dyn ReadAt>,
}

type Open = fn(File) -> Result<Box<dyn ReadAt>, ReadError>;

/// In the order in which they are tried; what is none of them is a raw image.
const FORMATS: [(&str, Open); 6] = [
    ("qcow2", |file| Ok(Box::new(qcow2::Image::open(file)?))),
    ("vmdk", |file| Ok(Box::new(vmdk::Image::open(file)?))),
    ("vhdx", |file| Ok(Box::new(vhdx::Image::open(file)?))),
    ("raw.zst", |file| {
        Ok(Box::new(seekable_zstd::Image::open(file)?))
    }),
    ("ova", |file| Ok(Box::new(ova::open(file)?))),
    ("vhd", |file| Ok(Box::new(vhd::open(file)?))),
];

impl ReadAt for Disk {
    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.read_exact_at(buf, offset)
    }
}

/// Opens the image at `path`.
pub(super) fn open(path: &Path) -> anyhow::Result<Disk> {
    let open = || File::open(path).with_context(|| format!("opening {}", path.display()));
    for (format, reader) in FORMATS {
        match reader(open()?) {
            Ok(bytes) => return Ok(Disk { format, bytes }),
            Err(ReadError::Other(_)) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", path.display()));
            }
        }
    }
    Ok(Disk {
        format: "raw",
        bytes: Box::new(open()?),
    })
}
