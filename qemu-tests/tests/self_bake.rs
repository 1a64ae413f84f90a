//! A cluster bakes the image of its own machines: the shipped Job, without a privilege, from a registry and a lock
//! alone, gives the bytes that the machine was started from.

use anyhow::{Context, ensure};
use contract::partition::Arch;
use qemu_tests::bake::Bakery;
use qemu_tests::cluster::{Cluster, pod};
use qemu_tests::command::Tool;
use qemu_tests::disk::Disk;
use qemu_tests::environment;
use qemu_tests::machine::Machine;
use qemu_tests::network::HOST;
use qemu_tests::registry::Registry;
use qemu_tests::report::say;
use qemu_tests::stand::{BOOT, Stand};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The demo, and the builder in its store.
const PROFILE: &str = "version: 1\nextends: [../demo, ../builder]\nname: site\narch: [amd64]\n";
/// The repository that holds what the lock names.
const REPOSITORY: &str = "plant/seedbed";
/// Of the build host, in the builder's image.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// GiB of the machine's disk.
const DISK: u32 = 24;
/// Where the claim of the Job leads on the machine: kubelet's folder is on DATA.
const KUBELET: &str = "/var/lib/kubelet";
/// How long the Job may take under emulation on a busy host.
const JOB: Duration = Duration::from_secs(5400);
/// The same for sending everything to the registry.
const FETCH: Duration = Duration::from_secs(900);
const A_WHILE: Duration = Duration::from_secs(300);

/// Copies the shipped profiles, with a new one and the programs that it makes an image of; locks it.
fn lock(stand: &Stand) -> anyhow::Result<Bakery> {
    let mut bakery = Bakery::read()?;
    let profiles = bakery.profile.parent();
    let profiles = profiles.context("profiles are in a folder")?;
    let overlays = profiles.with_file_name("overlays");
    let copy = Tool::new("cp").arg("-r").arg(profiles).arg(overlays);
    copy.arg(stand.path("")).run()?;
    bakery.profile = stand.path("profiles/site");
    fs::create_dir(&bakery.profile)?;
    fs::write(bakery.profile.join("profile.yaml"), PROFILE)?;
    let programs = stand.path("out/builder");
    fs::create_dir_all(programs.join(Arch::Amd64.as_str()))?;
    let place = |from: &Path, to: &str| {
        let copied = fs::copy(from, programs.join(to));
        copied.with_context(|| format!("copying {}", from.display()))
    };
    place(&bakery.seedbed, "amd64/seedbed")?;
    place(&bakery.firstboot, "amd64/firstboot")?;
    place(Path::new(AUTHORITIES), "ca-certificates.crt")?;
    bakery.lock()?;
    Ok(bakery)
}

/// Sends all that the lock names to the registry.
fn fill(bakery: &Bakery, registry: &Registry) -> anyhow::Result<()> {
    let place = format!("127.0.0.1:{}/{REPOSITORY}", registry.port());
    let fetch = Tool::new(&bakery.seedbed).limit(FETCH).arg("fetch");
    let fetch = fetch.arg(&bakery.profile).args(["--arch", "amd64"]);
    let fetch = fetch.arg("--store").arg(&bakery.store);
    fetch.args(["--remote-store", &place]).run().map(drop)
}

/// The digest that a line `DIGEST  PATH` gives the raw image.
fn raw_digest(lines: &str) -> anyhow::Result<String> {
    let digest = lines.lines().find_map(|line| {
        let (digest, path) = line.split_once("  ")?;
        path.ends_with(".raw").then(|| digest.to_owned())
    });
    digest.with_context(|| format!("no line is about a raw image:\n{lines}"))
}

