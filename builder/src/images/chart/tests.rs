//! What charts' templates make of values: the engine with Helm's and Sprig's functions, in tables.

use super::{Chart, Release, render};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn release(values: Value) -> Release {
    Release {
        name: "rel".into(),
        namespace: "ns".into(),
        kubernetes: "v1.34.1".into(),
        api_versions: vec!["example.org/v1".into()],
        values: vec![values],
    }
}

fn chart(files: &[(&str, &str)]) -> (tempfile::TempDir, Chart) {
    let dir = tempfile::tempdir().unwrap();
    let all = [("Chart.yaml", "name: c\nversion: 1.2.3\nappVersion: v9\n")];
    for (path, text) in all.iter().chain(files) {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, text).unwrap();
    }
    let chart = Chart::read(dir.path()).unwrap();
    (dir, chart)
}

/// What one template gives.
fn rendered(template: &str, values: Value) -> String {
    let (_dir, chart) = chart(&[
        ("templates/t", template),
        ("files/a.txt", "A"),
        ("files/b.txt", "B"),
    ]);
    match render(&chart, &release(values)) {
        Ok(all) => all["c/templates/t"].clone(),
        Err(error) => format!("error: {error}"),
    }
}

/// R025.
#[test]
fn functions_do_what_those_of_helm_do() {
    let values = json!({
        "s": "text", "n": 3, "t": true, "empty": "", "nil": null,
        "l": ["b", "a", "b"], "m": {"k": "v", "deep": {"x": 1}}, "version": "1.5.0-rc.1",
    });
    let check = |template: &str, expected: &str| {
        assert_eq!(rendered(template, values.clone()), expected, "{template}");
    };
    check(
        "{{ .Release.Name }} {{ .Release.Namespace }} {{ .Chart.Name }}-{{ .Chart.Version }} {{ .Chart.AppVersion }}",
        "rel ns c-1.2.3 v9",
    );
    check("{{ .Values.absent }}{{ .Values.absent.more }}|", "|");
    check(
        "{{ .Values.empty | default \"d\" }} {{ .Values.s | default \"d\" }}",
        "d text",
    );
    check("{{ coalesce .Values.nil .Values.empty .Values.s }}", "text");
    check(
        "{{ ternary \"y\" \"n\" .Values.t }} {{ .Values.t | ternary \"y\" \"n\" }}",
        "y y",
    );
    check(
        "{{ .Values.s | upper | quote }} {{ \"a\" | squote }}",
        "\"TEXT\" 'a'",
    );
    check(
        "{{ trunc 2 .Values.s }} {{ trunc -2 .Values.s }} {{ trimSuffix \"xt\" .Values.s }}",
        "te xt te",
    );
    check("{{ printf \"%s:%d\" .Values.s 8080 }}", "text:8080");
    check(
        "{{ .Values.l | uniq | join \",\" }} {{ sortAlpha .Values.l | first }}",
        "b,a a",
    );
    check(
        "{{ has \"a\" .Values.l }} {{ without .Values.l \"b\" | len }}",
        "true 1",
    );
    check(
        "{{ add 1 2 .Values.n }} {{ sub 5 2 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod 7 2 }} {{ max 1 5 2 }}",
        "6 3 6 3 1 5",
    );
    check(
        "{{ int \"12\" }} {{ until 3 | join \"-\" }} {{ seq 1 3 }}",
        "12 0-1-2 1 2 3",
    );
    check(
        "{{ range $i, $e := .Values.l }}{{ $i }}{{ $e }}{{ end }}",
        "0b1a2b",
    );
    check(
        "{{ dig \"deep\" \"x\" 0 .Values.m }} {{ dig \"deep\" \"y\" 7 .Values.m }}",
        "1 7",
    );
    check(
        "{{ hasKey .Values.m \"k\" }} {{ get .Values.m \"k\" }} {{ keys .Values.m | sortAlpha | join \",\" }}",
        "true v deep,k",
    );
    check(
        "{{ (merge (dict \"a\" 1) (dict \"a\" 2 \"b\" 3)) | toJson }}",
        "{\"a\":1,\"b\":3}",
    );
    check(
        "{{ (mergeOverwrite (dict \"a\" 1) (dict \"a\" 2)) | toJson }}",
        "{\"a\":2}",
    );
    check(
        "{{ omit .Values.m \"deep\" | toJson }} {{ pick .Values.m \"k\" | toJson }}",
        "{\"k\":\"v\"} {\"k\":\"v\"}",
    );
    check(
        "{{- $d := dict -}}{{- $_ := set $d \"a\" 1 -}}{{- $_ := set $d \"b\" 2 -}}{{ toJson $d }}",
        "{\"a\":1,\"b\":2}",
    );
    check("m:{{ toYaml .Values.m.deep | nindent 2 }}", "m:\n  x: 1");
    check(
        "{{ (fromYaml \"a: {b: [1, 2]}\").a.b | last }} {{ (fromJson \"{\\\"a\\\": 5}\").a }}",
        "2 5",
    );
    check(
        "{{ b64enc \"a\" }} {{ \"YQ==\" | b64dec }} {{ sha256sum \"\" | trunc 8 }}",
        "YQ== a e3b0c442",
    );
    check(
        "{{ kindOf .Values.m }} {{ kindIs \"string\" .Values.s }} {{ kindOf .Values.l }}",
        "map true slice",
    );
    check(
        "{{ regexReplaceAll \"t(.)\" .Values.s \"<$1>\" }} {{ regexMatch \"^te\" .Values.s }}",
        "<e>xt true",
    );
    check(
        "{{ (split \"/\" \"a/b\")._1 }} {{ splitList \"/\" \"a/b\" | last }} {{ replace \"a\" \"o\" \"banana\" }}",
        "b b bonono",
    );
    check(
        "{{ .Capabilities.APIVersions.Has \"example.org/v1\" }} {{ $.Capabilities.APIVersions.Has \"example.org/v2\" }} {{ .Capabilities.APIVersions.Has \"apps/v1/Deployment\" }}",
        "true false true",
    );
    check(
        "{{ .Capabilities.KubeVersion.Minor }} {{ .Capabilities.KubeVersion.Version }}",
        "34 v1.34.1",
    );
    check(
        "{{ .Files.Get \"files/a.txt\" }}{{ range $path, $_ := .Files.Glob \"files/*.txt\" }}{{ $.Files.Get $path }}{{ end }}",
        "AAB",
    );
    check(
        "{{ tpl \"{{ .Values.s }}-{{ .Chart.Name }}\" . }} {{ tpl \"plain\" . }}",
        "text-c plain",
    );
    check(
        "{{ define \"x\" }}[{{ .Values.s }}]{{ end }}{{ include \"x\" . | trim }}{{ template \"x\" $ }}",
        "[text][text]",
    );
    check(
        "{{ with lookup \"v1\" \"Secret\" \"ns\" \"n\" }}found{{ else }}none{{ end }}",
        "none",
    );
    check(
        "{{ randAlphaNum 5 | len }} {{ (genCA \"ca\" 1).Cert | empty }}",
        "5 false",
    );
}

