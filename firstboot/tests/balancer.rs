//! The balancer as a process, between clients and API servers on loopback.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/api_server.rs"]
mod api_server;
#[path = "support/balancer.rs"]
mod balancer;
#[path = "support/figures.rs"]
mod figures;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use api_server::{ApiServer, Authority};
use balancer::{Client, PATIENCE, Stand, allow_descriptors};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A port of loopback at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The names of the servers that so many connections get, which stay open.
async fn open(stand: &Stand, count: usize) -> (Vec<Client>, Vec<u8>) {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(Client::connect(stand.address).await.unwrap());
    }
    let mut names: Vec<u8> = clients.iter().map(|client| client.server).collect();
    names.sort();
    (clients, names)
}

/// A stand whose servers were all found healthy; the first is the machine's own if `own`.
fn cluster<const N: usize>(own: bool) -> (Stand, [ApiServer; N]) {
    let authority = Authority::new();
    let mut name = b'a';
    let servers = [(); N].map(|()| {
        let server = ApiServer::start(name, &authority);
        name += 1;
        server
    });
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let own = own.then_some(addresses[0]);
    let stand = Stand::start_with(authority, "127.0.0.1:0", Some((&addresses, own)));
    stand.wait_for_healthy(&servers.each_ref());
    (stand, servers)
}

/// How a connection ends to which nobody answers, and that it does at once.
async fn refusal(stand: &Stand) -> ErrorKind {
    let start = Instant::now();
    let Err(error) = Client::connect(stand.address).await else {
        panic!("somebody answered");
    };
    assert!(start.elapsed() < Duration::from_secs(5));
    error.kind()
}

#[tokio::test]
async fn without_servers_connections_are_refused_at_once() {
    let stand = Stand::start(None);
    assert_eq!(refusal(&stand).await, ErrorKind::ConnectionReset);
    stand.list(&[], None);
    assert_eq!(refusal(&stand).await, ErrorKind::ConnectionReset);
    stand.list(&[nobody(), nobody()], None);
    assert_eq!(refusal(&stand).await, ErrorKind::ConnectionReset);
    let server = ApiServer::start(b'a', &stand.authority);
    stand.list(&[nobody(), server.address], None);
    assert_eq!(open(&stand, 2).await.1, b"aa");
}

#[tokio::test]
async fn the_machines_own_server_comes_first_and_others_share() {
    let (stand, [own, b, c]) = cluster(true);
    assert_eq!(open(&stand, 4).await.1, b"aaaa");
    stand.list(&[own.address, b.address, c.address], None);
    assert_eq!(
        open(&stand, 30).await.1,
        [[b'a'; 10], [b'b'; 10], [b'c'; 10]].concat()
    );
    stand.list(&[own.address, b.address, c.address], Some(c.address));
    assert_eq!(open(&stand, 2).await.1, b"cc");
}

/// Fifty clients at once, before any check has said anything, half of the servers being down.
#[tokio::test]
async fn a_client_does_not_see_a_server_that_refuses() {
    let authority = Authority::new();
    let server = ApiServer::start(b'a', &authority);
    let gone = [nobody(), nobody()];
    let list = [gone[0], server.address, gone[1]];
    let stand = Stand::start_with(authority, "127.0.0.1:0", Some((&list, Some(gone[0]))));
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        clients.spawn(Client::connect(stand.address));
    }
    for client in clients.join_all().await {
        assert_eq!(client.unwrap().server, b'a');
    }
}

#[tokio::test]
async fn a_server_that_hangs_loses_its_connections_and_gets_no_new_ones() {
    let (stand, [own, _other]) = cluster(true);
    let (mut clients, names) = open(&stand, 3).await;
    assert_eq!(names, b"aaa");
    own.hang();
    let start = Instant::now();
    for client in &mut clients {
        client.closed().await;
    }
    println!("a hung server was left after {:.2?}", start.elapsed());
    assert_eq!(open(&stand, 3).await.1, b"bbb");
}

/// The last server hangs, too: what is open stays, since there is nowhere to go, and ends when there is.
#[tokio::test]
async fn connections_stay_while_there_is_no_better_server() {
    let (stand, [only]) = cluster(false);
    let (mut clients, _) = open(&stand, 1).await;
    only.answer(500);
    stand.wait_for("is down");
    clients[0].ping().await.unwrap();
    assert_eq!(open(&stand, 1).await.1, b"a");
    let other = ApiServer::start(b'b', &stand.authority);
    stand.list(&[only.address, other.address], Some(only.address));
    clients[0].closed().await;
    assert_eq!(open(&stand, 1).await.1, b"b");
    only.answer(403);
    stand.wait_for_healthy(&[&only]);
    assert_eq!(open(&stand, 1).await.1, b"a");
}

#[tokio::test]
async fn a_killed_server_is_replaced_and_used_again_when_it_is_back() {
    let (stand, [own, _other]) = cluster(true);
    let (mut clients, _) = open(&stand, 1).await;
    let address = own.address;
    let start = Instant::now();
    drop(own);
    clients[0].closed().await;
    let (_, names) = open(&stand, 1).await;
    println!(
        "the next success came {:.2?} after the kill",
        start.elapsed()
    );
    assert_eq!(names, b"b");
    let own = ApiServer::start_at(address, b'c', &stand.authority);
    stand.wait_for_healthy(&[&own]);
    assert_eq!(open(&stand, 1).await.1, b"c");
}

