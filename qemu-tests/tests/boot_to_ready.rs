//! From power-on to a pod that runs, a power cut, and back.

use anyhow::ensure;
use qemu_tests::cluster::{Cluster, config_map, pod};
use qemu_tests::machine::Machine;
use qemu_tests::stand::Stand;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// An image that is in the store and in no registry of the world.
const IMAGE: &str = "seedbed.internal/busybox:1";
const A_WHILE: Duration = Duration::from_secs(300);

#[test]
fn boot_to_ready() -> anyhow::Result<()> {
    let Some(mut stand) = Stand::for_test("boot_to_ready")? else {
        return Ok(());
    };
    let spec = stand.spec.clone();

    let mut machine = stand.boot(&spec, "first")?;
    let first = machine.wait_ready(Duration::ZERO)?;
    let cluster = stand.cluster(&mut machine)?;
    cluster.apply(&config_map("kept", "written", "before the cut"))?;
    cluster.apply(&pod("from-store", IMAGE, &["sleep", "100000"]))?;
    machine.until("a pod from an image of the store to run", A_WHILE, || {
        Ok((cluster.pod_phase("from-store")? == "Running").then_some(()))
    })?;
    machine.cut()?;

    let mut machine = stand.boot(&spec, "second")?;
    let second = machine.wait_ready(Duration::ZERO)?;
    let cluster = stand.cluster(&mut machine)?;
    let kept = cluster.get(&["configmap", "kept"])?;
    ensure!(
        kept["data"]["written"] == "before the cut",
        "the ConfigMap is {kept}"
    );
    machine.until("the pod to run again", A_WHILE, || {
        Ok((cluster.pod_phase("from-store")? == "Running").then_some(()))
    })?;
    no_first_boot_unit_ran(&cluster, &mut machine)?;
    stand.report.finish()?;
    ensure!(
        second < first,
        "the second boot took {second:.1} s, the first {first:.1} s"
    );
    Ok(())
}

/// Asks the machine itself which units are for a first boot or after an update, and which units have run:
/// systemd keeps a link for each of these.
fn no_first_boot_unit_ran(cluster: &Cluster, machine: &mut Machine) -> anyhow::Result<()> {
    cluster.apply(&looking_pod())?;
    // On a slow host kubelet's own question, whether we may read logs, can time out.
    let log = machine.until("a pod that looks at the machine's units", A_WHILE, || {
        let looked = cluster.pod_phase("looking")? == "Succeeded";
        looked
            .then(|| cluster.kubectl(&["logs", "looking"]))
            .transpose()
    })?;
    let named = |prefix: &str| -> BTreeSet<&str> {
        log.lines()
            .filter_map(|line| line.trim().strip_prefix(prefix))
            .collect()
    };
    let (ran, first) = (named("ran "), named("first "));
    ensure!(
        ran.contains("kubelet.service"),
        "the machine's account of its units is not believable: {log}"
    );
    ensure!(
        !first.is_empty(),
        "the machine has no unit for a first boot: {log}"
    );
    let both: Vec<_> = ran.intersection(&first).collect();
    ensure!(
        both.is_empty(),
        "units for a first boot or after an update ran at the second boot: {both:?}"
    );
    Ok(())
}

fn looking_pod() -> Value {
    let script = "for unit in /units/invocation:*; do echo \"ran ${unit#*:}\"; done; \
                  for unit in $(grep -lE '^Condition(FirstBoot=yes|NeedsUpdate=)' /system/*.service); do \
                  echo \"first ${unit##*/}\"; done";
    let mut pod = pod("looking", IMAGE, &["sh", "-c", script]);
    let host = |path: &str| json!({ "path": path, "type": "Directory" });
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["volumes"] = json!([
        { "name": "units", "hostPath": host("/run/systemd/units") },
        { "name": "system", "hostPath": host("/usr/lib/systemd/system") },
    ]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        { "name": "units", "mountPath": "/units", "readOnly": true },
        { "name": "system", "mountPath": "/system", "readOnly": true },
    ]);
    pod
}