/// R025.
#[test]
fn versions_are_compared_as_by_sprig() {
    let check = |constraint: &str, version: &str, expected: bool| {
        let template = format!("{{{{ semverCompare {constraint:?} {version:?} }}}}");
        assert_eq!(
            rendered(&template, json!({})),
            expected.to_string(),
            "{template}"
        );
    };
    check(">=1.21-0", "v1.34.1", true);
    check(">= 1.21-0", "1.20.9", false);
    check(">=1.21-0, <1.25-0", "v1.24.0", true);
    check("<1.14-0 || >=1.30-0", "v1.34.1", true);
    check("^1.2.0", "1.9.0", true);
    check("^1.2.0", "2.0.0", false);
    check("~1.2.3", "1.2.9", true);
    check("~1.2.3", "1.3.0", false);
    check("1.34.x", "v1.34.1", true);
    check("=1.34.1", "v1.34.1", true);
    check(">=1.30.0", "v1.31.0-rc.1", false);
    check(">=1.30.0-0", "v1.31.0-rc.1", true);
    check("<2", "v1.34.1", true);
    check("*", "v1.34.1", true);
}

/// R032: what cannot be rendered right is not rendered at all.
#[test]
fn what_is_beyond_us_is_an_error_with_its_name() {
    let check = |template: &str, word: &str| {
        let found = rendered(template, json!({"m": {}}));
        assert!(
            found.starts_with("error: rendering c/templates/t") && found.contains(word),
            "{found}"
        );
    };
    check("{{ frobnicate }}", "frobnicate");
    check(
        "{{ $_ := set .Values.m \"a\" 1 }}",
        "set changes a value in place",
    );
    check("{{ required \"name it\" .Values.name }}", "name it");
    check("{{ fail \"never\" }}", "never");
    check("{{ include \"absent\" . }}", "absent");
    check(
        "{{ define \"x\" }}{{ include \"x\" . }}{{ end }}{{ include \"x\" . }}",
        "without end",
    );
    check("{{ if }}", "c/templates/t");
    check("{{ div 1 0 }}", "division by zero");
    check("{{ until 100000000 }}", "more than");
}

