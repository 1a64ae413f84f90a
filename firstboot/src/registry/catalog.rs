//! What the store holds: `index.json` of an OCI image layout (OCI image specification 1.1) as tables.

use crate::registry::name::{Digest, Repository, official};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;

/// The annotation that holds an image's full name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// How deep indexes may nest.
const MAX_DEPTH: usize = 4;

/// Media types of documents that list manifests.
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Why an image layout cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogError {
    /// A document is not what the specification says.
    #[error("{what} is not an OCI image index")]
    Syntax {
        what: String,
        #[source]
        source: serde_json::Error,
    },
    /// A blob that an index lists is not there.
    #[error("blob {digest} of image {image} cannot be read")]
    Blob {
        digest: String,
        image: String,
        #[source]
        source: io::Error,
    },
    /// An image's name has no registry or no tag.
    #[error("image name {0:?} is not of the form HOST/PATH:TAG")]
    Name(String),
    /// A digest is not of SHA-256.
    #[error("digest {digest:?} of image {image} is not sha256:… with 64 digits")]
    Digest { digest: String, image: String },
}

/// The images, by what clients ask for.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    tags: BTreeMap<Repository, BTreeMap<String, Digest>>,
    media_types: BTreeMap<Digest, String>,
}

/// Which repository a request means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup<'c> {
    /// This one.
    One(&'c Repository),
    /// None that the store has.
    Unknown,
    /// Several, and the request does not say of which registry.
    Several(Vec<&'c Repository>),
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Catalog {
    /// Reads the layout's index; `blob` reads the blobs that are indexes themselves.
    pub(super) fn parse(
        index: &[u8],
        mut blob: impl FnMut(&Digest) -> io::Result<Vec<u8>>,
    ) -> Result<Self, CatalogError> {
        let mut catalog = Catalog::default();
        for descriptor in parse_index("index.json", index)?.manifests {
            // A manifest without a name is served by its digest alone.
            let name = descriptor.annotations.get(REF_NAME).cloned();
            let image = name.clone().unwrap_or_else(|| descriptor.digest.clone());
            let digest = catalog.add(&descriptor, &image, &mut blob, 0)?;
            if let Some(name) = name {
                let parsed = Repository::parse_reference(&name);
                let (repository, tag) = parsed.ok_or_else(|| CatalogError::Name(name.clone()))?;
                catalog
                    .tags
                    .entry(repository)
                    .or_default()
                    .insert(tag.to_owned(), digest);
            }
        }
        Ok(catalog)
    }

    fn add(
        &mut self,
        descriptor: &Descriptor,
        image: &str,
        blob: &mut impl FnMut(&Digest) -> io::Result<Vec<u8>>,
        depth: usize,
    ) -> Result<Digest, CatalogError> {
        let bad = || CatalogError::Digest {
            digest: descriptor.digest.clone(),
            image: image.to_owned(),
        };
        let digest = Digest::parse(&descriptor.digest).ok_or_else(bad)?;
        let new = self
            .media_types
            .insert(digest.clone(), descriptor.media_type.clone())
            .is_none();
        if new && depth < MAX_DEPTH && INDEXES.contains(&descriptor.media_type.as_str()) {
            let bytes = blob(&digest).map_err(|source| CatalogError::Blob {
                digest: digest.to_string(),
                image: image.to_owned(),
                source,
            })?;
            for child in parse_index(image, &bytes)?.manifests {
                self.add(&child, image, blob, depth + 1)?;
            }
        }
        Ok(digest)
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.tags.values().map(BTreeMap::len).sum()
    }

    /// The repository `path` of the registry `host`; without a host, the only one of that path.
    pub(super) fn repository(&self, host: Option<&str>, path: &str) -> Lookup<'_> {
        let found: Vec<&Repository> = match host {
            Some(host) => {
                let wanted = Repository::new(host, path);
                self.tags
                    .keys()
                    .filter(|repository| **repository == wanted)
                    .collect()
            }
            None => {
                let docker = official(path);
                let fits = |repository: &Repository| {
                    repository.path == path
                        || (repository.host == "docker.io" && repository.path == docker)
                };
                self.tags
                    .keys()
                    .filter(|repository| fits(repository))
                    .collect()
            }
        };
        match found.as_slice() {
            [] => Lookup::Unknown,
            [one] => Lookup::One(one),
            _ => Lookup::Several(found),
        }
    }

    /// The tags of a repository with their manifests, sorted by name.
    pub(super) fn tags(&self, repository: &Repository) -> impl Iterator<Item = (&str, &Digest)> {
        let tags = self.tags.get(repository).into_iter().flatten();
        tags.map(|(tag, digest)| (tag.as_str(), digest))
    }

    /// The media type of a manifest or index; nothing if the digest is of something else.
    pub(super) fn media_type(&self, digest: &Digest) -> Option<&str> {
        self.media_types.get(digest).map(String::as_str)
    }
}

fn parse_index(what: &str, bytes: &[u8]) -> Result<Index, CatalogError> {
    serde_json::from_slice(bytes).map_err(|source| CatalogError::Syntax {
        what: what.to_owned(),
        source,
    })
}
