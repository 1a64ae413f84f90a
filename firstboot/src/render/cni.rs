//! The built-in pod network's configuration: a bridge on each machine (CNI specification 0.4.0).

use contract::seed::subnet::Subnet;
use serde_json::json;

/// `10-seedbed.conflist` for the pod ranges that the cluster gave this node.
pub fn conflist(ranges: &[String]) -> String {
    let ranges: Vec<_> = ranges
        .iter()
        .map(|range| json!([{ "subnet": range }]))
        .collect();
    let document = json!({
        "cniVersion": "0.4.0",
        "name": "seedbed",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": { "type": "host-local", "ranges": ranges, "routes": [{ "dst": "0.0.0.0/0" }] },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    format!("{document:#}\n")
}

/// The table of nftables (nft(8)) by which pods reach the world outside with their machine's address, and each other
/// with their own. Loading it again replaces it.
pub fn masquerade(pods: Subnet) -> String {
    let (family, network) = match pods.is_v4() {
        true => ("ip", "ip"),
        false => ("ip6", "ip6"),
    };
    format!(
        "table {family} seedbed-pods
delete table {family} seedbed-pods
table {family} seedbed-pods {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {network} saddr {pods} {network} daddr != {pods} oifname != \"cni0\" masquerade
  }}
}}
"
    )
}
