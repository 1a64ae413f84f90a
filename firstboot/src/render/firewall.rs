//! What gets in to this machine from outside, as a table of nftables (nft(8)) of our own.
//!
//! The table decides on what is for the machine itself. What it forwards, to pods above all, is the business of
//! Kubernetes' network policies; what it sends is nobody's. Tables of others (kube-proxy's, the pod network's) are
//! looked through as well, each has a say, and none of them is touched here.
//!
//! What a virtual address of the cluster needs, such as its announcements, belongs into [`openings`]. Addresses of
//! services need nothing: kube-proxy rewrites what comes to them before this table sees it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use contract::port;
use contract::seed::subnet::Subnet;

use crate::api_servers;
use crate::ledger::Role;

/// What the table is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// What the machine is; unknown before the machines have agreed.
    pub role: Option<Role>,
    /// Where pods have their addresses from.
    pub pods: Subnet,
    /// The ports that services of type NodePort get.
    pub node_ports: RangeInclusive<u16>,
    /// The addresses of the cluster's nodes, as far as they are known.
    pub nodes: Vec<IpAddr>,
}

/// The kubelet's port.
const KUBELET: u16 = 10250;
/// etcd's ports, for clients and for its members.
const ETCD: RangeInclusive<u16> = 2379..=2380;

/// The text that `nft -f` loads. It replaces the table at once, so that at no moment everything or nothing is open.
pub fn table(firewall: &Firewall) -> String {
    let sets: String = [("nodes4", "ipv4_addr"), ("nodes6", "ipv6_addr")]
        .iter()
        .map(|(name, kind)| set(name, kind, &firewall.nodes))
        .collect();
    let rules: String = openings(firewall)
        .iter()
        .fold(String::new(), |mut text, rule| {
            let _ = writeln!(text, "    {rule}");
            text
        });
    format!(
        "table inet seedbed-host
delete table inet seedbed-host
table inet seedbed-host {{
{sets}  chain input {{
    type filter hook input priority filter; policy drop;
{rules}  }}
}}
"
    )
}

fn set(name: &str, kind: &str, nodes: &[IpAddr]) -> String {
    let mut elements: Vec<IpAddr> = nodes
        .iter()
        .copied()
        .filter(|node| node.is_ipv4() == (kind == "ipv4_addr"))
        .collect();
    elements.sort_unstable();
    elements.dedup();
    let elements: Vec<String> = elements.iter().map(IpAddr::to_string).collect();
    let elements = match elements.is_empty() {
        true => String::new(),
        false => format!(" elements = {{ {} }};", elements.join(", ")),
    };
    format!("  set {name} {{ type {kind};{elements} }}\n")
}

/// What is let in, most frequent first; everything else is dropped.
fn openings(firewall: &Firewall) -> Vec<String> {
    let Firewall {
        role,
        pods,
        node_ports,
        ..
    } = firewall;
    let family = if pods.is_v4() { "ip" } else { "ip6" };
    let range = |ports: &RangeInclusive<u16>| format!("{}-{}", ports.start(), ports.end());
    let mut rules = vec![
        String::from("ct state vmap { established : accept, related : accept, invalid : drop }"),
        String::from("iifname \"lo\" accept"),
        // Pods of this machine, and those of others, whose addresses nobody rewrites on the way.
        String::from("iifname \"cni0\" accept"),
        format!("{family} saddr {pods} accept"),
        // The cluster's nodes: what their pods send to a node comes with the node's address, and Kubernetes promises
        // pods that they reach every node.
        String::from("ip saddr @nodes4 accept"),
        String::from("ip6 saddr @nodes6 accept"),
        // Errors of routers, neighbours and their addresses, and questions of switches that follow groups. These are
        // words of nft's own, which need no list of protocols in /etc.
        String::from("meta l4proto { icmp, icmpv6, igmp } accept"),
        // DHCP: the answers come from a server that was asked by broadcast or by multicast.
        String::from("udp sport 67 udp dport 68 accept"),
        String::from("ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept"),
        format!("udp dport {} accept", port::DISCOVERY),
        format!("tcp dport {} accept", port::PEER),
        format!("tcp dport {KUBELET} accept"),
        // Where kube-proxy leads a service to the machine itself, to a pod without a network of its own.
        String::from("ct status dnat accept"),
        format!(
            "meta l4proto {{ tcp, udp, sctp }} th dport {} accept",
            range(node_ports)
        ),
    ];
    if *role == Some(Role::ControlPlane) {
        rules.push(format!("tcp dport {} accept", api_servers::PORT));
        rules.push(format!("tcp dport {} accept", range(&ETCD)));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firewall(role: Option<Role>) -> Firewall {
        Firewall {
            role,
            pods: "10.244.0.0/16".parse().unwrap(),
            node_ports: 30000..=32767,
            nodes: ["10.0.0.2", "fd00::2", "10.0.0.1", "10.0.0.2"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
        }
    }

    #[test]
    fn the_table_of_a_control_plane() {
        insta::assert_snapshot!(table(&firewall(Some(Role::ControlPlane))));
    }

    #[test]
    fn only_a_control_plane_opens_the_ports_of_api_server_and_etcd() {
        let lines = |role| -> Vec<String> {
            let text = table(&firewall(role));
            text.lines().map(str::to_owned).collect()
        };
        let control_plane = lines(Some(Role::ControlPlane));
        let worker = lines(Some(Role::Worker));
        assert_eq!(worker, lines(None));
        let more: Vec<&String> = control_plane
            .iter()
            .filter(|line| !worker.contains(line))
            .collect();
        assert_eq!(
            more,
            [
                "    tcp dport 6443 accept",
                "    tcp dport 2379-2380 accept"
            ]
        );
    }

    #[test]
    fn pods_have_the_family_of_their_range() {
        let firewall = Firewall {
            pods: "fd00:10::/48".parse().unwrap(),
            nodes: Vec::new(),
            ..firewall(None)
        };
        let text = table(&firewall);
        assert!(text.contains("ip6 saddr fd00:10::/48 accept"), "{text}");
        assert!(text.contains("set nodes4 { type ipv4_addr; }"), "{text}");
    }
}
