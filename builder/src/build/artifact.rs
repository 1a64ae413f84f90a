//! Writes the disk: partitions at their planned places, then the table.

use super::outputs::{self, Format, Identity};
use super::stages::Stages;
use super::{Inputs, Report, compressed};
use crate::digest;
use crate::disk::{self, DiskPlan, Purpose, Slot};
use crate::output::Unfinished;
use crate::output::bounded::Bounded;
use anyhow::Context;
use contract::guid::Guid;
use contract::partition::Role;
use formats::gpt::SectorSize;
use formats::tree::{Content, Kind, Tree};
use formats::verity::HashTree;
use formats::{erofs, fat, gpt, grub};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A file system and its hash tree, as they were written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Verified {
    /// Bytes of the file system.
    size: u64,
    /// Bytes of the hash tree.
    verity_size: u64,
    /// What the hash tree leads to.
    pub(super) root_hash: [u8; 32],
}

/// A disk being written.
pub(super) struct Disk<'a> {
    inputs: &'a Inputs<'a>,
    plan: DiskPlan,
    sector_size: SectorSize,
    raw: Unfinished,
    /// What was written of store and root.
    verified: BTreeMap<Role, Verified>,
    bytes: BTreeMap<String, u64>,
}

impl<'a> Disk<'a> {
    /// Starts the disk image below `out`.
    pub(super) fn create(
        inputs: &'a Inputs<'a>,
        plan: DiskPlan,
        sector_size: SectorSize,
        out: &Path,
    ) -> anyhow::Result<Self> {
        let format = match plan.purpose {
            Purpose::Installed => Format::Raw,
            Purpose::Medium => Format::Iso,
        };
        let profile = &inputs.profile.name;
        let name = outputs::file_name(profile, inputs.arch, sector_size, format);
        let path = out.join(name);
        let raw = Unfinished::create(&path)?;
        raw.file()
            .set_len(plan.size)
            .with_context(|| format!("sizing {}", path.display()))?;
        Ok(Disk {
            inputs,
            plan,
            sector_size,
            raw,
            verified: BTreeMap::new(),
            bytes: BTreeMap::new(),
        })
    }

    /// Writes `tree` as erofs into the slot of `role` and its hash tree into the slot beside it.
    pub(super) fn write_verified(&self, role: Role, tree: &Tree) -> anyhow::Result<Verified> {
        let label = role.label();
        let writing = || format!("writing the {label} partition");
        let options = erofs::Options {
            uuid: self.identifier(label),
            epoch: self.inputs.epoch,
            label: label.to_owned(),
            // Programs in a container may compare their files' times; a layer keeps those it was made with.
            clamp_mtimes: role == Role::Root,
            hard_links: role == Role::Store,
        };
        let method = self.inputs.profile.disk.compression.method();
        let compress = |method| compressed::contents(tree, self.inputs, method);
        let contents = method.map(compress).transpose().with_context(writing)?;
        let plan = match &contents {
            Some(contents) => erofs::plan_compressed(tree, &options, contents),
            None => erofs::plan(tree, &options),
        };
        let plan = plan.with_context(writing)?;
        self.plan.check(role, plan.size())?;
        let salt = digest::derive(&self.inputs.lock_digest, &format!("{label} salt"));
        let hash = HashTree::new(&salt, self.identifier(&format!("{label} verity")))
            .with_context(writing)?;
        let mut out = Hashed {
            out: Bounded::new(self.raw.file(), self.plan.slot(role)),
            hash,
        };
        plan.write(&mut out).with_context(writing)?;
        let verity = out.hash.finish().with_context(writing)?;
        let beside = beside(role);
        let mut out = Bounded::new(self.raw.file(), self.plan.slot(beside));
        verity
            .write(&mut out)
            .with_context(|| format!("writing the {} partition", beside.label()))?;
        Ok(Verified {
            size: plan.size(),
            verity_size: out.position(),
            root_hash: verity.root_hash,
        })
    }

    /// Notes what was written into the slot of `role` and the one beside it, for the partition table.
    pub(super) fn add(&mut self, role: Role, written: &Verified) {
        self.verified.insert(role, written.clone());
        self.bytes.insert(role.label().to_lowercase(), written.size);
    }

