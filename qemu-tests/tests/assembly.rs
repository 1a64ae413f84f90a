//! Machines with one seed become one cluster.

use anyhow::ensure;
use qemu_tests::cluster::config_map;
use qemu_tests::fleet::{Fleet, Plan};
use qemu_tests::report::say;
use std::time::Duration;

/// For machines that share this host's processors.
const READY: Duration = Duration::from_secs(2400);
const A_WHILE: Duration = Duration::from_secs(600);

#[test]
fn three_machines_become_one_cluster() -> anyhow::Result<()> {
    let plan = Plan {
        machines: 3,
        control_planes: 3,
        memory_mib: 3072,
    };
    let Some(mut fleet) = Fleet::for_test("three_machines", &plan)? else {
        return Ok(());
    };
    let mut machines = fleet.start("first")?;
    for machine in &mut machines {
        let ready = machine.wait_ready(READY);
        fleet
            .report
            .boot(&format!("first {}", machine.spec().name), machine);
        say(&format!(
            "{}: Ready at {:.1} s",
            machine.spec().name,
            ready?
        ));
    }
    let cluster = fleet.cluster(&machines[0])?;
    let nodes = machines[0].until("three Ready nodes", A_WHILE, || {
        let nodes = cluster.ready_nodes()?;
        Ok((nodes.len() == 3).then_some(nodes))
    })?;
    say(&format!("nodes: {}", nodes.join(", ")));
    cluster.apply(&config_map("kept", "written", "on one machine"))?;
    let other = fleet.cluster(&machines[2])?;
    let kept = other.get(&["configmap", "kept"])?;
    ensure!(
        kept["data"]["written"] == "on one machine",
        "the ConfigMap is {kept}"
    );
    fleet.report.finish()
}
