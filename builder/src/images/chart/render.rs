//! From a chart and values to manifests: Go's templates with Helm's objects around them.

use super::functions::{self, Given, from_json};
use super::values::{Scope, add_earlier, scopes};
use super::{Chart, ChartError};
use gotmpl::{FuncMap, MissingKey, Template, TemplateError, Value};
use regex::Regex;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Templates that include each other deeper than that never end.
const DEEPEST: usize = 500;
/// More loops than any chart has.
const LOOPS: u64 = 10_000_000;
/// For templates that include templates.
const STACK: usize = 256 << 20;

/// What Helm would be told on its command line.
#[derive(Clone, Debug)]
pub struct Release {
    /// The release's name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// The Kubernetes version, with its leading `v`.
    pub kubernetes: String,
    /// API versions that the cluster has beside those of every cluster, such as `monitoring.coreos.com/v1`.
    pub api_versions: Vec<String>,
    /// The user's values, later ones first.
    pub values: Vec<serde_json::Value>,
}

/// What `include` and `tpl` need while templates are rendered.
struct Engine {
    functions: OnceLock<FuncMap>,
    template: OnceLock<Template>,
    depth: AtomicUsize,
}

/// Every manifest of the chart by its template, custom resource definitions included.
pub fn render(chart: &Chart, release: &Release) -> Result<BTreeMap<String, String>, ChartError> {
    std::thread::scope(|scope| {
        let big = std::thread::Builder::new().stack_size(STACK);
        let thread = big.spawn_scoped(scope, || render_here(chart, release));
        let failed = |_| ChartError::Malformed("no thread could be started to render it".into());
        let panicked = |_| ChartError::Malformed("rendering it failed without a reason".into());
        thread.map_err(failed)?.join().map_err(panicked)?
    })
}

fn render_here(chart: &Chart, release: &Release) -> Result<BTreeMap<String, String>, ChartError> {
    let mut values = json!({});
    for given in &release.values {
        add_earlier(&mut values, given);
    }
    let scopes = scopes(chart, values)?;
    let engine = Arc::new(Engine {
        functions: OnceLock::new(),
        template: OnceLock::new(),
        depth: AtomicUsize::new(0),
    });
    let functions = all_functions(&engine, &scopes, release);
    let mut template = empty("", &functions);
    let failed = |path: &str, error: TemplateError| ChartError::Template {
        path: path.to_owned(),
        why: error.to_string(),
    };
    // Charts inside come first: the outer one's word about a template's name counts.
    for scope in &scopes {
        for (path, text) in &scope.chart.templates {
            let path = format!("{}/{path}", scope.path);
            if path.ends_with("NOTES.txt") {
                continue;
            }
            let parsed = empty(&path, &functions).parse(&rewrite(text, &scope.path));
            template = adopt(template, &parsed.map_err(|error| failed(&path, error))?);
        }
    }
    // Both are set once, here.
    let _ = engine.functions.set(functions);
    let template = engine.template.get_or_init(|| template);
    let mut rendered = BTreeMap::new();
    for scope in &scopes {
        let library = scope.chart.metadata["type"].as_str() == Some("library");
        for path in scope.chart.templates.keys().filter(|_| !library) {
            let name = path.rsplit('/').next().unwrap_or_default();
            if name.starts_with('_') || name == "NOTES.txt" {
                continue;
            }
            let path = format!("{}/{path}", scope.path);
            let data = from_json(&objects(scope, release, &path));
            let text = template.execute_template_to_string(&path, &data);
            let text = text.map_err(|error| failed(&path, error))?;
            rendered.insert(path, text.replace("<no value>", ""));
        }
        let crds = scope.chart.crds.iter();
        rendered.extend(crds.map(|(path, text)| (format!("{}/{path}", scope.path), text.clone())));
    }
    Ok(rendered)
}

fn empty(name: &str, functions: &FuncMap) -> Template {
    Template::new(name)
        .funcs(functions.clone())
        .missing_key(MissingKey::ZeroValue)
        .max_range_iters(LOOPS)
}

/// Adds all templates of `from`.
fn adopt(mut template: Template, from: &Template) -> Template {
    for name in from.templates() {
        if let Some(tree) = from.lookup(name) {
            template = template.add_parse_tree(name, tree.clone());
        }
    }
    template
}

