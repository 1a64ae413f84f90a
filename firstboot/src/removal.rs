//! Removal: a machine is taken out of the cluster for good, as an operator asks a machine of its control plane.
//!
//! In this order, each step as it is found, so that a removal that was cut off is finished by the same question:
//!
//! 1. the [`register`] says that the machine is removed, so that nobody lets it in any more;
//! 2. its member of etcd is removed, if it has one, and only if etcd keeps its quorum without it;
//! 3. its node object is deleted.
//!
//! What would be done is looked at first and in full; a removal that is not safe changes nothing.

use anyhow::{Context, Result};
use contract::datagram::MachineId;
use contract::peer::keys::PublicKey;
use contract::peer::{Removal, Response};
use contract::seed::Seed;

use crate::api;
use crate::birth::Birth;
use crate::etcd::{Client, Member, membership};
use crate::host::{Cmd, Host};
use crate::neighbours;
use crate::phase::Trouble;
use crate::pod_routes;
use crate::register::{self, Register};
use crate::render::etcd::peer_url;

const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// Least characters of a machine's id that stand for it.
const LEAST: usize = 8;

/// A machine that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    machine: MachineId,
    host_name: String,
    key: Option<PublicKey>,
    joined: bool,
    removed: Option<u64>,
}

/// What is to be done.
#[derive(Debug)]
struct Plan {
    known: Known,
    member: Option<Member>,
    has_node: bool,
}

/// Removes a machine, or says what that would do.
pub fn remove(host: &dyn Host, birth: &Birth, seed: &Seed, asked: &Removal) -> Result<Response> {
    if !host.exists(ADMIN) {
        return Ok(Response::Refused(String::from(
            "only machines of the control plane remove others, and this is none",
        )));
    }
    let etcd = Client::own(host);
    if birth.authority.is_none() || !etcd.is_healthy() {
        return Ok(Response::NotYet(String::from(
            "the cluster is not founded yet, or its etcd has no quorum: without one nothing is removed",
        )));
    }
    let known = known(host, birth, seed, &Register::read(&etcd)?)?;
    let one = match find(&known, &asked.machine) {
        Ok(one) => one.clone(),
        Err(why) => return Ok(Response::Barred(why)),
    };
    if one.machine == birth.me.machine {
        return Ok(Response::Refused(format!(
            "this is {} itself: another machine of the control plane has to be asked, and one that is alone cannot go",
            one.host_name
        )));
    }
    let members = etcd.members()?;
    let node = api::object(host, &format!("/api/v1/nodes/{}", one.host_name)).map_err(reason)?;
    // A member that has never started has no name yet, and is told by its address.
    let heard = neighbours::read(host)?;
    let heard = heard.iter().filter(|other| other.machine == one.machine);
    let addresses = node.iter().flat_map(pod_routes::addresses);
    let urls: Vec<String> = heard
        .map(|other| other.address)
        .chain(addresses)
        .map(peer_url)
        .collect();
    let plan = Plan {
        member: members
            .iter()
            .find(|member| is_of(member, &one.host_name, &urls))
            .cloned(),
        has_node: node.is_some(),
        known: one,
    };
    if let Some(why) = objection(&plan, &members, &|member| etcd.answers(member)) {
        return Ok(Response::Barred(why));
    }
    if !asked.dry_run {
        apply(host, &etcd, &members, &plan)?;
    }
    Ok(Response::Document(plan.tell(&members, asked.dry_run)))
}

/// Whether a member is that of the machine with this name, or, if it has never started, with one of these peer URLs.
fn is_of(member: &Member, host_name: &str, urls: &[String]) -> bool {
    match member.name.is_empty() {
        true => member.peer_urls.iter().any(|url| urls.contains(url)),
        false => member.name == host_name,
    }
}

