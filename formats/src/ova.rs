//! OVA packages: a virtual machine with its disk in one file, as VMware and VirtualBox import it (DMTF DSP0243,
//! "Open Virtualization Format").
//!
//! A package is a tar archive:
//!
//! ```text
//! NAME.ovf    the descriptor: processors, memory, network card, and the disk
//! NAME.mf     SHA-256 of the other two
//! NAME.vmdk   the disk, streamOptimized
//! ```
//!
//! The descriptor's length does not depend on what it says of the disk, so that the disk can be written first.

mod descriptor;
mod tar;

use crate::bytes::hex;
use crate::disk::{Disk, Error, ReadError};
use crate::read_at::{ReadAt, Window};
use crate::vmdk;
use sha2::{Digest, Sha256};
use std::io::{self, Seek, SeekFrom, Write};

const NAME: &str = "ova";
/// A package has three members; others' have some more disks.
const MAX_MEMBERS: usize = 64;

/// What the machine is.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// Its name, and that of the members: letters, digits and `-`.
    pub name: &'a str,
    /// The time of the members, in seconds since 1970.
    pub time: i64,
    /// As in [`vmdk::write()`].
    pub content_id: u32,
}

/// Writes a package with `disk`, whose size is a multiple of 512 bytes, to `out`, an empty file.
pub fn write<R: ReadAt + Sync + ?Sized>(
    disk: &Disk<'_, R>,
    machine: &Machine<'_>,
    mut out: impl Write + Seek + Send,
) -> Result<(), Error> {
    let member = |ending: &str| format!("{}.{ending}", machine.name);
    let front = |disk_bytes: u64, disk_digest: &str| {
        let ovf = descriptor::render(machine.name, disk.size(), disk_bytes);
        let ovf_digest = hex(&Sha256::digest(&ovf));
        let manifest = format!(
            "SHA256({})= {ovf_digest}\nSHA256({})= {disk_digest}\n",
            member("ovf"),
            member("vmdk")
        );
        let mut front = Vec::new();
        for (name, bytes) in [(member("ovf"), ovf), (member("mf"), manifest)] {
            front.extend(tar::header(&name, bytes.len() as u64, machine.time));
            front.extend_from_slice(bytes.as_bytes());
            front.extend(tar::padding(bytes.len() as u64));
        }
        front.extend(tar::header(&member("vmdk"), disk_bytes, machine.time));
        front
    };
    let start = front(0, &hex(&[0; 32])).len() as u64;
    out.seek(SeekFrom::Start(start)).map_err(Error::Write)?;
    let mut hashed = Hashed {
        out: &mut out,
        hash: Sha256::new(),
        len: 0,
    };
    vmdk::write(disk, machine.content_id, &mut hashed)?;
    let (digest, len) = (hex(&hashed.hash.finalize()), hashed.len);
    let mut finish = || -> io::Result<()> {
        out.write_all(&tar::padding(len))?;
        out.write_all(&tar::END)?;
        out.rewind()?;
        out.write_all(&front(len, &digest))?;
        out.flush()
    };
    finish().map_err(Error::Write)
}

/// Hashes and counts what passes.
struct Hashed<W> {
    out: W,
    hash: Sha256,
    len: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.out.write(buf)?;
        self.hash.update(&buf[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Opens the first disk of a package.
pub fn open<R: ReadAt>(reader: R) -> Result<vmdk::Image<Window<R>>, ReadError> {
    let failed = |source| ReadError::Read {
        format: NAME,
        source,
    };
    let mut at = 0;
    for number in 0..MAX_MEMBERS {
        let header = match reader.read_vec_at(at, tar::BLOCK as usize) {
            // A file that is shorter than a header is something else, as is one that begins with none.
            Err(source) if number > 0 => return Err(failed(source)),
            header => header.ok().and_then(|header| tar::parse(&header)),
        };
        let Some(member) = header else {
            break;
        };
        let start = at + tar::BLOCK;
        if member.name.ends_with(".vmdk") {
            return vmdk::Image::open(Window::new(reader, start, member.len).map_err(failed)?);
        }
        let next = start.checked_add(member.len);
        let next = next.and_then(|end| end.checked_next_multiple_of(tar::BLOCK));
        at = next.ok_or(ReadError::Other(NAME))?;
    }
    match at {
        0 => Err(ReadError::Other(NAME)),
        _ => Err(ReadError::Unsupported {
            format: NAME,
            what: "no vmdk image",
        }),
    }
}
