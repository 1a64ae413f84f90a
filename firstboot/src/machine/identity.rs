//! A machine's identity, derived from its hardware: the same at every boot, before anything was ever written.
//!
//! It counts only until the ledger holds one; a replaced network card does not make a new machine.

use std::collections::BTreeSet;

use anyhow::Result;
use sha2::{Digest, Sha256};

use crate::host::Host;

const DMI: &str = "/sys/class/dmi/id";
const FIELDS: [&str; 4] = [
    "product_uuid",
    "product_serial",
    "board_serial",
    "chassis_serial",
];

/// Values that firmware has where nobody filled in a real one, in lower case.
const JUNK: &[&str] = &[
    "",
    "0",
    "none",
    "default string",
    "default",
    "not specified",
    "not available",
    "not applicable",
    "system serial number",
    "base board serial number",
    "chassis serial number",
    "serial number",
    "0123456789",
    "1234567890",
    "123456789",
    "unknown",
    "invalid",
    "empty",
    "n/a",
    "na",
    "oem",
    "03000200-0400-0500-0006-000700080009",
];

/// What tells this machine from all others, each as `kind=value`; junk is left out.
pub fn facts(host: &dyn Host) -> Result<BTreeSet<String>> {
    let mut facts = BTreeSet::new();
    for field in FIELDS {
        let value = host
            .read_text(&format!("{DMI}/{field}"))?
            .unwrap_or_default();
        let value = value.trim().to_lowercase();
        if !is_junk(&value) {
            facts.insert(format!("{field}={value}"));
        }
    }
    for name in host.list("/sys/class/net")? {
        if let Some(mac) = permanent_mac(host, &name)? {
            facts.insert(format!("mac={mac}"));
        }
    }
    Ok(facts)
}

/// The interface's hardware address, if it is a device of its own and has a permanent one.
pub fn permanent_mac(host: &dyn Host, interface: &str) -> Result<Option<String>> {
    let folder = format!("/sys/class/net/{interface}");
    let text = |file: &str| -> Result<String> {
        let text = host.read_text(&format!("{folder}/{file}"))?;
        Ok(text.unwrap_or_default().trim().to_lowercase())
    };
    // 1 is ARPHRD_ETHER; an assign type of 0 is NET_ADDR_PERM.
    if !host.exists(&format!("{folder}/device"))
        || text("type")? != "1"
        || text("addr_assign_type")? != "0"
    {
        return Ok(None);
    }
    let mac = text("address")?;
    Ok((mac.len() == 17 && mac != "00:00:00:00:00:00").then_some(mac))
}

/// 64 hexadecimal digits over all facts. Without any fact there is no identity.
pub fn digest(facts: &BTreeSet<String>) -> Option<String> {
    if facts.is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(b"seedbed machine identity v1\0");
    for fact in facts {
        hash.update(fact.as_bytes());
        hash.update(b"\0");
    }
    Some(hex(&hash.finalize()))
}

/// systemd's machine-id for an identity: 32 digits that do not give the identity away (machine-id(5)).
pub fn machine_id(identity: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"seedbed machine-id v1\0");
    hash.update(identity.as_bytes());
    let digest = hash.finalize();
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    hex(contract::guid::Guid::derived(bytes).as_bytes())
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_junk(value: &str) -> bool {
    let mut letters = value.chars().filter(char::is_ascii_alphanumeric);
    let first = letters.next();
    JUNK.contains(&value)
        || value.contains("to be filled")
        || value.contains("o.e.m.")
        || first.is_none()
        // All one letter: zeros, all F, all x.
        || letters.all(|letter| Some(letter) == first)
}

#[cfg(test)]
mod tests {
    use super::{digest, facts, is_junk, machine_id};
    use crate::host::fake::Fake;

    #[test]
    fn junk_is_known() {
        for (value, junk) in [
            ("to be filled by o.e.m.", true),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", true),
            ("00000000-0000-0000-0000-000000000000", true),
            ("....", true),
            ("default string", true),
            ("vmware-42 1d", false),
            ("4c4c4544-0031", false),
        ] {
            assert_eq!(is_junk(value), junk, "{value}");
        }
    }

    #[test]
    fn only_permanent_addresses_of_devices_count() {
        let host = Fake::default();
        host.put("/sys/class/dmi/id/product_uuid", "4C4C4544-0031\n");
        host.put("/sys/class/dmi/id/product_serial", "None\n");
        for (name, assign, device) in [
            ("eth0", "0", true),
            ("cni0", "3", false),
            ("eth1", "1", true),
        ] {
            let put =
                |file: &str, text: &str| host.put(&format!("/sys/class/net/{name}/{file}"), text);
            put("type", "1\n");
            put("addr_assign_type", assign);
            put("address", "52:54:00:12:34:56\n");
            if device {
                put("device/uevent", "");
            }
        }
        let facts = facts(&host).unwrap();
        let facts: Vec<&str> = facts.iter().map(String::as_str).collect();
        assert_eq!(
            facts,
            ["mac=52:54:00:12:34:56", "product_uuid=4c4c4544-0031"]
        );
    }

    #[test]
    fn an_identity_needs_a_fact_and_gives_a_valid_machine_id() {
        assert_eq!(digest(&[].into()), None);
        let identity = digest(&[String::from("mac=x")].into()).unwrap();
        let id = machine_id(&identity);
        assert_eq!((identity.len(), id.len()), (64, 32));
        assert_ne!(&identity[..32], id);
    }
}
