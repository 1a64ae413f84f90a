//! Options of those commands that share a store.

use crate::remote::{Place, Sharing};
use clap::{Args, ValueEnum};

/// A team's store.
#[derive(Clone, Debug, Args)]
pub struct RemoteArgs {
    /// A repository of a registry that build hosts share: REGISTRY/REPOSITORY. It is asked for missing blobs before
    /// anybody else, and each is verified by the lock. TLS is a must, except on loopback addresses and where http://
    /// stands before it. With --offline it is not asked.
    #[arg(long, value_name = "REGISTRY/REPOSITORY", env = "SEEDBED_REMOTE_STORE")]
    pub remote_store: Option<Place>,
}

/// Results in a team's store.
#[derive(Clone, Debug, Args)]
pub struct ResultsArgs {
    /// Whether outputs of whole builds are taken from the remote store, too, and sent there. Nothing but the registry's
    /// word vouches for them: take them only where everybody who may write to it is trusted with what machines start.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "off",
        requires = "remote_store"
    )]
    pub remote_store_results: SharingArg,
}

/// Whose results count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SharingArg {
    /// Nobody's: blobs alone are shared.
    Off,
    /// Those that others sent are taken, and none is sent.
    Read,
    /// Those that others sent are taken, and others are given what was built here.
    ReadWrite,
}

impl From<SharingArg> for Sharing {
    fn from(arg: SharingArg) -> Self {
        match arg {
            SharingArg::Off => Sharing::Off,
            SharingArg::Read => Sharing::Read,
            SharingArg::ReadWrite => Sharing::ReadWrite,
        }
    }
}