    /// Copies what was written to `out`: the file system, then its hash tree.
    pub(super) fn copy_out(
        &self,
        role: Role,
        written: &Verified,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        for (role, len) in written.parts(role) {
            self.copy_part(role, len, out)?;
        }
        Ok(())
    }

    /// Copies the first `len` bytes of a partition to `out`.
    fn copy_part(&self, role: Role, len: u64, out: &mut dyn Write) -> anyhow::Result<()> {
        let reading = || format!("reading the {} partition", role.label());
        let file = self.raw.file().try_clone().with_context(reading)?;
        let part = Content::Slice {
            file: Arc::new(file),
            offset: self.plan.slot(role).offset,
            len,
        };
        part.read_chunks(0, anyhow::Error::new, |_, bytes| Ok(out.write_all(bytes)?))
            .with_context(|| format!("copying the {} partition", role.label()))
    }

    /// Writes what [`Disk::copy_out`] gave; `kept` may be longer.
    pub(super) fn copy_in(
        &self,
        role: Role,
        written: &Verified,
        kept: &Content,
    ) -> anyhow::Result<()> {
        self.plan.check(role, written.size)?;
        let mut from = 0;
        for (role, len) in written.parts(role) {
            let writing = || format!("writing the {} partition", role.label());
            let mut out = Bounded::new(self.raw.file(), self.plan.slot(role));
            let part = kept.slice(from, len).with_context(writing)?;
            part.read_chunks(0, |error| error, |_, bytes| out.write_all(bytes))
                .with_context(writing)?;
            from += len;
        }
        Ok(())
    }

