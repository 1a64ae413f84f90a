//! The partitions of a Seedbed disk: order, names and type GUIDs.
//!
//! Types are those of the Discoverable Partitions Specification (UAPI.2) where it has one, and ours for the
//! rest. The image ships partitions up to root A; systemd-repart makes the others on the machine.

use crate::guid::Guid;
use serde::{Deserialize, Serialize};

/// A processor architecture, by Debian's and Kubernetes' common name.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Arch {
    /// The name that Debian, Go and OCI share.
    pub const fn as_str(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }

    /// Debian's multiarch tuple, such as `x86_64-linux-gnu`.
    pub const fn multiarch(self) -> &'static str {
        match self {
            Arch::Amd64 => "x86_64-linux-gnu",
            Arch::Arm64 => "aarch64-linux-gnu",
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a partition is for. Documents have it in capitals, such as `ROOT-VERITY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum Role {
    /// GRUB's core image, for machines without UEFI.
    BiosBoot,
    /// The EFI system partition, FAT32.
    Esp,
    /// Where anyone can drop `seed.yaml`, FAT16.
    Seed,
    /// Container images, erofs.
    Store,
    /// dm-verity hash tree of [`Role::Store`].
    StoreVerity,
    /// The operating system, erofs.
    Root,
    /// dm-verity hash tree of [`Role::Root`].
    RootVerity,
    /// Ledger, identity and keys of this machine, ext4.
    State,
    /// etcd, containerd, kubelet and pod data, ext4.
    Data,
}

const STORE: Guid = Guid::literal("b1c60d11-d1a2-44d1-a4cc-f24e0f0ee073");
const STORE_VERITY: Guid = Guid::literal("18c828f7-2b91-4ca4-96bf-dde591ff32f2");
const STATE: Guid = Guid::literal("ecc445b0-b605-4f4f-9b25-34122d5e8ba8");
const DATA: Guid = Guid::literal("8e837205-a772-41d9-87e2-54ca31878b79");

impl Role {
    /// The partition's type GUID.
    pub const fn type_guid(self, arch: Arch) -> Guid {
        match (self, arch) {
            (Role::BiosBoot, _) => Guid::literal("21686148-6449-6e6f-744e-656564454649"),
            (Role::Esp, _) => Guid::literal("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"),
            // Microsoft basic data, so that Windows and macOS mount it.
            (Role::Seed, _) => Guid::literal("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"),
            (Role::Store, _) => STORE,
            (Role::StoreVerity, _) => STORE_VERITY,
            (Role::Root, Arch::Amd64) => Guid::literal("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
            (Role::Root, Arch::Arm64) => Guid::literal("b921b045-1df0-41c3-af44-4c6f280d3fae"),
            (Role::RootVerity, Arch::Amd64) => {
                Guid::literal("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5")
            }
            (Role::RootVerity, Arch::Arm64) => {
                Guid::literal("df3300ce-d69f-4c92-978c-9bfb0f38d820")
            }
            (Role::State, _) => STATE,
            (Role::Data, _) => DATA,
        }
    }

    /// The GPT partition name (at most 36 UTF-16 units) and, where it has one, the volume label.
    pub const fn label(self) -> &'static str {
        match self {
            Role::BiosBoot => "BIOS",
            Role::Esp => "ESP",
            Role::Seed => "SEED",
            Role::Store => "STORE",
            Role::StoreVerity => "STORE-VERITY",
            Role::Root => "ROOT",
            Role::RootVerity => "ROOT-VERITY",
            Role::State => "STATE",
            Role::Data => "DATA",
        }
    }
}

/// Every partition begins at a multiple of this many bytes: any flash and RAID stripe is happy with it. The
/// first begins at the first of them, and as much at the end of the disk is left to the table's copy.
pub const ALIGNMENT: u64 = 1 << 20;

/// A partition of an installed disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Partition {
    /// What it is for.
    pub role: Role,
    /// Its size in bytes, a multiple of [`ALIGNMENT`].
    pub bytes: u64,
}

/// The kernel's argument by which a boot loader without UEFI's variables tells the GUID of the ESP that it came
/// from; empty if it does not know.
pub const BOOTED_ESP: &str = "seedbed.esp";
