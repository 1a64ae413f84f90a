//! The service as containerd calls it: `containerd.services.snapshots.v1.Snapshots` over gRPC.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::effects::Effects;
use super::messages::{
    CommitRequest, Info, InfoResponse, KeyRequest, ListRequest, ListResponse, MakeRequest,
    MountsResponse, Nothing, Timestamp, UpdateRequest, UsageResponse,
};
use super::model::{self, Failure, Moment, Snapshot, Usage};
use super::service::Snapshotter;

const SERVICE: &str = "/containerd.services.snapshots.v1.Snapshots/";

/// Snapshots in one message of a list: far below gRPC's 4 MiB, also with many labels.
const PIECE: usize = 100;

type BoxFuture<T, F> = Pin<Box<dyn Future<Output = Result<T, F>> + Send>>;

/// The whole service.
#[derive(Debug)]
pub(super) struct Server<E>(pub(super) Arc<Snapshotter<E>>);

impl<E> Clone for Server<E> {
    fn clone(&self) -> Self {
        Server(Arc::clone(&self.0))
    }
}

impl<E: Effects + 'static> Service<Request<Body>> for Server<E> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let snapshotter = Arc::clone(&self.0);
        Box::pin(async move { Ok(answer(snapshotter, request).await) })
    }
}

async fn answer<E: Effects + 'static>(
    snapshotter: Arc<Snapshotter<E>>,
    request: Request<Body>,
) -> Response<Body> {
    let method = request.uri().path().strip_prefix(SERVICE).unwrap_or("");
    match method {
        "Prepare" => unary(snapshotter, request, prepare).await,
        "View" => unary(snapshotter, request, view).await,
        "Mounts" => unary(snapshotter, request, mounts).await,
        "Commit" => unary(snapshotter, request, commit).await,
        "Remove" => unary(snapshotter, request, remove).await,
        "Stat" => unary(snapshotter, request, stat).await,
        "Update" => unary(snapshotter, request, update).await,
        "Usage" => unary(snapshotter, request, usage).await,
        "Cleanup" => unary(snapshotter, request, cleanup).await,
        "List" => {
            let method = Method(snapshotter, list);
            let mut grpc = Grpc::new(ProstCodec::default());
            grpc.server_streaming(Pieces(method), request).await
        }
        _ => {
            let path = request.uri().path();
            Status::unimplemented(format!("a snapshotter has no method {path}")).into_http()
        }
    }
}

async fn unary<E, Q, A>(
    snapshotter: Arc<Snapshotter<E>>,
    request: Request<Body>,
    method: Call<E, Q, A>,
) -> Response<Body>
where
    E: Effects + 'static,
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    let mut grpc = Grpc::new(ProstCodec::default());
    grpc.unary(Method(snapshotter, method), request).await
}

type Call<E, Q, A> = fn(&Snapshotter<E>, Q) -> Result<A, Failure>;

/// One method, run where it may block.
struct Method<E, Q, A>(Arc<Snapshotter<E>>, Call<E, Q, A>);

impl<E: Effects + 'static, Q: Send + 'static, A: Send + 'static> Method<E, Q, A> {
    fn run(&self, question: Q) -> impl Future<Output = Result<A, Status>> + Send + 'static {
        let (snapshotter, method) = (Arc::clone(&self.0), self.1);
        let run = tokio::task::spawn_blocking(move || method(&snapshotter, question));
        async move {
            match run.await {
                Ok(result) => result.map_err(|failure| status(&failure)),
                Err(_) => Err(Status::internal(
                    "the snapshotter failed on this request; its journal says where",
                )),
            }
        }
    }
}

impl<E, Q, A> Service<tonic::Request<Q>> for Method<E, Q, A>
where
    E: Effects + 'static,
    Q: Send + 'static,
    A: Send + 'static,
{
    type Response = tonic::Response<A>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let run = self.run(request.into_inner());
        Box::pin(async move { run.await.map(tonic::Response::new) })
    }
}

/// A method whose answer goes out piece by piece.
struct Pieces<E, Q, A>(Method<E, Q, Vec<A>>);

impl<E, Q, A> Service<tonic::Request<Q>> for Pieces<E, Q, A>
where
    E: Effects + 'static,
    Q: Send + 'static,
    A: Send + 'static,
{
    type Response = tonic::Response<tokio_stream::Iter<std::vec::IntoIter<Result<A, Status>>>>;
    type Error = Status;
    type Future = BoxFuture<Self::Response, Status>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let run = self.0.run(request.into_inner());
        Box::pin(async move {
            let pieces: Vec<_> = run.await?.into_iter().map(Ok).collect();
            Ok(tonic::Response::new(tokio_stream::iter(pieces)))
        })
    }
}

