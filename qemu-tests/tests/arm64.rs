//! The image for arm64, on a machine that is emulated from its firmware on: power-on to a pod that runs.

use anyhow::ensure;
use qemu_tests::cluster::pod;
use qemu_tests::command::Tool;
use qemu_tests::environment::{self, Environment};
use qemu_tests::stand::Stand;
use std::time::Duration;

/// An image that is in the store and in no registry of the world.
const IMAGE: &str = "seedbed.internal/busybox:1";
const A_WHILE: Duration = Duration::from_secs(900);

/// The program in the image, which was built here and never run: it needs no library, and gets as far as its own name.
#[test]
fn firstboot_for_arm64_starts() -> anyhow::Result<()> {
    let test = "firstboot_for_arm64_starts";
    if Environment::for_test_on_arm64(test)?.is_none() {
        return Ok(());
    }
    let firstboot = environment::firstboot_arm64()?;
    let said = Tool::new("qemu-aarch64-static")
        .arg(&firstboot)
        .arg("--version")
        .run()?;
    ensure!(
        said.stdout.starts_with("firstboot "),
        "{} says {}",
        firstboot.display(),
        said.stdout
    );
    Ok(())
}

#[test]
fn arm64_boots_to_ready() -> anyhow::Result<()> {
    let test = "arm64_boots_to_ready";
    let Some(environment) = Environment::for_test_on_arm64(test)? else {
        return Ok(());
    };
    let mut stand = Stand::new(test, environment)?;
    let spec = stand.spec.clone();
    let mut machine = stand.boot(&spec, "first")?;
    let cluster = stand.cluster(&mut machine)?;
    let nodes = cluster.get(&["nodes"])?;
    let arch = &nodes["items"][0]["status"]["nodeInfo"]["architecture"];
    ensure!(arch == "arm64", "the node is {arch}");
    cluster.apply(&pod("from-store", IMAGE, &["sleep", "100000"]))?;
    machine.until("a pod from an image of the store to run", A_WHILE, || {
        Ok((cluster.pod_phase("from-store")? == "Running").then_some(()))
    })?;
    machine.cut()?;

    let mut machine = stand.boot(&spec, "second")?;
    let cluster = stand.cluster(&mut machine)?;
    machine.until("the pod to run again", A_WHILE, || {
        Ok((cluster.pod_phase("from-store")? == "Running").then_some(()))
    })?;
    stand.report.finish()
}
