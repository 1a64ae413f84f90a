//! A machine from power-on to power-off.

use crate::accelerator::{self, Accelerator};
use crate::arguments::{self, Places};
use crate::disk::{Disk, Stick};
use crate::events::{Event, Lines, Observed};
use crate::firmware::{self, Firmware};
use crate::network::{Network, Nic};
use crate::process;
use crate::qmp::{self, Qmp};
use crate::site::Site;
use anyhow::{Context, anyhow, bail};
use contract::partition::Arch;
use serde_json::json;
use std::fs;
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How often a question whose answer makes no event is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What a machine has. It stays the same from boot to boot, unless a test changes it in between.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its name, in messages and file names.
    pub name: String,
    /// Where its firmware's variables are kept between boots.
    pub folder: PathBuf,
    /// Where its console's output is kept.
    pub logs: PathBuf,
    /// The architecture of its processors.
    pub arch: Arch,
    /// What starts before the disk does.
    pub firmware: Firmware,
    /// Number of processors.
    pub processors: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Disks; the first one boots first.
    pub disks: Vec<Disk>,
    /// CDs.
    pub cds: Vec<PathBuf>,
    /// What firmware tries before all else.
    pub first: First,
    /// USB sticks that are in at power-on.
    pub sticks: Vec<Stick>,
    /// Network cards.
    pub nics: Vec<Nic>,
    /// The segment that a card of [`Network::Served`] is plugged into.
    pub site: Option<Site>,
}

/// What firmware tries before all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The disks, then the CDs.
    Disks,
    /// The CDs, then the disks.
    Cds,
    /// The network cards, then the disks, then the CDs.
    Network,
}

impl Spec {
    /// An amd64 machine with UEFI, two processors, 4 GiB of memory, and nothing else. Both folders must exist.
    pub fn new(name: &str, folder: &Path, logs: &Path) -> Self {
        Spec {
            name: name.to_owned(),
            folder: folder.to_owned(),
            logs: logs.to_owned(),
            arch: Arch::Amd64,
            firmware: Firmware::Uefi,
            processors: 2,
            memory_mib: 4096,
            disks: Vec::new(),
            cds: Vec::new(),
            first: First::Disks,
            sticks: Vec::new(),
            nics: Vec::new(),
            site: None,
        }
    }

    /// The port of this host that leads to the machine's `guest` port.
    pub fn forwarded(&self, guest: u16) -> anyhow::Result<u16> {
        let forwards = self.nics.iter().flat_map(|nic| match &nic.network {
            Network::Isolated(forwards) | Network::Host(forwards) => forwards.as_slice(),
            Network::Segment(_) | Network::Served | Network::Unplugged => &[],
        });
        let found = forwards.into_iter().find(|forward| forward.guest == guest);
        let port =
            found.with_context(|| format!("machine {} forwards no port to {guest}", self.name))?;
        Ok(port.host)
    }
}

/// A machine that is powered on. Dropping it pulls the plug.
#[derive(Debug)]
pub struct Machine {
    spec: Spec,
    child: Child,
    qmp: Qmp,
    events: Receiver<Event>,
    seen: Observed,
    accelerator: &'static Accelerator,
    started: Instant,
    // Holds the sockets.
    _sockets: TempDir,
}

impl Machine {
    /// Powers the machine on. `boot` numbers its console log: `NAME-BOOT.log`.
    pub fn start(spec: &Spec, boot: &str) -> anyhow::Result<Self> {
        let accelerator = accelerator::find(spec.arch, &spec.logs.join("../accelerator"));
        Self::power_on(spec, boot, accelerator)
            .with_context(|| format!("powering on machine {}", spec.name))
    }

