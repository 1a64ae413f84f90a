//! How machines become members of etcd, and cease to be: one change at a time, and none that takes its quorum.
//!
//! A machine comes in as a learner, which has no vote and costs no quorum, and gets its vote once it has caught up. A
//! member that comes back without its data is removed before that, since etcd takes it for the old one and relies on
//! what it has forgotten. What is to be done follows from etcd's list of members; each call does one step.

use anyhow::{Result, bail};
use contract::peer::{EtcdMember, Response};

use super::{Client, Member};

/// The next thing to do for a machine that wants to be a member.
#[derive(Debug, PartialEq, Eq)]
enum Step<'m> {
    /// Another machine is joining.
    Wait(&'m Member),
    /// Another machine began to join, and is gone.
    Drop(&'m Member),
    /// This is the machine's member from before it lost its data.
    Bury(&'m Member),
    /// Another member has the machine's address.
    Refuse(&'m Member),
    /// It is to be added.
    Add,
    /// It is added; what is left is to tell it the members.
    Tell,
}

/// The next step for `wanted`, a machine without data. `is_there` tells whether a machine is heard of at a peer URL.
fn step<'m>(
    members: &'m [Member],
    wanted: &EtcdMember,
    is_there: &dyn Fn(&str) -> bool,
) -> Step<'m> {
    let at = |member: &Member| member.peer_urls.contains(&wanted.url);
    let joining = |member: &&Member| member.is_learner || member.name.is_empty();
    let other = |member: &&Member| !at(member) && member.name != wanted.name;
    let mut others = members.iter().filter(joining).filter(other);
    if let Some(other) = others.next() {
        let gone = !other.peer_urls.iter().any(|url| is_there(url));
        // Without a vote it is nobody's loss; with one it would be.
        return match gone && other.is_learner {
            true => Step::Drop(other),
            false => Step::Wait(other),
        };
    }
    if let Some(dead) = members.iter().find(|member| member.name == wanted.name) {
        return Step::Bury(dead);
    }
    match members.iter().find(|member| at(member)) {
        Some(waiting) if waiting.name.is_empty() => Step::Tell,
        Some(other) => Step::Refuse(other),
        None => Step::Add,
    }
}

/// Whether etcd goes on without a member: of the voters that remain, a majority answers.
pub(crate) fn is_spared(members: &[Member], id: &str, answers: &dyn Fn(&Member) -> bool) -> bool {
    let voters: Vec<&Member> = members.iter().filter(|member| !member.is_learner).collect();
    if !voters.iter().any(|member| member.id == id) {
        return true;
    }
    let rest = voters.iter().filter(|member| member.id != id);
    let answering = rest.clone().filter(|member| answers(member)).count();
    answering > rest.count() / 2
}

/// A voter that does not answer.
fn silent<'m>(members: &'m [Member], answers: &dyn Fn(&Member) -> bool) -> Option<&'m Member> {
    let mut voters = members.iter().filter(|member| !member.is_learner);
    voters.find(|member| !answers(member))
}

/// Removes a member, unless etcd would lose its quorum by that.
pub fn remove(client: &Client<'_>, members: &[Member], member: &Member) -> Result<()> {
    if !is_spared(members, &member.id, &|one| client.answers(one)) {
        bail!(
            "without {} too few of etcd's members answer to go on: bring one of the others back first",
            label(member)
        );
    }
    client.remove(&member.id)
}

/// What the members of a cluster that is founded answer to a machine that wants to be one and has no data. `is_there`
/// tells whether a machine is heard of at a peer URL.
pub fn admit(
    client: &Client<'_>,
    wanted: &EtcdMember,
    is_there: &dyn Fn(&str) -> bool,
) -> Result<Response> {
    if !client.is_healthy() {
        return Ok(Response::NotYet(String::from("etcd is not healthy")));
    }
    let members = client.members()?;
    match step(&members, wanted, is_there) {
        Step::Wait(other) => Ok(Response::NotYet(format!(
            "{} is joining etcd",
            label(other)
        ))),
        Step::Drop(other) => {
            tracing::warn!(
                "etcd's learner {} is gone before it had a vote; it is removed",
                label(other)
            );
            client.remove(&other.id)?;
            Ok(Response::NotYet(format!(
                "{}, which was joining etcd, is gone and removed",
                label(other)
            )))
        }
        Step::Bury(dead) if client.answers(dead) => Ok(Response::NotYet(format!(
            "etcd's member {} answers, so another machine has this one's identity, or it has just been stopped",
            dead.name
        ))),
        Step::Bury(dead) => {
            tracing::warn!(
                "etcd's member {} came back blank; it is removed, and added anew",
                dead.name
            );
            remove(client, &members, dead)?;
            Ok(Response::NotYet(String::from("its dead member is removed")))
        }
        Step::Refuse(other) => Ok(Response::Refused(format!(
            "{} is the address of etcd's member {}",
            wanted.url, other.name
        ))),
        // etcd adds nobody while a voter is silent, and for some seconds after.
        Step::Add => match silent(&members, &|one| client.answers(one)) {
            Some(silent) => Ok(Response::NotYet(format!(
                "etcd takes nobody in while {} does not answer: bring it back, or take it out with `seedbed remove`",
                label(silent)
            ))),
            None => Ok(list(&client.add_learner(&wanted.url)?, wanted)),
        },
        Step::Tell => Ok(list(&members, wanted)),
    }
}

