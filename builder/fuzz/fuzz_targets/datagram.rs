//! Datagrams of discovery, as they come and as they are when opened: what is read is written again as it was.
#![no_main]

use contract::datagram::endpoint::Endpoint;
use contract::datagram::{Beacon, MachineId, Payload, Roles};
use contract::secret::Secret;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let beacon = Beacon {
        machine: MachineId([1; 16]),
        incarnation: [2; 16],
        boot: 300,
        sequence: 1 << 40,
        key: [3; 32],
        host_name: "plant-7-01234567".into(),
        addresses: vec![
            [192, 168, 7, 10].into(),
            [0xfd00, 0, 0, 0, 0, 0, 0, 1].into(),
        ],
        decided: Some((4, [5; 16])),
        cluster: Some([6; 16]),
        roles: Roles {
            control_plane: true,
            ..Roles::default()
        },
        phase: "waiting for 2 of 3 machines".into(),
        time: 1_790_000_000,
    };
    let message = Payload::Assembly {
        to: Some(beacon.machine),
        bytes: vec![7; 300],
    };
    let bytes = |payload: Payload| payload.to_bytes().expect("it keeps the limits");
    vec![
        ("probe", bytes(Payload::Probe)),
        ("beacon", bytes(Payload::Beacon(beacon))),
        ("assembly", bytes(message)),
    ]
}

thread_local! {
    static ENDPOINT: RefCell<Endpoint> =
        RefCell::new(Endpoint::new(&Secret::new("secret")).expect("there are random bytes"));
}

fuzz_target!(init: seeds(payloads), |bytes: &[u8]| {
    let opened = ENDPOINT.with(|endpoint| endpoint.borrow_mut().open(bytes));
    assert!(opened.is_err(), "nobody sealed it");
    if let Ok(payload) = Payload::from_bytes(bytes) {
        assert_eq!(payload.to_bytes().expect("it was read"), bytes);
    }
});
