//! The built-in pod network's configuration: a bridge on each machine (CNI specification 0.4.0).

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
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": { "type": "host-local", "ranges": ranges, "routes": [{ "dst": "0.0.0.0/0" }] },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    format!("{document:#}\n")
}
