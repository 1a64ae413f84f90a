//! How members come to etcd and leave it, on real servers with TLS. Needs etcd's program.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/etcd.rs"]
mod etcd;
#[path = "support/etcd_program.rs"]
mod etcd_program;

use contract::datagram::MachineId;
use contract::peer::Response;
use etcd::{Stand, wait};
use firstboot::etcd::membership::{admit, promote, remove};
use firstboot::register::{Entry, Register, change};

fn skipped() -> bool {
    let Err(why) = etcd_program::available() else {
        return false;
    };
    assert!(
        std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() != Ok("1"),
        "{why}"
    );
    println!("SKIP: {why}");
    true
}

/// What machine `number` is told by machine `by` when it wants to be a member.
fn ask(stand: &Stand, by: usize, number: usize, there: bool) -> Response {
    let wanted = stand.machines[number].wanted();
    let client = stand.client(by);
    wait("etcd has a leader", || client.is_healthy());
    // After a change etcd refuses others for some seconds, and changes nothing.
    let mut told = None;
    wait("etcd answers for good", || {
        told = admit(&client, &wanted, &|_| there).ok();
        told.is_some()
    });
    told.unwrap()
}

fn members(response: Response) -> String {
    match response {
        Response::EtcdMembers {
            members,
            founds: false,
        } => members,
        other => panic!("{other:?}"),
    }
}

/// Starts a machine that was admitted, and waits until it has its vote.
fn join(stand: &mut Stand, by: usize, number: usize, list: &str) {
    stand.machines[number].start(list, "existing");
    let wanted = stand.machines[number].wanted();
    let client = stand.client(by);
    wait("the learner gets its vote", || {
        matches!(promote(&client, &wanted), Ok(Response::Done))
    });
    let own = stand.client(number);
    wait("the new member is healthy", || own.is_healthy());
}

#[test]
fn a_blank_machine_comes_back_as_a_learner_and_gets_its_vote() {
    if skipped() {
        return;
    }
    let mut stand = Stand::new(4);
    stand.found(3);
    assert_eq!(stand.members(0), "a b c");
    // Whoever answers is not blank.
    assert!(matches!(ask(&stand, 0, 2, true), Response::NotYet(why) if why.contains("answers")));
    assert_eq!(stand.members(0), "a b c");

    stand.machines[2].wipe();
    assert!(matches!(ask(&stand, 0, 2, true), Response::NotYet(why) if why.contains("removed")));
    assert_eq!(stand.members(1), "a b");
    let list = members(ask(&stand, 1, 2, true));
    for machine in &stand.machines[..3] {
        assert!(
            list.contains(&format!("{}={}", machine.name, machine.url())),
            "{list}"
        );
    }
    assert_eq!(stand.members(0), "-? a b");
    // Asking once more changes nothing, and another machine waits.
    assert_eq!(members(ask(&stand, 0, 2, true)), list);
    let wanted = stand.machines[2].wanted();
    assert_eq!(members(promote(&stand.client(0), &wanted).unwrap()), list);
    assert!(matches!(ask(&stand, 0, 3, true), Response::NotYet(why) if why.contains("joining")));
    assert_eq!(stand.members(0), "-? a b");

    join(&mut stand, 0, 2, &list);
    assert_eq!(stand.members(2), "a b c");
    // What is asked again after a lost answer is so already.
    assert_eq!(promote(&stand.client(1), &wanted).unwrap(), Response::Done);
    // It counts: with another member off there is still a quorum.
    stand.machines[0].kill();
    let client = stand.client(2);
    wait("two of three go on", || {
        client.is_healthy() && client.members().is_ok()
    });
}

