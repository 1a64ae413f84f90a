//! Several machines in this process, each behind a real listener of its own.

use super::*;
use crate::status::site::Standing;
use contract::peer::Response;
use contract::peer::channel::Channel;
use contract::status::{Check, Health, Overall, Role, Status};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_millis(1500);

fn seed(expect: u32) -> Seed {
    let mut text = contract::seed::new_text("plant", &[7; contract::seed::SECRET_BYTES]);
    text.push_str(&format!("\nmachines: {{expect: {expect}}}\n"));
    contract::seed::parse("seed.yaml", &text).unwrap()
}

/// A worker that is Ready.
fn worker(number: u8) -> Status {
    Status {
        version: 1,
        state: Overall::Ready,
        host_name: Some(format!("plant-{number}")),
        cluster: Some(String::from("plant")),
        cluster_id: None,
        address: Some(format!("10.0.2.{number}")),
        kubernetes: String::from("v1.31.4"),
        phases: Vec::new(),
        machine: Some(format!("{number:032x}")),
        role: Some(Role::Worker),
        image: None,
        kubelet: Some(String::from("v1.31.4")),
        health: Some(Health {
            api_server: Check::good(),
            etcd: None,
            node: Check::good(),
        }),
        etcd: None,
        certificate: None,
        clock: None,
        machines: Vec::new(),
        removed: Vec::new(),
    }
}

/// Answers each that knows the secret of `seed`, for as long as the test runs; where.
fn serve(seed: &Seed, response: Response) -> String {
    let secret = seed.cluster.secret.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = |stream: TcpStream| {
                let (mut channel, _) = Channel::accept(&stream, &secret, None).ok()?;
                let _: contract::peer::Request = channel.receive(4096).ok()?;
                channel.send(&response).ok()
            };
            answer(stream.unwrap());
        }
    });
    address
}

fn document(status: &Status) -> Response {
    Response::Document(serde_json::to_string(status).unwrap())
}

fn target(address: &str) -> Target {
    Target {
        address: address.to_owned(),
        host_name: None,
    }
}

fn known(name: &str, address: Option<&str>) -> Known {
    Known {
        host_name: name.into(),
        address: address.map(str::to_owned),
    }
}

/// Name and standing of each machine, in the order of the table.
fn standings(site: &Site) -> Vec<(String, String)> {
    let word = |standing: &Standing| match standing {
        Standing::Told { .. } => String::from("told"),
        Standing::Early(why) => format!("early: {why}"),
        Standing::Silent(why) => format!("silent: {why}"),
    };
    let machines = site.machines.iter();
    machines
        .map(|one| {
            (
                one.host_name.clone().unwrap_or_default(),
                word(&one.standing),
            )
        })
        .collect()
}

#[test]
fn all_machines_are_asked_at_once_and_one_that_hangs_holds_up_nobody() {
    let seed = seed(4);
    let mut targets: Vec<Target> = (1..=3)
        .map(|number| target(&serve(&seed, document(&worker(number)))))
        .collect();
    // It accepts connections, as the kernel does for a program that hangs, and never says a word.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    targets.insert(
        0,
        Target {
            address: hanging.local_addr().unwrap().to_string(),
            host_name: Some(String::from("plant-9")),
        },
    );
    let begin = Instant::now();
    let site = survey(&seed, targets, Vec::new(), PATIENCE);
    let took = begin.elapsed();
    assert!(took < PATIENCE * 2, "{took:?}");
    let standings = standings(&site);
    let told = standings.iter().filter(|(_, word)| word == "told");
    assert_eq!(told.count(), 3, "{standings:?}");
    let (name, word) = &standings[3];
    assert_eq!(name, "plant-9");
    assert!(word.starts_with("silent: "), "{word}");
    assert!(!site.is_ready());
    assert!(
        site.summary().starts_with("3 of 4 machines Ready; "),
        "{}",
        site.summary()
    );
}

