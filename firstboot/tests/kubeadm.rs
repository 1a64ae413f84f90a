//! What the real kubeadm makes of our configuration: the static pods of the control plane. Needs root, since kubeadm
//! changes its root folder, and Kubernetes' programs below `SEEDBED_KUBE`.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use contract::manifest::Manifest;
use contract::partition::Arch;
use firstboot::assembly::{Entry, Seat};
use firstboot::birth::Birth;
use firstboot::facts::Facts;
use firstboot::kubeadm::config;
use firstboot::ledger::{Address, Identity};
use firstboot::render::{audit, encryption};

const SEED: &str = "version: 1
cluster: {name: plant, secret: abcdefghijklmnopqrstuvwxyz234567}
kubernetes:
  apiServer: {extraArgs: {audit-log-maxage: '7'}}
  scheduler: {extraArgs: {v: '3'}}
  leases: {duration: 60, renewDeadline: 40, retryPeriod: 8}
";

/// kubeadm, or why it cannot be asked.
fn kubeadm() -> Result<PathBuf, String> {
    if !rustix::process::geteuid().is_root() {
        return Err(String::from("changing the root folder needs root"));
    }
    let Some(folder) = std::env::var_os("SEEDBED_KUBE") else {
        return Err(String::from(
            "SEEDBED_KUBE names no folder with Kubernetes' programs",
        ));
    };
    let program = PathBuf::from(folder).join("release/v1.20.2/bin/linux/amd64/kubeadm");
    match program.exists() {
        true => Ok(program),
        false => Err(format!("{} is missing (`make kube`)", program.display())),
    }
}

fn facts() -> Facts {
    let identity = Identity {
        version: 1,
        machine: "ab".repeat(32),
        machine_id: "cd".repeat(16),
        incarnation: "07".repeat(16),
        host_name: String::from("plant-abababab"),
        cluster: String::from("plant"),
    };
    let me = Seat {
        machine: identity.machine_id().unwrap(),
        key: [5; 32],
    };
    let named = Entry::Named {
        epoch: 1,
        cluster: [3; 16],
        seats: vec![me],
        initialiser: me.machine,
    };
    Facts {
        manifest: Manifest {
            version: 1,
            profile: String::from("test"),
            arch: Arch::Amd64,
            epoch: 1_700_000_000,
            lock: "0".repeat(64),
            kubernetes: String::from("v1.20.2"),
            pause: String::from("registry.k8s.io/pause:3.2"),
            image_repository: String::from("registry.k8s.io"),
            images: [].into(),
            partitions: Vec::new(),
            programs: [].into(),
        },
        seed: contract::seed::parse("seed.yaml", SEED).unwrap(),
        identity,
        address: Address {
            version: 1,
            address: "10.0.2.15".parse().unwrap(),
            prefix: 24,
            mac: String::from("52:54:00:12:34:56"),
        },
        birth: Birth::new(&named, me),
    }
}

#[test]
fn static_pods_have_what_the_seed_and_we_say() {
    let program = match kubeadm() {
        Ok(program) => program,
        Err(why) => {
            let required = std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() == Ok("1");
            assert!(!required, "{why}");
            return println!("SKIP: {why}");
        }
    };
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc/kubernetes/pki")).unwrap();
    let text = config::render(&facts()).unwrap();
    fs::write(root.path().join("kubeadm.yaml"), text).unwrap();
    let output = Command::new(program)
        .args(["init", "phase", "control-plane", "all"])
        .args(["--config", "/kubeadm.yaml", "--rootfs"])
        .arg(root.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let manifest = |name: &str| {
        let path = format!("etc/kubernetes/manifests/kube-{name}.yaml");
        fs::read_to_string(root.path().join(path)).unwrap()
    };
    let has = |name: &str, argument: &str| {
        let manifest = manifest(name);
        let mut lines = manifest.lines().map(str::trim);
        assert!(
            lines.any(|line| line == format!("- {argument}")),
            "{argument}: {manifest}"
        );
    };
    for argument in [
        &format!("--encryption-provider-config={}", encryption::CONFIG),
        &format!("--audit-policy-file={}", audit::POLICY),
        &format!("--audit-log-path={}", audit::LOG),
        "--audit-log-maxage=7",
        "--audit-log-maxsize=64",
        "--enable-admission-plugins=NodeRestriction,AlwaysPullImages",
    ] {
        has("apiserver", argument);
    }
    for name in ["controller-manager", "scheduler"] {
        has(name, "--leader-elect-lease-duration=60s");
        has(name, "--leader-elect-renew-deadline=40s");
        has(name, "--leader-elect-retry-period=8s");
    }
    has("scheduler", "--v=3");
    // The API server can write to the log's folder alone.
    let server = manifest("apiserver");
    let mounted = |folder: &str, name: &str| {
        let mount = format!("- mountPath: {folder}\n      name: {name}\n");
        let (_, after) = server.split_once(&mount).unwrap();
        after.trim_start().starts_with("readOnly: true")
    };
    assert!(mounted(encryption::FOLDER, "encryption"));
    assert!(mounted(audit::FOLDER, "audit-policy"));
    assert!(!mounted(audit::LOG_FOLDER, "audit-log"));
}
