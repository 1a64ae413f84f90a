//! Paths that the builder puts into an image and `firstboot` relies on.

/// The image's [`crate::manifest::Manifest`], as JSON.
pub const MANIFEST: &str = "/usr/lib/seedbed/manifest.json";
/// systemd-repart's definitions of every partition, in order.
pub const REPART: &str = "/usr/lib/seedbed/repart.d";
/// Where the store's erofs is mounted: an OCI image layout (`oci-layout`, `index.json`, `blobs/`).
pub const STORE: &str = "/usr/lib/seedbed/store";
/// In the store: one folder a layer, by number, unpacked as overlayfs wants it (whiteouts are character devices
/// 0/0, opaque directories have the attribute `trusted.overlay.opaque`).
pub const STORE_LAYERS: &str = "layers";
/// In the store: for each layer a link by the 64 digits of its chain ID, to `../layers/NUMBER`.
pub const STORE_CHAINS: &str = "chains";
/// The `firstboot` program.
pub const FIRSTBOOT: &str = "/usr/bin/firstboot";
/// A seed baked into the image, if any.
pub const EMBEDDED_SEED: &str = "/usr/lib/seedbed/seed.yaml";
/// The CNI plugins of the image; copied to `/opt/cni/bin` at each boot.
pub const CNI_PLUGINS: &str = "/usr/lib/cni";
/// The name of the seed at the root of a stick or of the SEED partition.
pub const SEED_FILE: &str = "seed.yaml";

/// Where the STATE partition is mounted.
pub const STATE: &str = "/run/seedbed/state";
/// Where the DATA partition is mounted.
pub const DATA: &str = "/run/seedbed/data";
/// `firstboot status --json`, kept up to date.
pub const STATUS: &str = "/run/seedbed/status.json";
/// The API servers that the local load balancer may use, as JSON; replaced as a whole.
pub const BACKENDS: &str = "/run/seedbed/backends.json";
/// This boot's journal, lines of [`crate::journal::Transition`].
pub const JOURNAL: &str = "/run/seedbed/journal.jsonl";
