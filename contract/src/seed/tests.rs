use super::*;
use crate::seed::kubernetes::{Component, Leases};
use proptest::prelude::*;

const SECRET: &str = "abcdefghijklmnopqrstuvwxyz234567";

const FULL: &str = "\
version: 1
cluster:
  name: plant-7
  secret: abcdefghijklmnopqrstuvwxyz234567
  id: c12a7328-f81f-11d2-ba4b-00a0c93ec93b
machines: {expect: 1}
controlPlane:
  count: 1
network:
  interface: 52:54:00:12:34:56
  static:
    address: 192.168.7.10/24
    gateway: 192.168.7.1
    dns: [192.168.7.1, 'fd00::1']
  podSubnet: 10.244.0.0/16
  serviceSubnet: 10.96.0.0/12
discovery:
  peers: [192.168.8.10, 'fd00:8::10', nodes.plant.example, 192.168.9.0/24, 'fd00:9::/120']
  multicast: false
hostname: 'm-{machine}'
etcd: {heartbeat: 500, election: 5000}
kubernetes:
  certSANs: [kube.plant.example, 192.168.7.99]
  apiServer:
    extraArgs:
      enable-admission-plugins: NodeRestriction,AlwaysPullImages
  controllerManager:
    extraArgs: {node-monitor-grace-period: 1m}
  scheduler: {extraArgs: {v: '2'}}
  leases: {duration: 60, renewDeadline: 40, retryPeriod: 8}
  audit: none
time:
  servers: [ntp.plant.example]
";

fn minimal(more: &str) -> String {
    format!("version: 1\ncluster:\n  name: plant-7\n  secret: {SECRET}\n{more}")
}

/// The lines of all messages and hints, without excerpts.
fn faults(text: &str) -> Vec<String> {
    match parse("seed.yaml", text) {
        Ok(_) => Vec::new(),
        Err(faults) => {
            let line =
                |fault: &crate::document::Fault| format!("{}: {}", fault.line, fault.message);
            faults.list().iter().map(line).collect()
        }
    }
}

#[track_caller]
fn check(more: &str, expected: &[&str]) {
    assert_eq!(faults(&minimal(more)), expected, "{more}");
}

#[test]
fn four_lines_are_a_seed() {
    let seed = parse("seed.yaml", &minimal("")).unwrap();
    assert_eq!((seed.expect, seed.control_planes), (1, 1));
    assert_eq!(seed.network.addressing, Addressing::Dhcp);
    assert_eq!(seed.network.pods.to_string(), "10.244.0.0/16");
    assert_eq!(seed.hostname("0123456789abcdef"), "plant-7-01234567");
    assert!(!format!("{seed:?}").contains(SECRET));
    assert!(!seed.explain().contains(SECRET));
}

#[test]
fn without_dhcp_machines_draw_addresses() {
    let seed = parse("seed.yaml", &minimal("network: {dhcp: false}\n")).unwrap();
    assert_eq!(seed.network.addressing, Addressing::Auto);
    assert_eq!(seed.network.auto.to_string(), "172.29.0.0/16");
}

#[test]
fn every_setting_is_read() {
    let seed = parse("seed.yaml", FULL).unwrap();
    assert_eq!(
        seed.network.interface,
        Some(Interface::Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]))
    );
    let Addressing::Static {
        address,
        gateway,
        dns,
    } = &seed.network.addressing
    else {
        panic!("the address is static");
    };
    assert_eq!(address.to_string(), "192.168.7.10/24");
    assert_eq!(gateway.unwrap().to_string(), "192.168.7.1");
    assert_eq!(dns.len(), 2);
    assert_eq!(seed.hostname("0123456789"), "m-01234567");
    assert_eq!(
        seed.etcd,
        Etcd {
            heartbeat_ms: 500,
            election_ms: 5000
        }
    );
    let args = |component| seed.kubernetes.args(component).collect::<Vec<_>>();
    assert_eq!(
        args(Component::ApiServer),
        [(
            "enable-admission-plugins",
            "NodeRestriction,AlwaysPullImages"
        )]
    );
    assert_eq!(
        args(Component::ControllerManager),
        [("node-monitor-grace-period", "1m")]
    );
    assert_eq!(args(Component::Scheduler), [("v", "2")]);
    assert_eq!(seed.kubernetes.leases.renew_deadline, 40);
    let explained = seed.explain();
    for text in [
        "network.static.gateway          192.168.7.1",
        "--enable-admission-plugins=Node",
        "kubernetes.scheduler            --v=2",
        "kubernetes.leases.duration      60",
        "kubernetes.audit                none",
        "ntp.plant.example",
        "discovery.multicast             false",
        "discovery.peers                 fd00:9::/120",
    ] {
        assert!(explained.contains(text), "{explained}");
    }
}

