//! Connections: a bounded number of them, none held open by a silent peer, all of them drained on shutdown.

use crate::metrics::Protocol;
use crate::settings::Settings;
use axum::Router;
use axum::extract::Request;
use futures::FutureExt;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long a peer that never asked anything has to take leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// Pause after a failed accept, which means that the process ran out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `stop` turns true, then lets requests in flight finish for at most
/// `settings.drain_timeout`.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    protocol: Protocol,
    settings: Settings,
    mut stop: watch::Receiver<bool>,
) {
    let builder = builder(protocol, &settings);
    let slots = Arc::new(Semaphore::new(settings.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
            Some((accept(&listener).await, slot))
        };
        let (stream, slot) = tokio::select! {
            () = stopped(&mut stop) => break,
            next = next => match next {
                Some(next) => next,
                None => break,
            },
        };
        let connection = converse(stream, router.clone(), builder.clone(), settings.idle_timeout, stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
    }
    // For its peer, a connection in the kernel's queue is open already; closing the listener would cut it off.
    while let Ok(slot) = Arc::clone(&slots).try_acquire_owned()
        && let Some(Ok((stream, _))) = listener.accept().now_or_never()
    {
        let connection = converse(stream, router.clone(), builder.clone(), settings.idle_timeout, stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(settings.drain_timeout, drained).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut off because they did not finish in time");
    }
    connections.shutdown().await;
}

/// Answers what the peer asks, until it leaves, has asked nothing for `silence`, or `stop` turns true.
async fn converse(
    stream: TcpStream,
    router: Router,
    builder: auto::Builder<TokioExecutor>,
    silence: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let asked = AtomicBool::new(false);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let silent = async {
        tokio::time::sleep(silence).await;
        if asked.load(Ordering::Relaxed) {
            // From here on the protocol's own timeouts watch over the connection.
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = silent => None,
        () = stopped(&mut stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(GOODBYE, &mut connection).await {
                Ok(ended) => ended,
                Err(_elapsed) if asked.load(Ordering::Relaxed) => connection.await,
                Err(_elapsed) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}

/// Completes when `stop` is true, or when no one is left to make it so.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "connection keeps Nagle's algorithm");
                }
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn builder(protocol: Protocol, settings: &Settings) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    match protocol {
        Protocol::Http => {
            let mut builder = builder.http1_only();
            builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.idle_timeout).max_buf_size(256 << 10);
            builder
        }
        Protocol::Grpc => {
            let mut builder = builder.http2_only();
            builder
                .http2()
                .timer(TokioTimer::new())
                .keep_alive_interval(settings.idle_timeout)
                .keep_alive_timeout(Duration::from_secs(20))
                .max_concurrent_streams(256)
                .max_header_list_size(16 << 10)
                .max_frame_size(256 << 10)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20);
            builder
        }
    }
}
