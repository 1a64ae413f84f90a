//! containerd 1.7's configuration (version 2 of its format).

use crate::snapshotter;

/// Where containerd looks for registries' hosts.
pub const CERTS_D: &str = "/etc/containerd/certs.d";

/// `/etc/containerd/config.toml`.
///
/// `image_pull_with_sync_fs`: without it a power cut soon after a pull leaves empty files in layers that containerd
/// believes to be whole, and no pod of that image ever starts again. Layers are not discarded, since they are
/// links into the store.
///
/// Devices are given to containers as the Container Device Interface describes them, by whoever writes to `/run/cdi`.
///
/// The [`snapshotter`] shows the store's layers in place. containerd 2 is fine with this text, too: its CRI plugin
/// leaves pulls to its transfer service only if neither syncing nor the number of downloads is configured.
pub fn config(pause: &str) -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri"]

[grpc]
address = "/run/containerd/containerd.sock"

[proxy_plugins.{snapshotter}]
type = "snapshot"
address = "{run}/{socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = {pause:?}
max_concurrent_downloads = 8
image_pull_with_sync_fs = true
tolerate_missing_hugetlb_controller = true
enable_cdi = true
cdi_spec_dirs = ["/etc/cdi", "/run/cdi"]

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
default_runtime_name = "runc"
disable_snapshot_annotations = false
discard_unpacked_layers = false

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{CERTS_D}"
"#,
        snapshotter = snapshotter::NAME,
        run = snapshotter::RUN,
        socket = snapshotter::SOCKET,
    )
}

/// `_default/hosts.toml`: the registry on loopback answers for every upstream, and is the server too, or
/// containerd would ask the upstream after it.
pub fn hosts(port: u16) -> String {
    format!(
        "server = \"http://127.0.0.1:{port}\"\n\n[host.\"http://127.0.0.1:{port}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
    )
}