/// Gives the machine its vote. One that has not started yet is told the members once more, since a change may have
/// come between.
pub fn promote(client: &Client<'_>, wanted: &EtcdMember) -> Result<Response> {
    let members = client.members()?;
    let mut mine = members.iter();
    let mine = mine.find(|member| member.peer_urls.contains(&wanted.url));
    Ok(match mine {
        None => Response::NoMember,
        Some(member) if member.name.is_empty() => list(&members, wanted),
        Some(member) if member.name != wanted.name => Response::NoMember,
        Some(member) if member.is_learner => match client.promote(&member.id) {
            Ok(()) => Response::Done,
            Err(error) => Response::NotYet(format!("{error:#}")),
        },
        Some(_) => Response::Done,
    })
}

/// The members as `--initial-cluster` wants them, of which the wanted one has no name yet.
fn list(members: &[Member], wanted: &EtcdMember) -> Response {
    let named = members.iter().filter_map(|member| {
        let url = member.peer_urls.first()?;
        let name = match *url == wanted.url {
            true => &wanted.name,
            false => &member.name,
        };
        (!name.is_empty()).then(|| format!("{name}={url}"))
    });
    Response::EtcdMembers {
        members: named.collect::<Vec<_>>().join(","),
        founds: false,
    }
}

/// What people know a member by.
pub(crate) fn label(member: &Member) -> &str {
    let url = member.peer_urls.first().map_or("", String::as_str);
    match member.name.as_str() {
        "" => url,
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member as `NAME@HOST`, with `?` for a learner.
    fn member(text: &str) -> Member {
        let (name, at) = text.split_once('@').unwrap();
        Member {
            id: at.trim_end_matches('?').to_owned(),
            name: name.to_owned(),
            peer_urls: vec![format!("https://{}:2380", at.trim_end_matches('?'))],
            client_urls: Vec::new(),
            is_learner: at.ends_with('?'),
        }
    }

    #[test]
    fn one_change_at_a_time_and_only_of_the_machine_that_asks() {
        let check = |members: &[&str], expected: &str| {
            let members: Vec<Member> = members.iter().map(|text| member(text)).collect();
            let wanted = EtcdMember {
                name: String::from("c"),
                url: String::from("https://3:2380"),
            };
            let step = step(&members, &wanted, &|url| url != "https://9:2380");
            let shown = match step {
                Step::Wait(one) => format!("wait {}", one.id),
                Step::Drop(one) => format!("drop {}", one.id),
                Step::Bury(one) => format!("bury {}", one.id),
                Step::Refuse(one) => format!("refuse {}", one.id),
                Step::Add => String::from("add"),
                Step::Tell => String::from("tell"),
            };
            assert_eq!(shown, expected, "{members:?}");
        };
        check(&["a@1", "b@2"], "add");
        check(&["a@1", "b@2", "@3?"], "tell");
        // Its own from before, at the same address or another one, with a vote or without.
        check(&["a@1", "b@2", "c@3"], "bury 3");
        check(&["a@1", "b@2", "c@4"], "bury 4");
        check(&["a@1", "b@2", "c@3?"], "bury 3");
        check(&["a@1", "b@2", "c@9?"], "bury 9");
        // Another one's.
        check(&["a@1", "b@2", "x@3"], "refuse 3");
        check(&["a@1", "b@2", "c@3", "@4?"], "wait 4");
        check(&["a@1", "b@2", "d@4?"], "wait 4");
        check(&["a@1", "b@2", "d@9?"], "drop 9");
        check(&["a@1", "b@2", "@9?"], "drop 9");
        // One with a vote is not dropped.
        check(&["a@1", "b@2", "@9"], "wait 9");
    }

    #[test]
    fn no_removal_takes_the_quorum() {
        let check = |members: &[&str], dead: &[&str], removed: &str, spared: bool| {
            let members: Vec<Member> = members.iter().map(|text| member(text)).collect();
            let answers = |member: &Member| !dead.contains(&member.id.as_str());
            assert_eq!(
                is_spared(&members, removed, &answers),
                spared,
                "{members:?} without {dead:?} less {removed}"
            );
        };
        let three = ["a@1", "b@2", "c@3"];
        check(&three, &["3"], "3", true);
        check(&three, &[], "3", true);
        check(&three, &["2"], "3", false);
        check(&three, &["2", "3"], "3", false);
        check(&["a@1", "b@2"], &["2"], "2", true);
        check(&["a@1", "b@2"], &["2"], "1", false);
        check(&["a@1"], &[], "1", false);
        let five = ["a@1", "b@2", "c@3", "d@4", "e@5"];
        check(&five, &["4", "5"], "5", true);
        check(&five, &["4", "5"], "1", false);
        // Learners do not count, and are no loss.
        check(&["a@1", "b@2?"], &["2"], "2", true);
        check(&["a@1", "b@2", "c@3?"], &["2"], "1", false);
    }
}
