//! Helm charts, rendered offline and without Helm, to learn which images they bring.
//!
//! ```text
//! folder or .tgz -read-> Chart -values-> scopes -render-> manifests -> images
//! ```
//!
//! The engine is Go's template language; the functions beside it are Helm's and Sprig's, as far as they are in
//! [`functions`]. What is not there, or would need a value changed in place that others hold too, stops with the
//! function's name: a list that is silently short would be found out on a machine without a network. Whoever meets
//! such a chart renders it with Helm and lists the result below `manifests:`.
//!
//! Functions that draw random numbers or certificates give fixed ones: no image depends on them, and a lock has to
//! be the same tomorrow.

mod functions;
mod read;
mod render;
#[cfg(test)]
mod tests;
mod values;

pub use render::{Release, render};

use serde_json::Value;
use std::collections::BTreeMap;

/// A chart with the charts in it.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `Chart.yaml`.
    metadata: Value,
    /// `values.yaml`.
    values: Value,
    /// Files below `templates/`, by their path in the chart.
    templates: BTreeMap<String, String>,
    /// All other files that are text.
    files: BTreeMap<String, String>,
    /// What is below `crds/`.
    crds: BTreeMap<String, String>,
    /// What is below `charts/`.
    charts: Vec<Chart>,
}

/// Why a chart has no images to tell.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The files are no chart.
    #[error("{0}")]
    Malformed(String),
    /// A document of it is no YAML.
    #[error("reading {path} of chart {chart}")]
    Yaml {
        /// The chart.
        chart: String,
        /// The document.
        path: String,
        /// What is wrong.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A template cannot be rendered here.
    #[error(
        "rendering {path}: {why}; if it is beyond seedbed, render the chart with helm and list the result below manifests:"
    )]
    Template {
        /// The template, with its chart.
        path: String,
        /// What is wrong.
        why: String,
    },
}
