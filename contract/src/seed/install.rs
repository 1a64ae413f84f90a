//! Installation: which of a machine's disks is taken, and what may be on it before.

use crate::guid::Guid;
use std::fmt;
use std::ops::RangeInclusive;
use wildmatch::WildMatch;

/// That the machine is to be installed to one of its disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// Which disk.
    pub disk: Selector,
    /// Whether what is on it may be erased, if it is not Seedbed.
    pub wipe: bool,
    /// The GUID of an installed disk that is to be installed once more.
    pub again: Option<Guid>,
}

/// What a disk must be like: everything that is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The serial number.
    pub serial: Option<Pattern>,
    /// The World Wide Name.
    pub wwn: Option<Pattern>,
    /// The model.
    pub model: Option<Pattern>,
    /// A name of it below `/dev/disk/by-path`, which says where it is plugged in.
    pub path: Option<Pattern>,
    /// What it is attached by.
    pub bus: Option<Bus>,
    /// Bytes.
    pub size: RangeInclusive<u64>,
    /// Whether it has moving parts.
    pub rotational: Option<bool>,
}

/// A text in which `*` and `?` stand for others. Case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// What a disk is attached by.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// NVM Express.
    Nvme,
    /// SATA, and IDE before it.
    Ata,
    /// SAS, iSCSI, Fibre Channel, and disks of RAID controllers.
    Scsi,
    /// A USB disk or stick.
    Usb,
    /// A virtual machine's, virtio-blk.
    Virtio,
    /// A card: SD or eMMC.
    Mmc,
}

/// What is known of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// The serial number.
    pub serial: Option<String>,
    /// The World Wide Name.
    pub wwn: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Its names below `/dev/disk/by-path`.
    pub paths: Vec<String>,
    /// What it is attached by.
    pub bus: Option<Bus>,
    /// Bytes.
    pub size: u64,
    /// Whether it has moving parts.
    pub rotational: bool,
}

impl Install {
    /// Gives `line` each setting.
    pub(super) fn explain(&self, line: &mut dyn FnMut(&str, &dyn fmt::Display)) {
        let Selector {
            serial,
            wwn,
            model,
            path,
            bus,
            size,
            rotational,
        } = &self.disk;
        let texts = [
            ("install.disk.serial", serial),
            ("install.disk.wwn", wwn),
            ("install.disk.model", model),
            ("install.disk.path", path),
        ];
        for (key, pattern) in texts {
            pattern.iter().for_each(|pattern| line(key, pattern));
        }
        bus.iter().for_each(|bus| line("install.disk.bus", bus));
        line("install.disk.minSize", &gigabytes(*size.start()));
        if *size.end() < u64::MAX {
            line("install.disk.maxSize", &gigabytes(*size.end()));
        }
        let rotational = rotational.iter();
        rotational.for_each(|rotational| line("install.disk.rotational", rotational));
        line("install.wipe", &self.wipe);
        self.again
            .iter()
            .for_each(|guid| line("install.again", guid));
    }
}

impl Pattern {
    /// A pattern for `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Pattern(text.into())
    }

    /// Whether `text` is one of those that it stands for.
    pub fn matches(&self, text: &str) -> bool {
        WildMatch::new_case_insensitive(&self.0).matches(text.trim())
    }

    /// Whether it stands for itself alone.
    fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }
}

impl Selector {
    /// Whether it names one disk of the world.
    pub fn names_one(&self) -> bool {
        let literal = |pattern: &Option<Pattern>| pattern.as_ref().is_some_and(Pattern::is_literal);
        literal(&self.serial) || literal(&self.wwn)
    }

