//! Everything that a profile names, served where upstream serves it: Debian's archives, Kubernetes' download
//! site, release pages that redirect to another address, and registries.

use super::DATE;
use super::registry::{self, Served};
use super::server::{Answer, Server};
use builder::debian::date::Date;
use builder::digest;
use builder::fixture::archive::{ArchivePlan, FixtureArchive};
use builder::fixture::deb::Deb;
use builder::images::reference::Reference;
use builder::profile::{self, Parts, Profile};
use contract::partition::Arch;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Upstream, and a copy of the profile that trusts it.
pub struct Upstream {
    /// Archives, download sites and all registries but Docker's.
    pub site: Server,
    /// Docker's registry, which asks for a token.
    pub hub: Server,
    /// The folder with the copy; also the program's home.
    pub dir: tempfile::TempDir,
    /// What the copy says.
    pub profile: Profile,
    /// The archives by suite.
    pub archives: BTreeMap<&'static str, FixtureArchive>,
    /// SHA-256 and size of each file, by its path below its source.
    pub files: BTreeMap<String, (String, u64)>,
    /// Each image by its name.
    pub images: BTreeMap<String, Served>,
}

const SUITES: [(&str, &str); 2] = [("debian", "trixie"), ("debian-security", "trixie-security")];
/// The package that has an update in the security archive.
pub const UPDATED: &str = "linux-image-amd64";

impl Upstream {
    /// Serves what the profile in `shipped` names.
    pub fn serve(shipped: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("profile");
        let extended = ["minimal", "minimal-amd64", "minimal-arm64"];
        let extended = extended.map(|name| (shipped.join("..").join(name), name));
        let mut trusted = 0;
        for (from, to) in extended
            .into_iter()
            .chain([(shipped.to_owned(), "profile")])
        {
            fs::create_dir_all(dir.path().join(to)).unwrap();
            let mut text = fs::read_to_string(from.join("profile.yaml")).unwrap();
            for (_, suite) in SUITES {
                // Only whom to trust, and since when, differs from what is shipped.
                let shipped = format!("debian: {{suite: {suite}, ");
                let trust = format!("{shipped}keyring: ../{suite}.pgp, maxAgeDays: 36500, ");
                trusted += text.matches(&shipped).count();
                text = text.replace(&shipped, &trust);
            }
            fs::write(dir.path().join(to).join("profile.yaml"), text).unwrap();
        }
        assert_eq!(trusted, SUITES.len());
        let profile = profile::read(&folder).unwrap();
        let mut upstream = Upstream {
            site: Server::start(),
            hub: Server::start(),
            dir,
            profile,
            archives: BTreeMap::new(),
            files: BTreeMap::new(),
            images: BTreeMap::new(),
        };
        upstream.serve_archives();
        upstream.serve_files();
        upstream.serve_images();
        upstream
    }

    /// Where the copy of the profile is.
    pub fn folder(&self) -> PathBuf {
        self.profile.dir.clone()
    }

    /// `--source NAME=URL` for each source and registry.
    pub fn sources(&self) -> Vec<String> {
        let sources = self.profile.sources.keys();
        let mut places: Vec<_> = sources
            .map(|name| format!("{name}={}", self.site.url(&format!("/{name}"))))
            .collect();
        let registries: BTreeSet<String> = self.references().map(|image| image.registry).collect();
        places.extend(
            registries
                .iter()
                .map(|host| format!("{host}={}", self.registry(host).url(""))),
        );
        places
            .into_iter()
            .flat_map(|place| ["--source".to_owned(), place])
            .collect()
    }

    /// The server of a registry.
    pub fn registry(&self, host: &str) -> &Server {
        if host == "docker.io" {
            &self.hub
        } else {
            &self.site
        }
    }

    /// The images' references.
    pub fn references(&self) -> impl Iterator<Item = Reference> {
        let parse = |image: profile::file::ImageEntry| Reference::parse(&image.name).unwrap();
        let images = self.profile.parts(Arch::Amd64).images;
        images.into_iter().map(parse)
    }

