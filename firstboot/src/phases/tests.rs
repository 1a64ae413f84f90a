//! The whole plan on a machine in memory: once, twice, and with the power cut after every single effect.

mod site;

use contract::manifest::Manifest;
use contract::partition::{Arch, Role as Part};
use formats::gpt::{Entry, SectorSize, Table};

use crate::assembly::memory::Decision;
use crate::assembly::{self, Memory, Seat};
use crate::birth::{self, Birth};
use crate::facts::Facts;
use crate::host::Host;
use crate::host::fake::Fake;
use crate::ledger::{self, Address, ChannelKey, Identity};
use crate::phase::{Phase, State, Trouble};

const SECTORS: u64 = 40_000;

pub(crate) const SEED: &str = "version: 1\ncluster:\n  name: plant\n  secret: abcdefghijklmnopqrstuvwxyz234567\ntime: {servers: [ntp.plant.example]}\n";

pub(crate) fn facts(kubernetes: &str) -> Facts {
    let identity = Identity {
        version: 1,
        machine: "ab".repeat(32),
        machine_id: "cd".repeat(16),
        incarnation: "07".repeat(16),
        host_name: String::from("plant-abababab"),
        cluster: String::from("plant"),
    };
    let address = Address {
        version: 1,
        address: "10.0.2.15".parse().unwrap(),
        prefix: 24,
        mac: String::from("52:54:00:12:34:56"),
    };
    let seed = contract::seed::parse("seed.yaml", SEED).unwrap();
    let me = Seat {
        machine: identity.machine_id().unwrap(),
        key: [5; 32],
    };
    let entry = assembly::Entry::Named {
        epoch: 1,
        cluster: [3; 16],
        seats: vec![me],
        initialiser: me.machine,
    };
    Facts {
        manifest: manifest(kubernetes),
        seed,
        identity,
        address,
        birth: Birth::new(&entry, me),
    }
}

fn manifest(kubernetes: &str) -> Manifest {
    Manifest {
        version: 1,
        profile: String::from("test"),
        arch: Arch::Amd64,
        epoch: 1_700_000_000,
        lock: "0".repeat(64),
        kubernetes: kubernetes.to_owned(),
        pause: String::from("registry.k8s.io/pause:3.2"),
        image_repository: String::from("registry.k8s.io"),
        images: [].into(),
        partitions: Vec::new(),
        programs: [].into(),
    }
}

fn disk(parts: &[(Part, u64, u64)]) -> Vec<u8> {
    let entries = parts.iter().map(|(part, first_lba, last_lba)| Entry {
        type_guid: *part.type_guid(Arch::Amd64).as_bytes(),
        guid: [u8::try_from(*first_lba % 251).unwrap(); 16],
        first_lba: *first_lba,
        last_lba: *last_lba,
        attributes: 0,
        name: part.label().to_owned(),
    });
    let table = Table::new([9; 16], SectorSize::B512, SECTORS, entries);
    let mut bytes = vec![0; usize::try_from(SECTORS * 512).unwrap()];
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes[450] = 0xee;
    for (offset, piece) in table.write().unwrap() {
        let at = usize::try_from(offset).unwrap();
        bytes[at..at + piece.len()].copy_from_slice(&piece);
    }
    bytes
}

const SHIPPED: [(Part, u64, u64); 2] = [(Part::Esp, 2048, 4095), (Part::Root, 4096, 8191)];
const MADE: [(Part, u64, u64); 2] = [(Part::State, 8192, 9215), (Part::Data, 9216, 20479)];

fn show_partitions(host: &Fake, count: u32) {
    for number in 1..=count {
        host.put(
            &format!("/sys/devices/pci0/block/vda/vda{number}/partition"),
            format!("{number}\n"),
        );
        host.link(
            &format!("/sys/class/block/vda{number}"),
            &format!("../../devices/pci0/block/vda/vda{number}"),
        );
    }
}

/// A machine whose disk is as the image ships it, with a seed in the image.
pub(crate) fn machine() -> Fake {
    numbered(SEED, 0)
}

