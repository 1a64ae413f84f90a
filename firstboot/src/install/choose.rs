//! Which of a machine's disks is installed to. Nothing is looked at here.

use contract::guid::Guid;
use contract::seed::install::{Disk, Install, gigabytes};

/// A disk of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The kernel's name, such as `sda`.
    pub name: String,
    /// What the seed may ask of it.
    pub disk: Disk,
    /// Whether the machine was started from it.
    pub booted: bool,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// What is on it.
    pub holds: Holds,
}

/// What is on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Zeros, as far as can be told.
    Nothing,
    /// An installed Seedbed, by its disk's GUID.
    Seedbed(Guid),
    /// Something else.
    Other(String),
}

/// The one disk that the seed means and that has room for `needed` bytes, or why there is none.
pub fn choose<'a>(
    install: &Install,
    disks: &'a [Candidate],
    needed: u64,
) -> Result<&'a Candidate, String> {
    let refusals: Vec<Option<String>> = disks
        .iter()
        .map(|candidate| refusal(install, candidate, needed))
        .collect();
    let mut fit = disks
        .iter()
        .zip(&refusals)
        .filter(|(_, refusal)| refusal.is_none());
    match (fit.next(), fit.next()) {
        (Some((disk, _)), None) => erasable(install, disk).map(|()| disk),
        (None, _) => Err(format!(
            "no disk fits install.disk of the seed{}",
            table(disks, &refusals)
        )),
        (Some(_), Some(_)) => Err(format!(
            "several disks fit install.disk of the seed, and exactly one must: add a serial or a path{}",
            table(disks, &refusals)
        )),
    }
}

fn refusal(install: &Install, candidate: &Candidate, needed: u64) -> Option<String> {
    if candidate.booted {
        return Some("the machine was started from it".to_owned());
    }
    if candidate.read_only {
        return Some("it cannot be written".to_owned());
    }
    let unlike = install.disk.refusal(&candidate.disk);
    unlike.or_else(|| {
        let (has, needs) = (gigabytes(candidate.disk.size), gigabytes(needed));
        (candidate.disk.size < needed).then(|| format!("it has {has}, and {needs} are needed"))
    })
}

fn erasable(install: &Install, candidate: &Candidate) -> Result<(), String> {
    let name = &candidate.name;
    match &candidate.holds {
        Holds::Nothing => Ok(()),
        Holds::Seedbed(guid) if install.again == Some(*guid) => Ok(()),
        Holds::Seedbed(guid) => Err(format!(
            "{name} has Seedbed installed: take out what the machine was started from, and restart it; \
             to install {name} once more, add `again: {guid}` to install in the seed"
        )),
        Holds::Other(_) if install.wipe || install.disk.names_one() => Ok(()),
        Holds::Other(what) => Err(format!(
            "{name} holds {what}: to erase it, say `wipe: true` in install of the seed, or give the disk's \
             whole serial number or WWN"
        )),
    }
}

/// Every disk with why it was refused, a line each.
fn table(disks: &[Candidate], refusals: &[Option<String>]) -> String {
    if disks.is_empty() {
        return "; the machine has no disk".to_owned();
    }
    let line = |(candidate, refusal): (&Candidate, &Option<String>)| {
        let disk = &candidate.disk;
        let text = |value: &Option<String>| value.as_deref().map_or("?", str::trim).to_owned();
        format!(
            "\n  {:<8} {:>9}  model {}, serial {}: {}",
            candidate.name,
            gigabytes(disk.size),
            text(&disk.model),
            text(&disk.serial),
            refusal.as_deref().unwrap_or("fits")
        )
    };
    disks.iter().zip(refusals).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

    fn install(text: &str) -> Install {
        let seed = format!(
            "version: 1\ncluster: {{name: a, secret: abcdefghijklmnopqrstuvwxyz234567}}\ninstall: {text}\n"
        );
        contract::seed::parse("seed.yaml", &seed)
            .unwrap()
            .install
            .unwrap()
    }

    fn candidate(name: &str, holds: Holds) -> Candidate {
        Candidate {
            name: name.to_owned(),
            disk: Disk {
                serial: Some(format!("S-{name}")),
                size: 64_000_000_000,
                ..Disk::default()
            },
            booted: false,
            read_only: false,
            holds,
        }
    }

    fn choice(text: &str, disks: &[Candidate]) -> Result<String, String> {
        choose(&install(text), disks, 10_000_000_000).map(|disk| disk.name.clone())
    }

    #[test]
    fn exactly_one_disk_must_fit() {
        let mut medium = candidate("sda", Holds::Nothing);
        medium.booted = true;
        let mut disks = vec![medium, candidate("vda", Holds::Nothing)];
        assert_eq!(choice("{}", &disks), Ok("vda".into()));
        disks.push(candidate("vdb", Holds::Nothing));
        let error = choice("{}", &disks).unwrap_err();
        assert!(error.starts_with("several disks fit"), "{error}");
        assert!(error.contains("sda") && error.contains("the machine was started from it"));
        assert_eq!(choice("{disk: {serial: S-vdb}}", &disks), Ok("vdb".into()));
        let error = choice("{disk: {serial: S-sda}}", &disks).unwrap_err();
        assert!(error.starts_with("no disk fits"), "{error}");
        assert!(error.contains("its serial is S-vda, not S-sda"), "{error}");
        assert!(choice("{}", &[]).unwrap_err().contains("has no disk"));
        let error = choice("{disk: {minSize: 1 TB}}", &disks).unwrap_err();
        assert!(error.contains("it has 64 GB, less than 1000 GB"), "{error}");
        disks.truncate(2);
        disks[1].disk.size = 4_000_000_000;
        let error = choice("{}", &disks).unwrap_err();
        assert!(
            error.contains("it has 4 GB, and 10 GB are needed"),
            "{error}"
        );
    }

    #[test]
    fn nobody_elses_data_is_erased_unless_the_seed_says_so() {
        let other = [candidate("vda", Holds::Other("an ext4 file system".into()))];
        let error = choice("{}", &other).unwrap_err();
        assert!(error.contains("holds an ext4 file system"), "{error}");
        assert!(choice("{disk: {serial: S-*}}", &other).is_err());
        assert!(choice("{disk: {serial: s-VDA}}", &other).is_ok());
        assert!(choice("{wipe: true}", &other).is_ok());
    }

    #[test]
    fn an_installed_disk_is_installed_again_only_if_it_is_meant() {
        let installed = [candidate("vda", Holds::Seedbed(GUID.parse().unwrap()))];
        let error = choice("{wipe: true, disk: {serial: S-vda}}", &installed).unwrap_err();
        assert!(error.contains(&format!("again: {GUID}")), "{error}");
        let again = |guid: &str| choice(&format!("{{again: {guid}}}"), &installed);
        assert!(again(GUID).is_ok());
        assert!(again("00000000-f81f-11d2-ba4b-00a0c93ec93b").is_err());
    }
}