/// What a template sees.
fn objects(scope: &Scope<'_>, release: &Release, path: &str) -> serde_json::Value {
    let mut chart = serde_json::Map::new();
    for (key, value) in scope.chart.metadata.as_object().into_iter().flatten() {
        let mut name = key.clone();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        chart.insert(name, value.clone());
    }
    json!({
        "Values": scope.values,
        "Chart": chart,
        "Release": {
            "Name": release.name,
            "Namespace": release.namespace,
            "Service": "Helm",
            "IsInstall": true,
            "IsUpgrade": false,
            "Revision": 1,
        },
        "Capabilities": {
            "KubeVersion": kube_version(&release.kubernetes),
            "APIVersions": api_versions(release),
            "HelmVersion": {"Version": "v3.17.0"},
        },
        "Template": {"Name": path, "BasePath": format!("{}/templates", scope.path)},
        "Files": scope.chart.files,
        "Subcharts": {},
    })
}

fn kube_version(version: &str) -> serde_json::Value {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    json!({"Version": version, "GitVersion": version, "Major": major, "Minor": minor})
}

/// What every cluster of the versions in question serves, and what the profile says.
fn api_versions(release: &Release) -> Vec<String> {
    let common = [
        "v1",
        "admissionregistration.k8s.io/v1",
        "apiextensions.k8s.io/v1",
        "apiregistration.k8s.io/v1",
        "apps/v1",
        "authentication.k8s.io/v1",
        "authorization.k8s.io/v1",
        "autoscaling/v1",
        "batch/v1",
        "certificates.k8s.io/v1",
        "coordination.k8s.io/v1",
        "events.k8s.io/v1",
        "networking.k8s.io/v1",
        "node.k8s.io/v1",
        "rbac.authorization.k8s.io/v1",
        "scheduling.k8s.io/v1",
        "storage.k8s.io/v1",
    ];
    let minor = release
        .kubernetes
        .split('.')
        .nth(1)
        .and_then(|n| n.parse::<u32>().ok());
    let since = |least: u32, api: &str| minor.filter(|n| *n >= least).map(|_| api.to_owned());
    let until = |most: u32, api: &str| minor.filter(|n| *n <= most).map(|_| api.to_owned());
    let dated = [
        since(21, "policy/v1"),
        since(21, "discovery.k8s.io/v1"),
        since(23, "autoscaling/v2"),
        since(29, "flowcontrol.apiserver.k8s.io/v1"),
        until(24, "policy/v1beta1"),
        until(24, "batch/v1beta1"),
        until(25, "autoscaling/v2beta2"),
        until(21, "networking.k8s.io/v1beta1"),
        until(21, "extensions/v1beta1"),
    ];
    let common = common.iter().map(|api| (*api).to_owned());
    let given = release.api_versions.iter().cloned();
    common
        .chain(dated.into_iter().flatten())
        .chain(given)
        .collect()
}

/// Go calls methods with arguments where this engine knows functions alone; and changes values in place.
fn rewrite(text: &str, chart: &str) -> String {
    static RULES: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let rules = RULES.get_or_init(|| {
        let rule = |pattern: &str, to| Regex::new(pattern).ok().map(|regex| (regex, to));
        let rules = [
            rule(
                r"[$\w.]*\.Capabilities\.APIVersions\.Has\b",
                "hasApiVersion",
            ),
            rule(r"[$\w.]*\.Files\.(Get|GetBytes)\b", "fileGet \u{0}"),
            rule(r"[$\w.]*\.Files\.Glob\b", "fileGlob \u{0}"),
            rule(r"[$\w.]*\.Files\.Lines\b", "fileLines \u{0}"),
        ];
        rules.into_iter().flatten().collect()
    });
    let mut text = functions::assign_in_place(text);
    for (regex, to) in rules {
        text = regex.replace_all(&text, *to).into_owned();
    }
    text.replace('\u{0}', &format!("{chart:?}"))
}