/// One of several such machines, at 10.0.2.15 and the addresses after it.
fn numbered(seed: &str, number: u8) -> Fake {
    let host = Fake::default();
    host.set_time(1_600_000_000);
    let manifest = serde_json::to_string(&manifest("v1.20.2")).unwrap();
    host.put(contract::paths::MANIFEST, manifest);
    host.put(contract::paths::EMBEDDED_SEED, seed);
    host.put("/etc/machine-id", "cd".repeat(16));
    host.put("/proc/sys/kernel/hostname", "localhost");
    host.put(
        "/sys/class/dmi/id/product_uuid",
        format!("4c4c4544-003{}\n", number + 1),
    );
    for (file, text) in [
        ("type", "1"),
        ("addr_assign_type", "0"),
        ("address", "52:54:00:12:34:56"),
        ("device/x", ""),
    ] {
        host.put(&format!("/sys/class/net/eth0/{file}"), text);
    }
    host.device("/dev/mapper/root", (254, 0));
    host.put("/sys/dev/block/254:0/slaves/vda2/x", "");
    host.link("/sys/class/block/vda", "../../devices/pci0/block/vda");
    host.put(
        "/sys/devices/pci0/block/vda/queue/logical_block_size",
        "512\n",
    );
    host.put("/sys/devices/pci0/block/vda/size", format!("{SECTORS}\n"));
    host.put("/dev/vda", disk(&SHIPPED));
    show_partitions(&host, 2);
    host.put("/usr/lib/cni/bridge", "x");
    host.put("/opt/cni/bin/.keep", "");
    host.rule("/usr/bin/systemd-repart", |host, line| {
        assert!(
            line.contains("--dry-run=no") && line.ends_with(" /dev/vda"),
            "{line}"
        );
        host.put("/dev/vda", disk(&[&SHIPPED[..], &MADE[..]].concat()));
        show_partitions(host, 4);
        Ok(String::new())
    });
    host.rule("/usr/bin/systemctl --no-block start ", |host, line| {
        let unit = line.rsplit(' ').next().unwrap();
        host.put(
            &format!("/sys/fs/cgroup/system.slice/{unit}/cgroup.events"),
            "populated 1\nfrozen 0\n",
        );
        match unit {
            "containerd.service" => host.put("/run/containerd/containerd.sock", ""),
            "seedbed-snapshotter.service" => host.put("/run/seedbed/snapshotter.sock", ""),
            "etcd.service" => host.put("/var/lib/etcd/member/snap", ""),
            _ => {}
        }
        Ok(String::new())
    });
    host.rule("/usr/bin/systemctl --no-block stop ", |host, line| {
        let unit = line.rsplit(' ').next().unwrap();
        host.put(
            &format!("/sys/fs/cgroup/system.slice/{unit}/cgroup.events"),
            "populated 0\nfrozen 0\n",
        );
        Ok(String::new())
    });
    host.rule("/usr/bin/systemctl daemon-reload", |_, _| Ok(String::new()));
    host.rule("/usr/bin/networkctl reload", |_, _| Ok(String::new()));
    host.rule("/usr/bin/ip -json", move |_, _| {
        let address = format!("10.0.2.{}", 15 + number);
        Ok(format!(
            r#"[{{}},{{"ifname":"eth0","addr_info":[{{"local":"{address}","prefixlen":24,"scope":"global"}}]}}]"#,
        ))
    });
    host.rule("/usr/bin/kubeadm init phase ", kubeadm);
    host.rule("/usr/sbin/nft -f ", |_, _| Ok(String::new()));
    host.rule("/usr/bin/kubectl --kubeconfig", |host, line| {
        let (_, quoted) = line.split_once("--patch ").unwrap();
        let patch: String = serde_json::from_str(quoted).unwrap();
        let patch: serde_json::Value = serde_json::from_str(&patch).unwrap();
        host.put("/api/ranges", patch["spec"]["podCIDRs"].to_string());
        Ok(String::new())
    });
    host.web(|host, url, _| web(host, url));
    host
}

