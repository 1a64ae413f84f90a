//! Machines with one seed become one cluster, on a segment without any server.

use anyhow::{Context, ensure};
use qemu_tests::cluster::{Cluster, config_map, pod};
use qemu_tests::environment;
use qemu_tests::fleet::{Fleet, Plan};
use qemu_tests::machine::Machine;
use qemu_tests::report::say;
use serde_json::{Value, json};
use std::time::Duration;

/// An image that is in the store and in no registry of the world.
const IMAGE: &str = "seedbed.internal/busybox:1";
/// For machines that share this host's processors.
const READY: Duration = Duration::from_secs(3600);
const A_WHILE: Duration = Duration::from_secs(900);

/// Boots all machines of a plan until every one is Ready, and the cluster has that many Ready nodes.
fn become_one(test: &str, plan: &Plan) -> anyhow::Result<Option<(Fleet, Vec<Machine>)>> {
    if environment::long(test)?.is_none() {
        return Ok(None);
    }
    let Some(mut fleet) = Fleet::for_test(test, plan)? else {
        return Ok(None);
    };
    let mut machines = fleet.start("first")?;
    for machine in &mut machines {
        let ready = machine.wait_ready(READY);
        let name = machine.spec().name.clone();
        fleet.report.boot(&format!("first {name}"), machine);
        say(&format!("{name}: Ready at {:.1} s", ready?));
    }
    Ok(Some((fleet, machines)))
}

/// The cluster, through any machine that gives a kubeconfig, once it has so many Ready nodes.
fn cluster(fleet: &Fleet, machines: &mut [Machine], nodes: usize) -> anyhow::Result<Cluster> {
    let found = machines
        .iter()
        .find_map(|machine| fleet.cluster(machine).ok());
    let cluster = found.context("no machine gives a kubeconfig")?;
    machines[0].until("the nodes to be Ready", A_WHILE, || {
        let ready = cluster.ready_nodes()?;
        Ok((ready.len() == nodes).then_some(()))
    })?;
    Ok(cluster)
}

/// A pod on each of these nodes; their addresses, once all run.
fn spread(
    cluster: &Cluster,
    machine: &mut Machine,
    nodes: &[String],
) -> anyhow::Result<Vec<String>> {
    let serve = [
        "sh",
        "-c",
        "while true; do echo hello | nc -l -p 8080; done",
    ];
    for (number, node) in nodes.iter().enumerate() {
        let mut pod = pod(&format!("on-{number}"), IMAGE, &serve);
        pod["spec"]["nodeName"] = json!(node);
        cluster.apply(&pod)?;
    }
    let mut addresses = Vec::new();
    for number in 0..nodes.len() {
        let name = format!("on-{number}");
        let address = machine.until("pods on every node to run", A_WHILE, || {
            let pod: Value = cluster.get(&["pod", &name])?;
            let running = pod["status"]["phase"] == "Running";
            let address = pod["status"]["podIP"].as_str().filter(|_| running);
            Ok(address.map(str::to_owned))
        })?;
        addresses.push(address);
    }
    Ok(addresses)
}

#[test]
fn three_machines_become_one_cluster() -> anyhow::Result<()> {
    let plan = Plan {
        machines: 3,
        control_planes: 3,
        memory_mib: 3072,
    };
    let Some((fleet, mut machines)) = become_one("three_machines", &plan)? else {
        return Ok(());
    };
    let first = cluster(&fleet, &mut machines, 3)?;
    first.apply(&config_map("kept", "written", "through one machine"))?;
    for machine in &machines {
        let kept = fleet.cluster(machine)?.get(&["configmap", "kept"])?;
        ensure!(
            kept["data"]["written"] == "through one machine",
            "{} has the ConfigMap as {kept}",
            machine.spec().name
        );
    }
    fleet.report.finish()
}

#[test]
fn pods_of_different_machines_reach_each_other() -> anyhow::Result<()> {
    let plan = Plan {
        machines: 2,
        control_planes: 1,
        memory_mib: 3072,
    };
    let Some((fleet, mut machines)) = become_one("two_machines", &plan)? else {
        return Ok(());
    };
    let cluster = cluster(&fleet, &mut machines, 2)?;
    let nodes = cluster.ready_nodes()?;
    let addresses = spread(&cluster, &mut machines[0], &nodes)?;
    for from in 0..nodes.len() {
        let to = &addresses[(from + 1) % nodes.len()];
        let name = format!("on-{from}");
        let ask = format!("nc {to} 8080 < /dev/null");
        let said = machines[0].until("one pod to reach another", A_WHILE, || {
            let said = cluster.kubectl(&["exec", &name, "--", "sh", "-c", &ask])?;
            Ok(said.contains("hello").then_some(said))
        })?;
        say(&format!("{name} reaches {to}: {}", said.trim()));
    }
    fleet.report.finish()
}