    fn power_on(
        spec: &Spec,
        boot: &str,
        accelerator: &'static Accelerator,
    ) -> anyhow::Result<Self> {
        // Socket addresses are short; the system's temporary folder is, too.
        let sockets = tempfile::tempdir().context("making a temporary folder")?;
        let place = |name: &str| sockets.path().join(name);
        let places = Places {
            serial: place("serial"),
            status: place("status"),
            qmp: place("qmp"),
            log: spec.logs.join(format!("{}-{boot}.log", spec.name)),
        };
        let uefi = match firmware::ovmf(spec.firmware, spec.arch)? {
            None => None,
            Some(ovmf) => {
                let variables = spec.folder.join(format!("{}-variables.fd", spec.name));
                if !variables.exists() {
                    fs::copy(&ovmf.variables, &variables)
                        .with_context(|| format!("copying {}", ovmf.variables.display()))?;
                }
                Some((ovmf, variables))
            }
        };
        let ovmf = uefi
            .as_ref()
            .map(|(ovmf, variables)| (ovmf, variables.as_path()));
        let arguments = arguments::arguments(spec, accelerator, ovmf, &places);

        let (sender, events) = mpsc::channel();
        accept(&places.serial, lines_into(sender.clone(), Event::Serial))?;
        accept(&places.status, lines_into(sender.clone(), Event::Status))?;
        let (to_answers, answers) = mpsc::channel();
        let (to_stream, qmp_stream) = mpsc::channel();
        let to_events = sender.clone();
        accept(&places.qmp, move |stream| {
            if let Ok(writing) = stream.try_clone()
                && to_stream.send(writing).is_ok()
            {
                qmp::listen(stream, to_answers, to_events);
            }
        })?;

        let qemu = arguments::program(spec.arch);
        let mut command = match &spec.site {
            None => process::bound(qemu),
            Some(site) => site.command(qemu),
        };
        command
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = process::start(command)?;
        let stderr = child
            .stderr
            .take()
            .context("QEMU's standard error is not piped")?;
        thread::spawn(move || {
            lines_into(sender.clone(), Event::Complaint)(stderr);
            // A QEMU that did not get as far as to connect leaves nobody waiting.
            for path in [&places.serial, &places.status, &places.qmp] {
                drop(UnixStream::connect(path));
            }
            let _ = sender.send(Event::Ended);
        });

        let qmp = qmp_stream
            .recv()
            .context("QEMU opened no monitor")
            .and_then(|stream| Qmp::greet(stream, answers));
        let qmp = match qmp {
            Ok(qmp) => qmp,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let mut seen = Observed::default();
                events.iter().for_each(|event| seen.add(event));
                return Err(anyhow!("QEMU does not start\n{seen}").context(format!("{error:#}")));
            }
        };
        let spec = spec.clone();
        let seen = Observed::default();
        Ok(Machine {
            spec,
            child,
            qmp,
            events,
            seen,
            accelerator,
            started,
            _sockets: sockets,
        })
    }

    /// What it has.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What it has shown so far.
    pub fn seen(&self) -> &Observed {
        &self.seen
    }

    /// How its instructions are carried out.
    pub fn accelerator(&self) -> &'static Accelerator {
        self.accelerator
    }

    /// Time since power-on, by this host's clock.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until `look` finds something in what the machine shows. `what` completes "waiting for …".
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Observed) -> Option<T>,
    ) -> anyhow::Result<T> {
        self.wait(what, limit, None, |seen| Ok(look(seen)))
    }

    /// Waits until `ask` finds something outside of what the machine shows by itself: it is asked again and
    /// again, and an error is an answer that may change.
    pub fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        self.wait(what, limit, Some(ASK_AGAIN), |_| ask())
    }

    /// Waits until every phase is done; returns the machine's seconds since power-on.
    pub fn wait_ready(&mut self, limit: Duration) -> anyhow::Result<f64> {
        self.wait_for("every phase to be done", limit, Observed::ready)
    }

    /// Watches the machine for this long, or until it ends.
    pub fn watch(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(event) = self
            .events
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            self.seen.add(event);
        }
    }

    /// Looks after every event, or, if `again` says so, at these intervals.
    fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        again: Option<Duration>,
        mut look: impl FnMut(&Observed) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        let mut next_look = Instant::now();
        let mut last_error = None;
        let failure = loop {
            if again.is_none() || Instant::now() >= next_look {
                match look(&self.seen) {
                    Ok(Some(found)) => return Ok(found),
                    Ok(None) => last_error = None,
                    Err(error) => last_error = Some(error),
                }
                next_look = again.map_or(deadline, |pause| Instant::now() + pause);
            }
            let patience = deadline
                .min(next_look)
                .saturating_duration_since(Instant::now());
            match self.events.recv_timeout(patience) {
                Ok(event) => {
                    self.seen.add(event);
                    self.events
                        .try_iter()
                        .for_each(|event| self.seen.add(event));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => break "it took too long",
                Err(RecvTimeoutError::Disconnected) => break "the machine ended",
            }
        };
        let answer = last_error.map(|error| format!("; the last answer was: {error:#}"));
        bail!(
            "machine {} waited for {what}: {failure}, {} s after power-on (limit {} s){}\n{}",
            self.spec.name,
            self.uptime().as_secs(),
            limit.as_secs(),
            answer.unwrap_or_default(),
            self.seen
        );
    }

    /// Pulls the plug: QEMU is killed, and what it had not written is lost. Returns all that was shown.
    pub fn cut(mut self) -> anyhow::Result<Observed> {
        self.end()?;
        Ok(std::mem::take(&mut self.seen))
    }

    /// Has QEMU write what it holds and end; the machine is not told. Returns all that was shown.
    pub fn quit(mut self) -> anyhow::Result<Observed> {
        self.qmp.execute("quit", json!({}))?;
        self.wait_for("QEMU to end", Duration::from_secs(60), |seen| {
            seen.ended.then_some(())
        })?;
        self.end()?;
        Ok(std::mem::take(&mut self.seen))
    }

    fn end(&mut self) -> anyhow::Result<()> {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().context("waiting for QEMU to end")?;
        self.events
            .try_iter()
            .for_each(|event| self.seen.add(event));
        Ok(())
    }

    /// Presses the reset button.
    pub fn reset(&mut self) -> anyhow::Result<()> {
        self.qmp.execute("system_reset", json!({})).map(drop)
    }

    /// Stops its processors; what QEMU holds of its disks is written.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.qmp.execute("stop", json!({})).map(drop)
    }

    /// Lets a stopped machine go on.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.qmp.execute("cont", json!({})).map(drop)
    }

    /// Copies its first disk and its firmware's variables as a power cut at this moment would leave them, if
    /// the disk had written all that it was given. `name` is the new machine's.
    pub fn snapshot(&mut self, name: &str) -> anyhow::Result<Spec> {
        let mut spec = self.spec.clone();
        spec.name = name.to_owned();
        self.stop()?;
        let copied = self.copy_to(&mut spec);
        self.resume()?;
        copied.map(|()| spec)
    }

    fn copy_to(&self, spec: &mut Spec) -> anyhow::Result<()> {
        let variables = |name: &str| self.spec.folder.join(format!("{name}-variables.fd"));
        if self.spec.firmware != Firmware::Bios {
            fs::copy(variables(&self.spec.name), variables(&spec.name))
                .context("copying the firmware's variables")?;
        }
        let disk = self.spec.disks.first().context("the machine has no disk")?;
        let copy = disk.copy(&self.spec.folder.join(format!(
            "{}.{}",
            spec.name,
            disk.format.name()
        )))?;
        spec.disks[0] = copy;
        Ok(())
    }

    /// Puts a USB stick in; `id` is for taking it out again.
    pub fn insert(&mut self, stick: &Stick, id: &str) -> anyhow::Result<()> {
        self.qmp
            .execute("blockdev-add", arguments::stick_node(stick, id))?;
        self.qmp
            .execute("device_add", arguments::stick_device(id))
            .map(drop)
    }

    /// Pulls a USB stick out.
    pub fn remove(&mut self, id: &str) -> anyhow::Result<()> {
        self.qmp.execute("device_del", json!({ "id": id }))?;
        let gone = |seen: &Observed| {
            let of_id = |event: &&serde_json::Value| {
                event["event"] == "DEVICE_DELETED" && event["data"]["device"] == id
            };
            seen.qmp.iter().find(of_id).map(drop)
        };
        self.wait_for("the stick to be out", Duration::from_secs(30), gone)?;
        self.qmp
            .execute("blockdev-del", json!({ "node-name": id }))
            .map(drop)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Listens at `path` and hands the first connection to `use_it`, on a thread of its own.
fn accept(path: &Path, use_it: impl FnOnce(UnixStream) + Send + 'static) -> anyhow::Result<()> {
    let listener =
        UnixListener::bind(path).with_context(|| format!("listening at {}", path.display()))?;
    thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            use_it(stream);
        }
    });
    Ok(())
}

/// Sends each line of a stream as an event, until it ends.
fn lines_into<R: Read>(sender: Sender<Event>, event: fn(String) -> Event) -> impl FnOnce(R) {
    move |mut stream| {
        let mut lines = Lines::default();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            for line in lines.feed(&buffer[..n]) {
                if sender.send(event(line)).is_err() {
                    return;
                }
            }
        }
        if let Some(line) = lines.finish() {
            let _ = sender.send(event(line));
        }
    }
}
