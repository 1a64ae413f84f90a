//! Images from registries: a real server with and without TLS and logins, and one that fails in every way.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;
#[allow(dead_code, unreachable_pub)]
#[path = "support/mod.rs"]
mod support;

use assert_cmd::Command;
use base64::Engine;
use builder::images::reference::Reference;
use builder::lock::{self, Lock, PulledImage};
use builder::{profile, store::Store};
use contract::partition::Arch;
use loopback::command::{refuse, succeed};
use loopback::docker_registry::{DockerRegistry, PASSWORD, Setup, USER};
use loopback::registry::{self, OCI, Served, blob_path, manifest_path};
use loopback::server::Server;
use loopback::small::Small;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

const HOST: &str = "registry.test";

/// The small profile with one more image, and what stands at its registry.
struct World {
    small: Small,
    image: Reference,
    /// For amd64 and arm64.
    served: [Served; 2],
    /// Where the registry is.
    url: String,
}

impl World {
    /// The image is at the small server.
    fn new() -> Self {
        World::with("registry.test/team/app:v1")
    }

    fn with(name: &str) -> Self {
        let small = Small::new();
        let image = Reference::parse(name).unwrap();
        let served = registry::serve_both(&small.server, &image, &OCI, "amd64");
        add_image(&small, &format!("- name: {name}"));
        let url = small.server.url("");
        World {
            small,
            image,
            served,
            url,
        }
    }

    /// The image is at a real registry, too, and that is where it is looked for.
    fn at(mut self, registry: &DockerRegistry) -> Self {
        let served: Vec<&Served> = self.served.iter().collect();
        registry.copy(&self.small.server, &self.image, &served);
        self.url = registry.url();
        self
    }

    fn command(&self, what: &str) -> Command {
        let mut command = self.small.command(what);
        command.args(["--source", &format!("{HOST}={}", self.url)]);
        command
    }

    fn locked(&self) -> PulledImage {
        pulled(&self.lock(), &self.image.to_string())
    }

    fn lock(&self) -> Lock {
        lock::read(&profile::read(&self.small.profile()).unwrap()).unwrap()
    }

    fn tag_path(&self) -> String {
        format!("/v2/{}/manifests/{}", self.image.repository, self.image.tag)
    }

    /// Locks and fetches, and every blob is there and right.
    fn comes(&self) -> PulledImage {
        succeed(&mut self.command("lock"));
        succeed(&mut self.command("fetch"));
        let locked = self.locked();
        assert_eq!(locked.manifest.sha256, self.served[0].manifest);
        let store = Store::open(&self.small.dir.path().join(".cache/seedbed/store")).unwrap();
        for blob in locked.all_blobs() {
            store.open_verified(&blob.sha256, "a blob").unwrap();
        }
        locked
    }
}

fn pulled(lock: &Lock, name: &str) -> PulledImage {
    let mut images = lock.arch[&Arch::Amd64].images.iter();
    let image = images.find(|image| image.name == name).unwrap();
    image.pulled.clone().unwrap()
}

/// One more entry of `images:`, its first line with the dash.
fn add_image(small: &Small, entry: &str) {
    small.edit("images:\n", &format!("images:\n  {entry}\n"));
}

/// A login in the form of Docker's file.
fn auths(host: &str, user: &str, password: &str) -> String {
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{auth}\"}}}}}}")
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Neither the secrets nor their base64 forms are in what was said, or in any file below `dir` but those named.
fn no_secret(dir: &Path, said: &str, secrets: &[&str], but: &[&str]) {
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let mut forms: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    forms.extend(secrets.iter().map(|secret| base64(secret)));
    forms.extend(
        secrets
            .iter()
            .map(|secret| base64(&format!("{USER}:{secret}"))),
    );
    let mut todo = vec![dir.to_owned()];
    let mut texts = vec![("what was said".to_owned(), said.as_bytes().to_vec())];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                todo.push(path);
            } else if !but.contains(&name.as_str()) {
                texts.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    for (what, bytes) in texts {
        for form in &forms {
            let found = bytes
                .windows(form.len())
                .any(|window| window == form.as_bytes());
            assert!(!found, "a secret is in {what}");
        }
    }
}