fn all_functions(engine: &Arc<Engine>, scopes: &[Scope<'_>], release: &Release) -> FuncMap {
    let mut functions = functions::table();
    let mut put = |name: &str, function: gotmpl::ValueFunc| {
        functions.insert(name.to_owned(), function);
    };
    let weak = Arc::downgrade(engine);
    put("include", Arc::new(move |args| include(&weak, args)));
    let weak = Arc::downgrade(engine);
    put("tpl", Arc::new(move |args| tpl(&weak, args)));
    let known = api_versions(release);
    put(
        "hasApiVersion",
        Arc::new(move |args| {
            let wanted = functions::text(args.first());
            // A kind may follow: apps/v1/Deployment.
            let fits = |api: &String| wanted == *api || wanted.starts_with(&format!("{api}/"));
            Ok(Value::Bool(known.iter().any(fits)))
        }),
    );
    let files: BTreeMap<String, BTreeMap<String, String>> = scopes
        .iter()
        .map(|s| (s.path.clone(), s.chart.files.clone()))
        .collect();
    let files = Arc::new(files);
    let of = files.clone();
    put(
        "fileGet",
        Arc::new(move |args| {
            let (chart, path) = (functions::text(args.first()), functions::text(args.get(1)));
            let found = of.get(&chart).and_then(|files| files.get(&path));
            Ok(functions::string(found.cloned().unwrap_or_default()))
        }),
    );
    let of = files.clone();
    put(
        "fileLines",
        Arc::new(move |args| {
            let (chart, path) = (functions::text(args.first()), functions::text(args.get(1)));
            let found = of.get(&chart).and_then(|files| files.get(&path));
            let lines = found.map(|text| text.lines().map(functions::string).collect::<Vec<_>>());
            Ok(Value::List(lines.unwrap_or_default().into()))
        }),
    );
    put(
        "fileGlob",
        Arc::new(move |args| {
            let (chart, glob) = (functions::text(args.first()), functions::text(args.get(1)));
            let pattern = glob_pattern(&glob);
            let all = files.get(&chart).into_iter().flatten();
            let found = all.filter(|(path, _)| pattern.as_ref().is_some_and(|p| p.is_match(path)));
            let map = found.map(|(path, text)| (path.as_str().into(), functions::string(text)));
            Ok(Value::Map(Arc::new(map.collect())))
        }),
    );
    functions
}

fn glob_pattern(glob: &str) -> Option<Regex> {
    let pattern = regex::escape(glob)
        .replace(r"\*\*", ".*")
        .replace(r"\*", "[^/]*")
        .replace(r"\?", "[^/]")
        .replace(r"\{", "(")
        .replace(r"\}", ")")
        .replace(',', "|");
    Regex::new(&format!("^{pattern}$")).ok()
}

fn include(engine: &Weak<Engine>, args: &[Value]) -> Given {
    let [Value::String(name), data] = args else {
        return Err(TemplateError::Exec(
            "include takes a name and a value".into(),
        ));
    };
    deeper(engine, |engine| {
        let template = engine.template.get().ok_or_else(gone)?;
        template.execute_template_to_string(name, data)
    })
}

/// Renders a text as if it were a template of the chart.
fn tpl(engine: &Weak<Engine>, args: &[Value]) -> Given {
    let [text, data] = args else {
        return Err(TemplateError::Exec("tpl takes a text and a value".into()));
    };
    let text = functions::text(Some(text));
    if !text.contains("{{") {
        return Ok(functions::string(text));
    }
    deeper(engine, |engine| {
        let main = engine.template.get().ok_or_else(gone)?;
        let functions = engine.functions.get().ok_or_else(gone)?;
        let base = data.field("Template").and_then(|t| t.field("BasePath"));
        let base = functions::text(base);
        let chart = base.strip_suffix("/templates").unwrap_or_default();
        let parsed = empty("tpl", functions).parse(&rewrite(&text, chart))?;
        let template = adopt(adopt(empty("tpl", functions), main), &parsed);
        template.execute_template_to_string("tpl", data)
    })
}

fn gone() -> TemplateError {
    TemplateError::Exec("templates include each other before they are read".into())
}

fn deeper(
    engine: &Weak<Engine>,
    run: impl FnOnce(&Engine) -> Result<String, TemplateError>,
) -> Given {
    let engine = engine.upgrade().ok_or_else(gone)?;
    if engine.depth.fetch_add(1, Ordering::Relaxed) > DEEPEST {
        return Err(TemplateError::Exec(
            "templates include each other without end".into(),
        ));
    }
    let text = run(&engine);
    engine.depth.fetch_sub(1, Ordering::Relaxed);
    Ok(functions::string(text?.replace("<no value>", "")))
}
