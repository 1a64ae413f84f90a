//! Machines that find each other, each in a network namespace of its own: by multicast, with IPv6 alone, behind a
//! router, beside strangers, and in a flood of garbage. Needs root and `ip`.
//!
//! A machine is this test's own program, started anew in the namespace with one of the variables below.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[allow(dead_code)] // Other tests use other parts of it.
#[path = "support/wire.rs"]
mod wire;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use contract::datagram::{Beacon, GROUP_V4, MachineId, Payload, Roles, VERSION};
use contract::port;
use contract::secret::Secret;
use contract::seed::Interface;
use contract::seed::discovery::{Discovery as Setting, Peer};
use firstboot::discovery::{Config, Discovery, Target};
use firstboot::host::Linux;
use wire::{Wire, Wires};

/// Makes the program a machine: `NUMBER SECRET EXPECTED MULTICAST PEER,PEER…`.
const MACHINE: &str = "SEEDBED_TEST_DISCOVERY_MACHINE";

/// Makes the program a source of garbage.
const FLOOD: &str = "SEEDBED_TEST_DISCOVERY_FLOOD";

/// Machines find each other within this, whatever else the host does.
const DEADLINE: Duration = Duration::from_secs(90);

fn skipped() -> bool {
    // Tests run beside each other, and the namespace that is tried has one name.
    static AVAILABLE: OnceLock<Result<(), String>> = OnceLock::new();
    let Err(why) = AVAILABLE.get_or_init(wire::available) else {
        return false;
    };
    assert!(
        std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() != Ok("1"),
        "{why}"
    );
    println!("SKIP: {why}");
    true
}

/// A program in a namespace, and the lines that it writes.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    fn start(wires: &Wires, n: usize, variable: &str, value: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut child = wires
            .command(n, &program)
            .args([
                "--exact",
                "in_a_namespace",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(variable, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let input = child.stdin.take();
        Running {
            child,
            input,
            lines,
        }
    }

    /// What stands behind the first of these words.
    fn wait(&self, word: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("a machine has not written {word}"));
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Ends it; what it says at last.
    fn end(&mut self, word: &str) -> String {
        self.input = None;
        let last = self.wait(word);
        self.child.wait().unwrap();
        last
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn machine(wires: &Wires, n: usize, secret: &str, expected: usize, setting: &str) -> Running {
    let value = format!("{n} {secret} {expected} {setting}");
    Running::start(wires, n, MACHINE, &value)
}

/// Starts three machines; the milliseconds until the last one has heard both others. Each then has had a message
/// from each.
fn three(wires: &Wires, setting: &str) -> (Vec<Running>, u64) {
    let machines: Vec<_> = (1..=3)
        .map(|n| machine(wires, n, "secret", 2, setting))
        .collect();
    let times = machines
        .iter()
        .map(|machine| machine.wait("ALL").parse::<u64>().unwrap());
    let last = times.max().unwrap();
    machines.iter().for_each(|machine| {
        machine.wait("MESSAGES");
    });
    (machines, last)
}

fn check(test: &str, wire: Wire, setting: &str) {
    if skipped() {
        return;
    }
    let wires = Wires::new(test, wire, 3);
    let (_machines, time) = three(&wires, setting);
    println!("{test}: three machines have found each other after {time} ms");
}

#[test]
fn by_multicast() {
    check("multicast", Wire::Bridge, "true");
}

#[test]
fn by_ipv6_alone() {
    check("ipv6", Wire::BridgeV6, "true");
}

#[test]
fn behind_a_router_by_address() {
    check("router", Wire::Router, "true 10.77.1.1,10.77.2.1,10.77.3.1");
}

/// Each knows but a range that the others are in.
#[test]
fn behind_a_router_by_range() {
    check(
        "range",
        Wire::Router,
        "false 10.77.1.0/26,10.77.2.0/26,10.77.3.0/26",
    );
}

/// One that the others know is enough for them to find it, and for it to find them.
#[test]
fn who_is_called_answers() {
    if skipped() {
        return;
    }
    let wires = Wires::new("called", Wire::Router, 2);
    let called = machine(&wires, 1, "secret", 1, "true");
    let calls = machine(&wires, 2, "secret", 1, "true 10.77.1.1");
    called.wait("ALL");
    calls.wait("ALL");
}

/// The machine calls before there is a wire, and is found as soon as there is one.
#[test]
fn a_cable_may_come_later() {
    if skipped() {
        return;
    }
    let wires = Wires::new("cable", Wire::Bridge, 2);
    wires.cable(2, "down");
    let machines = [1, 2].map(|n| machine(&wires, n, "secret", 1, "true"));
    machines.iter().for_each(|machine| {
        machine.wait("STARTED");
    });
    wires.cable(2, "up");
    machines.iter().for_each(|machine| {
        machine.wait("MESSAGES");
    });
}

#[test]
fn two_clusters_on_one_wire_do_not_see_each_other() {
    if skipped() {
        return;
    }
    let wires = Wires::new("strangers", Wire::Bridge, 4);
    let secret = |n| if n <= 2 { "secret" } else { "another" };
    let start = |n| machine(&wires, n, secret(n), 1, "true");
    let mut machines: Vec<_> = (1..=4).map(start).collect();
    machines.iter().for_each(|machine| {
        machine.wait("MESSAGES");
    });
    for (machine, other) in machines.iter_mut().zip([2, 1, 4, 3]) {
        let last = machine.end("COUNTERS");
        assert!(last.ends_with(&format!("heard={{{other}}}")), "{last}");
        assert!(number(&last, "forged") > 0, "{last}");
    }
}

#[test]
fn in_a_flood_of_garbage() {
    if skipped() {
        return;
    }
    let wires = Wires::new("flood", Wire::Bridge, 4);
    let (machines, without) = three(&wires, "true");
    drop(machines);
    let mut flood = Running::start(&wires, 4, FLOOD, "1");
    flood.wait("FLOODING");
    let start = Instant::now();
    let (mut machines, with) = three(&wires, "true");
    let lasted = start.elapsed().as_secs_f64();
    println!("flood: found each other after {without} ms without it, and {with} ms in it");
    for machine in &mut machines {
        let last = machine.end("COUNTERS");
        let rate = number(&last, "forged") as f64 / lasted;
        println!("flood: one machine has dropped {rate:.0} datagrams a second: {last}");
        assert!(number(&last, "forged") > 1000, "{last}");
        assert_eq!(
            number(&last, "garbage") + number(&last, "oversized"),
            0,
            "{last}"
        );
    }
    println!("flood: {} datagrams a second were sent", flood.end("SENT"));
}

/// The number behind `name=`.
fn number(text: &str, name: &str) -> u64 {
    let field = text
        .split(' ')
        .find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    field.unwrap().parse().unwrap()
}

/// What runs in the namespaces; a test that does nothing when it is started as one.
#[test]
fn in_a_namespace() {
    if let Ok(value) = std::env::var(MACHINE) {
        let words: Vec<_> = value.split(' ').collect();
        be_a_machine(&words);
    } else if std::env::var_os(FLOOD).is_some() {
        be_a_flood();
    }
}

/// Whether whoever started us has closed our input.
fn ended() -> &'static AtomicBool {
    static ENDED: AtomicBool = AtomicBool::new(false);
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
    });
    &ENDED
}