fn everything_said(command: &mut Command) -> (bool, String) {
    let output = command.env("SEEDBED_LOG", "trace").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// The server, or a word that it is not there.
fn docker_registry(test: &str, setup: Setup) -> Option<DockerRegistry> {
    let started = DockerRegistry::start(setup);
    if started.is_none() {
        support::skip(test, "docker-registry is not installed");
    }
    started
}

/// R012, R013, R033: the distribution project's own server, an index, and a pin to it.
#[test]
fn an_index_of_a_real_registry_is_pulled_and_pinned() {
    let test = "an_index_of_a_real_registry_is_pulled_and_pinned";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let world = World::new().at(&registry);
    let locked = world.comes();
    assert_eq!((locked.index, locked.name), (None, None));

    let index = builder::digest::sha256(&world.small.server.bytes(&world.tag_path()));
    let pinned = format!("{}@sha256:{index}", world.image);
    world.small.edit("registry.test/team/app:v1", &pinned);
    succeed(&mut world.command("lock"));
    let locked = pulled(&world.lock(), &pinned);
    assert_eq!(locked.index.unwrap().sha256, index);
    assert_eq!(locked.manifest.sha256, world.served[0].manifest);

    // Another digest is another image, whatever the tag says.
    world.small.edit(&index, &"0".repeat(64));
    refuse(&mut world.command("lock"), &[HOST, "404"]);
}

/// R013: TLS with an authority of one's own, and every place where a login may be.
#[test]
fn a_login_opens_a_real_registry_and_shows_nowhere() {
    let test = "a_login_opens_a_real_registry_and_shows_nowhere";
    let Some(registry) = docker_registry(
        test,
        Setup {
            tls: true,
            login: true,
            ..Setup::default()
        },
    ) else {
        return;
    };
    let world = World::new().at(&registry);
    let home = world.small.dir.path().to_owned();
    let lock = || {
        let mut command = world.command("lock");
        command.args(["--store", home.join("store").to_str().unwrap()]);
        command
    };
    // Nobody knows the authority.
    refuse(&mut lock(), &[HOST, "certificate"]);
    fs::write(
        world.small.profile().join("ca.pem"),
        registry.authority.as_ref().unwrap(),
    )
    .unwrap();
    world.small.edit(
        "  files: {}\n",
        "  files: {}\n  registry.test: {ca: ca.pem}\n",
    );
    // Nobody is logged in.
    refuse(
        &mut lock(),
        &["wants a user name and a password", "REGISTRY_AUTH_FILE"],
    );

    let host = registry.host();
    let good = auths(host, USER, PASSWORD);
    let file = home.join("elsewhere/auth.json");
    let docker = home.join(".docker/config.json");
    put(&docker, &auths(host, USER, "wrong-Passw0rd"));
    let said = refuse(&mut lock(), &["does not let", "config.json", "401"]);
    assert!(!said.contains("wrong-Passw0rd"), "{said}");

    put(&file, &good);
    let (done, mut all) = everything_said(lock().env("REGISTRY_AUTH_FILE", &file));
    assert!(done, "{all}");
    put(&docker, &good);
    let (done, said) = everything_said(&mut lock());
    assert!(done, "{said}");
    all += &said;
    let mut fetch = world.command("fetch");
    let (done, said) = everything_said(&mut fetch);
    assert!(done, "{said}");
    all += &said;
    // A file that was named has to be there.
    refuse(
        lock().env("REGISTRY_AUTH_FILE", home.join("none")),
        &["none"],
    );
    no_secret(&home, &all, &[PASSWORD], &["auth.json", "config.json"]);
}

/// R013: helpers keep logins in keychains; they run when a registry asks and never before.
#[test]
fn a_credential_helper_is_asked_when_a_registry_asks() {
    let test = "a_credential_helper_is_asked_when_a_registry_asks";
    let Some(registry) = docker_registry(
        test,
        Setup {
            login: true,
            ..Setup::default()
        },
    ) else {
        return;
    };
    let world = World::new().at(&registry);
    let home = world.small.dir.path();
    let program = home.join("bin/docker-credential-fixture");
    let script = format!(
        "#!/bin/sh\nread server\necho \"$1 $server\" >>{}/asked\n\
         [ \"$server\" = {} ] || {{ echo credentials not found in native keychain; exit 1; }}\n\
         echo '{{\"ServerURL\": \"x\", \"Username\": \"{USER}\", \"Secret\": \"{PASSWORD}\"}}'\n",
        home.display(),
        registry.host()
    );
    put(&program, &script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", home.join("bin").display());
    let config = home.join(".docker/config.json");
    let text = format!(
        "{{\"credHelpers\": {{\"{}\": \"fixture\"}}}}",
        registry.host()
    );
    for text in [text.as_str(), "{\"credsStore\": \"fixture\"}"] {
        put(&config, text);
        let (done, said) = everything_said(world.command("lock").env("PATH", &path));
        assert!(done, "{said}");
        no_secret(home, &said, &[PASSWORD], &["docker-credential-fixture"]);
        let asked = fs::read_to_string(home.join("asked")).unwrap();
        assert_eq!(
            asked.lines().next().unwrap(),
            format!("get {}", registry.host())
        );
        fs::remove_file(home.join("asked")).unwrap();
    }
    // What is in the store is not asked for again, so that nobody is woken.
    succeed(world.command("fetch").env("PATH", &path));
    fs::remove_file(home.join("asked")).unwrap();
    succeed(world.command("fetch").env("PATH", &path));
    assert!(!home.join("asked").exists());

    put(&config, "{\"credsStore\": \"../fixture\"}");
    refuse(
        world.command("lock").env("PATH", &path),
        &["no name of a program"],
    );
    put(&config, "{\"credsStore\": \"absent\"}");
    refuse(
        world.command("lock").env("PATH", &path),
        &["docker-credential-absent", "PATH"],
    );
    put(&config, "{\"credsStore\": \"fixture\"}");
    put(&program, "#!/bin/sh\necho Secret-of-helper; exit 3\n");
    let said = refuse(
        world.command("lock").env("PATH", &path),
        &["fixture", "to see why"],
    );
    assert!(!said.contains("Secret-of-helper"), "{said}");
}

/// R013: what Docker calls an identity token is exchanged at the token server, by POST.
#[test]
fn an_identity_token_is_exchanged_for_another() {
    let world = World::new();
    world.small.server.guard();
    world.small.server.want_refresh_token("Identity-Secret");
    let host = world.url.strip_prefix("http://").unwrap().to_owned();
    let config = world.small.dir.path().join(".docker/config.json");
    let login =
        |token: &str| format!("{{\"auths\": {{\"{host}\": {{\"identitytoken\": \"{token}\"}}}}}}");
    put(&config, &login("Other-Secret"));
    let said = refuse(
        &mut world.command("lock"),
        &["token server does not accept it"],
    );
    assert!(!said.contains("Other-Secret"), "{said}");
    put(&config, &login("Identity-Secret"));
    world.small.server.take_log();
    let (done, said) = everything_said(&mut world.command("lock"));
    assert!(done, "{said}");
    let asked = world.small.server.take_log();
    let tokens: Vec<_> = asked
        .iter()
        .filter(|asked| asked.path == "/token")
        .collect();
    assert_eq!(tokens.len(), 1, "one token is enough for one repository");
    assert_eq!(tokens[0].method, "POST");
    assert!(
        tokens[0].body.contains("grant_type=refresh_token"),
        "{}",
        tokens[0].body
    );
    no_secret(
        world.small.dir.path(),
        &said,
        &["Identity-Secret", "fixture-token"],
        &["config.json"],
    );
}

/// R013: a login is for its registry alone, and not for whom its token server leads to, or for where a blob is.
#[test]
fn a_login_is_not_carried_on() {
    let world = World::new();
    let server = &world.small.server;
    server.guard();
    server.want_refresh_token("Identity-Secret");
    let host = world.url.strip_prefix("http://").unwrap();
    let config = world.small.dir.path().join(".docker/config.json");
    let login =
        format!("{{\"auths\": {{\"{host}\": {{\"identitytoken\": \"Identity-Secret\"}}}}}}");
    put(&config, &login);
    let other = Server::start();
    let lead = |path: &str, to: &str| {
        let location = format!("Location: {}\r\n", other.url(to));
        server.fail(path, "307 Temporary Redirect", &location, usize::MAX);
    };
    lead("/token", "/token");
    refuse(&mut world.command("lock"), &[HOST, "another server"]);
    assert!(other.take_log().is_empty());

    server.fail("/token", "", "", 0);
    lead(
        &blob_path(&world.image, &world.served[0].blobs[0].0),
        "/blob",
    );
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"{}\",service=\"other\"\r\n",
        other.url("/token")
    );
    other.fail("/blob", "401 Unauthorized", &challenge, usize::MAX);
    refuse(&mut world.command("lock"), &[HOST, "401"]);
    let asked = other.take_log();
    assert!(!asked.is_empty());
    for asked in asked {
        assert_eq!((asked.path.as_str(), asked.authorization), ("/blob", None));
    }
}

/// A lock may come from anywhere: what it calls a digest is one, or the lock is refused.
#[test]
fn a_lock_names_no_files() {
    let world = World::new();
    world.comes();
    let path = world.small.lock_path();
    let text = fs::read_to_string(&path).unwrap();
    let victim = world.small.dir.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    fs::write(
        &path,
        text.replace(&world.served[0].manifest, "../../../../victim"),
    )
    .unwrap();
    let words = ["profile.lock", "no SHA-256", "victim"];
    refuse(&mut world.command("fetch"), &words);
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
}

/// R124: a registry that is asked too much says how long to wait.
#[test]
fn a_busy_registry_is_waited_for_as_long_as_it_asks() {
    let world = World::new();
    let server = &world.small.server;
    let busy = "429 Too Many Requests";
    server.fail(&world.tag_path(), busy, "Retry-After: 2\r\n", 1);
    let start = Instant::now();
    world.comes();
    assert!(start.elapsed() >= Duration::from_secs(2));

    server.fail(&world.tag_path(), busy, "Retry-After: 3600\r\n", 1);
    let words = [HOST, "429", "asks to wait 3600 s", "try again later"];
    let start = Instant::now();
    refuse(&mut world.command("lock"), &words);
    assert!(start.elapsed() < Duration::from_secs(60));
}

/// R019, R124: what passes is tried again, what does not is said.
#[test]
fn a_failing_registry_is_tried_a_few_times() {
    let world = World::new();
    let server = &world.small.server;
    let layer = blob_path(&world.image, &world.served[0].blobs[1].0);
    server.fail(&world.tag_path(), "503 Service Unavailable", "", 1);
    server.fail(&layer, "500 Internal Server Error", "", 2);
    world.comes();

    server.take_log();
    server.fail(&world.tag_path(), "502 Bad Gateway", "", usize::MAX);
    refuse(&mut world.command("lock"), &[HOST, "502"]);
    let asked = server.take_log();
    let tries = asked
        .iter()
        .filter(|asked| asked.path == world.tag_path())
        .count();
    assert_eq!(tries, 4);
    // A refusal is none that passes.
    server.fail(&world.tag_path(), "400 Bad Request", "", usize::MAX);
    server.take_log();
    refuse(&mut world.command("lock"), &[HOST, "400"]);
    let asked = server.take_log();
    assert_eq!(
        asked
            .iter()
            .filter(|asked| asked.path == world.tag_path())
            .count(),
        1
    );
}

/// R019: a server that falls silent is given up, and what came of a layer is kept.
#[test]
fn a_silent_registry_is_given_up_and_resumed() {
    use builder::lock::LockedBlob;
    use builder::registry::Registry;
    use builder::registry::credentials::Credentials;
    use builder::transport::{Limits, Transport, access::Access};
    let world = World::new();
    let limits = Limits {
        idle: Duration::from_millis(400),
        pause: Duration::from_millis(10),
    };
    let transport = Transport::with(Access::default(), limits).unwrap();
    let registry = Registry::open(&world.url, &transport, &Credentials::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (sha256, bytes) = &world.served[0].blobs[1];
    let blob = LockedBlob {
        media_type: String::new(),
        size: bytes.len() as u64,
        sha256: sha256.clone(),
    };
    let path = blob_path(&world.image, sha256);
    let server = &world.small.server;
    let fetch = || registry.fetch_blob(&world.image.repository, &blob, &store, "the layer", None);
    server.stall(&path, usize::MAX);
    let start = Instant::now();
    let error = format!("{:#}", fetch().unwrap_err());
    assert!(
        error.contains("fetching the layer") && error.contains("timed out"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(20));
    server.stall(&path, 1);
    server.take_log();
    fetch().unwrap();
    let asked = server.take_log();
    let ranges: Vec<_> = asked
        .iter()
        .map(|asked| asked.range.clone().unwrap())
        .collect();
    assert_eq!(
        ranges,
        ["bytes=4-", "bytes=5-"],
        "each try goes on where the last one stopped"
    );
    store.open_verified(sha256, "the layer").unwrap();
}

/// R022, R033: what a registry sends is held to the digest that was asked for.
#[test]
fn other_bytes_than_asked_for_are_refused() {
    let world = World::new();
    let server = &world.small.server;
    let path = manifest_path(&world.image, &world.served[0].manifest);
    let good = server.bytes(&path);
    let media_type = server.media_type(&path);
    let mut evil = good.clone();
    evil.push(b' ');
    server.answer(&path, loopback::server::Answer::File(evil, media_type));
    let digest = &world.served[0].manifest;
    refuse(&mut world.command("lock"), &[HOST, "other bytes", digest]);
    assert!(!world.small.lock_path().exists());
}

/// R124: layers come side by side, and never more than six from one registry.
#[test]
fn layers_come_in_parallel() {
    let world = World::new();
    for name in ["b", "c", "d", "e"] {
        let name = format!("registry.test/team/{name}:v1");
        let image = Reference::parse(&name).unwrap();
        registry::serve(&world.small.server, &image, &OCI, "amd64");
        add_image(&world.small, &format!("- name: {name}"));
    }
    succeed(&mut world.command("lock"));
    let lock = fs::read(world.small.lock_path()).unwrap();
    let server = &world.small.server;
    server.delay(Duration::from_millis(150));
    succeed(&mut world.command("fetch"));
    let busiest = server.busiest();
    assert!((2..=6).contains(&busiest), "{busiest} at once");
    server.delay(Duration::ZERO);
    succeed(&mut world.command("lock"));
    assert_eq!(fs::read(world.small.lock_path()).unwrap(), lock);
}

/// R033: the four ways to tell architectures apart, and the config has the last word.
#[test]
fn names_by_architecture_are_found_and_machines_checked() {
    let small = Small::new();
    let url = small.server.url("");
    let command = || {
        let mut command = small.command("lock");
        command.args(["--source", &format!("{HOST}={url}")]);
        command
    };
    let serve = |name: &str, machine: &str| {
        registry::serve_single(
            &small.server,
            &Reference::parse(name).unwrap(),
            &OCI,
            machine,
        )
    };
    let entries = [
        ("none", "a:v1", "a:v1"),
        ("name_suffix", "b:v1", "b-amd64:v1"),
        ("tag_suffix", "c:v1", "c:v1-amd64"),
        ("tag_suffix_non_default", "d:v1", "d:v1"),
    ];
    for (form, name, at) in entries {
        serve(&format!("{HOST}/{at}"), "amd64");
        add_image(
            &small,
            &format!("- {{name: {HOST}/{name}, archForm: {form}}}"),
        );
    }
    // What has the plain name is for another machine, and what has the suffix for this one.
    serve(&format!("{HOST}/c:v1"), "arm64");
    // Many registries do not say whether there is something that they show nobody.
    small
        .server
        .fail("/v2/b/manifests/v1", "403 Forbidden", "", usize::MAX);
    succeed(&mut command());
    let lock = lock::read(&profile::read(&small.profile()).unwrap()).unwrap();
    for (form, name, at) in entries {
        let found = pulled(&lock, &format!("{HOST}/{name}")).name;
        let expected = (name != at).then(|| format!("{HOST}/{at}"));
        assert_eq!(found, expected, "{form}");
    }
    serve(&format!("{HOST}/a:v1"), "arm64");
    let words = ["registry.test/a:v1", "linux/arm64", "not for linux/amd64"];
    refuse(&mut command(), &words);
}

/// R021: images of a registry that the profile names have to be signed with its key.
#[test]
fn images_are_signed_where_the_profile_asks() {
    use p256::ecdsa::signature::Signer;
    use p256::pkcs8::EncodePublicKey;
    let world = World::new();
    let key = p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
    let public = p256::PublicKey::from(*key.verifying_key());
    let pem = public.to_public_key_pem(Default::default()).unwrap();
    fs::write(world.small.profile().join("cosign.pub"), &pem).unwrap();
    let text = world.small.text();
    let policy = "signatures:\n  - {images: registry.test/team, key: cosign.pub}\n";
    world.small.write(&(text.clone() + policy));
    let words = ["registry.test/team/app:v1", "no signature", "cosign.pub"];
    refuse(&mut world.command("lock"), &words);

    let index = builder::digest::sha256(&world.small.server.bytes(&world.tag_path()));
    let payload = |digest: &str| {
        format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"registry.test/team/app\"}},\
             \"image\":{{\"docker-manifest-digest\":\"sha256:{digest}\"}},\
             \"type\":\"cosign container image signature\"}},\"optional\":{{}}}}"
        )
    };
    let sign = |key: &p256::ecdsa::SigningKey, payload: &str| {
        let signature: p256::ecdsa::Signature = key.sign(payload.as_bytes());
        base64::engine::general_purpose::STANDARD.encode(signature.to_der())
    };
    let serve = |payload: &str, signature: &str| {
        let server = &world.small.server;
        registry::serve_signature(server, &world.image, &index, payload, signature);
    };
    let other = p256::ecdsa::SigningKey::from_slice(&[8; 32]).unwrap();
    let good = payload(&index);
    serve(&good, &sign(&other, &good));
    refuse(&mut world.command("lock"), &["none of its 1 signatures"]);
    let wrong = payload(&"0".repeat(64));
    serve(&wrong, &sign(&key, &wrong));
    refuse(&mut world.command("lock"), &["none of its 1 signatures"]);
    serve(&good, &sign(&key, &good));
    let locked = world.comes();
    assert_eq!(
        locked.signed_by.unwrap(),
        builder::digest::sha256(pem.as_bytes())
    );
    // The prefix is one of whole components.
    world
        .small
        .write(&(text + &policy.replace("/team", "/tea")));
    succeed(&mut world.command("lock"));
    assert_eq!(world.locked().signed_by, None);
}
