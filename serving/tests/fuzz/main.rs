//! Nonsense of every kind gets a proper refusal; the server goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod grpc;
mod json;

use coterie_model::items::{Options, TableOptions};
use coterie_serving::Settings;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::client::Reply;
use support::items::with_items;
use support::{Running, models, start_served};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn songs_with_items() -> Running {
    let options = Options { recall: 0.9, tables: TableOptions::Chosen, ..Options::default() };
    let served = with_items(models::songs(), &[0.0, 0.0, 0.5, 0.0, 3.0, 1.0, 0.0, -4.0], options).await;
    start_served(served, Settings::default()).await
}

fn check(cases: u32, server: &Running, runtime: &Runtime, test: impl Fn(&mut TestRunner)) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    test(&mut runner);
    // Whatever came before, the next question is answered.
    runtime.block_on(async {
        server.get("/healthz/live").await.ok();
        let reply = server.post("/v1/assign", r#"{"vector": [100, 0]}"#).await.ok();
        assert_eq!(reply["assignments"][0]["cluster"], 0);
        assert_eq!(
            server.metric("coterie_serving_requests_total{protocol=\"http\",endpoint=\"assign\",code=\"500\"}").await,
            None
        );
        assert_eq!(server.metric("coterie_serving_requests_in_flight").await, Some(1.0), "only the scrape");
    });
}

/// An answer, or a refusal that says why.
fn proper(reply: &Reply) -> Result<(), TestCaseError> {
    prop_assert!(reply.status.as_u16() == 200 || reply.status.is_client_error(), "{:?}", reply);
    prop_assert!(reply.status == 200 || !reply.error().is_empty(), "{:?}", reply);
    Ok(())
}
