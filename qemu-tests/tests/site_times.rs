//! How long machines take to become Ready: in the laboratory, as a measurement and no test.

use anyhow::Context;
use qemu_tests::fleet::Plan;
use qemu_tests::lab::{Lab, Machine};
use qemu_tests::report::say;
use qemu_tests::seed;
use std::fs;
use std::time::{Duration, Instant};

/// For machines that share this host's processors with whatever else it does.
const READY: Duration = Duration::from_secs(600);
const ROUNDS: usize = 3;

/// One machine, three control planes, and a worker that joins them, three times each: medians and spread of the time
/// from power-on to Ready, and when each phase was done in the last round.
#[test]
#[ignore = "a measurement of some minutes: make bench-site"]
fn power_on_to_ready() -> anyhow::Result<()> {
    let (mut one, mut three, mut join) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let alone = Plan {
            machines: 1,
            control_planes: 1,
            memory_mib: 0,
        };
        let Some(mut lab) = Lab::for_test("power_on_to_ready", 1, seed::in_lab("one", &alone)?)?
        else {
            return Ok(());
        };
        one.push(ready(&mut lab, &[0])?);
        tell(round, "one machine", &lab.machines[0]);
        drop(lab);

        let site = Plan {
            machines: 3,
            control_planes: 3,
            memory_mib: 0,
        };
        let Some(mut lab) = Lab::for_test("power_on_to_ready", 4, seed::in_lab("site", &site)?)?
        else {
            return Ok(());
        };
        three.push(ready(&mut lab, &[0, 1, 2])?);
        for machine in 0..3 {
            tell(
                round,
                &format!("machine {} of three", machine + 1),
                &lab.machines[machine],
            );
        }
        let text = join_seed(&lab)?;
        let since = Instant::now();
        lab.power_on_with(3, &text)?;
        lab.ready(&[3], READY)?;
        join.push(since.elapsed().as_secs_f64());
        tell(round, "a worker that joins", &lab.machines[3]);
    }
    say(&row("one machine", &mut one));
    say(&row("three control planes, all", &mut three));
    say(&row("a worker that joins", &mut join));
    Ok(())
}

/// The seed by which a machine joins the cluster.
fn join_seed(lab: &Lab) -> anyhow::Result<String> {
    let path = lab.seed().with_file_name("join.yaml");
    let write = lab.host_tool(&lab.environment.seedbed);
    let write = write.args(["seed", "join", "--seed"]).arg(lab.seed());
    write.arg("--out").arg(&path).run()?;
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// Powers machines on and waits until they are Ready; the seconds that it took.
fn ready(lab: &mut Lab, machines: &[usize]) -> anyhow::Result<f64> {
    let since = Instant::now();
    for machine in machines {
        lab.power_on(*machine)?;
    }
    lab.ready(machines, READY)?;
    Ok(since.elapsed().as_secs_f64())
}

/// When each phase was done, in order, in the last round.
fn tell(round: usize, name: &str, machine: &Machine) {
    if round + 1 < ROUNDS {
        return;
    }
    let status = machine.status().unwrap_or_default();
    let mut phases: Vec<(f64, &str)> = status["phases"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|phase| Some((phase["finished"].as_f64()?, phase["name"].as_str()?)))
        .collect();
    phases.sort_by(|one, other| one.0.total_cmp(&other.0));
    let phases: Vec<String> = phases
        .iter()
        .map(|(at, phase)| format!("{phase} {at:.1}"))
        .collect();
    say(&format!("{name}: {}", phases.join(", ")));
}

fn row(name: &str, seconds: &mut [f64]) -> String {
    seconds.sort_by(f64::total_cmp);
    let (least, most) = (seconds[0], seconds[seconds.len() - 1]);
    format!(
        "{name}: {:.1} s ({least:.1} to {most:.1})",
        seconds[seconds.len() / 2]
    )
}
