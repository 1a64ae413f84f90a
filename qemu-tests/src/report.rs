//! What a test measured, as JSON, and where its logs are.

use crate::events::Observed;
use crate::machine::Machine;
use anyhow::Context;
use contract::journal::Step;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The figures of one test.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The test's name.
    pub test: String,
    /// How the machines' instructions were carried out.
    pub accelerator: Option<String>,
    /// Processes that wanted to run on this host, averaged over a minute: before and after.
    pub load: Vec<f64>,
    /// Processors of this host.
    pub processors: usize,
    /// Each boot, in order.
    pub boots: Vec<Boot>,
    #[serde(skip)]
    folder: PathBuf,
}

/// The figures of one boot. All are seconds after power-on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Boot {
    /// What it was for.
    pub name: String,
    /// By this host's clock, when the figures were taken.
    pub seconds: f64,
    /// When `firstboot` began.
    pub begin: Option<f64>,
    /// When every phase was done.
    pub ready: Option<f64>,
    /// Each phase: when it was first applied, if it was, and when it was done.
    pub phases: BTreeMap<String, PhaseTimes>,
}

/// Seconds after power-on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PhaseTimes {
    /// When it was first applied.
    pub applied: Option<f64>,
    /// When it was done.
    pub done: Option<f64>,
}

impl Report {
    /// A report for `test`, and an empty folder for its logs: `qemu-results/TEST` below the build's target
    /// folder, or below `SEEDBED_RESULTS`.
    pub fn new(test: &str) -> anyhow::Result<Self> {
        let folder = results()?.join(test);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("emptying {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Report {
            test: test.to_owned(),
            accelerator: None,
            load: load().into_iter().collect(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            boots: Vec::new(),
            folder,
        })
    }

    /// Where logs go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes down the figures of a boot.
    pub fn boot(&mut self, name: &str, machine: &Machine) {
        self.accelerator = Some(machine.accelerator().to_string());
        self.boots.push(Boot::new(
            name,
            machine.uptime().as_secs_f64(),
            machine.seen(),
        ));
    }

    /// Writes `qemu-results/TEST.json` and prints one line for each boot.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.load.extend(load());
        let path = self.folder.with_extension("json");
        let text = serde_json::to_string_pretty(&self).context("writing down the figures")? + "\n";
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        for boot in &self.boots {
            let ready = boot.ready.map_or_else(
                || String::from("not Ready"),
                |at| format!("Ready at {at:.1} s"),
            );
            say(&format!("{}: {}: {ready}", self.test, boot.name));
        }
        say(&format!("{}: figures are in {}", self.test, path.display()));
        Ok(())
    }
}

impl Boot {
    fn new(name: &str, seconds: f64, seen: &Observed) -> Self {
        let mut phases: BTreeMap<String, PhaseTimes> = BTreeMap::new();
        for line in &seen.transitions {
            match line.event {
                Step::Apply => {
                    phases
                        .entry(line.phase.clone())
                        .or_default()
                        .applied
                        .get_or_insert(line.at);
                }
                Step::Done => phases.entry(line.phase.clone()).or_default().done = Some(line.at),
                _ => {}
            }
        }
        let begin = seen
            .transitions
            .iter()
            .find(|line| line.event == Step::Begin);
        Boot {
            name: name.to_owned(),
            seconds,
            begin: begin.map(|line| line.at),
            ready: seen.ready(),
            phases,
        }
    }
}

/// Prints a line that people have to see: the test runner keeps what `println!` prints of a test that passes.
pub fn say(line: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The host's load average over a minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg")
        .ok()?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

/// The folder of all reports and logs.
pub fn results() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("SEEDBED_RESULTS") {
        return Ok(folder.into());
    }
    let program = std::env::current_exe().context("finding this program's own path")?;
    // target/debug/deps/TEST or target/debug/PROGRAM
    let target = program
        .ancestors()
        .find(|path| path.ends_with("debug") || path.ends_with("release"));
    let target = target
        .and_then(Path::parent)
        .context("this program is not in a build's target folder; set SEEDBED_RESULTS")?;
    Ok(target.join("qemu-results"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Event;

    #[test]
    fn the_first_apply_and_the_last_done_count() {
        let mut seen = Observed::default();
        for (at, event) in [(1, "apply"), (2, "retry"), (3, "apply"), (4, "done")] {
            seen.add(Event::Status(format!(
                r#"{{"at":{at},"time":9,"phase":"etcd","event":"{event}"}}"#
            )));
        }
        let boot = Boot::new("first", 5.0, &seen);
        assert_eq!(
            boot.phases["etcd"],
            PhaseTimes {
                applied: Some(1.0),
                done: Some(4.0)
            }
        );
        assert_eq!(boot.ready, None);
    }

    #[test]
    fn results_are_in_the_target_folder() {
        assert!(results().unwrap().ends_with("qemu-results"));
    }
}