    /// Starts a medium with the store and the root of this disk, below `out`.
    pub(super) fn medium(&self, out: &Path) -> anyhow::Result<Disk<'a>> {
        let of = |part: &str| self.bytes.get(part).copied().unwrap_or_default();
        let plan = disk::medium(of("esp"), of("store"), of("root"));
        let mut medium = Disk::create(self.inputs, plan, SectorSize::B512, out)?;
        for (role, written) in &self.verified {
            for (role, len) in written.parts(*role) {
                let mut out = Bounded::new(medium.raw.file(), medium.plan.slot(role));
                self.copy_part(role, len, &mut out)?;
            }
            medium.add(*role, written);
        }
        Ok(medium)
    }

    /// Where everything is.
    pub(super) fn plan(&self) -> &DiskPlan {
        &self.plan
    }

    /// Seconds since 1970 that every file of it has.
    pub(super) fn epoch(&self) -> i64 {
        self.inputs.epoch
    }

    /// The file, if nothing else is to be made of it.
    pub(super) fn into_file(self) -> Unfinished {
        self.raw
    }

    /// Writes the EFI system partition.
    pub(super) fn write_esp(&mut self, tree: &Tree) -> anyhow::Result<()> {
        let size = |node: &formats::tree::Node| match &node.kind {
            Kind::File(content) => content.len(),
            _ => 0,
        };
        let bytes = tree.iter().map(|(_, node)| size(node)).sum();
        self.plan.check_esp(bytes)?;
        self.bytes.insert("esp".into(), bytes);
        self.write_fat(Role::Esp, self.plan.esp_kind(), tree)
    }

    /// Writes the partition that seeds are dropped on.
    pub(super) fn write_seed(&mut self, tree: &Tree) -> anyhow::Result<()> {
        self.write_fat(Role::Seed, fat::Kind::Fat16, tree)
    }

    fn write_fat(&mut self, role: Role, kind: fat::Kind, tree: &Tree) -> anyhow::Result<()> {
        let label = role.label();
        let writing = || format!("writing the {label} partition");
        let slot = self.plan.slot(role);
        let id = self.identifier(label);
        let format = fat::write::Format {
            kind,
            size: slot.size,
            sector_size: self.sector_size,
            label: label.to_owned(),
            id: u32::from_be_bytes([id[0], id[1], id[2], id[3]]),
            time: self.inputs.epoch,
        };
        let plan = fat::write::plan(&format, tree).with_context(writing)?;
        let mut out = Bounded::new(self.raw.file(), slot);
        plan.write(&mut |offset, bytes| out.write_at(offset, bytes))
            .with_context(writing)
    }

    /// The number of the partition of `role`, from 1.
    pub(super) fn number(&self, role: Role) -> usize {
        let before = self.plan.slots.iter().take_while(|slot| slot.role != role);
        before.count() + 1
    }

    /// Writes what a BIOS starts: code into the first sector, the core image into its partition.
    pub(super) fn write_bios(&self, parts: &grub::Parts, core: &grub::Core) -> anyhow::Result<()> {
        let writing = || format!("writing the {} partition", Role::BiosBoot.label());
        let slot = self.plan.slot(Role::BiosBoot);
        let sector = self.sector_size.bytes();
        let made = grub::for_disk(parts, core, slot.offset / sector, slot.size / sector)
            .with_context(writing)?;
        let mut out = Bounded::new(self.raw.file(), slot);
        out.write_all(&made.partition).with_context(writing)?;
        let written = self.raw.file().write_all_at(&made.boot_code, 0);
        written.context("writing the boot code")
    }

    /// Writes the partition table: the last step that makes the disk one.
    pub(super) fn write_table(&mut self) -> anyhow::Result<()> {
        let sector = self.sector_size.bytes();
        let entry = |slot: &Slot| gpt::Entry {
            type_guid: *slot.role.type_guid(self.inputs.arch).as_bytes(),
            guid: *self.guid(slot.role).as_bytes(),
            first_lba: slot.offset / sector,
            last_lba: (slot.offset + slot.size) / sector - 1,
            attributes: 0,
            name: slot.role.label().to_owned(),
        };
        let entries = self.plan.slots.iter().map(entry);
        let disk = *self.disk_guid().as_bytes();
        let table = gpt::Table::new(disk, self.sector_size, self.plan.size / sector, entries);
        for (offset, bytes) in table.write().context("planning the partition table")? {
            let written = self.raw.file().write_all_at(&bytes, offset);
            written.context("writing the partition table")?;
        }
        Ok(())
    }

    /// Writes the results: the disk in all of `formats`, and `medium` if there is one.
    pub(super) fn finish(
        self,
        medium: Option<Unfinished>,
        formats: &BTreeSet<Format>,
        stages: &mut Stages,
    ) -> anyhow::Result<Report> {
        let identity = Identity {
            guid: *self.disk_guid().as_bytes(),
            name: format!("seedbed-{}-{}", self.inputs.profile.name, self.inputs.arch),
            epoch: self.inputs.epoch,
        };
        Ok(Report {
            profile: self.inputs.profile.name.clone(),
            arch: self.inputs.arch.to_string(),
            outputs: outputs::write(self.raw, medium, formats, &identity, stages)?,
            unchanged: false,
            taken_from: None,
            root_hash: String::new(),
            store_hash: String::new(),
            bytes: self.bytes,
            seconds: Vec::new(),
        })
    }

    fn disk_guid(&self) -> Guid {
        Guid::derived(self.identifier("disk"))
    }

    fn guid(&self, role: Role) -> Guid {
        // The two halves of the root hash: systemd finds data and hash tree by them (UAPI.2).
        let half = |of: Role, from: usize| {
            let hash = self.verified.get(&of)?.root_hash;
            Some(Guid::from_bytes(std::array::from_fn(|i| hash[from + i])))
        };
        let from_hash = match role {
            Role::Root | Role::Store => half(role, 0),
            Role::RootVerity => half(Role::Root, 16),
            Role::StoreVerity => half(Role::Store, 16),
            _ => None,
        };
        let derived = || Guid::derived(self.identifier(&format!("partition {}", role.label())));
        from_hash.unwrap_or_else(derived)
    }

    /// Sixteen bytes that the lock, the architecture and `label` alone decide.
    fn identifier(&self, label: &str) -> [u8; 16] {
        let bytes = digest::derive(
            &self.inputs.lock_digest,
            &format!("{} {label}", self.inputs.arch),
        );
        std::array::from_fn(|i| bytes[i])
    }
}

impl Verified {
    /// The two partitions with the sizes of what is in them.
    fn parts(&self, role: Role) -> [(Role, u64); 2] {
        [(role, self.size), (beside(role), self.verity_size)]
    }
}

/// The partition of the hash tree.
fn beside(role: Role) -> Role {
    if role == Role::Root {
        Role::RootVerity
    } else {
        Role::StoreVerity
    }
}

/// Hashes what passes on its way into a partition.
struct Hashed<'a> {
    out: Bounded<'a>,
    hash: HashTree,
}

impl Write for Hashed<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.out.write(buf)?;
        self.hash.update(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
