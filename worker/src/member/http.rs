//! A small HTTP server: few connections, one short request on each.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// Longest life of a connection.
const LIFE: Duration = Duration::from_secs(5);
/// Most bytes of a request's head; bodies are not read.
const HEAD: usize = 16 << 10;
/// Pause after a failed accept, which means that the process ran out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(LIFE).max_buf_size(HEAD).keep_alive(false);
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        connections.spawn(async move {
            let _ = tokio::time::timeout(LIFE, connection).await;
            drop(slot);
        });
    }
}
