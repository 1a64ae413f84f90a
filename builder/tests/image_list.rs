//! The list of images: from kubeadm, manifests and charts, from layouts and archives, and how it is shown.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use assert_cmd::Command;
use builder::digest;
use builder::images::reference::Reference;
use builder::lock::{self, PulledImage};
use builder::profile;
use contract::partition::Arch;
use loopback::command::{refuse, succeed};
use loopback::registry::{self, OCI, manifest_path};
use loopback::small::Small;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const HOST: &str = "registry.test";

fn command(small: &Small, what: &str) -> Command {
    let mut command = small.command(what);
    command.args(["--source", &format!("{HOST}={}", small.server.url(""))]);
    command
}

fn serve(small: &Small, name: &str) {
    registry::serve(
        &small.server,
        &Reference::parse(name).unwrap(),
        &OCI,
        "amd64",
    );
}

fn put(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn pulled(small: &Small, name: &str) -> PulledImage {
    let lock = lock::read(&profile::read(&small.profile()).unwrap()).unwrap();
    let mut images = lock.arch[&Arch::Amd64].images.iter();
    images
        .find(|image| image.name == name)
        .unwrap()
        .pulled
        .clone()
        .unwrap()
}

/// `seedbed images --json`: each image with what names it.
fn listed(small: &Small) -> Vec<(String, Vec<String>)> {
    let text = succeed(small.command("images").arg("--json"));
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |row: &Value| {
        let origins = row["origins"].as_array().unwrap().iter().map(text);
        (text(&row["name"]), origins.collect())
    };
    rows.iter().map(row).collect()
}

const CHART: [(&str, &str); 8] = [
    (
        "Chart.yaml",
        "apiVersion: v2\nname: app\nversion: 1.2.3\nappVersion: \"4.5\"\ndependencies:\n\
         - {name: cache, version: 1.0.0, condition: cache.enabled}\n\
         - {name: unused, version: 1.0.0, condition: unused.enabled}\n",
    ),
    (
        "values.yaml",
        "global: {registry: registry.test}\nimage: {repository: team/app, tag: \"\"}\n\
         sidecars: [{name: a, image: registry.test/team/sidecar:1}]\n\
         cache: {enabled: true, tag: outer}\nunused: {enabled: false}\n\
         text: \"{{ .Values.global.registry }}/team/from-tpl:1\"\n",
    ),
    (
        "templates/_helpers.tpl",
        "{{- define \"app.image\" -}}\n\
         {{- $registry := .Values.global.registry | default \"docker.io\" -}}\n\
         {{- printf \"%s/%s:%s\" $registry .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}\n\
         {{- end -}}\n",
    ),
    (
        "templates/app.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}-{{ .Chart.Name }}\n\
         spec:\n  template:\n    spec:\n      containers:\n        - name: app\n          image: {{ include \"app.image\" . | quote }}\n\
        {{- range .Values.sidecars }}\n        - {{ toYaml . | nindent 10 | trim }}\n        {{- end }}\n\
        {{- if semverCompare \">=1.30-0\" .Capabilities.KubeVersion.Version }}\n      initContainers:\n        - image: {{ tpl .Values.text $ }}\n{{- end }}\n",
    ),
    (
        "templates/monitor.yaml",
        "{{- if .Capabilities.APIVersions.Has \"monitoring.coreos.com/v1\" }}\nkind: Pod\n\
         spec: {containers: [{image: registry.test/team/monitor:1}]}\n{{- end }}\n",
    ),
    (
        "charts/cache/Chart.yaml",
        "apiVersion: v2\nname: cache\nversion: 1.0.0\n",
    ),
    (
        "charts/cache/templates/cache.yaml",
        "kind: Pod\nspec:\n  containers:\n    - image: {{ .Values.global.registry }}/team/cache:{{ .Values.tag }}\n",
    ),
    (
        "charts/unused/Chart.yaml",
        "apiVersion: v2\nname: unused\nversion: 1.0.0\n",
    ),
];

/// The chart as `helm package` packs it.
fn packed() -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (path, text) in CHART {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, format!("app/{path}"), text.as_bytes())
            .unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// R024, R032: nobody keeps the list by hand, and each line says what asks for it.
#[test]
fn the_list_is_computed_and_says_what_names_each_image() {
    let small = Small::new();
    small.edit(
        "  pause: registry.example/pause:1\n",
        "  pause: registry.example/pause:1\n  images: kubeadm\n",
    );
    small.write(
        &(small.text() + "manifests: [cni.yaml]\ncharts: [{chart: chart, values: [mine.yaml]}]\n"),
    );
    let profile = small.profile();
    put(
        &profile.join("cni.yaml"),
        "kind: DaemonSet\nspec:\n  template:\n    spec:\n      initContainers:\n        - image: registry.test/cni:1\n\
         \n      containers:\n        - image: nginx\n---\nkind: Pod\nspec: {containers: [{image: registry.test/team/cache:outer}]}\n",
    );
    put(&profile.join("mine.yaml"), "image: {tag: v9}\n");
    for (path, text) in CHART {
        put(&profile.join("chart").join(path), text);
    }
    let found = listed(&small);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "docker.io/library/nginx:latest",
        "registry.example/coredns:v1.12.1",
        "registry.example/kube-apiserver:v1.34.1",
        "registry.example/kube-controller-manager:v1.34.1",
        "registry.example/kube-proxy:v1.34.1",
        "registry.example/kube-scheduler:v1.34.1",
        "registry.example/pause:1",
        "registry.test/cni:1",
        "registry.test/team/app:v9",
        "registry.test/team/cache:outer",
        "registry.test/team/from-tpl:1",
        "registry.test/team/sidecar:1",
    ];
    assert_eq!(names, expected);
    let origins = |name: &str| {
        let (_, origins) = found.iter().find(|(known, _)| known == name).unwrap();
        origins
            .join(" | ")
            .replace(&profile.display().to_string(), "DIR")
    };
    assert_eq!(
        origins("registry.example/kube-proxy:v1.34.1"),
        "kubeadm v1.34.1"
    );
    assert_eq!(origins("registry.test/cni:1"), "DIR/cni.yaml:6");
    let cache = "DIR/cni.yaml | chart app 1.2.3: app/charts/cache/templates/cache.yaml";
    assert_eq!(origins("registry.test/team/cache:outer"), cache);
    let line = small
        .text()
        .lines()
        .position(|line| line.contains("name: registry.example/pause:1"));
    let pause = format!("DIR/profile.yaml:{}", line.unwrap() + 1);
    assert_eq!(origins("registry.example/pause:1"), pause);
    let plain = succeed(&mut small.command("images"));
    assert!(
        plain.contains("registry.test/cni:1\n  not locked\n"),
        "{plain}"
    );
}