#[test]
fn one_machine_tells_of_the_others_which_are_asked_too() {
    let seed = seed(3);
    let second = serve(&seed, document(&worker(2)));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let off = closed.local_addr().unwrap().to_string();
    drop(closed);
    let mut first = worker(1);
    first.machines = vec![
        known("plant-2", Some(&second)),
        known("plant-3", Some(&off)),
        known("plant-4", None),
    ];
    let first = serve(&seed, document(&first));
    let site = survey(&seed, vec![target(&first)], Vec::new(), PATIENCE);
    let standings = standings(&site);
    assert_eq!(standings[0], ("plant-1".into(), "told".into()));
    assert_eq!(standings[1], ("plant-2".into(), "told".into()));
    assert_eq!(standings[2].0, "plant-3");
    assert!(
        standings[2].1.starts_with("silent: connecting to"),
        "{standings:?}"
    );
    assert_eq!(
        standings[3],
        ("plant-4".into(), "silent: nobody knows its address".into())
    );
    assert!(
        site.summary().starts_with("2 of 4 machines Ready; "),
        "{}",
        site.summary()
    );
}

#[test]
fn a_machine_that_was_there_before_is_silent_now() {
    let seed = seed(1);
    let before = vec![known("plant-1", None), known("plant-2", None)];
    let first = serve(&seed, document(&worker(1)));
    let site = survey(&seed, vec![target(&first)], before, PATIENCE);
    assert_eq!(site.machines.len(), 2);
    assert_eq!(site.known()[1], known("plant-2", None));
    assert!(!site.is_ready());
}

#[test]
fn answers_of_every_kind_are_told_apart() {
    let ours = seed(1);
    let early = serve(&ours, Response::NotYet("just \u{1b}[31mstarted".into()));
    let odd = serve(&ours, Response::Document("{}".into()));
    let mut other = seed(1);
    other.cluster.secret = Secret::new("another");
    let strange = serve(&other, document(&worker(7)));
    let targets = vec![target(&early), target(&odd), target(&strange)];
    let site = survey(&ours, targets, Vec::new(), PATIENCE);
    let standings = standings(&site);
    let one = |begin: &str| standings.iter().any(|(_, word)| word.starts_with(begin));
    assert!(one("early: just [31mstarted"), "{standings:?}");
    assert!(
        one("silent: its status has another form (missing field"),
        "{standings:?}"
    );
    assert!(
        standings
            .iter()
            .any(|(_, word)| word.contains("does not know this secret")),
        "{standings:?}"
    );
}

#[test]
fn a_peers_text_can_do_nothing_to_a_terminal() {
    let seed = seed(1);
    let mut status = worker(1);
    status.kubernetes = String::from("v1\u{9b}2J\u{7}\u{202e}");
    status.kubelet = Some(String::from("\u{1b}]0;title\u{7}\nsecond line"));
    let address = serve(&seed, document(&status));
    let site = survey(&seed, vec![target(&address)], Vec::new(), PATIENCE);
    let text = table::render(&site);
    let odd = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(odd, None, "{text:?}");
    let json = serde_json::to_string(&super::document::document(&site)).unwrap();
    for escape in ["\\u", "\u{9b}", "\u{202e}", "\\n"] {
        assert!(!json.contains(escape), "{json}");
    }
}

#[test]
fn a_machine_that_is_reached_twice_counts_once() {
    let seed = seed(1);
    let (one, two) = (
        serve(&seed, document(&worker(1))),
        serve(&seed, document(&worker(1))),
    );
    // A clone has the identity of another, and another address.
    let mut clone = worker(1);
    clone.address = Some(String::from("10.0.2.99"));
    let three = serve(&seed, document(&clone));
    let targets = vec![target(&one), target(&two), target(&three)];
    let site = survey(&seed, targets, Vec::new(), PATIENCE);
    let addresses: Vec<_> = site
        .machines
        .iter()
        .map(|one| one.address.as_deref())
        .collect();
    assert_eq!(addresses, [Some("10.0.2.1"), Some("10.0.2.99")]);
}

#[test]
fn the_clock_is_compared() {
    let seed = seed(1);
    let mut status = worker(1);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let ahead = u64::try_from(now.as_millis()).unwrap() + 3_600_000;
    status.clock = Some(contract::status::Clock {
        received: ahead,
        sent: ahead,
    });
    let address = serve(&seed, document(&status));
    let site = survey(&seed, vec![target(&address)], Vec::new(), PATIENCE);
    let Standing::Told {
        skew: Some(skew), ..
    } = site.machines[0].standing
    else {
        panic!("{:?}", site.machines);
    };
    assert!((3_590_000..3_610_000).contains(&skew), "{skew}");
    assert!(
        table::render(&site).contains("its clock is 59 min ahead of this computer's")
            || table::render(&site).contains("its clock is 60 min ahead of this computer's")
    );
}