/// Leaves what the real one leaves, as far as the phases look at it.
fn kubeadm(host: &Fake, line: &str) -> anyhow::Result<String> {
    let phase: Vec<&str> = line
        .split(' ')
        .skip(3)
        .take_while(|word| *word != "--config")
        .collect();
    let pem = "-----BEGIN X-----\n-----END X-----\n";
    let put = |path: &str, text: &str| host.put(&format!("/etc/kubernetes/{path}"), text);
    match phase.as_slice() {
        ["certs", "all"] => {
            assert!(
                host.exists("/etc/kubernetes/pki/ca.key"),
                "kubeadm would make an authority"
            );
            for name in [
                "apiserver",
                "apiserver-kubelet-client",
                "front-proxy-client",
            ] {
                put(&format!("pki/{name}.crt"), pem);
                put(&format!("pki/{name}.key"), pem);
            }
        }
        ["kubeconfig", "all"] => {
            for name in ["admin", "kubelet", "controller-manager", "scheduler"] {
                put(
                    &format!("{name}.conf"),
                    "users:\n    client-certificate-data: Zm9v\n    client-key-data: Zm9v\n",
                );
            }
        }
        ["control-plane", name] => put(
            &format!("manifests/kube-{name}.yaml"),
            "kind: Pod\nstatus: {}\n",
        ),
        ["kubelet-start"] => {
            host.put("/var/lib/kubelet/config.yaml", "x\n");
            host.put("/var/lib/kubelet/kubeadm-flags.env", "x\n");
            host.put("/var/lib/kubelet/pki/kubelet-client-current.pem", pem);
        }
        ["kubelet-finalize", "all"] => put(
            "kubelet.conf",
            "client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n    client-key: x\n",
        ),
        ["upload-config", "all"]
        | ["mark-control-plane"]
        | ["bootstrap-token"]
        | ["addon", "kube-proxy"] => {
            host.put(&format!("/api/{}", phase[0]), "");
        }
        other => panic!("unknown phase {other:?}"),
    }
    Ok(String::new())
}

fn web(host: &Fake, url: &str) -> Option<(u16, String)> {
    let has = |object: &str| host.exists(&format!("/api/{object}"));
    let found = |there: bool| {
        Some(if there {
            (200, String::from("{}"))
        } else {
            (404, String::new())
        })
    };
    let name = host
        .text("/etc/hostname")
        .unwrap_or_default()
        .trim()
        .to_owned();
    match url {
        "7445/v2/" | "2381/health" | "6443/readyz" | "10257/healthz" | "10259/healthz" => {
            found(true)
        }
        _ if url == format!("6443/api/v1/nodes/{name}") => {
            let marked =
                has("mark-control-plane").then_some(("node-role.kubernetes.io/master", ""));
            let annotated =
                has("upload-config").then_some(("kubeadm.alpha.kubernetes.io/cri-socket", "x"));
            let ranges = host.text("/api/ranges");
            let ranges: Option<serde_json::Value> =
                ranges.map(|text| serde_json::from_str(&text).unwrap());
            let node = serde_json::json!({
                "metadata": {
                    "labels": std::collections::BTreeMap::from_iter(marked),
                    "annotations": std::collections::BTreeMap::from_iter(annotated),
                },
                "spec": { "podCIDRs": ranges },
                "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
            });
            Some((200, node.to_string()))
        }
        _ if url.ends_with("configmaps/kubeadm-config") => found(has("upload-config")),
        _ if url.contains("/rolebindings/") => found(has("bootstrap-token")),
        _ if url.contains("/kube-system/pods?labelSelector=k8s-app%3Dkube-proxy&") => {
            let pod = serde_json::json!({
                "metadata": { "name": "kube-proxy-abcde" },
                "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
            });
            Some((200, serde_json::json!({ "items": [pod] }).to_string()))
        }
        _ if url.contains("kube-proxy") || url.contains("node-proxier") => found(has("addon")),
        _ => panic!("unknown question {url}"),
    }
}

/// Applies a phase until it is done, at most a few times.
fn bring(host: &Fake, phase: &dyn Phase) -> Result<(), Trouble> {
    let mut last = Trouble::Waiting(String::from("nothing happened"));
    for _ in 0..4 {
        if phase.observe(host)? == State::Done {
            return Ok(());
        }
        match phase.apply(host) {
            Ok(()) => {}
            Err(Trouble::Waiting(why)) => last = Trouble::Waiting(why),
            Err(trouble) => return Err(trouble),
        }
    }
    Err(last)
}

