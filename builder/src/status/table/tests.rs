//! Golden tables.

use super::*;
use crate::status::ask::{Answer, Target, Told};
use contract::status::{Certificate, Health, Image, Known, Slot};

/// A control plane that is Ready, and leads etcd if it is the first.
fn control_plane(number: u8) -> Status {
    let id = |number: u8| format!("8e9e05c52164694{number}");
    Status {
        version: 1,
        state: Overall::Ready,
        host_name: Some(format!("plant-7-1a2b3c4{number}")),
        cluster: Some(String::from("plant-7")),
        cluster_id: None,
        address: Some(format!("192.168.7.{}", 9 + number)),
        kubernetes: String::from("v1.31.4"),
        phases: vec![phase("clock", Progress::Done, None)],
        machine: Some(format!("{number:032x}")),
        role: Some(Role::ControlPlane),
        image: Some(Image {
            profile: String::from("kubernetes"),
            lock: "0123456789abcdef".repeat(4),
            slot: Some(Slot::A),
        }),
        kubelet: Some(String::from("v1.31.4")),
        health: Some(Health {
            api_server: Check::good(),
            etcd: Some(Check::good()),
            node: Check::good(),
        }),
        etcd: Some(Etcd {
            member: id(number),
            leader: Some(id(1)),
            leader_name: None,
            learner: false,
            raft_index: 4_711 + u64::from(number),
            raft_term: 3,
            version: String::from("3.5.16"),
        }),
        certificate: Some(Certificate {
            path: String::from("/etc/kubernetes/pki/apiserver.crt"),
            not_after: 1_800_000_000,
            days_left: 364,
        }),
        clock: None,
        machines: Vec::new(),
        removed: Vec::new(),
    }
}

fn phase(name: &str, state: Progress, why: Option<&str>) -> PhaseStatus {
    PhaseStatus {
        name: name.into(),
        state,
        why: why.map(str::to_owned),
        applied: 1,
        started: None,
        finished: None,
    }
}

fn told(status: Status, skew: i64) -> Answer {
    let status = Box::new(status);
    Answer {
        target: Target {
            address: String::from("asked.example"),
            host_name: None,
        },
        told: Ok(Told::Status {
            status,
            skew: Some(skew),
        }),
    }
}

fn check(answers: Vec<Answer>, expected: u32, table: &str) {
    let text = render(&Site::new(answers, Vec::new(), expected));
    let long = text.lines().find(|line| length(line) > WIDTH);
    assert_eq!(long, None, "{text}");
    assert_eq!(text, table, "\n{text}");
}

#[test]
fn a_site_that_is_ready() {
    let answers = vec![
        told(control_plane(2), -140),
        told(control_plane(1), 20),
        told(control_plane(3), 0),
    ];
    check(
        answers,
        3,
        "\
MACHINE           ROLE           ADDRESS       KUBERNETES  IMAGE       LOCK      SLOT  STATE
plant-7-1a2b3c41  control-plane  192.168.7.10  v1.31.4     kubernetes  01234567  A     ready
plant-7-1a2b3c42  control-plane  192.168.7.11  v1.31.4     kubernetes  01234567  A     ready
plant-7-1a2b3c43  control-plane  192.168.7.12  v1.31.4     kubernetes  01234567  A     ready

MACHINE           API  NODE  ETCD  RAFT      INDEX  CLOCK   CERTIFICATE THAT ENDS FIRST
plant-7-1a2b3c41  ok   ok    ok    leader    4712   +0.0 s  364 d  pki/apiserver.crt
plant-7-1a2b3c42  ok   ok    ok    follower  4713   -0.1 s  364 d  pki/apiserver.crt
plant-7-1a2b3c43  ok   ok    ok    follower  4714   +0.0 s  364 d  pki/apiserver.crt

3 of 3 machines Ready; etcd has quorum, leader plant-7-1a2b3c41
",
    );
}

