//! What a machine with all parts is asked about itself: pieces of shell that succeed where all is as it should be.

/// One question, and the shell that answers it with its status.
pub(crate) type Check = (&'static str, &'static str);

/// What the profile says, asked where the machine keeps it.
pub(crate) const SETTINGS: &[Check] = &[
    (
        "sysctl",
        "test \"$(sysctl -n vm.max_map_count)\" = 300001 && sysctl vm.max_map_count",
    ),
    ("module", "grep '^nbd ' /proc/modules"),
    (
        "time zone",
        "test \"$(date -d 2026-01-01 +%Z)\" = CET && test \"$(date -d 2026-07-01 +%Z)\" = CEST && date",
    ),
    (
        "locale",
        "test \"$(LANG=$(sed -n s/^LANG=//p /etc/locale.conf) locale charmap)\" = UTF-8 && cat /etc/locale.conf",
    ),
    (
        "locale of units",
        "tr '\\0' '\\n' < /proc/$(pidof -s firstboot)/environ | grep '^LANG=C.UTF-8$'",
    ),
    (
        "banner",
        "grep -x 'Plant 7 is watched' /etc/issue && grep -x 'Plant 7 is watched' /etc/motd",
    ),
    (
        "authority",
        "openssl verify -CApath /etc/ssl/certs /usr/local/share/ca-certificates/plant.crt && \
         openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt /usr/local/share/ca-certificates/plant.crt",
    ),
    (
        "user",
        "test \"$(id -u maintainer)\" = 1500 && id -nG maintainer | grep -w adm && \
         getent passwd maintainer | grep ':1500:1500::/home/maintainer:/bin/bash$'",
    ),
    (
        "user's keys",
        "cd /home/maintainer/.ssh && test \"$(stat -c %U:%G:%a .)\" = maintainer:maintainer:700 && \
         test \"$(stat -c %U:%G:%a authorized_keys)\" = maintainer:maintainer:600 && grep 'maintainer@plant$' authorized_keys",
    ),
    ("user's password", "grep '^maintainer:[*!]' /etc/shadow"),
];

/// Programs of the parts, each with what makes it say its version: their libraries are there then, too.
pub(crate) const PROGRAMS: &[Check] = &[
    ("mount.nfs", "mount.nfs -V"),
    ("nfsstat", "nfsstat --version"),
    ("rpcbind", "rpcinfo -h 2>&1 | grep -i usage"),
    ("mount.cifs", "mount.cifs -V"),
    ("mount.ceph", "mount.ceph 2>&1 | grep usage:"),
    ("rbd", "rbd --version"),
    ("rados", "rados --version"),
    ("ceph", "ceph --version"),
    ("lvm", "lvm version"),
    ("thin_check", "thin_check -V"),
    ("mkfs.xfs", "mkfs.xfs -V"),
    ("xfs_repair", "xfs_repair -V"),
    ("dig", "dig -v 2>&1"),
    ("curl", "curl -V"),
    ("ethtool", "ethtool --version"),
    ("iperf3", "iperf3 --version"),
    ("arping", "arping -V"),
    ("ping", "ping -c 1 127.0.0.1"),
    ("mtr", "mtr --version"),
    ("nc", "nc -h 2>&1"),
    ("tcpdump", "tcpdump --version"),
    (
        "tcpdump listens",
        "tcpdump -i lo -c 1 -w /dev/null & pid=$!; sleep 5; ping -c 3 127.0.0.1; wait $pid",
    ),
    ("traceroute", "traceroute -V"),
    ("htop", "htop --version"),
    ("lsof", "lsof -p 1 | head -3"),
    ("pstree", "pstree -V 2>&1"),
    ("strace", "strace -c true 2>&1 | grep execve"),
    ("sar", "sar -V"),
    ("dmidecode", "dmidecode -s system-manufacturer"),
    ("nvme", "nvme version"),
    ("lspci", "lspci | grep -i virtio"),
    ("smartctl", "smartctl -V"),
    ("lsusb", "lsusb -V"),
    ("jq", "echo '{\"a\": 1}' | jq .a"),
    ("less", "less -V"),
    ("vim", "vim.tiny --version"),
];

/// The kernel's side of the parts, loaded by name.
pub(crate) const MODULES: &[&str] = &[
    "nfs",
    "nfsv3",
    "nfsv4",
    "cifs",
    "ceph",
    "rbd",
    "xfs",
    "dm_thin_pool",
    "dm_snapshot",
    "dm_mirror",
    "dm_raid",
    "dm_crypt",
    "dm_multipath",
    "dm_cache",
];

/// The parts at work. Nobody serves volumes here, so what is wanted of a mount is that it gets as far as to be refused.
pub(crate) const DEEDS: &[Check] = &[
    (
        "thin volume with XFS",
        "dir=/var/lib/kubelet/parts; mkdir -p $dir /run/parts/xfs; truncate -s 2G $dir/disk && \
         disk=$(losetup --find --show $dir/disk) && pvcreate -q $disk && vgcreate -q parts $disk && \
         lvcreate -q -T -L 1G -V 4G -n thin parts/pool && mkfs.xfs -q /dev/parts/thin && \
         mount /dev/parts/thin /run/parts/xfs && echo held > /run/parts/xfs/file && \
         lvcreate -q -s -n shot parts/thin && lvs parts && umount /run/parts/xfs && xfs_repair -n /dev/parts/thin && \
         vgremove -q -f parts && pvremove -q $disk && losetup -d $disk && rm -r $dir",
    ),
    (
        "NFS 4 is refused by nobody",
        "mkdir -p /run/parts/nfs; mount -t nfs4 -o retry=0,timeo=10,retrans=1 127.0.0.1:/ /run/parts/nfs 2>&1 | \
         grep -i refused",
    ),
    (
        "statd starts when a mount wants it",
        "start-statd && pidof rpc.statd rpcbind && rpcinfo -p 127.0.0.1 | grep status",
    ),
    (
        "CIFS is refused by nobody",
        "mkdir -p /run/parts/cifs; mount -t cifs -o guest //127.0.0.1/share /run/parts/cifs 2>&1 | grep 'error(111)'",
    ),
];
