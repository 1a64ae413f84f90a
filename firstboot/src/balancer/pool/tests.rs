use std::net::SocketAddr;
use std::time::Duration;

use super::{DRAIN, Pool};
use crate::balancer::backends::Backends;
use crate::balancer::health::Finding::{self, Alive, Refused, Silent};

const NOW: Duration = Duration::from_secs(100);

fn address(server: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, server], 6443))
}

fn list(servers: &[u8], own: Option<u8>) -> Backends {
    Backends {
        backends: servers.iter().map(|server| address(*server)).collect(),
        own: own.map(address),
    }
}

fn pool(servers: &[u8], own: Option<u8>, findings: &[(u8, Finding)]) -> Pool {
    let mut pool = Pool::new(0);
    pool.replace(&list(servers, own), NOW);
    for (server, finding) in findings {
        pool.observe(address(*server), *finding);
    }
    pool
}

fn choices(pool: &mut Pool, count: usize) -> Vec<SocketAddr> {
    (0..count).filter_map(|_| pool.choose(&[])).collect()
}

/// The order in which one connection tries all servers.
fn attempts(pool: &mut Pool) -> Vec<SocketAddr> {
    let mut tried = Vec::new();
    while let Some(server) = pool.choose(&tried) {
        pool.closed(server);
        tried.push(server);
    }
    tried
}

fn all(servers: &[u8]) -> Vec<SocketAddr> {
    servers.iter().map(|server| address(*server)).collect()
}

#[test]
fn a_connection_tries_the_best_first() {
    let check = |own, findings: &[(u8, Finding)], expected: &[u8]| {
        let mut pool = pool(&[1, 2, 3], own, findings);
        let attempts = attempts(&mut pool);
        assert_eq!(attempts[..expected.len()], all(expected), "{findings:?}");
        assert_eq!(attempts.len(), 3, "{findings:?}");
    };
    let healthy = [(1, Alive), (2, Alive), (3, Alive)];
    check(None, &healthy, &[1]);
    check(Some(2), &healthy, &[2]);
    check(Some(9), &healthy, &[1]);
    check(Some(2), &[(1, Alive), (2, Refused), (3, Alive)], &[1, 3, 2]);
    check(Some(2), &[(3, Alive)], &[3, 2]);
    check(None, &[(1, Refused), (2, Refused), (3, Alive)], &[3]);
    check(Some(3), &[(1, Refused), (2, Refused), (3, Refused)], &[3]);
    check(Some(3), &[], &[3]);
}

#[test]
fn a_pool_without_servers_has_no_choice() {
    assert_eq!(Pool::new(7).choose(&[]), None);
    assert_eq!(pool(&[], Some(1), &[]).choose(&[]), None);
}

#[test]
fn connections_spread_evenly_among_others_servers() {
    let healthy = [(1, Alive), (2, Alive), (3, Alive)];
    let mut pool = pool(&[1, 2, 3], None, &healthy);
    let mut chosen = choices(&mut pool, 300);
    chosen.sort();
    let expected: Vec<SocketAddr> = [1, 2, 3].map(|s| vec![address(s); 100]).concat();
    assert_eq!(chosen, expected);
    // Who lost its connections gets the next ones.
    for _ in 0..10 {
        pool.closed(address(2));
    }
    assert_eq!(choices(&mut pool, 10), vec![address(2); 10]);
}

#[test]
fn machines_begin_with_different_servers() {
    let first = |turn| {
        let mut pool = Pool::new(turn);
        pool.replace(&list(&[1, 2, 3], None), NOW);
        pool.choose(&[])
    };
    let firsts: Vec<_> = (0..4).map(first).collect();
    assert_eq!(firsts, [1, 2, 3, 1].map(|server| Some(address(server))));
    assert!(first(usize::MAX).is_some());
}

#[test]
fn a_dropped_server_drains() {
    let mut pool = pool(&[1, 2], None, &[(1, Alive), (2, Alive)]);
    choices(&mut pool, 4);
    pool.replace(&list(&[1], None), NOW);
    assert_eq!(choices(&mut pool, 2), vec![address(1); 2]);
    assert_eq!(pool.pause(address(2)), None);
    assert_eq!(pool.listed().collect::<Vec<_>>(), all(&[1]));
    // A second list without it does not begin its time anew.
    pool.replace(&list(&[1], None), NOW + DRAIN / 2);
    let almost = DRAIN - Duration::from_millis(1);
    assert_eq!(pool.doomed(NOW + almost), []);
    assert_eq!(pool.doomed(NOW + DRAIN), all(&[2]));
    pool.closed(address(2));
    assert_eq!(pool.doomed(NOW + DRAIN), all(&[2]));
    pool.closed(address(2));
    assert_eq!(pool.doomed(NOW + DRAIN), []);
}

#[test]
fn a_server_that_is_listed_again_is_as_before() {
    let mut pool = pool(&[1, 2], None, &[(1, Alive), (2, Alive)]);
    choices(&mut pool, 2);
    pool.replace(&list(&[1], None), NOW);
    pool.replace(&list(&[1, 2], None), NOW);
    assert_eq!(pool.doomed(NOW + DRAIN), []);
    assert_eq!(pool.observe(address(2), Alive), None);
}

#[test]
fn connections_to_a_server_that_is_down_end_if_there_is_another() {
    let check = |findings: &[(u8, Finding)], expected: &[u8]| {
        let mut pool = pool(&[1, 2], None, &[]);
        choices(&mut pool, 2);
        for (server, finding) in findings {
            pool.observe(address(*server), *finding);
        }
        assert_eq!(pool.doomed(NOW), all(expected), "{findings:?}");
    };
    check(&[], &[]);
    check(&[(1, Alive), (2, Alive)], &[]);
    check(&[(1, Alive), (2, Refused)], &[2]);
    check(&[(1, Alive), (2, Silent)], &[]);
    check(&[(1, Alive), (2, Silent), (2, Silent)], &[2]);
    check(&[(1, Refused), (2, Refused)], &[]);
    check(&[(1, Refused), (2, Refused), (1, Alive)], &[2]);
    check(&[(1, Refused)], &[]);
}
