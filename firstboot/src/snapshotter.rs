//! The snapshotter: containers run on the store's layers in place, and nothing is unpacked.
//!
//! containerd asks a snapshotter, here over a socket, for the file systems of images and containers. When it is
//! about to unpack an image's layer it says which one, by chain ID. If the store holds that layer, this
//! snapshotter answers that it is there already; containerd then neither fetches nor unpacks it, and a
//! container's file system is an overlay of the store's folders, with only what the container writes on DATA.
//! Layers of other images are unpacked to DATA in the ordinary way, and both kinds lie on one another.
//!
//! A request is planned by [`model`] and [`mounts`], which have no effects, and carried out by [`service`] on
//! [`disk`]. The process may be killed at any moment, also by a power cut: what it has answered is on the disk,
//! and nothing else matters. While it is away, running containers do not notice, and containerd waits.
//!
//! Chain IDs are kept, never numbers of folders: another image of the machine numbers its layers anew. When it
//! does not hold a layer at all that containerd relies on, mounting says so with `NOT_FOUND`.

mod disk;
mod effects;
mod filter;
mod grpc;
mod messages;
mod model;
mod mounts;
mod service;
mod store;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use self::disk::Disk;
use self::effects::Real;
use self::model::Moment;
use self::mounts::Paths;
use self::service::Snapshotter;
use self::store::Store;

/// What containerd calls this snapshotter.
pub const NAME: &str = "seedbed";
/// Where snapshots are kept: the folder in which containerd's CRI plugin, from the snapshotter's name, believes
/// them, and whose file system it reports to kubelet as that of images.
pub const ROOT: &str = "/var/lib/containerd/io.containerd.snapshotter.v1.seedbed";
/// The folder of the socket and of the short links that mounts go by.
pub const RUN: &str = "/run/seedbed";
/// The socket in that folder.
pub const SOCKET: &str = "snapshotter.sock";

/// Threads that do what containerd asks; most of it goes one by one anyway.
const WORKERS: usize = 4;

/// Serves snapshots until the process ends: layers of `store`, everything else in `root`, the socket in `run`.
pub fn run(store: &Path, root: &Path, run: &Path) -> Result<()> {
    let store = Store::new(store);
    let disk = Disk::open(root, Real)?;
    fs::create_dir_all(run).with_context(|| format!("making {}", run.display()))?;
    link(&store.layers(), &run.join(mounts::LAYERS))?;
    link(disk.snapshots(), &run.join(mounts::SNAPSHOTS))?;
    let paths = Paths {
        run: run.to_owned(),
        snapshots: disk.snapshots().to_owned(),
        index: Path::new("/sys/module/overlay/parameters/index").exists(),
    };
    let snapshotter = Snapshotter::start(store, disk, paths, now)?;
    let listener = listen(&run.join(SOCKET))?;
    tracing::info!(
        root = %root.display(),
        snapshots = snapshotter.count(),
        "serving snapshots"
    );
    serve(snapshotter, listener)
}

fn serve(snapshotter: Snapshotter<Real>, listener: UnixListener) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(WORKERS)
        .build()
        .context("starting the snapshotter's runtime")?;
    runtime.block_on(async {
        listener
            .set_nonblocking(true)
            .context("preparing the snapshotter's socket")?;
        let listener = tokio::net::UnixListener::from_std(listener)
            .context("preparing the snapshotter's socket")?;
        let connections = tokio_stream::wrappers::UnixListenerStream::new(listener);
        tonic::transport::Server::builder()
            .serve_with_incoming(grpc::Server(Arc::new(snapshotter)), connections)
            .await
            .context("serving snapshots")
    })
}

/// Listens under another name first: at the socket's own, there is always someone who answers, or soon will.
fn listen(socket: &Path) -> Result<UnixListener> {
    let new = beside(socket);
    let run = || -> std::io::Result<UnixListener> {
        remove(&new)?;
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        fs::rename(&new, socket)?;
        Ok(listener)
    };
    run().with_context(|| format!("listening on {}", socket.display()))
}

/// Makes the symbolic link at once: mounts may go by it at any moment.
fn link(target: &Path, link: &Path) -> Result<()> {
    let new = beside(link);
    let run = || -> std::io::Result<()> {
        remove(&new)?;
        std::os::unix::fs::symlink(target, &new)?;
        fs::rename(&new, link)
    };
    run().with_context(|| format!("linking {} to {}", link.display(), target.display()))
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn now() -> Moment {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Moment {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
