//! What the initrd consists of.

/// Names the distribution; the initrd's copy tells systemd that it runs in an initrd.
pub(super) const OS_RELEASE: &str = "usr/lib/os-release";

/// Modules that every initrd carries: device-mapper with verity, the file systems that are mounted from here,
/// and the drivers of everything a disk, stick or CD may hang on, or be in. `crypto-sha256` brings the processor's own.
pub const MODULES: &[&str] = &[
    "dm_mod",
    "dm_verity",
    "crypto-sha256",
    "erofs",
    "overlay",
    "loop",
    "ext4",
    "isofs",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "efivarfs",
    "autofs4",
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "ahci",
    "nvme",
    "sd_mod",
    "sr_mod",
    "usb_storage",
    "uas",
    "xhci_pci",
    "ehci_pci",
    // Memory that firmware put a medium into.
    "nfit",
    "nd_pmem",
];

/// Files taken from the root tree, by the package that has them. `MULTIARCH` is the architecture's tuple.
pub(super) const FILES: &[(&str, &[&str])] = &[
    (
        "systemd",
        &[
            "usr/bin/systemctl",
            "usr/lib/systemd/systemd",
            "usr/lib/systemd/systemd-executor",
            "usr/lib/systemd/systemd-modules-load",
            "usr/lib/systemd/systemd-shutdown",
            "usr/lib/systemd/systemd-sysroot-fstab-check",
            "usr/lib/systemd/system-generators/systemd-fstab-generator",
            "usr/lib/systemd/system/basic.target",
            "usr/lib/systemd/system/ctrl-alt-del.target",
            "usr/lib/systemd/system/final.target",
            "usr/lib/systemd/system/initrd-cleanup.service",
            "usr/lib/systemd/system/initrd-fs.target",
            "usr/lib/systemd/system/initrd-parse-etc.service",
            "usr/lib/systemd/system/initrd-root-device.target",
            "usr/lib/systemd/system/initrd-root-fs.target",
            "usr/lib/systemd/system/initrd-switch-root.service",
            "usr/lib/systemd/system/initrd-switch-root.target",
            "usr/lib/systemd/system/initrd-usr-fs.target",
            "usr/lib/systemd/system/initrd.target",
            "usr/lib/systemd/system/local-fs-pre.target",
            "usr/lib/systemd/system/local-fs.target",
            "usr/lib/systemd/system/paths.target",
            "usr/lib/systemd/system/poweroff.target",
            "usr/lib/systemd/system/reboot.target",
            "usr/lib/systemd/system/shutdown.target",
            "usr/lib/systemd/system/slices.target",
            "usr/lib/systemd/system/sockets.target",
            "usr/lib/systemd/system/swap.target",
            "usr/lib/systemd/system/sysinit.target",
            "usr/lib/systemd/system/systemd-modules-load.service",
            "usr/lib/systemd/system/systemd-poweroff.service",
            "usr/lib/systemd/system/systemd-reboot.service",
            "usr/lib/systemd/system/timers.target",
            "usr/lib/systemd/system/umount.target",
        ],
    ),
    (
        "systemd-cryptsetup",
        &[
            "usr/lib/systemd/system-generators/systemd-veritysetup-generator",
            "usr/lib/systemd/system/system-systemd\\x2dveritysetup.slice",
            "usr/lib/systemd/system/veritysetup-pre.target",
            "usr/lib/systemd/system/veritysetup.target",
            "usr/lib/systemd/systemd-veritysetup",
        ],
    ),
    (
        "udev",
        &[
            "usr/bin/udevadm",
            "usr/lib/systemd/system/initrd-udevadm-cleanup-db.service",
            "usr/lib/systemd/system/systemd-udev-trigger.service",
            "usr/lib/systemd/system/systemd-udevd-control.socket",
            "usr/lib/systemd/system/systemd-udevd-kernel.socket",
            "usr/lib/systemd/system/systemd-udevd.service",
            "usr/lib/systemd/systemd-udevd",
            "usr/lib/udev/cdrom_id",
            "usr/lib/udev/rules.d/50-udev-default.rules",
            "usr/lib/udev/rules.d/60-block.rules",
            "usr/lib/udev/rules.d/60-cdrom_id.rules",
            "usr/lib/udev/rules.d/60-persistent-storage.rules",
            "usr/lib/udev/rules.d/80-drivers.rules",
            "usr/lib/udev/rules.d/99-systemd.rules",
        ],
    ),
    (
        "dmsetup",
        &[
            "usr/lib/udev/rules.d/55-dm.rules",
            "usr/lib/udev/rules.d/60-persistent-storage-dm.rules",
            "usr/lib/udev/rules.d/95-dm-notify.rules",
            "usr/sbin/dmsetup",
        ],
    ),
    ("kmod", &["usr/bin/kmod"]),
    (
        "mount",
        &["usr/bin/mount", "usr/bin/umount", "usr/sbin/losetup"],
    ),
    // systemd opens it at run time, to load modules.
    ("libkmod2", &["usr/lib/MULTIARCH/libkmod.so.2"]),
];

