//! The command line of keys, and of what they sign.

use super::ArchArg;
use crate::secure_boot::Enroll;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Who signs for Secure Boot.
#[derive(Clone, Debug, ClapArgs)]
pub struct SignerArgs {
    /// Sign what firmware starts with db.key of this folder, which `seedbed keys new --secure-boot` made. The updates
    /// in it (.auth) go onto the ESP, from where machines enrol them.
    #[arg(long, value_name = "DIR")]
    pub secure_boot: Option<PathBuf>,
    /// For --secure-boot: let this program sign, so that the folder needs no private key. Its argument is the key's
    /// name; it reads from standard input what to sign, and writes the signature (RSA, PKCS#1 v1.5, SHA-256) to
    /// standard output.
    #[arg(long, value_name = "PROGRAM", requires = "secure_boot")]
    pub signer: Option<PathBuf>,
}

/// When keys are enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EnrollArg {
    /// Never.
    Off,
    /// When somebody chooses so in systemd-boot's menu, which opens if a key is held down.
    Manual,
    /// By itself in virtual machines, from the menu elsewhere.
    IfSafe,
    /// By itself everywhere, also where cards of the machine have programs that these keys forbid.
    Force,
}

impl From<EnrollArg> for Enroll {
    fn from(arg: EnrollArg) -> Self {
        match arg {
            EnrollArg::Off => Enroll::Off,
            EnrollArg::Manual => Enroll::Manual,
            EnrollArg::IfSafe => Enroll::IfSafe,
            EnrollArg::Force => Enroll::Force,
        }
    }
}

/// `seedbed keys …`.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// Draw a key pair in minisign's form, NAME.key and NAME.pub. With a password in SEEDBED_KEY_PASSWORD the
    /// secret key is encrypted.
    New {
        /// The files' name without ending.
        #[arg(default_value = "seedbed")]
        name: PathBuf,
        /// Draw the keys of Secure Boot into this folder instead: PK, KEK and db, each as a private key (.key, not
        /// encrypted), a certificate (.crt), and a signed update of the firmware's variable (.auth).
        #[arg(long, value_name = "DIR", conflicts_with = "name")]
        secure_boot: Option<PathBuf>,
    },
    /// Make the updates of the firmware's variables (PK.auth, KEK.auth, db.auth) anew, from the certificates in a
    /// folder (PK.crt, KEK.crt, db.crt; RSA, in PEM): for keys that another program drew or holds.
    Enroll {
        /// The folder; it needs PK.key and KEK.key, too, unless a program signs.
        folder: PathBuf,
        /// Let this program sign: see `seedbed build`. It is asked with PK and with KEK.
        #[arg(long, value_name = "PROGRAM")]
        signer: Option<PathBuf>,
    },
}

/// `seedbed addon`.
#[derive(Clone, Debug, ClapArgs)]
pub struct AddonArgs {
    /// The kernel arguments, in one text.
    #[arg(long, value_name = "ARGUMENTS")]
    pub cmdline: String,
    /// The folder with db.crt and db.key.
    #[arg(long, value_name = "DIR")]
    pub secure_boot: PathBuf,
    /// Let this program sign instead of db.key: see `seedbed build`.
    #[arg(long, value_name = "PROGRAM")]
    pub signer: Option<PathBuf>,
    /// The machines' architecture.
    #[arg(long, default_value = "amd64")]
    pub arch: ArchArg,
    /// The file to write, whose name must end with .addon.efi: it goes into loader/addons of the ESP.
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
}
