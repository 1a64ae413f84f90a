//! Looking at a machine in memory, and what is made of that.

use contract::status::{Image, Overall, PhaseStatus, Progress, Slot};
use data_encoding::BASE64;
use serde_json::json;

use super::*;
use crate::host::fake::Fake;
use crate::ledger::{self, ChannelKey, Identity, Membership};
use crate::neighbours::NEIGHBOURS;
use crate::nodes::Node;
use crate::phases::tests::machine;
use crate::pki::{self, PKI, Subject};

const NOW: u64 = 1_700_000_000;
const SECRET: &str = "abcdefghijklmnopqrstuvwxyz234567";

fn published() -> Status {
    serde_json::from_value(json!({
        "version": 1, "state": "ready", "hostName": "plant-1", "cluster": "plant", "address": "10.0.2.15",
        "kubernetes": "v1.20.2",
        "phases": [{
            "name": "clock", "state": "done", "why": null, "applied": 1, "started": 1.0, "finished": 1.5,
        }],
    }))
    .unwrap()
}

fn node(name: &str, address: &str, ready: &str) -> serde_json::Value {
    json!({
        "metadata": { "name": name },
        "status": {
            "addresses": [{ "type": "InternalIP", "address": address }],
            "conditions": [{ "type": "Ready", "status": ready, "message": "kubelet says so" }],
            "nodeInfo": { "kubeletVersion": "v1.20.3" },
        },
    })
}

/// A machine in its role, with everything that it would have.
fn member(role: ledger::Role) -> Fake {
    let host = machine();
    host.set_time(NOW);
    host.put(STATUS, serde_json::to_string(&published()).unwrap());
    ledger::accept_seed(&host, crate::phases::tests::SEED).unwrap();
    let identity = Identity {
        version: 1,
        machine: "ab".repeat(32),
        machine_id: "cd".repeat(16),
        incarnation: "07".repeat(16),
        host_name: String::from("plant-1"),
        cluster: String::from("plant"),
    };
    ledger::decide(&host, &identity).unwrap();
    let pair = contract::peer::keys::KeyPair::draw().unwrap();
    let keys = ChannelKey {
        version: 1,
        private: pair.private,
        public: pair.public,
    };
    ledger::decide(&host, &keys).unwrap();
    let membership = Membership {
        version: 1,
        role,
        cluster: String::from("c"),
        authority: String::from("a"),
    };
    ledger::decide(&host, &membership).unwrap();
    // The machine's own root has the GUID of the first root partition of the disk.
    host.put(
        "/proc/cmdline",
        format!("roothash={} ro\n", "50".repeat(32)),
    );
    certify(&host);
    host.put(
        NEIGHBOURS,
        json!([{
            "machine": [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3], "key": "03".repeat(32),
            "hostName": "plant-3", "address": "10.0.2.17", "ready": true,
        }])
        .to_string(),
    );
    let nodes = [
        node("plant-1", "10.0.2.15", "True"),
        node("plant-2", "10.0.2.16", "Unknown"),
    ];
    crate::nodes::keep(&host, &nodes).unwrap();
    host
}

/// Certificates: one of the API server ends after a year, the kubelet's the day before.
fn certify(host: &Fake) {
    let at = |seconds: u64| {
        time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap()).unwrap()
    };
    let authority = pki::authority("kubernetes", at(NOW)).unwrap();
    let subject = Subject {
        name: "x",
        group: None,
        serves: None,
    };
    let leaf = pki::issue(&authority, &subject, at(NOW)).unwrap();
    let earlier = pki::issue(&authority, &subject, at(NOW - 24 * 3600)).unwrap();
    pki::write(host, &format!("{PKI}/ca"), &authority).unwrap();
    pki::write(host, &format!("{PKI}/apiserver"), &leaf).unwrap();
    for name in ["ca", "healthcheck-client"] {
        let pair = if name == "ca" { &authority } else { &leaf };
        pki::write(host, &format!("{}/{name}", crate::render::etcd::PKI), pair).unwrap();
    }
    host.put(
        crate::api::KUBELET,
        format!("{}{}", earlier.key, earlier.public),
    );
}

