//! What a schema cannot say of a profile: every value for itself, then all documents together. Each fault stands
//! where the value does.

mod packages;

use super::compose::Source;
use super::file::{ControlPlane, FileEntry, ImageEntry, KubernetesFile, ProfileFile, UserEntry};
use crate::images::list::kubeadm;
use crate::images::reference::Reference;
use anyhow::anyhow;
use contract::document::Fault;
use contract::partition::Arch;
use std::collections::BTreeSet;

/// FAT32 has a least number of clusters; in MiB.
const LEAST_ESP: u64 = 264;
/// No partition of an image is anywhere near as large: 16 TiB, in MiB.
const MOST_MIB: u64 = 1 << 24;
/// Below are the system's users, above those that systemd hands out.
const UIDS: std::ops::RangeInclusive<u32> = 1000..=59999;

/// What one of the documents has to say.
pub(super) struct Required {
    pub(super) name: String,
    pub(super) arch: Vec<Arch>,
    pub(super) kubernetes: KubernetesFile,
}

/// Checks the documents of one profile, the profile itself last; the error holds every fault of all of them.
pub(super) fn validate(sources: &[Source]) -> anyhow::Result<Required> {
    let mut faults = Vec::new();
    for source in sources {
        let mut checks = Checks::of(source);
        checks.values();
        checks.declared(sources);
        checks.pins_name_sources(sources);
        faults.extend(checks.finish());
    }
    let last = |what: fn(&ProfileFile) -> bool| {
        let says = |source: &&Source| what(&source.document.value);
        sources.iter().rev().find(says)
    };
    let name = last(|file| file.name.is_some());
    let arch = last(|file| file.arch.is_some());
    let kubernetes = last(|file| file.kubernetes.is_some());
    if let Some(profile) = sources.last() {
        let mut checks = Checks::of(profile);
        for (key, found) in [("name", name), ("arch", arch), ("kubernetes", kubernetes)] {
            if found.is_none() {
                checks.fault(
                    key.into(),
                    format!("{key} is missing"),
                    "the profile, or one that it extends, has to say it",
                );
            }
        }
        faults.extend(checks.finish());
    }
    if let Some(source) = kubernetes {
        faults.extend(pause(source, sources));
    }
    if !faults.is_empty() {
        return Err(anyhow!("{}", faults.join("\n")));
    }
    let of = |source: Option<&Source>| source.map(|source| source.document.value.clone());
    let missing = || anyhow!("the profile is incomplete");
    Ok(Required {
        name: of(name).and_then(|file| file.name).ok_or_else(missing)?,
        arch: of(arch).and_then(|file| file.arch).ok_or_else(missing)?,
        kubernetes: of(kubernetes)
            .and_then(|file| file.kubernetes)
            .ok_or_else(missing)?,
    })
}

/// The pause image is one that the store will hold.
fn pause(source: &Source, sources: &[Source]) -> Option<String> {
    let kubernetes = source.document.value.kubernetes.as_ref()?;
    let mut checks = Checks::of(source);
    let computed = match kubernetes.images {
        ControlPlane::Profile => None,
        ControlPlane::Kubeadm => {
            match kubeadm::images(&kubernetes.version, &kubernetes.image_repository) {
                Ok(computed) => Some(computed),
                Err(error) => {
                    let hint = "choose another version, or leave kubernetes.images out";
                    checks.fault("kubernetes.version".into(), error.to_string(), hint);
                    return checks.finish();
                }
            }
        }
    };
    let Some(pause) = &kubernetes.pause else {
        if computed.is_none() {
            let message = "the pause image is missing".to_owned();
            let hint = "name it, or say images: kubeadm";
            checks.fault("kubernetes.pause".into(), message, hint);
        }
        return checks.finish();
    };
    if computed.is_some_and(|computed| computed.images.contains(pause)) {
        return None;
    }
    let mut images = sources.iter().flat_map(|s| &s.document.value.images);
    if images.any(|image| image.name == *pause) {
        return None;
    }
    let message = format!("the pause image {pause} is not among the images");
    checks.fault("kubernetes.pause".into(), message, "list it below images:");
    checks.finish()
}

/// The faults of one document.
struct Checks<'a> {
    source: &'a Source,
    faults: Vec<Fault>,
}

