//! What a schema cannot say of packages, pins, and the archives that packages come from.

use super::Checks;
use crate::debian::archive::is_flat;
use crate::profile::compose::Source;
use crate::profile::file::{DebianFile, PinEntry, SourceFile};
use crate::profile::package::{self, PackageEntry};
use std::collections::BTreeSet;
use std::error::Error;

impl Checks<'_> {
    /// Each value for itself.
    pub(super) fn all_packages(&mut self) {
        let file = &self.source.document.value;
        self.packages("packages", &file.packages);
        for (i, image) in file.images.iter().enumerate() {
            if let Some(from) = &image.from {
                self.packages(&format!("images[{i}].from.packages"), &from.packages);
            }
        }
        for (i, pin) in file.pins.iter().enumerate() {
            self.pin(i, pin);
        }
        for (name, source) in &file.sources {
            self.source(name, source);
        }
    }

    /// What a pin is about is declared, here or in another document.
    pub(super) fn pins_name_sources(&mut self, sources: &[Source]) {
        let declared = sources.iter().flat_map(|s| &s.document.value.sources);
        let mut known = BTreeSet::from([package::OWN]);
        for (name, source) in declared {
            known.insert(name);
            known.extend(source.debian.iter().flat_map(DebianFile::suites));
        }
        let pins = self.source.document.value.pins.iter().enumerate();
        for (i, pin) in pins {
            if let Some(from) = pin.from.as_deref()
                && !known.contains(from)
            {
                let list: Vec<&str> = known.iter().copied().collect();
                self.fault(
                    format!("pins[{i}].from"),
                    format!("{from:?} is no source and no suite of one"),
                    &format!("there are: {}", list.join(", ")),
                );
            }
        }
    }

    fn packages(&mut self, key: &str, packages: &[String]) {
        for (i, text) in packages.iter().enumerate() {
            if let Err(error) = text.parse::<PackageEntry>() {
                let source = error.source().map(|source| format!(": {source}"));
                let message = format!("{error}{}", source.unwrap_or_default());
                self.fault(
                    format!("{key}[{i}]"),
                    message,
                    "write NAME, NAME=VERSION, NAME/SOURCE or ./FILE.deb, then [ARCH] if need be",
                );
            }
        }
    }

    fn pin(&mut self, i: usize, pin: &PinEntry) {
        if pin.packages.is_empty() {
            let message = "the pin is about no package".to_owned();
            self.fault(
                format!("pins[{i}].packages"),
                message,
                "write \"*\" for all",
            );
        }
        self.priority(format!("pins[{i}].priority"), Some(pin.priority));
    }

    fn priority(&mut self, key: String, priority: Option<i32>) {
        if priority == Some(0) {
            let message = "priority 0 says nothing".to_owned();
            self.fault(key, message, "write -1 for never, or a number from 1 on");
        }
    }

    fn source(&mut self, name: &str, source: &SourceFile) {
        let key = format!("sources.{name}");
        if name == package::OWN {
            let message = format!("no source can be called {name}");
            let hint = "the profile's own .deb files go by this name; choose another";
            self.fault(key.clone(), message, hint);
        }
        let Some(debian) = &source.debian else {
            return;
        };
        let key = format!("{key}.debian");
        if debian.suite.is_some() != debian.suites.is_empty() {
            let message = format!("source {name} needs either suite or suites");
            self.fault(key.clone(), message, "write suite: trixie");
        }
        if debian.keyring.is_some() && debian.key.is_some() {
            let message = format!("source {name} has both keyring and key");
            self.fault(format!("{key}.key"), message, "take one of them away");
        }
        for suite in debian.suites() {
            if is_flat(suite) != debian.components.is_empty() {
                let message =
                    format!("suite {suite:?} of source {name} does not go with components");
                let hint = "a suite has components; a folder, which ends with a slash, has none";
                self.fault(format!("{key}.components"), message, hint);
            }
        }
        if debian.arch.as_ref().is_some_and(Vec::is_empty) {
            let message = "no architecture is named".to_owned();
            self.fault(format!("{key}.arch"), message, "write arch: [amd64]");
        }
        self.priority(format!("{key}.priority"), debian.priority);
    }
}
