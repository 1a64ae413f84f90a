//! Clients over loopback against the machine's side, on a machine in memory.

use super::*;
use crate::host::fake::Fake;
use contract::peer::{MAX_RESPONSE, Request, Response};
use contract::secret::Secret;
use std::io::{Read, Write};

const SECRET: &str = "abcdefghijklmnopqrstuvwxyz234567";

fn machine(seed: bool) -> Fake {
    let fake = Fake::default();
    if seed {
        fake.put(
            facts::FOUND_SEED,
            format!("version: 1\ncluster: {{name: plant-7, secret: {SECRET}}}\n"),
        );
    }
    fake
}

/// Serves for as long as the test runs.
fn start(fake: Fake) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve(&fake, &listener));
    address
}

fn ask(address: SocketAddr, secret: &str, request: &Request) -> Result<Response, ChannelError> {
    let stream = TcpStream::connect(address).unwrap();
    let mut channel = Channel::connect(Limited::new(stream, MAX_TIME), &Secret::new(secret))?;
    channel.send(request)?;
    channel.receive(MAX_RESPONSE)
}

#[test]
fn the_kubeconfig_is_given_once_the_control_plane_answers() {
    let not_yet = |fake: Fake, reason: &str| {
        let answer = ask(start(fake), SECRET, &Request::Kubeconfig).unwrap();
        assert_eq!(answer, Response::NotYet(reason.into()));
    };
    not_yet(machine(true), "the control plane is being made");

    let made = || {
        let fake = machine(true);
        fake.put("/etc/kubernetes/admin.conf", "apiVersion: v1\n");
        fake.put("/etc/kubernetes/pki/ca.crt", "x");
        fake
    };
    not_yet(made(), "the cluster is being founded");

    let founded = || {
        let fake = made();
        let membership = ledger::Membership {
            version: 1,
            role: ledger::Role::ControlPlane,
            cluster: "c".into(),
            authority: "a".into(),
        };
        ledger::decide(&fake, &membership).unwrap();
        fake
    };
    not_yet(founded(), "the API server does not answer yet");

    let ready = founded();
    ready.web(|_, url, _| (url == "6443/readyz").then(|| (200, "ok".into())));
    let answer = ask(start(ready), SECRET, &Request::Kubeconfig).unwrap();
    assert_eq!(answer, Response::Document("apiVersion: v1\n".into()));
}

#[test]
fn the_status_is_told_from_the_first_moment() {
    let answer = ask(start(machine(true)), SECRET, &Request::Status).unwrap();
    assert_eq!(
        answer,
        Response::NotYet("the machine has just been started".into())
    );
    let fake = machine(true);
    fake.set_time(1_700_000_000);
    let published = r#"{"version": 1, "state": "working", "hostName": null, "cluster": null, "address": null,
        "kubernetes": "v1.20.2", "phases": []}"#;
    fake.put(contract::paths::STATUS, published);
    let answer = ask(start(fake), SECRET, &Request::Status).unwrap();
    let Response::Document(text) = answer else {
        panic!("no document: {answer:?}");
    };
    let status: contract::status::Status = serde_json::from_str(&text).unwrap();
    assert_eq!(status.kubernetes, "v1.20.2");
    let clock = status.clock.unwrap();
    assert_eq!(
        (clock.received, clock.sent),
        (1_700_000_000_000, 1_700_000_000_000)
    );
    assert!(!text.contains(SECRET), "{text}");
}

#[test]
fn who_does_not_know_the_secret_learns_nothing() {
    let wrong = SECRET.replace("abc", "abd");
    let error = ask(start(machine(true)), &wrong, &Request::Kubeconfig).unwrap_err();
    assert!(matches!(error, ChannelError::Secret), "{error:?}");
    let error = ask(start(machine(false)), SECRET, &Request::Kubeconfig).unwrap_err();
    assert!(matches!(error, ChannelError::Closed), "{error:?}");
}

#[test]
fn strangers_and_idlers_leave_room_for_others() {
    let address = start(machine(true));
    // As many idle connections as are allowed, and one more, which is closed.
    let idle: Vec<TcpStream> = (0..MAX_CONNECTIONS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut extra = TcpStream::connect(address).unwrap();
    assert_eq!(extra.read(&mut [0; 1]).unwrap(), 0);
    drop(idle);
    let mut http = TcpStream::connect(address).unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // Their places are free once the machine has seen them go.
    let answer = (0..200).find_map(|_| {
        thread::sleep(Duration::from_millis(20));
        ask(address, SECRET, &Request::Status).ok()
    });
    assert_eq!(
        answer,
        Some(Response::NotYet("the machine has just been started".into()))
    );
}

#[test]
fn a_connection_that_drips_is_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    client.write_all(b"\0").unwrap();
    let error = Channel::accept(
        Limited::new(stream, Duration::from_millis(50)),
        &Secret::new(SECRET),
        None,
    )
    .map(|_| ());
    assert!(matches!(error, Err(ChannelError::Stream(_))), "{error:?}");
}
