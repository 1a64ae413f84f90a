//! A client of the QEMU Machine Protocol: one JSON document a line, over a Unix socket.

use crate::events::Event;
use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// How long QEMU may take for an answer. Under load it stops its processors and drains its disks first.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a QEMU process, past its greeting.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    answers: Receiver<Value>,
}

impl Qmp {
    /// Greets QEMU. `answers` is what [`listen`] sends for the same connection.
    pub fn greet(stream: UnixStream, answers: Receiver<Value>) -> anyhow::Result<Self> {
        let mut qmp = Qmp { stream, answers };
        qmp.answer().context("waiting for QEMU's greeting")?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Has QEMU carry out a command and returns what it answers.
    pub fn execute(&mut self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        let doing = || format!("asking QEMU for {command} {arguments}");
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        let sent = self.stream.write_all(line.as_bytes());
        sent.context("QEMU has ended").with_context(doing)?;
        let mut answer = self.answer().with_context(doing)?;
        match answer.get("error") {
            None => Ok(answer["return"].take()),
            Some(error) => {
                Err(anyhow!("{}", error["desc"].as_str().unwrap_or_default())).with_context(doing)
            }
        }
    }

    fn answer(&self) -> anyhow::Result<Value> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => bail!("no answer within {} s", PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("QEMU has ended"),
        }
    }
}

/// Reads a connection to its end: events go to `events`, all else is an answer. Runs on a thread of its own.
pub fn listen(stream: UnixStream, answers: Sender<Value>, events: Sender<Event>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let Ok(value) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        // Whoever is gone does not want to hear any more.
        let _ = match value.get("event") {
            Some(_) => events.send(Event::Qmp(value)).is_ok(),
            None => answers.send(value).is_ok(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn answers_and_events_go_their_ways() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (to_answers, answers) = mpsc::channel();
        let (to_events, events) = mpsc::channel();
        let reading = ours.try_clone().unwrap();
        thread::spawn(move || listen(reading, to_answers, to_events));
        thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
            let mut out = theirs;
            writeln!(out, r#"{{"QMP": {{"version": {{}}}}}}"#).unwrap();
            lines.next();
            writeln!(out, r#"{{"return": {{}}}}"#).unwrap();
            lines.next();
            writeln!(out, r#"{{"event": "STOP"}}"#).unwrap();
            writeln!(out, r#"{{"return": {{"status": "paused"}}}}"#).unwrap();
            lines.next();
            writeln!(
                out,
                r#"{{"error": {{"class": "GenericError", "desc": "no such device"}}}}"#
            )
            .unwrap();
        });
        let mut qmp = Qmp::greet(ours, answers).unwrap();
        assert_eq!(qmp.execute("stop", json!({})).unwrap()["status"], "paused");
        assert_eq!(
            events.recv().unwrap(),
            Event::Qmp(json!({ "event": "STOP" }))
        );
        let error = format!(
            "{:#}",
            qmp.execute("device_del", json!({ "id": "x" })).unwrap_err()
        );
        assert!(
            error.contains("device_del") && error.contains("no such device"),
            "{error}"
        );
        let error = format!("{:#}", qmp.execute("cont", json!({})).unwrap_err());
        assert!(error.contains("QEMU has ended"), "{error}");
    }
}
