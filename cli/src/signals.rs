//! When to stop: SIGINT, SIGTERM, or the end of the launcher that holds this process's standard input.

use tokio::{
    io::AsyncReadExt,
    signal::unix::{SignalKind, signal},
};

/// Completes on SIGINT or SIGTERM.
pub(crate) async fn asked() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process as they always do.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Completes when standard input ends.
pub(crate) async fn leash_released() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 64];
    while stdin.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
