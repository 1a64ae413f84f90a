//! Routes to the pods of other machines: each node's ranges lie behind its address.
//!
//! The nodes of the cluster say what there is to be, the kernel what there is; the difference is made. Only routes
//! with our own protocol number are touched.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use contract::seed::subnet::Subnet;
use serde::Deserialize;
use serde_json::Value;

use crate::host::{Cmd, Host};

const IP: &str = "/usr/bin/ip";
/// What marks our routes (rtnetlink's `rtm_protocol`; no entry of rt_protos(5) has it).
const PROTOCOL: &str = "117";

/// Ranges of pods, and the machines behind which they lie.
pub type Routes = BTreeMap<Subnet, IpAddr>;

/// What there is to be, on the node `own`.
pub fn wanted(nodes: &[Value], own: &str) -> Routes {
    let others = nodes
        .iter()
        .filter(|node| node["metadata"]["name"].as_str() != Some(own));
    let mut routes = Routes::new();
    for node in others {
        let addresses = addresses(node);
        for range in list(&node["spec"]["podCIDRs"]) {
            let Some(range) = range.as_str().and_then(|text| text.parse::<Subnet>().ok()) else {
                continue;
            };
            let mut same = addresses.iter();
            if let Some(address) = same.find(|address| address.is_ipv4() == range.is_v4()) {
                routes.insert(range, *address);
            }
        }
    }
    routes
}

/// The addresses at which a node is reached inside the cluster.
pub fn addresses(node: &Value) -> Vec<IpAddr> {
    list(&node["status"]["addresses"])
        .iter()
        .filter(|address| address["type"] == "InternalIP")
        .filter_map(|address| address["address"].as_str()?.parse().ok())
        .collect()
}

/// The elements of a list; none if it is something else.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Makes the kernel's routes what they are to be. One that cannot be made keeps no other from it.
pub fn apply(host: &dyn Host, wanted: &Routes) -> Result<()> {
    let there = there(host)?;
    let mut failed = Vec::new();
    for (range, address) in wanted {
        if there.get(range) != Some(address) {
            let command = Cmd::new(IP).args(["route", "replace", &range.to_string()]);
            let command = command.args(["via", &address.to_string(), "proto", PROTOCOL]);
            failed.extend(host.run(&command).err());
        }
    }
    for range in there.keys().filter(|range| !wanted.contains_key(range)) {
        let command = Cmd::new(IP).args(["route", "delete", &range.to_string()]);
        failed.extend(host.run(&command.args(["proto", PROTOCOL])).err());
    }
    match failed.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(first),
    }
}

#[derive(Deserialize)]
struct Route {
    dst: String,
    gateway: Option<IpAddr>,
}

fn there(host: &dyn Host) -> Result<Routes> {
    let mut routes = Routes::new();
    for family in ["-4", "-6"] {
        let command = Cmd::new(IP).args([family, "-json", "route", "show", "proto", PROTOCOL]);
        let output = host.run(&command)?;
        let found: Vec<Route> = match output.stdout.trim() {
            "" => Vec::new(),
            text => serde_json::from_str(text).context("reading the output of ip -json route")?,
        };
        for route in found {
            if let (Ok(range), Some(gateway)) = (route.dst.parse(), route.gateway) {
                routes.insert(range, gateway);
            }
        }
    }
    Ok(routes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;
    use serde_json::json;

    fn node(name: &str, ranges: &[&str], addresses: &[&str]) -> Value {
        let addresses: Vec<Value> = addresses
            .iter()
            .map(|address| json!({ "type": "InternalIP", "address": address }))
            .collect();
        json!({
            "metadata": { "name": name }, "spec": { "podCIDRs": ranges },
            "status": { "addresses": addresses },
        })
    }

    #[test]
    fn each_range_lies_behind_the_address_of_its_family() {
        let nodes = [
            node("a", &["10.244.0.0/24"], &["10.0.0.1"]),
            node(
                "b",
                &["10.244.1.0/24", "fd00:1::/64"],
                &["fd00::b", "10.0.0.2"],
            ),
            node("new", &[], &["10.0.0.3"]),
            node("odd", &["nonsense", "10.244.9.0/24"], &[]),
        ];
        let routes: Vec<String> = wanted(&nodes, "a")
            .iter()
            .map(|(range, address)| format!("{range} {address}"))
            .collect();
        assert_eq!(routes, ["10.244.1.0/24 10.0.0.2", "fd00:1::/64 fd00::b"]);
    }

    #[test]
    fn only_the_difference_is_made() {
        let host = Fake::default();
        host.rule("/usr/bin/ip", |_, _| Ok(String::new()));
        host.rule("/usr/bin/ip -4 -json", |_, _| {
            Ok(String::from(
                r#"[{"dst":"10.244.1.0/24","gateway":"10.0.0.2","dev":"e","flags":[]},
                    {"dst":"10.244.2.0/24","gateway":"10.0.0.3"},{"dst":"10.244.3.0/24","gateway":"10.0.0.9"}]"#,
            ))
        });
        let routes = [("10.244.1.0/24", "10.0.0.2"), ("10.244.3.0/24", "10.0.0.4")];
        let wanted = routes.map(|(range, at)| (range.parse().unwrap(), at.parse().unwrap()));
        apply(&host, &Routes::from(wanted)).unwrap();
        assert_eq!(
            host.effects(),
            [
                "run /usr/bin/ip route replace 10.244.3.0/24 via 10.0.0.4 proto 117",
                "run /usr/bin/ip route delete 10.244.2.0/24 proto 117",
            ]
        );
    }
}
