//! Files on the machine's own file systems: replaced at once or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink as make_symlink};
use std::path::Path;

use anyhow::{Context, Result};

pub(super) fn read(path: &str) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {path}")),
    }
}

pub(super) fn read_at(path: &str, offset: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    File::open(path)
        .and_then(|file| file.read_exact_at(&mut bytes, offset))
        .with_context(|| format!("reading {len} bytes at {offset} of {path}"))?;
    Ok(bytes)
}

pub(super) fn open_disk(path: &str, write: bool) -> Result<File> {
    // On a block device O_EXCL without O_CREAT refuses one that is mounted or part of another (open(2)).
    let flags = if write {
        rustix::fs::OFlags::EXCL
    } else {
        rustix::fs::OFlags::empty()
    };
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .with_context(|| format!("opening {path}"))
}

pub(super) fn write(path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    replace(path, mode, &mut &bytes[..]).with_context(|| format!("writing {path}"))
}

pub(super) fn copy(from: &str, to: &str) -> Result<()> {
    let run = || -> io::Result<()> {
        let mut source = File::open(from)?;
        let mode = source.metadata()?.permissions().mode() & 0o7777;
        replace(to, mode, &mut source)
    };
    run().with_context(|| format!("copying {from} to {to}"))
}

fn replace(path: &str, mode: u32, source: &mut dyn Read) -> io::Result<()> {
    let folder = Path::new(super::parent(path));
    let mut temporary = tempfile::Builder::new()
        .prefix(".seedbed-")
        .tempfile_in(folder)?;
    io::copy(source, temporary.as_file_mut())?;
    temporary
        .as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

pub(super) fn append(path: &str, bytes: &[u8]) -> Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .with_context(|| format!("appending to {path}"))
}

/// Without `O_NONBLOCK` a virtio port that nobody reads on the other side would hold the caller for ever.
pub(super) fn announce(device: &str, mut bytes: &[u8]) -> io::Result<()> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let mut device = OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(device)?;
    for _ in 0..40 {
        match device.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
        if bytes.is_empty() {
            return Ok(());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

pub(super) fn create_dir(path: &str, mode: u32) -> Result<()> {
    fs::create_dir_all(path)
        .and_then(|()| {
            let now = fs::metadata(path)?.permissions().mode() & 0o7777;
            match now == mode {
                true => Ok(()),
                false => fs::set_permissions(path, Permissions::from_mode(mode)),
            }
        })
        .with_context(|| format!("making directory {path}"))
}

pub(super) fn remove(path: &str) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if !absent(&error) => Err(error).with_context(|| format!("removing {path}")),
        _ => Ok(()),
    }
}

pub(super) fn list(path: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("listing {path}")),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("listing {path}"))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

pub(super) fn read_link(path: &str) -> Result<Option<String>> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
        Err(error) if absent(&error) || error.kind() == io::ErrorKind::InvalidInput => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading link {path}")),
    }
}

pub(super) fn symlink(target: &str, path: &str) -> Result<()> {
    let temporary = format!("{path}.seedbed");
    let run = || {
        let _ = fs::remove_file(&temporary);
        make_symlink(target, &temporary)?;
        fs::rename(&temporary, path)
    };
    run().with_context(|| format!("linking {path} to {target}"))
}

fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::{copy, list, read, read_link, symlink, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_replaced_with_their_mode_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        assert_eq!(read(&path("a")).unwrap(), None);
        write(&path("a"), 0o640, b"one").unwrap();
        write(&path("a"), 0o600, b"two").unwrap();
        copy(&path("a"), &path("b")).unwrap();
        symlink("a", &path("c")).unwrap();
        symlink("b", &path("c")).unwrap();
        assert_eq!(read(&path("c")).unwrap().unwrap(), b"two");
        assert_eq!(read_link(&path("c")).unwrap().as_deref(), Some("b"));
        assert_eq!(read_link(&path("a")).unwrap(), None);
        let mode = std::fs::metadata(path("b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(
            list(folder.path().to_str().unwrap()).unwrap(),
            ["a", "b", "c"]
        );
    }
}
