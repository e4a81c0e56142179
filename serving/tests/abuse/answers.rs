//! Large answers, which nobody reads or which are read slowly.

use crate::support::{PATIENCE, models, start, start_with, until};
use crate::{MIB, Watch, resident};
use coterie_protocol::query::ListClustersRequest;
use coterie_serving::Settings;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_bounded() {
    let watch = Watch::begin().await;
    let settings =
        Settings { max_bytes_in_flight: 64 << 20, answer_timeout: Duration::from_secs(2), ..Settings::default() };
    let server = start_with(models::large(4_096, 512), settings).await;
    let before = resident();
    let mut deaf = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        let head = "GET /v1/clusters?limit=4096&centroids=true HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        deaf.push(stream);
    }
    // All of them have an answer, the first bytes of which are in the kernel.
    for stream in &deaf {
        tokio::time::timeout(PATIENCE, stream.readable()).await.unwrap().unwrap();
    }
    let grown = resident().saturating_sub(before) / MIB;
    assert!(grown < 300, "{grown} MiB for answers that nobody reads");
    server.get("/healthz/live").await.ok();
    // They are let go of in time, and then others are answered.
    until("answers are given up", || async {
        server.get("/v1/clusters?limit=4096&centroids=true").await.status == 200
    })
    .await;
    drop(deaf);
    watch.end(&server).await;
}

/// A caller who reads slowly but reads gets all of a large answer, over both protocols.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_arrive_whole() {
    let watch = Watch::begin().await;
    let server = start(models::large(4_096, 128)).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = "GET /v1/clusters?limit=4096&centroids=true HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let mut sip = vec![0; 300_000];
    loop {
        let count = stream.read(&mut sip).await.unwrap();
        if count == 0 {
            break;
        }
        said.extend_from_slice(&sip[..count]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let said = String::from_utf8(said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(body.len() > 4 << 20, "{} bytes are not many", body.len());
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let rest = body["clusters"].as_array().unwrap();
    let request = ListClustersRequest { limit: 4_096, with_centroids: true, ..ListClustersRequest::default() };
    let mut client = server.client().await.max_decoding_message_size(16 << 20);
    let grpc = client.list_clusters(request).await.unwrap().into_inner().clusters;
    assert_eq!((rest.len(), grpc.len()), (4_096, 4_096));
    for (rest, grpc) in rest.iter().zip(grpc) {
        let centroid: Vec<f32> = serde_json::from_value(rest["centroid"].clone()).unwrap();
        assert_eq!(centroid, grpc.centroid);
    }
    watch.end(&server).await;
}
