//! Server reflection: generic clients such as grpcurl ask which services there are, and how to speak to them.

use crate::accept;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_reflection::server::Builder;

/// Adds both versions of the reflection service, which describe the public services.
pub(crate) fn add(mut routes: Routes) -> Routes {
    match describe().build_v1() {
        Ok(service) => routes = routes.add_service(service),
        Err(error) => tracing::error!(%error, "no reflection: the descriptors are unreadable"),
    }
    match describe().build_v1alpha() {
        Ok(service) => routes = routes.add_service(service),
        Err(error) => tracing::error!(%error, "no reflection: the descriptors are unreadable"),
    }
    routes
}

fn describe() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(coterie_protocol::PUBLIC_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Ends what a client asks of reflection once the server stops: a client that keeps its stream open for later questions would
/// hold up the drain.
pub(crate) async fn end_with_server(
    State(mut stop): State<watch::Receiver<bool>>,
    request: Request,
    next: Next,
) -> Response {
    if !request.uri().path().starts_with("/grpc.reflection.") {
        return next.run(request).await;
    }
    let stopped = Box::pin(async move { accept::stopped(&mut stop).await });
    next.run(request.map(|body| Body::from_stream(body.into_data_stream().take_until(stopped)))).await
}
