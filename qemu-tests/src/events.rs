//! What a machine shows of itself, as one stream of events, and the sum of them.
//!
//! `firstboot` writes one JSON line for each transition of a phase to the virtio port `seedbed.status`; the
//! serial console shows the firmware, the kernel, systemd and `firstboot`'s plain lines.

use contract::journal::{Step, Transition};
use serde_json::Value;
use std::fmt;

/// How many lines of the console a failure shows.
const TAIL: usize = 50;

/// Something that a machine showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A line of the serial console, without control characters.
    Serial(String),
    /// A line of the status port.
    Status(String),
    /// An event of QEMU's.
    Qmp(Value),
    /// A line of QEMU's standard error.
    Complaint(String),
    /// QEMU has ended.
    Ended,
}

/// Everything that a machine has shown since it was powered on.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The console's lines.
    pub console: Vec<String>,
    /// The phases' transitions.
    pub transitions: Vec<Transition>,
    /// QEMU's events.
    pub qmp: Vec<Value>,
    /// What QEMU complained about, and lines of the status port that are no transitions.
    pub complaints: Vec<String>,
    /// Whether QEMU has ended.
    pub ended: bool,
}

impl Observed {
    /// Adds an event.
    pub fn add(&mut self, event: Event) {
        match event {
            Event::Serial(line) => self.console.push(line),
            Event::Status(line) => match serde_json::from_str(&line) {
                Ok(transition) => self.transitions.push(transition),
                Err(_) => self.complaints.push(format!("not a transition: {line}")),
            },
            Event::Qmp(value) => self.qmp.push(value),
            Event::Complaint(line) => self.complaints.push(line),
            Event::Ended => self.ended = true,
        }
    }

    /// The first transition of `phase` to `step`.
    pub fn transition(&self, phase: &str, step: Step) -> Option<&Transition> {
        self.transitions
            .iter()
            .find(|line| line.phase == phase && line.event == step)
    }

    /// Seconds after power-on when every phase was done.
    pub fn ready(&self) -> Option<f64> {
        let ready = self
            .transitions
            .iter()
            .find(|line| line.event == Step::Ready);
        ready.map(|line| line.at)
    }

    /// Whether QEMU told of an event of this name.
    pub fn qmp_event(&self, name: &str) -> bool {
        self.qmp.iter().any(|event| event["event"] == name)
    }
}

/// The evidence that a failure shows: QEMU's complaints, every transition, and the console's last lines.
impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.complaints {
            writeln!(f, "qemu    | {line}")?;
        }
        for Transition {
            at,
            phase,
            event,
            why,
            ..
        } in &self.transitions
        {
            writeln!(f, "journal | {at:8.1} {phase:<20} {event:?} {why}")?;
        }
        let from = self.console.len().saturating_sub(TAIL);
        for line in &self.console[from..] {
            writeln!(f, "console | {line}")?;
        }
        Ok(())
    }
}

/// Cuts a byte stream into lines and takes terminal control sequences out of them.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes in more bytes and gives the lines that are complete now.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        whole[..end]
            .split(|byte| *byte == b'\n')
            .map(plain)
            .collect()
    }

    /// What stands after the last line end.
    pub fn finish(self) -> Option<String> {
        (!self.rest.is_empty()).then(|| plain(&self.rest))
    }
}

/// The text without control characters and escape sequences (ECMA-48: CSI, OSC and two-character ones).
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            match chars.next() {
                Some('[') => {
                    let _ = chars.by_ref().find(|c| ('@'..='~').contains(c));
                }
                Some(']') => {
                    let _ = chars.by_ref().find(|c| matches!(c, '\u{7}' | '\u{1b}'));
                }
                _ => {}
            }
        } else if !c.is_control() || c == '\t' {
            out.push(c);
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_plain() {
        let mut lines = Lines::default();
        assert_eq!(
            lines.feed(b"[\x1b[0;32m  OK  \x1b[0m] Rea"),
            Vec::<String>::new()
        );
        assert_eq!(
            lines.feed(b"ched\r\r\n\x1b]104\x07one\r\ntw"),
            ["[  OK  ] Reached", "one"]
        );
        assert_eq!(lines.finish().as_deref(), Some("tw"));
    }

    #[test]
    fn transitions_are_read_and_strangers_kept() {
        let mut seen = Observed::default();
        seen.add(Event::Status(
            r#"{"at":1.5,"time":9,"phase":"seed","event":"waiting","why":"no stick"}"#.into(),
        ));
        seen.add(Event::Status(
            r#"{"at":2,"time":9,"phase":"seed","event":"shining"}"#.into(),
        ));
        seen.add(Event::Status("garbage".into()));
        assert_eq!(
            seen.transition("seed", Step::Waiting).unwrap().why,
            "no stick"
        );
        assert_eq!(seen.transitions.len(), 1);
        assert_eq!(seen.ready(), None);
        seen.add(Event::Status(
            r#"{"at":70.25,"time":9,"phase":"machine","event":"ready"}"#.into(),
        ));
        assert_eq!(seen.ready(), Some(70.25));
        let text = seen.to_string();
        assert!(
            text.contains("not a transition: garbage")
                && text.contains("shining")
                && text.contains("no stick"),
            "{text}"
        );
    }
}
