//! When to stop: SIGINT, SIGTERM, or the end of the launcher that holds this process's standard input.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
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
    let (released, ended) = oneshot::channel();
    // Reads of standard input cannot be cancelled: they get a thread that nobody waits for.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = released.send(());
    });
    let _ = ended.await;
}
