//! The real machine.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use contract::peer::Response;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::time::{ClockId, Timespec};

use super::{Call, Cmd, Host, Mount, Output, Reply, Request, files, http};

/// How much of a failed program's stderr an error shows.
const TAIL: usize = 1024;

/// The machine that this process runs on.
#[derive(Debug, Default)]
pub struct Linux;

impl Host for Linux {
    fn run(&self, cmd: &Cmd) -> Result<Output> {
        tracing::debug!("running {cmd}");
        let mut child = Command::new(cmd.program())
            .args(cmd.exposed_args())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin")
            .env("LC_ALL", "C.UTF-8")
            .envs(cmd.environment().iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {cmd}"))?;
        let stdout = reader(child.stdout.take());
        let stderr = reader(child.stderr.take());
        let status = wait(&mut child, cmd).with_context(|| format!("running {cmd}"));
        let (stdout, stderr) = (text(stdout), text(stderr));
        let status = status.with_context(|| cmd.redact(tail(&stderr)))?;
        if !status.success() {
            bail!(
                "{cmd} ended with {status}: {}",
                cmd.redact(tail(&stderr)).trim()
            );
        }
        Ok(Output { stdout, stderr })
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        files::read(path)
    }

    fn read_at(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>> {
        files::read_at(path, offset, len)
    }

    fn open_disk(&self, path: &str, write: bool) -> Result<File> {
        files::open_disk(path, write)
    }

    fn write(&self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        files::write(path, mode, bytes)
    }

    fn append(&self, path: &str, bytes: &[u8]) -> Result<()> {
        files::append(path, bytes)
    }

    fn announce(&self, device: &str, bytes: &[u8]) -> bool {
        files::announce(device, bytes).is_ok()
    }

    fn copy(&self, from: &str, to: &str) -> Result<()> {
        files::copy(from, to)
    }

    fn create_dir(&self, path: &str, mode: u32) -> Result<()> {
        files::create_dir(path, mode)
    }

    fn remove(&self, path: &str) -> Result<()> {
        files::remove(path)
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        files::list(path)
    }

    fn exists(&self, path: &str) -> bool {
        std::path::Path::new(path).exists()
    }

    fn read_link(&self, path: &str) -> Result<Option<String>> {
        files::read_link(path)
    }

    fn symlink(&self, target: &str, path: &str) -> Result<()> {
        files::symlink(target, path)
    }

    fn device_number(&self, path: &str) -> Result<(u32, u32)> {
        let stat = rustix::fs::stat(path).with_context(|| format!("looking at {path}"))?;
        let device = stat.st_rdev;
        Ok((rustix::fs::major(device), rustix::fs::minor(device)))
    }

    fn mount(&self, mount: &Mount<'_>) -> Result<()> {
        let Mount { source, target, .. } = mount;
        let mut flags = MountFlags::empty();
        if mount.read_only {
            flags |= MountFlags::RDONLY;
        }
        let done = match mount.fstype {
            None => rustix::mount::mount_bind(*source, *target),
            Some(fstype) => {
                let options = std::ffi::CString::new(mount.options)
                    .context("mount options hold a zero byte")?;
                rustix::mount::mount(*source, *target, fstype, flags, Some(options.as_c_str()))
            }
        };
        done.with_context(|| format!("mounting {source} at {target}"))
    }

    fn unmount(&self, target: &str) -> Result<()> {
        rustix::mount::unmount(target, UnmountFlags::empty())
            .with_context(|| format!("unmounting {target}"))
    }

    fn sync(&self, path: &str) -> Result<()> {
        let file = std::fs::File::open(path).with_context(|| format!("opening {path}"))?;
        rustix::fs::syncfs(&file).with_context(|| format!("syncing the file system of {path}"))
    }

    fn set_host_name(&self, name: &str) -> Result<()> {
        rustix::system::sethostname(name.as_bytes())
            .with_context(|| format!("setting the host name to {name}"))
    }

    fn clock(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn set_clock(&self, seconds: u64) -> Result<()> {
        let time = Timespec {
            tv_sec: i64::try_from(seconds).context("the time to set is out of range")?,
            tv_nsec: 0,
        };
        rustix::time::clock_settime(ClockId::Realtime, time).context("setting the clock")
    }

    fn uptime(&self) -> Duration {
        let time = rustix::time::clock_gettime(ClockId::Boottime);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    }

    fn random(&self) -> Result<[u8; 16]> {
        let bytes = files::read_at("/dev/urandom", 0, 16)?;
        <[u8; 16]>::try_from(bytes.as_slice()).context("reading 16 random bytes")
    }

    fn ask(&self, request: &Request) -> Result<Reply> {
        http::ask(request)
    }

    fn call(&self, call: &Call) -> Result<Response> {
        crate::peers::call(call)
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Waits for the end, looking more rarely as time goes on; past the limit the whole process group is killed.
fn wait(child: &mut Child, cmd: &Cmd) -> Result<std::process::ExitStatus> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > cmd.limit() {
            if let Some(pid) = i32::try_from(child.id())
                .ok()
                .and_then(rustix::process::Pid::from_raw)
            {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
            child.wait()?;
            bail!(
                "it did not end within {} s and was killed",
                cmd.limit().as_secs()
            );
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

type Reading = Option<std::thread::JoinHandle<Vec<u8>>>;

fn reader(pipe: Option<impl Read + Send + 'static>) -> Reading {
    let mut pipe = pipe?;
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    }))
}

fn text(reading: Reading) -> String {
    let bytes = reading
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::{Cmd, Host, Linux};
    use std::time::Duration;

    #[test]
    fn failures_name_the_command_and_the_limit_holds() {
        let output = Linux.run(&Cmd::new("/usr/bin/env").arg("true")).unwrap();
        assert_eq!(output.stdout, "");
        let error = Linux
            .run(&Cmd::new("/usr/bin/env").args(["ls", "/no-such"]))
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("/usr/bin/env ls /no-such") && text.contains("No such file"),
            "{text}"
        );
        let slow = Cmd::new("/usr/bin/env")
            .args(["sleep", "60"])
            .timeout(Duration::from_millis(50));
        assert!(format!("{:#}", Linux.run(&slow).unwrap_err()).contains("was killed"));
    }
}
