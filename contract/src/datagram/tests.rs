use super::endpoint::{Endpoint, REMEMBERED, Refusal, SealError};
use super::*;
use crate::secret::Secret;
use proptest::prelude::*;

fn endpoint(secret: &str) -> Endpoint {
    Endpoint::new(&Secret::new(secret)).unwrap()
}

fn beacon(sequence: u64) -> Beacon {
    Beacon {
        machine: MachineId([7; 16]),
        incarnation: [8; 16],
        boot: 3,
        sequence,
        key: [9; 32],
        host_name: "plant-7-01234567".into(),
        addresses: vec!["192.168.7.10".parse().unwrap(), "fd00::10".parse().unwrap()],
        decided: Some((4, [10; 16])),
        cluster: Some([11; 16]),
        roles: Roles {
            control_plane: true,
            etcd: true,
            worker: false,
            ready: false,
            joins: false,
        },
        phase: "waiting for 2 of 3 machines".into(),
        time: 1_790_000_000,
    }
}

/// The greatest beacon that there is.
fn greatest() -> Beacon {
    Beacon {
        boot: u32::MAX,
        host_name: "h".repeat(MAX_HOST_NAME),
        addresses: vec!["fd00::1".parse().unwrap(); MAX_ADDRESSES],
        phase: "p".repeat(MAX_PHASE),
        decided: Some((u32::MAX, [255; 16])),
        time: u64::MAX,
        ..beacon(u64::MAX)
    }
}

fn payloads() -> Vec<Payload> {
    let assembly = |to, length| Payload::Assembly {
        to,
        bytes: vec![0xa5; length],
    };
    vec![
        Payload::Probe,
        Payload::Beacon(beacon(1)),
        Payload::Beacon(Beacon {
            addresses: Vec::new(),
            decided: None,
            cluster: None,
            host_name: String::new(),
            phase: String::new(),
            ..beacon(2)
        }),
        Payload::Beacon(greatest()),
        assembly(None, 0),
        assembly(None, MAX_ASSEMBLY),
        assembly(Some(MachineId([1; 16])), MAX_ASSEMBLY),
    ]
}

#[test]
fn what_is_sealed_opens_at_the_other_end_once() {
    let (mut one, mut other) = (endpoint("secret"), endpoint("secret"));
    for payload in payloads() {
        for way in [Way::Unicast, Way::Multicast] {
            let datagram = one.seal(&payload, way).unwrap();
            assert!(datagram.len() <= MAX_DATAGRAM, "{}", datagram.len());
            assert_eq!(datagram.len() % 64, 1, "49 of header and 16 of tag");
            assert_eq!(one.open(&datagram), Err(Refusal::Own));
            match other.open(&datagram) {
                Ok(opened) => assert_eq!((opened.payload, opened.way), (payload.clone(), way)),
                // The sequence is the same.
                Err(Refusal::Replayed) if way == Way::Multicast => {}
                Err(refusal) => panic!("{payload:?}: {refusal}"),
            }
            assert_eq!(other.open(&datagram), Err(Refusal::Replayed));
        }
    }
    assert_eq!(one.counters().own, 14);
    let counters = other.counters();
    assert_eq!(
        (counters.received, counters.taken, counters.replayed),
        (28, 11, 17)
    );
}

#[test]
fn limits_hold_when_payloads_are_written() {
    let mut one = endpoint("secret");
    let mut refused = |payload: Payload, part: &str| {
        let Err(SealError::Payload(error)) = one.seal(&payload, Way::Unicast) else {
            panic!("{part} is too long");
        };
        assert!(error.to_string().contains(part), "{error}");
    };
    let with = |change: &dyn Fn(&mut Beacon)| {
        let mut beacon = greatest();
        change(&mut beacon);
        Payload::Beacon(beacon)
    };
    refused(with(&|beacon| beacon.host_name.push('h')), "host name");
    refused(with(&|beacon| beacon.phase.push('p')), "phase");
    refused(with(&|beacon| beacon.phase = "\x1b[2J".into()), "control");
    refused(
        with(&|beacon| beacon.addresses.push("::1".parse().unwrap())),
        "addresses",
    );
    let bytes = vec![0; MAX_ASSEMBLY + 1];
    refused(Payload::Assembly { to: None, bytes }, "message");
}

