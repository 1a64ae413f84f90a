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
        package: "amd64-microcode",
        script: Postinst,
        sha256: "07f51b96f005ff966ae5544a6693bff315e9ae0ac2a0d0f034320694ad356f78",
        covers: &[Nothing(
            "asks for an initrd with the microcode; the unified kernel image has it",
        )],
    },
    Known {
        package: "base-files",
        script: Postinst,
        sha256: "1cd4fa609b186b62b4af2213f4606600659c40102ee81610aa8ec8f834306c5f",
        covers: &[Step("base_files")],
    },
    // That of arm64, which has no /lib64.
    Known {
        package: "base-files",
        script: Postinst,
        sha256: "bc3fa04c9865295f6060b7620fb4794a9274458420099e7e280745cca1ac0e0c",
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
        package: "base-files",
        script: Preinst,
        sha256: "018d9fa2c35e1238bcd17518a9046ccad3882776bc750906b74cd131b5c4d2f2",
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
        package: "ceph-common",
        script: Postinst,
        sha256: "5f2dc7fad6eae9931fbb63fc3520dad8f4f44470a8d8c8f00770966105190a46",
        covers: &[
            Step("users"),
            Step("statoverride"),
            Nothing(
                "takes over settings of older versions, and makes what systemd-tmpfiles makes at every boot",
            ),
        ],
    },
    Known {
        package: "ceph-common",
        script: Preinst,
        sha256: "6c741b4237f46289539ca5b9c8ea3f12f589fdfcc67afe5fa4a5172105d5c326",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "chrony",
        script: Postinst,
        sha256: "22172281b0700e72c0bbb666f0d949ca8beea0e6fa9dc2c0ea3cf623c5f3c16c",
        covers: &[Step("users"), Step("ucf"), Step("statoverride")],
    },
    Known {
        package: "cifs-utils",
        script: Postinst,
        sha256: "2b0f07cdb2ae3a0a4c8f5e1cc0267655c60fa945dc7d6cb21e26e3632f8abc47",
        covers: &[Step("alternatives")],
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
        package: "dpkg",
        script: Postinst,
        sha256: "195843592cf5a3add0e5257131a7d4b91b0a9d671a2c78a3b8f4e0717b8fde40",
        covers: &[Nothing(
            "writes dpkg's bookkeeping, and a link that a merged /usr has already",
        )],
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
        package: "firmware-bnx2",
        script: Postinst,
        sha256: "612d9ae0c124a55cfab5ec83c52908a58b1122a86c64938e963ba8ea083a4306",
        covers: &[Nothing(
            "makes an initrd on the machine; the image's is composed natively",
        )],
    },
    Known {
        package: "firmware-bnx2x",
        script: Postinst,
        sha256: "612d9ae0c124a55cfab5ec83c52908a58b1122a86c64938e963ba8ea083a4306",
        covers: &[Nothing(
            "makes an initrd on the machine; the image's is composed natively",
        )],
    },
    Known {
        package: "firmware-intel-misc",
        script: Postinst,
        sha256: "609aa31bbe132b0f9b37f0bd499ec717595cdee14babddd84a38d5b942ca63be",
        covers: &[Nothing("takes away the diversion that the preinst has set")],
    },
    Known {
        package: "firmware-intel-misc",
        script: Preinst,
        sha256: "44826d607cb51f5f723495ef8d9e9dd8bb306abd61a868b842cee453b8a7b8c6",
        covers: &[Nothing(
            "sets a diversion that the postinst takes away again",
        )],
    },
    Known {
        package: "firmware-misc-nonfree",
        script: Postinst,
        sha256: "1f9ec32abe8936d9fe2e27d335acc603917cf95c5b02d713e3b89f3f0854e962",
        covers: &[
            Nothing("makes an initrd on the machine; the image's is composed natively"),
            Nothing("takes away the diversion that the preinst has set"),
        ],
    },
    Known {
        package: "firmware-misc-nonfree",
        script: Preinst,
        sha256: "4b755cccf33d8bc21a100ceecd2d78fef67a22abdde92473d3ffe20f661daf1a",
        covers: &[Nothing(
            "sets a diversion that the postinst takes away again",
        )],
    },
    Known {
        package: "firmware-qlogic",
        script: Postinst,
        sha256: "612d9ae0c124a55cfab5ec83c52908a58b1122a86c64938e963ba8ea083a4306",
        covers: &[Nothing(
            "makes an initrd on the machine; the image's is composed natively",
        )],
    },
    Known {
        package: "firmware-realtek",
        script: Postinst,
        sha256: "d02b5a9d2f36c12c0968fd943770fb220fcad587e7ee585bda0abd5c1a6f5aef",
        covers: &[
            Nothing("makes an initrd on the machine; the image's is composed natively"),
            Nothing("takes away the diversion that the preinst has set"),
        ],
    },
    Known {
        package: "firmware-realtek",
        script: Preinst,
        sha256: "6fba0bea85f852368e470f6a3d457d2993145e94f1da2a535a92677b4cb9bb4d",
        covers: &[Nothing(
            "sets a diversion that the postinst takes away again",
        )],
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
        package: "intel-microcode",
        script: Postinst,
        sha256: "61346bfc4e8e3f91cc9224e5b66816077ee1ec8ca2eaf2635662bf390e72fb75",
        covers: &[Nothing(
            "asks for an initrd with the microcode; the unified kernel image has it",
        )],
    },
    Known {
        package: "iperf3",
        script: Config,
        sha256: "5f92bf7db83ddbbcc3ea05c2184c104ab4e3df3939c476e056d13b793b20a7a2",
        covers: &[Nothing(
            "asks whether the server starts by itself; its default, no, holds",
        )],
    },
    Known {
        package: "iperf3",
        script: Postinst,
        sha256: "e0c186c38a87a0985ab08b429e3f7bc0a620b936ca76dc1fd75ca1c01e8ff765",
        covers: &[
            Step("users"),
            Nothing("starts the server only if asked to, which by default it is not"),
        ],
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
        package: "iputils-arping",
        script: Postinst,
        sha256: "4519f486744388f9dc00fcef2eb9e558baaad6e6bb15332dac13c29850db23ad",
        covers: &[Step("capabilities")],
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
        package: "less",
        script: Postinst,
        sha256: "830a9ba1e5fa4fefeb791eb32551e7f4f21d120020667b0dca4a85026c4bd74a",
        covers: &[Step("alternatives")],
    },
    Known {
        package: "less",
        script: Preinst,
        sha256: "82d726b058e43c53c8ad4883153034ab5ce6d6b19eab03abb6127f52c991a89c",
        covers: &[Nothing("acts on upgrades only")],
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
        package: "libc6",
        script: Preinst,
        sha256: "8b609d4513aed7f3a40f246cf0274c80a62e92fbba7f7d1b61c8027e0bd759b0",
        covers: &[Nothing(
            "checks the running kernel, and links /lib, which base-files ships",
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
        package: "libglib2.0-0t64",
        script: Postinst,
        sha256: "71cc2a1431fd5258b1243e1aad4a898df5ef15ab7bcaeedf67c4172009244780",
        covers: &[Nothing(
            "compiles schemas of desktop programs' settings, and a cache that GIO does without",
        )],
    },
    Known {
        package: "libglib2.0-0t64",
        script: Preinst,
        sha256: "3e24b56a5b94a38ab634ebf0c1db23bb0b35175e139d007b2eef3716f602dd84",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "libgssapi-krb5-2",
        script: Postinst,
        sha256: "2e604755b4e2111c8c56a9f3d993905fefa3d6f2eb4d0bd1a849cadbcf36ea60",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "libibverbs1",
        script: Postinst,
        sha256: "022082557713465e762b40d5965a8d4af0b65c7f5cc592ab40bbd8f4d1d29bf1",
        covers: &[Step("users")],
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
        package: "libpython3.13-minimal",
        script: Postinst,
        sha256: "b3515d957999fb9a4a2262cc7062d10602cfc0b96524418d425c43a636642b9e",
        covers: &[Nothing("prints a comment")],
    },
    Known {
        package: "libreadline8t64",
        script: Preinst,
        sha256: "38e15a4551f1391927aff5933a7bb8d620df4523d0cd1494196e266e6218008f",
        covers: &[Nothing(
            "moves or diverts aliases of merged /usr, which no package here has",
        )],
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
        package: "lvm2",
        script: Postinst,
        sha256: "734b7c3b0d3f80c6eb72a9e874ac887e4fdbef1564bd336d0985533770c92d27",
        covers: &[Nothing(
            "backs up the volume groups of the machine that it is installed on, and acts on upgrades",
        )],
    },
    Known {
        package: "lvm2",
        script: Preinst,
        sha256: "5444ea4f62f20549cea8b1a0a018ebc27414edfaa8dd6f33bffddd4371a88d15",
        covers: &[Nothing("acts on upgrades only")],
    },
    Known {
        package: "mtr-tiny",
        script: Postinst,
        sha256: "ad34f1bf1a58c6073079d4deda82fa4c4b521e9ee4608ec30832b49d4020bc8c",
        covers: &[Step("capabilities")],
    },
    Known {
        package: "netbase",
        script: Postinst,
        sha256: "eb3886bd4907a50771cb3eab8fc5376823ff230bdb5fcb3121b11acf56be6b8c",
        covers: &[Step("names"), Step("base_files")],
    },
    Known {
        package: "netcat-openbsd",
        script: Postinst,
        sha256: "cf53f68f9b2f59a0ed7d8942916af6d7b450a6e49f4908123437ea7c0a6ef6a9",
        covers: &[Step("alternatives")],
    },
    Known {
        package: "nfs-common",
        script: Postinst,
        sha256: "df4e47b5e9a7722acdfb3d102eff39fbdb1d2c69c7b1991998ef4cd216afedaa",
        covers: &[
            Step("users"),
            Step("ucf"),
            Step("base_files"),
            Step("statoverride"),
        ],
    },
    Known {
        package: "nfs-common",
        script: Preinst,
        sha256: "b0c9775eb6bf31d1dd15598bf268e2d6769a18414d4700c4614e49bafa4319b3",
        covers: &[Nothing(
            "acts on upgrades, and sets a diversion that the postinst takes away again",
        )],
    },
    Known {
        package: "nvme-cli",
        script: Postinst,
        sha256: "d7c5be75402afade5d18827b0ce69961d6ace84b2c199d7abb74cc0241c98059",
        covers: &[Nothing(
            "draws the machine's NVMe names, which an image must not share; without them nvme-cli derives both from the machine's UUID",
        )],
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
        package: "pciutils",
        script: Postinst,
        sha256: "e59945998df93f610973e85b3a393bab8949755a9dcdd7bd4e27252b531d66f1",
        covers: &[Nothing("removes what updates of the list of devices left")],
    },
    Known {
        package: "pciutils",
        script: Preinst,
        sha256: "fab75e8ed94ef9365a85da70c9a1731d45617a59146332e2e254f3aa16b58b73",
        covers: &[Nothing("removes what updates of the list of devices left")],
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
        package: "python3",
        script: Postinst,
        sha256: "9f1dc0c33aa07bb19d4b61ac287ec5c85ed5fb4d4947619ecc6b7910504b4d08",
        covers: &[Nothing(
            "compiles Python's files, which the interpreter does itself when it loads them",
        )],
    },
    Known {
        package: "python3",
        script: Preinst,
        sha256: "09a448cc6c9a8c9e808d39034f1bc586d24e0adcf99e78b3eba2db604e6c7129",
        covers: &[Nothing("repairs documentation, and acts on upgrades")],
    },
    Known {
        package: "python3-minimal",
        script: Postinst,
        sha256: "00f60d99257dc0b484171d9be5d614d2d147f43e602aa4c6e4a28e1e61d6cc0f",
        covers: &[Nothing(
            "compiles Python's files, which the interpreter does itself when it loads them",
        )],
    },
    Known {
        package: "python3.13",
        script: Postinst,
        sha256: "7f38682082bf06ec9ab4da35ceed30d6a23d56d2bab30c505c253a719e58b98b",
        covers: &[Nothing(
            "compiles Python's files, which the interpreter does itself when it loads them",
        )],
    },
    Known {
        package: "python3.13-minimal",
        script: Postinst,
        sha256: "2b5cde4b90ae2871e144d7d2e02d68c381978995c574395b0a114526d1ad25ec",
        covers: &[
            Step("base_files"),
            Nothing(
                "compiles Python's files, which the interpreter does itself when it loads them",
            ),
        ],
    },
    Known {
        package: "python3.13-minimal",
        script: Preinst,
        sha256: "fe3cbb0966e170341da20074c935fd6752dd37b42b89abac278b845948f7f981",
        covers: &[Nothing("marks a first installation for the postinst")],
    },
    Known {
        package: "readline-common",
        script: Postinst,
        sha256: "a615e358db3d2a24aa90a2cc42dbd0d814dffb36d491e3a2cab2616b6cfcebba",
        covers: &[Step("base_files")],
    },
    Known {
        package: "rpcbind",
        script: Postinst,
        sha256: "d390bb2baedb40d13c35d4804525fe0a750d806e9e394e9239832513a1185b57",
        covers: &[Step("users")],
    },
    Known {
        package: "smartmontools",
        script: Postinst,
        sha256: "ff3bd881ed14b2245c3833f699065a4e04a8f5318be62536e6274950b4f70e16",
        covers: &[Step("base_files")],
    },
    Known {
        package: "sysstat",
        script: Config,
        sha256: "e8c6175cfa2e8922ace6e5b3279ef81909171c94b745e4ae494cd6eba8fd1c3f",
        covers: &[Nothing(
            "asks whether to collect statistics; its default, no, holds",
        )],
    },
    Known {
        package: "sysstat",
        script: Postinst,
        sha256: "2a72b4bc4b41956696b27c4d022fd5fbad7f69c4cd2e493f36ef377107ec1da9",
        covers: &[
            Step("alternatives"),
            Nothing("records that no statistics are collected, which holds without the record"),
        ],
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
        package: "tcpdump",
        script: Postinst,
        sha256: "5fc9bf8e677a3cc9936c60b13cb23e799e7d3d66b9a8f8228bcf6bcc799b230d",
        covers: &[
            Step("users"),
            Nothing("removes an empty file of older versions"),
        ],
    },
    Known {
        package: "traceroute",
        script: Postinst,
        sha256: "cdd8a22bfca65147b64b0f7cde1fd38ad4ef3218355f96191c51b708a8d19543",
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
    Known {
        package: "uuid-runtime",
        script: Postinst,
        sha256: "49fb58b4c66233bcbc1be56f06313de983a8bb7465370a2254a8754992944790",
        covers: &[Step("users")],
    },
    Known {
        package: "xfsprogs",
        script: Postinst,
        sha256: "b71a95504bf1c20c9ca81c92c0727be176e3c88640d59b6e784074a3aecc8ea9",
        covers: &[Nothing(
            "makes an initrd on the machine; the image's is composed natively",
        )],
    },
    Known {
        package: "xz-utils",
        script: Postinst,
        sha256: "e145857bd9c7fba21ce28a88c6141809258248f2a4a3cbcfa27c036fec46dc8b",
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
