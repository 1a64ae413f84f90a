//! The sets: what people put on Kubernetes machines and servers, and what tries a resolver.

/// A set of packages, asked for beside the Essential ones.
pub(crate) struct Set {
    /// What it is, unique.
    pub(crate) name: &'static str,
    /// Debian's name of the architecture.
    pub(crate) architecture: &'static str,
    /// The packages, as `apt-get install` takes them.
    pub(crate) packages: &'static str,
}

const fn amd64(name: &'static str, packages: &'static str) -> Set {
    Set {
        name,
        architecture: "amd64",
        packages,
    }
}

const fn arm64(name: &'static str, packages: &'static str) -> Set {
    Set {
        name,
        architecture: "arm64",
        packages,
    }
}

/// A difference that is as it should be. There are two kinds. apt answers a relation with alternatives when it comes to
/// it, and keeps the answer; we wait until all that must be there is there, and then need no answer where another
/// package that serves is there anyway. And of packages that provide a name equally well, apt takes the one that its
/// cache met last, we the first by name. The test proves it: asked for apt's answers too, we find apt's set.
pub(crate) struct Difference {
    /// The set's architecture.
    pub(crate) architecture: &'static str,
    /// Its name.
    pub(crate) set: &'static str,
    /// What apt answered, by package.
    pub(crate) answers: &'static str,
    /// Why that is needless, or as good as ours.
    pub(crate) why: &'static str,
}

/// All differences.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        architecture: "amd64",
        set: "podman",
        answers: "containernetworking-plugins",
        why: "netavark, which podman needs, is a container-network-stack too",
    },
    Difference {
        architecture: "amd64",
        set: "mariadb",
        answers: "mawk",
        why: "gawk, which the server needs, is an awk too",
    },
    Difference {
        architecture: "amd64",
        set: "real-time",
        answers: "mawk",
        why: "gawk, which tuned needs, is an awk too",
    },
    Difference {
        architecture: "amd64",
        set: "drbd",
        answers: "mawk",
        why: "gawk, which crmsh needs, is an awk too",
    },
    Difference {
        architecture: "amd64",
        set: "build",
        answers: "sopv-gpgv",
        why: "devscripts needs sopv, which gosop and others provide",
    },
    Difference {
        architecture: "arm64",
        set: "build",
        answers: "sopv-gpgv",
        why: "devscripts needs sopv, which gosop and others provide",
    },
    Difference {
        architecture: "amd64",
        set: "gnome",
        answers: "fonts-dejavu-core pinentry-curses",
        why: "other fonts and pinentry-gnome3, which the desktop needs, serve too",
    },
    Difference {
        architecture: "arm64",
        set: "gnome",
        answers: "fonts-dejavu-core pinentry-curses",
        why: "other fonts and pinentry-gnome3, which the desktop needs, serve too",
    },
];

