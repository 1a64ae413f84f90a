//! The journal: one JSON line for each transition of a phase. Evidence for people, never read back as truth.
//!
//! It goes to `/run/seedbed/journal.jsonl`, to STATE once that is mounted, to the virtio port
//! `seedbed.status` if the machine has one, and as a plain line to the console.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::host::Host;

/// This boot's journal.
pub const RUNTIME: &str = "/run/seedbed/journal.jsonl";
const CONSOLE: &str = "/dev/console";
const PORT: &str = "/dev/virtio-ports/seedbed.status";
/// STATE's copy is cut to half of this when it is larger at boot.
const KEPT: usize = 1 << 20;

/// What happened to a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// `firstboot` began.
    Begin,
    /// The phase was found not done, and is applied.
    Apply,
    /// The phase waits.
    Waiting,
    /// The phase failed and is tried again.
    Retry,
    /// The phase failed for good.
    Failed,
    /// The phase is done.
    Done,
    /// Every phase is done.
    Ready,
    /// Something that people should know.
    Note,
}

#[derive(Serialize)]
struct Line<'a> {
    /// Seconds after power-on.
    at: f64,
    /// Seconds since 1970.
    time: u64,
    phase: &'a str,
    event: Event,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
}

/// The journal of this boot.
#[derive(Debug, Default)]
pub struct Journal {
    sinks: Mutex<Sinks>,
}

#[derive(Debug, Default)]
struct Sinks {
    /// Every line so far, for sinks that open late.
    lines: String,
    on_state: bool,
    /// How many bytes of `lines` the port has taken.
    on_port: usize,
}

impl Journal {
    /// Records a transition. Sinks that fail are left out: the journal never holds a phase up.
    pub fn record(&self, host: &dyn Host, phase: &str, event: Event, why: &str) {
        let at = (host.uptime().as_secs_f64() * 1000.0).round() / 1000.0;
        let line = Line {
            at,
            time: host.now(),
            phase,
            event,
            why,
        };
        let Ok(mut json) = serde_json::to_string(&line) else {
            return;
        };
        json.push('\n');
        let mut sinks = self.lock();
        sinks.lines.push_str(&json);
        let _ = host.append(RUNTIME, json.as_bytes());
        sinks.write_state(host, &json);
        sinks.write_port(host);
        host.announce(CONSOLE, console_line(at, phase, event, why).as_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Sinks> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sinks {
    fn write_state(&mut self, host: &dyn Host, json: &str) {
        let path = format!("{}/journal.jsonl", contract::paths::STATE);
        if self.on_state {
            let _ = host.append(&path, json.as_bytes());
        } else if host.exists(crate::ledger::FOLDER) {
            if let Ok(Some(old)) = host.read(&path)
                && old.len() > KEPT
            {
                let cut = old.len() - KEPT / 2;
                let start = old[cut..].iter().position(|byte| *byte == b'\n');
                let kept = start.map_or(&[][..], |at| &old[cut + at + 1..]);
                let _ = host.write(&path, 0o600, kept);
            }
            self.on_state = host.append(&path, self.lines.as_bytes()).is_ok();
        }
    }

    fn write_port(&mut self, host: &dyn Host) {
        if host.exists(PORT) && host.announce(PORT, &self.lines.as_bytes()[self.on_port..]) {
            self.on_port = self.lines.len();
        }
    }
}

fn console_line(at: f64, phase: &str, event: Event, why: &str) -> String {
    let verb = match event {
        Event::Begin => "begin",
        Event::Apply => "...",
        Event::Waiting => "waiting:",
        Event::Retry => "failed, trying again:",
        Event::Failed => "FAILED:",
        Event::Done => "done",
        Event::Ready => "every phase is done",
        Event::Note => "note:",
    };
    let line = format!("seedbed [{at:8.1}] {phase}: {verb} {why}");
    line.trim_end().to_owned() + "\n"
}