/// Every machine of the cluster, or that was one.
fn known(host: &dyn Host, birth: &Birth, seed: &Seed, register: &Register) -> Result<Vec<Known>> {
    let neighbours = neighbours::read(host)?;
    let mut all: Vec<Known> = register
        .machines
        .iter()
        .map(|(machine, entry)| Known {
            machine: *machine,
            host_name: entry.host_name.clone(),
            key: entry.key,
            joined: entry.joined,
            removed: entry.removed,
        })
        .collect();
    for seat in &birth.seats {
        if register.machines.contains_key(&seat.machine) {
            continue;
        }
        // One that came back blank has another key than it was named with.
        let heard = neighbours.iter().find(|one| one.machine == seat.machine);
        all.push(Known {
            machine: seat.machine,
            host_name: seed.hostname(&seat.machine.to_string()),
            key: Some(heard.map_or(PublicKey::new(seat.key), |one| one.key)),
            joined: false,
            removed: None,
        });
    }
    all.sort_by(|one, other| one.host_name.cmp(&other.host_name));
    Ok(all)
}

/// The machine with this host name, or whose id begins so.
fn find<'k>(known: &'k [Known], wanted: &str) -> Result<&'k Known, String> {
    if let Some(one) = known.iter().find(|one| one.host_name == wanted) {
        return Ok(one);
    }
    let id = wanted.to_ascii_lowercase();
    let mut those = known
        .iter()
        .filter(|one| id.len() >= LEAST && one.machine.to_string().starts_with(&id));
    match (those.next(), those.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(format!("several machines have an id that begins with {id}")),
        (None, _) => {
            let names: Vec<&str> = known.iter().map(|one| one.host_name.as_str()).collect();
            Err(format!(
                "the cluster knows no machine {wanted:?}; it knows {}",
                names.join(", ")
            ))
        }
    }
}

/// Why etcd's member may not go now, if it may not.
fn objection(plan: &Plan, members: &[Member], answers: &dyn Fn(&Member) -> bool) -> Option<String> {
    let member = plan.member.as_ref()?;
    let joining = |one: &&Member| one.id != member.id && (one.is_learner || one.name.is_empty());
    if let Some(other) = members.iter().find(joining) {
        return Some(format!(
            "{} is joining etcd, which changes one member at a time: try again when it has its vote, or remove it first",
            membership::label(other)
        ));
    }
    (!membership::is_spared(members, &member.id, answers)).then(|| {
        let voters = members.iter().filter(|one| !one.is_learner).count();
        let silent: Vec<&str> = members
            .iter()
            .filter(|one| one.id != member.id && !answers(one))
            .map(membership::label)
            .collect();
        format!(
            "without {} etcd would have {} members and too few of them answer to go on{}: bring another machine of the \
             control plane back first. Nothing was changed",
            member.name,
            voters.saturating_sub(1),
            match silent.is_empty() {
                true => String::new(),
                false => format!(" (silent: {})", silent.join(", ")),
            }
        )
    })
}

fn apply(host: &dyn Host, etcd: &Client<'_>, members: &[Member], plan: &Plan) -> Result<()> {
    let known = &plan.known;
    let now = host.now();
    register::change(etcd, known.machine, |register| {
        let entry = register.machines.get(&known.machine);
        let removed = entry.and_then(|entry| entry.removed);
        let entry = register::Entry {
            version: 1,
            host_name: known.host_name.clone(),
            key: entry.map_or(known.key, |entry| entry.key),
            joined: entry.map_or(known.joined, |entry| entry.joined),
            removed: Some(now),
        };
        (removed.is_none().then_some(entry), ())
    })?;
    if let Some(member) = &plan.member {
        membership::remove(etcd, members, member)
            .with_context(|| format!("removing etcd's member {}", member.name))?;
    }
    if plan.has_node {
        let kubectl = Cmd::new("/usr/bin/kubectl").args(["--kubeconfig", ADMIN]);
        let delete = ["delete", "node", &known.host_name, "--ignore-not-found"];
        host.run(
            &kubectl
                .args(delete)
                .args(["--wait=false", "--request-timeout=8s"]),
        )
        .with_context(|| format!("deleting the node {}", known.host_name))?;
    }
    Ok(())
}

