//! Scripts that were read: by package, script and SHA-256 of the residue, what stands for them.
//!
//! A row is added when somebody has read the script and found, for each of its effects on an empty system, a
//! native step or a reason. The same script of another version is another row if it differs. The digest is
//! the one that the build prints for a script that it does not know.

use crate::rootfs::deb::ScriptKind::{self, Config, Postinst, Preinst};
use crate::rootfs::scripts::Cover::{self, Nothing, Step};

struct Known {
    package: &'static str,
    script: ScriptKind,
    sha256: &'static str,
    covers: &'static [Cover],
}

const TABLE: &[Known] = &[
    Known {
        package: "adduser",
        script: Preinst,
        sha256: "0817d801941278b3518faea7ca4ad1ffab2d4ce2b42092fe503d6bd18c175d81",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "base-files",
        script: Postinst,
        sha256: "1cd4fa609b186b62b4af2213f4606600659c40102ee81610aa8ec8f834306c5f",
        covers: &[Step("base_files")],
    },
    Known {
        package: "base-files",
        script: Preinst,
        sha256: "dba0f2f0d9172a17058b98d83e8c0172a685a419a221a61388d6b4d11b6d5934",
        covers: &[Nothing(
            "checks that /usr is merged, which it always is here",
        )],
    },
    Known {
        package: "base-passwd",
        script: Postinst,
        sha256: "a70998f92662832215c70f44a30cbcb0376efaafda4749adf493654c929e1952",
        covers: &[Step("users")],
    },
    Known {
        package: "base-passwd",
        script: Preinst,
        sha256: "030cf64d0ea8c043e0883e67ae53e305b28afb8a7e35e993d8ff7cdedef2561b",
        covers: &[Step("users")],
    },
    Known {
        package: "bash",
        script: Postinst,
        sha256: "55bfd203595929f1162bc22c5aeab73793312ca80d9a4936a8786c91480c863c",
        covers: &[
            Step("alternatives"),
            Nothing("links /bin/sh only if there is none; dash ships it"),
        ],
    },
    Known {
        package: "ca-certificates",
        script: Config,
        sha256: "f7534076488198722d1100067f51d8b9995f3885596b7728be1748024cb7231e",
        covers: &[Nothing(
            "asks which authorities to trust; its default, all of them, holds",
        )],
    },
    Known {
        package: "ca-certificates",
        script: Config,
        sha256: "be2b5d01c5e4ef3fea58ea0f12f7bbd513060caa32c230571c8dbfb856a5bc04",
        covers: &[Nothing(
            "asks which authorities to trust; its default, all of them, holds",
        )],
    },
    Known {
        package: "ca-certificates",
        script: Postinst,
        sha256: "1b1394bacf8b739bc8df124ae24a84135a2960f8393cf87a453e409c1db22678",
        covers: &[Step("certificates")],
    },
    Known {
        package: "chrony",
        script: Postinst,
        sha256: "22172281b0700e72c0bbb666f0d949ca8beea0e6fa9dc2c0ea3cf623c5f3c16c",
        covers: &[Step("users"), Step("ucf"), Step("statoverride")],
    },
    Known {
        package: "dash",
        script: Postinst,
        sha256: "f5f7207270a8aa70eac8529fd74203db1e7997c8c6578269c98e637061d18f3e",
        covers: &[Nothing(
            "undoes diversions of older versions; the package ships /bin/sh",
        )],
    },
    Known {
        package: "dash",
        script: Preinst,
        sha256: "9e96d2eb58f55b8d6b5687841bcb8458cbf694af9003f0e300ab09893e993716",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "dbus",
        script: Postinst,
        sha256: "f0c203cc922ea2aae5f68dacd18546fbe34fcf55bcf1c5869c15ed8bbbe60ae3",
        covers: &[
            Step("statoverride"),
            Nothing("reloads or asks to restart a running bus"),
        ],
    },
    Known {
        package: "dbus-daemon",
        script: Postinst,
        sha256: "6a36dff91ceea7de97020a492a6c8346daf417f6c670c95f96547e403f844ec5",
        covers: &[Nothing(
            "writes D-Bus a machine's identity; it takes /etc/machine-id where it has none",
        )],
    },
    Known {
        package: "dbus-system-bus-common",
        script: Postinst,
        sha256: "26093d014767bc050de4f422eaafd040e4d591d6d4cc92b778058a2770baa7a8",
        covers: &[Step("users")],
    },
    Known {
        package: "debconf",
        script: Config,
        sha256: "35d36ccd99b178f9baec1d31b213f3ae0e29639ac305ddc6522c61f44aa0c6b3",
        covers: &[Nothing("asks how to ask; nothing is asked")],
    },
    Known {
        package: "debianutils",
        script: Postinst,
        sha256: "f6abaa697845b42af8f1dc92867ca0990ecf3d9095db337e040fb71088766a73",
        covers: &[Step("shells"), Step("alternatives")],
    },
    Known {
        package: "e2fsprogs",
        script: Postinst,
        sha256: "c97cfc5225915d60fd2a14972ef96bddfb4f11874f4b32aaecb8bb6255424929",
        covers: &[Nothing(
            "makes an initrd on the machine; the image's is composed natively",
        )],
    },
    Known {
        package: "e2fsprogs",
        script: Preinst,
        sha256: "a5ceb89eb52ae1490b4de762337eb3781e6c5d41bcba64db898b551b628fca15",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "ebtables",
        script: Postinst,
        sha256: "8dee9fbbb766e2830bc5f5a76ddce11d91285803e9085f2c50dde9d4131e6c85",
        covers: &[Step("alternatives")],
    },
    Known {
        package: "etcd-server",
        script: Postinst,
        sha256: "a5087a3c14ab1762bf7e5229d4b779cc16860c2890a71017295035aaf3459bc5",
        covers: &[Step("users"), Step("statoverride")],
    },
    Known {
        package: "gzip",
        script: Postinst,
        sha256: "de92f699ddf079026afc24d764b2c7063f8d471b7d0b9ebed7eb695bcebc5c05",
        covers: &[Nothing(
            "repairs diversions of zutils, of which there are none",
        )],
    },
    Known {
        package: "gzip",
        script: Preinst,
        sha256: "4d91f98e65f376d5144e2daecee68af208402712ff2bcc172ca55447896f6921",
        covers: &[Nothing(
            "repairs diversions of zutils, of which there are none",
        )],
    },
    Known {
        package: "init-system-helpers",
        script: Postinst,
        sha256: "b46200440ced0b39d6867ad1b76c02ead6ecddb8248a7612e12ce49cd8a73be4",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "initramfs-tools",
        script: Postinst,
        sha256: "0dbb6a0446281ecdd576041c02bb4a669a15420eefa3d7a300932534c5905fd2",
        covers: &[Nothing(
            "makes an initrd on the machine; the image's is composed natively",
        )],
    },
    Known {
        package: "initramfs-tools-core",
        script: Postinst,
        sha256: "6c9fe81781a41cc64c1e2e68539c016edd46031fd4d4b5073536e49466a5804f",
        covers: &[Nothing("configures initramfs-tools, which never runs")],
    },
    Known {
        package: "iproute2",
        script: Config,
        sha256: "6abebf1f87764cae8dfe7d48979e6875aae629074dc310eb46724814af7629ce",
        covers: &[Nothing(
            "asks whether everybody may run `ip vrf exec`; its default, no, holds",
        )],
    },
    Known {
        package: "iproute2",
        script: Postinst,
        sha256: "2b07cc80bf6de36ef3a2b4af4a9e0a2e3440bfcc3907a14240f1435e7c06fbcf",
        covers: &[Nothing(
            "sets capabilities only if asked to, which by default it is not",
        )],
    },
    Known {
        package: "iptables",
        script: Postinst,
        sha256: "03a4eb149f8b71061d06393f751be3da5a94df8579e686c30fa9db3e786e55ba",
        covers: &[Step("alternatives")],
    },
    Known {
        package: "klibc-utils",
        script: Postinst,
        sha256: "32a7d080a641b4c566700a31ac305b9cb7b141b43123c308d0772d3ba6e35a0e",
        covers: &[Nothing(
            "repairs documentation and a diversion of older versions",
        )],
    },
    Known {
        package: "kmod",
        script: Postinst,
        sha256: "80969da27b3c3788712712ba5795a8be6160b6f063036337f8d89187c6edc816",
        covers: &[Nothing("writes /etc/modules, with comments only")],
    },
    Known {
        package: "libc-bin",
        script: Postinst,
        sha256: "9ab2635150453963524c8e3200a72074848241b0645931533d9afed352de00c5",
        covers: &[Step("base_files"), Step("ldcache")],
    },
    Known {
        package: "libc6",
        script: Postinst,
        sha256: "8316d87044bd28fb14448cd187074b312097c4e6cd814a919bc7bdb7aaf1e087",
        covers: &[Nothing("restarts services after an upgrade")],
    },
    Known {
        package: "libc6",
        script: Preinst,
        sha256: "a95df16d2ccbd4e9635cd02c6c2618f245691180907744addf36f0efca4f2c3e",
        covers: &[Nothing(
            "checks the running kernel, and links /lib64, which base-files ships",
        )],
    },
    Known {
        package: "libext2fs2t64",
        script: Preinst,
        sha256: "8994c5dc17b2038a3ce019c7e2778153ee21a5a745c3d737abbc46c7deed871a",
        covers: &[Nothing(
            "moves or diverts aliases of merged /usr, which no package here has",
        )],
    },
    Known {
        package: "libgssapi-krb5-2",
        script: Postinst,
        sha256: "2e604755b4e2111c8c56a9f3d993905fefa3d6f2eb4d0bd1a849cadbcf36ea60",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "libpam-modules",
        script: Postinst,
        sha256: "1bb2329b9413e034d386bc4ae18cac6ebb9092a9e7ac834a341a6612ec147683",
        covers: &[Step("base_files")],
    },
    Known {
        package: "libpam-modules",
        script: Preinst,
        sha256: "2facc9ea5fa9c0832ddc81ffaaa56d56f2ce76ff28af08d59fce7f2271236eed",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "libpam-runtime",
        script: Postinst,
        sha256: "01a86906277cb8f26b8e418442fd890113f2dfa7134325e7bf3ffd464e724e64",
        covers: &[Step("pam")],
    },
    Known {
        package: "libpam0g",
        script: Postinst,
        sha256: "7181c7554bb0e6a2f3eb927af8c72f7ef8e3ffd22c3605263efe001881b8d2a3",
        covers: &[Nothing("restarts services after an upgrade")],
    },
    Known {
        package: "libselinux1",
        script: Postinst,
        sha256: "962aa2170fd37df9fea27eb91512d03840b1ba35600ccfca6768aaf08f243e6a",
        covers: &[Nothing("removes compiled files of older versions")],
    },
    Known {
        package: "libtirpc3t64",
        script: Preinst,
        sha256: "02f9f2a1b494b3ae9c12849d798ad6028441757b7249a3a74d26caa9846f5516",
        covers: &[Nothing(
            "moves or diverts aliases of merged /usr, which no package here has",
        )],
    },
    Known {
        package: "libwrap0",
        script: Postinst,
        sha256: "8d7e49a97c8cdaa00a6fd74531dd29f522312a903628c3f0b09c74550b9bbbe4",
        covers: &[Step("base_files")],
    },
    Known {
        package: "linux-image-*",
        script: Postinst,
        sha256: "ff941ba75cf30d944e36ac6b7450396a87bd1b6ddbc01ec7c235bd84169be480",
        covers: &[
            Step("modules"),
            Nothing("links /vmlinuz and runs hooks; kernel and initrd boot from the ESP"),
        ],
    },
    Known {
        package: "linux-image-*",
        script: Preinst,
        sha256: "55a2baac4c74007a7cc179687c7ba878ff15fcfd212fbc652a64debd93a9977b",
        covers: &[Nothing(
            "marks a first installation for the postinst, and runs hooks of an initrd generator",
        )],
    },
    Known {
        package: "login.defs",
        script: Postinst,
        sha256: "abb4f2a8214012bae0e14aa34bc2b0ca8035f0a28d9bc5715d5ee78b26df4517",
        covers: &[Nothing(
            "takes back a file that an older package moved away",
        )],
    },
    Known {
        package: "netbase",
        script: Postinst,
        sha256: "eb3886bd4907a50771cb3eab8fc5376823ff230bdb5fcb3121b11acf56be6b8c",
        covers: &[Step("names"), Step("base_files")],
    },
    Known {
        package: "openssl",
        script: Postinst,
        sha256: "8763aa28b94a513f1fd98620552084906b64e15c98ca32a28e5ec9b3356f6427",
        covers: &[Step("base_files")],
    },
    Known {
        package: "passwd",
        script: Postinst,
        sha256: "9377f5c907a356f507ff572fabd1a5cd3b9e51a8dcd65d7a1d6ded856399cd69",
        covers: &[Step("users")],
    },
    Known {
        package: "perl",
        script: Postinst,
        sha256: "43f24d2ed525e99d0f20e8fecfb598ea8902e91d53bb62654c60683e605827e4",
        covers: &[Nothing("removes an alternative of older versions")],
    },
    Known {
        package: "procps",
        script: Postinst,
        sha256: "4ec9b4d597df4c77c480aa78b51de092ea3e27df176fa539ff4a1c99c36d79c5",
        covers: &[Nothing(
            "applies settings that systemd-sysctl applies at every boot",
        )],
    },
    Known {
        package: "systemd",
        script: Postinst,
        sha256: "d4043b1f8e17aac34891252632ed433ad33e1c28a03b7a6813d1ee672588ccdd",
        covers: &[
            Step("enable_units"),
            Step("catalog"),
            Step("names"),
            Step("base_files"),
        ],
    },
    Known {
        package: "systemd",
        script: Preinst,
        sha256: "0c84a94fea7bc230a8e9b1665ca9ee2502d2467405b22dc81062f86782a633d4",
        covers: &[Nothing(
            "checks that /usr is merged, which it always is here",
        )],
    },
    Known {
        package: "systemd-sysv",
        script: Postinst,
        sha256: "149ee30d58f249159f662d8a13bb809570d8be61f844fccffbc213c3916ff63d",
        covers: &[Nothing(
            "restores files lost in an upgrade, and updates GRUB, which is not installed",
        )],
    },
    Known {
        package: "systemd-timesyncd",
        script: Postinst,
        sha256: "14be1d691354481c74c3f7a1b80bc51ca993199e29336a7d7fe24cfa9be0d942",
        covers: &[Nothing(
            "gives configuration files back that a removal had set aside",
        )],
    },
    Known {
        package: "tar",
        script: Postinst,
        sha256: "c3c3a1deaae8922dc1f1e42054abbd216db86b1777cf443f04de77800832bfb9",
        covers: &[Step("alternatives")],
    },
    Known {
        package: "tzdata",
        script: Config,
        sha256: "69577428ba762bf943799858a5f19f225b3645a1196959410de7aa239c8628b9",
        covers: &[Nothing("asks for the time zone; Etc/UTC holds")],
    },
    Known {
        package: "tzdata",
        script: Postinst,
        sha256: "fb34cb4b6bffa49683500776c09427e7d5ab79940755ade95934c7fcba6794af",
        covers: &[Step("names")],
    },
    Known {
        package: "ucf",
        script: Postinst,
        sha256: "a5db81618c5ea78859ddf002e7b2bc193e1902c3d95760120277c5a128de94b1",
        covers: &[Nothing(
            "makes an empty registry, which serves upgrades only",
        )],
    },
    Known {
        package: "ucf",
        script: Preinst,
        sha256: "7b966722fab12fc055fc15a7c72ac9e5bb5cc2fd5195e5e7120c46153bb44adb",
        covers: &[Nothing("rotates the registry of earlier installations")],
    },
    Known {
        package: "udev",
        script: Postinst,
        sha256: "8c0d37252dc0f0b20e8f2210ef85e28f8f0212fdfaf15acd76ca611be38801ca",
        covers: &[Step("hwdb")],
    },
    Known {
        package: "udev",
        script: Preinst,
        sha256: "61922a079cebb74b1d2f7a974ad2d76e33e8840adf629de875cb3751a0e93d61",
        covers: &[Nothing(
            "checks that /usr is merged, which it always is here",
        )],
    },
    Known {
        package: "util-linux",
        script: Postinst,
        sha256: "f5b40d3cb85d16869e58fe2819cca81a2a3eedc1edab59b48689eccf203f83ec",
        covers: &[Step("alternatives")],
    },
];

/// What stands for the residue of that digest, if somebody has read it.
pub fn find(package: &str, script: ScriptKind, sha256: &str) -> Option<&'static [Cover]> {
    let same = |known: &&Known| {
        known.script == script && known.sha256 == sha256 && is(known.package, package)
    };
    TABLE.iter().find(same).map(|known| known.covers)
}

/// Every cover in the table.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = Cover> {
    TABLE.iter().flat_map(|known| known.covers.iter().copied())
}

/// A pattern that ends in `*` stands for a kernel's package, whose name holds its release.
fn is(pattern: &str, package: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => package.starts_with(prefix),
        None => package == pattern,
    }
}
