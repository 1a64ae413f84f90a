//! The site as people read it: what each machine is and does, how its parts are, and one line for all.
//!
//! Nothing is wider than [`WIDTH`] columns, and nothing rests on colour. What is too long for its column ends with `…`;
//! the document for programs has all of it.

use crate::status::site::{Machine, Site, Standing};
use contract::status::{Check, Etcd, Overall, PhaseStatus, Progress, Role, Status};

/// Columns of the table.
pub const WIDTH: usize = 100;

/// Between two columns.
const GAP: usize = 2;

/// Characters of a digest that are shown.
const DIGEST: usize = 8;

/// Phases that are told of one machine.
const PHASES: usize = 3;

/// Lines that one remark may take.
const LINES: usize = 3;

/// A clock that is off by more is told of, in milliseconds: certificates and leases bear less than people think.
const SKEW: i64 = 2000;

/// A certificate that ends in fewer days is told of.
const DAYS: i64 = 30;

/// The whole table.
pub fn render(site: &Site) -> String {
    let mut text = String::new();
    if !site.machines.is_empty() {
        text += &machines(site);
        text.push('\n');
    }
    if site.machines.iter().any(|one| one.status().is_some()) {
        text += &parts(site);
        text.push('\n');
    }
    let summary = site.summary();
    text += &match length(&summary) > WIDTH {
        true => summary.replace("; ", ";\n"),
        false => summary,
    };
    text.push('\n');
    text
}

/// What each machine is, and below it what is to be said of it.
fn machines(site: &Site) -> String {
    let titles = [
        Column::new("MACHINE", 12),
        Column::new("ROLE", 13),
        Column::new("ADDRESS", 24),
        Column::new("KUBERNETES", 10),
        Column::new("IMAGE", 6),
        Column::new("LOCK", DIGEST),
        Column::new("SLOT", 4),
        Column::new("STATE", 9),
    ];
    let rows: Vec<Vec<String>> = site.machines.iter().map(machine).collect();
    let mut lines = grid(&titles, &rows).into_iter();
    let mut text = lines.next().unwrap_or_default();
    for (line, machine) in lines.zip(&site.machines) {
        text += &line;
        for remark in remarks(machine) {
            text += &wrap(&remark);
        }
    }
    text
}

fn machine(machine: &Machine) -> Vec<String> {
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let status = machine.status();
    let role = status.and_then(|status| status.role).map(Role::as_str);
    let image = status.and_then(|status| status.image.as_ref());
    let lock = image.map(|image| image.lock.chars().take(DIGEST).collect::<String>());
    let slot = image.and_then(|image| image.slot);
    vec![
        text(machine.host_name.as_deref()),
        text(role),
        text(machine.address.as_deref()),
        text(status.map(|status| status.kubernetes.as_str())),
        text(image.map(|image| image.profile.as_str())),
        text(lock.as_deref()),
        slot.map_or(text(None), |slot| format!("{slot:?}")),
        String::from(state(machine)),
    ]
}

fn state(machine: &Machine) -> &'static str {
    match &machine.standing {
        Standing::Silent(_) => "silent",
        Standing::Early(_) => "starting",
        Standing::Told { status, .. } => match status.state {
            Overall::Working => "working",
            Overall::Waiting => "waiting",
            Overall::Failed => "failed",
            Overall::Ready if status.is_ready() => "ready",
            Overall::Ready => "unhealthy",
        },
    }
}

/// What keeps a machine from being Ready, and what will.
fn remarks(machine: &Machine) -> Vec<String> {
    let (status, skew) = match &machine.standing {
        Standing::Silent(why) => return vec![format!("does not answer: {why}")],
        Standing::Early(why) => return vec![format!("has nothing to tell yet: {why}")],
        Standing::Told { status, skew } => (status, skew.unwrap_or(0)),
    };
    let current = status.current();
    let mut remarks: Vec<String> = current.iter().take(PHASES).map(|one| phase(one)).collect();
    if let Some(more) = current.len().checked_sub(PHASES).filter(|more| *more > 0) {
        let phases = if more == 1 { "phase" } else { "phases" };
        remarks.push(format!("and {more} more {phases}"));
    }
    remarks.extend(unhealthy(status));
    if let Some(kubelet) = &status.kubelet
        && *kubelet != status.kubernetes
    {
        remarks.push(format!("kubelet is {kubelet}"));
    }
    if let Some(certificate) = &status.certificate
        && certificate.days_left < DAYS
    {
        remarks.push(match certificate.days_left {
            days @ ..0 => format!(
                "certificate {} ended {} days ago",
                certificate.path,
                days.unsigned_abs()
            ),
            0 => format!("certificate {} ends within a day", certificate.path),
            days => format!("certificate {} ends in {days} days", certificate.path),
        });
    }
    if skew.abs() > SKEW {
        let way = if skew < 0 { "behind" } else { "ahead of" };
        let off = duration(skew.unsigned_abs());
        remarks.push(format!("its clock is {off} {way} this computer's"));
    }
    remarks
}

fn phase(phase: &PhaseStatus) -> String {
    let name = &phase.name;
    let what = match phase.state {
        Progress::Failed => format!("failed at {name}"),
        Progress::Retrying => format!("tries {name} again"),
        Progress::Waiting => format!("waits at {name}"),
        Progress::Working | Progress::Pending | Progress::Done => format!("works at {name}"),
    };
    match &phase.why {
        Some(why) => format!("{what}: {why}"),
        None => what,
    }
}

