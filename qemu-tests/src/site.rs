//! A site with servers: a network segment where DHCP points firmware at a file that is served by HTTP.
//!
//! Segment, servers and machine live in namespaces of their own, which takes no root, and end together.

use crate::process;
use std::path::PathBuf;
use std::process::Command;

/// The machine's end of the segment.
pub const TAP: &str = "tap0";

/// Brings up the segment and the servers, and becomes the machine. `$1` is the folder that is served, `$2` the file
/// in it that firmware is to start, the rest is the machine's command. 192.0.2.0/24 is for documentation and tests
/// (RFC 5737). Firmware believes an offer only if it names the same vendor class (UEFI 2.10, section 24.7).
const SCRIPT: &str = r#"
folder=$1 file=$2; shift 2
ip link set lo up
ip tuntap add tap0 mode tap
ip address add 192.0.2.1/24 dev tap0
ip link set tap0 up
dnsmasq --no-daemon --conf-file=/dev/null --pid-file= --dhcp-leasefile=/dev/null --port=0 \
  --interface=tap0 --bind-interfaces --dhcp-range=192.0.2.10,192.0.2.99,1h \
  --dhcp-vendorclass=set:http,HTTPClient --dhcp-option-force=tag:http,60,HTTPClient \
  --dhcp-boot="tag:http,http://192.0.2.1/$file" &
python3 -m http.server --protocol HTTP/1.1 --bind 192.0.2.1 --directory "$folder" 80 > /dev/null 2>&1 &
exec "$@"
"#;

/// What the servers of a site offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The file that firmware is told to start.
    pub file: PathBuf,
}

impl Site {
    /// A command for a `program` on the site, which dies with this process; start it with [`process::start`].
    pub fn command(&self, program: &str) -> Command {
        let mut command = process::bound("unshare");
        command
            .args(["--user", "--map-root-user", "--net", "--pid", "--fork"])
            .args(["--kill-child", "--", "sh", "-euc", SCRIPT, "site"])
            .arg(self.file.parent().unwrap_or(&self.file))
            .arg(self.file.file_name().unwrap_or_default())
            .arg(program);
        command
    }
}
