//! Charts: an archive is read, and its templates are rendered.
#![no_main]

use builder::images::chart::{self, Chart, Release};
use flate2::Compression;
use flate2::write::GzEncoder;
use fuzzing::{seeds, tar::with_checksums};
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fn charts() -> Vec<(&'static str, Vec<u8>)> {
    let mut tar = tar::Builder::new(Vec::new());
    let template = "{{- define \"n\" }}{{ .Values.a | default 3 | quote }}{{ end }}\n\
        {{- range $i := until 3 }}\nimage: {{ include \"n\" $ | indent 2 }}:{{ $i }}\n{{- end }}\n\
        {{- if eq .Release.Name \"r\" }}{{ toYaml .Values | nindent 4 }}{{ end }}\n";
    for (path, text) in [
        ("c/Chart.yaml", "name: c\nversion: 1.0.0\n"),
        ("c/values.yaml", "a: {b: [1, x]}\n"),
        ("c/templates/t.yaml", template),
        ("c/charts/d/Chart.yaml", "name: d\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    vec![("chart", tar.into_inner().unwrap())]
}

fuzz_target!(init: seeds(charts), |bytes: &[u8]| {
    let mut archive = GzEncoder::new(Vec::new(), Compression::none());
    archive.write_all(&with_checksums(bytes)).unwrap();
    let Ok(chart) = Chart::from_archive(&archive.finish().unwrap()) else { return };
    let release = Release {
        name: "r".into(),
        namespace: "n".into(),
        kubernetes: "v1.30.0".into(),
        api_versions: Vec::new(),
        values: Vec::new(),
    };
    let _ = chart::render(&chart, &release);
});
