//! A cluster that exists changes: machines come late, lose their seat, and are removed.

use super::*;
use crate::phases::standing;
use contract::peer::Removal;

/// The seed of the site that machines agree on, as a join seed.
fn join_seed(machines: u8, seats: usize) -> String {
    let id = contract::guid::Guid::derived([3; 16]);
    founding(machines, seats).replacen("  secret:", &format!("  id: {id}\n  secret:"), 1)
}

#[test]
fn the_one_too_many_is_refused_and_changes_nothing_until_it_has_a_join_seed() {
    let site = Site::with_others(4, 3, &[founding(4, 3)]);
    let why = site.bring().unwrap_err();
    let expected =
        "machine 4: join: cluster plant exists and has all machines that its seed expects";
    assert!(
        why.starts_with(expected) && why.lines().count() == 1,
        "{why}"
    );
    assert!(
        why.contains("`seedbed seed join --seed seed.yaml`"),
        "{why}"
    );
    let extra = &*site.hosts[4];
    assert_eq!(ledger::read::<ledger::Membership>(extra).unwrap(), None);
    assert!(!extra.exists("/etc/kubernetes/kubelet.conf"));
    let count = || site.keys.lock().unwrap().values.len();
    assert_eq!(count(), 1);
    // Again and after a start, and those that are in stay in.
    site.hosts.iter().for_each(|host| host.reboot());
    assert!(site.bring().unwrap_err().starts_with(expected));
    assert_eq!(count(), 1);

    extra.put(contract::paths::EMBEDDED_SEED, join_seed(4, 3));
    extra.reboot();
    site.bring().unwrap();
    let membership: ledger::Membership = ledger::decided(extra).unwrap();
    assert_eq!(membership.role, ledger::Role::Worker);
    assert_eq!(count(), 2);
}

#[test]
fn machines_with_a_join_seed_are_workers_and_take_nobodys_place() {
    let seed = join_seed(4, 3);
    let site = Site::with_others(4, 3, &[seed.clone(), seed]);
    site.bring().unwrap();
    for host in &site.hosts[3..] {
        let membership: ledger::Membership = ledger::decided(&**host).unwrap();
        assert_eq!(membership.role, ledger::Role::Worker);
    }
}

#[test]
fn a_member_keeps_the_seed_that_it_came_with() {
    let site = Site::new(4, 3);
    site.bring().unwrap();
    for host in &site.hosts {
        host.put(contract::paths::EMBEDDED_SEED, join_seed(4, 3));
        host.reboot();
    }
    site.bring().unwrap();
    for host in &site.hosts {
        assert_eq!(ledger::seed(&**host).unwrap(), Some(founding(4, 3)));
        let said = crate::phases::seed::contradiction(&**host).unwrap();
        assert!(said.is_some_and(|said| said.contains("is not applied")));
    }
}

/// What the first machine is told to remove another, and answers.
fn remove(site: &Site, machine: usize, dry_run: bool) -> Response {
    let request = Request::Remove(Removal {
        machine: name(&Arc::downgrade(&site.hosts[machine])),
        dry_run,
    });
    answer(&*site.hosts[0], Caller::Operator, &request)
}