impl<'a> Checks<'a> {
    fn of(source: &'a Source) -> Self {
        Checks {
            source,
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, path: String, message: String, hint: &str) {
        let fault = self
            .source
            .document
            .fault(&path, message, Some(hint.to_owned()));
        self.faults.push(fault);
    }

    fn finish(self) -> Option<String> {
        let faults = self.source.document.faults(self.faults);
        faults.err().map(|faults| faults.to_string())
    }

    /// Each value for itself.
    fn values(&mut self) {
        let file = &self.source.document.value;
        if file.version != 1 {
            self.fault(
                "version".into(),
                format!("version {} is not known", file.version),
                "this seedbed reads version 1",
            );
        }
        if let Some(name) = file.name.as_ref().filter(|name| !is_label(name)) {
            self.fault(
                "name".into(),
                format!("{name:?} cannot be part of a file name"),
                "use lower-case letters, digits and dashes",
            );
        }
        for (key, arch) in [("arch", &file.arch), ("when.arch", &file.when.arch)] {
            if arch.as_ref().is_some_and(Vec::is_empty) {
                let message = "no architecture is named".to_owned();
                self.fault(key.into(), message, &format!("write {key}: [amd64]"));
            }
        }
        if let Some(kubernetes) = &file.kubernetes
            && !kubernetes.version.starts_with('v')
        {
            self.fault(
                "kubernetes.version".into(),
                format!("{:?} has no leading v", kubernetes.version),
                "write it as upstream does, such as v1.20.2",
            );
        }
        for (i, entry) in file.files.iter().enumerate() {
            self.file(i, entry);
        }
        let disk = &file.disk;
        for (key, size, least) in [
            ("esp", disk.esp, LEAST_ESP),
            ("root", disk.root, 1),
            ("store", disk.store, 1),
        ] {
            if let Some(size) = size.filter(|size| !(least..=MOST_MIB).contains(size)) {
                self.fault(
                    format!("disk.{key}"),
                    format!("{key} cannot have {size} MiB"),
                    &format!("choose a size from {least} to {MOST_MIB} MiB"),
                );
            }
        }
        self.all_packages();
        self.images(&file.images);
        for (i, user) in file.users.iter().enumerate() {
            self.user(i, user);
        }
        for name in file.sysctls.keys() {
            let known = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
            if name.is_empty() || !name.chars().all(known) {
                self.fault(
                    format!("sysctls.{name}"),
                    format!("{name:?} is no kernel parameter"),
                    "write it as sysctl does, such as vm.max_map_count",
                );
            }
        }
        let texts = file.sysctls.iter().map(|(name, text)| {
            let key = format!("sysctls.{name}");
            (key, text)
        });
        let arguments = file.kernel_arguments.iter().enumerate();
        let arguments = arguments.map(|(i, text)| (format!("kernelArguments[{i}]"), text));
        let lines: Vec<_> = texts.chain(arguments).collect();
        for (key, text) in lines {
            if text.contains(['\n', '\r', '\0']) {
                let message = "it goes beyond one line".to_owned();
                self.fault(key, message, "write it as one line");
            }
        }
    }

    fn file(&mut self, i: usize, entry: &FileEntry) {
        if !entry.to.starts_with('/') || entry.to.split('/').any(|part| part == "..") {
            self.fault(
                format!("files[{i}].to"),
                format!("{:?} is not an absolute path", entry.to),
                "name the file's place in the root file system",
            );
        }
        if u16::from_str_radix(&entry.mode, 8).map_or(true, |mode| mode > 0o7777) {
            self.fault(
                format!("files[{i}].mode"),
                format!("mode {:?} is not octal", entry.mode),
                "write permission bits such as 0755",
            );
        }
    }

    fn images(&mut self, images: &[ImageEntry]) {
        let mut names = BTreeSet::new();
        for (i, image) in images.iter().enumerate() {
            let key = format!("images[{i}].name");
            if !names.insert(&image.name) {
                let message = format!("image {} is listed twice", image.name);
                self.fault(key.clone(), message, "take one of them away");
            }
            if let Err(error) = Reference::parse(&image.name) {
                self.fault(key, error.to_string(), "write REGISTRY/PATH:TAG");
            }
            let places = [
                image.from.is_some(),
                image.layout.is_some(),
                image.archive.is_some(),
            ];
            if places.into_iter().filter(|is| *is).count() > 1 {
                let message = format!("image {} comes from more than one place", image.name);
                let hint = "keep one of from, layout and archive";
                self.fault(format!("images[{i}].name"), message, hint);
            }
        }
    }

    fn user(&mut self, i: usize, user: &UserEntry) {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        if !user.name.starts_with(first) || user.name.len() > 31 || !user.name.chars().all(known) {
            self.fault(
                format!("users[{i}].name"),
                format!("{:?} is no login name", user.name),
                "use up to 31 lower-case letters, digits, dashes and underscores, a letter first",
            );
        }
        if !UIDS.contains(&user.uid) {
            let (least, most) = (UIDS.start(), UIDS.end());
            self.fault(
                format!("users[{i}].uid"),
                format!("user {} cannot have number {}", user.name, user.uid),
                &format!("choose one from {least} to {most}"),
            );
        }
        if !user.shell.starts_with('/') || user.shell.contains([':', '\n']) {
            self.fault(
                format!("users[{i}].shell"),
                format!("{:?} is not the path of a shell", user.shell),
                "name it by its absolute path",
            );
        }
        for (j, key) in user.authorized_keys.iter().enumerate() {
            // The fault points at the name: should it be a private key, nobody else is to see it.
            if key.contains('\n') || key.contains("PRIVATE KEY") || !key.contains(' ') {
                self.fault(
                    format!("users[{i}].name"),
                    format!(
                        "authorizedKeys[{j}] of user {} is no public key of one line",
                        user.name
                    ),
                    "copy the line of the file that ends in .pub",
                );
            }
        }
    }

    /// Every source that is named is declared, here or in another document.
    fn declared(&mut self, sources: &[Source]) {
        let declared = sources
            .iter()
            .flat_map(|source| source.document.value.sources.keys());
        let known: BTreeSet<&str> = declared.map(String::as_str).collect();
        let file = &self.source.document.value;
        let files = file.files.iter().enumerate();
        let files = files.map(|(i, entry)| (format!("files[{i}].from"), &entry.from));
        let images = file.images.iter().enumerate().flat_map(|(i, image)| {
            let files = image.from.iter().flat_map(|from| &from.files);
            files.map(move |(to, entry)| (format!("images[{i}].from.files.{to}.from"), &entry.from))
        });
        let unknown: Vec<_> = files
            .chain(images)
            .filter(|(_, from)| !known.contains(from.as_str()))
            .collect();
        let list: Vec<&str> = known.into_iter().collect();
        let hint = format!("declare it below sources:; there are: {}", list.join(", "));
        for (path, from) in unknown {
            let message = format!("source {from:?} is not declared");
            self.fault(path, message, &hint);
        }
    }
}

fn is_label(text: &str) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 63 && text.chars().all(known) && !text.starts_with('-')
}