/// R025: a packed chart and one in a registry give what the folder gives, and an API that the site has counts.
#[test]
fn charts_come_as_folder_archive_and_from_a_registry() {
    let small = Small::new();
    let archive = packed();
    put(&small.profile().join("app-1.2.3.tgz"), &archive);
    let images = [
        "app:4.5",
        "cache:outer",
        "from-tpl:1",
        "sidecar:1",
        "monitor:1",
    ];
    for name in images {
        serve(&small, &format!("{HOST}/team/{name}"));
    }
    let text = small.text();
    small.write(&(text.clone() + "charts: [{chart: app-1.2.3.tgz}]\n"));
    assert_eq!(listed(&small).len(), 5);
    small.write(
        &(text.clone()
            + "charts: [{chart: app-1.2.3.tgz, apiVersions: [monitoring.coreos.com/v1]}]\n"),
    );
    assert_eq!(listed(&small).len(), 6);

    let chart = Reference::parse(&format!("{HOST}/charts/app:1.2.3")).unwrap();
    registry::serve_chart(&small.server, &chart, &archive);
    small.write(&(text + "charts: [{chart: \"oci://registry.test/charts/app:1.2.3\"}]\n"));
    refuse(
        &mut small.command("images"),
        &["oci://registry.test/charts/app:1.2.3", "seedbed lock"],
    );
    succeed(&mut command(&small, "lock"));
    let list = succeed(&mut small.command("images"));
    assert!(
        list.contains("registry.test/team/app:4.5\n  sha256:"),
        "{list}"
    );
    assert_eq!(listed(&small).len(), 5);
    let lock = lock::read(&profile::read(&small.profile()).unwrap()).unwrap();
    assert_eq!(
        lock.arch[&Arch::Amd64].charts[0].sha256,
        digest::sha256(&archive)
    );
}

