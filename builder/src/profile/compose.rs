//! From a profile's folder to one [`Profile`]: the documents that it extends are read first, each once, and
//! then put together.

use super::file::{BaseFile, ControlPlane, DiskFile, ImageEntry, KubernetesFile, ProfileFile};
use super::{Chart, Disk, Layer, Parts, Profile, Signature, package, validate};
use crate::images::list::{OCI, kubeadm};
use crate::images::reference::Reference;
use anyhow::{Context, bail, ensure};
use contract::document::{self, Document};
use contract::partition::Arch;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How many profiles may extend each other in a row: more is a mistake.
const DEEPEST: usize = 16;

/// One document and where it stands.
pub(super) struct Source {
    pub(super) dir: PathBuf,
    /// The way there from the profile itself: relative, empty for that one.
    folder: String,
    pub(super) document: Document<ProfileFile>,
    /// The architectures that it and all that extend it allow; `None` is all.
    when: Option<BTreeSet<Arch>>,
    digest: [u8; 32],
}

/// Reads the documents of the profile in `dir`: what is extended comes first, the profile itself last.
pub(super) fn read(dir: &Path) -> anyhow::Result<Vec<Source>> {
    let mut reader = Reader {
        sources: Vec::new(),
        seen: BTreeSet::new(),
        way: Vec::new(),
    };
    reader.read(dir, "", None)?;
    Ok(reader.sources)
}

struct Reader {
    sources: Vec<Source>,
    /// What was read, and for which architectures: two profiles may extend the same one.
    seen: BTreeSet<(PathBuf, Option<BTreeSet<Arch>>)>,
    /// The profiles that are being extended, the outermost first.
    way: Vec<PathBuf>,
}

impl Reader {
    fn read(
        &mut self,
        dir: &Path,
        folder: &str,
        within: Option<&BTreeSet<Arch>>,
    ) -> anyhow::Result<()> {
        let path = dir.join("profile.yaml");
        let reading = || format!("reading profile {}", path.display());
        let text = fs::read_to_string(&path).with_context(reading)?;
        let place = dir.canonicalize().with_context(reading)?;
        if self.way.contains(&place) || self.way.len() == DEEPEST {
            bail!("{} extends itself", path.display());
        }
        let document: Document<ProfileFile> = document::parse(&path.display().to_string(), &text)?;
        let when = narrowed(within, document.value.when.arch.as_deref());
        if !self.seen.insert((place.clone(), when.clone())) {
            return Ok(());
        }
        self.way.push(place);
        for (i, extended) in document.value.extends.iter().enumerate() {
            let below = dir.join(extended);
            if !below.join("profile.yaml").is_file() {
                let message = format!("there is no profile.yaml in {}", below.display());
                let hint = "name the folder of a profile, relative to this one";
                let fault = document.fault(&format!("extends[{i}]"), message, Some(hint.into()));
                document.faults(vec![fault])?;
            }
            let reading = || format!("extending {} in {}", extended, path.display());
            let further = format!("{folder}/{extended}");
            let further = further.trim_start_matches('/');
            self.read(&below, further, when.as_ref())
                .with_context(reading)?;
        }
        self.way.pop();
        self.sources.push(Source {
            dir: dir.to_owned(),
            folder: folder.to_owned(),
            document,
            when,
            digest: Sha256::digest(&text).into(),
        });
        Ok(())
    }
}

fn narrowed(within: Option<&BTreeSet<Arch>>, own: Option<&[Arch]>) -> Option<BTreeSet<Arch>> {
    let own = own.map(|own| own.iter().copied().collect::<BTreeSet<Arch>>());
    match (within, own) {
        (Some(within), Some(own)) => Some(within & &own),
        (Some(within), None) => Some(within.clone()),
        (None, own) => own,
    }
}