impl Plan {
    /// What is done, one line each.
    fn tell(&self, members: &[Member], dry_run: bool) -> String {
        let name = &self.known.host_name;
        let mut lines = Vec::new();
        if self.known.removed.is_none() {
            lines.push(format!("{name} is not let in any more"));
        }
        if let Some(member) = &self.member {
            let voters = members
                .iter()
                .filter(|one| !one.is_learner && one.id != member.id);
            let left = voters.count();
            lines.push(format!(
                "etcd's member of {name} is removed; {left} are left, of which {} may fail",
                left.saturating_sub(1) / 2
            ));
        }
        if self.has_node {
            lines.push(format!("the node {name} is deleted"));
        }
        match (lines.is_empty(), dry_run) {
            (true, _) => format!("{name} was removed already\n"),
            (false, true) => format!("this would be done:\n  {}\n", lines.join("\n  ")),
            (false, false) => format!("{}\n", lines.join("\n")),
        }
    }
}

fn reason(trouble: Trouble) -> anyhow::Error {
    anyhow::anyhow!("{trouble}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(number: u8, name: &str) -> Known {
        Known {
            machine: MachineId([number; 16]),
            host_name: name.to_owned(),
            key: None,
            joined: false,
            removed: None,
        }
    }

    #[test]
    fn a_machine_is_named_by_its_host_name_or_the_beginning_of_its_id() {
        let known = [one(0xab, "plant-abababab"), one(0xac, "plant-acacacac")];
        let check =
            |wanted: &str, expected: Result<usize, &str>| match (find(&known, wanted), expected) {
                (Ok(found), Ok(number)) => assert_eq!(found, &known[number]),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                other => panic!("{wanted}: {other:?}"),
            };
        check("plant-acacacac", Ok(1));
        check("abababab", Ok(0));
        check("ABABABABAB", Ok(0));
        check("abab", Err("it knows plant-abababab, plant-acacacac"));
        check("", Err("knows no machine"));
        let same = [one(0xab, "a"), one(0xab, "b")];
        assert!(find(&same, "abababab").unwrap_err().contains("several"));
    }

    #[test]
    fn a_member_that_never_started_is_told_by_its_address() {
        let member = |name: &str| Member {
            id: String::from("1"),
            name: name.to_owned(),
            peer_urls: vec![String::from("https://10.0.0.7:2380")],
            client_urls: Vec::new(),
            is_learner: true,
        };
        let url = |last: u8| vec![format!("https://10.0.0.{last}:2380")];
        assert!(is_of(&member("c"), "c", &[]));
        assert!(!is_of(&member("b"), "c", &url(7)));
        assert!(is_of(&member(""), "c", &url(7)));
        assert!(!is_of(&member(""), "c", &url(8)));
    }

    #[test]
    fn a_member_goes_only_if_etcd_can_do_without_it() {
        let member = |name: &str, learner| Member {
            id: name.to_owned(),
            name: name.to_owned(),
            peer_urls: vec![format!("https://{name}:2380")],
            client_urls: Vec::new(),
            is_learner: learner,
        };
        let check = |members: &[Member], silent: &str, expected: Option<&str>| {
            let plan = Plan {
                known: one(1, "c"),
                member: members.iter().find(|one| one.name == "c").cloned(),
                has_node: true,
            };
            let why = objection(&plan, members, &|one| one.name != silent);
            let fits = match (&why, expected) {
                (None, None) => true,
                (Some(why), Some(part)) => why.contains(part),
                _ => false,
            };
            assert!(fits, "{why:?}");
        };
        let three = [member("a", false), member("b", false), member("c", false)];
        check(&three, "c", None);
        check(&three, "", None);
        check(&three, "b", Some("(silent: b)"));
        check(&three[2..], "", Some("would have 0 members"));
        // A worker has none.
        check(&three[..2], "b", None);
        let joining = [three[0].clone(), three[2].clone(), member("b", true)];
        check(&joining, "", Some("b is joining etcd"));
        check(&[three[0].clone(), member("c", true)], "", None);
    }
}