/// R032: a chart that cannot be rendered here stops, with the function and the template.
#[test]
fn a_chart_beyond_us_is_refused_by_name() {
    let small = Small::new();
    let dir = small.profile().join("chart");
    put(&dir.join("Chart.yaml"), "name: odd\nversion: 1.0.0\n");
    small.write(&(small.text() + "charts: [{chart: chart}]\n"));
    for (template, word) in [
        ("{{ frobnicate 1 }}", "frobnicate"),
        ("{{ set .Values \"a\" 1 }}", "in place"),
        ("{{ required \"say the tag\" .Values.tag }}", "say the tag"),
        ("{{ include \"absent\" . }}", "absent"),
        ("kind: [", "YAML"),
    ] {
        put(&dir.join("templates/x.yaml"), template);
        refuse(
            &mut small.command("images"),
            &["odd", "templates/x.yaml", word],
        );
    }
    put(
        &dir.join("Chart.yaml"),
        "name: odd\nversion: 1.0.0\ndependencies: [{name: gone, version: 1}]\n",
    );
    put(&dir.join("templates/x.yaml"), "");
    refuse(
        &mut small.command("images"),
        &["gone", "helm dependency build"],
    );
}

/// R032: a lock is older than a manifest that changed, and that is noticed.
#[test]
fn a_changed_manifest_needs_a_new_lock() {
    let small = Small::new();
    let path = small.profile().join("a.yaml");
    let pod = |name: &str| format!("kind: Pod\nspec: {{containers: [{{image: {HOST}/{name}}}]}}\n");
    serve(&small, &format!("{HOST}/a:1"));
    serve(&small, &format!("{HOST}/b:1"));
    put(&path, pod("a:1"));
    small.write(&(small.text() + "manifests: [a.yaml]\n"));
    succeed(&mut command(&small, "lock"));
    succeed(&mut command(&small, "fetch"));
    put(&path, pod("b:1"));
    refuse(
        &mut command(&small, "fetch"),
        &["another text of the profile", "seedbed lock"],
    );
    succeed(&mut command(&small, "lock"));
    succeed(&mut command(&small, "fetch"));
    pulled(&small, &format!("{HOST}/b:1"));
}

/// An OCI layout with the served image, as skopeo and crane write it: its index, and both machines' manifests.
fn layout(small: &Small, image: &Reference, dir: &Path) {
    let served = registry::serve_both(&small.server, image, &OCI, "amd64");
    let blob = |bytes: &[u8]| {
        let sha256 = digest::sha256(bytes);
        put(&dir.join("blobs/sha256").join(&sha256), bytes);
        sha256
    };
    for served in &served {
        blob(&small.server.bytes(&manifest_path(image, &served.manifest)));
        served.blobs.iter().for_each(|(_, bytes)| {
            blob(bytes);
        });
    }
    let path = format!("/v2/{}/manifests/{}", image.repository, image.tag);
    let index = small.server.bytes(&path);
    let sha256 = blob(&index);
    put(
        &dir.join("oci-layout"),
        "{\"imageLayoutVersion\": \"1.0.0\"}",
    );
    let entry = json!({
        "mediaType": small.server.media_type(&path),
        "digest": format!("sha256:{sha256}"),
        "size": index.len(),
        "annotations": {"org.opencontainers.image.ref.name": image.tag},
    });
    let top = json!({"schemaVersion": 2, "manifests": [entry]});
    put(&dir.join("index.json"), top.to_string());
}

