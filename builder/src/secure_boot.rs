//! Secure Boot: the keys as files, who signs with them, and what a build puts on the ESP.
//!
//! ```text
//! PK.key  KEK.key  db.key     private keys, PKCS#8 in PEM, which only their owner reads
//! PK.crt  KEK.crt  db.crt     their certificates in PEM, each signed by its own key
//! PK.auth KEK.auth db.auth    signed updates of the firmware's variables
//! ```
//!
//! Only `db.key` signs boot programs. The other two keys change what a machine trusts, and belong in a safe once
//! the updates are made. Keys that never leave a module or a service are not in the folder: a program signs.

pub mod addon;
mod folder;
pub(crate) mod key;
mod program;

pub use folder::{new_keys, write_updates};
pub use key::Key;

use crate::digest;
use anyhow::{Context, bail};
use formats::efi_variables::Variable;
use formats::signer::Signer;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// The folder of the ESP from which systemd-boot enrols.
pub const ENROLMENT: &str = "loader/keys/auto";
const VARIABLES: [Variable; 3] = [
    Variable::PlatformKey,
    Variable::KeyExchangeKey,
    Variable::Database,
];
/// The update of what is forbidden, which no key of ours makes; somebody else's is taken along.
const FORBIDDEN: &str = "dbx.auth";

/// When systemd-boot enrols the keys on a machine in Setup Mode: `secure-boot-enroll` of loader.conf(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enroll {
    /// Never.
    Off,
    /// When somebody chooses so in its menu.
    Manual,
    /// By itself in virtual machines, from the menu elsewhere.
    IfSafe,
    /// By itself everywhere.
    Force,
}

impl Enroll {
    const ALL: [Enroll; 4] = [Enroll::Off, Enroll::Manual, Enroll::IfSafe, Enroll::Force];

    fn name(self) -> &'static str {
        match self {
            Enroll::Off => "off",
            Enroll::Manual => "manual",
            Enroll::IfSafe => "if-safe",
            Enroll::Force => "force",
        }
    }

    /// What a loader.conf says.
    fn parse(loader_conf: &str) -> Option<Self> {
        let mut lines = loader_conf.lines();
        let name = lines.find_map(|line| line.strip_prefix("secure-boot-enroll "))?;
        Enroll::ALL.into_iter().find(|enroll| enroll.name() == name)
    }
}

impl fmt::Display for Enroll {
    /// As the line of loader.conf.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secure-boot-enroll {}", self.name())
    }
}

/// Who signs a build's boot programs, and what makes machines trust that.
pub struct SecureBoot {
    signer: Box<dyn Signer + Send + Sync>,
    /// Updates of variables, by the name of their file; none, or all that a machine needs.
    updates: BTreeMap<String, Vec<u8>>,
    enroll: Enroll,
}

impl fmt::Debug for SecureBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SecureBoot");
        shown.field("certificate", &self.certificate_sha256());
        shown.field("enroll", &self.enroll);
        shown.finish_non_exhaustive()
    }
}

impl SecureBoot {
    /// Reads a folder: `db.crt`, the updates, and `db.key` unless `program` signs.
    ///
    /// # Errors
    /// A file cannot be read, key and certificate do not belong together, only some of the updates are there, or
    /// a machine that takes them would not start what is signed.
    pub fn read(folder: &Path, program: Option<&Path>, enroll: Enroll) -> anyhow::Result<Self> {
        let database = Variable::Database.name();
        let key = Key::read(folder, database, program)?;
        let mut updates = BTreeMap::new();
        let mut missing = Vec::new();
        for variable in VARIABLES {
            let name = format!("{}.auth", variable.name());
            match read_if_there(&folder.join(&name))? {
                Some(bytes) => drop(updates.insert(name, bytes)),
                None => missing.push(name),
            }
        }
        if !updates.is_empty() && !missing.is_empty() {
            bail!(
                "{} lacks {}: a machine needs all three updates; `seedbed keys enroll` makes them",
                folder.display(),
                missing.join(" and ")
            );
        }
        if let Some(update) = updates.get(&format!("{database}.auth")) {
            let der = key.certificate().der();
            if !update.windows(der.len()).any(|bytes| bytes == der) {
                bail!(
                    "{0}/{database}.auth does not hold the certificate {0}/{database}.crt: a machine that enrolled it would not start the image; `seedbed keys enroll` makes it anew",
                    folder.display()
                );
            }
            if let Some(bytes) = read_if_there(&folder.join(FORBIDDEN))? {
                updates.insert(FORBIDDEN.to_owned(), bytes);
            }
        }
        Ok(SecureBoot {
            signer: Box::new(key),
            updates,
            enroll,
        })
    }

    /// What made an image that is there already, to make the same again: its signatures, updates and loader.conf.
    pub(crate) fn recorded(
        signer: impl Signer + Send + Sync + 'static,
        updates: BTreeMap<String, Vec<u8>>,
        loader_conf: &str,
    ) -> Self {
        SecureBoot {
            signer: Box::new(signer),
            updates,
            enroll: Enroll::parse(loader_conf).unwrap_or(Enroll::Off),
        }
    }

    /// Who signs.
    pub(crate) fn signer(&self) -> &dyn Signer {
        self.signer.as_ref()
    }

    /// The files that enrol, by name.
    pub(crate) fn updates(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.updates
    }

    /// What loader.conf is to say; nothing where there is nothing to enrol.
    pub(crate) fn loader_conf(&self) -> Option<String> {
        (!self.updates.is_empty()).then(|| format!("{}\n", self.enroll))
    }

    /// Whatever of this reaches an image: everything but the key, whose signatures its certificate determines.
    pub(crate) fn inputs(&self) -> Vec<&[u8]> {
        let updates = self.updates.iter();
        let updates = updates.flat_map(|(name, bytes)| [name.as_bytes(), bytes.as_slice()]);
        let certificate = self.signer.certificate().der();
        [certificate, self.enroll.name().as_bytes()]
            .into_iter()
            .chain(updates)
            .collect()
    }

    fn certificate_sha256(&self) -> String {
        digest::sha256(self.signer.certificate().der())
    }
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::Enroll;

    #[test]
    fn what_loader_conf_says_is_read_back() {
        for enroll in Enroll::ALL {
            let text = format!("timeout 0\neditor no\n{enroll}\n");
            assert_eq!(Enroll::parse(&text), Some(enroll));
        }
        assert_eq!(Enroll::parse("timeout 0\nsecure-boot-enroll never\n"), None);
    }
}
