//! From a profile's folder to one [`Profile`]: the documents that it extends are read first, each once, and
//! then put together.

use super::file::{BaseFile, DiskFile, KubernetesFile, ProfileFile};
use super::{Disk, Layer, Parts, Profile, package, validate};
use anyhow::{Context, bail};
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
    let digest = match sources.as_slice() {
        [one] => crate::digest::hex(&one.digest),
        several => {
            let digests = several.iter().map(|source| source.digest);
            crate::digest::hex(&Sha256::digest(digests.collect::<Vec<_>>().concat()))
        }
    };
    let KubernetesFile {
        version: kubernetes,
        image_repository,
        pause,
    } = required.kubernetes;
    let mut all = BTreeMap::new();
    let mut disk = DiskFile::default();
    let mut base = BaseFile::Listed;
    let mut layers = Vec::with_capacity(sources.len());
    let documents: Vec<PathBuf> = sources.iter().map(|source| source.dir.clone()).collect();
    for source in sources {
        let mut file = source.document.value;
        for (name, mut place) in std::mem::take(&mut file.sources) {
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
            parts: parts(&source.dir, &source.folder, file),
        });
    }
    Ok(Profile {
        dir: documents.last().cloned().unwrap_or_default(),
        documents,
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

fn parts(dir: &Path, folder: &str, mut file: ProfileFile) -> Parts {
    let below = |paths: Vec<String>| paths.iter().map(|path| dir.join(path)).collect();
    let moved = |packages: &[String]| {
        let moved = packages.iter().map(|text| package::moved(text, folder));
        moved.collect::<Vec<String>>()
    };
    for from in file.images.iter_mut().flat_map(|image| &mut image.from) {
        from.packages = moved(&from.packages);
    }
    Parts {
        packages: moved(&file.packages),
        pins: file.pins,
        files: file.files,
        images: file.images,
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
