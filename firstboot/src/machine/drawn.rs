//! Addresses that machines draw where nobody gives them any: each has a row of candidates that follows from its
//! hardware, so that it tries the same ones at every start.

use std::net::IpAddr;

use contract::seed::subnet::Subnet;
use sha2::{Digest, Sha256};

/// The candidate with the number `attempt`, counted from 0, of the machine with this digest.
pub fn candidate(range: Subnet, machine: &str, attempt: u32) -> Option<IpAddr> {
    let mut hash = Sha256::new();
    hash.update(b"seedbed drawn address v1\0");
    hash.update(machine.as_bytes());
    hash.update(attempt.to_be_bytes());
    let digest = hash.finalize();
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    // Of an IPv6 network, more than four thousand million are not needed.
    let bits = if range.is_v4() { 32 } else { 128 } - u32::from(range.prefix());
    let size = 1u64.checked_shl(bits).unwrap_or(u64::MAX).min(1 << 32);
    // Neither the first, which names the network, nor the last, which names all of its machines.
    let host = 1 + u64::from(number) % size.saturating_sub(2).max(1);
    range.nth(u32::try_from(host).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_machines_of_the_range_and_differ() {
        for range in [
            "172.29.0.0/16",
            "10.0.0.0/8",
            "192.168.7.0/24",
            "fd00:5eed::/64",
        ] {
            let range: Subnet = range.parse().unwrap();
            let draw = |machine: &str, attempt| candidate(range, machine, attempt).unwrap();
            for attempt in 0..500 {
                let drawn = draw("ab", attempt);
                assert!(
                    range.contains(drawn) && !range.is_reserved(drawn),
                    "{drawn}"
                );
            }
            assert_eq!(draw("ab", 0), draw("ab", 0));
            assert_ne!(draw("ab", 0), draw("ab", 1));
            assert_ne!(draw("ab", 0), draw("cd", 0));
        }
    }
}
