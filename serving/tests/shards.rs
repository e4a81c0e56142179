//! Similar items divided over several servers: they answer as one server with all items does, or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_model::items::{Options, Shard, TableOptions};
use coterie_protocol::internal::item_shards_client::ItemShardsClient;
use coterie_protocol::internal::{FindItemRequest, ItemSearch, ItemShard, NearestItemsRequest};
use coterie_protocol::query::SimilarItemsRequest;
use coterie_serving::{CacheSettings, Server, Settings};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::items::{Stored, stored};
use support::{Running, bind, models, start_served, start_server};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Code, Request};

const ROWS: usize = 3_000;
const DIMENSION: usize = 6;

/// Rows around 20 centroids, rounded so that distances are equal often; every tenth id is that of another item too.
async fn songs(parts: usize) -> Stored {
    let model = models::large(20, DIMENSION);
    let mut random = models::Random(3);
    let mut rows = Vec::new();
    for row in 0..ROWS {
        let noise = random.values(DIMENSION);
        let centroid = model.centroids.row(row % 20);
        rows.extend(centroid.iter().zip(noise).map(|(c, x)| ((c + 0.5 * x) * 4.0).round() / 4.0));
    }
    let ids: Vec<i64> = (0..ROWS as i64).map(|row| if row % 10 == 0 { row / 20 } else { row }).collect();
    stored(model, &rows, &ids, parts).await
}

fn options(recall: f64, tables: bool, number: u32, of: u32) -> Options {
    let tables = if tables { TableOptions::Chosen } else { TableOptions::None };
    Options { recall, tables, shard: Shard::new(number, of).unwrap() }
}

/// Nothing is kept, so that every question is asked.
fn settings() -> Settings {
    Settings { cache: CacheSettings { bytes: 0, ..CacheSettings::default() }, ..Settings::default() }
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().unwrap().to_string()
}

/// A server of each of `of` shards, which know each other.
async fn divided(songs: &Stored, recall: f64, tables: bool, of: u32) -> Vec<Running> {
    let mut listeners = Vec::new();
    for _ in 0..of {
        listeners.push(bind().await);
    }
    let addresses: Vec<Vec<String>> = listeners.iter().map(|listener| vec![address(listener)]).collect();
    let mut running = Vec::new();
    for (number, listener) in (0..of).zip(listeners) {
        running.push(shard(songs, options(recall, tables, number, of), &addresses, listener).await);
    }
    running
}

async fn shard(songs: &Stored, options: Options, peers: &[Vec<String>], listener: TcpListener) -> Running {
    let server = Server::new(songs.served(options).await, settings()).with_peers(peers.to_vec());
    start_server(server, listener).await
}

/// The same, with answers kept.
async fn keeping(songs: &Stored, options: Options, peers: &[Vec<String>], listener: TcpListener) -> Running {
    let server = Server::new(songs.served(options).await, Settings::default()).with_peers(peers.to_vec());
    start_server(server, listener).await
}

async fn ask(server: &Running, body: &Value) -> Value {
    server.post("/v1/similar-items", body.to_string()).await.ok()
}

fn questions() -> Vec<Value> {
    let mut random = models::Random(9);
    let mut all = Vec::new();
    for row in (0..ROWS).step_by(97) {
        let id = if row % 10 == 0 { row / 20 } else { row };
        all.push(json!({ "id": id }));
        all.push(json!({"id": row / 20, "count": 1 + row % 40}));
        all.push(json!({"id": id, "cluster": row % 20, "count": 200}));
        all.push(json!({"vector": random.values(DIMENSION), "count": 1 + row % 13}));
        all.push(json!({"vector": random.values(DIMENSION), "method": "Exact"}));
        all.push(json!({"vector": random.values(DIMENSION), "cluster": row % 20, "count": 3}));
    }
    all.push(json!({"id": 1, "count": 1000}));
    all
}

