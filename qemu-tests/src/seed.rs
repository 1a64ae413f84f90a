//! Seeds for machines that live as long as a test.

use crate::fleet::{INTERFACE, Plan};
use crate::lab;
use anyhow::Context;
use std::fs::File;
use std::io::Read;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The text of a seed for one machine with a fresh secret. Images are always "pulled", so that a pod runs only
/// if the machine itself serves its image.
pub fn text(cluster: &str) -> anyhow::Result<String> {
    Ok(format!(
        "version: 1\ncluster:\n  name: {cluster}\n  secret: {}\n\
         kubernetes:\n  apiServer:\n    extraArgs:\n      \
         enable-admission-plugins: NodeRestriction,AlwaysPullImages\n",
        secret()?
    ))
}

/// The text of a seed for several machines on a segment without any server. etcd's timeouts and the leases are those
/// for emulated machines that share two processors.
pub fn site(cluster: &str, plan: &Plan) -> anyhow::Result<String> {
    let Plan {
        machines,
        control_planes,
        ..
    } = plan;
    Ok(text(cluster)?
        + "  leases: {duration: 60, renewDeadline: 40, retryPeriod: 8}\n"
        + &format!(
            "machines: {{expect: {machines}}}\ncontrolPlane: {{count: {control_planes}}}\n\
             network: {{interface: {INTERFACE}, dhcp: false}}\netcd: {{heartbeat: 1000, election: 10000}}\n"
        ))
}

/// The text of a seed for several machines of the laboratory, which run at this host's own speed.
pub fn in_lab(cluster: &str, plan: &Plan) -> anyhow::Result<String> {
    let Plan {
        machines,
        control_planes,
        ..
    } = plan;
    Ok(text(cluster)?
        + &format!(
            "machines: {{expect: {machines}}}\ncontrolPlane: {{count: {control_planes}}}\n\
             network: {{interface: {}, dhcp: false}}\n",
            lab::INTERFACE
        ))
}

fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("drawing a secret")?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_what_machines_accept() {
        let text = text("plant-7").unwrap();
        let secret = text
            .lines()
            .find_map(|line| line.strip_prefix("  secret: "))
            .unwrap();
        assert_eq!(secret.len(), 32);
        assert!(secret.bytes().all(|byte| ALPHABET.contains(&byte)));
        let plan = Plan {
            machines: 5,
            control_planes: 3,
            memory_mib: 2048,
        };
        for text in [text, site("plant-7", &plan).unwrap()] {
            contract::seed::parse("seed.yaml", &text).unwrap();
        }
    }
}
