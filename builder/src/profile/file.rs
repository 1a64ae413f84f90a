//! `profile.yaml` as people write it, version 1. Every field's comment is its reference documentation.

use contract::partition::Arch;
use formats::erofs::Compression;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What to bake into an image, or a part of that which other profiles extend. What a profile says comes after
/// what the profiles that it extends say: lists grow, and the later word counts where only one can.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileFile {
    /// Version of this document: 1.
    pub version: u32,
    /// Folders of profiles that this one extends, relative to it, the first first.
    #[serde(default)]
    pub extends: Vec<String>,
    /// Where the lists of this profile count, and those of the profiles that it extends.
    #[serde(default)]
    pub when: WhenFile,
    /// The profile's name; outputs are called `seedbed-NAME-ARCH`. A profile that is only extended needs none.
    pub name: Option<String>,
    /// Architectures to bake for.
    pub arch: Option<Vec<Arch>>,
    /// Where content comes from, by a name that the rest of the profile and the lock use.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceFile>,
    /// Which Kubernetes.
    pub kubernetes: Option<KubernetesFile>,
    /// Debian packages by name; their dependencies follow, recommendations do not. `NAME=VERSION` takes that version
    /// alone, in which `*` stands for any text, and `NAME/SOURCE` that of one source or suite; `NAME [ARCH]` counts
    /// for that architecture alone. What begins with `./` or `../` is a `.deb` file of your own, relative to the
    /// profile.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Which packages are there without being asked for [default: listed].
    pub base: Option<BaseFile>,
    /// Which versions of packages to prefer; of several pins that are about a package the last counts.
    #[serde(default)]
    pub pins: Vec<PinEntry>,
    /// Files from sources, such as upstream's binaries.
    #[serde(default)]
    pub files: Vec<FileEntry>,
    /// Container images that the store holds, beside those that `kubernetes.images`, `manifests` and `charts` bring.
    #[serde(default)]
    pub images: Vec<ImageEntry>,
    /// Files with Kubernetes manifests, relative to the profile, whose pods' images the store holds.
    #[serde(default)]
    pub manifests: Vec<String>,
    /// Helm charts whose images the store holds.
    #[serde(default)]
    pub charts: Vec<ChartEntry>,
    /// Keys that images have to be signed with.
    #[serde(default)]
    pub signatures: Vec<SignatureEntry>,
    /// Folders laid over the root file system, relative to the profile. Files named `*.j2` are minijinja
    /// templates.
    #[serde(default)]
    pub overlays: Vec<String>,
    /// Folders laid over the initial RAM disk, as `overlays` are over the root file system.
    #[serde(default)]
    pub initrd_overlays: Vec<String>,
    /// Path prefixes left out of the root file system, without a leading slash.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Maintainer scripts that no native step covers, each with the reason why nothing is lost.
    #[serde(default)]
    pub scripts: Vec<ScriptEntry>,
    /// Arguments appended to the kernel's command line.
    #[serde(default)]
    pub kernel_arguments: Vec<String>,
    /// Kernel modules that every boot loads.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Kernel modules that the initial RAM disk has, beside those that every image needs there.
    #[serde(default)]
    pub initrd_modules: Vec<String>,
    /// Kernel parameters by name, such as `vm.max_map_count: "262144"`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// The time zone, such as `Europe/Berlin` [default: UTC].
    pub timezone: Option<String>,
    /// The locale of the system's programs [default: C.UTF-8].
    pub locale: Option<String>,
    /// What the console shows before anybody logs in, and what follows a login.
    pub banner: Option<String>,
    /// Files with certificates of authorities that the system trusts, PEM, relative to the profile.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// Accounts beside those that packages bring. None has a password.
    #[serde(default)]
    pub users: Vec<UserEntry>,
    /// Sizes of the partitions.
    #[serde(default)]
    pub disk: DiskFile,
}

/// Where a profile's lists count.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WhenFile {
    /// For these architectures alone [default: for all].
    pub arch: Option<Vec<Arch>>,
}

/// An account.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserEntry {
    /// The login name.
    pub name: String,
    /// The number of the user and of a group of the same name, from 1000 to 59999.
    pub uid: u32,
    /// Further groups, which exist.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The shell.
    #[serde(default = "default_shell")]
    pub shell: String,
    /// Public keys for SSH, one line each as `authorized_keys` has them.
    #[serde(default)]
    pub authorized_keys: Vec<String>,
}

fn default_shell() -> String {
    "/bin/bash".into()
}

