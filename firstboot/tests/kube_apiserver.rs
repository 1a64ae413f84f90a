//! What a real kube-apiserver makes of our encryption and of our audit policy, on a real etcd. Needs etcd 3.5
//! and Kubernetes' programs below `SEEDBED_KUBE`.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/etcd_program.rs"]
mod etcd_program;
#[path = "support/kube_apiserver.rs"]
mod stand;

use data_encoding::BASE64;
use serde_json::{Value, json};
use stand::{ADMINISTRATOR, KUBELET, Stand};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const PASSWORD: &str = "correct horse battery staple";

/// A program that is needed is missing.
fn skipped() -> bool {
    let Err(why) = stand::available() else {
        return false;
    };
    let required = std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() == Ok("1");
    assert!(!required, "{why}");
    println!("SKIP: {why}");
    true
}

fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": "default" },
        "data": { "password": BASE64.encode(PASSWORD.as_bytes()) },
    })
}

fn named(api: &str, kind: &str, name: &str) -> Value {
    json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name } })
}

#[test]
fn secrets_are_encrypted_and_the_log_has_none_of_them() {
    if skipped() {
        return;
    }
    let stand = Stand::start();

    // What etcd has of a Secret nobody can read, and the API server can.
    stand.create(SECRETS, &secret("new"));
    let raw = stand.raw("/registry/secrets/default/new");
    assert!(raw.starts_with(b"k8s:enc:secretbox:v1:1:"), "{raw:?}");
    let shown = |bytes: &[u8]| {
        bytes
            .windows(8)
            .any(|part| part == &PASSWORD.as_bytes()[..8])
    };
    assert!(!shown(&raw));
    let read = stand.get(ADMINISTRATOR, &format!("{SECRETS}/new"));
    assert_eq!(read["data"], secret("new")["data"]);

    // One that was written before there was a key is still read.
    stand.put("/registry/secrets/default/old", &secret("old"));
    let read = stand.get(ADMINISTRATOR, &format!("{SECRETS}/old"));
    assert_eq!(read["data"], secret("old")["data"]);

    // What the log has, and what it has not.
    stand.create("/api/v1/namespaces", &named("v1", "Namespace", "plant"));
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" },
        "data": { "password": PASSWORD },
    });
    stand.create("/api/v1/namespaces/default/configmaps", &settings);
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": { "token": PASSWORD },
    });
    stand.create("/apis/authentication.k8s.io/v1/tokenreviews", &review);
    stand.create(
        "/apis/coordination.k8s.io/v1/namespaces/default/leases",
        &named("coordination.k8s.io/v1", "Lease", "silent"),
    );
    stand.get(KUBELET, "/api/v1/pods");
    stand.get(KUBELET, &format!("{SECRETS}/new"));
    stand.get(ADMINISTRATOR, "/api/v1/nodes");
    stand.get(ADMINISTRATOR, "/api/v1/services");

    let log = stand.log();
    assert!(!log.contains(PASSWORD) && !log.contains(&BASE64.encode(PASSWORD.as_bytes())));
    let events: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // Level of the event of this user, verb and path; whether it has the request's body.
    let found = |user: &str, verb: &str, path: &str| {
        let mut fitting = events.iter().filter(|event| {
            event["user"]["username"] == user
                && event["verb"] == verb
                && event["requestURI"] == path
        });
        let event = fitting.next()?;
        let level = event["level"].as_str().unwrap().to_owned();
        Some((level, event.get("requestObject").is_some()))
    };
    let metadata = Some((String::from("Metadata"), false));
    let request = Some((String::from("Request"), true));
    let own_secret = format!("{SECRETS}/new");
    for (user, verb, path, expected) in [
        (ADMINISTRATOR, "create", SECRETS, &metadata),
        (ADMINISTRATOR, "get", own_secret.as_str(), &metadata),
        (KUBELET, "get", own_secret.as_str(), &metadata),
        (
            ADMINISTRATOR,
            "create",
            "/api/v1/namespaces/default/configmaps",
            &metadata,
        ),
        (
            ADMINISTRATOR,
            "create",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            &metadata,
        ),
        (ADMINISTRATOR, "create", "/api/v1/namespaces", &request),
        (ADMINISTRATOR, "list", "/api/v1/services", &metadata),
        (ADMINISTRATOR, "list", "/api/v1/nodes", &None),
        (KUBELET, "list", "/api/v1/pods", &None),
        (
            ADMINISTRATOR,
            "create",
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            &None,
        ),
    ] {
        assert_eq!(&found(user, verb, path), expected, "{user} {verb} {path}");
    }
    for event in &events {
        let path = event["requestURI"].as_str().unwrap();
        assert!(!path.starts_with("/readyz"), "{event}");
        let watched = event["verb"] == "watch";
        let secret = ["secrets", "configmaps"]
            .contains(&event["objectRef"]["resource"].as_str().unwrap_or_default());
        let own = event["user"]["username"] == "system:apiserver";
        assert!(!(watched && own) || secret, "{event}");
        // There is one event for a request, or there would be twice as much to write.
        assert_ne!(event["stage"], "RequestReceived", "{event}");
    }
}
