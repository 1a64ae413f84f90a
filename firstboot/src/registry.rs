//! The read-only image registry: the store's OCI image layout, served on loopback under every registry's name.
//!
//! containerd asks it as the mirror of all registries and says in `?ns=HOST` which one it means, so images
//! keep their names and are pulled with no network. What is answered is decided by [`answer`], a function of
//! catalog and request; this file only connects it to HTTP and files. Nothing is written, nothing is cached,
//! and a blob is read from the disk in pieces while it is sent.

mod answer;
mod catalog;
mod name;
mod range;

use crate::registry::answer::{Answer, Body as AnswerBody, Question};
use crate::registry::catalog::Catalog;
use crate::registry::name::Digest;
use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// How much of a file is in memory for one request.
const PIECE: usize = 256 * 1024;

/// Threads that read files; two layers at a time keep any disk busy.
const READERS: usize = 4;

/// Serves the image layout in `store` at `listen` until the process ends.
pub fn run(store: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    serve(store, listener)
}

/// Serves the image layout in `store` to whoever connects to `listener`.
pub fn serve(store: &Path, listener: TcpListener) -> anyhow::Result<()> {
    let catalog = read_catalog(store)?;
    tracing::info!(store = %store.display(), images = catalog.len(), "serving images");
    let registry = Arc::new(Registry {
        store: store.to_owned(),
        catalog,
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(READERS)
        .build()
        .context("starting the registry's runtime")?;
    runtime.block_on(async {
        listener
            .set_nonblocking(true)
            .context("preparing the registry's socket")?;
        let listener = tokio::net::TcpListener::from_std(listener)
            .context("preparing the registry's socket")?;
        let router = Router::new().fallback(respond).with_state(registry);
        axum::serve(listener, router)
            .await
            .context("serving images")
    })
}

fn read_catalog(store: &Path) -> anyhow::Result<Catalog> {
    let path = store.join("index.json");
    let index = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let blob = |digest: &Digest| std::fs::read(blob_path(store, digest));
    Catalog::parse(&index, blob).with_context(|| format!("reading {}", path.display()))
}

struct Registry {
    store: PathBuf,
    catalog: Catalog,
}

/// A digest is hexadecimal digits and nothing else, so no request names a file outside `blobs`.
fn blob_path(store: &Path, digest: &Digest) -> PathBuf {
    store.join("blobs/sha256").join(digest.hex())
}

async fn respond(State(registry): State<Arc<Registry>>, request: Request) -> Response<Body> {
    let question = Question {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or(""),
        range: text(request.headers(), header::RANGE),
    };
    let size = |digest: &Digest| {
        let metadata = std::fs::metadata(blob_path(&registry.store, digest)).ok()?;
        metadata.is_file().then_some(metadata.len())
    };
    let answer = answer::answer(&registry.catalog, &question, size);
    tracing::debug!(
        method = question.method,
        path = question.path,
        status = answer.status,
        "answered"
    );
    match open(&registry.store, &answer).await {
        Ok(body) => response(&answer, body),
        Err(error) => {
            tracing::warn!(path = question.path, "{error:#}");
            let answer = answer::unreadable();
            response(&answer, Body::from(answer.text().to_owned()))
        }
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

async fn open(store: &Path, answer: &Answer) -> anyhow::Result<Body> {
    match &answer.body {
        AnswerBody::Empty => Ok(Body::empty()),
        AnswerBody::Text(text) => Ok(Body::from(text.clone())),
        AnswerBody::File {
            digest,
            from,
            length,
        } => {
            let path = blob_path(store, digest);
            let reading = || format!("reading {}", path.display());
            let mut file = tokio::fs::File::open(&path).await.with_context(reading)?;
            file.set_max_buf_size(PIECE);
            if *from > 0 {
                file.seek(std::io::SeekFrom::Start(*from))
                    .await
                    .with_context(reading)?;
            }
            Ok(Body::from_stream(ReaderStream::with_capacity(
                file.take(*length),
                PIECE,
            )))
        }
    }
}

fn response(answer: &Answer, body: Body) -> Response<Body> {
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        builder = builder.header(*name, value);
    }
    builder.body(body).unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

#[cfg(test)]
mod tests;