/// A place that content comes from. Where it is may be given outside the profile too: by
/// `--source NAME=URL` or the environment variable `SEEDBED_SOURCE_NAME`, which go before `url`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceFile {
    /// Base URL: `https:`, `http:` or `file:`. A Debian archive without one is taken from where the build
    /// host's apt takes it.
    pub url: Option<String>,
    /// Instead of a URL: a folder on the build host, relative to the profile.
    pub path: Option<String>,
    /// A file with certificates of authorities, PEM, that are trusted at this place beside the build host's; a
    /// relative path starts at the profile.
    pub ca: Option<String>,
    /// Headers to send, by name, such as `PRIVATE-TOKEN: {env: GITLAB_TOKEN}`. They go to this place alone.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderFile>,
    /// Set for a Debian archive; a source without it serves plain files.
    pub debian: Option<DebianFile>,
}

/// Where the value of a header is. It is read when a request needs it, and kept nowhere.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderFile {
    /// The environment variable that holds it.
    pub env: String,
    /// What goes before it, such as `"Bearer "`.
    #[serde(default)]
    pub prefix: String,
}

/// A signed Debian archive.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DebianFile {
    /// The suite, such as `trixie`. One that ends with a slash is a folder with an index of its own, such as `/`.
    pub suite: Option<String>,
    /// Several suites of one archive, instead of `suite`.
    #[serde(default)]
    pub suites: Vec<String>,
    /// The components, such as `main`; a folder has none.
    #[serde(default)]
    pub components: Vec<String>,
    /// The OpenPGP keyring that vouches for the archive; a relative path starts at the profile [default:
    /// `/usr/share/keyrings/debian-archive-keyring.gpg`].
    pub keyring: Option<String>,
    /// The OpenPGP keys themselves, ASCII-armored, instead of `keyring`.
    pub key: Option<String>,
    /// The architectures that the archive is asked for [default: all].
    pub arch: Option<Vec<Arch>>,
    /// The priority of its packages, as for pins [default: 500; 100 or 1 for an archive that is `NotAutomatic`].
    pub priority: Option<i32>,
    /// How old, in days, a release without Valid-Until may be.
    #[serde(default = "default_max_age")]
    pub max_age_days: u32,
}

impl DebianFile {
    /// All its suites.
    pub fn suites(&self) -> impl Iterator<Item = &str> {
        self.suite.iter().chain(&self.suites).map(String::as_str)
    }
}

fn default_max_age() -> u32 {
    366
}

/// Packages that are there without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BaseFile {
    /// None: the profile lists all.
    Listed,
    /// Those that are `Essential`, on which others rely without saying so.
    Essential,
    /// Those too whose priority is `required`: the least that Debian's installers make.
    Required,
}

/// Which versions to prefer. Of all versions of a package the one with the highest priority is taken, then the
/// highest.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PinEntry {
    /// The packages by name; `*` stands for any text.
    pub packages: Vec<String>,
    /// Only versions like this; `*` stands for any text.
    pub version: Option<String>,
    /// Only those of this source, or of this suite.
    pub from: Option<String>,
    /// The priority; sources have 500. Below 0: never, unless `packages` names version or source.
    pub priority: i32,
}

/// Which Kubernetes, and what its images are called.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesFile {
    /// The version as upstream writes it, such as `v1.20.2`. `{{ version }}` in paths stands for it.
    pub version: String,
    /// Prefix of the control-plane images, as kubeadm's `imageRepository`.
    pub image_repository: String,
    /// Reference of the pause image; it is one of the images [default: what `images: kubeadm` lists].
    pub pause: Option<String>,
    /// Who lists the control plane's images [default: the profile].
    #[serde(default)]
    pub images: ControlPlane,
}

/// Who lists the images of the control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ControlPlane {
    /// The profile, below `images`.
    #[default]
    Profile,
    /// kubeadm: what `kubeadm config images list` prints for the version, but for etcd. An image of the same name
    /// below `images` goes before.
    Kubeadm,
}

/// One file of a source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileEntry {
    /// The source's name.
    pub from: String,
    /// The file's path below the source's URL; `{{ version }}` and `{{ arch }}` are replaced.
    pub path: String,
    /// Where it goes in the root file system.
    pub to: String,
    /// Permission bits, octal.
    #[serde(default = "default_mode")]
    pub mode: String,
    /// For an archive (`.tar`, also compressed with gzip, xz or zstd): the one file of it that is taken.
    pub member: Option<String>,
    /// Path of the checksum file at the same source, with SHA-256 or SHA-512 digests [default: the file's path with
    /// `.sha256` or else `.sha512` appended; none for a file on the build host].
    pub sums: Option<String>,
    /// The SHA-256 it must have; with it no checksum file is asked.
    pub sha256: Option<String>,
}

fn default_mode() -> String {
    "0755".into()
}

