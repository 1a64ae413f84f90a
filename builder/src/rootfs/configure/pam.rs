//! The shared PAM stacks `/etc/pam.d/common-*`, from the templates in `/usr/share/pam` and the profiles in
//! `/usr/share/pam-configs` whose default is yes. Stands for the pam-auth-update(8) call of libpam-runtime
//! and of packages that bring a profile.
//!
//! A template has two blocks: *Primary*, where `end` in a control field is a jump over the rest of the block
//! and the fallback below it, and *Additional*, where it is a jump over the rest of the block.

use crate::rootfs::configure::System;
use anyhow::{Context, bail};
use std::collections::BTreeMap;

/// Template, field of a profile, and the service type that opens each line.
const STACKS: [(&str, &str, &str); 5] = [
    ("common-account", "Account", "account"),
    ("common-auth", "Auth", "auth"),
    ("common-password", "Password", "password"),
    ("common-session", "Session", "session"),
    ("common-session-noninteractive", "Session", "session"),
];

/// The lines of a template around which the blocks lie.
const PRIMARY: &str = "# here are the per-package modules (the \"Primary\" block)";
const FALLBACK: &str = "# here's the fallback if no module succeeds";
const ADDITIONAL: &str = "# and here are more per-package modules (the \"Additional\" block)";
const END: &str = "# end of pam-auth-update config";

type Profile = BTreeMap<String, String>;

/// Renders each stack that has a template and is not there yet.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    let profiles = read_profiles(system)?;
    for (name, field, service) in STACKS {
        let Some(template) = system.text(&format!("usr/share/pam/{name}"))? else {
            continue;
        };
        let interactive = !name.ends_with("-noninteractive");
        let chosen = profiles
            .iter()
            .filter(|p| interactive || value(p, "Session-Interactive-Only") != "yes");
        let chosen: Vec<&Profile> = chosen.collect();
        let text = render(&template, &chosen, field, service)
            .with_context(|| format!("rendering {name}"))?;
        system.put_new(&format!("etc/pam.d/{name}"), 0o644, text.as_str())?;
    }
    Ok(())
}

/// The profiles in force, the highest priority first.
fn read_profiles(system: &System<'_>) -> anyhow::Result<Vec<Profile>> {
    let names: Vec<String> = system
        .tree
        .children("usr/share/pam-configs")
        .map(|(name, _)| name)
        .collect();
    let mut profiles = Vec::new();
    for name in names {
        let Some(text) = system.text(&format!("usr/share/pam-configs/{name}"))? else {
            continue;
        };
        let profile = parse(&text);
        if value(&profile, "Default") != "yes" {
            continue;
        }
        if profile.contains_key("Conflicts") {
            bail!(
                "PAM profile {name} conflicts with others: write etc/pam.d/common-* as an overlay"
            );
        }
        let priority: i64 = value(&profile, "Priority")
            .parse()
            .with_context(|| format!("reading priority of {name}"))?;
        profiles.push(((priority, name), profile));
    }
    profiles.sort_by(|(a, _), (b, _)| b.cmp(a));
    Ok(profiles.into_iter().map(|(_, profile)| profile).collect())
}

/// Fields by name; continuation lines are trimmed and joined by line breaks.
fn parse(text: &str) -> Profile {
    let mut profile = Profile::new();
    let mut current = String::new();
    for line in text.lines() {
        match line.split_once(':') {
            Some((name, rest))
                if !line.starts_with([' ', '\t']) && !name.contains(char::is_whitespace) =>
            {
                current = name.strip_suffix("-Final").unwrap_or(name).to_owned();
                profile.insert(current.clone(), rest.trim().to_owned());
            }
            _ if line.trim().is_empty() => {}
            _ => {
                let value = profile.entry(current.clone()).or_default();
                if !value.is_empty() {
                    value.push('\n');
                }
                value.push_str(line.trim());
            }
        }
    }
    profile
}

fn value<'a>(profile: &'a Profile, name: &str) -> &'a str {
    profile.get(name).map_or("", String::as_str)
}

fn render(
    template: &str,
    profiles: &[&Profile],
    field: &str,
    service: &str,
) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut until = None;
    for line in template.lines() {
        if until.is_some_and(|end| line != end) {
            continue;
        }
        until = None;
        out.push_str(line);
        out.push('\n');
        if line == PRIMARY {
            out.push_str(&block(profiles, field, service, "Primary")?);
            until = Some(FALLBACK);
        } else if line == ADDITIONAL {
            out.push_str(&block(profiles, field, service, "Additional")?);
            until = Some(END);
        }
    }
    if let Some(end) = until {
        bail!("the template has no line {end:?}");
    }
    Ok(out)
}

