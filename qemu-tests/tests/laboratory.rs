//! Sites of several machines, and what happens to them: in the laboratory, where machines are namespaces of this host.

use anyhow::{Context, ensure};
use qemu_tests::cluster::{Cluster, config_map, pod};
use qemu_tests::environment;
use qemu_tests::fleet::Plan;
use qemu_tests::lab::Lab;
use qemu_tests::report::say;
use qemu_tests::seed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// An image that is in the store and in no registry of the world.
const IMAGE: &str = "seedbed.internal/busybox:1";
/// For machines that share this host's processors with whatever else it does.
const READY: Duration = Duration::from_secs(600);
const A_WHILE: Duration = Duration::from_secs(180);
/// As long as nothing may be written while there is no quorum, a site is watched.
const WATCHED: Duration = Duration::from_secs(15);
/// The ConfigMap that the writer appends to.
const KEPT: &str = "kept";

/// A site of five machines, three of them control planes, that are Ready.
struct Site {
    lab: Lab,
    cluster: Cluster,
    control_planes: Vec<usize>,
    workers: Vec<usize>,
    /// What tells the cluster from another.
    born: Value,
}

impl Site {
    fn new(test: &str) -> anyhow::Result<Option<Self>> {
        let plan = Plan {
            machines: 5,
            control_planes: 3,
            memory_mib: 0,
        };
        let seed = seed::in_lab(&test.replace('_', "-"), &plan)?;
        let Some(mut lab) = Lab::for_test(test, plan.machines, seed)? else {
            return Ok(None);
        };
        let since = Instant::now();
        let all: Vec<usize> = (0..lab.machines.len()).collect();
        for machine in &all {
            lab.power_on(*machine)?;
        }
        lab.ready(&all, READY)?;
        lab.figure("five machines Ready, s", since.elapsed().as_secs_f64());
        let cluster = lab.cluster()?;
        let nodes = cluster.get(&["nodes"])?;
        let (control_planes, workers) = all
            .into_iter()
            .partition(|machine| is_control_plane(&lab, &nodes, *machine));
        let born = identity(&cluster)?;
        Ok(Some(Site {
            lab,
            cluster,
            born,
            control_planes,
            workers,
        }))
    }

    /// The cluster through a worker's own load balancer, which no control plane's end takes away.
    fn through_worker(&self) -> anyhow::Result<Cluster> {
        self.lab.through(&self.cluster, self.workers[0])
    }

    /// Waits until so many nodes are Ready.
    fn nodes(&mut self, count: usize) -> anyhow::Result<Vec<String>> {
        let cluster = self.through_worker()?;
        self.lab.until("the nodes Ready", A_WHILE, |_| {
            let ready = cluster.ready_nodes()?;
            Ok((ready.len() == count).then_some(ready))
        })
    }

    /// etcd's members by name, all of which vote.
    fn members(&self) -> anyhow::Result<BTreeSet<String>> {
        let pki = "/etc/kubernetes/pki/etcd";
        let tool = self.lab.machines[self.control_planes[0]].tool("etcdctl")?;
        let listed = tool
            .args(["--endpoints", "https://127.0.0.1:2379", "-w", "json"])
            .arg(format!("--cacert={pki}/ca.crt"))
            .arg(format!("--cert={pki}/healthcheck-client.crt"))
            .arg(format!("--key={pki}/healthcheck-client.key"))
            .args(["member", "list"])
            .run()?;
        let listed: Value =
            serde_json::from_str(&listed.stdout).context("reading etcd's members")?;
        let members = listed["members"]
            .as_array()
            .context("etcd lists no members")?;
        let voters = members.iter().filter(|one| one["isLearner"] != true);
        let names = voters.filter_map(|one| one["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }
}

fn is_control_plane(lab: &Lab, nodes: &Value, machine: usize) -> bool {
    let name = lab.machines[machine].host_name();
    let mut nodes = nodes["items"].as_array().into_iter().flatten();
    let node = nodes.find(|node| node["metadata"]["name"].as_str() == name.as_deref());
    node.is_some_and(|node| {
        !node["metadata"]["labels"]["node-role.kubernetes.io/master"].is_null()
            || !node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"].is_null()
    })
}

/// Appends numbers to a ConfigMap, one after another, and knows which were acknowledged, and when.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(u32, Instant)>>,
}

impl Writer {
    /// Begins after `last`.
    fn start(cluster: Cluster, last: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            for number in last + 1.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let patch = json!({ "data": { number.to_string(): "" } }).to_string();
                let patch = ["patch", "configmap", KEPT, "--patch", &patch];
                if cluster
                    .kubectl_within(Duration::from_secs(3), &patch)
                    .is_ok()
                {
                    acknowledged.push((number, Instant::now()));
                }
            }
            acknowledged
        });
        Writer { stop, thread }
    }

    /// What was acknowledged.
    fn finish(self) -> anyhow::Result<Vec<(u32, Instant)>> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow::anyhow!("the writer panicked"))
    }
}