/// R025: which charts inside are on, what they are called, and what they see.
#[test]
fn charts_inside_charts_follow_their_dependencies() {
    let files = [
        (
            "Chart.yaml",
            "name: c\nversion: 1.0.0\ndependencies:\n\
             - {name: a, version: 1, condition: a.enabled}\n\
             - {name: b, version: 1, tags: [extra]}\n\
             - {name: d, version: 1, alias: renamed}\n",
        ),
        (
            "values.yaml",
            "global: {g: outer}\na: {own: parent}\ntags: {extra: false}\n",
        ),
        (
            "templates/t",
            "{{ .Values.a.own }} {{ .Values.a.kept }} {{ include \"name\" . }}",
        ),
        ("templates/_h.tpl", "{{ define \"name\" }}outer{{ end }}"),
        ("charts/a/Chart.yaml", "name: a\nversion: 1.0.0\n"),
        (
            "charts/a/values.yaml",
            "own: child\nkept: child\nglobal: {g: inner, h: inner}\n",
        ),
        (
            "charts/a/templates/t",
            "{{ .Values.own }} {{ .Values.kept }} {{ .Values.global.g }} {{ .Values.global.h }} {{ include \"name\" . }} {{ .Chart.Name }} {{ .Template.Name }}",
        ),
        (
            "charts/a/templates/_h.tpl",
            "{{ define \"name\" }}inner{{ end }}",
        ),
        ("charts/b/Chart.yaml", "name: b\nversion: 1.0.0\n"),
        ("charts/b/templates/t", "b"),
        ("charts/d/Chart.yaml", "name: d\nversion: 1.0.0\n"),
        ("charts/d/templates/t", "{{ .Values.x }}"),
        (
            "charts/l/Chart.yaml",
            "name: l\nversion: 1.0.0\ntype: library\n",
        ),
        (
            "charts/l/templates/t",
            "{{ fail \"a library is not rendered\" }}",
        ),
    ];
    let (_dir, chart) = chart(&files);
    let texts = |values: Value| render(&chart, &release(values)).unwrap();
    let found = texts(json!({"renamed": {"x": "by alias"}}));
    assert_eq!(found["c/templates/t"], "parent child outer");
    let a = "parent child outer inner outer a c/charts/a/templates/t";
    assert_eq!(found["c/charts/a/templates/t"], a);
    assert_eq!(found["c/charts/renamed/templates/t"], "by alias");
    assert!(!found.contains_key("c/charts/b/templates/t"));
    let found = texts(json!({"a": {"enabled": false}, "tags": {"extra": true}}));
    assert!(!found.contains_key("c/charts/a/templates/t"));
    assert_eq!(found["c/charts/b/templates/t"], "b");
    // A null takes a default away.
    let found = texts(json!({"a": {"kept": null}}));
    assert_eq!(found["c/templates/t"], "parent  outer");
}

/// A packaged chart with these files, and nothing that a library would refuse to write.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn hostile_archives_are_refused_by_name() {
    let refuse = |files: &[(&str, &[u8])], expected: &str| {
        let error = format!("{:#}", Chart::from_archive(&archive(files)).unwrap_err());
        assert!(error.contains(expected), "{error}");
    };
    let good: (&str, &[u8]) = ("c/Chart.yaml", b"name: c\n");
    assert!(Chart::from_archive(&archive(&[good])).is_ok());
    refuse(
        &[good, ("c/../../x", b"")],
        "\"c/../../x\" leads out of the chart",
    );
    refuse(
        &[good, ("/etc/x", b"")],
        "\"/etc/x\" leads out of the chart",
    );
    refuse(&[good, good], "\"Chart.yaml\" is there twice");
}

#[test]
fn charts_in_charts_share_one_limit() {
    let zeros = vec![0; 40 << 20];
    let inner = archive(&[("d/Chart.yaml", b"name: d\n"), ("d/zeros", &zeros)]);
    let outer = archive(&[
        ("c/Chart.yaml", b"name: c\n"),
        ("c/charts/d.tgz", &inner),
        ("c/charts/e.tgz", &inner),
    ]);
    let error = format!("{:#}", Chart::from_archive(&outer).unwrap_err());
    assert!(error.contains("charts/e.tgz"), "{error}");
}

#[test]
fn a_text_is_not_multiplied_without_end() {
    let text = rendered("{{ repeat 65536 (repeat 65536 \"x\") }}", json!({}));
    assert!(text.contains("repeat would give more than"), "{text}");
    let text = rendered("{{ indent 1000 (repeat 100000 \"\\n\") }}", json!({}));
    assert!(text.contains("indent would give more than"), "{text}");
}

