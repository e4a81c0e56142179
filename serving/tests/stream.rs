//! Batches one after the other over one call of gRPC.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_protocol::query::AssignBatchRequest;
use coterie_serving::Settings;
use futures::channel::mpsc;
use std::sync::Arc;
use std::time::Duration;
use support::models::Random;
use support::{PATIENCE, batch, models, start, start_with, until};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_has_its_answer_in_order_by_the_model_of_the_moment() {
    let server = start(models::large(300, 16)).await;
    let mut client = server.client().await;
    let batches: Vec<AssignBatchRequest> = (1..40).map(|n| batch(16, &Random(n as u64).values(16 * 50 * n))).collect();
    let mut expected = Vec::new();
    for batch in &batches {
        expected.push(client.assign_batch(batch.clone()).await.unwrap().into_inner());
    }
    let stream = futures::stream::iter(batches.clone());
    let mut answers = client.assign_stream(stream).await.unwrap().into_inner();
    for expected in &expected {
        assert_eq!(answers.message().await.unwrap().as_ref(), Some(expected));
    }
    assert_eq!(answers.message().await.unwrap(), None);

    // The model is replaced between two batches of an open stream.
    let (mut sender, receiver) = mpsc::channel(1);
    sender.try_send(batches[0].clone()).unwrap();
    let mut answers = client.assign_stream(receiver).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap(), expected[0]);
    let mut next = models::large(300, 16);
    next.version = "v9".to_owned();
    server.handle.replace(Arc::new(next));
    sender.try_send(batches[0].clone()).unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().model_version, "v9");
}

#[tokio::test]
async fn a_wrong_batch_ends_the_stream_after_the_answers_before_it() {
    let server = start(models::songs()).await;
    let mut client = server.client().await;
    let batches = [batch(2, &[160.0, 0.0]), batch(3, &[1.0, 2.0, 3.0]), batch(2, &[160.0, 0.0])];
    let mut answers = client.assign_stream(futures::stream::iter(batches)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().clusters, [1]);
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("expected 2 values (\"tempo\", \"key\"), found 3"), "{status}");
}

#[tokio::test]
async fn streams_are_bounded_in_number_and_in_idleness() {
    let settings = Settings { max_streams: 2, idle_timeout: Duration::from_millis(500), ..Settings::default() };
    let server = start_with(models::songs(), settings).await;
    let mut client = server.client().await;
    let (_first, one) = mpsc::channel::<AssignBatchRequest>(1);
    let (_second, two) = mpsc::channel::<AssignBatchRequest>(1);
    let mut idle = client.assign_stream(one).await.unwrap().into_inner();
    let _held = client.assign_stream(two).await.unwrap().into_inner();
    let status = client.assign_stream(futures::stream::iter([])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    // Nothing comes: the place goes to others.
    let status = tokio::time::timeout(PATIENCE, idle.message()).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    until("there is room again", || async {
        let mut client = client.clone();
        client.assign_stream(futures::stream::iter([batch(2, &[160.0, 0.0])])).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_stopping_server_says_so_between_two_batches() {
    let mut server = start(models::songs()).await;
    let mut client = server.client().await;
    let (mut sender, receiver) = mpsc::channel(1);
    sender.try_send(batch(2, &[160.0, 0.0])).unwrap();
    let mut answers = client.assign_stream(receiver).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().clusters, [1]);
    server.stop();
    let status = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "this replica is shutting down"));
    drop((answers, client, sender));
    tokio::time::timeout(Duration::from_secs(15), server.ended()).await.expect("does not wait for the drain's end");
}