/// The longest time between two acknowledged writes, from `since` on.
fn longest_pause(acknowledged: &[(u32, Instant)], since: Instant) -> Duration {
    let times = acknowledged
        .iter()
        .map(|(_, at)| *at)
        .filter(|at| *at >= since);
    let times: Vec<Instant> = [since].into_iter().chain(times).collect();
    let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
    pauses.max().unwrap_or_default()
}

/// Writes while `happens`, and gives what was acknowledged and the longest pause from when it began.
fn write_while<T>(
    site: &mut Site,
    kept: &mut BTreeSet<u32>,
    happens: impl FnOnce(&mut Site) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Duration)> {
    let last = kept.last().copied().unwrap_or_default();
    let writer = Writer::start(site.through_worker()?, last);
    // The first write shows that there is something to interrupt.
    thread::sleep(Duration::from_secs(2));
    let since = Instant::now();
    let happened = happens(site);
    let acknowledged = writer.finish()?;
    let happened = happened?;
    ensure!(
        acknowledged.iter().any(|(_, at)| *at < since),
        "nothing could be written even before"
    );
    kept.extend(acknowledged.iter().map(|(number, _)| number));
    Ok((happened, longest_pause(&acknowledged, since)))
}

/// Everything that was acknowledged is there.
fn nothing_is_lost(site: &Site, kept: &BTreeSet<u32>) -> anyhow::Result<()> {
    let map = site.through_worker()?.get(&["configmap", KEPT])?;
    let lost: Vec<&u32> = kept
        .iter()
        .filter(|number| map["data"][number.to_string()].is_null())
        .collect();
    ensure!(
        lost.is_empty(),
        "of {} writes these are lost: {lost:?}",
        kept.len()
    );
    Ok(())
}

/// What CI has time for.
#[test]
fn a_site_loses_nothing_when_one_ends_and_when_all_do() -> anyhow::Result<()> {
    let test = "a_site_loses_nothing_when_one_ends_and_when_all_do";
    let Some(mut site) = Site::new(test)? else {
        return Ok(());
    };
    let drawn = environment::draw(test)?;
    let mut kept = begin(&mut site)?;
    one_ends(&mut site, &mut kept, usize::try_from(drawn % 3)?)?;
    all_end(&mut site, &kept, drawn)?;
    end(site, &kept)
}

/// All of it.
#[test]
fn a_site_lives_through_what_happens_to_it() -> anyhow::Result<()> {
    let test = "a_site_lives_through_what_happens_to_it";
    if environment::long(test)?.is_none() {
        return Ok(());
    }
    let Some(mut site) = Site::new(test)? else {
        return Ok(());
    };
    let drawn = environment::draw(test)?;
    let mut kept = begin(&mut site)?;
    for place in 0..3 {
        one_ends(&mut site, &mut kept, place)?;
    }
    two_end(&mut site, &mut kept)?;
    the_network_splits(&mut site, &mut kept)?;
    all_end(&mut site, &kept, drawn)?;
    one_loses_its_disk(&mut site, &mut kept)?;
    end(site, &kept)
}