/// Symbolic links: units that are wanted, and the program that the kernel calls for a module.
pub(super) const LINKS: &[(&str, &str)] = &[
    (
        "usr/lib/systemd/system/ctrl-alt-del.target",
        "reboot.target",
    ),
    ("usr/lib/systemd/system/default.target", "initrd.target"),
    (
        "usr/lib/systemd/system/sockets.target.wants/systemd-udevd-control.socket",
        "../systemd-udevd-control.socket",
    ),
    (
        "usr/lib/systemd/system/sockets.target.wants/systemd-udevd-kernel.socket",
        "../systemd-udevd-kernel.socket",
    ),
    (
        "usr/lib/systemd/system/sysinit.target.wants/systemd-modules-load.service",
        "../systemd-modules-load.service",
    ),
    (
        "usr/lib/systemd/system/sysinit.target.wants/systemd-udev-trigger.service",
        "../systemd-udev-trigger.service",
    ),
    (
        "usr/lib/systemd/system/sysinit.target.wants/systemd-udevd.service",
        "../systemd-udevd.service",
    ),
    (
        "usr/lib/systemd/system/sysinit.target.wants/veritysetup.target",
        "../veritysetup.target",
    ),
    ("usr/sbin/modprobe", "../bin/kmod"),
];

/// Files of our own.
pub(super) const OWN_FILES: &[(&str, &str)] = &[
    // Only what udev's rules name; nobody logs in here.
    ("etc/passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\n"),
    (
        "etc/group",
        "root:x:0:\ntty:x:5:\ndisk:x:6:\nlp:x:7:\nkmem:x:15:\ndialout:x:20:\ncdrom:x:24:\ntape:x:26:\naudio:x:29:\nvideo:x:44:\n\
         render:x:992:\nkvm:x:993:\nsgx:x:994:\ninput:x:995:\nclock:x:996:\n",
    ),
    ("etc/machine-id", ""),
    // What is needed on every machine, before anything asks for it. dm-verity keeps to the hash function that it
    // finds at first, so the processor's own has to be there before it.
    (
        "usr/lib/modules-load.d/initrd.conf",
        "crypto-sha256\ndm_verity\nerofs\noverlay\n",
    ),
    (
        "usr/lib/systemd/system/systemd-veritysetup@.service.d/initrd.conf",
        "[Unit]\nAfter=systemd-modules-load.service\n",
    ),
    // No shell here: the console keeps the last messages on screen.
    (
        "usr/lib/systemd/system/emergency.target",
        "[Unit]\n\
         Description=Stopped: the root file system cannot be mounted. The messages above say why. Switch off and on to try again.\n\
         AllowIsolate=yes\n\
         DefaultDependencies=no\n",
    ),
    // There is no journal here, which a socket and a process would have to be started for: what programs say goes
    // to the kernel's log, so that every console shows it and the real system's journal keeps it. (A file of
    // this name in a unit's own directory would replace the one for all units.)
    (
        "usr/lib/systemd/system/mount.d/kmsg.conf",
        "[Mount]\nStandardOutput=file:/dev/kmsg\nStandardError=file:/dev/kmsg\n",
    ),
    (
        "usr/lib/systemd/system/service.d/kmsg.conf",
        "[Service]\nStandardOutput=file:/dev/kmsg\nStandardError=file:/dev/kmsg\n",
    ),
    // Only what a disk hangs on; the real system triggers all devices again.
    (
        "usr/lib/systemd/system/systemd-udev-trigger.service.d/initrd.conf",
        "[Service]\n\
         ExecStart=\n\
         ExecStart=-udevadm trigger --type=devices --action=add --prioritized-subsystem=block \
         --subsystem-match=block --subsystem-match=mmc --subsystem-match=nvme --subsystem-match=pci \
         --subsystem-match=platform --subsystem-match=scsi --subsystem-match=usb --subsystem-match=virtio\n",
    ),
    // An initrd lives for seconds and runs nothing but its own programs, all of them root: filters of system
    // calls and private mounts cost more time here than all else that udev does.
    (
        "usr/lib/systemd/system/systemd-udevd.service.d/initrd.conf",
        UNCONFINED,
    ),
];

const UNCONFINED: &str = "[Service]\n\
     SystemCallFilter=\n\
     SystemCallArchitectures=\n\
     RestrictAddressFamilies=\n\
     RestrictNamespaces=no\n\
     RestrictRealtime=no\n\
     RestrictSUIDSGID=no\n\
     MemoryDenyWriteExecute=no\n\
     LockPersonality=no\n\
     ProtectClock=no\n\
     ProtectHostname=no\n\
     PrivateMounts=no\n\
     DeviceAllow=\n\
     IPAddressDeny=\n";

/// Index files that nothing in an initrd reads.
pub(super) const UNUSED_INDEX: &[&str] = &[
    "modules.alias",
    "modules.dep",
    "modules.symbols",
    "modules.symbols.bin",
    "modules.order",
    "modules.builtin",
];
