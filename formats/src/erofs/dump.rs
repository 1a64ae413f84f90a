//! An image as text, one line for each path: for people, and for tests that compare images.
//!
//! ```text
//! drwxr-xr-x 0:0 1700000000 35 /
//! -rwxr-xr-x 0:0 1700000000 120 /bin/ping security.capability=0100000200200000
//! lrwxrwxrwx 0:0 1700000000 7 /lib -> usr/lib
//! ```
//!
//! The columns are type and mode, owner, modification time, size in bytes (major:minor of a device), path.
//! Data is not shown.

use super::read::{Error, FileType, Image, Inode};
use crate::read_at::ReadAt;
use std::fmt::Write;

/// The line that describes one path of an image, without its line end.
pub fn line<R: ReadAt>(image: &Image<R>, path: &str, inode: &Inode) -> Result<String, Error> {
    let size = match inode.device() {
        Some((major, minor)) => format!("{major}:{minor}"),
        None => inode.size().to_string(),
    };
    let mut line = format!(
        "{} {}:{} {} {size} /{path}",
        mode(inode),
        inode.uid(),
        inode.gid(),
        inode.mtime(),
        path = path.escape_debug(),
    );
    if inode.kind() == FileType::Symlink {
        line += &format!(" -> {}", image.read_link(inode)?.escape_debug());
    }
    for (name, value) in image.xattrs(inode)? {
        line += &format!(" {}=", name.escape_debug());
        for byte in value {
            write!(line, "{byte:02x}").expect("a String takes everything");
        }
    }
    Ok(line)
}

/// The lines of all paths.
pub fn render<R: ReadAt>(image: &Image<R>) -> Result<String, Error> {
    let mut text = String::new();
    for walked in image.walk() {
        let walked = walked?;
        text += &line(image, &walked.path, &walked.inode)?;
        text.push('\n');
    }
    Ok(text)
}

/// Type and permissions as `ls -l` shows them.
fn mode(inode: &Inode) -> String {
    let mode = inode.mode();
    let kind = match inode.kind() {
        FileType::Regular => '-',
        FileType::Directory => 'd',
        FileType::CharDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::Symlink => 'l',
    };
    let mut text = String::from(kind);
    // Shift of each class, the bit that alters its x, and how x looks then.
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, false) => set.to_ascii_uppercase(),
            (true, true) => set,
        });
    }
    text
}
