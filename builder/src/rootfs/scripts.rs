//! Maintainer scripts never run. Each is classified instead, so that nothing it would have done is lost
//! without a word.
//!
//! A script is cut in two: the blocks that debhelper generated, which name the tool they are from
//! ([`generated`]), and the residue, what people wrote. The residue, without comments and boilerplate, must
//! be known by its SHA-256 ([`known`]), which says which native step stands for it, or why nothing has to;
//! or the profile accepts the script with a reason. A new version whose script changed has another digest and
//! is thus reported, with the lines in question.
//!
//! `prerm` and `postrm` run when a package is removed or replaced, which never happens to an image: they are
//! not read at all.

pub mod generated;
pub mod known;

use crate::digest::sha256;
use crate::profile::file::ScriptEntry;
use crate::rootfs::deb::{Control, ScriptKind};
use std::fmt;

/// What stands for a script, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// The native step of this name in [`crate::rootfs::configure`], or one that
    /// runs behind them on the whole tree.
    Step(&'static str),
    /// Nothing has to: why.
    Nothing(&'static str),
}

/// Native steps outside [`crate::rootfs::configure::STEPS`]: they need the whole tree.
#[cfg(test)]
const LATER_STEPS: [&str; 5] = ["enable_units", "ldcache", "hwdb", "catalog", "modules"];

/// What was found about one script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The package and its version.
    pub package: String,
    /// The script's file name.
    pub script: &'static str,
    /// What stands for it: steps, and reasons why nothing has to.
    pub covers: Vec<String>,
}

/// A script, or part of one, that nothing stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncovered {
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The script's file name.
    pub script: &'static str,
    /// SHA-256 of the residue.
    pub sha256: String,
    /// The lines in question.
    pub lines: Vec<String>,
}

/// What was found about all scripts.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Scripts that are covered.
    pub findings: Vec<Finding>,
    /// Scripts that are not.
    pub uncovered: Vec<Uncovered>,
    /// Scripts that the profile leaves out, by package.
    pub left_out: Vec<(String, ScriptKind)>,
    /// Entries of the profile that no script needs.
    pub unused: Vec<String>,
}

/// The error made of a report with uncovered scripts; its text names every one, with its lines.
#[derive(Debug, thiserror::Error)]
#[error("{}", message(.0))]
pub struct UncoveredError(Vec<Uncovered>);

impl Report {
    /// An error if any script is not covered.
    pub fn require_covered(&self) -> Result<(), UncoveredError> {
        if self.uncovered.is_empty() {
            Ok(())
        } else {
            Err(UncoveredError(self.uncovered.clone()))
        }
    }
}

impl fmt::Display for Uncovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} {}: {} (sha256 {})",
            self.package, self.version, self.script, self.sha256
        )?;
        self.lines
            .iter()
            .try_for_each(|line| writeln!(f, "    {line}"))
    }
}

fn message(uncovered: &[Uncovered]) -> String {
    let mut text = format!(
        "{} maintainer scripts do what no native step stands for:\n",
        uncovered.len()
    );
    for script in uncovered {
        text.push_str(&script.to_string());
    }
    text.push_str(
        "add an entry to `scripts` in the profile that says why nothing is lost without it",
    );
    text
}

/// Takes what people wrote out of the scripts that the profile leaves out, so that no native step reads it. What
/// debhelper generated stays: steps stand for that.
pub fn leave_out(controls: &mut [Control], report: &Report) {
    for (package, kind) in &report.left_out {
        let control = controls.iter_mut();
        let mut control = control.filter(|control| control.package() == package);
        let script = control
            .next()
            .and_then(|control| control.scripts.get_mut(kind));
        if let Some(text) = script {
            *text = cut(text).generated.join("\n");
        }
    }
}

/// Classifies every script of every package.
pub fn classify(controls: &[Control], accepted: &[ScriptEntry]) -> Report {
    let mut report = Report::default();
    let mut used = vec![false; accepted.len()];
    for control in controls {
        for (kind, text) in &control.scripts {
            if matches!(kind, ScriptKind::Prerm | ScriptKind::Postrm) {
                continue;
            }
            classify_one(control, *kind, text, accepted, &mut used, &mut report);
        }
    }
    let unused = accepted.iter().zip(used).filter(|(_, used)| !used);
    report.unused = unused
        .map(|(entry, _)| format!("{} {}", entry.package, entry.script))
        .collect();
    report
}

fn classify_one(
    control: &Control,
    kind: ScriptKind,
    text: &str,
    accepted: &[ScriptEntry],
    used: &mut [bool],
    report: &mut Report,
) {
    let package = control.package();
    let cut = cut(text);
    let residue = normalise(package, &cut.residue);
    let sha256 = sha256(residue.as_bytes());
    let mut lines = Vec::new();
    let mut covers = Vec::new();
    for tool in &cut.tools {
        match generated::cover(tool) {
            Some(cover) => covers.push(describe(cover)),
            None => lines.push(format!("(block generated by {tool})")),
        }
    }
    if !residue.is_empty() {
        match known::find(package, kind, &sha256) {
            Some(found) => covers.extend(found.iter().copied().map(describe)),
            None => lines.extend(residue.lines().map(str::to_owned)),
        }
    }
    if !lines.is_empty() {
        let entry = accepted
            .iter()
            .position(|entry| entry.package == package && entry.script == kind.name());
        match entry {
            Some(index) => {
                used[index] = true;
                report.left_out.push((package.to_owned(), kind));
                covers.push(format!("the profile: {}", accepted[index].reason));
            }
            None => {
                let (package, version) = (package.to_owned(), control.version().to_owned());
                report.uncovered.push(Uncovered {
                    package,
                    version,
                    script: kind.name(),
                    sha256,
                    lines,
                });
                return;
            }
        }
    }
    covers.dedup();
    report.findings.push(Finding {
        package: package.to_owned(),
        script: kind.name(),
        covers,
    });
}

