//! systemd-networkd's files (systemd.network(5)).

use std::fmt::Write;
use std::net::IpAddr;

use contract::seed::{Addressing, Interface, Network};

use crate::ledger::Address;

/// For the interface that the cluster's traffic goes over, before its address is decided; with the address that the
/// machine has drawn, if it has.
pub fn first(network: &Network, drawn: Option<IpAddr>) -> String {
    let mut text = String::from("[Match]\n");
    match &network.interface {
        Some(Interface::Mac(_)) => {
            let mac = network.interface.as_ref().map(ToString::to_string);
            let _ = writeln!(text, "PermanentMACAddress={}", mac.unwrap_or_default());
        }
        Some(Interface::Name(name)) => {
            let _ = writeln!(text, "Name={name}");
        }
        None => text.push_str("Type=ether\n"),
    }
    // Virtual devices have a kind: bridges and pods' interfaces are not ours to configure.
    text.push_str("Kind=!*\n");
    text += &addressing(&network.addressing, None, network);
    if let Some(drawn) = drawn {
        // Without it the address were used before the network was asked whether another machine has it.
        let _ = write!(
            text,
            "\n[Address]\nAddress={drawn}/{}\nDuplicateAddressDetection={}\n",
            network.auto.prefix(),
            if drawn.is_ipv4() { "ipv4" } else { "ipv6" }
        );
    }
    text
}

/// For the interface that holds the decided address: it has it from the first moment, whatever a DHCP server
/// says later.
pub fn decided(network: &Network, address: &Address) -> String {
    let head = format!("[Match]\nPermanentMACAddress={}\nKind=!*\n", address.mac);
    head + &addressing(&network.addressing, Some(address), network)
}

fn addressing(addressing: &Addressing, address: Option<&Address>, network: &Network) -> String {
    let mut text = String::from("\n[Network]\nLinkLocalAddressing=ipv6\nLLDP=no\nEmitLLDP=no\n");
    match addressing {
        Addressing::Dhcp | Addressing::Auto => {
            if *addressing == Addressing::Dhcp {
                text.push_str("DHCP=ipv4\n");
            }
            if let Some(address) = address {
                let _ = writeln!(text, "Address={}/{}", address.address, address.prefix);
            }
        }
        Addressing::Static {
            address,
            gateway,
            dns,
        } => {
            let _ = writeln!(
                text,
                "Address={}/{}",
                address.address,
                address.subnet.prefix()
            );
            if let Some(gateway) = gateway {
                let _ = writeln!(text, "Gateway={gateway}");
            }
            for server in dns {
                let _ = writeln!(text, "DNS={server}");
            }
        }
    }
    // Without a router the kernel would refuse a service's address before kube-proxy's rules see the packet.
    let _ = write!(
        text,
        "\n[Route]\nDestination={}\nScope=link\nMetric=4096\n",
        network.services
    );
    if matches!(addressing, Addressing::Dhcp) {
        text.push_str(
            "\n[DHCPv4]\nClientIdentifier=mac\nUseHostname=no\nUseNTP=no\nSendRelease=no\n",
        );
    }
    text
}

/// For every other wired interface, when one was decided: DHCP, and nothing waits for it.
pub fn others() -> String {
    String::from(
        "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=ipv6\n\n[Link]\nRequiredForOnline=no\n\n\
         [DHCPv4]\nClientIdentifier=mac\nUseHostname=no\nUseNTP=no\nRouteMetric=2048\n",
    )
}

#[cfg(test)]
mod tests {
    use super::{decided, first};
    use crate::ledger::Address;

    fn network(extra: &str) -> contract::seed::Network {
        let text = format!("{}{extra}", crate::phases::tests::SEED);
        contract::seed::parse("seed.yaml", &text).unwrap().network
    }

    #[test]
    fn dhcp_is_asked_on_wired_devices_only() {
        let text = first(&network(""), None);
        assert!(
            text.starts_with("[Match]\nType=ether\nKind=!*\n\n[Network]\n"),
            "{text}"
        );
        assert!(
            text.contains("\nDHCP=ipv4\n") && text.contains("Scope=link"),
            "{text}"
        );
    }

    #[test]
    fn a_decided_address_stays_beside_dhcp() {
        let address = Address {
            version: 1,
            address: "10.0.2.15".parse().unwrap(),
            prefix: 24,
            mac: String::from("52:54:00:12:34:56"),
        };
        let text = decided(&network(""), &address);
        assert!(
            text.contains("PermanentMACAddress=52:54:00:12:34:56\n"),
            "{text}"
        );
        assert!(text.contains("DHCP=ipv4\nAddress=10.0.2.15/24\n"), "{text}");
    }

    #[test]
    fn a_static_address_asks_nobody() {
        let network =
            network("network:\n  static:\n    address: 192.168.7.2/24\n    gateway: 192.168.7.1\n");
        let text = first(&network, None);
        assert!(!text.contains("DHCP"), "{text}");
        assert!(
            text.contains("Address=192.168.7.2/24\nGateway=192.168.7.1\n"),
            "{text}"
        );
    }
}