fn etcd_answers(_: &Fake, url: &str, _: &str) -> Option<(u16, String)> {
    let body = match url {
        "6443/readyz" | "7443/readyz" | "2381/health" => json!({}),
        "2379/v3/maintenance/status" => json!({
            "header": { "member_id": "17" }, "version": "3.5.16", "leader": "18",
            "raftIndex": "4711", "raftTerm": "3",
        }),
        "2379/v3/cluster/member/list" => json!({ "members": [
            { "ID": "17", "name": "plant-1", "peerURLs": ["https://10.0.2.15:2380"] },
            { "ID": "18", "name": "plant-4", "peerURLs": ["https://10.0.2.18:2380"] },
            { "ID": "19", "peerURLs": ["https://10.0.2.19:2380"], "isLearner": true },
        ] }),
        // The register: one machine was removed.
        "2379/v3/kv/range" => json!({ "header": { "revision": "9" }, "kvs": [{
            "key": BASE64.encode(format!("/seedbed/machines/{}", "cd".repeat(16)).as_bytes()),
            "value": BASE64.encode(br#"{"version":1,"hostName":"plant-9","key":null,"joined":true,"removed":7}"#),
        }] }),
        _ => panic!("unknown question {url}"),
    };
    Some((200, body.to_string()))
}

fn known(name: &str, address: Option<&str>) -> Known {
    Known {
        host_name: name.into(),
        address: address.map(str::to_owned),
    }
}

#[test]
fn all_of_a_control_plane_is_told() {
    let host = member(ledger::Role::ControlPlane);
    host.web(etcd_answers);
    host.effects();
    let status = told(&host).unwrap().unwrap();
    assert_eq!(host.effects(), [""; 0], "looking changes nothing");
    assert_eq!(status.role, Some(Role::ControlPlane));
    assert_eq!(status.machine, Some("ab".repeat(16)));
    assert_eq!(status.kubelet.as_deref(), Some("v1.20.3"));
    assert_eq!(
        status.image,
        Some(Image {
            profile: String::from("test"),
            lock: "0".repeat(64),
            slot: Some(Slot::A),
        })
    );
    assert_eq!(
        status.health,
        Some(Health {
            api_server: Check::good(),
            etcd: Some(Check::good()),
            node: Check::good(),
        })
    );
    assert_eq!(
        status.etcd,
        Some(Etcd {
            member: String::from("11"),
            leader: Some(String::from("12")),
            leader_name: Some(String::from("plant-4")),
            learner: false,
            raft_index: 4711,
            raft_term: 3,
            version: String::from("3.5.16"),
        })
    );
    assert_eq!(
        status.certificate,
        Some(Certificate {
            path: crate::api::KUBELET.to_owned(),
            not_after: i64::try_from(NOW).unwrap() + 364 * DAY,
            days_left: 364,
        })
    );
    assert_eq!(
        status.machines,
        [
            known("plant-2", Some("10.0.2.16")),
            known("plant-3", Some("10.0.2.17")),
            known("plant-4", Some("10.0.2.18")),
        ]
    );
    assert_eq!(
        status.removed,
        [Removed {
            host_name: String::from("plant-9"),
            joined: true,
        }]
    );
    assert!(status.is_ready());
}

#[test]
fn a_worker_asks_through_its_load_balancer_and_has_no_etcd() {
    let host = member(ledger::Role::Worker);
    host.web(|host, url, _| match url {
        "7443/readyz" => etcd_answers(host, url, ""),
        _ => panic!("a worker does not ask {url}"),
    });
    let status = told(&host).unwrap().unwrap();
    assert_eq!(status.role, Some(Role::Worker));
    assert_eq!(
        (&status.etcd, &status.health.as_ref().unwrap().etcd),
        (&None, &None)
    );
    assert!(status.is_ready());
}

#[test]
fn what_does_not_answer_is_told_with_the_reason() {
    let host = member(ledger::Role::ControlPlane);
    host.web(|_, url, _| match url {
        "6443/readyz" => Some((500, String::new())),
        "2381/health" => Some((
            503,
            json!({ "health": "false", "reason": "NO LEADER" }).to_string(),
        )),
        _ => None,
    });
    crate::nodes::fail(&host, "the API server does not answer").unwrap();
    let status = told(&host).unwrap().unwrap();
    let health = status.health.clone().unwrap();
    assert_eq!(
        health.api_server,
        Check::bad("the API server answers, and is not ready (status 500)")
    );
    assert_eq!(
        health.etcd,
        Some(Check::bad("etcd is not healthy: NO LEADER"))
    );
    assert_eq!(
        health.node,
        Check::unknown("the API server does not answer")
    );
    assert_eq!(status.etcd, None);
    // Nodes that were told before are known still.
    assert!(
        status
            .machines
            .contains(&known("plant-2", Some("10.0.2.16")))
    );
    assert!(!status.is_ready());
}

#[test]
fn a_machine_that_has_just_begun_tells_what_it_has() {
    let host = Fake::default();
    assert_eq!(told(&host).unwrap(), None);
    let early = Status {
        state: Overall::Working,
        host_name: None,
        ..published()
    };
    host.put(STATUS, serde_json::to_string(&early).unwrap());
    assert_eq!(told(&host).unwrap(), Some(early));
    host.put(STATUS, "{");
    assert!(told(&host).is_err());
}

#[test]
fn no_secret_is_in_the_document() {
    let host = member(ledger::Role::ControlPlane);
    host.web(etcd_answers);
    let status = answer(&host).unwrap().unwrap();
    let clock = status.clock.unwrap();
    assert_eq!((clock.received, clock.sent), (NOW * 1000, NOW * 1000));
    let texts = [
        serde_json::to_string(&status).unwrap(),
        text::render(&status),
    ];
    let keys: ChannelKey = ledger::decided(&host).unwrap();
    let private = serde_json::to_value(&keys.private).unwrap();
    let pem = host.text(&format!("{PKI}/ca.key")).unwrap();
    let line = pem.lines().nth(1).unwrap();
    for text in texts {
        for secret in [SECRET, private.as_str().unwrap(), line, "PRIVATE KEY"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn a_nodes_word_is_good_for_a_while() {
    let check = |nodes: Nodes, uptime: u64, expected: Check| {
        let seen = Seen {
            uptime: Duration::from_secs(uptime),
            nodes,
            ..Seen::default()
        };
        assert_eq!(super::node("plant-1", &seen), expected);
    };
    let nodes = |ready: Option<bool>| Nodes {
        asked: Duration::from_secs(100),
        trouble: None,
        nodes: vec![Node {
            name: String::from("plant-1"),
            address: None,
            ready,
            why: Some(String::from("why")),
            kubelet: None,
        }],
    };
    check(nodes(Some(true)), 101, Check::good());
    check(nodes(Some(false)), 101, Check::bad("why"));
    check(nodes(None), 101, Check::bad("kubelet has not reported yet"));
    let old = Check::unknown("the API server was not asked lately");
    check(nodes(Some(true)), 131, old.clone());
    check(Nodes::default(), 1, old);
    let mut others = nodes(Some(true));
    others.nodes[0].name = String::from("plant-2");
    check(
        others,
        101,
        Check::bad("the cluster has no node of this machine"),
    );
}

#[test]
fn a_root_that_is_not_on_the_disk_has_no_slot() {
    let host = member(ledger::Role::Worker);
    host.web(etcd_answers);
    for line in [
        "quiet\n",
        "roothash=ff\n",
        &format!("roothash={}", "51".repeat(32)),
    ] {
        host.put("/proc/cmdline", line);
        let status = told(&host).unwrap().unwrap();
        assert_eq!(status.image.unwrap().slot, None, "{line}");
    }
}

#[test]
fn people_read_it_on_the_machine() {
    let host = member(ledger::Role::ControlPlane);
    host.web(etcd_answers);
    let mut status = told(&host).unwrap().unwrap();
    status.phases.push(PhaseStatus {
        name: String::from("node-ready"),
        state: Progress::Waiting,
        why: Some(String::from("the node is not ready")),
        applied: 2,
        started: Some(60.25),
        finished: None,
    });
    let expected = "\
machine plant-1  address 10.0.2.15  cluster plant  Kubernetes v1.20.2  Ready
  role         control-plane
  image        test, lock 0000000000000000000000000000000000000000000000000000000000000000, slot A
  kubelet      v1.20.3
  API server   healthy
  etcd         healthy
  node         healthy
  etcd member  follows plant-4, raft index 4711, term 3
  certificate  /var/lib/kubelet/pki/kubelet-client-current.pem ends first, in 364 days
  knows        plant-2 10.0.2.16
  knows        plant-3 10.0.2.17
  knows        plant-4 10.0.2.18
     1.5 s  clock                  done
    60.2 s  node-ready             waiting   the node is not ready
";
    assert_eq!(text::render(&status), expected);
}