#[test]
fn a_learner_that_never_comes_is_dropped_for_another_machine() {
    if skipped() {
        return;
    }
    let mut stand = Stand::new(5);
    stand.found(3);
    members(ask(&stand, 0, 3, true));
    assert!(matches!(ask(&stand, 0, 4, true), Response::NotYet(why) if why.contains("joining")));
    assert!(matches!(ask(&stand, 0, 4, false), Response::NotYet(why) if why.contains("gone")));
    assert_eq!(stand.members(0), "a b c");
    // It comes after all, and is told so; nothing of it was ever needed.
    let wanted = stand.machines[3].wanted();
    assert_eq!(
        promote(&stand.client(0), &wanted).unwrap(),
        Response::NoMember
    );
    let list = members(ask(&stand, 0, 4, false));

    // The same for one that has started, whose etcd then ends by itself.
    stand.machines[4].start(&list, "existing");
    wait("the learner tells its name", || {
        stand.members(0) == "a b c e?"
    });
    assert!(matches!(ask(&stand, 1, 3, false), Response::NotYet(why) if why.contains("gone")));
    let learner = &mut stand.machines[4];
    wait("a learner that was removed ends", || learner.has_ended());
    let wanted = stand.machines[4].wanted();
    assert_eq!(
        promote(&stand.client(0), &wanted).unwrap(),
        Response::NoMember
    );

    let list = members(ask(&stand, 0, 3, false));
    join(&mut stand, 0, 3, &list);
    assert_eq!(stand.members(0), "a b c d");
}

#[test]
fn nothing_is_removed_that_the_quorum_needs() {
    if skipped() {
        return;
    }
    let mut stand = Stand::new(4);
    stand.found(3);
    stand.machines[1].kill();
    let client = stand.client(0);
    wait("two of three go on", || client.is_healthy());
    let all = client.members().unwrap();
    let named = |name: &str| all.iter().find(|member| member.name == name).unwrap();
    let refused = remove(&client, &all, named("c")).unwrap_err().to_string();
    assert!(refused.contains("without c too few"), "{refused}");
    // So does etcd itself, which decides if one falls silent after the look.
    wait("etcd misses its member", || {
        client.remove(&named("c").id).is_err() && stand.members(0) == "a b c"
    });
    // The dead one may go, and then no other.
    let others = ask(&stand, 0, 3, true);
    assert!(matches!(others, Response::NotYet(why) if why.contains("while b does not answer")));
    remove(&client, &all, named("b")).unwrap();
    assert_eq!(stand.members(0), "a c");
    let left = client.members().unwrap();
    stand.machines[2].kill();
    wait("without a quorum there is no list", || {
        client.members().is_err()
    });
    assert!(remove(&client, &left, &left[0]).is_err());
    let told = admit(&client, &stand.machines[1].wanted(), &|_| true).unwrap();
    assert!(matches!(told, Response::NotYet(why) if why.contains("healthy")));
}

#[test]
fn the_register_is_the_same_on_every_member_and_no_change_gets_lost() {
    if skipped() {
        return;
    }
    let mut stand = Stand::new(3);
    stand.found(3);
    let machine = |number| MachineId([number; 16]);
    let entry = |name: &str| Entry {
        version: 1,
        host_name: name.to_owned(),
        key: None,
        joined: false,
        removed: None,
    };
    let empty = Register::read(&stand.client(0)).unwrap();
    assert_eq!(empty.machines.len(), 0);
    assert!(
        empty
            .write(&stand.client(0), machine(1), &entry("one"))
            .unwrap()
    );
    // What was judged by an older state is not written.
    assert!(
        !empty
            .write(&stand.client(1), machine(2), &entry("two"))
            .unwrap()
    );
    let now = Register::read(&stand.client(2)).unwrap();
    assert_eq!(now.machines.get(&machine(1)), Some(&entry("one")));
    // All machines want in at once, by different members; there is room for three.
    let taken: usize = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..6u8)
            .map(|number| {
                let client = stand.client(usize::from(number) % 3);
                scope.spawn(move || {
                    let taken = change(&client, machine(10 + number), |register| {
                        match register.machines.len() < 4 {
                            true => (Some(entry("x")), true),
                            false => (None, false),
                        }
                    });
                    usize::from(taken.unwrap_or(false))
                })
            })
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).sum()
    });
    assert_eq!(taken, 3);
    assert_eq!(Register::read(&stand.client(1)).unwrap().machines.len(), 4);
}