/// Parts that do not work. Before every phase was done, the phases say enough.
fn unhealthy(status: &Status) -> Vec<String> {
    let Some(health) = &status.health else {
        return vec![String::from("its parts are not known")];
    };
    if status.state != Overall::Ready {
        return Vec::new();
    }
    let learner = status.etcd.as_ref().is_some_and(|etcd| etcd.learner);
    let learner = learner.then(|| String::from("etcd: it has no vote yet"));
    let checks = [
        ("API server", Some(&health.api_server)),
        ("etcd", health.etcd.as_ref()),
        ("node", Some(&health.node)),
    ];
    let bad = checks.into_iter().filter_map(|(name, check)| {
        let check = check.filter(|check| !check.is_good())?;
        let why = check.why.as_deref().unwrap_or("no reason is given");
        Some(format!("{name}: {why}"))
    });
    bad.chain(learner).collect()
}

/// How the parts of each machine that answers are.
fn parts(site: &Site) -> String {
    let titles = [
        Column::new("MACHINE", 12),
        Column::new("API", 3),
        Column::new("NODE", 4),
        Column::new("ETCD", 4),
        Column::new("RAFT", 9),
        Column::new("INDEX", 5),
        Column::new("CLOCK", 8),
        Column::new("CERTIFICATE THAT ENDS FIRST", 20),
    ];
    let rows: Vec<Vec<String>> = site.machines.iter().filter_map(part).collect();
    grid(&titles, &rows).concat()
}

fn part(machine: &Machine) -> Option<Vec<String>> {
    let Standing::Told { status, skew } = &machine.standing else {
        return None;
    };
    let health = status.health.as_ref();
    let check = |check: Option<&Check>| {
        String::from(match check.map(|check| check.healthy) {
            None => "-",
            Some(None) => "?",
            Some(Some(true)) => "ok",
            Some(Some(false)) => "no",
        })
    };
    let dash = || String::from("-");
    let etcd = status.etcd.as_ref();
    let certificate = status.certificate.as_ref().map(|certificate| {
        let path = &certificate.path;
        let short = ["/etc/kubernetes/", "/var/lib/"];
        let short = short.iter().find_map(|folder| path.strip_prefix(folder));
        format!("{} d  {}", certificate.days_left, short.unwrap_or(path))
    });
    Some(vec![
        machine.host_name.clone().unwrap_or_else(dash),
        check(health.map(|health| &health.api_server)),
        check(health.map(|health| &health.node)),
        check(health.and_then(|health| health.etcd.as_ref())),
        etcd.map_or_else(dash, |etcd| String::from(raft(etcd))),
        etcd.map_or_else(dash, |etcd| etcd.raft_index.to_string()),
        skew.map_or_else(dash, |skew| {
            let sign = if skew < 0 { '-' } else { '+' };
            format!("{sign}{}", duration(skew.unsigned_abs()))
        }),
        certificate.unwrap_or_else(dash),
    ])
}

fn raft(etcd: &Etcd) -> &'static str {
    match &etcd.leader {
        _ if etcd.learner => "learner",
        None => "no leader",
        Some(leader) if *leader == etcd.member => "leader",
        Some(_) => "follower",
    }
}

/// Milliseconds in the unit that fits.
fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..=99 => format!("{}.{} s", seconds, milliseconds % 1000 / 100),
        100..=5999 => format!("{} min", seconds / 60),
        6000..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A column's title, and how narrow it may become.
struct Column {
    title: &'static str,
    least: usize,
}

impl Column {
    const fn new(title: &'static str, least: usize) -> Self {
        Column { title, least }
    }
}

/// Titles and rows as lines. If all do not fit, the columns with most to give become narrower.
fn grid(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let title = columns.iter().map(|column| column.title.to_owned());
    let title: Vec<String> = title.collect();
    let lines = || std::iter::once(&title).chain(rows);
    let width = |number: usize| lines().map(|cells| length(&cells[number])).max();
    let mut widths: Vec<usize> = (0..columns.len())
        .map(|number| width(number).unwrap_or(0))
        .collect();
    let gaps = GAP * columns.len().saturating_sub(1);
    let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(WIDTH);
    while over > 0 {
        let slack = widths
            .iter()
            .zip(columns)
            .map(|(width, column)| width.saturating_sub(column.least));
        let Some((number, 1..)) = slack.enumerate().max_by_key(|(_, slack)| *slack) else {
            break;
        };
        widths[number] -= 1;
        over -= 1;
    }
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{:<width$}", cut(cell, *width)))
            .collect();
        format!("{}\n", cells.join(&" ".repeat(GAP)).trim_end())
    };
    lines().map(line).collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// The text, or its beginning and `…`.
fn cut(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A remark below its machine, in at most [`LINES`] lines.
fn wrap(remark: &str) -> String {
    const FIRST: &str = "    ";
    const NEXT: &str = "      ";
    let mut lines = vec![String::from(FIRST)];
    for word in remark.split_whitespace() {
        let full = lines
            .last()
            .is_some_and(|line| !line.trim().is_empty() && length(line) + 1 + length(word) > WIDTH);
        if full {
            lines.push(String::from(NEXT));
        }
        if let Some(line) = lines.last_mut() {
            if !line.trim().is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    let more = lines.len() > LINES;
    lines.truncate(LINES);
    if let Some(last) = lines.last_mut().filter(|_| more) {
        *last = format!("{} …", cut(last, WIDTH - 2));
    }
    let lines = lines.iter().map(|line| format!("{}\n", cut(line, WIDTH)));
    lines.collect()
}

#[cfg(test)]
mod tests;