/// The parameters, the volume that the claim is to get, and the Job, as docs/in-cluster.md has them.
fn start(cluster: &Cluster, bakery: &Bakery, place: &str, bundle: &Path) -> anyhow::Result<()> {
    let tool = Tool::new(&bakery.seedbed).arg("bundle");
    let tool = tool.arg(&bakery.profile).arg("--since");
    let tool = tool.arg(&bakery.profile).arg("--out").arg(bundle);
    tool.arg("--store").arg(&bakery.store).run()?;
    let file = format!("--from-file=profile.tar={}", bundle.display());
    let remote = format!("--from-literal=remote-store={place}");
    cluster.kubectl(&["create", "configmap", "seedbed-build", &file, &remote])?;
    cluster.apply(&volume())?;
    let profiles = bakery.profile.parent();
    let job: PathBuf = profiles
        .context("profiles are in a folder")?
        .join("builder/job.yaml");
    cluster.create(&job)
}

/// A folder of the machine, since nothing in the cluster makes volumes.
fn volume() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "seedbed-out" },
        "spec": {
            "capacity": { "storage": "8Gi" }, "accessModes": ["ReadWriteOnce"],
            "claimRef": { "namespace": "default", "name": "seedbed-out" },
            "hostPath": { "path": format!("{KUBELET}/seedbed-out"), "type": "Directory" },
        },
    })
}

/// Makes that folder, for anybody to write to: volumes of this kind know no `fsGroup`.
fn make_folder(cluster: &Cluster, machine: &mut Machine) -> anyhow::Result<()> {
    let path = "/kubelet/seedbed-out";
    let command = ["/usr/bin/busybox", "mkdir", "-m", "0777", path];
    let mut pod = pod("folder", "seedbed.internal/busybox:1", &command);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["volumes"] = json!([{ "name": "kubelet", "hostPath": { "path": KUBELET } }]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "kubelet", "mountPath": "/kubelet" }]);
    cluster.apply(&pod)?;
    machine.until("a folder for the image", A_WHILE, || {
        Ok((cluster.pod_phase("folder")? == "Succeeded").then_some(()))
    })
}

#[test]
fn self_bake() -> anyhow::Result<()> {
    if environment::long("self_bake")?.is_none() {
        return Ok(());
    }
    let Some(mut stand) = Stand::for_test("self_bake")? else {
        return Ok(());
    };
    let bakery = lock(&stand)?;
    let registry = Registry::start(&stand.path("registry"))?;
    fill(&bakery, &registry)?;
    let out = stand.path("baked");
    let image = bakery.bake(&out, &["--format", "raw"], ".raw")?;
    let expected = raw_digest(&fs::read_to_string(out.join("SHA256SUMS"))?)?;

    stand.spec.disks = vec![Disk::over(&image, &stand.path("site.qcow2"), DISK)?];
    stand.reach_host();
    let mut machine = Machine::start(&stand.spec, "baking")?;
    machine.wait_ready(BOOT)?;
    stand.report.boot("baking", &machine);
    let cluster = stand.cluster(&mut machine)?;
    make_folder(&cluster, &mut machine)?;
    let place = format!("http://{HOST}:{}/{REPOSITORY}", registry.port());
    let started = Instant::now();
    start(&cluster, &bakery, &place, &stand.path("profile.tar"))?;
    let (succeeded, log) = machine.until("the Job to end", JOB, || {
        let status = &cluster.get(&["job", "seedbed-build"])?["status"];
        let ended = |how: &str| status[how].as_u64().unwrap_or_default() > 0;
        if !ended("succeeded") && !ended("failed") {
            return Ok(None);
        }
        let log = cluster.kubectl(&["logs", "--selector=job-name=seedbed-build", "--tail=-1"])?;
        Ok(Some((ended("succeeded"), log)))
    })?;
    say(&format!(
        "self_bake: the Job took {:.0} s",
        started.elapsed().as_secs_f64()
    ));
    for line in log.lines() {
        say(&format!("self_bake: {line}"));
    }
    stand.report.finish()?;
    ensure!(succeeded, "the Job failed:\n{log}");
    let found = raw_digest(&log)?;
    ensure!(
        found == expected,
        "the Job's image has the digest {found}, and this host's {expected}"
    );
    Ok(())
}
