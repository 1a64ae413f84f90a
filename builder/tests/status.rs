//! `seedbed status`, run as a user would, against machines in this process.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/command.rs"]
mod command;

use command::{PROGRAM, refuse, seedbed, succeed};
use contract::peer::channel::Channel;
use contract::peer::{Request, Response};
use contract::seed::Seed;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use tempfile::TempDir;

/// A seed on disk.
struct Site {
    home: TempDir,
    seed: Seed,
}

impl Site {
    fn new(expect: u32) -> Self {
        let home = TempDir::new().unwrap();
        let mut text = contract::seed::new_text("plant", &[7; contract::seed::SECRET_BYTES]);
        text.push_str(&format!("\nmachines: {{expect: {expect}}}\n"));
        fs::write(home.path().join("seed.yaml"), &text).unwrap();
        let seed = contract::seed::parse("seed.yaml", &text).unwrap();
        Site { home, seed }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("seed.yaml")
    }

    fn status(&self, address: &str) -> assert_cmd::Command {
        let mut command = seedbed(self.home.path());
        command.args(["status", "--address", address, "--seed"]);
        command.arg(self.path());
        command
    }

    /// A machine that answers with this document for as long as the test runs; where.
    fn machine(&self, status: &Value) -> String {
        let (secret, response) = (
            self.seed.cluster.secret.clone(),
            Response::Document(status.to_string()),
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let answer = |stream: TcpStream| {
                    let (mut channel, _) = Channel::accept(&stream, &secret, None).ok()?;
                    let asked: Request = channel.receive(4096).ok()?;
                    assert_eq!(asked, Request::Status);
                    channel.send(&response).ok()
                };
                answer(stream.unwrap());
            }
        });
        address
    }
}

/// A worker that is Ready and knows the others.
fn worker(number: u8, others: &[(&str, &str)]) -> Value {
    let machines: Vec<Value> = others
        .iter()
        .map(|(name, address)| json!({ "hostName": name, "address": address }))
        .collect();
    json!({
        "version": 1, "state": "ready", "hostName": format!("plant-{number}"), "cluster": "plant",
        "address": format!("10.0.2.{number}"), "kubernetes": "v1.31.4", "phases": [], "role": "worker",
        "health": {
            "apiServer": { "healthy": true, "why": null },
            "etcd": null,
            "node": { "healthy": true, "why": null },
        },
        "machines": machines,
    })
}

#[test]
fn the_exit_status_is_0_only_if_all_are_ready() {
    let site = Site::new(2);
    let second = site.machine(&worker(2, &[]));
    let first = site.machine(&worker(1, &[("plant-2", &second)]));
    let text = succeed(&mut site.status(&first));
    assert!(
        text.ends_with("\n2 of 2 machines Ready; nothing is known of etcd\n"),
        "{text}"
    );
    let document: Value =
        serde_json::from_str(&succeed(site.status(&first).arg("--json"))).unwrap();
    assert_eq!(document["ready"], true);
    assert_eq!(document["machines"][1]["hostName"], "plant-2");
    assert_eq!(document["machines"][1]["status"]["role"], "worker");
    let secret = site.seed.cluster.secret.expose();
    assert!(!document.to_string().contains(secret), "{document}");

    // The other one hangs: its table is there all the same, and the exit status says so.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = hanging.local_addr().unwrap().to_string();
    let first = site.machine(&worker(1, &[("plant-2", &hanging)]));
    let output = site.status(&first).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("plant-2") && text.contains("silent"),
        "{text}"
    );
    assert!(text.contains("\n1 of 2 machines Ready; "), "{text}");
    refuse(&mut site.status(&first), &["not every machine is Ready"]);
}

#[test]
fn a_watch_without_a_terminal_prints_table_after_table() {
    let site = Site::new(1);
    let first = site.machine(&worker(1, &[]));
    for (json, expected) in [(false, "1 of 1 machines Ready"), (true, "{\"version\":1")] {
        let mut child = Command::new(PROGRAM)
            .args(["status", "--watch", "--address", &first, "--seed"])
            .arg(site.path())
            .args(json.then_some("--json"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines: Vec<String> = lines
            .map(Result::unwrap)
            .filter(|line| line.starts_with(expected))
            .take(2)
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(lines.len(), 2);
        assert!(!lines.concat().contains('\u{1b}'));
    }
}
