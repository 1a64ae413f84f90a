//! A machine in memory that records every effect; programs are answered by rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, bail};
use contract::peer::Response;

use super::{Call, Cmd, Host, Mount, Output, Reply, Request};

type Answer = Box<dyn Fn(&Fake, &str) -> Result<String> + Send>;
type Peers = Box<dyn Fn(&Call) -> Result<Response> + Send>;
type Web = Box<dyn Fn(&Fake, &str, &str) -> Option<(u16, String)> + Send>;

/// The machine.
#[derive(Default)]
pub(crate) struct Fake {
    inner: Mutex<Inner>,
    /// Answers to commands whose line starts with the text; the last rule that fits counts.
    rules: Mutex<Vec<(String, Answer)>>,
    web: Mutex<Option<Web>>,
    peers: Mutex<Option<Peers>>,
}

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
    links: BTreeMap<String, String>,
    devices: BTreeMap<String, (u32, u32)>,
    effects: Vec<String>,
    mounts: String,
    clock: u64,
    /// Seconds after the first one.
    uptime: u64,
    /// Effects that may still happen before the power is cut.
    left: Option<usize>,
}

impl Fake {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// A file that was there before.
    pub(crate) fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        self.lock()
            .files
            .insert(path.to_owned(), text.as_ref().to_vec());
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let inner = self.lock();
        inner
            .files
            .get(path)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Removes everything below a folder.
    pub(crate) fn erase(&self, folder: &str) {
        let below = format!("{folder}/");
        let mut inner = self.lock();
        inner.files.retain(|path, _| !path.starts_with(&below));
        inner.links.retain(|path, _| !path.starts_with(&below));
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        self.lock().links.insert(path.to_owned(), target.to_owned());
    }

    pub(crate) fn device(&self, path: &str, number: (u32, u32)) {
        self.lock().devices.insert(path.to_owned(), number);
    }

    pub(crate) fn set_time(&self, seconds: u64) {
        self.lock().clock = seconds;
    }

    pub(crate) fn set_uptime(&self, seconds: u64) {
        self.lock().uptime = seconds;
    }

    pub(crate) fn rule(
        &self,
        start: &str,
        answer: impl Fn(&Fake, &str) -> Result<String> + Send + 'static,
    ) {
        self.rules
            .lock()
            .unwrap()
            .push((start.to_owned(), Box::new(answer)));
    }

    /// What is answered to a question: by the machine, the port (and of another machine the address before it) with the
    /// path, and what was posted.
    pub(crate) fn web(
        &self,
        web: impl Fn(&Fake, &str, &str) -> Option<(u16, String)> + Send + 'static,
    ) {
        *self.web.lock().unwrap() = Some(Box::new(web));
    }

    /// What other machines answer.
    pub(crate) fn peers(&self, peers: impl Fn(&Call) -> Result<Response> + Send + 'static) {
        *self.peers.lock().unwrap() = Some(Box::new(peers));
    }

    /// The power went: memory is gone, what is on STATE, DATA and the disk remains.
    pub(crate) fn reboot(&self) {
        let mut inner = self.lock();
        inner.left = None;
        inner.uptime = 0;
        inner.mounts.clear();
        let lost = |path: &str| {
            path.starts_with("/run/systemd/")
                || path.starts_with("/etc/") && !path.starts_with("/etc/kubernetes/")
                || path.starts_with("/sys/fs/cgroup/")
                || path.starts_with("/run/seedbed/")
                    && !path.starts_with("/run/seedbed/state/")
                    && !path.starts_with("/run/seedbed/data/")
        };
        inner
            .files
            .retain(|path, _| !lost(path) || path == "/etc/machine-id");
        inner.links.retain(|path, _| !lost(path));
        inner.folders.retain(|path| !lost(path));
        inner.files.insert(
            String::from("/proc/sys/kernel/hostname"),
            b"localhost".to_vec(),
        );
    }

    /// The power went, and STATE and DATA were erased.
    pub(crate) fn wipe(&self) {
        self.reboot();
        for folder in ["/run/seedbed", "/etc/kubernetes", "/var/lib"] {
            self.erase(folder);
        }
    }

    /// Takes what was done since the last call.
    pub(crate) fn effects(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().effects)
    }

    /// The next `effects` happen, and none after them.
    pub(crate) fn cut_after(&self, effects: Option<usize>) {
        self.lock().left = effects;
    }

    fn effect(&self, what: String) -> Result<MutexGuard<'_, Inner>> {
        let mut inner = self.lock();
        match &mut inner.left {
            Some(0) => bail!("the power is cut"),
            Some(left) => *left -= 1,
            None => {}
        }
        inner.effects.push(what);
        Ok(inner)
    }
}

/// Where the path leads when links on the way are followed.
fn resolve(inner: &Inner, path: &str) -> String {
    let mut path = path.to_owned();
    for _ in 0..8 {
        let Some((link, target)) = inner
            .links
            .iter()
            .find(|(link, _)| path == **link || path.starts_with(&format!("{link}/")))
        else {
            break;
        };
        let rest = path[link.len()..].to_owned();
        path = match target.starts_with('/') {
            true => format!("{target}{rest}"),
            false => normal(&format!("{}/{target}{rest}", super::parent(link))),
        };
    }
    path
}

