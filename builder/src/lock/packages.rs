//! From a profile's lists of packages to locked ones: archives, own files and pins put together.

use crate::debian::archive::{Order, Records};
use crate::debian::solve::{Base, LockedPackage, Pin};
use crate::lock::own::OwnPackages;
use crate::profile::file::PinEntry;
use crate::profile::package::{OWN, PackageEntry, Wanted};
use crate::profile::{Parts, Profile};
use contract::partition::Arch;

/// The `.deb` files that any list of packages names.
pub(super) fn own(profile: &Profile, parts: &Parts, arch: Arch) -> anyhow::Result<OwnPackages> {
    let images = parts.images.iter().flat_map(|image| &image.from);
    let lists = images.map(|from| &from.packages);
    let mut own = OwnPackages::default();
    for wanted in std::iter::once(&parts.packages)
        .chain(lists)
        .flat_map(|list| wanted(list, arch))
    {
        if let Wanted::File(path) = wanted? {
            own.add(&profile.dir, &path, arch)?;
        }
    }
    Ok(own)
}

/// What a list of packages asks for on an architecture.
fn wanted(list: &[String], arch: Arch) -> impl Iterator<Item = anyhow::Result<Wanted>> + '_ {
    list.iter().filter_map(move |text| {
        let entry: Result<PackageEntry, _> = text.parse();
        match entry {
            Ok(entry) => entry.applies_to(arch.as_str()).then(|| Ok(entry.wanted)),
            Err(error) => Some(Err(anyhow::Error::from(error))),
        }
    })
}

/// All packages that there are for one architecture.
pub(super) struct AllPackages<'a> {
    records: Records<'a>,
    own: &'a OwnPackages,
    pins: Vec<Pin>,
    arch: Arch,
}

impl<'a> AllPackages<'a> {
    /// The packages of archives, and before them the profile's own.
    pub(super) fn new(
        mut records: Records<'a>,
        own: &'a OwnPackages,
        pins: &[PinEntry],
        arch: Arch,
    ) -> anyhow::Result<Self> {
        records.put_first(OWN, own.records()?);
        let pin = |pin: &PinEntry| Pin {
            packages: pin.packages.clone(),
            version: pin.version.clone(),
            archive: pin.from.clone(),
            priority: pin.priority,
        };
        Ok(AllPackages {
            records,
            own,
            pins: pins.iter().map(pin).collect(),
            arch,
        })
    }

    /// The records, the profile's own among them.
    pub(super) fn records(&self) -> &Records<'a> {
        &self.records
    }

    /// The same rules over other records.
    pub(super) fn over<'b>(&'b self, records: Records<'b>) -> AllPackages<'b> {
        AllPackages {
            records,
            own: self.own,
            pins: self.pins.clone(),
            arch: self.arch,
        }
    }

    /// The packages asked for and all that they need.
    pub(super) fn solve(&self, list: &[String], base: Base) -> anyhow::Result<Vec<LockedPackage>> {
        let mut requests = Vec::new();
        for wanted in wanted(list, self.arch) {
            requests.push(match wanted? {
                Wanted::Named(request) => request,
                Wanted::File(path) => self.own.request(&path)?,
            });
        }
        let order = Order {
            architecture: self.arch.as_str(),
            requests: &requests,
            pins: &self.pins,
            base,
            exclude: &[],
        };
        Ok(self.records.solve(&order)?.packages)
    }
}