/// Every bit that differs, and every length, is found out without a panic, and counted.
#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let mut one = endpoint("secret");
    for payload in payloads() {
        let mut other = endpoint("secret");
        let datagram = one.seal(&payload, Way::Unicast).unwrap();
        for length in 0..datagram.len() {
            let refusal = other.open(&datagram[..length]).unwrap_err();
            assert!(
                matches!(refusal, Refusal::Garbage | Refusal::Forged),
                "{length} {refusal}"
            );
        }
        for bit in 0..datagram.len() * 8 {
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 8 {
                Refusal::Garbage
            } else {
                Refusal::Forged
            };
            assert_eq!(other.open(&flipped), Err(expected), "bit {bit}");
        }
        for more in 1..200 {
            let longer = [&datagram[..], &vec![0; more]].concat();
            let refusal = other.open(&longer).unwrap_err();
            assert_eq!(
                refusal == Refusal::Oversized,
                longer.len() > MAX_DATAGRAM,
                "{more}"
            );
        }
        let counters = other.counters();
        assert_eq!(counters.taken + counters.replayed + counters.unreadable, 0);
        assert_eq!(
            counters.received,
            counters.garbage + counters.forged + counters.oversized
        );
        assert!(other.open(&datagram).is_ok(), "the flood left no trace");
    }
}

#[test]
fn another_secret_sees_nothing() {
    let (mut one, mut stranger) = (endpoint("secret"), endpoint("secrets"));
    for payload in payloads() {
        let datagram = one.seal(&payload, Way::Unicast).unwrap();
        assert_eq!(stranger.open(&datagram), Err(Refusal::Forged));
    }
    assert_eq!(stranger.counters().forged, 7);
}

/// Two datagrams of one payload share nothing but the version and the salt, and their lengths tell no more than
/// a multiple of 64.
#[test]
fn nothing_readable_is_on_the_wire() {
    let mut one = endpoint("secret");
    let datagram = |one: &mut Endpoint, payload| one.seal(&payload, Way::Unicast).unwrap();
    let first = datagram(&mut one, Payload::Beacon(beacon(1)));
    let second = datagram(&mut one, Payload::Beacon(beacon(1)));
    assert_eq!(first[..17], second[..17]);
    let same = first[17..]
        .iter()
        .zip(&second[17..])
        .filter(|(a, b)| a == b);
    assert!(same.count() < 16);
    for text in [&b"plant-7"[..], b"waiting", &[9; 32]] {
        assert!(!first.windows(text.len()).any(|window| window == text));
    }
    let mut longer = beacon(1);
    longer.host_name.push_str("-b");
    assert_eq!(
        datagram(&mut one, Payload::Beacon(longer)).len(),
        first.len()
    );
    assert_ne!(
        datagram(&mut endpoint("secret"), Payload::Probe)[1..17],
        first[1..17]
    );
}

/// A beacon sealed anew with an old sequence is as little new as a copy of the datagram.
#[test]
fn a_beacon_counts_once_and_never_after_a_newer_boot() {
    let (mut one, mut other) = (endpoint("secret"), endpoint("secret"));
    let mut say = |boot, sequence| {
        let beacon = Beacon {
            boot,
            ..beacon(sequence)
        };
        let datagram = one.seal(&Payload::Beacon(beacon), Way::Unicast).unwrap();
        other.open(&datagram).map(|_| ())
    };
    assert_eq!(say(3, 10), Ok(()));
    assert_eq!(say(3, 9), Ok(()));
    assert_eq!(say(3, 10), Err(Refusal::Replayed));
    assert_eq!(say(4, 1), Ok(()));
    assert_eq!(say(3, 11), Err(Refusal::Replayed));
}