    /// What the profile says, by architecture.
    fn parts(&self) -> Vec<(Arch, Parts)> {
        let arch = self.profile.arch.iter();
        arch.map(|arch| (*arch, self.profile.parts(*arch)))
            .collect()
    }

    fn serve_archives(&mut self) {
        let (mut debs, mut updates) = (Vec::new(), Vec::new());
        for (arch, parts) in self.parts() {
            let deb = |name: &String| {
                Deb::new(name, "1").architecture(arch.as_str()).file(
                    &format!("/usr/share/{name}"),
                    name.as_str(),
                    0o644,
                )
            };
            let mut all = parts.packages.iter().map(deb);
            // One more that nobody asked for by name.
            let last = all.next_back().unwrap();
            debs.push(last.field("Depends", "needed-by-the-last"));
            debs.extend(all);
            let update = Deb::new(&UPDATED.replace("amd64", arch.as_str()), "2");
            let update = update.architecture(arch.as_str());
            updates.push(update.file("/usr/share/update", "new", 0o644));
        }
        debs.push(Deb::new("needed-by-the-last", "1").architecture("all"));
        for ((source, suite), debs) in SUITES.into_iter().zip([debs, updates]) {
            let archive = ArchivePlan::new(suite, Date::from_unix(DATE), debs)
                .build()
                .unwrap();
            for (path, bytes) in &archive.files {
                self.site.put(&format!("/{source}/{path}"), bytes.clone());
            }
            fs::write(
                self.dir.path().join(format!("{suite}.pgp")),
                &archive.keyring,
            )
            .unwrap();
            self.archives.insert(suite, archive);
        }
    }

    fn serve_files(&mut self) {
        let mut members: BTreeMap<(String, String, Option<String>), Vec<String>> = BTreeMap::new();
        for (arch, parts) in self.parts() {
            let expand = |text: &String| {
                text.replace("{{ version }}", &self.profile.kubernetes)
                    .replace("{{ arch }}", arch.as_str())
            };
            for file in &parts.files {
                let key = (
                    file.from.clone(),
                    expand(&file.path),
                    file.sums.as_ref().map(expand),
                );
                members
                    .entry(key)
                    .or_default()
                    .extend(file.member.as_ref().map(expand));
            }
        }
        let mut lists: BTreeMap<String, String> = BTreeMap::new();
        for ((source, path, sums), members) in members {
            let bytes = if members.is_empty() {
                format!("program of {path}").into_bytes()
            } else {
                archive(&members)
            };
            let sha256 = digest::sha256(&bytes);
            let (name, size) = (path.rsplit('/').next().unwrap(), bytes.len() as u64);
            match sums {
                // Kubernetes publishes a bare digest for each file, the others a list.
                None => {
                    let sums = format!("/{source}/{path}.sha256");
                    self.site.put(&sums, sha256.clone());
                }
                Some(sums) => {
                    let other = digest::sha256(b"another system");
                    let list = lists.entry(format!("/{source}/{sums}")).or_default();
                    list.push_str(&format!("{other}  other-{name}\n{sha256}  {name}\n"));
                }
            }
            if source == "github" {
                self.site.put(&format!("/objects/{sha256}"), bytes);
                let elsewhere = Answer::Redirect(self.site.url(&format!("/objects/{sha256}")));
                self.site.answer(&format!("/{source}/{path}"), elsewhere);
            } else {
                self.site.put(&format!("/{source}/{path}"), bytes);
            }
            self.files.insert(path, (sha256, size));
        }
        for (path, list) in lists {
            self.site.put(&path, list);
        }
    }

    fn serve_images(&mut self) {
        self.hub.guard();
        for image in self.references().collect::<Vec<_>>() {
            let family = if image.registry == "docker.io" {
                registry::DOCKER
            } else {
                registry::OCI
            };
            let server = self.registry(&image.registry);
            let served = registry::serve(server, &image, &family, "amd64");
            self.images.insert(image.to_string(), served);
        }
    }
}

/// A `.tar.gz` with a small program for each of `members`, and a file that nobody asks for.
fn archive(members: &[String]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for member in members.iter().map(String::as_str).chain(["README.md"]) {
        let bytes = format!("program {member}");
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, member, bytes.as_bytes())
            .unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}