fn be_a_machine(words: &[&str]) {
    static HOST: Linux = Linux;
    let number: u8 = words[0].parse().unwrap();
    let expected: usize = words[2].parse().unwrap();
    let peers = words
        .get(4)
        .map_or(Vec::new(), |text| text.split(',').collect());
    let config = Config {
        secret: Secret::new(words[1]),
        port: port::DISCOVERY,
        interface: Some(Interface::Name("eth0".into())),
        discovery: Setting {
            peers: peers.into_iter().map(peer).collect(),
            multicast: words[3] == "true",
        },
    };
    let start = Instant::now();
    let discovery = Discovery::start(&HOST, config, beacon(number)).unwrap();
    println!("\nSTARTED");
    let (mut heard, mut messages) = (BTreeSet::new(), BTreeSet::new());
    let (mut said, mut told) = (start, false);
    let ended = ended();
    while !ended.load(Ordering::Relaxed) {
        match discovery.receive(Duration::from_millis(100)) {
            Some((_, Payload::Beacon(beacon))) => {
                if heard.insert(beacon.machine.0[0]) && heard.len() == expected {
                    println!("\nALL {}", start.elapsed().as_millis());
                }
            }
            Some((_, Payload::Assembly { to, bytes })) => {
                // Once to all, once to us alone.
                messages.insert((to.is_some(), bytes[0]));
            }
            Some((_, Payload::Probe)) | None => {}
        }
        // Messages may come before the first beacon does.
        if !told && heard.len() == expected && messages.len() == 2 * expected {
            told = true;
            println!("\nMESSAGES");
        }
        if heard.len() == expected && said.elapsed() > Duration::from_millis(300) {
            said = Instant::now();
            let message = |to| Payload::Assembly {
                to,
                bytes: vec![number],
            };
            discovery.send(Target::All, &message(None)).unwrap();
            for peer in discovery.peers().all() {
                let to = peer.beacon.machine;
                discovery
                    .send(Target::Machine(to), &message(Some(to)))
                    .unwrap();
            }
        }
    }
    let counters = discovery.counters();
    println!(
        "\nCOUNTERS received={} taken={} replayed={} own={} forged={} garbage={} oversized={} heard={heard:?}",
        counters.received,
        counters.taken,
        counters.replayed,
        counters.own,
        counters.forged,
        counters.garbage,
        counters.oversized,
    );
}

fn peer(text: &str) -> Peer {
    match text.parse() {
        Ok(range) => Peer::Range(range),
        Err(_) => Peer::Address(text.parse().unwrap()),
    }
}

fn beacon(number: u8) -> Beacon {
    Beacon {
        machine: MachineId([number; 16]),
        incarnation: [number; 16],
        boot: 1,
        sequence: 0,
        key: [number; 32],
        host_name: format!("machine-{number}"),
        addresses: Vec::new(),
        decided: None,
        cluster: None,
        roles: Roles::default(),
        phase: String::new(),
        time: 0,
    }
}

/// As fast as the kernel takes them: datagrams with the right version and a good length, each another one.
fn be_a_flood() {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // Without a route for groups the kernel takes the interface of this address.
    let own = Ipv4Addr::new(10, 77, 0, 4);
    rustix::net::sockopt::set_ip_multicast_if(&socket, &own).unwrap();
    let mut datagram = [0x5e; 321];
    datagram[0] = VERSION;
    println!("\nFLOODING");
    let (start, ended) = (Instant::now(), ended());
    let mut sent = 0u64;
    while !ended.load(Ordering::Relaxed) {
        datagram[1..9].copy_from_slice(&sent.to_le_bytes());
        if socket
            .send_to(&datagram, (GROUP_V4, port::DISCOVERY))
            .is_ok()
        {
            sent += 1;
        }
    }
    println!("\nSENT {:.0}", sent as f64 / start.elapsed().as_secs_f64());
}
