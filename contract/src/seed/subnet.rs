//! Ranges of IP addresses in CIDR notation (RFC 4632 and RFC 4291, section 2.3).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network: an address without host bits, and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

/// A machine's address together with the network it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    /// The address itself.
    pub address: IpAddr,
    /// The network it is in.
    pub subnet: Subnet,
}

/// Why a text is no network or no address in one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// There is no `/`.
    #[error("{0:?} has no prefix length")]
    NoPrefix(String),
    /// The part before `/` is no IP address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// The part after `/` is no number, or a greater one than the address has bits.
    #[error("/{given} is not a prefix length from 0 to {most}")]
    Prefix {
        /// What stands after `/`.
        given: String,
        /// The bits of such an address.
        most: u8,
    },
    /// A network was wanted, but there are bits behind its prefix.
    #[error("{given} is an address in {network}, not a network")]
    HostBits {
        /// What was given.
        given: String,
        /// The network that was probably meant.
        network: Subnet,
    },
}

impl Subnet {
    /// The network's first address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the addresses are IPv4.
    pub const fn is_v4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether the address lies in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_v4() && masked(address, self.prefix) == self.address
    }

    /// Whether some address lies in both networks.
    pub fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The `n`th address of the network, if it lies in it.
    pub fn nth(&self, n: u32) -> Option<IpAddr> {
        let address = match self.address {
            IpAddr::V4(address) => IpAddr::from(u32::from(address).checked_add(n)?.to_be_bytes()),
            IpAddr::V6(address) => {
                IpAddr::from(u128::from(address).checked_add(n.into())?.to_be_bytes())
            }
        };
        self.contains(address).then_some(address)
    }

    /// Whether `address` names the network itself or all of its machines, and thus none of them.
    pub fn is_reserved(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) if self.prefix < 31 => {
                let hosts = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
                let host = u32::from(v4) & hosts;
                host == 0 || host == hosts
            }
            IpAddr::V4(_) => false,
            IpAddr::V6(_) => self.prefix < 127 && address == self.address,
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address without the bits behind the prefix.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            IpAddr::from((u32::from(v4) & !hosts).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let hosts = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
            IpAddr::from((u128::from(v6) & !hosts).to_be_bytes())
        }
    }
}

impl FromStr for InterfaceAddress {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let (address, prefix) = text
            .split_once('/')
            .ok_or_else(|| SubnetError::NoPrefix(text.into()))?;
        let address: IpAddr = address
            .parse()
            .map_err(|_| SubnetError::Address(address.into()))?;
        let most = bits(address);
        let digits = !prefix.is_empty() && prefix.bytes().all(|c| c.is_ascii_digit());
        let prefix = match prefix.parse::<u8>() {
            Ok(prefix) if digits && prefix <= most => prefix,
            _ => {
                return Err(SubnetError::Prefix {
                    given: prefix.into(),
                    most,
                });
            }
        };
        let subnet = Subnet {
            address: masked(address, prefix),
            prefix,
        };
        Ok(InterfaceAddress { address, subnet })
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let InterfaceAddress { address, subnet } = text.parse()?;
        if address != subnet.address {
            return Err(SubnetError::HostBits {
                given: text.into(),
                network: subnet,
            });
        }
        Ok(subnet)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.subnet.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn good_networks_round_trip_and_bad_ones_are_told_apart() {
        for text in [
            "0.0.0.0/0",
            "10.96.0.0/12",
            "192.168.7.1/32",
            "::/0",
            "fd00:7::/64",
            "fd00::1/128",
        ] {
            assert_eq!(subnet(text).to_string(), text);
        }
        let table = [
            ("10.0.0.0", SubnetError::NoPrefix("10.0.0.0".into())),
            ("10.0.0/8", SubnetError::Address("10.0.0".into())),
            (
                "10.0.0.0/33",
                SubnetError::Prefix {
                    given: "33".into(),
                    most: 32,
                },
            ),
            (
                "10.0.0.0/+8",
                SubnetError::Prefix {
                    given: "+8".into(),
                    most: 32,
                },
            ),
            (
                "10.0.0.0/",
                SubnetError::Prefix {
                    given: "".into(),
                    most: 32,
                },
            ),
            (
                "10.1.0.0/8",
                SubnetError::HostBits {
                    given: "10.1.0.0/8".into(),
                    network: subnet("10.0.0.0/8"),
                },
            ),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Subnet>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn membership() {
        let plant = subnet("192.168.7.0/24");
        assert!(plant.contains("192.168.7.255".parse().unwrap()));
        assert!(!plant.contains("192.168.8.0".parse().unwrap()));
        assert!(!plant.contains("::1".parse().unwrap()));
        assert!(plant.overlaps(&subnet("192.168.0.0/16")));
        assert!(subnet("192.168.0.0/16").overlaps(&plant));
        assert!(!plant.overlaps(&subnet("192.168.8.0/24")));
        assert!(plant.is_reserved("192.168.7.0".parse().unwrap()));
        assert!(plant.is_reserved("192.168.7.255".parse().unwrap()));
        assert!(!plant.is_reserved("192.168.7.1".parse().unwrap()));
        assert_eq!(plant.nth(10), Some("192.168.7.10".parse().unwrap()));
        assert_eq!(plant.nth(256), None);
        assert_eq!(subnet("fd00::/64").nth(1), Some("fd00::1".parse().unwrap()));
    }
}
