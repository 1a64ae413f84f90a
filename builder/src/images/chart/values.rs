//! Which charts in a chart are on, and what values each sees: Helm's rules for dependencies, aliases, conditions,
//! tags and globals.

use super::{Chart, ChartError};
use serde_json::{Map, Value};

/// A chart that is rendered, with its place and its values.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) chart: &'a Chart,
    /// Such as `parent/charts/child`.
    pub(super) path: String,
    pub(super) values: Value,
}

/// The chart and all charts in it that are on, the innermost first. `values` are the user's.
pub(super) fn scopes<'a>(chart: &'a Chart, values: Value) -> Result<Vec<Scope<'a>>, ChartError> {
    let mut found = Vec::new();
    let mut values = values;
    merge(&mut values, &chart.values);
    descend(chart, chart.name.clone(), values, &mut found)?;
    Ok(found)
}

fn descend<'a>(
    chart: &'a Chart,
    path: String,
    mut values: Value,
    found: &mut Vec<Scope<'a>>,
) -> Result<Value, ChartError> {
    if !values.is_object() {
        values = Value::Object(Map::new());
    }
    let none = Vec::new();
    let dependencies = chart.metadata["dependencies"].as_array().unwrap_or(&none);
    for dependency in dependencies {
        let name = dependency["name"].as_str().unwrap_or_default();
        if !chart.charts.iter().any(|child| child.name == name) {
            let path = format!("chart {path} depends on chart {name}, which is not in its charts/");
            return Err(ChartError::Malformed(format!(
                "{path}: run `helm dependency build`"
            )));
        }
    }
    for child in &chart.charts {
        let named = |dependency: &&Value| dependency["name"].as_str() == Some(&child.name);
        let entries: Vec<Option<&Value>> =
            match dependencies.iter().filter(named).collect::<Vec<_>>() {
                entries if entries.is_empty() => vec![None],
                entries => entries.into_iter().map(Some).collect(),
            };
        for entry in entries {
            let on = entry.is_none_or(|entry| is_on(entry, &values));
            let alias = entry.and_then(|entry| entry["alias"].as_str());
            let key = alias.unwrap_or(&child.name).to_owned();
            if !on {
                continue;
            }
            let imports = entry.map(|entry| &entry["import-values"]);
            if imports.is_some_and(|imports| imports.as_array().is_some_and(|all| !all.is_empty()))
            {
                return Err(ChartError::Malformed(format!(
                    "chart {path} imports values of chart {key}, which seedbed cannot do: render it with \
                     helm and list the result below manifests:"
                )));
            }
            let mut own = values[&key].clone();
            if !own.is_object() {
                own = Value::Object(Map::new());
            }
            merge(&mut own, &child.values);
            if let (Some(global), Some(map)) = (values.get("global"), own.as_object_mut()) {
                let mut outer = global.clone();
                merge(&mut outer, map.get("global").unwrap_or(&Value::Null));
                map.insert("global".to_owned(), outer);
            }
            let own = descend(child, format!("{path}/charts/{key}"), own, found)?;
            if let Some(map) = values.as_object_mut() {
                map.insert(key, own);
            }
        }
    }
    found.push(Scope {
        chart,
        path,
        values: values.clone(),
    });
    Ok(values)
}

/// The first condition that says anything decides, then tags, and else it is on.
fn is_on(dependency: &Value, values: &Value) -> bool {
    let conditions = dependency["condition"].as_str().unwrap_or_default();
    for condition in conditions
        .split(',')
        .map(str::trim)
        .filter(|c| !c.is_empty())
    {
        let found = condition
            .split('.')
            .try_fold(values, |value, key| value.get(key));
        if let Some(on) = found.and_then(Value::as_bool) {
            return on;
        }
    }
    let tags = dependency["tags"].as_array().into_iter().flatten();
    let tags = tags.filter_map(|tag| values["tags"][tag.as_str()?].as_bool());
    let tags: Vec<bool> = tags.collect();
    tags.is_empty() || tags.contains(&true)
}

/// Adds what `defaults` has and `values` has not. A null of `values` takes the default away.
pub(super) fn merge(values: &mut Value, defaults: &Value) {
    let (Value::Object(values), Value::Object(defaults)) = (values, defaults) else {
        return;
    };
    for (key, default) in defaults {
        match values.get_mut(key) {
            Some(Value::Null) => {
                values.remove(key);
            }
            Some(value) => merge(value, default),
            None => {
                values.insert(key.clone(), default.clone());
            }
        }
    }
}

/// Adds what an earlier file of the user has and the later one, `values`, has not. A null of the later one stays,
/// since a chart's default has still to go by it.
pub(super) fn add_earlier(values: &mut Value, earlier: &Value) {
    let (Value::Object(values), Value::Object(earlier)) = (values, earlier) else {
        return;
    };
    for (key, before) in earlier {
        match values.get_mut(key) {
            Some(value) => add_earlier(value, before),
            None => {
                values.insert(key.clone(), before.clone());
            }
        }
    }
}