#[test]
fn a_secret_of_the_wrong_length_is_not_shown() {
    let text = "version: 1\ncluster:\n  name: plant-7\n  secret: hunter2 # and hunter3\n";
    let shown = parse("stick:seed.yaml", text)
        .expect_err("the secret is short")
        .to_string();
    let expected = "\
stick:seed.yaml:4:11: the secret has 7 characters, but 32 are expected
  4 |   secret: ······· · ··· ·······
    |           ^^^^^^^
  hint: draw one with `seedbed seed new NAME`, or copy it whole from another machine's seed";
    assert_eq!(shown, expected);
}

#[test]
fn a_secret_that_yaml_takes_for_syntax_is_not_shown() {
    for sigil in ["*", "&", "!", "&x ", "!x ", "*x ", "\n--- ", "#", " # "] {
        let text = format!("version: 1\ncluster:\n  name: plant-7\n  secret: {sigil}{SECRET}\n");
        let shown = parse("seed.yaml", &text)
            .expect_err("not a scalar as it stands")
            .to_string();
        assert!(!shown.contains(SECRET), "{sigil}: {shown}");
        assert!(shown.contains("seed.yaml:"), "{sigil}: {shown}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown() {
    for text in [
        format!("version: 1\nhostname:\n  secret: {SECRET}\n"),
        String::from("version: 1\nhostname:\n  secret: hunter2\n"),
        format!("version: 1\ncluster: {SECRET}\n"),
        format!("version: 1\ncluster:\n  name: plant-7\n  id: {SECRET}\n"),
    ] {
        let shown = parse("seed.yaml", &text)
            .expect_err("the secret is somewhere else")
            .to_string();
        for secret in [SECRET, "hunter2"] {
            assert!(!shown.contains(secret), "{text}: {shown}");
        }
    }
}

#[test]
fn line_ends_of_windows_are_good_and_lone_carriage_returns_are_not() {
    parse("seed.yaml", &FULL.replace('\n', "\r\n")).expect("CRLF is a line end");
    let text = format!("version: 1\ncluster:\n  name: plant-7\n  secret: {SECRET}\rtime: 1\n");
    let shown = parse("seed.yaml", &text)
        .expect_err("a lone carriage return")
        .to_string();
    assert!(shown.contains("line 4 has a carriage return"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn bad_secrets() {
    for (secret, message) in [
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
            "character 1 of the secret is not one of a-z and 2-7",
        ),
        (
            "abcdefghijklmnopqrstuvwxyz234568",
            "character 32 of the secret is not one of a-z and 2-7",
        ),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "the secret repeats one character",
        ),
        ("'é'", "the secret has 1 characters, but 32 are expected"),
        ("", "secret must be text, but is empty"),
    ] {
        let text = format!("version: 1\ncluster:\n  name: a\n  secret: {secret}\n");
        assert_eq!(faults(&text), [format!("4: {message}")], "{secret}");
    }
}

#[test]
fn faults_of_single_settings() {
    check(
        "machines: {expect: 0}\n",
        &["5: expect must be a whole number from 1 to 1000, but is 0"],
    );
    check(
        "machines: {expect: 5}\ncontrolPlane: {count: 2}\n",
        &["6: 2 control planes tolerate no more failures than 1"],
    );
    check(
        "controlPlane: {count: 3}\n",
        &["5: 3 control planes are wanted, but machines.expect is 1"],
    );
    check(
        "hostname: Plant_7\n",
        &["5: a host name like \"Plant_7\" is not a DNS label"],
    );
    check(
        "hostname: node\nmachines: {expect: 2}\n",
        &["5: all machines would have the same host name"],
    );
    check(
        "etcd: {heartbeat: 500}\n",
        &["5: an election timeout of 1000 ms is too short for heartbeats each 500 ms"],
    );
    check(
        "kubernetes: {certSANs: ['https://x', 10.0.0.300]}\n",
        &[
            "5: \"https://x\" is neither a DNS name nor an IP address",
            "5: \"10.0.0.300\" is neither a DNS name nor an IP address",
        ],
    );
    check(
        "kubernetes: {apiServer: {extraArgs: {--v: 4}}}\n",
        &["5: \"--v\" is not the name of an argument"],
    );
    check(
        "time: {servers: [ntp://x]}\n",
        &["5: \"ntp://x\" is neither a DNS name nor an IP address"],
    );
    check(
        "cluster: {}\n",
        &["5: this key was already given on line 2"],
    );
    check("netwrok: {}\n", &["5: unknown key"]);
}

#[test]
fn faults_of_the_network() {
    let network = |lines: &[&str]| {
        format!(
            "network:\n{}",
            lines.iter().map(|l| format!("  {l}\n")).collect::<String>()
        )
    };
    let fixed = |address: &str, gateway: &str| {
        network(&[&format!(
            "static: {{address: {address}, gateway: {gateway}}}"
        )])
    };
    check(
        &network(&["podSubnet: 10.244.0.1/16"]),
        &["6: 10.244.0.1/16 is an address in 10.244.0.0/16, not a network"],
    );
    check(
        &network(&["podSubnet: 10.100.0.0/16"]),
        &["5: serviceSubnet 10.96.0.0/12 overlaps podSubnet 10.100.0.0/16"],
    );
    check(
        &network(&["podSubnet: 'fd00::/56'"]),
        &["5: services in 10.96.0.0/12 cannot reach pods in fd00::/56"],
    );
    check(
        &network(&["serviceSubnet: 10.96.0.0/30"]),
        &["6: /30 is not a size that Kubernetes can use here"],
    );
    check(
        &network(&["auto: 10.244.8.0/24"]),
        &["6: auto 10.244.8.0/24 overlaps podSubnet 10.244.0.0/16"],
    );
    check(
        &network(&["interface: this-name-is-too-long"]),
        &["6: \"this-name-is-too-long\" is neither an interface's name nor a MAC address"],
    );
    check(
        &fixed("192.168.7.10/24", "192.168.8.1"),
        &["6: gateway 192.168.8.1 is not in the machine's network 192.168.7.0/24"],
    );
    check(
        &fixed("192.168.7.10/24", "192.168.7.10"),
        &["6: the gateway is the machine's own address"],
    );
    check(
        &fixed("192.168.7.10", "192.168.7.1"),
        &["6: \"192.168.7.10\" has no prefix length"],
    );
    check(
        &fixed("192.168.7.255/24", "192.168.7.1"),
        &["6: 192.168.7.255 names the network 192.168.7.0/24 or all of it, not a machine"],
    );
    check(
        &fixed("10.244.3.4/24", "10.244.3.1"),
        &["6: the machine's network 10.244.3.0/24 overlaps podSubnet 10.244.0.0/16"],
    );
    check(
        &fixed("169.254.3.4/24", "169.254.3.1"),
        &["6: 169.254.3.4 is not an address that other machines can reach"],
    );
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let text = "version: 2\ncluster: {name: Plant, secret: short}\nnetwork:\n  auto: 10.0.0.1/8\n  podSubnet: x\n";
    assert_eq!(faults(text).len(), 5, "{:?}", faults(text));
}

#[test]
fn a_new_seed_is_a_seed() {
    let bytes: [u8; SECRET_BYTES] = std::array::from_fn(|i| (i as u8).wrapping_mul(37));
    let text = new_text("plant-7", &bytes);
    let seed = parse("new", &text).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(seed.cluster.name, "plant-7");
    assert_eq!(
        secret(b"foobarfoobarfoobarfo").expose(),
        "mzxw6ytbojtg633cmfzgm33pmjqxeztp"
    );
    assert!(new_text("plant-7", &[0; SECRET_BYTES]).contains("aaaaaaaa"));
}

#[test]
fn a_new_seed_with_its_comments_taken_away_is_still_good() {
    let bytes: [u8; SECRET_BYTES] = std::array::from_fn(|i| (i as u8).wrapping_mul(37));
    let text = new_text("plant-7", &bytes);
    let active: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => rest,
            _ => line,
        })
        .filter(|line| !line.contains("dhcp:"))
        .map(|line| format!("{line}\n"))
        .collect();
    parse("new", &active).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(active.contains("\nnetwork:\n"));
}

#[test]
fn the_schema_names_every_section() {
    let schema = schema();
    for key in [
        "version",
        "cluster",
        "machines",
        "controlPlane",
        "network",
        "hostname",
        "etcd",
        "kubernetes",
        "time",
    ] {
        assert!(
            schema
                .pointer(&format!("/properties/{key}/description"))
                .is_some(),
            "{key}"
        );
    }
}

/// What a hand or a bad stick does to a file.
#[derive(Clone, Debug)]
enum Mutation {
    Byte(usize, u8),
    Cut(usize, usize),
    Twice(usize, usize),
    SwapLines(usize, usize),
    Token(usize, &'static str),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let token = proptest::sample::select(vec![
        "\t",
        ":",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "#",
        "&a ",
        "*a",
        "!x ",
        "|\n",
        ">\n",
        "---\n",
        "...",
        "%YAML 9\n",
        "? ",
        "~",
        "\u{feff}",
        "\0",
        "\r",
        "é",
        "-1",
        "99999999999999999999",
        "1e999",
        "0x",
        "<<: ",
        "secret",
        "network",
        "null",
        "\n\n",
        "  ",
    ]);
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        (any::<usize>(), 0usize..40).prop_map(|(at, len)| Mutation::Cut(at, len)),
        (any::<usize>(), 0usize..80).prop_map(|(at, len)| Mutation::Twice(at, len)),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Mutation::SwapLines(a, b)),
        (any::<usize>(), token).prop_map(|(at, token)| Mutation::Token(at, token)),
    ]
}

