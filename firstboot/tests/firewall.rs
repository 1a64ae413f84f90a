//! The firewall in the kernel: nftables takes what is rendered, and sockets in network namespaces find open what is to
//! be open, and nothing else. Needs root, `ip` and `nft`.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[allow(dead_code)] // Other tests use other parts of it.
#[path = "support/wire.rs"]
mod wire;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use firstboot::ledger::Role;
use firstboot::render::cni;
use firstboot::render::firewall::{Firewall, table};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wire::{Wire, Wires};

/// An answer on a wire in memory comes at once; nothing comes through a firewall that drops.
const PATIENCE: Duration = Duration::from_millis(600);

/// The machine with the firewall, and another one.
const MACHINE: usize = 1;
const OTHER: usize = 2;

fn skipped() -> bool {
    // Tests run beside each other, and the namespace that is tried has one name.
    static AVAILABLE: OnceLock<Result<(), String>> = OnceLock::new();
    let available = AVAILABLE.get_or_init(|| {
        wire::available()?;
        match Command::new("nft").arg("--version").output() {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("`nft` of nftables cannot be started: {error}")),
        }
    });
    let Err(why) = available else {
        return false;
    };
    let required = std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() == Ok("1");
    assert!(!required, "{why}");
    println!("SKIP: {why}");
    true
}

fn firewall(role: Option<Role>, nodes: &[&str]) -> Firewall {
    Firewall {
        role,
        pods: "10.244.0.0/16".parse().unwrap(),
        node_ports: 30000..=32767,
        nodes: nodes.iter().map(|node| node.parse().unwrap()).collect(),
    }
}

/// Hands the text to nft in the namespace of a machine.
fn nft(wires: &Wires, n: usize, arguments: &[&str], text: &str) -> String {
    let mut command = wires.command(n, std::path::Path::new("nft"));
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\n{text}");
    String::from_utf8(output.stdout).unwrap()
}

fn load(wires: &Wires, firewall: &Firewall) {
    nft(wires, MACHINE, &["-f", "-"], &table(firewall));
}

fn ip(wires: &Wires, n: usize, words: &str) {
    let mut command = wires.command(n, std::path::Path::new("ip"));
    let output = command.args(words.split(' ')).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {stderr}");
}

/// Runs it in the namespace of a machine; sockets that are made there stay there.
fn inside<T: Send>(wires: &Wires, n: usize, action: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(wires.namespace(n)).unwrap();
    thread::scope(|scope| {
        let entered = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            action()
        });
        entered.join().unwrap()
    })
}

fn address(text: &str, port: u16) -> SocketAddr {
    SocketAddr::from((text.parse::<IpAddr>().unwrap(), port))
}

/// What a client sees.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// Somebody listens.
    Open,
    /// Nobody listens, and the machine says so.
    Refused,
    /// Nothing comes back.
    Silence,
}

fn connect(wires: &Wires, from: usize, to: SocketAddr) -> Seen {
    let connected = inside(wires, from, || TcpStream::connect_timeout(&to, PATIENCE));
    match connected.map_err(|error| error.kind()) {
        Ok(_) => Seen::Open,
        Err(ErrorKind::ConnectionRefused) => Seen::Refused,
        Err(ErrorKind::TimedOut | ErrorKind::WouldBlock) => Seen::Silence,
        Err(other) => panic!("connecting to {to}: {other:?}"),
    }
}

fn listen(wires: &Wires, n: usize, port: u16) -> TcpListener {
    inside(wires, n, || TcpListener::bind(address("0.0.0.0", port))).unwrap()
}

/// Whether a datagram comes through from the other machine.
fn datagram_comes(wires: &Wires, source: u16, port: u16) -> bool {
    let bind = |n, port| inside(wires, n, || UdpSocket::bind(address("0.0.0.0", port))).unwrap();
    let (machine, other) = (bind(MACHINE, port), bind(OTHER, source));
    machine.set_read_timeout(Some(PATIENCE)).unwrap();
    other.send_to(b"x", address("10.77.0.1", port)).unwrap();
    machine.recv(&mut [0; 4]).is_ok()
}

#[test]
fn nftables_takes_every_table() {
    if skipped() {
        return;
    }
    let wires = Wires::new("fw-check", Wire::Bridge, 1);
    let v6 = Firewall {
        pods: "fd00:10::/48".parse().unwrap(),
        ..firewall(None, &["fd00::1", "fd00::2"])
    };
    for firewall in [
        firewall(None, &[]),
        firewall(Some(Role::Worker), &["10.0.0.1", "fd00::1"]),
        firewall(Some(Role::ControlPlane), &["10.0.0.1", "10.0.0.2"]),
        v6,
    ] {
        nft(&wires, MACHINE, &["-c", "-f", "-"], &table(&firewall));
        load(&wires, &firewall);
    }
    // The tables of others stay.
    nft(
        &wires,
        MACHINE,
        &["-f", "-"],
        &cni::masquerade("10.244.0.0/16".parse().unwrap()),
    );
    load(&wires, &firewall(None, &[]));
    let tables = nft(&wires, MACHINE, &["list", "tables"], "");
    let mut tables: Vec<&str> = tables.lines().collect();
    tables.sort_unstable();
    assert_eq!(tables, ["table inet seedbed-host", "table ip seedbed-pods"]);
}