#[tokio::test]
async fn a_server_that_is_dropped_from_the_list_drains() {
    let (stand, [a, b]) = cluster(true);
    let (mut clients, _) = open(&stand, 2).await;
    stand.list(&[b.address], Some(b.address));
    let checks = a.checks();
    assert_eq!(open(&stand, 2).await.1, b"bb");
    sleep(Duration::from_secs(3)).await;
    for client in &mut clients {
        client.ping().await.unwrap();
    }
    assert!(a.checks() <= checks + 1, "it is still checked");
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_used() {
    let (stand, [a]) = cluster(false);
    let stranger = ApiServer::start(b's', &Authority::new());
    stand.list(&[stranger.address, a.address], Some(stranger.address));
    stand.wait_for(&format!("API server {} is down", stranger.address));
    assert_eq!(open(&stand, 3).await.1, b"aaa");
    // Half a file changes nothing; without the file there is nothing to tell strangers by.
    stand.trust(Some("-----BEGIN CERTIFICATE-----"));
    stand.wait_for("ca.crt");
    assert_eq!(open(&stand, 1).await.1, b"a");
    stand.trust(None);
    stand.wait_for_healthy(&[&stranger]);
    assert_eq!(open(&stand, 1).await.1, b"s");
}

/// Each client sends something of its own in pieces, ends its half, and reads everything back.
#[tokio::test]
async fn a_thousand_connections_at_once_lose_nothing() {
    const LENGTH: usize = 100_000;
    allow_descriptors(6000).unwrap();
    let (stand, _servers) = cluster::<3>(false);
    let address = stand.address;
    let mut clients = JoinSet::new();
    for number in 0..1000_usize {
        clients.spawn(async move {
            let client = Client::connect(address).await.unwrap();
            let text: Vec<u8> = (0..LENGTH).map(|i| (i * 7 + number * 13) as u8).collect();
            let (mut reader, mut writer) = client.stream.into_split();
            let sent = text.clone();
            let sending = tokio::spawn(async move {
                for piece in sent.chunks(1 + number * 17) {
                    writer.write_all(piece).await.unwrap();
                }
                writer.shutdown().await.unwrap();
            });
            let mut back = Vec::new();
            let end = timeout(4 * PATIENCE, reader.read_to_end(&mut back)).await;
            end.unwrap().unwrap();
            sending.await.unwrap();
            assert!(back == text, "connection {number} lost something");
        });
    }
    clients.join_all().await;
}

/// Of its own, that is: pages of the program's file are shared with the other services that run it.
#[tokio::test]
async fn a_hundred_connections_cost_little_memory() {
    let (stand, _servers) = cluster::<3>(false);
    let (mut clients, _) = open(&stand, 100).await;
    for client in &mut clients {
        client.ping().await.unwrap();
    }
    let memory = stand.memory("RssAnon");
    assert!(memory < 3 * 1024, "{memory} KiB");
}

/// A server that reads nothing stops its client, and nothing piles up in the balancer.
#[tokio::test]
async fn a_slow_reader_slows_its_writer_down() {
    let (stand, [server]) = cluster(false);
    let mut client = Client::connect(stand.address).await.unwrap();
    let before = stand.memory("RssAnon");
    server.hang();
    let piece = vec![0; 1 << 20];
    let mut sent = 0;
    while let Ok(n) = timeout(Duration::from_secs(1), client.stream.write(&piece)).await {
        sent += n.unwrap();
        assert!(sent < 64 << 20, "nobody reads, and {sent} bytes were taken");
    }
    let grown = stand.memory("RssAnon").saturating_sub(before);
    assert!(grown < 512, "{grown} KiB for {sent} bytes");
}

#[tokio::test]
async fn sigterm_lets_connections_end() {
    let (mut stand, _servers) = cluster::<1>(false);
    let (mut clients, _) = open(&stand, 1).await;
    stand.terminate();
    stand.wait_for("ending");
    let error = Client::connect(stand.address).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    clients[0].ping().await.unwrap();
    drop(clients);
    let start = Instant::now();
    assert!(stand.wait().success());
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn sigterm_waits_five_seconds_at_most() {
    let (mut stand, _servers) = cluster::<1>(false);
    let (mut clients, _) = open(&stand, 1).await;
    stand.terminate();
    clients[0].closed().await;
    assert!(stand.wait().success());
}

#[tokio::test]
async fn clients_come_by_ipv6_too() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        assert_ne!(
            std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref(),
            Ok("1")
        );
        return println!("SKIP: this host has no IPv6");
    }
    let authority = Authority::new();
    let server = ApiServer::start(b'a', &authority);
    let stand = Stand::start_with(authority, "[::1]:0", Some((&[server.address], None)));
    assert_eq!(open(&stand, 1).await.1, b"a");
}

#[tokio::test]
async fn the_connection_above_the_limit_is_refused() {
    const LIMIT: usize = 4096;
    if let Err(why) = allow_descriptors(12_000) {
        assert_ne!(
            std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref(),
            Ok("1"),
            "{why}"
        );
        return println!("SKIP: {why}");
    }
    let (stand, _servers) = cluster::<2>(false);
    let (mut clients, _) = open(&stand, LIMIT).await;
    assert_eq!(refusal(&stand).await, ErrorKind::ConnectionReset);
    println!("{} KiB with {LIMIT} connections", stand.memory("VmRSS"));
    // The end of one makes room for another.
    clients.pop();
    let end = Instant::now() + PATIENCE;
    while Client::connect(stand.address).await.is_err() {
        assert!(Instant::now() < end, "there is no room again");
        sleep(Duration::from_millis(10)).await;
    }
}