/// R025, R032: what is changed in place is changed for all who look at it, or not at all.
#[test]
fn a_change_in_place_is_seen_by_all_or_refused() {
    let values = || json!({"image": "a", "sub": {"image": "a"}, "more": {"sub": {"tag": "b"}}});
    let check = |template: &str, expected: &str| {
        assert_eq!(rendered(template, values()), expected, "{template}");
    };
    let refuse = |template: &str| {
        let found = rendered(template, values());
        let word = "changes a value in place";
        assert!(found.contains(word), "{template}: {found}");
    };
    refuse("{{ $v := .Values }}{{ $_ := set $v \"image\" \"b\" }}{{ .Values.image }}");
    refuse("{{ $v := .Values }}{{ $_ := unset $v \"image\" }}{{ .Values.image }}");
    refuse("{{ $v := .Values }}{{ $_ := mergeOverwrite $v (dict \"image\" \"b\") }}");
    refuse("{{ $v := default (dict) .Values.sub }}{{ $_ := set $v \"image\" \"b\" }}");
    refuse("{{ $_ := merge .Values.sub (dict \"tag\" \"b\") }}{{ .Values.sub.tag }}");
    refuse(
        "{{ $d := dict \"sub\" .Values.sub }}{{ $_ := merge $d .Values.more }}{{ .Values.sub.tag }}",
    );
    refuse(
        "{{ $d := merge (dict) .Values (dict \"sub\" (dict \"tag\" \"b\")) }}{{ .Values.sub.tag }}",
    );
    refuse("{{ $a := dict }}{{ $b := $a }}{{ $_ := set $a \"k\" 1 }}{{ $b.k }}");
    refuse("{{ $a := dict }}{{ $b := merge $a (dict \"k\" 1) }}{{ $a.k }}");
    refuse(
        "{{ define \"x\" }}{{ $c := . }}{{ $_ := set $c \"k\" 1 }}{{ end }}\
         {{ $d := dict }}{{ include \"x\" $d }}{{ $d.k }}",
    );
    check(
        "{{ $v := deepCopy .Values }}{{ $_ := set $v \"image\" \"b\" }}{{ $v.image }}{{ .Values.image }}",
        "ba",
    );
    check(
        "{{ $v := deepCopy .Values }}{{ $_ := mergeOverwrite $v (dict \"sub\" (dict \"image\" \"b\")) }}{{ $v.sub.image }}",
        "b",
    );
    check(
        "{{ $v := merge (dict) .Values }}{{ $_ := set $v \"image\" \"b\" }}{{ $v.image }}{{ .Values.image }}",
        "ba",
    );
    check(
        "{{ $d := dict }}{{ range list \"a\" \"b\" }}{{ $d = dict . 1 | merge $d }}{{ end }}{{ toJson $d }}",
        "{\"a\":1,\"b\":1}",
    );
    check(
        "{{ $d := dict }}{{ if true }}{{- $_ := 1 | set $d \"a|)\" -}}{{ end }}{{ $d := set $d \"b\" (2 | int) }}{{ toJson $d }}",
        "{\"a|)\":1,\"b\":2}",
    );
    check(
        "{{ merge .Values.sub (dict \"image\" \"b\") | toJson }} {{ set (dict) \"a\" 1 | toJson }}",
        "{\"image\":\"a\"} {\"a\":1}",
    );
}

/// R025: the last file's null takes a default away, also one that an earlier file set.
#[test]
fn a_null_of_a_later_file_takes_the_charts_default_away() {
    let (_dir, chart) = chart(&[
        ("values.yaml", "image: {tag: chart, name: x}\n"),
        ("templates/t", "{{ toJson .Values.image }}"),
    ]);
    let mut release = release(json!({"image": {"tag": null}}));
    release.values.push(json!({"image": {"tag": "earlier"}}));
    assert_eq!(
        render(&chart, &release).unwrap()["c/templates/t"],
        "{\"name\":\"x\"}"
    );
}

/// R025: charts of apiVersion v1 name their dependencies in `requirements.yaml`.
#[test]
fn dependencies_come_from_requirements_too() {
    let files = [
        ("Chart.yaml", "apiVersion: v1\nname: c\nversion: 1.0.0\n"),
        (
            "requirements.yaml",
            "dependencies:\n- {name: a, version: 1, condition: a.enabled}\n\
             - {name: b, version: 1, alias: renamed}\n",
        ),
        ("values.yaml", "a: {enabled: false}\n"),
        ("charts/a/Chart.yaml", "name: a\nversion: 1.0.0\n"),
        ("charts/a/templates/t", "a"),
        ("charts/b/Chart.yaml", "name: b\nversion: 1.0.0\n"),
        ("charts/b/templates/t", "b"),
    ];
    let (_dir, whole) = chart(&files);
    let found = render(&whole, &release(json!({}))).unwrap();
    let paths: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(paths, ["c/charts/renamed/templates/t"]);
    let (_dir, incomplete) = chart(&files[..5]);
    let error = render(&incomplete, &release(json!({}))).unwrap_err();
    assert!(error.to_string().contains("chart b"), "{error}");
}