#[test]
fn each_role_opens_what_it_needs() {
    if skipped() {
        return;
    }
    let wires = Wires::new("fw-role", Wire::Bridge, 2);
    let ports = [22, 2379, 2380, 6443, 7444, 9100, 10250, 10256, 10257, 30080];
    let _listeners: Vec<TcpListener> = ports.map(|port| listen(&wires, MACHINE, port)).into();
    let open = || -> Vec<u16> {
        let to = |port: &u16| address("10.77.0.1", *port);
        let seen = |port: &u16| connect(&wires, OTHER, to(port)) == Seen::Open;
        ports.into_iter().filter(seen).collect()
    };
    assert_eq!(open(), ports);
    load(&wires, &firewall(None, &[]));
    assert_eq!(open(), [7444, 10250, 30080]);
    load(&wires, &firewall(Some(Role::ControlPlane), &[]));
    assert_eq!(open(), [2379, 2380, 6443, 7444, 10250, 30080]);
    load(&wires, &firewall(Some(Role::Worker), &[]));
    assert_eq!(open(), [7444, 10250, 30080]);
    // A node of the cluster reaches everything, as its pods are promised to.
    load(&wires, &firewall(Some(Role::Worker), &["10.77.0.2"]));
    assert_eq!(open(), ports);
    load(&wires, &firewall(Some(Role::Worker), &["10.77.0.3"]));
    assert_eq!(open(), [7444, 10250, 30080]);

    // Where nobody listens, the machine says so, if the port is open.
    let seen = |port| connect(&wires, OTHER, address("10.77.0.1", port));
    assert_eq!((seen(30081), seen(9101)), (Seen::Refused, Seen::Silence));
    // The machine itself gets everywhere, and to itself.
    let _other = listen(&wires, OTHER, 80);
    for (to, port) in [("10.77.0.2", 80), ("127.0.0.1", 9100), ("10.77.0.1", 9100)] {
        assert_eq!(
            connect(&wires, MACHINE, address(to, port)),
            Seen::Open,
            "{to}"
        );
    }
    for (source, port, expected) in [
        (7446, 7446, true),
        (5000, 7446, true),
        (67, 68, true),
        (5000, 68, false),
        (5000, 8472, false),
        (5000, 30053, true),
    ] {
        assert_eq!(datagram_comes(&wires, source, port), expected, "{port}");
    }
}

#[test]
fn pods_reach_the_machine_from_both_sides() {
    if skipped() {
        return;
    }
    let wires = Wires::new("fw-pods", Wire::Bridge, 2);
    load(&wires, &firewall(Some(Role::Worker), &[]));
    let _listener = listen(&wires, MACHINE, 9100);

    // A pod of another node, which has its own address.
    ip(&wires, OTHER, "address add 10.244.2.7/24 dev eth0");
    ip(&wires, MACHINE, "route add 10.244.2.0/24 via 10.77.0.2");
    ip(
        &wires,
        OTHER,
        "route add 10.77.0.1/32 dev eth0 src 10.244.2.7",
    );
    let to = address("10.77.0.1", 9100);
    assert_eq!(connect(&wires, OTHER, to), Seen::Open);
    ip(&wires, OTHER, "route del 10.77.0.1/32 dev eth0");
    assert_eq!(connect(&wires, OTHER, to), Seen::Silence);

    // A pod of this one: whatever its address, it comes over the bridge.
    let namespace = wires.namespace(OTHER);
    let namespace = namespace.file_name().unwrap().to_str().unwrap();
    ip(
        &wires,
        MACHINE,
        &format!("link add cni0 type veth peer name pod netns {namespace}"),
    );
    ip(&wires, MACHINE, "address add 192.0.2.1/24 dev cni0");
    ip(&wires, MACHINE, "link set cni0 up");
    ip(&wires, OTHER, "address add 192.0.2.2/24 dev pod");
    ip(&wires, OTHER, "link set pod up");
    assert_eq!(
        connect(&wires, OTHER, address("192.0.2.1", 9100)),
        Seen::Open
    );
}

#[test]
fn what_kube_proxy_leads_here_comes_in() {
    if skipped() {
        return;
    }
    let wires = Wires::new("fw-dnat", Wire::Bridge, 2);
    load(&wires, &firewall(Some(Role::Worker), &[]));
    let _listener = listen(&wires, MACHINE, 9100);
    let direct = || connect(&wires, OTHER, address("10.77.0.1", 9100));
    let service = || connect(&wires, OTHER, address("10.77.0.1", 443));
    assert_eq!((direct(), service()), (Seen::Silence, Seen::Silence));
    let rules = "table ip kube-proxy {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    tcp dport 443 redirect to :9100
  }
}
";
    nft(&wires, MACHINE, &["-f", "-"], rules);
    assert_eq!((direct(), service()), (Seen::Silence, Seen::Open));
}

#[test]
fn a_connection_outlives_another_table() {
    if skipped() {
        return;
    }
    let wires = Wires::new("fw-again", Wire::Bridge, 2);
    load(&wires, &firewall(Some(Role::ControlPlane), &[]));
    let listener = listen(&wires, MACHINE, 6443);
    let mut client = inside(&wires, OTHER, || {
        TcpStream::connect_timeout(&address("10.77.0.1", 6443), PATIENCE)
    })
    .unwrap();
    let (mut server, _) = listener.accept().unwrap();
    for nodes in [&["10.77.0.2"][..], &[], &["10.77.0.9"]] {
        load(&wires, &firewall(Some(Role::Worker), nodes));
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        server.write_all(b"y").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
}
