//! Which interfaces machines call each other on.

use anyhow::Result;
use contract::seed::Interface;

use crate::host::Host;
use crate::machine::identity;

/// Where the kernel shows interfaces.
const NET: &str = "/sys/class/net";

/// ARPHRD_ETHER.
const ETHERNET: &str = "1";

/// An interface that is up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    /// The kernel's index of it.
    pub(super) index: u32,
    /// Its name.
    pub(super) name: String,
}

/// Every wired interface that is up and has a carrier. If the seed names one, that alone counts, and it may be of
/// any kind; otherwise it has to be a device, since bridges and pods' interfaces are none of ours.
pub(super) fn scan(host: &dyn Host, wanted: Option<&Interface>) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for name in host.list(NET)? {
        // An interface may vanish while it is looked at.
        let text = |file: &str| {
            let text = host.read_text(&format!("{NET}/{name}/{file}"));
            text.ok().flatten().unwrap_or_default().trim().to_owned()
        };
        let there = |file: &str| host.exists(&format!("{NET}/{name}/{file}"));
        let good = match wanted {
            Some(Interface::Name(pattern)) => wildmatch::WildMatch::new(pattern).matches(&name),
            Some(mac @ Interface::Mac(_)) => {
                identity::permanent_mac(host, &name)? == Some(mac.to_string())
            }
            None => there("device") && !there("wireless") && !there("phy80211"),
        };
        if !good || text("type") != ETHERNET || text("carrier") != "1" {
            continue;
        }
        if let Ok(index) = text("ifindex").parse() {
            links.push(Link { index, name });
        }
    }
    links.sort();
    Ok(links)
}