/// A container image: pulled from its registry, taken from a file, or composed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageEntry {
    /// The full reference, with registry and tag; `@sha256:…` after it pins what it is.
    pub name: String,
    /// What the image is composed of.
    pub from: Option<ComposeFile>,
    /// An OCI image layout that holds it, a folder or an archive, relative to the profile.
    pub layout: Option<String>,
    /// An archive of `docker save` that holds it, relative to the profile.
    pub archive: Option<String>,
    /// How its publisher tells architectures apart where no index does [default: none].
    #[serde(default)]
    pub arch_form: ArchForm,
}

impl ImageEntry {
    /// An image of its registry.
    pub fn pulled(name: String) -> Self {
        ImageEntry {
            name,
            from: None,
            layout: None,
            archive: None,
            arch_form: ArchForm::None,
        }
    }

    /// Whether it comes from its registry.
    pub fn is_pulled(&self) -> bool {
        self.from.is_none() && self.layout.is_none() && self.archive.is_none()
    }
}

/// Where the architecture stands in an image's name at its registry, if the name itself leads to none for it. The
/// image keeps the name that the profile gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchForm {
    /// Nowhere.
    #[default]
    None,
    /// After the name: `app-arm64:1`.
    NameSuffix,
    /// After the tag: `app:1-arm64`.
    TagSuffix,
    /// After the tag, but not for amd64.
    TagSuffixNonDefault,
}

/// A Helm chart. It is rendered to learn its images, without Helm and without a network.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChartEntry {
    /// A folder or a `.tgz`, relative to the profile; or `oci://REGISTRY/PATH:VERSION`.
    pub chart: String,
    /// The release's name [default: the chart's].
    pub name: Option<String>,
    /// The release's namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Files of values, relative to the profile; the later word counts.
    #[serde(default)]
    pub values: Vec<String>,
    /// API versions that the cluster has beside those of every cluster, such as `monitoring.coreos.com/v1`.
    #[serde(default)]
    pub api_versions: Vec<String>,
}

fn default_namespace() -> String {
    "default".into()
}

/// A key for the images of a registry or a part of it. Images that are composed here are not asked for one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignatureEntry {
    /// What the images' names begin with: `registry.example`, `registry.example/team`. The longest counts.
    pub images: String,
    /// The public key, PEM, relative to the profile: ECDSA on P-256, as cosign makes them, or Ed25519.
    pub key: String,
}

/// A container image made of files and packages.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComposeFile {
    /// Files by their path inside the image.
    #[serde(default)]
    pub files: BTreeMap<String, ImageFileEntry>,
    /// Debian packages, as in a profile's `packages`; their dependencies follow.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Symbolic links, by their path inside the image.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// The image's entry point.
    #[serde(default)]
    pub entrypoint: Vec<String>,
}

/// One file of a composed image.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageFileEntry {
    /// The source's name.
    pub from: String,
    /// The file's path below the source's URL; `{{ version }}` and `{{ arch }}` are replaced.
    pub path: String,
    /// For an archive (`.tar`, also compressed with gzip, xz or zstd): the one file of it that is taken.
    pub member: Option<String>,
    /// Path of the checksum file at the same source, with SHA-256 or SHA-512 digests [default: the file's path with
    /// `.sha256` or else `.sha512` appended; none for a file on the build host].
    pub sums: Option<String>,
    /// The SHA-256 it must have; with it no checksum file is asked.
    pub sha256: Option<String>,
}

/// A maintainer script that is left out on purpose.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptEntry {
    /// The package.
    pub package: String,
    /// Which of its scripts: `preinst`, `postinst`, `prerm`, `postrm` or `config`.
    pub script: String,
    /// Why an image that is never installed loses nothing without it.
    pub reason: String,
}

/// Sizes of the partitions, in MiB, and what is in them.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskFile {
    /// The EFI system partition: 264 at least, which FAT32 needs [default: 1024].
    pub esp: Option<u64>,
    /// One slot of the operating system [default: 2048].
    pub root: Option<u64>,
    /// One slot of container images [default: 4096].
    pub store: Option<u64>,
    /// How files of the operating system and of container images are compressed [default: none].
    pub compression: Option<CompressionFile>,
    /// Whether a PC's BIOS starts the image too, beside UEFI, on amd64 and disks with 512-byte sectors: with GRUB, from
    /// the package grub-pc-bin [default: false].
    pub bios: Option<bool>,
}

/// How files are compressed in the image, where that makes them smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CompressionFile {
    /// Not at all.
    #[default]
    None,
    /// LZ4: unpacked fastest.
    Lz4,
    /// Zstandard, level 3: smallest. The kernel has to be 6.10 or newer.
    Zstd,
}

impl CompressionFile {
    /// The method, if there is one.
    pub fn method(self) -> Option<Compression> {
        match self {
            CompressionFile::None => None,
            CompressionFile::Lz4 => Some(Compression::Lz4),
            CompressionFile::Zstd => Some(Compression::Zstd { level: 3 }),
        }
    }
}