#[tokio::test]
async fn shards_answer_as_one_server_with_all_items_does() {
    for (parts, of) in [(7, 3), (2, 3)] {
        let songs = songs(parts).await;
        let whole = start_served(songs.served(options(1.0, false, 0, 1)).await, settings()).await;
        let shards = divided(&songs, 1.0, false, of).await;
        for (question, server) in questions().iter().zip(shards.iter().cycle()) {
            assert_eq!(ask(server, question).await, ask(&whole, question).await, "{question}");
        }
        for (body, status) in [
            (json!({"id": "nobody"}), 404),
            (json!({"id": 1, "count": 0}), 400),
            (json!({"id": 1, "cluster": 20}), 404),
            (json!({"vector": [1]}), 400),
            (json!({"id": 1, "method": "Tables"}), 400),
        ] {
            let (one, other) = ("/v1/similar-items", body.to_string());
            let (found, expected) = (shards[1].post(one, other.clone()).await, whole.post(one, other).await);
            assert_eq!((found.status.as_u16(), found.error()), (status, expected.error()), "{body}");
        }
        // What each replica has whole is answered without the others.
        let items = |reply: Value| reply["items"]["count"].clone();
        assert_eq!(items(shards[2].get("/v1/model").await.ok()), ROWS);
        let reply = shards[2].post("/v1/assign", r#"{"vector": [0, 0, 0, 0, 0, 0]}"#).await.ok();
        assert_eq!(reply, whole.post("/v1/assign", r#"{"vector": [0, 0, 0, 0, 0, 0]}"#).await.ok());
        assert!(shards[2].get("/v1/map").await.ok()["clusters"].as_array().is_some());
    }
}

/// Where a search is approximate, each shard finds its share; whoever is asked, the answer is the same.
#[tokio::test]
async fn every_shard_keeps_the_recall() {
    let songs = songs(12).await;
    for (tables, method) in [(false, "Lists"), (true, "Tables")] {
        let shards = divided(&songs, 0.9, tables, 3).await;
        let (mut hits, mut all) = (0, 0);
        for row in (1..ROWS).step_by(77).filter(|row| row % 10 != 0) {
            let exact = ask(&shards[0], &json!({"id": row, "method": "Exact"})).await;
            let mut answers = Vec::new();
            for server in &shards {
                answers.push(ask(server, &json!({"id": row})).await);
            }
            assert_eq!(answers[0]["method"], method);
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{row}: {answers:?}");
            let exact = exact["items"].as_array().unwrap();
            all += exact.len();
            hits += answers[0]["items"].as_array().unwrap().iter().filter(|item| exact.contains(item)).count();
        }
        assert!(hits as f64 >= 0.88 * all as f64, "{method}: {hits} of {all}");
    }
}

#[tokio::test]
async fn without_a_shard_there_is_no_answer_and_another_replica_takes_over() {
    let songs = songs(6).await;
    let (first, second, another) = (bind().await, bind().await, bind().await);
    let peers = [vec![address(&first)], vec![address(&second), address(&another)]];
    let server = shard(&songs, options(1.0, false, 0, 2), &peers, first).await;
    let mut one = shard(&songs, options(1.0, false, 1, 2), &peers, second).await;
    let mut other = shard(&songs, options(1.0, false, 1, 2), &peers, another).await;
    for id in 1..9 {
        ask(&server, &json!({"id": id})).await;
    }
    one.stop();
    one.ended().await;
    for id in 1..30 {
        ask(&server, &json!({"id": id})).await;
    }
    other.stop();
    other.ended().await;
    let reply = server.post("/v1/similar-items", r#"{"id": 1}"#).await;
    assert_eq!(reply.status, 503);
    let error = reply.error();
    assert!(error.contains("shard 1 of 2 of the items did not answer") && error.contains("try again"), "{error}");
    let request = SimilarItemsRequest { id: "1".to_owned(), ..SimilarItemsRequest::default() };
    let error = server.client().await.similar_items(request).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("shard 1 of 2"), "{error}");

    // It comes back at the address that was known.
    let back = TcpListener::bind(peers[1][0].as_str()).await.unwrap();
    let _back = shard(&songs, options(1.0, false, 1, 2), &peers, back).await;
    support::until("the shard is found again", async || {
        server.post("/v1/similar-items", r#"{"id": 1}"#).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn answers_are_of_one_model_and_one_division() {
    let songs = songs(6).await;
    let newer = self::songs(6).await.renamed("v4");
    let (first, second, third) = (bind().await, bind().await, bind().await);
    let swapped = bind().await;
    let peers = [vec![address(&first)], vec![address(&second), address(&third)]];
    let server = shard(&songs, options(1.0, false, 0, 2), &peers, first).await;
    let other = shard(&newer, options(1.0, false, 1, 2), &peers, second).await;
    let others = shard(&songs, options(1.0, false, 1, 3), &peers, third).await;
    let error = server.post("/v1/similar-items", r#"{"id": 1}"#).await;
    assert_eq!(error.status, 503, "{error:?}");
    let error = error.error();
    assert!(error.contains("1/2 of \"v4\" is here") && error.contains("1/3 of \"v3\" is here"), "{error}");
    // Nor the other way round.
    assert_eq!(other.post("/v1/similar-items", r#"{"id": 1}"#).await.status, 503);
    assert_eq!(others.post("/v1/similar-items", r#"{"id": 1}"#).await.status, 503);
    // One that takes itself for its peer is told so.
    let peers = [vec![address(&swapped)], vec![address(&swapped)]];
    let alone = shard(&songs, options(1.0, false, 0, 2), &peers, swapped).await;
    let error = alone.post("/v1/similar-items", r#"{"id": 1}"#).await.error();
    assert!(error.contains("shard 1/2") && error.contains("0/2 of \"v3\" is here"), "{error}");
    // And one that knows no peers says what is missing.
    let lost = start_served(songs.served(options(1.0, false, 1, 2)).await, settings()).await;
    let error = lost.post("/v1/similar-items", r#"{"id": 1}"#).await.error();
    assert!(error.contains("shard 0 of 2") && error.contains("--peers"), "{error}");
}

/// While replicas are replaced because search options changed, answers are those of this moment.
#[tokio::test]
async fn answers_of_shards_with_other_options_are_not_kept() {
    let songs = songs(6).await;
    let (first, second) = (bind().await, bind().await);
    let peers = [vec![address(&first)], vec![address(&second)]];
    let server = keeping(&songs, options(1.0, false, 0, 2), &peers, first).await;
    let mut before = keeping(&songs, options(0.5, false, 1, 2), &peers, second).await;
    let lookups = async |result: &str| {
        let name = format!("coterie_serving_cache_lookups_total{{result=\"{result}\"}}");
        server.metric(&name).await.unwrap_or_default()
    };
    let question = json!({"vector": vec![0.5; DIMENSION], "count": 20});
    for _ in 0..2 {
        ask(&server, &question).await;
    }
    assert_eq!((lookups("miss").await, lookups("own").await), (2.0, 0.0));
    before.stop();
    before.ended().await;

    let address = TcpListener::bind(peers[1][0].as_str()).await.unwrap();
    let _after = keeping(&songs, options(1.0, false, 1, 2), &peers, address).await;
    let whole = start_served(songs.served(options(1.0, false, 0, 1)).await, settings()).await;
    let expected = ask(&whole, &question).await;
    support::until("the shard is found again", async || {
        server.post("/v1/similar-items", question.to_string()).await.status == 200
    })
    .await;
    for _ in 0..2 {
        assert_eq!(ask(&server, &question).await, expected);
    }
    assert_eq!(lookups("own").await, 2.0);
}

#[tokio::test]
async fn a_silent_replica_takes_half_of_the_time_and_no_more() {
    let songs = songs(6).await;
    // It is there, and never says a word.
    let silent = bind().await;
    let (first, second) = (bind().await, bind().await);
    let alone = [vec![address(&first)], vec![address(&silent)]];
    let settings = Settings { request_timeout: Duration::from_secs(1), ..settings() };
    let served = songs.served(options(1.0, false, 0, 2)).await;
    let server = start_server(Server::new(served, settings).with_peers(alone.to_vec()), first).await;
    let begun = Instant::now();
    let reply = server.post("/v1/similar-items", json!({"vector": vec![0.0; DIMENSION]}).to_string()).await;
    // The error names the shard, before the time of the request is over.
    assert_eq!(reply.status, 503);
    assert!(reply.error().contains("shard 1 of 2"), "{reply:?}");
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());

    let request = |limit: u64| {
        let mut request =
            Request::new(SimilarItemsRequest { vector: vec![0.0; DIMENSION], ..SimilarItemsRequest::default() });
        request.set_timeout(Duration::from_millis(limit));
        request
    };
    let third = bind().await;
    let both = [vec![address(&second)], vec![address(&silent), address(&third)]];
    let server = shard(&songs, options(1.0, false, 0, 2), &both, second).await;
    let _other = shard(&songs, options(1.0, false, 1, 2), &both, third).await;
    for _ in 0..4 {
        let reply = server.client().await.similar_items(request(6_000)).await.unwrap().into_inner();
        assert_eq!(reply.items.len(), 10);
    }
}

/// The port is open to whoever reaches it.
#[tokio::test]
async fn what_no_replica_asks_is_refused() {
    let songs = songs(2).await;
    let shards = divided(&songs, 1.0, false, 2).await;
    let channel = Channel::from_shared(format!("http://{}", shards[1].grpc)).unwrap().connect().await.unwrap();
    let mut client = ItemShardsClient::new(channel);
    let error = client.find_item(FindItemRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    let served = songs.served(options(1.0, false, 1, 2)).await;
    let shard = Some(ItemShard {
        model_version: "v3".to_owned(),
        content: served.items().unwrap().content().to_owned(),
        shard: 1,
        shards: 2,
    });
    let good = NearestItemsRequest {
        shard: shard.clone(),
        vector: vec![0.0; DIMENSION],
        count: 3,
        search: ItemSearch::Exact.into(),
        cluster: None,
        without: None,
    };
    assert_eq!(client.nearest_items(good.clone()).await.unwrap().into_inner().items.len(), 3);
    for bad in [
        NearestItemsRequest { vector: vec![0.0; 2], ..good.clone() },
        NearestItemsRequest { vector: vec![f32::NAN; DIMENSION], ..good.clone() },
        NearestItemsRequest { vector: vec![f32::MAX; DIMENSION], ..good.clone() },
        NearestItemsRequest { count: 0, ..good.clone() },
        NearestItemsRequest { count: 1_001, ..good.clone() },
        NearestItemsRequest { search: 0, ..good.clone() },
        NearestItemsRequest { search: 9, ..good.clone() },
        NearestItemsRequest { cluster: Some(20), ..good.clone() },
    ] {
        let error = client.nearest_items(bad).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
    }
    let id = FindItemRequest { shard, id: "\u{0}".repeat(10_000) };
    assert_eq!(client.find_item(id).await.unwrap().into_inner().item, None);
}