    /// Why this disk is not meant, if it is not.
    pub fn refusal(&self, disk: &Disk) -> Option<String> {
        let texts = [
            ("serial", &self.serial, &disk.serial),
            ("wwn", &self.wwn, &disk.wwn),
            ("model", &self.model, &disk.model),
        ];
        for (name, pattern, has) in texts {
            let Some(pattern) = pattern else { continue };
            match has {
                None => return Some(format!("it tells no {name}, and {pattern} is wanted")),
                Some(has) if !pattern.matches(has) => {
                    return Some(format!("its {name} is {}, not {pattern}", has.trim()));
                }
                Some(_) => {}
            }
        }
        if let Some(pattern) = &self.path
            && !disk.paths.iter().any(|path| pattern.matches(path))
        {
            let has = disk.paths.join(", ");
            return Some(format!("its path is {has:?}, not {pattern}"));
        }
        match (self.bus, disk.bus) {
            (Some(wanted), Some(has)) if wanted != has => {
                return Some(format!("it is attached by {has}, not {wanted}"));
            }
            (Some(wanted), None) => {
                return Some(format!("its bus is not known, and {wanted} is wanted"));
            }
            _ => {}
        }
        if disk.size < *self.size.start() {
            let (has, least) = (gigabytes(disk.size), gigabytes(*self.size.start()));
            return Some(format!("it has {has}, less than {least}"));
        }
        if disk.size > *self.size.end() {
            let (has, most) = (gigabytes(disk.size), gigabytes(*self.size.end()));
            return Some(format!("it has {has}, more than {most}"));
        }
        match self.rotational {
            Some(true) if !disk.rotational => Some("it has no moving parts".to_owned()),
            Some(false) if disk.rotational => Some("it has moving parts".to_owned()),
            _ => None,
        }
    }
}

/// A disk's size as its label has it.
pub fn gigabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000_000) / 100_000_000;
    match tenths % 10 {
        0 => format!("{} GB", tenths / 10),
        tenth => format!("{}.{tenth} GB", tenths / 10),
    }
}

impl Bus {
    const fn as_str(self) -> &'static str {
        match self {
            Bus::Nvme => "nvme",
            Bus::Ata => "ata",
            Bus::Scsi => "scsi",
            Bus::Usb => "usb",
            Bus::Virtio => "virtio",
            Bus::Mmc => "mmc",
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Selector = Selector {
        serial: None,
        wwn: None,
        model: None,
        path: None,
        bus: None,
        size: 0..=u64::MAX,
        rotational: None,
    };

    fn disk() -> Disk {
        Disk {
            serial: Some("S4EVNX0N123".into()),
            wwn: None,
            model: Some("Samsung SSD 860 ".into()),
            paths: vec!["pci-0000:00:17.0-ata-1".into()],
            bus: Some(Bus::Ata),
            size: 500_107_862_016,
            rotational: false,
        }
    }

    #[track_caller]
    fn check(selector: Selector, refusal: Option<&str>) {
        assert_eq!(selector.refusal(&disk()).as_deref(), refusal);
    }

    #[test]
    fn everything_that_is_given_must_fit() {
        let pattern = |text: &str| Some(Pattern::new(text));
        check(ANY, None);
        check(
            Selector {
                serial: pattern("s4ev*"),
                model: pattern("Samsung SSD 8?0"),
                path: pattern("*-ata-1"),
                bus: Some(Bus::Ata),
                size: 400_000_000_000..=600_000_000_000,
                rotational: Some(false),
                wwn: None,
            },
            None,
        );
        let serial = pattern("S4EVNX0N124");
        check(
            Selector { serial, ..ANY },
            Some("its serial is S4EVNX0N123, not S4EVNX0N124"),
        );
        let wwn = pattern("0x5*");
        check(
            Selector { wwn, ..ANY },
            Some("it tells no wwn, and 0x5* is wanted"),
        );
        let path = pattern("*-nvme-1");
        check(
            Selector { path, ..ANY },
            Some("its path is \"pci-0000:00:17.0-ata-1\", not *-nvme-1"),
        );
        let bus = Some(Bus::Nvme);
        check(
            Selector { bus, ..ANY },
            Some("it is attached by ata, not nvme"),
        );
        let size = 600_000_000_000..=u64::MAX;
        check(
            Selector { size, ..ANY },
            Some("it has 500.1 GB, less than 600 GB"),
        );
        let size = 0..=32_000_000_000;
        check(
            Selector { size, ..ANY },
            Some("it has 500.1 GB, more than 32 GB"),
        );
        let rotational = Some(true);
        check(
            Selector { rotational, ..ANY },
            Some("it has no moving parts"),
        );
    }

    #[test]
    fn a_whole_serial_names_one_disk() {
        let with = |serial: &str| Selector {
            serial: Some(Pattern::new(serial)),
            ..ANY
        };
        assert!(with("S4EVNX0N123").names_one());
        assert!(!with("S4*").names_one() && !ANY.names_one());
    }
}
