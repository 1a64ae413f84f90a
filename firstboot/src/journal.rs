//! The journal: one JSON line for each transition of a phase. Evidence for people, never read back as truth.
//!
//! It goes to `/run/seedbed`, to STATE once that is mounted, to the virtio port if the machine has one, and as a
//! plain line to the console.

use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::journal::{Step, Transition};
use contract::paths;

use crate::host::Host;

const CONSOLE: &str = "/dev/console";
/// Where udev shows the virtio ports by name.
const PORTS: &str = "/dev/virtio-ports";
/// STATE's copy is cut to half of this when it is larger at boot.
const KEPT: usize = 1 << 20;

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
    pub fn record(&self, host: &dyn Host, phase: &str, event: Step, why: &str) {
        let at = (host.uptime().as_secs_f64() * 1000.0).round() / 1000.0;
        let line = Transition {
            at,
            time: host.now(),
            phase: phase.to_owned(),
            event,
            why: why.to_owned(),
        };
        let Ok(mut json) = serde_json::to_string(&line) else {
            return;
        };
        json.push('\n');
        let mut sinks = self.lock();
        sinks.lines.push_str(&json);
        let _ = host.append(paths::JOURNAL, json.as_bytes());
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
        let path = format!("{}/journal.jsonl", paths::STATE);
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
        let port = format!("{PORTS}/{}", contract::journal::PORT);
        if host.exists(&port) && host.announce(&port, &self.lines.as_bytes()[self.on_port..]) {
            self.on_port = self.lines.len();
        }
    }
}

fn console_line(at: f64, phase: &str, event: Step, why: &str) -> String {
    let verb = match event {
        Step::Begin => "begin",
        Step::Apply => "...",
        Step::Waiting => "waiting:",
        Step::Retry => "failed, trying again:",
        Step::Failed => "FAILED:",
        Step::Done => "done",
        Step::Ready => "every phase is done",
        Step::Note => "note:",
    };
    let line = format!("seedbed [{at:8.1}] {phase}: {verb} {why}");
    line.trim_end().to_owned() + "\n"
}