/// R011, R033: a layout as a folder and as an archive, and the machine is checked.
#[test]
fn an_image_comes_from_an_oci_layout() {
    let small = Small::new();
    let name = format!("{HOST}/team/app:v1");
    let image = Reference::parse(&name).unwrap();
    let dir = small.profile().join("images/app");
    layout(&small, &image, &dir);
    let text = small.text();
    let entry = |more: &str| {
        small.write(&text.replace(
            "images:\n",
            &format!("images:\n  - {{name: {name}, {more}}}\n"),
        ))
    };
    entry("layout: images/app");
    small.server.take_log();
    succeed(&mut small.command("lock"));
    let from_folder = pulled(&small, &name);
    assert_eq!(from_folder.layout.as_deref(), Some("images/app"));
    assert!(
        small
            .server
            .take_log()
            .iter()
            .all(|asked| !asked.path.starts_with("/v2/"))
    );
    // A store that is new takes it from there again.
    fs::remove_dir_all(small.store("sha256")).unwrap();
    succeed(&mut small.command("fetch"));
    for blob in from_folder.all_blobs() {
        assert!(small.store("sha256").join(&blob.sha256).exists());
    }

    let mut tar = tar::Builder::new(fs::File::create(small.profile().join("app.tar")).unwrap());
    tar.append_dir_all(".", &dir).unwrap();
    tar.finish().unwrap();
    entry("layout: app.tar");
    succeed(&mut small.command("lock"));
    assert_eq!(pulled(&small, &name).manifest, from_folder.manifest);

    // What the config says counts, whatever the index says.
    let served = registry::serve(&small.server, &image, &OCI, "riscv64");
    let manifest = small.server.bytes(&manifest_path(&image, &served.manifest));
    put(&dir.join("blobs/sha256").join(&served.manifest), &manifest);
    for (sha256, bytes) in &served.blobs {
        put(&dir.join("blobs/sha256").join(sha256), bytes);
    }
    let entry_of = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", served.manifest),
        "size": manifest.len(),
    });
    put(
        &dir.join("index.json"),
        json!({"schemaVersion": 2, "manifests": [entry_of]}).to_string(),
    );
    entry("layout: images/app");
    refuse(
        &mut small.command("lock"),
        &[&name, "images/app", "linux/riscv64", "not for linux/amd64"],
    );
}

/// R011: an archive of `docker save`, also with layers that are links and compressed as a whole.
#[test]
fn an_image_comes_from_a_docker_archive() {
    let small = Small::new();
    let name = "docker.io/library/app:v1";
    let layer = |text: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, "file", text.as_bytes())
            .unwrap();
        tar.into_inner().unwrap()
    };
    let layers = [layer("one"), layer("two")];
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|bytes| format!("sha256:{}", digest::sha256(bytes)))
        .collect();
    let save = |machine: &str| {
        let config = json!({
            "architecture": machine, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let manifest = json!([
            {"Config": "other.json", "RepoTags": ["other:v1"], "Layers": []},
            {"Config": "c.json", "RepoTags": ["app:v1"], "Layers": ["1/layer.tar", "2/layer.tar"]},
        ]);
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        let (config, manifest) = (config.to_string(), manifest.to_string());
        let files = [
            ("real/layer.tar", layers[0].as_slice()),
            ("2/layer.tar", &layers[1]),
            ("c.json", config.as_bytes()),
            ("manifest.json", manifest.as_bytes()),
        ];
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes).unwrap();
        }
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "1/layer.tar", "../real/layer.tar")
            .unwrap();
        put(
            &small.profile().join("app.tar.gz"),
            tar.into_inner().unwrap().finish().unwrap(),
        );
    };
    save("amd64");
    small.edit(
        "images:\n",
        &format!("images:\n  - {{name: {name}, archive: app.tar.gz}}\n"),
    );
    // What is decompressed is too large for where temporary files are.
    succeed(small.command("lock").env("TMPDIR", "/nonexistent"));
    let locked = pulled(&small, name);
    let found: Vec<String> = locked.blobs[1..]
        .iter()
        .map(|blob| format!("sha256:{}", blob.sha256))
        .collect();
    assert_eq!(found, diff_ids);
    fs::remove_dir_all(small.store("sha256")).unwrap();
    succeed(&mut small.command("fetch"));
    assert!(small.store("sha256").join(&locked.manifest.sha256).exists());
    save("arm64");
    refuse(
        &mut small.command("lock"),
        &[name, "linux/arm64", "not for linux/amd64"],
    );
    fs::remove_dir_all(small.store("sha256")).unwrap();
    refuse(&mut small.command("fetch"), &[name, "not for linux/amd64"]);
    small.edit(&format!("name: {name}"), "name: docker.io/library/redis:7");
    refuse(
        &mut small.command("lock"),
        &["redis:7", "app:v1", "other:v1"],
    );
    small.edit("archive: app.tar.gz", "archive: app.tar.gz, layout: x");
    refuse(&mut small.command("check"), &["more than one place"]);
}
