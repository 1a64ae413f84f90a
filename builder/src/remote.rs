//! A team's store: one repository of any OCI registry, that many build hosts read and fill.
//!
//! ```text
//! blobs/sha256:HEX       a blob of a lock, as it is
//! lock-<16 hex>-ARCH     a manifest that names all blobs of a lock for one architecture, so that no registry that
//!                        clears up what nothing names takes them away
//! cache-<64 hex>         a manifest with the outputs of a build, by the digest of all that they were made of
//! ```
//!
//! Nothing depends on it: what cannot be read comes from elsewhere, what cannot be written is left, and both are said.
//! Blobs are held to the digests of the lock. Results are what their writer says: see [`results`].

mod blobs;
pub mod place;
pub mod results;

pub use blobs::{Kept, Taken};
pub use place::Place;
pub use results::Sharing;

use crate::profile::Profile;
use crate::progress::Mode;
use crate::registry::credentials::Credentials;
use crate::registry::upload::{Bytes, Upload, is_read_only};
use crate::registry::{Registry, is_refusal};
use crate::transport::access::Access;
use crate::transport::{Limits, Transport};
use anyhow::bail;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// How many blobs come or go at once.
const PARALLEL: usize = 6;
/// After so many failures, each tried a few times, a registry is not asked any more.
const FAILURES: usize = 3;

/// A repository as a store. Any number of threads may use it at once.
#[derive(Debug)]
pub struct RemoteStore {
    place: Place,
    registry: Registry,
    mode: Mode,
    sharing: Sharing,
    /// What went wrong while reading, and while writing.
    reads: Failures,
    writes: Failures,
    /// Digests that it turned out not to have.
    absent: Mutex<BTreeSet<String>>,
}

/// How often something went wrong in one direction.
#[derive(Debug, Default)]
struct Failures(AtomicUsize);

impl Failures {
    fn too_many(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= FAILURES
    }

    /// Counts a failure; a refusal would only be repeated. Says whether it was the last one.
    fn add(&self, refused: bool) -> bool {
        let weight = if refused { FAILURES } else { 1 };
        let before = self.0.fetch_add(weight, Ordering::Relaxed);
        before < FAILURES && before + weight >= FAILURES
    }
}

impl RemoteStore {
    /// The repository at `place`; nobody is asked yet. Authorities are those of the host and, if a source of `profile`
    /// is called as the registry is, that source's. `mode` is how progress is shown.
    ///
    /// # Errors
    /// An authority cannot be read.
    pub fn open(place: &Place, profile: &Profile, mode: Mode) -> anyhow::Result<Self> {
        let url = place.url();
        let access = Access::of_registry(profile, place.host(), &url)?;
        let transport = Transport::with(access, Limits::DEFAULT)?;
        Ok(RemoteStore {
            registry: Registry::open(&url, &transport, &Credentials::from_environment())?,
            place: place.clone(),
            mode,
            sharing: Sharing::Off,
            reads: Failures::default(),
            writes: Failures::default(),
            absent: Mutex::default(),
        })
    }

    /// The same, for results of builds, too.
    ///
    /// # Errors
    /// Results would be taken from a registry without TLS: anybody on the way could send others.
    pub fn sharing(self, sharing: Sharing) -> anyhow::Result<Self> {
        if sharing != Sharing::Off && !self.place.is_private() {
            bail!(
                "remote store {} has no TLS, and nothing but the registry's word vouches for results of builds: \
                 leave out --remote-store-results, or give the registry a certificate",
                self.place
            );
        }
        Ok(RemoteStore { sharing, ..self })
    }

    /// Whose results count.
    pub fn results(&self) -> Sharing {
        self.sharing
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn repository(&self) -> &str {
        self.place.repository()
    }

    /// Says what could not be read, and what happens instead.
    fn unread(&self, what: &str, error: &anyhow::Error, instead: &str) {
        let last = self.reads.add(is_refusal(error));
        tracing::warn!("remote store {}: {what}: {error:#}; {instead}", self.place);
        if last {
            tracing::warn!(
                "remote store {} is not asked any more: see that it can be reached and that the login may read it",
                self.place
            );
        }
    }

    /// Says what could not be written, and what to do.
    fn unwritten(&self, what: &str, error: &anyhow::Error) {
        let last = self.writes.add(is_refusal(error) || is_read_only(error));
        tracing::warn!("remote store {}: {what}: {error:#}", self.place);
        if last {
            tracing::warn!(
                "nothing more is sent to remote store {}: see that the login may write to it, and run the command again",
                self.place
            );
        }
    }

    /// Sends a blob that is not there yet; says whether it had to be sent.
    fn send(&self, blob: &Upload<'_>) -> anyhow::Result<bool> {
        let repository = self.repository();
        if self.registry.has_blob(repository, blob.sha256)? {
            return Ok(false);
        }
        match self.registry.put_blob(repository, blob) {
            Ok(()) => Ok(true),
            // Another host may have sent the same blob at the same time, and the registry want it once only.
            Err(error) => match self.registry.has_blob(repository, blob.sha256) {
                Ok(true) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Sends the empty config that every manifest of ours has.
    fn send_config(&self) -> anyhow::Result<bool> {
        let (_, empty) = crate::artifact::EMPTY;
        self.send(&Upload {
            sha256: &crate::digest::sha256(empty),
            bytes: Bytes::Here(empty),
        })
    }
}

/// Does `work` with every item, several at a time, in no particular order.
fn each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

/// What a thread that panicked left is as good as before: a set has what was put into it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