fn mutate(mut bytes: Vec<u8>, mutation: &Mutation) -> Vec<u8> {
    let length = bytes.len().max(1);
    match *mutation {
        Mutation::Byte(at, byte) => bytes
            .iter_mut()
            .skip(at % length)
            .take(1)
            .for_each(|b| *b = byte),
        Mutation::Cut(at, len) => {
            let from = (at % length).min(bytes.len());
            let to = (from + len).min(bytes.len());
            bytes.drain(from..to);
        }
        Mutation::Twice(at, len) => {
            let from = (at % length).min(bytes.len());
            let to = (from + len).min(bytes.len());
            let part = bytes[from..to].to_vec();
            bytes.splice(to..to, part);
        }
        Mutation::SwapLines(a, b) => {
            let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            let count = lines.len();
            lines.swap(a % count, b % count);
            return lines.join(&b'\n');
        }
        Mutation::Token(at, token) => {
            let at = (at % length).min(bytes.len());
            bytes.splice(at..at, token.bytes());
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_seed_never_panics_and_never_shows_its_secret(mutations in prop::collection::vec(mutation(), 1..6)) {
        let bytes = mutations.iter().fold(FULL.as_bytes().to_vec(), mutate);
        let text = String::from_utf8_lossy(&bytes);
        if let Err(faults) = parse("seed.yaml", &text) {
            prop_assert!(!faults.list().is_empty());
            // Part of a mutated secret is shown only where a mutation tore it from its key.
            prop_assert!(!faults.to_string().contains(SECRET), "{}", faults);
        }
    }
}

#[test]
fn peers_are_told_apart() {
    use super::discovery::Peer;
    let seed = parse("seed.yaml", FULL).unwrap();
    let range = |text: &str| Peer::Range(text.parse().unwrap());
    let expected = [
        Peer::Address("192.168.8.10".parse().unwrap()),
        Peer::Address("fd00:8::10".parse().unwrap()),
        Peer::Name("nodes.plant.example".into()),
        range("192.168.9.0/24"),
        range("fd00:9::/120"),
    ];
    assert_eq!(seed.discovery.peers, expected);
    assert!(!seed.discovery.multicast);
    let seed = parse("seed.yaml", &minimal("")).unwrap();
    assert!(seed.discovery.multicast && seed.discovery.peers.is_empty());
}

#[test]
fn faults_of_discovery_are_all_found() {
    let peers = "discovery:
  peers:
  - 10.0.0.0/19
  - fd00::/115
  - 10.0.0.1/24
  - 239.255.1.1
  - 127.0.0.1
  - fe80::1
  - a_b
  - 10.0.0.1:7446
  - 192.168.8.10
  - 192.168.8.10
  - 224.0.0.0/24
";
    let expected = [
        "7: 10.0.0.0/19 is too large to look through",
        "8: fd00::/115 is too large to look through",
        "9: 10.0.0.1/24 is an address in 10.0.0.0/24, not a network",
        "10: 239.255.1.1 is a group of machines; multicast needs no setting",
        "11: 127.0.0.1 is no address that other machines have",
        "12: fe80::1 is good on one wire only, and its meaning depends on the interface",
        "13: \"a_b\" is neither an address nor a DNS name nor a range",
        "14: \"10.0.0.1:7446\" is neither an address nor a DNS name nor a range",
        "16: 192.168.8.10 is there twice",
        "17: 224.0.0.0/24 is a group of machines; multicast needs no setting",
    ];
    check(peers, &expected);
    check(
        "machines: {expect: 3}\ndiscovery: {multicast: false}\n",
        &["6: without multicast and peers no machine finds another"],
    );
    check("discovery: {multicast: false}\n", &[]);
    check("discovery: {peers: [10.0.0.0/20, 'fd00::/116']}\n", &[]);
    let many: Vec<_> = (0..257)
        .map(|i| format!("10.0.{}.{}", i / 256, i % 256))
        .collect();
    check(
        &format!("discovery: {{peers: [{}]}}\n", many.join(", ")),
        &["5: 257 peers are too many"],
    );
}

#[test]
fn leases_are_those_that_kubernetes_takes() {
    let leases = |more: &str| {
        let text = minimal(&format!("kubernetes: {{leases: {{{more}}}}}\n"));
        parse("seed.yaml", &text).map(|seed| seed.kubernetes.leases)
    };
    let defaults = Leases {
        duration: 15,
        renew_deadline: 10,
        retry_period: 2,
    };
    assert_eq!(leases(""), Ok(defaults));
    assert!(leases("duration: 3, renewDeadline: 2, retryPeriod: 1").is_ok());
    check(
        "kubernetes:
  leases:
    duration: 10
    retryPeriod: 10
",
        &[
            "6: 10 s leave no time for a second attempt after 10 s, to which a fifth may be added",
            "7: a lease of 10 s ends before its renewal is given up after 10 s",
        ],
    );
    // 1.2 times 5 is 6, and that is not enough.
    assert!(leases("renewDeadline: 6, retryPeriod: 5").is_err());
    assert!(leases("renewDeadline: 7, retryPeriod: 5").is_ok());
    assert!(leases("duration: 4000").is_err());
}

#[test]
fn arguments_that_contradict_the_rest_are_refused() {
    check(
        "kubernetes:
  apiServer: {extraArgs: {secure-port: '443', audit-policy-file: /x, audit-log-maxage: '3'}}
  controllerManager:
    extraArgs:
      cluster-cidr: 10.0.0.0/8
      leader-elect-retry-period: 5s
      --v: '2'
  scheduler:
    extraArgs:
      leader-elect: 'false'
      secure-port: '0'
",
        &[
            "6: --secure-port of the API server moves the API server away from where all machines look for it",
            "6: --audit-policy-file of the API server is what kubernetes.audit says",
            "9: --cluster-cidr of the controller manager is what network.podSubnet says",
            "10: --leader-elect-retry-period of the controller manager is what kubernetes.leases says",
            "11: \"--v\" is not the name of an argument",
            "14: --leader-elect of the scheduler decides whether several of them work at once",
            "15: --secure-port of the scheduler moves its health checks away from where the machine asks for them",
        ],
    );
}

#[test]
fn the_firewall_follows_the_range_of_node_ports() {
    let parsed = |more: &str| parse("seed.yaml", &minimal(more)).unwrap();
    let seed = parsed("");
    assert_eq!(seed.kubernetes.node_ports, 30000..=32767);
    assert!(seed.network.firewall);
    assert!(!parsed("network: {firewall: false}\n").network.firewall);
    let with = |range: &str| {
        format!("kubernetes: {{apiServer: {{extraArgs: {{service-node-port-range: {range}}}}}}}\n")
    };
    assert_eq!(parsed(&with("80-443")).kubernetes.node_ports, 80..=443);
    for bad in ["443-80", "0-80", "80", "1-70000", "a-b"] {
        let message = format!("5: \"{bad}\" is not a range of ports");
        check(&with(&format!("'{bad}'")), &[&message]);
    }
}