/// All sets.
pub(crate) const SETS: &[Set] = &[
    // Machines
    amd64(
        "boot",
        "systemd systemd-sysv systemd-boot-efi systemd-repart systemd-cryptsetup udev dbus kmod linux-image-amd64",
    ),
    amd64(
        "kubernetes host",
        "containernetworking-plugins iproute2 iptables nftables conntrack ipset ipvsadm ebtables ethtool socat",
    ),
    amd64("containerd", "containerd runc containernetworking-plugins"),
    amd64("docker", "docker.io docker-cli docker-compose"),
    amd64("podman", "podman buildah skopeo"),
    amd64("cri-o's needs", "crun conmon criu"),
    amd64("etcd", "etcd-server etcd-client"),
    amd64(
        "firmware-free hardware",
        "pciutils usbutils dmidecode nvme-cli smartmontools lm-sensors hwloc-nox",
    ),
    amd64(
        "debug",
        "bind9-dnsutils curl ethtool iperf3 iputils-arping iputils-ping mtr-tiny netcat-openbsd tcpdump traceroute htop lsof psmisc strace sysstat jq less vim-tiny",
    ),
    amd64(
        "secure boot",
        "shim-signed grub-efi-amd64-signed sbsigntool efibootmgr mokutil",
    ),
    amd64("grub bios", "grub-pc-bin grub-common grub2-common"),
    amd64(
        "initramfs",
        "initramfs-tools busybox cryptsetup-initramfs lvm2 mdadm",
    ),
    amd64("dracut", "dracut dracut-core dracut-network"),
    amd64(
        "real-time",
        "linux-image-rt-amd64 rt-tests linux-cpupower tuned",
    ),
    // Storage
    amd64("nfs client", "nfs-common"),
    amd64("nfs server", "nfs-kernel-server rpcbind"),
    amd64("cifs", "cifs-utils smbclient"),
    amd64("ceph client", "ceph-common"),
    amd64("ceph cluster", "ceph-mon ceph-osd ceph-mgr ceph-mds"),
    amd64("gluster", "glusterfs-server glusterfs-client"),
    amd64("iscsi", "open-iscsi multipath-tools tgt targetcli-fb"),
    amd64("lvm", "lvm2 thin-provisioning-tools dmeventd vdo"),
    amd64(
        "file systems",
        "xfsprogs btrfs-progs f2fs-tools ntfs-3g exfatprogs dosfstools e2fsprogs squashfs-tools erofs-utils",
    ),
    amd64("raid", "mdadm kpartx"),
    amd64("drbd", "drbd-utils pacemaker corosync crmsh"),
    // Network
    amd64("chrony", "chrony"),
    amd64("ntpsec", "ntpsec"),
    amd64(
        "network manager",
        "network-manager ppp modemmanager wpasupplicant",
    ),
    amd64(
        "ifupdown",
        "ifupdown isc-dhcp-client bridge-utils vlan ifenslave",
    ),
    amd64("frr", "frr frr-snmp bird3"),
    amd64("load balancer", "haproxy keepalived nginx"),
    amd64("vpn", "wireguard-tools openvpn strongswan"),
    amd64("dns and dhcp", "bind9 dnsmasq kea-dhcp4-server unbound"),
    amd64("open vswitch", "openvswitch-switch ovn-host dpdk"),
    amd64("mail", "postfix dovecot-imapd spamassassin"),
    amd64("any mail", "mailutils bsd-mailx"),
    amd64("ssh", "openssh-server openssh-client fail2ban sudo"),
    // Services
    amd64("postgresql", "postgresql pgbouncer patroni"),
    amd64("mariadb", "mariadb-server galera-4 default-mysql-client"),
    amd64("redis", "redis-server redis-sentinel memcached"),
    amd64(
        "prometheus",
        "prometheus prometheus-node-exporter prometheus-alertmanager",
    ),
    amd64(
        "web with php",
        "apache2 libapache2-mod-php php-mysql php-fpm",
    ),
    amd64("wordpress", "wordpress"),
    amd64("java", "default-jre-headless tomcat10 maven"),
    amd64(
        "python",
        "python3 python3-pip python3-venv python3-requests ansible",
    ),
    amd64("ruby and node", "ruby-full nodejs npm rails"),
    amd64("rabbitmq", "rabbitmq-server erlang-base"),
    amd64(
        "samba domain",
        "samba winbind libnss-winbind libpam-winbind krb5-user",
    ),
    amd64("sssd", "sssd libnss-sss libpam-sss realmd adcli"),
    amd64("syslog", "rsyslog logrotate auditd"),
    amd64("snmp", "snmpd snmp zabbix-agent"),
    amd64("backup", "borgbackup restic rsnapshot bacula-fd"),
    // Building and virtual machines
    amd64("build", "build-essential debhelper devscripts git cmake"),
    amd64("compilers", "gcc g++ clang llvm rustc cargo golang-go"),
    amd64(
        "kvm",
        "qemu-system-x86 libvirt-daemon-system virtinst ovmf swtpm",
    ),
    amd64("xen", "xen-system-amd64 xen-utils-common"),
    // What tries a resolver
    amd64("gnome", "gnome-core"),
    amd64("kde", "kde-plasma-desktop"),
    amd64("texlive", "texlive-latex-extra latexmk"),
    amd64("x11 and fonts", "xorg xterm fonts-dejavu"),
    amd64("office", "libreoffice-calc libreoffice-writer"),
    amd64("not systemd", "sysvinit-core elogind libpam-elogind"),
    // Arm
    arm64(
        "boot",
        "systemd systemd-sysv systemd-boot-efi systemd-repart systemd-cryptsetup udev dbus kmod linux-image-arm64",
    ),
    arm64(
        "kubernetes host",
        "containernetworking-plugins iproute2 iptables nftables conntrack ipset ipvsadm ebtables ethtool socat",
    ),
    arm64("containerd", "containerd runc containernetworking-plugins"),
    arm64("docker", "docker.io docker-cli docker-compose"),
    arm64(
        "debug",
        "bind9-dnsutils curl ethtool iperf3 iputils-arping iputils-ping mtr-tiny netcat-openbsd tcpdump traceroute htop lsof psmisc strace sysstat jq less vim-tiny",
    ),
    arm64("ceph client", "ceph-common"),
    arm64("nfs server", "nfs-kernel-server rpcbind"),
    arm64("iscsi", "open-iscsi multipath-tools"),
    arm64(
        "network manager",
        "network-manager ppp modemmanager wpasupplicant",
    ),
    arm64(
        "kvm",
        "qemu-system-arm libvirt-daemon-system qemu-efi-aarch64",
    ),
    arm64("build", "build-essential debhelper devscripts git cmake"),
    arm64("gnome", "gnome-core"),
];