fn document(response: Response) -> String {
    match response {
        Response::Document(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_that_was_removed_says_so_and_comes_back_as_a_new_machine_only() {
    let site = Site::new(5, 3);
    site.bring().unwrap();
    let before = site.keys.lock().unwrap().revision;
    let told = document(remove(&site, 4, true));
    assert!(told.starts_with("this would be done:\n"), "{told}");
    assert_eq!(site.keys.lock().unwrap().revision, before);

    let told = document(remove(&site, 4, false));
    assert!(
        told.contains("is not let in any more") && !told.contains("etcd"),
        "{told}"
    );
    assert!(site.gone.lock().unwrap().is_empty());
    let again = document(remove(&site, 4, false));
    assert!(!again.contains("let in"), "{again}");

    // With its certificates, with the founding seed again, and even with a join seed as long as it is the same machine.
    let worker = &site.hosts[4];
    let refused = |phase: &str| {
        let why = site.bring().unwrap_err();
        let expected = format!("machine 4: {phase}: this machine was removed from cluster plant");
        assert!(
            why.starts_with(&expected) && why.lines().count() == 1,
            "{why}"
        );
    };
    worker.reboot();
    refused("standing");
    assert!(!worker.exists("/sys/fs/cgroup/system.slice/kubelet.service/cgroup.events"));
    worker.wipe();
    refused("join");
    worker.put(contract::paths::EMBEDDED_SEED, join_seed(5, 3));
    worker.wipe();
    site.bring().unwrap();
}

#[test]
fn a_control_plane_that_was_removed_has_no_seat_any_more() {
    let site = Site::new(4, 3);
    site.bring().unwrap();
    // Itself it cannot go, nor a machine that nobody knows.
    assert!(matches!(remove(&site, 0, false), Response::Refused(_)));
    let unknown = Request::Remove(Removal {
        machine: String::from("plant-x"),
        dry_run: false,
    });
    let told = answer(&*site.hosts[0], Caller::Operator, &unknown);
    assert!(matches!(told, Response::Barred(_)), "{told:?}");
    // A worker removes nobody, and no machine may ask.
    let keys: ChannelKey = ledger::decided(&*site.hosts[1]).unwrap();
    for (host, caller) in [(3, Caller::Operator), (0, Caller::Machine(keys.public))] {
        let told = answer(&*site.hosts[host], caller, &unknown);
        assert!(matches!(told, Response::Refused(_)), "{told:?}");
    }
    // With another member off, etcd would lose its quorum.
    site.hosts[2].reboot();
    let told = remove(&site, 1, false);
    assert!(
        matches!(&told, Response::Barred(why) if why.contains("too few")),
        "{told:?}"
    );
    site.bring().unwrap();

    let told = document(remove(&site, 1, false));
    assert!(told.contains("2 are left, of which 0 may fail"), "{told}");
    assert_eq!(*site.gone.lock().unwrap(), [1]);
    site.hosts[1].reboot();
    let why = site.bring().unwrap_err();
    assert!(
        why.contains("machine 1: standing: this machine was removed"),
        "{why}"
    );
    // Nor has it without its memory.
    site.hosts[1].wipe();
    let why = site.bring().unwrap_err();
    assert!(
        why.contains("machine 1: authorities: this machine was removed"),
        "{why}"
    );
    for request in [Request::Authorities, Request::Standing] {
        let told = answer(&*site.hosts[0], Caller::Machine(keys.public), &request);
        assert!(matches!(told, Response::Barred(_)), "{told:?}");
    }
}

#[test]
fn a_learner_that_the_others_took_out_erases_what_it_had_and_joins_anew() {
    for answer in [
        Response::NoMember,
        Response::EtcdMembers {
            members: String::from("others"),
            founds: false,
        },
    ] {
        let site = Site::new(3, 3);
        site.bring().unwrap();
        let host = &site.hosts[2];
        // As after it was added, and before it had a vote.
        let member = ledger::EtcdMember {
            founds: false,
            ..ledger::decided(&**host).unwrap()
        };
        ledger::forget::<ledger::EtcdMember>(&**host).unwrap();
        ledger::decide(&**host, &member).unwrap();
        host.remove(crate::phases::etcd::FOUNDED).unwrap();
        host.rule("/usr/bin/systemctl stop etcd.service", |_, _| {
            Ok(String::new())
        });
        host.peers(move |_| Ok(answer.clone()));
        host.effects();
        let phase = crate::phases::etcd::Healthy;
        let trouble = phase.apply(&**host).unwrap_err();
        assert!(trouble.to_string().contains("to join anew"), "{trouble}");
        let effects = host.effects();
        let steps = [
            "systemctl stop etcd.service",
            "-delete",
            "--no-block reboot",
        ];
        assert_eq!(effects.len(), steps.len(), "{effects:?}");
        for (effect, step) in effects.iter().zip(steps) {
            assert!(effect.ends_with(step), "{effects:?}");
        }
        host.reboot();
        let state = crate::phases::etcd::Membership.observe(&**host).unwrap();
        assert!(matches!(state, State::Partial(why) if why.contains("data is gone")));
    }
}

#[test]
fn whoever_nobody_can_tell_goes_on() {
    let site = Site::new(4, 3);
    site.bring().unwrap();
    let worker = &site.hosts[3];
    worker.reboot();
    worker.put(NEIGHBOURS, "[]");
    let phase = crate::phases::standing::Standing;
    assert!(matches!(phase.apply(&**worker), Err(Trouble::Waiting(_))));
    assert_eq!(phase.observe(&**worker).unwrap(), State::Absent);
    worker.set_uptime(61);
    phase.apply(&**worker).unwrap();
    assert_eq!(phase.observe(&**worker).unwrap(), State::Done);
    assert_eq!(standing::settled(&**worker).unwrap(), Some(false));
    // It is asked again until somebody answers.
    site.talk();
    standing::ask(&**worker).unwrap();
    assert_eq!(standing::settled(&**worker).unwrap(), Some(true));
}

#[test]
fn a_removal_that_was_cut_off_is_finished_by_the_same_question() {
    let whole = Site::new(4, 3);
    whole.bring().unwrap();
    whole.hosts[0].effects();
    document(remove(&whole, 1, false));
    let effects = whole.hosts[0].effects().len();
    assert!(effects > 0);
    for cut in 0..effects {
        let site = Site::new(4, 3);
        site.bring().unwrap();
        site.hosts[0].cut_after(Some(cut));
        let told = remove(&site, 1, false);
        assert!(matches!(told, Response::NotYet(_)), "{told:?}");
        site.hosts[0].cut_after(None);
        // From the first step on the machine is out.
        let keys: ChannelKey = ledger::decided(&*site.hosts[1]).unwrap();
        let told = answer(
            &*site.hosts[2],
            Caller::Machine(keys.public),
            &Request::Standing,
        );
        assert!(matches!(told, Response::Barred(_)), "{told:?}");
        assert!(document(remove(&site, 1, false)).contains("the node"));
        assert_eq!(*site.gone.lock().unwrap(), [1]);
    }
}

#[test]
fn a_machine_that_is_removed_while_it_runs_restarts_once() {
    let site = Site::new(5, 3);
    site.bring().unwrap();
    let restarts = |number: usize| {
        let host = &*site.hosts[number];
        host.effects();
        crate::agent::leave(host).unwrap();
        let effects = host.effects();
        effects.iter().any(|effect| effect.ends_with("reboot"))
    };
    assert!(!restarts(4) && !restarts(1));
    document(remove(&site, 4, false));
    document(remove(&site, 1, false));
    assert!(restarts(4) && restarts(1) && !restarts(2));
    // After that it runs nothing, and says why.
    site.hosts[4].reboot();
    assert!(site.bring().is_err());
    assert!(!restarts(4));
}