fn describe(cover: Cover) -> String {
    match cover {
        Cover::Step(name) => format!("step {name}"),
        Cover::Nothing(reason) => reason.to_owned(),
    }
}

/// A script without its generated blocks, and the tools these are from.
#[derive(Debug, Default)]
struct Cut {
    residue: Vec<String>,
    generated: Vec<String>,
    tools: Vec<String>,
}

fn cut(text: &str) -> Cut {
    let mut cut = Cut::default();
    let mut inside = false;
    for line in text.lines() {
        if let Some(tool) = line.strip_prefix("# Automatically added by ") {
            let tool = tool.split('/').next().unwrap_or(tool).trim().to_owned();
            if !cut.tools.contains(&tool) {
                cut.tools.push(tool);
            }
            inside = true;
        } else if line.starts_with("# End automatically added section") {
            inside = false;
        } else if inside {
            cut.generated.push(line.to_owned());
        } else {
            cut.residue.push(line.to_owned());
        }
    }
    cut
}

/// Leaves out what has no effect, and what differs between architectures or kernel releases only.
fn normalise(package: &str, lines: &[String]) -> String {
    const BOILERPLATE: [&str; 5] = [
        "set -e",
        "set -u",
        "set -eu",
        "exit 0",
        ". /usr/share/debconf/confmodule",
    ];
    let release = package
        .strip_prefix("linux-image-")
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let mut out = String::new();
    for line in lines {
        let line = line.trim_end();
        let start = line.trim_start();
        // An indented `exit 0` may be a branch's own, and counts.
        if start.is_empty() || start.starts_with('#') || BOILERPLATE.contains(&line) {
            continue;
        }
        let mut line = line.to_owned();
        if let Some(release) = release {
            line = line.replace(release, "@RELEASE@");
        }
        for triplet in ["x86_64-linux-gnu", "aarch64-linux-gnu"] {
            line = line.replace(triplet, "@TRIPLET@");
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::STEPS;
    use crate::rootfs::configure::testing::package;

    const BLOCK: &str = "# Automatically added by dh_installsystemd/13.24\nif x; then\nfi\n# End automatically added section\n";

    fn check(postinst: &str, accepted: &[ScriptEntry], uncovered: &[&str]) -> Report {
        let report = classify(&[package("p", postinst)], accepted);
        let lines: Vec<&str> = report
            .uncovered
            .iter()
            .flat_map(|u| &u.lines)
            .map(String::as_str)
            .collect();
        assert_eq!(lines, uncovered);
        assert_eq!(report.require_covered().is_err(), !uncovered.is_empty());
        report
    }

    fn accept(script: &str) -> ScriptEntry {
        ScriptEntry {
            package: "p".into(),
            script: script.into(),
            reason: "because".into(),
        }
    }

    #[test]
    fn a_generated_script_is_covered_by_its_tools() {
        let script = format!("#!/bin/sh\nset -e\n\n{BLOCK}  # a comment\nexit 0\n");
        let report = check(&script, &[], &[]);
        assert_eq!(report.findings[0].covers, ["step enable_units"]);
        check(
            &BLOCK.replace("installsystemd", "teleport"),
            &[],
            &["(block generated by dh_teleport)"],
        );
    }

    #[test]
    fn an_unknown_line_needs_the_profiles_word() {
        let script = format!("{BLOCK}rm -rf /\n");
        let report = check(&script, &[], &["rm -rf /"]);
        let text = report.require_covered().unwrap_err().to_string();
        let digest = sha256(b"rm -rf /\n");
        assert!(
            text.contains(&format!("p 1: postinst (sha256 {digest})\n    rm -rf /\n")),
            "{text}"
        );
        let report = check(&script, &[accept("postinst")], &[]);
        assert_eq!(
            report.findings[0].covers,
            ["step enable_units", "the profile: because"]
        );
        let report = check(&script, &[accept("preinst")], &["rm -rf /"]);
        assert_eq!(report.unused, ["p preinst"]);
    }

    #[test]
    fn releases_and_triplets_do_not_count() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let a = normalise(
            "linux-image-6.12.1-amd64",
            &lines("depmod 6.12.1-amd64 /usr/lib/x86_64-linux-gnu"),
        );
        let b = normalise(
            "linux-image-6.13.2-arm64",
            &lines("depmod 6.13.2-arm64 /usr/lib/aarch64-linux-gnu"),
        );
        assert_eq!(
            (a.as_str(), a == b),
            ("depmod @RELEASE@ /usr/lib/@TRIPLET@\n", true)
        );
    }

    #[test]
    fn every_step_that_is_named_exists() {
        let names: Vec<&str> = STEPS
            .iter()
            .map(|(name, _)| *name)
            .chain(LATER_STEPS)
            .collect();
        for cover in known::all().chain(generated::all()) {
            match cover {
                Cover::Step(name) => assert!(names.contains(&name), "{name}"),
                Cover::Nothing(reason) => assert!(reason.len() > 10, "{reason}"),
            }
        }
    }
}
