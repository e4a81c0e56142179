//! Clients that mean harm are refused, cut off or waited out, in bounded memory; everyone else is answered meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod bodies;
mod grpc;
mod slow;

use coterie_protocol::query::{AssignRequest, GetModelRequest};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::Running;
use tokio::sync::{Mutex, MutexGuard};

const GOOD: &str = r#"{"vector": [160, 0]}"#;

const MIB: u64 = 1 << 20;

/// One test at a time: they measure the memory of the process, in which server and clients live.
static ALONE: Mutex<()> = Mutex::const_new(());

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// What a test does alone, and what memory there was.
struct Watch {
    _alone: MutexGuard<'static, ()>,
    before: u64,
}

impl Watch {
    async fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                PANICS.fetch_add(1, Ordering::SeqCst);
                usual(info);
            }));
        });
        let alone = ALONE.lock().await;
        PANICS.store(0, Ordering::SeqCst);
        Self { _alone: alone, before: resident() }
    }

    /// By how much memory has grown, in MiB.
    fn grown(&self) -> u64 {
        resident().saturating_sub(self.before) / MIB
    }

    /// Whatever came before, the server goes on, and nothing has panicked.
    async fn end(self, server: &Running) {
        server.get("/healthz/live").await.ok();
        server.client().await.get_model(GetModelRequest {}).await.unwrap();
        assert_eq!(PANICS.load(Ordering::SeqCst), 0);
        server.in_flight(0).await;
    }
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// What comes of `work`, and the most memory that the process had meanwhile.
async fn peak<T>(work: impl Future<Output = T>) -> (T, u64) {
    let mut most = resident();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return (done, most.max(resident())),
            () = tokio::time::sleep(Duration::from_millis(1)) => most = most.max(resident()),
        }
    }
}

/// Lone requests get their answer, over both protocols.
async fn answered(server: &Running) {
    let reply = server.post("/v1/assign", GOOD).await.ok();
    assert_eq!(reply["assignments"][0]["cluster"], 1);
    let lone = AssignRequest { vector: vec![160.0, 0.0], ..AssignRequest::default() };
    let reply = server.client().await.assign(lone).await.unwrap().into_inner();
    assert_eq!(reply.assignment.unwrap().cluster, 1);
}