#[test]
fn a_site_in_trouble() {
    let mut waiting = control_plane(1);
    waiting.state = Overall::Waiting;
    waiting.host_name = Some(String::from("plant-7-aa"));
    waiting.phases = vec![
        phase(
            "etcd-health",
            Progress::Waiting,
            Some("etcd is not healthy yet"),
        ),
        phase(
            "controllers",
            Progress::Retrying,
            Some(
                "running /usr/bin/kubeadm init phase control-plane controller-manager --config \
                 /run/seedbed/kubeadm.yaml: it ended with exit status: 1: couldn't read the certificate",
            ),
        ),
        phase("kubelet", Progress::Working, None),
        phase(
            "node",
            Progress::Waiting,
            Some("kubelet has not registered this machine yet"),
        ),
        phase("ready", Progress::Pending, None),
    ];
    waiting.etcd = None;
    waiting.health = Some(Health {
        api_server: Check::bad("the API server does not answer yet"),
        etcd: Some(Check::bad("etcd does not answer its health probe")),
        node: Check::unknown("the API server was not asked lately"),
    });
    waiting.machines = vec![Known {
        host_name: String::from("plant-7-dd"),
        address: Some(String::from("192.168.7.13")),
    }];
    let mut unhealthy = control_plane(2);
    unhealthy.host_name = Some(String::from("plant-7-bb"));
    unhealthy.kubelet = Some(String::from("v1.30.1"));
    unhealthy.certificate = Some(Certificate {
        path: String::from("/var/lib/kubelet/pki/kubelet-client-current.pem"),
        not_after: 0,
        days_left: -3,
    });
    if let Some(etcd) = &mut unhealthy.etcd {
        etcd.learner = true;
    }
    if let Some(health) = &mut unhealthy.health {
        health.node = Check::bad("container runtime is down");
    }
    let mut worker = control_plane(3);
    worker.role = Some(Role::Worker);
    worker.etcd = None;
    if let Some(health) = &mut worker.health {
        health.etcd = None;
    }
    let silent = Answer {
        target: Target {
            address: String::from("192.168.7.13:7444"),
            host_name: Some(String::from("plant-7-dd")),
        },
        told: Err(String::from("no answer within 5 s")),
    };
    let early = Answer {
        target: Target {
            address: String::from("192.168.7.77:7444"),
            host_name: None,
        },
        told: Ok(Told::Early(String::from(
            "the machine has just been started",
        ))),
    };
    let answers = vec![
        told(waiting, 0),
        told(unhealthy, 75_000),
        told(worker, -259_200_000),
        silent,
        early,
    ];
    check(
        answers,
        6,
        "\
MACHINE           ROLE           ADDRESS       KUBERNETES  IMAGE       LOCK      SLOT  STATE
plant-7-aa        control-plane  192.168.7.10  v1.31.4     kubernetes  01234567  A     waiting
    tries controllers again: running /usr/bin/kubeadm init phase control-plane controller-manager
      --config /run/seedbed/kubeadm.yaml: it ended with exit status: 1: couldn't read the
      certificate
    works at kubelet
    waits at etcd-health: etcd is not healthy yet
    and 1 more phase
plant-7-bb        control-plane  192.168.7.11  v1.31.4     kubernetes  01234567  A     unhealthy
    node: container runtime is down
    etcd: it has no vote yet
    kubelet is v1.30.1
    certificate /var/lib/kubelet/pki/kubelet-client-current.pem ended 3 days ago
    its clock is 75.0 s ahead of this computer's
plant-7-1a2b3c43  worker         192.168.7.12  v1.31.4     kubernetes  01234567  A     ready
    its clock is 3 d behind this computer's
-                 -              192.168.7.77  -           -           -         -     starting
    has nothing to tell yet: the machine has just been started
plant-7-dd        -              192.168.7.13  -           -           -         -     silent
    does not answer: no answer within 5 s

MACHINE           API  NODE  ETCD  RAFT     INDEX  CLOCK    CERTIFICATE THAT ENDS FIRST
plant-7-aa        no   ?     no    -        -      +0.0 s   364 d  pki/apiserver.crt
plant-7-bb        ok   no    ok    learner  4713   +75.0 s  -3 d  kubelet/pki/kubelet-client-curren…
plant-7-1a2b3c43  ok   ok    -     -        -      -3 d     364 d  pki/apiserver.crt

1 of 6 machines Ready, 1 not heard of; etcd shows no quorum
",
    );
}

#[test]
fn long_names_fit() {
    let mut long = control_plane(1);
    long.host_name = Some("a-name-as-long-as-dns-lets-it-be".repeat(2)[..63].to_owned());
    long.address = Some(String::from("fd12:3456:789a:bcde:f012:3456:789a:bcde"));
    long.kubernetes = String::from("v1.31.4-rc.0+vendor.12345678");
    if let Some(image) = &mut long.image {
        image.profile = String::from("kubernetes-with-everything-that-we-ever-wanted");
    }
    long.certificate = Some(Certificate {
        path: format!("/etc/kubernetes/pki/{}.crt", "x".repeat(80)),
        not_after: 0,
        days_left: 0,
    });
    check(
        vec![told(long, 1)],
        1,
        "\
MACHINE        ROLE           ADDRESS                    KUBERNETES   IMAGE    LOCK      SLOT  STATE
a-name-as-lo…  control-plane  fd12:3456:789a:bcde:f012…  v1.31.4-rc…  kubern…  01234567  A     ready
    kubelet is v1.31.4
    certificate
      /etc/kubernetes/pki/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
      ends within a day

MACHINE                    API  NODE  ETCD  RAFT    INDEX  CLOCK   CERTIFICATE THAT ENDS FIRST
a-name-as-long-as-dns-le…  ok   ok    ok    leader  4712   +0.0 s  0 d  pki/xxxxxxxxxxxxxxxxxxxxxxx…

1 of 1 machines Ready;
etcd has quorum, leader a-name-as-long-as-dns-lets-it-bea-name-as-long-as-dns-lets-it-b
",
    );
}

#[test]
fn nobody_is_there() {
    check(
        Vec::new(),
        3,
        "0 of 3 machines Ready, 3 not heard of; nothing is known of etcd\n",
    );
}

#[test]
fn durations() {
    for (milliseconds, expected) in [
        (0, "0.0 s"),
        (99_999, "99.9 s"),
        (100_000, "1 min"),
        (5_999_999, "99 min"),
        (6_000_000, "1 h"),
        (172_800_000, "2 d"),
    ] {
        assert_eq!(duration(milliseconds), expected);
    }
}
