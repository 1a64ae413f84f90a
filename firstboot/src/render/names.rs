//! `/etc/hosts` and `resolv.conf`.

use std::fmt::Write;
use std::net::IpAddr;

/// `/etc/hosts`: the API server's name leads to this machine's own.
pub fn hosts(host_name: &str, address: IpAddr, endpoint: &str) -> String {
    format!(
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{address} {host_name}\n127.0.0.1 {endpoint}\n"
    )
}

/// `resolv.conf` with at most three servers, which is all that resolvers read.
pub fn resolv_conf(servers: &[IpAddr]) -> String {
    let mut text = String::from("# Written by firstboot.\n");
    for server in servers.iter().take(3) {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

/// The name servers in networkd's state, `/run/systemd/netif/state`.
pub fn networkd_servers(state: &str) -> Vec<IpAddr> {
    let mut lines = state.lines();
    let line = lines.find_map(|line| line.strip_prefix("DNS="));
    let words = line.unwrap_or_default().split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{networkd_servers, resolv_conf};

    #[test]
    fn servers_come_from_networkd() {
        let servers = networkd_servers("# x\nOPER_STATE=routable\nDNS=10.0.2.3 fe80::1 bad\n");
        let text = resolv_conf(&servers);
        assert_eq!(
            text,
            "# Written by firstboot.\nnameserver 10.0.2.3\nnameserver fe80::1\n"
        );
        assert!(networkd_servers("").is_empty());
    }
}