/// Pods reach each other, and there is something to append to.
fn begin(site: &mut Site) -> anyhow::Result<BTreeSet<u32>> {
    ensure!(
        site.control_planes.len() == 3,
        "control planes: {:?}",
        site.control_planes
    );
    let names = site.nodes(5)?;
    everything_reaches_everything(site, &names)?;
    site.cluster.apply(&config_map(KEPT, "0", ""))?;
    Ok(BTreeSet::new())
}

/// A control plane ends: writing goes on.
fn one_ends(site: &mut Site, kept: &mut BTreeSet<u32>, place: usize) -> anyhow::Result<()> {
    let machine = site.control_planes[place];
    let (_, pause) = write_while(site, kept, |site| {
        site.lab.power_off(machine)?;
        thread::sleep(WATCHED);
        Ok(())
    })?;
    let name = format!(
        "control plane {} of 3 ends: longest pause of writing, s",
        place + 1
    );
    site.lab.figure(&name, pause.as_secs_f64());
    ensure!(
        pause < WATCHED,
        "nothing was written after one control plane ended"
    );
    back(site, &[machine])?;
    nothing_is_lost(site, kept)
}

/// Two end: nothing is acknowledged until one is back.
fn two_end(site: &mut Site, kept: &mut BTreeSet<u32>) -> anyhow::Result<()> {
    let (one, other) = (site.control_planes[0], site.control_planes[1]);
    let (_, pause) = write_while(site, kept, |site| {
        site.lab.power_off(one)?;
        site.lab.power_off(other)?;
        thread::sleep(WATCHED);
        site.lab.power_on(other)?;
        site.lab.ready(&[other], READY)?;
        thread::sleep(WATCHED);
        Ok(())
    })?;
    ensure!(
        pause >= WATCHED,
        "something was written without a quorum: {pause:?}"
    );
    site.lab.figure(
        "two control planes end, one comes back after 15 s: longest pause of writing, s",
        pause.as_secs_f64(),
    );
    nothing_is_lost(site, kept)?;
    back(site, &[one])
}

/// The network falls into two halves: the one with the quorum goes on, the other does nothing.
fn the_network_splits(site: &mut Site, kept: &mut BTreeSet<u32>) -> anyhow::Result<()> {
    let minority = [site.control_planes[2], site.workers[1]];
    let (_, pause) = write_while(site, kept, |site| {
        site.lab.split(&minority)?;
        thread::sleep(2 * WATCHED);
        let alone = site.lab.through(&site.cluster, minority[1])?;
        let patch = r#"{"data":{"split":""}}"#;
        let patch = ["patch", "configmap", KEPT, "--patch", patch];
        let wrote = alone.kubectl_within(Duration::from_secs(3), &patch);
        ensure!(wrote.is_err(), "the half without a quorum takes writes");
        site.lab.heal(&minority)
    })?;
    site.lab.figure(
        "the network is split: longest pause of writing, s",
        pause.as_secs_f64(),
    );
    ensure!(pause < WATCHED, "the half with the quorum stopped");
    site.nodes(5)?;
    nothing_is_lost(site, kept)
}

/// All power is cut at once, and comes back in an order that `drawn` decides.
fn all_end(site: &mut Site, kept: &BTreeSet<u32>, drawn: u64) -> anyhow::Result<()> {
    let mut order: Vec<usize> = (0..site.lab.machines.len()).collect();
    for machine in &order {
        site.lab.power_off(*machine)?;
    }
    shuffle(&mut order, drawn);
    say(&format!("power comes back in the order {order:?}"));
    let since = Instant::now();
    for machine in &order {
        site.lab.power_on(*machine)?;
    }
    site.lab.ready(&order, READY)?;
    site.lab.figure(
        "all five off, and Ready again, s",
        since.elapsed().as_secs_f64(),
    );
    site.nodes(5)?;
    nothing_is_lost(site, kept)
}