/// Puts the documents together.
pub(super) fn compose(sources: Vec<Source>) -> anyhow::Result<Profile> {
    let required = validate::validate(&sources)?;
    let mut digests: Vec<[u8; 32]> = sources.iter().map(|source| source.digest).collect();
    // A lock that is older than they are has to be noticed.
    let inputs: Vec<PathBuf> = sources.iter().flat_map(inputs).collect();
    for path in &inputs {
        let mut hash = Sha256::new();
        hash_below(path, Path::new(""), &mut hash)
            .with_context(|| format!("reading {}", path.display()))?;
        digests.push(hash.finalize().into());
    }
    let digest = match digests.as_slice() {
        [one] => crate::digest::hex(one),
        several => crate::digest::hex(&Sha256::digest(several.concat())),
    };
    let KubernetesFile {
        version: kubernetes,
        image_repository,
        pause,
        images,
    } = required.kubernetes;
    let computed = match images {
        ControlPlane::Profile => None,
        ControlPlane::Kubeadm => Some(kubeadm::images(&kubernetes, &image_repository)?),
    };
    let pause = pause.or_else(|| Some(own_pause(&computed.as_ref()?.pause, &sources)));
    let pause = pause.context("the profile names no pause image")?;
    let mut all = BTreeMap::new();
    let mut disk = DiskFile::default();
    let mut base = BaseFile::Listed;
    let mut layers = Vec::with_capacity(sources.len());
    layers.extend(computed.map(|computed| of_kubeadm(computed.images, &kubernetes, &sources)));
    let documents: Vec<PathBuf> = sources.iter().map(|source| source.dir.clone()).collect();
    for source in sources {
        let origins = origins(&source);
        let mut file = source.document.value;
        for (name, mut place) in std::mem::take(&mut file.sources) {
            place.ca = place.ca.map(|ca| absolute(&source.dir, &ca));
            place.path = place.path.map(|path| absolute(&source.dir, &path));
            if let Some(debian) = &mut place.debian {
                // Joining an absolute path replaces what was before.
                let keyring = debian.keyring.iter().map(|path| source.dir.join(path));
                debian.keyring = keyring.map(|path| path.to_string_lossy().into()).next();
            }
            all.insert(name, place);
        }
        disk = DiskFile {
            esp: file.disk.esp.or(disk.esp),
            root: file.disk.root.or(disk.root),
            store: file.disk.store.or(disk.store),
            compression: file.disk.compression.or(disk.compression),
            bios: file.disk.bios.or(disk.bios),
        };
        base = file.base.unwrap_or(base);
        layers.push(Layer {
            when: source.when,
            parts: parts(&source.dir, &source.folder, file, origins),
        });
    }
    Ok(Profile {
        dir: documents.last().cloned().unwrap_or_default(),
        documents,
        inputs,
        digest,
        name: required.name,
        arch: required.arch,
        sources: all,
        base,
        kubernetes,
        image_repository,
        pause,
        layers,
        disk: Disk::from(disk),
    })
}

/// kubeadm's pause image, or what a document names in its place.
fn own_pause(pause: &str, sources: &[Source]) -> String {
    let repository = |name: &str| name.rsplit_once(':').map(|(name, _)| name.to_owned());
    let named = sources
        .iter()
        .flat_map(|source| &source.document.value.images);
    let mut named = named;
    let own = named.rfind(|image| repository(&image.name) == repository(pause));
    own.map_or(pause.to_owned(), |image| image.name.clone())
}

/// The control plane's images, but for those that a document names itself.
fn of_kubeadm(images: Vec<String>, version: &str, sources: &[Source]) -> Layer {
    let repository = |name: &str| {
        let parsed = Reference::parse(name).ok()?;
        Some((parsed.registry, parsed.repository))
    };
    let named = sources
        .iter()
        .flat_map(|source| &source.document.value.images);
    let named: BTreeSet<_> = named.filter_map(|image| repository(&image.name)).collect();
    let left = images
        .into_iter()
        .filter(|name| repository(name).is_none_or(|repository| !named.contains(&repository)));
    let images: Vec<ImageEntry> = left.map(ImageEntry::pulled).collect();
    let origin = |image: &ImageEntry| (image.name.clone(), format!("kubeadm {version}"));
    Layer {
        when: None,
        parts: Parts {
            origins: images.iter().map(origin).collect(),
            images,
            ..Parts::default()
        },
    }
}