fn block(profiles: &[&Profile], field: &str, service: &str, kind: &str) -> anyhow::Result<String> {
    let chosen = profiles
        .iter()
        .filter(|profile| value(profile, &format!("{field}-Type")) == kind);
    let mut lines = Vec::new();
    for (index, profile) in chosen.enumerate() {
        let initial = value(profile, &format!("{field}-Initial"));
        let normal = value(profile, field);
        let text = if index == 0 && !initial.is_empty() {
            initial
        } else {
            normal
        };
        lines.extend(text.lines());
    }
    if lines.is_empty() && kind == "Primary" {
        return Ok(format!("{service}\t[default=1]\t\t\tpam_permit.so\n"));
    }
    let fallback = usize::from(kind == "Primary");
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let jump = lines.len() - 1 - index + fallback;
        out.push_str(&format!("{service}\t{}\n", jumps(line, jump)?));
    }
    Ok(out)
}

/// One line of a stack, with `end` in its control field made a number.
fn jumps(line: &str, jump: usize) -> anyhow::Result<String> {
    let end = if line.starts_with('[') {
        line.find(']').map(|at| at + 1)
    } else {
        line.find(char::is_whitespace)
    };
    let (control, rest) =
        line.split_at(end.with_context(|| format!("line {line:?} names no module"))?);
    let spaces = rest.len() - rest.trim_start().len();
    let mut words = rest.split_whitespace();
    let module = words
        .next()
        .with_context(|| format!("line {line:?} names no module"))?;
    let options: Vec<&str> = words.collect();
    let control = control.replace("=end", &format!("={jump}"));
    Ok(format!(
        "{control}{}{module} {}",
        &rest[..spaces],
        options.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{run, text, tree};

    const TEMPLATE: &str = "# head\n# here are the per-package modules (the \"Primary\" block)\n$auth_primary\n\
        # here's the fallback if no module succeeds\nauth\trequisite\tpam_deny.so\n\
        # and here are more per-package modules (the \"Additional\" block)\n$x\n# end of pam-auth-update config\n";

    fn check(profiles: &[(&str, &str)], expected: &str) {
        let mut files = vec![("usr/share/pam/common-auth", TEMPLATE)];
        files.extend(profiles);
        let mut tree = tree(&files);
        run(apply, &mut tree, &[]).unwrap();
        let rendered = text(&tree, "etc/pam.d/common-auth");
        let lines = rendered.lines().filter(|line| line.starts_with("auth\t"));
        assert_eq!(
            lines
                .map(|line| format!("{}\n", line.trim_end()))
                .collect::<String>(),
            expected
        );
    }

    #[test]
    fn profiles_stack_by_priority_and_jump_over_the_fallback() {
        let unix = "Name: Unix\nDefault: yes\nPriority: 256\nAuth-Type: Primary\nAuth:\n\
                    \t[success=end default=ignore]\tpam_unix.so a  b\nAuth-Initial:\n\t[success=end default=ignore]\tpam_unix.so\n";
        let top = "Default: yes\nPriority: 500\nAuth-Type: Primary\nAuth:\n\t[success=end]\tpam_top.so\n\trequired pam_two.so\n";
        let off = "Default: no\nPriority: 900\nAuth-Type: Primary\nAuth:\n\trequired pam_off.so\n";
        let more =
            "Default: yes\nPriority: 1\nAuth-Type: Additional\nAuth:\n\toptional pam_more.so\n";
        let deny = "auth\trequisite\tpam_deny.so\n";
        let unix_path = "usr/share/pam-configs/unix";
        check(
            &[],
            &format!("auth\t[default=1]\t\t\tpam_permit.so\n{deny}"),
        );
        check(
            &[(unix_path, unix), ("usr/share/pam-configs/off", off)],
            &format!("auth\t[success=1 default=ignore]\tpam_unix.so\n{deny}"),
        );
        check(
            &[
                (unix_path, unix),
                ("usr/share/pam-configs/top", top),
                ("usr/share/pam-configs/more", more),
            ],
            &format!(
                "auth\t[success=3]\tpam_top.so\nauth\trequired pam_two.so\n\
                 auth\t[success=1 default=ignore]\tpam_unix.so a b\n{deny}auth\toptional pam_more.so\n"
            ),
        );
    }
}