fn bring_plan(host: &Fake, plan: &[&dyn Phase]) -> Result<(), (&'static str, Trouble)> {
    for phase in plan {
        agree(host);
        bring(host, *phase).map_err(|trouble| (phase.name(), trouble))?;
    }
    Ok(())
}

/// The control plane of a machine that is alone.
fn bring_all(host: &Fake) -> Result<(), (&'static str, Trouble)> {
    bring_plan(host, super::COMMON)?;
    bring_plan(host, super::CONTROL_PLANE)
}

/// What [`crate::assembly::driver`] does on a machine that is alone: it is named as soon as it has keys, and the
/// cluster is founded as soon as etcd served and there is an authority.
fn agree(host: &Fake) {
    let (Ok(Some(identity)), Ok(Some(keys))) = (
        ledger::read::<Identity>(host),
        ledger::read::<ChannelKey>(host),
    ) else {
        return;
    };
    let me = Seat {
        machine: identity.machine_id().unwrap(),
        key: *keys.public.as_bytes(),
    };
    let named = assembly::Entry::Named {
        epoch: 1,
        cluster: [3; 16],
        seats: vec![me],
        initialiser: me.machine,
    };
    let authority = crate::pki::read(host, "/etc/kubernetes/pki/ca").unwrap();
    let (slot, entry) = match authority.filter(|_| host.exists(super::etcd::FOUNDED)) {
        Some(pair) => (
            1,
            named.founded(crate::pki::fingerprint(&pair.public).unwrap()),
        ),
        None => (0, named),
    };
    let memory = Memory {
        decided: Some(Decision { slot, entry }),
        ..Memory::default()
    };
    host.put(birth::MEMORY, serde_json::to_vec(&memory).unwrap());
}

#[test]
fn the_plans_are_in_order() {
    for plan in [super::CONTROL_PLANE, super::WORKER] {
        assert_eq!(
            crate::engine::check(&[super::COMMON, plan].concat()),
            Ok(())
        );
    }
    let last = super::COMMON.last().unwrap();
    assert_eq!(last.name(), super::CERTAIN);
}

/// Every phase that one comes after is in some plan.
#[test]
fn phases_come_after_phases() {
    let all = [super::COMMON, super::CONTROL_PLANE, super::WORKER].concat();
    let names: Vec<&str> = all.iter().map(|phase| phase.name()).collect();
    for phase in all {
        for name in phase.after() {
            assert!(names.contains(name), "{} comes after {name}", phase.name());
        }
    }
}

/// The table of `docs/operations.md` names every phase, and what it comes after.
#[test]
fn the_documentation_knows_every_phase() {
    let page = include_str!("../../../docs/operations.md");
    for phase in [super::COMMON, super::CONTROL_PLANE, super::WORKER].concat() {
        let after: Vec<String> = phase
            .after()
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let row = format!("| `{}` | {}", phase.name(), after.join(", "));
        let row = format!("{} |", row.trim_end());
        assert!(page.contains(&row), "no row begins with: {row}");
    }
}

#[test]
fn a_machine_is_closed_before_it_has_a_network() {
    let host = machine();
    bring_all(&host).unwrap();
    let effects = host.effects();
    let at = |what: &str| effects.iter().position(|effect| effect.contains(what));
    let closed = at("nft -f /run/seedbed/host.nft.loading").unwrap();
    assert!(closed < at("start systemd-networkd.service").unwrap());
    assert!(host.text("/run/seedbed/host.nft").unwrap().contains("6443"));
}

#[test]
fn a_seed_may_switch_off_firewall_and_audit_log() {
    let places = ["/run/seedbed/host.nft", "/etc/kubernetes/audit/policy.yaml"];
    for (more, there) in [
        ("", true),
        (
            "network: {firewall: false}\nkubernetes: {audit: none}\n",
            false,
        ),
    ] {
        let host = machine();
        host.put(contract::paths::EMBEDDED_SEED, format!("{SEED}{more}"));
        bring_all(&host).unwrap();
        for place in places {
            assert_eq!(host.text(place).is_some(), there, "{place}");
        }
    }
}

