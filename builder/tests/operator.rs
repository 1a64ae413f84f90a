//! What operators ask of machines, with machines that are threads here.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

use contract::peer::channel::{Caller, Channel};
use contract::peer::{MAX_REQUEST, Removal, Request, Response};
use contract::secret::Secret;
use contract::seed;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};

const SECRET: &str = "abcdefghijklmnopqrstuvwxyz234567";
const ID: &str = "03030303-0303-8303-8303-030303030303";

/// A machine that answers one question, and the question.
fn machine(response: Response) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, questions) = channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let (mut channel, caller) = Channel::accept(&stream, &Secret::new(SECRET), None).unwrap();
        assert_eq!(caller, Caller::Operator);
        // Not every test wants to know.
        let _ = asked.send(channel.receive(MAX_REQUEST).unwrap());
        channel.send(&response).unwrap();
    });
    (address, questions)
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("# ours\nversion: 1\ncluster:\n  name: plant\n  secret: {SECRET}\n");
    std::fs::write(dir.path().join("seed.yaml"), text).unwrap();
    dir
}

fn seedbed(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seedbed"));
    command.current_dir(dir).args(args).output().unwrap()
}

#[track_caller]
fn check(output: &Output, code: i32, said: &str) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{all}");
    assert!(all.contains(said), "{all}");
    assert!(!all.contains(SECRET), "{all}");
}

#[test]
fn a_join_seed_is_the_founding_seed_with_the_id_that_a_machine_tells() {
    let dir = folder();
    let join = |address: &str| {
        seedbed(
            dir.path(),
            &["seed", "join", "--seed", "seed.yaml", "--address", address],
        )
    };
    let (address, _) = machine(Response::Document(r#"{"clusterId":null}"#.into()));
    check(&join(&address), 1, "it is no member of a cluster yet");
    assert!(!dir.path().join("join.yaml").exists());

    let status = format!(r#"{{"version":1,"clusterId":"{ID}"}}"#);
    let (address, questions) = machine(Response::Document(status));
    check(&join(&address), 0, "wrote join.yaml");
    assert_eq!(questions.recv().unwrap(), Request::Status);
    let text = std::fs::read_to_string(dir.path().join("join.yaml")).unwrap();
    assert!(text.starts_with("# ours\n"), "{text}");
    let seed = seed::parse("join.yaml", &text).unwrap();
    assert_eq!(seed.cluster.id, Some(ID.parse().unwrap()));

    // Neither over a file that is there, nor of a join seed.
    let named = ["seed", "join", "--seed", "seed.yaml", "--id", ID];
    check(&seedbed(dir.path(), &named), 1, "exists already");
    let again = [
        "seed",
        "join",
        "--seed",
        "join.yaml",
        "--id",
        ID,
        "--out",
        "x.yaml",
    ];
    check(&seedbed(dir.path(), &again), 1, "is a join seed of cluster");
}

#[test]
fn a_removal_is_told_or_its_refusal() {
    let dir = folder();
    let remove = |address: &str, more: &[&str]| {
        let args = [
            "remove",
            "plant-7",
            "--seed",
            "seed.yaml",
            "--address",
            address,
        ];
        seedbed(dir.path(), &[&args[..], more].concat())
    };
    let (address, questions) = machine(Response::Document("this would be done\n".into()));
    check(&remove(&address, &["--dry-run"]), 0, "this would be done");
    let removal = Removal {
        machine: "plant-7".into(),
        dry_run: true,
    };
    assert_eq!(questions.recv().unwrap(), Request::Remove(removal));
    for response in [
        Response::Barred("without it too few".into()),
        Response::Refused("without it too few".into()),
        Response::NotYet("without it too few".into()),
    ] {
        let (address, _) = machine(response);
        check(&remove(&address, &[]), 1, "without it too few");
    }
}