/// containerd tells failures apart by these codes.
fn status(failure: &Failure) -> Status {
    let code = match failure {
        Failure::Missing(_) | Failure::LayerGone { .. } => Code::NotFound,
        Failure::Exists(_) => Code::AlreadyExists,
        Failure::Nameless
        | Failure::ParentOpen { .. }
        | Failure::Fixed { .. }
        | Failure::Filter(_) => Code::InvalidArgument,
        Failure::WrongKind { .. } | Failure::HasChild { .. } => Code::FailedPrecondition,
        Failure::Disk(error) => {
            tracing::error!("{error:#}");
            Code::Internal
        }
    };
    match failure {
        Failure::Disk(error) => Status::new(code, format!("{error:#}")),
        _ => Status::new(code, failure.to_string()),
    }
}

fn prepare<E: Effects>(on: &Snapshotter<E>, q: MakeRequest) -> Result<MountsResponse, Failure> {
    let mounts = on.make(model::Kind::Active, q.key, q.parent, q.labels)?;
    Ok(MountsResponse { mounts })
}

fn view<E: Effects>(on: &Snapshotter<E>, q: MakeRequest) -> Result<MountsResponse, Failure> {
    let mounts = on.make(model::Kind::View, q.key, q.parent, q.labels)?;
    Ok(MountsResponse { mounts })
}

fn mounts<E: Effects>(on: &Snapshotter<E>, q: KeyRequest) -> Result<MountsResponse, Failure> {
    let mounts = on.mounts(&q.key)?;
    Ok(MountsResponse { mounts })
}

fn commit<E: Effects>(on: &Snapshotter<E>, q: CommitRequest) -> Result<Nothing, Failure> {
    on.commit(&q.name, &q.key, q.labels)?;
    Ok(Nothing {})
}

fn remove<E: Effects>(on: &Snapshotter<E>, q: KeyRequest) -> Result<Nothing, Failure> {
    on.remove(&q.key)?;
    Ok(Nothing {})
}

fn stat<E: Effects>(on: &Snapshotter<E>, q: KeyRequest) -> Result<InfoResponse, Failure> {
    let info = Some(info(on.stat(&q.key)?));
    Ok(InfoResponse { info })
}

fn update<E: Effects>(on: &Snapshotter<E>, q: UpdateRequest) -> Result<InfoResponse, Failure> {
    let asked = q.info.ok_or(Failure::Nameless)?;
    let fields = q.update_mask.unwrap_or_default().paths;
    let info = Some(info(on.update(&asked.name, asked.labels, &fields)?));
    Ok(InfoResponse { info })
}

fn list<E: Effects>(on: &Snapshotter<E>, q: ListRequest) -> Result<Vec<ListResponse>, Failure> {
    let mut pieces = Vec::new();
    let mut snapshots = on.list(&q.filters)?.into_iter().map(info).peekable();
    while snapshots.peek().is_some() {
        let info = snapshots.by_ref().take(PIECE).collect();
        pieces.push(ListResponse { info });
    }
    Ok(pieces)
}

fn usage<E: Effects>(on: &Snapshotter<E>, q: KeyRequest) -> Result<UsageResponse, Failure> {
    let Usage { bytes, inodes } = on.usage(&q.key)?;
    let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
    Ok(UsageResponse {
        size: signed(bytes),
        inodes: signed(inodes),
    })
}

fn cleanup<E: Effects>(on: &Snapshotter<E>, _: Nothing) -> Result<Nothing, Failure> {
    on.cleanup()?;
    Ok(Nothing {})
}

fn info(snapshot: Snapshot) -> Info {
    use super::messages::Kind;
    let kind = match snapshot.kind {
        model::Kind::View => Kind::View,
        model::Kind::Active => Kind::Active,
        model::Kind::Committed => Kind::Committed,
    };
    let timestamp = |Moment { seconds, nanos }| Some(Timestamp { seconds, nanos });
    Info {
        name: snapshot.name,
        parent: snapshot.parent.unwrap_or_default(),
        kind: kind.into(),
        created_at: timestamp(snapshot.created),
        updated_at: timestamp(snapshot.updated),
        labels: snapshot.labels,
    }
}