/// Without `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Host for Fake {
    fn run(&self, cmd: &Cmd) -> Result<Output> {
        let line = cmd.to_string();
        // Questions are no effects.
        let question = [" show ", " status ", "-json"]
            .iter()
            .any(|word| line.contains(word));
        if !question {
            drop(self.effect(format!("run {line}"))?);
        }
        let rules = self.rules.lock().unwrap();
        let Some((_, answer)) = rules
            .iter()
            .rev()
            .find(|(start, _)| line.starts_with(start))
        else {
            bail!("no rule for {line}");
        };
        Ok(Output {
            stdout: answer(self, &line)?,
            stderr: String::new(),
        })
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let inner = self.lock();
        if path == "/proc/self/mountinfo" {
            return Ok(Some(inner.mounts.clone().into_bytes()));
        }
        Ok(inner.files.get(&resolve(&inner, path)).cloned())
    }

    fn read_at(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>> {
        let offset = usize::try_from(offset)?;
        let bytes = self.read(path)?.unwrap_or_default();
        match bytes.get(offset..offset + len) {
            Some(part) => Ok(part.to_vec()),
            None => bail!("{path} ends before {offset}"),
        }
    }

    fn open_disk(&self, path: &str, _: bool) -> Result<File> {
        bail!("opening {path}: this machine's disks are in memory")
    }

    fn write(&self, path: &str, _: u32, bytes: &[u8]) -> Result<()> {
        let mut inner = self.effect(format!("write {path}"))?;
        let path = resolve(&inner, path);
        inner.files.insert(path, bytes.to_vec());
        Ok(())
    }

    fn append(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.lock()
            .files
            .entry(path.to_owned())
            .or_default()
            .extend_from_slice(bytes);
        Ok(())
    }

    fn announce(&self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn copy(&self, from: &str, to: &str) -> Result<()> {
        let bytes = self.read(from)?.unwrap_or_default();
        self.write(to, 0o644, &bytes)
    }

    fn create_dir(&self, path: &str, _: u32) -> Result<()> {
        if !self.lock().folders.contains(path) {
            self.effect(format!("mkdir {path}"))?
                .folders
                .insert(path.to_owned());
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<()> {
        if self.lock().files.contains_key(path) {
            self.effect(format!("rm {path}"))?.files.remove(path);
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        let inner = self.lock();
        let start = format!("{}/", resolve(&inner, path));
        let all = inner
            .files
            .keys()
            .chain(inner.links.keys())
            .chain(inner.folders.iter());
        let names: BTreeSet<String> = all
            .filter_map(|file| file.strip_prefix(&start))
            .filter_map(|rest| rest.split('/').next())
            .map(str::to_owned)
            .collect();
        Ok(names.into_iter().collect())
    }

    fn exists(&self, path: &str) -> bool {
        let inner = self.lock();
        let path = resolve(&inner, path);
        let below = format!("{path}/");
        inner.files.contains_key(&path)
            || inner.folders.contains(&path)
            || inner.devices.contains_key(&path)
            || inner.files.keys().any(|file| file.starts_with(&below))
    }

    fn read_link(&self, path: &str) -> Result<Option<String>> {
        Ok(self.lock().links.get(path).cloned())
    }

    fn symlink(&self, target: &str, path: &str) -> Result<()> {
        let mut inner = self.effect(format!("link {path} -> {target}"))?;
        inner.links.insert(path.to_owned(), target.to_owned());
        Ok(())
    }

    fn device_number(&self, path: &str) -> Result<(u32, u32)> {
        match self.lock().devices.get(path) {
            Some(number) => Ok(*number),
            None => bail!("looking at {path}: no such device"),
        }
    }

    fn mount(&self, mount: &Mount<'_>) -> Result<()> {
        let mut inner = self.effect(format!("mount {} {}", mount.source, mount.target))?;
        let fstype = mount.fstype.unwrap_or("bind");
        inner.mounts += &format!(
            "1 1 0:1 / {} rw - {fstype} {} rw\n",
            mount.target, mount.source
        );
        Ok(())
    }

    fn unmount(&self, target: &str) -> Result<()> {
        let mut inner = self.effect(format!("umount {target}"))?;
        let keep = inner
            .mounts
            .lines()
            .filter(|line| !line.contains(&format!(" {target} ")));
        inner.mounts = keep.map(|line| format!("{line}\n")).collect();
        Ok(())
    }

    fn sync(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn set_host_name(&self, name: &str) -> Result<()> {
        let mut inner = self.effect(format!("hostname {name}"))?;
        inner.files.insert(
            String::from("/proc/sys/kernel/hostname"),
            format!("{name}\n").into_bytes(),
        );
        Ok(())
    }

    fn clock(&self) -> Duration {
        Duration::from_secs(self.lock().clock)
    }

    fn set_clock(&self, seconds: u64) -> Result<()> {
        self.effect(format!("clock {seconds}"))?.clock = seconds;
        Ok(())
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(1 + self.lock().uptime)
    }

    fn random(&self) -> Result<[u8; 16]> {
        Ok([7; 16])
    }

    fn ask(&self, request: &Request) -> Result<Reply> {
        let url = match request.address.ip().is_loopback() {
            true => format!("{}{}", request.address.port(), request.path),
            false => format!("{}{}", request.address, request.path),
        };
        match self
            .web
            .lock()
            .unwrap()
            .as_ref()
            .and_then(|web| web(self, &url, request.body.as_deref().unwrap_or_default()))
        {
            Some((status, body)) => Ok(Reply {
                status,
                body: body.into_bytes(),
            }),
            None => bail!("asking {url}: connection refused"),
        }
    }

    fn call(&self, call: &Call) -> Result<Response> {
        let peers = self.peers.lock().unwrap();
        match peers.as_ref() {
            Some(answer) => answer(call),
            None => bail!("asking {}: connection refused", call.address),
        }
    }

    fn sleep(&self, _: Duration) {}
}
