//! Plans the disk: every offset and size, decided before the output file is opened.

use crate::profile;
use contract::partition::{ALIGNMENT, Partition, Role};
use formats::fat;

/// Room for the protective MBR, the header and the entries at the front, and again at the end.
const TABLE: u64 = ALIGNMENT;
const MIB: u64 = 1 << 20;
/// The SEED partition: the smallest comfortable FAT16.
const SEED: u64 = 32 * MIB;
/// What FAT's own tables and directories take of a medium's ESP, at most.
const MEDIUM_ESP_SPARE: u64 = 8 * MIB;
/// A full ESP cannot take the next upgrade beside the running system.
const ESP_LIMIT_PERCENT: u64 = 40;

/// A place on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What it is for.
    pub role: Role,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// What a disk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A machine's own disk, with room for years.
    Installed,
    /// A stick or CD to start and install from: as small as its contents.
    Medium,
}

/// The whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskPlan {
    /// What it is for.
    pub purpose: Purpose,
    /// Bytes.
    pub size: u64,
    /// The partitions, by offset.
    pub slots: Vec<Slot>,
}

/// Something is larger than the place it has for years to come.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file system outgrew its slot.
    #[error(
        "{what} takes {needed} MiB, its slot has {slot} MiB: raise disk.{key} in the profile (machines keep the slot sizes they were installed with)"
    )]
    Slot {
        /// Which file system.
        what: &'static str,
        /// Its size, rounded up.
        needed: u64,
        /// The slot's size.
        slot: u64,
        /// The profile's key.
        key: &'static str,
    },
    /// The ESP is too full for an upgrade.
    #[error(
        "the ESP's files take {needed} MiB of {esp} MiB, more than {ESP_LIMIT_PERCENT} %: an upgrade puts as much beside them; raise disk.esp in the profile"
    )]
    Esp {
        /// The files' size, rounded up.
        needed: u64,
        /// The ESP's size.
        esp: u64,
    },
}

/// Bytes of the dm-verity partition that goes with a slot of `bytes`.
pub fn verity_size(bytes: u64) -> u64 {
    formats::verity::size(bytes / 4096).next_multiple_of(ALIGNMENT)
}

/// Lays out the partitions that an image ships.
pub fn plan(sizes: &profile::Disk) -> DiskPlan {
    let [esp, store, root] = [sizes.esp, sizes.store, sizes.root].map(|mib| mib * MIB);
    lay(Purpose::Installed, esp, store, root)
}

/// Lays out a medium for file systems of these sizes in bytes: `esp` is that of the ESP's files.
pub fn medium(esp: u64, store: u64, root: u64) -> DiskPlan {
    let esp = (esp + MEDIUM_ESP_SPARE).next_multiple_of(ALIGNMENT);
    let [store, root] = [store, root].map(|bytes| bytes.next_multiple_of(ALIGNMENT));
    lay(Purpose::Medium, esp, store, root)
}

fn lay(purpose: Purpose, esp: u64, store: u64, root: u64) -> DiskPlan {
    let wanted = [
        (Role::BiosBoot, ALIGNMENT),
        (Role::Esp, esp),
        (Role::Seed, SEED),
        (Role::Store, store),
        (Role::StoreVerity, verity_size(store)),
        (Role::Root, root),
        (Role::RootVerity, verity_size(root)),
    ];
    let mut offset = TABLE;
    let mut slots = Vec::with_capacity(wanted.len());
    for (role, size) in wanted {
        slots.push(Slot { role, offset, size });
        offset += size;
    }
    DiskPlan {
        purpose,
        size: offset + TABLE,
        slots,
    }
}

impl DiskPlan {
    /// The slot of `role`.
    pub fn slot(&self, role: Role) -> Slot {
        let found = self.slots.iter().find(|slot| slot.role == role);
        *found.expect("an image ships every role that is asked for here")
    }

    /// The partitions as an image's manifest has them.
    pub fn partitions(&self) -> Vec<Partition> {
        let partition = |slot: &Slot| Partition {
            role: slot.role,
            bytes: slot.size,
        };
        self.slots.iter().map(partition).collect()
    }

    /// Refuses a file system of `bytes` that does not fit its slot.
    pub fn check(&self, role: Role, bytes: u64) -> Result<(), DiskError> {
        let slot = self.slot(role).size;
        let (what, key) = match role {
            Role::Store => ("the image store", "store"),
            _ => ("the root file system", "root"),
        };
        if bytes > slot {
            return Err(DiskError::Slot {
                what,
                needed: bytes.div_ceil(MIB),
                slot: slot / MIB,
                key,
            });
        }
        Ok(())
    }

    /// The kind of FAT of the ESP. A medium is as small as FAT16 allows, which UEFI takes on removable media.
    pub fn esp_kind(&self) -> fat::Kind {
        match self.purpose {
            Purpose::Installed => fat::Kind::Fat32,
            Purpose::Medium => fat::Kind::Fat16,
        }
    }

    /// Refuses ESP contents that leave no room for an upgrade. A medium is never upgraded.
    pub fn check_esp(&self, bytes: u64) -> Result<(), DiskError> {
        if self.purpose == Purpose::Medium {
            return Ok(());
        }
        let esp = self.slot(Role::Esp).size;
        if bytes * 100 > esp * ESP_LIMIT_PERCENT {
            return Err(DiskError::Esp {
                needed: bytes.div_ceil(MIB),
                esp: esp / MIB,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_aligned_and_do_not_overlap() {
        let plan = plan(&profile::Disk {
            compression: Default::default(),
            bios: false,
            esp: 1024,
            root: 700,
            store: 300,
        });
        for pair in plan.slots.windows(2) {
            assert_eq!(pair[0].offset + pair[0].size, pair[1].offset);
        }
        assert!(
            plan.slots
                .iter()
                .all(|slot| slot.offset % ALIGNMENT == 0 && slot.size % ALIGNMENT == 0)
        );
        assert_eq!(
            plan.size,
            plan.slots.last().map_or(0, |slot| slot.offset + slot.size) + TABLE
        );
    }

    #[test]
    fn what_outgrows_its_slot_is_named() {
        let plan = plan(&profile::Disk {
            compression: Default::default(),
            bios: false,
            esp: 1024,
            root: 700,
            store: 300,
        });
        let error = plan.check(Role::Root, 701 * MIB).unwrap_err().to_string();
        assert!(
            error.contains("701 MiB") && error.contains("disk.root"),
            "{error}"
        );
        assert!(plan.check(Role::Store, 300 * MIB).is_ok());
        assert!(plan.check_esp(409 * MIB).is_ok() && plan.check_esp(410 * MIB).is_err());
    }
}