#[test]
fn a_second_run_has_no_effect() {
    let host = machine();
    bring_all(&host).unwrap();
    assert!(host.effects().len() > 40);
    bring_all(&host).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    let identity: Identity = ledger::decided(&host).unwrap();
    assert_eq!(identity.machine_id, "cd".repeat(16));
    assert!(host.now() >= 1_700_000_000);
}

#[test]
fn a_second_boot_makes_nothing_again() {
    let host = machine();
    bring_all(&host).unwrap();
    host.effects();
    host.reboot();
    bring_all(&host).unwrap();
    let effects = host.effects();
    let again = |effect: &&String| {
        effect.contains("kubeadm init") || effect.contains("repart") || effect.contains("/ledger/")
    };
    assert_eq!(effects.iter().find(again), None, "{effects:?}");
}

#[test]
fn the_power_may_be_cut_after_every_effect() {
    let whole = machine();
    bring_all(&whole).unwrap();
    let wanted: Identity = ledger::decided(&whole).unwrap();
    for cut in 0..whole.effects().len() {
        let host = machine();
        host.cut_after(Some(cut));
        assert!(bring_all(&host).is_err(), "cut {cut} hit nothing");
        host.reboot();
        bring_all(&host).unwrap_or_else(|(phase, trouble)| panic!("cut {cut}: {phase}: {trouble}"));
        assert_eq!(
            ledger::decided::<Identity>(&host).unwrap(),
            wanted,
            "cut {cut}"
        );
    }
}

#[test]
fn a_foreign_data_partition_is_refused() {
    let host = machine();
    bring_all(&host).unwrap();
    host.put("/run/seedbed/data/incarnation", "another\n");
    let (phase, trouble) = bring_all(&host).unwrap_err();
    assert_eq!(phase, "disks");
    assert!(matches!(trouble, Trouble::Permanent(_)), "{trouble}");
}

#[test]
fn an_etcd_member_that_lost_its_data_is_never_founded_again() {
    let host = machine();
    bring_all(&host).unwrap();
    host.reboot();
    host.remove("/var/lib/etcd/member/snap").unwrap();
    let (phase, trouble) = bring_all(&host).unwrap_err();
    assert_eq!(phase, "etcd-member");
    assert!(matches!(trouble, Trouble::Permanent(_)), "{trouble}");
}

#[test]
fn the_node_object_overrules_the_range_that_the_founder_took() {
    let host = machine();
    host.put("/api/ranges", "[\"10.244.7.0/24\"]");
    bring_all(&host).unwrap();
    let config = host.text("/etc/cni/net.d/10-seedbed.conflist").unwrap();
    assert!(config.contains("10.244.7.0/24"), "{config}");
    host.effects();
    host.reboot();
    bring_all(&host).unwrap();
    let effects = host.effects();
    let patched = effects.iter().find(|effect| effect.contains("kubectl"));
    assert_eq!(patched, None);
}

#[test]
fn damaged_leftovers_are_made_again() {
    for path in [
        "/etc/kubernetes/pki/apiserver.key",
        "/etc/kubernetes/admin.conf",
        "/etc/kubernetes/manifests/kube-scheduler.yaml",
        "/etc/kubernetes/pki/etcd/server.crt",
    ] {
        let host = machine();
        bring_all(&host).unwrap();
        let whole = host.text(path).unwrap();
        host.put(path, "");
        bring_all(&host).unwrap();
        let again = host.text(path).unwrap();
        assert!(again.len().abs_diff(whole.len()) < 16, "{path}: {again}");
    }
}

#[test]
fn another_clusters_seed_is_refused_and_a_changed_one_not_applied() {
    let host = machine();
    bring_all(&host).unwrap();
    let say = |host: &Fake| {
        super::seed::contradiction(host)
            .unwrap()
            .unwrap_or_default()
    };
    assert_eq!(say(&host), "");
    host.put(contract::paths::EMBEDDED_SEED, format!("{SEED}# changed\n"));
    assert!(say(&host).contains("is not applied"));
    host.put(
        contract::paths::EMBEDDED_SEED,
        SEED.replace("plant", "other"),
    );
    assert!(say(&host).contains("another cluster, other"));
    bring_all(&host).unwrap();
    assert_eq!(ledger::decided::<Identity>(&host).unwrap().cluster, "plant");
}
