//! Machines come to a cluster that exists, and leave it: in the laboratory.

use anyhow::{Context, ensure};
use qemu_tests::fleet::Plan;
use qemu_tests::lab::Lab;
use qemu_tests::report::say;
use qemu_tests::seed;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// For machines that share this host's processors with whatever else it does.
const READY: Duration = Duration::from_secs(600);
const A_WHILE: Duration = Duration::from_secs(180);

/// What the phase of a machine says that keeps it from going on, and whether it says FAILED.
fn stuck(lab: &Lab, machine: usize, phase: &str) -> Option<(bool, String)> {
    let status = lab.machines[machine].status()?;
    let phases = status["phases"].as_array()?;
    let phase = phases.iter().find(|one| one["name"] == phase)?;
    let why = phase["why"].as_str()?.to_owned();
    Some((phase["state"] == "failed", why))
}

/// Bytes that a machine's own port has sent and received, as the switch counts them.
fn bytes(lab: &Lab, machine: usize) -> anyhow::Result<u64> {
    let port = format!("port{}", lab.machines[machine].number);
    let shown = lab
        .host_tool("ip")
        .args(["-json", "-stats", "link", "show", &port])
        .run()?;
    let links: Value = serde_json::from_str(&shown.stdout).context("reading a port's counters")?;
    let count = |way: &str| links[0]["stats64"][way]["bytes"].as_u64();
    Ok(count("rx").context("no counter")? + count("tx").context("no counter")?)
}

#[test]
fn machines_come_and_go() -> anyhow::Result<()> {
    let test = "machines_come_and_go";
    let plan = Plan {
        machines: 2,
        control_planes: 1,
        memory_mib: 0,
    };
    let Some(mut lab) = Lab::for_test(test, 3, seed::in_lab("changes", &plan)?)? else {
        return Ok(());
    };
    let seed = lab.seed();
    let seedbed = lab.environment.seedbed.clone();

    // Two machines are expected, and are there.
    for machine in [0, 1] {
        lab.power_on(machine)?;
    }
    lab.ready(&[0, 1], READY)?;
    let cluster = lab.cluster()?;
    lab.until("two Ready nodes", A_WHILE, |_| {
        Ok((cluster.ready_nodes()?.len() == 2).then_some(()))
    })?;
    let table = all_ready(&mut lab, "2 of 2 machines Ready")?;
    say(&table);
    for machine in [0, 1] {
        let name = lab.machines[machine]
            .host_name()
            .context("a machine has no name")?;
        ensure!(table.contains(&name), "the table lacks {name}");
    }

    // A third with the same seed is one too many: it says so, with the command to use, and is no member.
    lab.power_on(2)?;
    let why = lab.until("a refusal", A_WHILE, |lab| {
        Ok(stuck(lab, 2, "join")
            .filter(|(failed, _)| *failed)
            .map(|(_, why)| why))
    })?;
    ensure!(
        why.contains("too many") && why.contains("seedbed seed join"),
        "the machine says: {why}"
    );
    ensure!(
        lab.machines[2].kept("ledger/membership.json").is_none(),
        "it became a member"
    );
    ensure!(cluster.ready_nodes()?.len() == 2, "it became a node");
    lab.power_off(2)?;

    // With a join seed it becomes a worker, and what it takes from the others is little.
    let join = seed.with_file_name("join.yaml");
    let write = lab
        .host_tool(&seedbed)
        .args(["seed", "join", "--seed"])
        .arg(&seed);
    write.arg("--out").arg(&join).run()?;
    let text = fs::read_to_string(&join).context("reading the join seed")?;
    let before = (bytes(&lab, 0)?, Instant::now());
    lab.power_on_with(2, &text)?;
    lab.ready(&[2], READY)?;
    lab.figure(
        "a worker that joins: Ready, s",
        before.1.elapsed().as_secs_f64(),
    );
    let moved = bytes(&lab, 0)? - before.0;
    lab.figure(
        "meanwhile, through the control plane's port, MiB",
        moved as f64 / 1048576.0,
    );
    let cluster = lab.cluster()?;
    lab.until("three Ready nodes", A_WHILE, |_| {
        Ok((cluster.ready_nodes()?.len() == 3).then_some(()))
    })?;

    // It is taken out for good: its node goes, it says so, and it stays out when it is powered on again.
    let name = lab.machines[2]
        .host_name()
        .context("the machine has no name")?;
    remove(&lab, &seedbed, &seed, &["--dry-run", &name])?;
    ensure!(cluster.ready_nodes()?.len() == 3, "a dry run removed it");
    remove(&lab, &seedbed, &seed, &[&name])?;
    lab.until("two nodes", A_WHILE, |_| {
        let nodes = cluster.get(&["nodes"])?;
        Ok((nodes["items"].as_array().map(Vec::len) == Some(2)).then_some(()))
    })?;
    lab.power_off(2)?;
    lab.power_on_with(2, &text)?;
    let why = lab.until("a machine that says that it was removed", A_WHILE, |lab| {
        let phases = ["standing", "join"];
        let said = phases.iter().filter_map(|phase| stuck(lab, 2, phase));
        Ok(said
            .filter(|(failed, _)| *failed)
            .map(|(_, why)| why)
            .next())
    })?;
    ensure!(why.contains("removed"), "the machine says: {why}");
    let nodes = cluster.get(&["nodes"])?;
    let count = nodes["items"].as_array().map(Vec::len);
    ensure!(count == Some(2), "it came back: {count:?} nodes");
    all_ready(&mut lab, "2 of 2 machines Ready")?;

    // Of those that founded the cluster one may go, too, and is not missed then.
    let name = lab.machines[1]
        .host_name()
        .context("the machine has no name")?;
    remove(&lab, &seedbed, &seed, &[&name])?;
    all_ready(&mut lab, "1 of 1 machines Ready")?;
    lab.finish()
}

/// Waits until `seedbed status` ends well and says so; its table.
fn all_ready(lab: &mut Lab, summary: &str) -> anyhow::Result<String> {
    let (seed, seedbed) = (lab.seed(), lab.environment.seedbed.clone());
    lab.until(summary, A_WHILE, |lab| {
        let status = lab.host_tool(&seedbed).args(["status", "--seed"]);
        let shown = status.arg(&seed).finish()?;
        ensure!(
            shown.status.success() && shown.stdout.contains(summary),
            "seedbed status: {}{}",
            shown.stdout,
            shown.stderr
        );
        Ok(Some(shown.stdout))
    })
}

fn remove(lab: &Lab, seedbed: &Path, seed: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let tool = lab.host_tool(seedbed).args(["remove", "--seed"]).arg(seed);
    tool.args(arguments).run().map(drop)
}
