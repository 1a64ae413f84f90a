//! Machines on a wire of their own: network namespaces, joined by a bridge or by a router without multicast.

use std::process::{Command, Output};

/// How the machines are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// One wire, with IPv4 addresses and link-local IPv6 ones.
    Bridge,
    /// One wire, link-local IPv6 addresses alone.
    BridgeV6,
    /// A wire for each, and an IPv4 router between them that forwards no multicast.
    Router,
}

/// The namespaces; they vanish when this is dropped.
pub(crate) struct Wires {
    hub: String,
    machines: Vec<String>,
}

/// Why namespaces cannot be made here, if so.
pub(crate) fn available() -> Result<(), String> {
    let probe = format!("seedbed-{}-probe", std::process::id());
    let made = Command::new("ip").args(["netns", "add", &probe]).output();
    match made {
        Ok(output) if output.status.success() => {
            ip(&["netns", "del", &probe]);
            Ok(())
        }
        Ok(output) => Err(format!(
            "no network namespace can be made: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("`ip` of iproute2 cannot be started: {error}")),
    }
}

impl Wires {
    /// So many machines; `test` tells the namespaces of tests that run at once apart.
    pub(crate) fn new(test: &str, wire: Wire, machines: usize) -> Self {
        let name = |what: &str| format!("seedbed-{}-{test}-{what}", std::process::id());
        let wires = Wires {
            hub: name("hub"),
            machines: (1..=machines).map(|n| name(&n.to_string())).collect(),
        };
        ip(&["netns", "add", &wires.hub]);
        match wire {
            Wire::Router => write(&wires.hub, "/proc/sys/net/ipv4/ip_forward", "1"),
            Wire::Bridge | Wire::BridgeV6 => {
                ip_in(&wires.hub, "link add hub type bridge mcast_snooping 0");
                ip_in(&wires.hub, "link set hub up");
            }
        }
        for (n, machine) in wires.machines.iter().enumerate() {
            wires.plug(n + 1, machine, wire);
        }
        wires
    }

    /// A command that runs in the namespace of machine `n`, from 1 on.
    pub(crate) fn command(&self, n: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.machines[n - 1]])
            .arg(program);
        command
    }

    /// The file by which the namespace of machine `n` is entered.
    pub(crate) fn namespace(&self, n: usize) -> std::path::PathBuf {
        std::path::Path::new("/run/netns").join(&self.machines[n - 1])
    }

    /// Takes the cable of machine `n` out, or puts it in.
    pub(crate) fn cable(&self, n: usize, state: &str) {
        ip_in(&self.hub, &format!("link set port{n} {state}"));
    }

    fn plug(&self, n: usize, machine: &str, wire: Wire) {
        let port = format!("port{n}");
        ip(&["netns", "add", machine]);
        ip_in(
            &self.hub,
            &format!("link add {port} type veth peer name eth0 netns {machine}"),
        );
        ip_in(machine, "link set lo up");
        match wire {
            Wire::Router => {
                ip_in(&self.hub, &format!("addr add 10.77.{n}.254/24 dev {port}"));
                ip_in(machine, &format!("addr add 10.77.{n}.1/24 dev eth0"));
            }
            Wire::Bridge => ip_in(machine, &format!("addr add 10.77.0.{n}/16 dev eth0")),
            Wire::BridgeV6 => {}
        }
        if wire != Wire::Router {
            ip_in(&self.hub, &format!("link set {port} master hub"));
        }
        ip_in(&self.hub, &format!("link set {port} up"));
        ip_in(machine, "link set eth0 up");
        if wire == Wire::Router {
            ip_in(machine, &format!("route add default via 10.77.{n}.254"));
        }
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for name in self.machines.iter().chain([&self.hub]) {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

fn write(namespace: &str, path: &str, text: &str) {
    let script = format!("echo {text} > {path}");
    ip(&["netns", "exec", namespace, "sh", "-c", &script]);
}

fn ip_in(namespace: &str, words: &str) {
    let words: Vec<_> = words.split(' ').collect();
    ip(&[&["-n", namespace], &words[..]].concat());
}

fn ip(arguments: &[&str]) {
    let Output { status, stderr, .. } = Command::new("ip").args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "ip {}: {stderr}", arguments.join(" "));
}