/// A control plane loses its disk: it comes back to its own place, and no other changes.
fn one_loses_its_disk(site: &mut Site, kept: &mut BTreeSet<u32>) -> anyhow::Result<()> {
    let members = site.members()?;
    let lost = site.control_planes[1];
    let (back_after, pause) = write_while(site, kept, |site| {
        site.lab.power_off(lost)?;
        site.lab.wipe(lost)?;
        let since = Instant::now();
        site.lab.power_on(lost)?;
        site.lab.ready(&[lost], READY)?;
        Ok(since.elapsed())
    })?;
    site.lab.figure(
        "a control plane without its disk: Ready, s",
        back_after.as_secs_f64(),
    );
    site.lab.figure(
        "meanwhile: longest pause of writing, s",
        pause.as_secs_f64(),
    );
    site.nodes(5)?;
    let now = site.members()?;
    ensure!(
        members == now && now.len() == 3,
        "etcd's members were {members:?}, are {now:?}"
    );
    nothing_is_lost(site, kept)
}

/// It is the cluster that was born.
fn end(mut site: Site, kept: &BTreeSet<u32>) -> anyhow::Result<()> {
    let now = identity(&site.cluster)?;
    ensure!(now == site.born, "another cluster was born: {now}");
    let written = u32::try_from(kept.len())?;
    site.lab
        .figure("writes acknowledged, none lost", f64::from(written));
    site.lab.finish()
}

/// What no other cluster has.
fn identity(cluster: &Cluster) -> anyhow::Result<Value> {
    Ok(cluster.get(&["namespace", "kube-system"])?["metadata"]["uid"].clone())
}

/// Powers machines on and waits until they are Ready.
fn back(site: &mut Site, machines: &[usize]) -> anyhow::Result<()> {
    for machine in machines {
        site.lab.power_on(*machine)?;
    }
    site.lab.ready(machines, READY)?;
    site.nodes(5).map(drop)
}

/// A pod on each node reaches the pod of each by its address, and all of them by their service's.
fn everything_reaches_everything(site: &mut Site, nodes: &[String]) -> anyhow::Result<()> {
    let cluster = site.cluster.clone();
    let serve = [
        "sh",
        "-c",
        "while true; do echo hello | nc -l -p 8080; done",
    ];
    for (number, node) in nodes.iter().enumerate() {
        let mut pod = pod(&format!("on-{number}"), IMAGE, &serve);
        pod["spec"]["nodeName"] = json!(node);
        pod["metadata"]["labels"] = json!({ "app": "hello" });
        site.cluster.apply(&pod)?;
    }
    site.cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "hello" },
        "spec": { "selector": { "app": "hello" }, "ports": [{ "port": 8080 }] },
    }))?;
    let mut addresses = site.lab.until("pods on every node", A_WHILE, |_| {
        let pods = cluster.get(&["pods", "--selector", "app=hello"])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let running = pods
            .iter()
            .filter(|pod| pod["status"]["phase"] == "Running");
        let addresses = running.filter_map(|pod| pod["status"]["podIP"].as_str());
        let addresses: Vec<String> = addresses.map(str::to_owned).collect();
        Ok((addresses.len() == nodes.len()).then_some(addresses))
    })?;
    let service = site.cluster.get(&["service", "hello"])?;
    let address = service["spec"]["clusterIP"].as_str();
    addresses.push(address.context("the service has no address")?.to_owned());
    let ask: Vec<String> = addresses
        .iter()
        .map(|address| format!("nc {address} 8080 < /dev/null"))
        .collect();
    let ask = ask.join(" && ");
    for number in 0..nodes.len() {
        let name = format!("on-{number}");
        site.lab.until("pods that reach each other", A_WHILE, |_| {
            let said = site
                .cluster
                .kubectl(&["exec", &name, "--", "sh", "-c", &ask])?;
            Ok((said.matches("hello").count() == addresses.len()).then_some(()))
        })?;
    }
    Ok(())
}

/// Puts them into an order that `number` decides (Fisher and Yates, with a congruential generator).
fn shuffle(order: &mut [usize], mut number: u64) {
    for last in (1..order.len()).rev() {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let chosen = usize::try_from(number >> 33).unwrap_or_default() % (last + 1);
        order.swap(last, chosen);
    }
}
