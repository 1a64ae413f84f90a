//! The status as people read it on the machine itself.

use contract::status::{Check, Etcd, PhaseStatus, Status};

/// What the machine is and how its parts are, then every phase on a line.
pub fn render(status: &Status) -> String {
    let mut text = head(status);
    text.extend(status.phases.iter().map(phase));
    text
}

fn head(status: &Status) -> String {
    let dash = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let mut text = format!(
        "machine {}  address {}  cluster {}  Kubernetes {}  {:?}\n",
        dash(status.host_name.as_deref()),
        dash(status.address.as_deref()),
        dash(status.cluster.as_deref()),
        status.kubernetes,
        status.state
    );
    let mut line = |name: &str, value: String| text += &format!("  {name:<12} {value}\n");
    if let Some(role) = status.role {
        line("role", role.as_str().to_owned());
    }
    if let Some(image) = &status.image {
        let slot = image.slot.map(|slot| format!(", slot {slot:?}"));
        let slot = slot.unwrap_or_default();
        line(
            "image",
            format!("{}, lock {}{slot}", image.profile, image.lock),
        );
    }
    if let Some(kubelet) = &status.kubelet {
        line("kubelet", kubelet.clone());
    }
    if let Some(health) = &status.health {
        line("API server", check(&health.api_server));
        if let Some(etcd) = &health.etcd {
            line("etcd", check(etcd));
        }
        line("node", check(&health.node));
    }
    if let Some(etcd) = &status.etcd {
        line("etcd member", member(etcd));
    }
    if let Some(certificate) = &status.certificate {
        let (path, days) = (&certificate.path, certificate.days_left);
        line("certificate", format!("{path} ends first, in {days} days"));
    }
    for known in &status.machines {
        let address = dash(known.address.as_deref());
        line("knows", format!("{} {address}", known.host_name));
    }
    text
}

fn check(check: &Check) -> String {
    let why = check.why.as_deref().unwrap_or_default();
    let word = match check.healthy {
        Some(true) => "healthy",
        Some(false) => "not healthy:",
        None => "not known:",
    };
    format!("{word} {why}").trim_end().to_owned()
}

fn member(etcd: &Etcd) -> String {
    let leader = match (&etcd.leader, &etcd.leader_name) {
        (Some(leader), _) if *leader == etcd.member => String::from("leader"),
        (_, Some(name)) => format!("follows {name}"),
        (Some(leader), None) => format!("follows {leader}"),
        (None, None) => String::from("no leader"),
    };
    let learner = if etcd.learner { ", learner" } else { "" };
    format!(
        "{leader}{learner}, raft index {}, term {}",
        etcd.raft_index, etcd.raft_term
    )
}

fn phase(phase: &PhaseStatus) -> String {
    let time = match phase.finished.or(phase.started) {
        Some(time) => format!("{time:8.1} s"),
        None => String::from("         -"),
    };
    let why = phase.why.as_deref().unwrap_or_default();
    let state = format!("{:?}", phase.state).to_lowercase();
    let line = format!("{time}  {:<22} {state:<9} {why}", phase.name);
    format!("{}\n", line.trim_end())
}