/// Where each image of a document is named.
fn origins(source: &Source) -> BTreeMap<String, String> {
    let document = &source.document;
    let images = document.value.images.iter().enumerate();
    let place = |(i, image): (usize, &ImageEntry)| {
        let line = document.fault(&format!("images[{i}].name"), "", None).line;
        (image.name.clone(), format!("{}:{line}", document.name()))
    };
    images.map(place).collect()
}

/// The files and folders on which the images of a lock depend beside the profile's text.
fn inputs(source: &Source) -> Vec<PathBuf> {
    let file = &source.document.value;
    let charts = file.charts.iter().flat_map(|chart| {
        let local = Some(&chart.chart).filter(|chart| !chart.starts_with(OCI));
        local.into_iter().chain(&chart.values)
    });
    let keys = file.signatures.iter().map(|signature| &signature.key);
    let all = file.manifests.iter().chain(charts).chain(keys);
    all.map(|path| source.dir.join(path)).collect()
}

/// The contents of the file at `top`, or the paths and contents of all files below it. `below` is the way there
/// from `top`, which tells a file in a folder from one beside it.
fn hash_below(top: &Path, below: &Path, hash: &mut Sha256) -> anyhow::Result<()> {
    // Nothing is joined to a file's own name.
    let path = match below.as_os_str().is_empty() {
        true => top.to_owned(),
        false => top.join(below),
    };
    let meta = fs::metadata(&path)?;
    if !meta.is_dir() {
        // A device or a pipe need not end.
        ensure!(meta.is_file(), "it is neither a file nor a folder");
        hash.update(Sha256::digest(below.as_os_str().as_encoded_bytes()));
        hash.update(Sha256::digest(fs::read(path)?));
        return Ok(());
    }
    let names = fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<anyhow::Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        hash_below(top, &below.join(name), hash)?;
    }
    Ok(())
}

/// Joining an absolute path replaces what was before.
fn absolute(dir: &Path, path: &str) -> String {
    let joined = dir.join(path);
    let whole = std::path::absolute(&joined).unwrap_or(joined);
    whole.to_string_lossy().into_owned()
}

fn parts(dir: &Path, folder: &str, file: ProfileFile, origins: BTreeMap<String, String>) -> Parts {
    let below = |paths: Vec<String>| paths.iter().map(|path| dir.join(path)).collect();
    let moved = |packages: &[String]| {
        let moved = packages.iter().map(|text| package::moved(text, folder));
        moved.collect::<Vec<String>>()
    };
    let charts = file.charts.into_iter().map(|entry| Chart {
        dir: dir.to_owned(),
        entry,
    });
    let signatures = file.signatures.into_iter().map(|entry| Signature {
        key: dir.join(entry.key),
        images: entry.images,
    });
    let mut images = file.images;
    for image in &mut images {
        for path in [&mut image.layout, &mut image.archive]
            .into_iter()
            .flatten()
        {
            *path = dir.join(&*path).to_string_lossy().into_owned();
        }
        if let Some(from) = &mut image.from {
            from.packages = moved(&from.packages);
        }
    }
    Parts {
        packages: moved(&file.packages),
        pins: file.pins,
        files: file.files,
        images,
        origins,
        manifests: below(file.manifests),
        charts: charts.collect(),
        signatures: signatures.collect(),
        overlays: below(file.overlays),
        initrd_overlays: below(file.initrd_overlays),
        exclude: file.exclude,
        scripts: file.scripts,
        kernel_arguments: file.kernel_arguments,
        modules: file.modules,
        initrd_modules: file.initrd_modules,
        sysctls: file.sysctls,
        timezone: file.timezone,
        locale: file.locale,
        banner: file.banner,
        certificates: below(file.certificates),
        users: file.users,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R032: where a file is counts, and not only that there is one.
    #[test]
    fn a_file_in_a_folder_is_not_one_beside_it() {
        let digest = |paths: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            for path in paths {
                let path = dir.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "same").unwrap();
            }
            let mut hash = Sha256::new();
            hash_below(dir.path(), Path::new(""), &mut hash).unwrap();
            hash.finalize()
        };
        assert_ne!(digest(&["t/a", "t/z"]), digest(&["t/a", "z"]));
        assert_ne!(digest(&["a/b"]), digest(&["a", "b"]));
        assert_eq!(digest(&["t/a", "z"]), digest(&["z", "t/a"]));
    }
}
