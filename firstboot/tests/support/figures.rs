//! Measurements of the balancer; `make bench-balancer` prints them.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::balancer::Client;
use crate::{cluster, open};

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn memory() {
    let (stand, _servers) = cluster::<3>(true);
    // A few rounds of checks, which have buffers of their own for a moment.
    let before = stand.ticks();
    sleep(Duration::from_secs(20)).await;
    let ticks = stand.ticks() - before;
    let report = |what: &str| {
        let (resident, own) = (stand.memory("VmRSS"), stand.memory("RssAnon"));
        println!("{what}: {resident} KiB resident, {own} KiB of it not of the program's file");
    };
    report("idle, 3 servers");
    println!("idle, 3 servers: {ticks} hundredths of a second of processor time in 20 s");
    let (mut clients, _) = open(&stand, 100).await;
    for client in &mut clients {
        client.ping().await.unwrap();
    }
    report("100 connections");
    echo(&mut clients[0], 64 << 20).await;
    report("100 connections, and 64 MiB moved");
    let (_more, _) = open(&stand, 900).await;
    report("1,000 connections");
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn failover() {
    for (what, rounds) in [("killed", 10), ("hung", 5)] {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let (stand, [own, other]) = cluster(true);
            let (mut clients, _) = open(&stand, 1).await;
            let start = Instant::now();
            match what {
                "killed" => drop(own),
                _ => own.hang(),
            }
            clients[0].closed().await;
            let (_, names) = open(&stand, 1).await;
            times.push(start.elapsed());
            assert_eq!(names, b"b");
            drop(other);
        }
        times.sort();
        println!(
            "own server {what}, until the next success: {:.2?} median, {:.2?} most, of {rounds}",
            times[rounds / 2],
            times[rounds - 1]
        );
    }
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn speed() {
    const BYTES: usize = 512 << 20;
    const QUESTIONS: u32 = 5000;
    let (stand, [server]) = cluster(false);
    for round in 1..=3 {
        let mut figures = Vec::new();
        for address in [server.address, stand.address] {
            let mut client = Client::connect(address).await.unwrap();
            let start = Instant::now();
            echo(&mut client, BYTES).await;
            let rate = BYTES as f64 / start.elapsed().as_secs_f64() / f64::from(1 << 20);
            let start = Instant::now();
            for _ in 0..QUESTIONS {
                client.ping().await.unwrap();
            }
            figures.push((rate, start.elapsed() / QUESTIONS));
        }
        let [(direct, near), (through, far)] = figures[..] else {
            unreachable!()
        };
        println!(
            "round {round}: {direct:.0} MiB/s there and back directly, {through:.0} through the balancer ({:.2}); a question {near:.1?} and {far:.1?}",
            through / direct
        );
    }
    let start = Instant::now();
    let (clients, _) = open(&stand, 1000).await;
    println!("a new connection takes {:.1?}", start.elapsed() / 1000);
    drop(clients);
    let start = Instant::now();
    let mut direct = Vec::new();
    for _ in 0..1000 {
        direct.push(Client::connect(server.address).await.unwrap());
    }
    println!("and directly {:.1?}", start.elapsed() / 1000);
}

/// Sends so many bytes and reads them back.
async fn echo(client: &mut Client, bytes: usize) {
    let (mut reader, mut writer) = client.stream.split();
    let piece = vec![1; 256 << 10];
    let send = async {
        for _ in 0..bytes / piece.len() {
            writer.write_all(&piece).await.unwrap();
        }
    };
    let receive = async {
        let mut buffer = vec![0; 256 << 10];
        let mut left = bytes;
        while left > 0 {
            let n = reader.read(&mut buffer).await.unwrap();
            assert_ne!(n, 0);
            left -= n;
        }
    };
    tokio::join!(send, receive);
}
