//! Bakes images of the demo profile, for tests that need another than the one they were given.

use crate::command::Tool;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a bake may take on a busy host.
const LIMIT: Duration = Duration::from_secs(600);

/// What a bake is made with.
#[derive(Clone, Debug)]
pub struct Bakery {
    /// `seedbed`.
    pub seedbed: PathBuf,
    /// `firstboot`.
    pub firstboot: PathBuf,
    /// The demo profile's folder, with its lock.
    pub profile: PathBuf,
    /// The store that holds what the lock names.
    pub store: PathBuf,
}

impl Bakery {
    /// What `SEEDBED_BIN`, `SEEDBED_FIRSTBOOT` and `SEEDBED_STORE` name; without the last, the user's own store.
    pub fn read() -> anyhow::Result<Self> {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let given = |name: &str| path(name).with_context(|| format!("{name} is not set"));
        let cache = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
        let store = path("SEEDBED_STORE").or_else(|| Some(cache?.join("seedbed/store")));
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        Ok(Bakery {
            seedbed: given("SEEDBED_BIN")?,
            firstboot: given("SEEDBED_FIRSTBOOT")?,
            profile: repository
                .context("the tests are in no repository")?
                .join("profiles/demo"),
            store: store.context("none of SEEDBED_STORE, XDG_CACHE_HOME, and HOME is set")?,
        })
    }

    /// Locks the profile, whose text has changed, and fetches what is new: from the mirror that apt uses, and from the
    /// folder that `SEEDBED_KUBE` names.
    pub fn lock(&self) -> anyhow::Result<()> {
        let kube = std::env::var("SEEDBED_KUBE").context("SEEDBED_KUBE is not set")?;
        for command in ["lock", "fetch"] {
            let tool = Tool::new(&self.seedbed).limit(LIMIT).arg(command);
            let tool = tool.arg(&self.profile).args(["--arch", "amd64"]);
            let tool = tool
                .arg("--source")
                .arg(format!("kubernetes=file://{kube}"));
            tool.arg("--store").arg(&self.store).run()?;
        }
        Ok(())
    }

    /// Bakes into the folder `out` with these further options, and gives the one result that ends so.
    pub fn bake(&self, out: &Path, options: &[&str], ending: &str) -> anyhow::Result<PathBuf> {
        Tool::new(&self.seedbed)
            .limit(LIMIT)
            .arg("build")
            .arg(&self.profile)
            .args(["--arch", "amd64", "--no-cache"])
            .arg("--out")
            .arg(out)
            .arg("--firstboot")
            .arg(&self.firstboot)
            .arg("--store")
            .arg(&self.store)
            .args(options.iter().copied())
            .run()?;
        let reading = || format!("looking into {}", out.display());
        for entry in out.read_dir().with_context(reading)? {
            let path = entry.with_context(reading)?.path();
            if path.to_string_lossy().ends_with(ending) {
                return Ok(path);
            }
        }
        bail!("no result in {} ends in {ending}", out.display())
    }
}