/// A recording of more datagrams than are remembered: copies of beacons are still none, whoever sends them.
#[test]
fn a_long_recording_is_found_out() {
    let (mut one, mut other) = (endpoint("secret"), endpoint("secret"));
    let recording: Vec<_> = (0..REMEMBERED as u64 + 100)
        .map(|sequence| {
            one.seal(&Payload::Beacon(beacon(sequence)), Way::Unicast)
                .unwrap()
        })
        .collect();
    let mut taken = |_: &str| {
        recording
            .iter()
            .filter(|datagram| other.open(datagram).is_ok())
            .count()
    };
    assert_eq!(taken("first"), recording.len());
    assert_eq!(taken("again"), 0);
}

#[test]
fn an_endpoint_knows_its_former_salts() {
    let mut one = endpoint("secret");
    let first = one.seal(&Payload::Probe, Way::Unicast).unwrap();
    one.exhaust();
    let second = one.seal(&Payload::Probe, Way::Unicast).unwrap();
    assert_ne!(first[1..17], second[1..17]);
    assert_eq!(one.open(&first), Err(Refusal::Own));
    assert_eq!(one.open(&second), Err(Refusal::Own));
    let mut other = endpoint("secret");
    assert!(other.open(&first).is_ok() && other.open(&second).is_ok());
}

#[test]
fn each_payload_has_one_form() {
    for payload in payloads() {
        let bytes = payload.to_bytes().unwrap();
        assert_eq!(Payload::from_bytes(&bytes), Ok(payload));
        assert!(Payload::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        for length in 0..bytes.len() {
            assert!(Payload::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
    }
    // An unknown kind; a length in two bytes where one does; a list longer than allowed; a huge length.
    for bytes in [
        &[3][..],
        &[2, 0, 0x80, 0x00],
        &[2, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &[2, 2, 0],
    ] {
        assert_eq!(
            Payload::from_bytes(bytes),
            Err(PayloadError::Malformed),
            "{bytes:?}"
        );
    }
    let mut long = greatest();
    long.addresses.push("::1".parse().unwrap());
    let bytes = postcard::to_stdvec(&Payload::Beacon(long)).unwrap();
    assert!(matches!(
        Payload::from_bytes(&bytes),
        Err(PayloadError::TooLong { .. })
    ));
}

proptest! {
    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..1400)) {
        prop_assert!(endpoint("secret").open(&bytes).is_err());
    }

    #[test]
    fn what_is_read_is_what_is_written(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(payload) = Payload::from_bytes(&bytes) {
            prop_assert_eq!(payload.to_bytes(), Ok(bytes));
        }
    }
}

/// Neighbours of good payloads, of which some are good as well.
fn neighbour() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    let cut = prop::option::of(any::<prop::sample::Index>());
    (
        0..payloads().len(),
        prop::collection::vec(change, 0..4),
        cut,
    )
        .prop_map(|(which, changes, cut)| {
            let mut bytes = payloads()[which].to_bytes().unwrap();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
            bytes
        })
}

proptest! {
    #[test]
    fn neighbours_of_payloads_have_one_form_too(bytes in neighbour()) {
        if let Ok(payload) = Payload::from_bytes(&bytes) {
            prop_assert_eq!(payload.to_bytes(), Ok(bytes));
        }
    }
}

/// What a flood costs: each kind of datagram, in nanoseconds.
#[test]
#[ignore = "a measurement: cargo test --release -p seedbed-contract what_a_flood -- --ignored --nocapture"]
fn what_a_flood_costs() {
    const COUNT: u32 = 20_000;
    let (mut one, mut other) = (endpoint("secret"), endpoint("secret"));
    let genuine = one
        .seal(&Payload::Beacon(beacon(1)), Way::Multicast)
        .unwrap();
    let mut garbage = genuine.clone();
    garbage[5] ^= 1;
    let mut broken = genuine.clone();
    *broken.last_mut().unwrap() ^= 1;
    let time = |other: &mut Endpoint, what: &str, datagram: &[u8]| {
        let start = std::time::Instant::now();
        (0..COUNT).for_each(|_| drop(other.open(datagram)));
        let each = start.elapsed().as_nanos() / u128::from(COUNT);
        println!("{what}: {each} ns");
    };
    time(&mut other, "no mark of ours", &garbage);
    time(
        &mut other,
        "a recorded header of an unknown sender, another body",
        &broken,
    );
    let _ = other.open(&genuine);
    time(&mut other, "a copy of a datagram taken", &genuine);
}
