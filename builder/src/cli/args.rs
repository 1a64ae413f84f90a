//! The command line, declared. Its help text is the reference that `docs/cli.md` is generated from.

pub mod keys;
pub mod remote;
pub mod status;

use crate::build;
use crate::cli::arch::{ArchArg, FirstbootArg};
use crate::cli::args::keys::{AddonArgs, EnrollArg, KeysCommand, SignerArgs};
use crate::cli::args::remote::{RemoteArgs, ResultsArgs};
use crate::cli::args::status::StatusArgs;
use crate::rewrite::Rule;
use anyhow::Context;
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use formats::gpt::SectorSize;
use std::path::{Path, PathBuf};

/// Bakes bootable, immutable Kubernetes machine images, and writes the seeds that turn machines into clusters.
#[derive(Clone, Debug, Parser)]
#[command(name = "seedbed", version, max_term_width = 100)]
pub struct Args {
    /// Say more about what is done.
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Check a profile without touching the network.
    Check(ProfileArgs),
    /// Resolve a profile to exact packages, files and images, by digest.
    Lock(LockArgs),
    /// Fetch everything that a lock names into the store.
    Fetch(FetchArgs),
    /// List the container images of a profile's store, and what names each of them.
    Images(ImagesArgs),
    /// Write one file with everything that a lock names, to build from where no network is.
    Bundle(BundleArgs),
    /// Bake images from a locked profile: no root, no network, no other program.
    Build(BuildArgs),
    /// Show what a disk image holds: partitions, packages, container images, kernel arguments, sizes.
    Inspect(InspectArgs),
    /// List a directory inside an image.
    Ls(LsArgs),
    /// Print a file inside an image.
    Cat(CatArgs),
    /// Show what differs between two images, or between two locks.
    Diff(DiffArgs),
    /// Check an image: its signature, its digest, every block, and that it can be built again.
    Verify(VerifyArgs),
    /// Make keys that sign what a build gives.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Write kernel arguments of a site as a signed add-on, for images that are baked already.
    Addon(AddonArgs),
    /// Put a build's outputs into a registry, as an OCI artifact.
    Push(PushArgs),
    /// Take a build's outputs out of a registry, and verify each.
    Pull(PullArgs),
    /// Make and check seeds.
    #[command(subcommand)]
    Seed(SeedCommand),
    /// Fetch the administrator's kubeconfig from a machine of the seed's cluster.
    Kubeconfig(KubeconfigArgs),
    /// Show how every machine of the seed's site is. Ends with 0 only if all are Ready, else with 1.
    Status(StatusArgs),
    /// Take a machine out of a cluster for good.
    ///
    /// Its member of etcd is removed, if it has one and etcd keeps its quorum; its node object is deleted; and no machine
    /// of the cluster lets it in any more. Pods are not moved first: drain the node before.
    Remove(RemoveArgs),
    /// Print the JSON Schema of a document.
    Schema(SchemaArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write manual pages.
    Man {
        /// The folder to write to.
        out: PathBuf,
    },
}

/// A profile's folder.
#[derive(Clone, Debug, ClapArgs)]
pub struct ProfileArgs {
    /// The folder that holds profile.yaml.
    pub profile: PathBuf,
}

/// Where sources are.
#[derive(Clone, Debug, ClapArgs)]
pub struct PlaceArgs {
    /// Where a source of the profile is; may be given several times.
    #[arg(long = "source", value_name = "NAME=URL", value_parser = parse_source)]
    pub sources: Vec<(String, String)>,
    /// Where Debian archives are [default: where this host's apt takes them from].
    #[arg(long, value_name = "URL", env = "SEEDBED_DEBIAN_MIRROR")]
    pub debian_mirror: Option<String>,
    /// Ask URL first for everything whose URL begins with FROM, a host with or without the beginning of a path; may be
    /// given several times, and comes before what the file of mirrors says.
    #[arg(long = "rewrite", value_name = "FROM=URL")]
    pub rewrites: Vec<Rule>,
    /// The file of mirrors [default: seedbed/mirrors.yaml below the user's configuration folder].
    #[arg(long, value_name = "FILE", env = "SEEDBED_MIRRORS")]
    pub mirrors: Option<PathBuf>,
}

/// Where blobs are kept.
#[derive(Clone, Debug, ClapArgs)]
pub struct StoreArgs {
    /// The store of blobs [default: seedbed/store below the user's cache folder].
    #[arg(long, value_name = "DIR", env = "SEEDBED_STORE")]
    pub store: Option<PathBuf>,
}

/// `seedbed lock`.
#[derive(Clone, Debug, ClapArgs)]
pub struct LockArgs {
    /// The profile.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Where sources are.
    #[command(flatten)]
    pub places: PlaceArgs,
    /// Where blobs are kept.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Resolve for these architectures, and keep what the lock has of the profile's others, unless the profile's text
    /// is another now [default: all of the profile].
    #[arg(long, value_delimiter = ',', conflicts_with = "update")]
    pub arch: Vec<ArchArg>,
    /// Resolve, and fail if the lock is not the same; write nothing.
    #[arg(long)]
    pub check: bool,
    /// Where a file's publisher gives no digest, lock the file as it is today.
    #[arg(long)]
    pub trust_on_first_use: bool,
    /// Resolve this alone, with what has to move with it, and keep the rest of the lock: a package, the path of a file
    /// of the profile, or the name of an image. May be given several times.
    #[arg(long, value_name = "NAME", conflicts_with = "check")]
    pub update: Vec<String>,
}

/// `seedbed fetch`.
#[derive(Clone, Debug, ClapArgs)]
pub struct FetchArgs {
    /// The folder that holds profile.yaml.
    #[arg(required_unless_present = "bundle")]
    pub profile: Option<PathBuf>,
    /// Take the blobs of this bundle into the store; - is standard input. With a profile, what is missing then is
    /// fetched. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub bundle: Vec<PathBuf>,
    /// Architectures [default: all of the profile].
    #[arg(long, value_delimiter = ',')]
    pub arch: Vec<ArchArg>,
    /// Ask nobody, and fail if the store lacks something.
    #[arg(long)]
    pub offline: bool,
    /// Where sources are.
    #[command(flatten)]
    pub places: PlaceArgs,
    /// Where blobs are kept.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The team's store. What comes from a source is sent there.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Print one JSON object for each finished item.
    #[arg(long)]
    pub json: bool,
}

/// `seedbed images`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ImagesArgs {
    /// The profile.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Where blobs are kept.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the list as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `seedbed bundle`.
#[derive(Clone, Debug, ClapArgs)]
pub struct BundleArgs {
    /// The profile.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Architectures [default: all that are locked].
    #[arg(long, value_delimiter = ',')]
    pub arch: Vec<ArchArg>,
    /// Leave out what this lock names, too: a lock, or the folder of a profile.
    #[arg(long, value_name = "LOCK")]
    pub since: Option<PathBuf>,
    /// The file to write; - is standard output [default: seedbed-NAME.bundle.tar].
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where blobs are kept.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `seedbed build`.
#[derive(Clone, Debug, ClapArgs)]
pub struct BuildArgs {
    /// The folder that holds profile.yaml.
    #[arg(required_unless_present = "bundle")]
    pub profile: Option<PathBuf>,
    /// Build from this bundle: its profile, its lock and its blobs. One that was made with --since needs those that it
    /// was made after, in any order.
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    pub bundle: Vec<PathBuf>,
    /// Make no connection and ask no name server. A build without --remote-store never does; this says so in a script.
    #[arg(long)]
    pub offline: bool,
    /// What to write.
    #[arg(long, value_delimiter = ',', default_value = "raw")]
    pub format: Vec<Format>,
    /// Logical sectors of the disks that the image is for, in bytes. An image for disks of 4096 has `-4k` in its
    /// name; disks of 512, and most of 4096 that pass for 512, take the default.
    #[arg(long, value_name = "BYTES", default_value = "512")]
    pub sector_size: SectorSizeArg,
    /// Architectures [default: all of the profile].
    #[arg(long, value_delimiter = ',')]
    pub arch: Vec<ArchArg>,
    /// The folder to write to.
    #[arg(long, default_value = "out")]
    pub out: PathBuf,
    /// Where blobs are kept.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The team's store.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Results in the team's store.
    #[command(flatten)]
    pub results: ResultsArgs,
    /// What builds made before [default: seedbed/build below the user's cache folder].
    #[arg(long, value_name = "DIR", env = "SEEDBED_CACHE")]
    pub cache: Option<PathBuf>,
    /// Take nothing that builds made before, and keep nothing.
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
    /// The firstboot program for the image, or for that of one architecture; may be given several times [default:
    /// firstboot-ARCH beside this program, or firstboot].
    #[arg(long, value_name = "[ARCH=]FILE")]
    pub firstboot: Vec<FirstbootArg>,
    /// A seed to put on the image's SEED partition.
    #[arg(long, value_name = "FILE")]
    pub seed: Option<PathBuf>,
    /// Sign SHA256SUMS in the folder with this secret key, which `seedbed keys new` or minisign made.
    #[arg(long, value_name = "KEY")]
    pub sign: Option<PathBuf>,
    /// Who signs for Secure Boot.
    #[command(flatten)]
    pub signer: SignerArgs,
    /// For --secure-boot: when systemd-boot enrols the keys on a machine in Setup Mode.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "if-safe",
        requires = "secure_boot"
    )]
    pub enroll: EnrollArg,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// An image that is looked into.
#[derive(Clone, Debug, ClapArgs)]
pub struct InspectArgs {
    /// The image, in any format that build writes; it is only read.
    pub image: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `seedbed ls`.
#[derive(Clone, Debug, ClapArgs)]
pub struct LsArgs {
    /// The image, raw or qcow2; it is only read.
    pub image: PathBuf,
    /// A path of the root file system, or one behind a partition's name, such as ESP:/EFI or STORE:/chains.
    #[arg(default_value = "/")]
    pub path: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `seedbed cat`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CatArgs {
    /// The image, raw or qcow2; it is only read.
    pub image: PathBuf,
    /// A path of the root file system, or one behind a partition's name, such as ESP:/loader/loader.conf.
    pub path: String,
}

/// `seedbed diff`.
#[derive(Clone, Debug, ClapArgs)]
pub struct DiffArgs {
    /// An image in any format, a lock, or the folder of a profile.
    pub before: PathBuf,
    /// Another one.
    pub after: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `seedbed verify`.
#[derive(Clone, Debug, ClapArgs)]
pub struct VerifyArgs {
    /// The image, raw or qcow2; it is only read. If SHA256SUMS lies beside it, its digest is checked, too.
    pub image: PathBuf,
    /// The public key that must have signed SHA256SUMS.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The certificate, in PEM, that must have signed what firmware starts: db.crt. Without it signatures for Secure
    /// Boot are checked as well, if there are any, by the certificate in them.
    #[arg(long, value_name = "FILE")]
    pub secure_boot_certificate: Option<PathBuf>,
    /// Build the image again from this profile's lock and the store, and compare every byte.
    #[arg(long, value_name = "PROFILE")]
    pub rebuild: Option<PathBuf>,
    /// For --rebuild: the firstboot program in the image [default: firstboot-ARCH beside this program, or firstboot].
    #[arg(long, value_name = "FILE", requires = "rebuild")]
    pub firstboot: Option<PathBuf>,
    /// For --rebuild: where blobs are kept.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `seedbed push`.
#[derive(Clone, Debug, ClapArgs)]
pub struct PushArgs {
    /// A folder that build wrote to, of which all is pushed that SHA256SUMS lists, with SHA256SUMS and its signature;
    /// or files.
    #[arg(required = true, value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// Where to: REGISTRY/REPOSITORY:TAG. What the registry has already is not sent again. TLS is a must, except on
    /// loopback addresses, where there is none.
    #[arg(long, value_name = "REFERENCE")]
    pub to: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `seedbed pull`.
#[derive(Clone, Debug, ClapArgs)]
pub struct PullArgs {
    /// What to take: REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:DIGEST.
    pub reference: String,
    /// The folder to write to. Files that are there already are left alone; one with other contents stops the pull.
    #[arg(long, short, default_value = "out", value_name = "DIR")]
    pub output: PathBuf,
    /// Take what is for this architecture alone [default: everything].
    #[arg(long)]
    pub arch: Option<ArchArg>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Format {
    /// A disk image, sparse: to be written to disks and sticks.
    Raw,
    /// The same, compressed with zstd in frames that can be read one by one: to be sent.
    #[value(name = "raw.zst")]
    RawZst,
    /// For sticks, CDs and virtual media, as small as its contents: starts machines, and installs them.
    Iso,
    /// For QEMU 5.1 and later, libvirt, Proxmox and OpenStack, compressed with zstd.
    Qcow2,
    /// The same compressed with deflate, for older hosts and clouds that know no other.
    #[value(name = "qcow2-deflate")]
    Qcow2Deflate,
    /// For VMware and VirtualBox: streamOptimized.
    Vmdk,
    /// A machine with that disk, for the importers of VMware and VirtualBox.
    Ova,
    /// For Azure: fixed, as large as the disk.
    Vhd,
    /// For Hyper-V: dynamic.
    Vhdx,
}

impl From<Format> for build::Format {
    fn from(arg: Format) -> Self {
        match arg {
            Format::Raw => build::Format::Raw,
            Format::RawZst => build::Format::RawZst,
            Format::Iso => build::Format::Iso,
            Format::Qcow2 => build::Format::Qcow2,
            Format::Qcow2Deflate => build::Format::Qcow2Deflate,
            Format::Vmdk => build::Format::Vmdk,
            Format::Ova => build::Format::Ova,
            Format::Vhd => build::Format::Vhd,
            Format::Vhdx => build::Format::Vhdx,
        }
    }
}

/// Logical sectors of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SectorSizeArg {
    /// Nearly all disks.
    #[value(name = "512")]
    B512,
    /// 4Kn disks.
    #[value(name = "4096")]
    B4096,
}

impl From<SectorSizeArg> for SectorSize {
    fn from(arg: SectorSizeArg) -> Self {
        match arg {
            SectorSizeArg::B512 => SectorSize::B512,
            SectorSizeArg::B4096 => SectorSize::B4096,
        }
    }
}

/// `seedbed seed …`.
#[derive(Clone, Debug, Subcommand)]
pub enum SeedCommand {
    /// Write a new seed, with a secret freshly drawn.
    New {
        /// The cluster's name.
        name: String,
        /// The file to write; an existing one is never overwritten.
        #[arg(long, short, default_value = "seed.yaml")]
        out: PathBuf,
    },
    /// Write a join seed: for machines that come to a cluster that exists, as workers, and never found one.
    ///
    /// It is the founding seed with the cluster's id in it, which a machine of the cluster tells.
    Join {
        /// The cluster's seed.
        #[arg(long)]
        seed: PathBuf,
        /// A machine of the cluster: HOST or HOST:PORT [default: those on the local network].
        #[arg(long, conflicts_with = "id")]
        address: Option<String>,
        /// The cluster's id, if no machine is to be asked; a machine's status has it as clusterId.
        #[arg(long, value_name = "GUID")]
        id: Option<String>,
        /// The file to write; an existing one is never overwritten.
        #[arg(long, short, default_value = "join.yaml")]
        out: PathBuf,
    },
    /// Check a seed, and say what the defaults make of it.
    Check {
        /// The seed.
        file: PathBuf,
    },
}

/// `seedbed kubeconfig`.
#[derive(Clone, Debug, ClapArgs)]
pub struct KubeconfigArgs {
    /// The cluster's seed.
    #[arg(long)]
    pub seed: PathBuf,
    /// A machine of the cluster: HOST or HOST:PORT [default: any on the local network].
    #[arg(long)]
    pub address: Option<String>,
    /// What the kubeconfig shall name as server [default: https://HOST:6443].
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The file to write [default: standard output].
    #[arg(long, short)]
    pub out: Option<PathBuf>,
}

/// `seedbed remove`.
#[derive(Clone, Debug, ClapArgs)]
pub struct RemoveArgs {
    /// Its host name, or the first eight or more digits of its id.
    pub machine: String,
    /// The cluster's seed.
    #[arg(long)]
    pub seed: PathBuf,
    /// Another machine of the control plane: HOST or HOST:PORT [default: any on the local network].
    #[arg(long)]
    pub address: Option<String>,
    /// Only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
}

/// `seedbed schema`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SchemaArgs {
    /// Which document.
    pub document: SchemaDocument,
}

/// A document with a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SchemaDocument {
    /// profile.yaml
    Profile,
    /// seed.yaml
    Seed,
}

fn parse_source(text: &str) -> Result<(String, String), String> {
    let (name, url) = text.split_once('=').ok_or("expected NAME=URL")?;
    Ok((name.to_owned(), url.to_owned()))
}

pub(super) fn schema(args: SchemaArgs) -> anyhow::Result<()> {
    let schema = match args.document {
        SchemaDocument::Profile => {
            schemars::schema_for!(crate::profile::file::ProfileFile).to_value()
        }
        SchemaDocument::Seed => contract::seed::schema(),
    };
    println!("{}", serde_json::to_string_pretty(&schema)?);
    Ok(())
}

pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    clap_complete::generate(
        shell,
        &mut Args::command(),
        "seedbed",
        &mut std::io::stdout(),
    );
    Ok(())
}

pub(super) fn man(out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    clap_mangen::generate_to(Args::command(), out)
        .with_context(|| format!("writing manual pages to {}", out.display()))
}
