//! The real apt in a root of its own: own lists, cache, preferences and an empty dpkg status, so that nothing of
//! the host's takes part.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What apt would install: versions by package name.
pub(crate) type Installed = BTreeMap<String, String>;

/// A private root of apt.
pub(crate) struct Apt {
    root: PathBuf,
}

impl Apt {
    /// Makes the root in `root`, and reads the indices that `sources`, lines of `sources.list`, name.
    pub(crate) fn new(root: &Path, architecture: &str, sources: &str, preferences: &str) -> Self {
        for dir in [
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/sources.list.d",
            "etc/trusted.gpg.d",
            "state/lists/partial",
            "cache/archives/partial",
            "log",
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("status"), "").unwrap();
        fs::write(root.join("etc/sources.list"), sources).unwrap();
        fs::write(root.join("etc/preferences"), preferences).unwrap();
        let dir = root.display();
        let configuration = format!(
            "Dir::Etc \"{dir}/etc\";\n\
             Dir::Etc::main \"apt.conf\";\n\
             Dir::Etc::parts \"{dir}/etc/apt.conf.d\";\n\
             Dir::Etc::sourcelist \"{dir}/etc/sources.list\";\n\
             Dir::Etc::sourceparts \"{dir}/etc/sources.list.d\";\n\
             Dir::Etc::preferences \"{dir}/etc/preferences\";\n\
             Dir::Etc::preferencesparts \"{dir}/etc/preferences.d\";\n\
             Dir::Etc::trustedparts \"{dir}/etc/trusted.gpg.d\";\n\
             Dir::State \"{dir}/state\";\n\
             Dir::State::status \"{dir}/status\";\n\
             Dir::Cache \"{dir}/cache\";\n\
             Dir::Log \"{dir}/log\";\n\
             APT::Architecture \"{architecture}\";\n\
             APT::Architectures {{ \"{architecture}\"; }};\n\
             APT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n"
        );
        fs::write(root.join("apt.conf"), configuration).unwrap();
        let apt = Apt {
            root: root.to_owned(),
        };
        if let Err(error) = apt.run(&["update", "-q", "--error-on=any"]) {
            panic!("apt-get update: {error}");
        }
        apt
    }

    /// What `apt-get -s install --no-install-recommends` of `names` would install, or what it says instead.
    pub(crate) fn install(&self, names: &[&str]) -> Result<Installed, String> {
        let mut arguments = vec!["-s", "install", "--no-install-recommends", "-y", "-q"];
        arguments.extend(names);
        let text = self.run(&arguments)?;
        let line = |line: &str| {
            let mut words = line.strip_prefix("Inst ")?.split_whitespace();
            let name = words.next()?.split(':').next()?.to_owned();
            let version = words.next()?.strip_prefix('(')?.to_owned();
            Some((name, version))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut apt = Command::new("apt-get");
        apt.args(arguments)
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .env("LC_ALL", "C");
        let output = apt.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}
