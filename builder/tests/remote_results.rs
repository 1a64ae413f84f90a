//! Outputs of builds that hosts share: taken whole, refused where they are bad, and by those alone who ask for them.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "support/team.rs"]
mod team;

use assert_cmd::Command;
use loopback::command::{refuse, seedbed, succeed};
use loopback::docker_registry::{DockerRegistry, Setup};
use serde_json::Value;
use std::fs;
use team::{Host, Team, digests, docker_registry, place, said};

/// `seedbed build` that shares results.
fn build(host: &Host<'_>, remote: &str, sharing: &str) -> Command {
    let mut command = host.command("build", remote);
    command.args(["--remote-store-results", sharing, "--format", "raw,qcow2"]);
    command
}

/// The layers of the result in the registry's folder, by their titles; the first has none.
fn result_layers(registry: &DockerRegistry) -> Vec<(String, String)> {
    let tags = registry
        .dir()
        .join("data/docker/registry/v2/repositories/team/store/_manifests/tags");
    let tags = fs::read_dir(tags).unwrap().map(|tag| tag.unwrap().path());
    let mut results = tags.filter(|tag| {
        let name = tag.file_name().unwrap().to_str().unwrap();
        name.starts_with("cache-")
    });
    let link = fs::read_to_string(results.next().unwrap().join("current/link")).unwrap();
    assert!(results.next().is_none());
    let manifest = fs::read(registry.blob(link.strip_prefix("sha256:").unwrap())).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = |layer: &Value| {
        let title = &layer["annotations"]["org.opencontainers.image.title"];
        let digest = layer["digest"].as_str().unwrap();
        (
            title.as_str().unwrap_or_default().to_owned(),
            digest.strip_prefix("sha256:").unwrap().to_owned(),
        )
    };
    manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(layer)
        .collect()
}

/// A second host with the same inputs takes the outputs, byte for byte, and needs no blob.
#[test]
fn a_second_build_takes_what_the_first_made() {
    let test = "a_second_build_takes_what_the_first_made";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let first = team.host();
    succeed(&mut first.fetch(&remote));
    let text = said(&mut build(&first, &remote, "read-write"));
    assert!(
        !text.contains("taken from") && !text.contains("WARN"),
        "{text}"
    );
    let expected = digests(&first.out());

    let second = team.host();
    let text = said(&mut build(&second, &remote, "read"));
    assert!(
        text.contains(&format!("taken from remote store {remote}")),
        "{text}"
    );
    assert_eq!(digests(&second.out()), expected);
    assert_eq!(
        fs::read_dir(second.store().join("sha256")).unwrap().count(),
        0
    );
    let text = said(&mut build(&second, &remote, "read"));
    assert!(text.contains("unchanged"), "{text}");
    // What is not there any more is taken again.
    fs::remove_file(second.out().join("seedbed-small-amd64.raw")).unwrap();
    said(&mut build(&second, &remote, "read"));
    assert_eq!(digests(&second.out()), expected);

    // Nobody takes what was not asked for.
    let third = team.host();
    let text = said(&mut build(&third, &remote, "off"));
    assert!(!text.contains("taken from"), "{text}");
    assert_eq!(digests(&third.out()), expected);
    // Another firstboot is another image.
    let other = team.host();
    let firstboot = other.home.path().join("firstboot");
    fs::write(&firstboot, "another").unwrap();
    let mut command = seedbed(other.home.path());
    command.arg("build").arg(team.small.profile());
    command.args(["--remote-store", &remote, "--remote-store-results", "read"]);
    command.args(["--format", "raw,qcow2"]);
    command
        .arg("--out")
        .arg(other.out())
        .arg("--firstboot")
        .arg(firstboot);
    let text = said(&mut command);
    assert!(!text.contains("taken from"), "{text}");
}

/// A result that is damaged or of other inputs is refused, and one that only its writer can have meant is taken by those
/// alone who asked for results.
#[test]
fn a_bad_result_is_refused_and_built_here() {
    let test = "a_bad_result_is_refused_and_built_here";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let first = team.host();
    succeed(&mut first.fetch(&remote));
    succeed(&mut build(&first, &remote, "read-write"));
    let expected = digests(&first.out());
    let layers = result_layers(&registry);
    assert_eq!(layers.len(), 3);
    for (title, sha256) in &layers {
        let path = registry.blob(sha256);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&path, bad).unwrap();
        let host = team.host();
        let text = said(&mut build(&host, &remote, "read"));
        assert!(
            text.contains("sent other bytes") && text.contains("it is built here"),
            "{title}: {text}"
        );
        assert!(!text.contains("taken from"), "{text}");
        assert_eq!(digests(&host.out()), expected);
        fs::write(&path, good).unwrap();
    }
    said(&mut build(&team.host(), &remote, "read"));
}

/// What holds a secret is not shared, and nobody without TLS is believed.
#[test]
fn what_is_not_shared() {
    let test = "what_is_not_shared";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let host = team.host();
    succeed(&mut host.fetch(&remote));
    let seed = host.home.path().join("seed.yaml");
    let mut new = seedbed(host.home.path());
    succeed(new.args(["seed", "new", "plant"]).arg("--out").arg(&seed));
    succeed(build(&host, &remote, "read-write").arg("--seed").arg(&seed));
    succeed(build(&host, &remote, "read-write").arg("--no-cache"));
    let tags = registry
        .dir()
        .join("data/docker/registry/v2/repositories/team/store/_manifests/tags");
    assert_eq!(fs::read_dir(tags).unwrap().count(), 1);
    let words = ["has no TLS", "--remote-store-results"];
    refuse(
        &mut build(&host, "http://registry.example/x", "read"),
        &words,
    );
}
