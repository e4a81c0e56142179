//! A model of sets is asked with their members as well, and answers as it does for zeros and ones, to the bit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_algorithms::members::{Members, hash};
use coterie_model::items::{Options, TableOptions};
use coterie_protocol::query::{
    AssignBatchRequest, AssignRequest, GetModelRequest, NearestClustersRequest, Set, SimilarItemsRequest,
};
use coterie_serving::Settings;
use futures::StreamExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use support::edits::edited;
use support::items::with_items;
use support::models::{self, Random, of};
use support::{Running, batch, start, start_served, start_with};
use tonic::Code;

const SIZE: usize = 80;

/// Sets of some twenty members, in no order and some of them twice; the first is empty.
fn sets(count: usize) -> Vec<Vec<u64>> {
    let draws = Random(11).values(count * 20);
    let set = |draws: &[f32]| draws.iter().map(|draw| (draw.abs() * SIZE as f32) as u64 % SIZE as u64).collect();
    std::iter::once(Vec::new()).chain(draws.chunks(20).skip(1).map(set)).collect()
}

fn text(member: u64) -> String {
    format!("tag {member}")
}

/// The sets as rows of zeros and ones.
fn rows(members: Members, sets: &[Vec<u64>]) -> Vec<f32> {
    let mut rows = vec![0.0; sets.len() * SIZE];
    for (row, set) in rows.chunks_mut(SIZE).zip(sets) {
        for &member in set {
            let number = if members == Members::Texts { hash(text(member).as_bytes()) } else { member };
            row[members.column(number, SIZE).unwrap()] = 1.0;
        }
    }
    rows
}

fn spelt(members: Members, set: &[u64]) -> Value {
    match members {
        Members::Integers => json!(set),
        Members::Texts => set.iter().map(|member| text(*member)).collect(),
    }
}

fn message(members: Members, set: &[u64]) -> Set {
    match members {
        Members::Integers => Set { integers: set.to_vec(), ..Set::default() },
        Members::Texts => Set { texts: set.iter().map(|member| text(*member)).collect(), ..Set::default() },
    }
}

async fn with_some_items(members: Members) -> Running {
    let options = Options { recall: 0.9, tables: TableOptions::Chosen, ..Options::default() };
    let items = rows(members, &sets(300));
    start_served(with_items(of(members, models::many_sets(30, SIZE)), &items, options).await, Settings::default()).await
}

#[tokio::test]
async fn answers_over_rest_are_those_for_zeros_and_ones() {
    for members in [Members::Integers, Members::Texts] {
        let server = with_some_items(members).await;
        let sets = sets(60);
        let rows = rows(members, &sets);
        let post = async |path: &str, body: Value| server.post(path, body.to_string()).await.ok();
        let by_rows = post("/v1/assign", json!({"vectors": rows.chunks(SIZE).collect::<Vec<_>>()})).await;
        let spelt_sets: Vec<Value> = sets.iter().map(|set| spelt(members, set)).collect();
        assert_eq!(post("/v1/assign", json!({ "sets": spelt_sets })).await, by_rows);
        for (row, set) in rows.chunks(SIZE).zip(&spelt_sets) {
            for (path, more) in [
                ("/v1/assign", json!({"modelVersion": "v3"})),
                ("/v1/nearest-clusters", json!({"count": 7})),
                ("/v1/similar-items", json!({"count": 3, "method": "Exact"})),
                ("/v1/similar-items", json!({"cluster": 4})),
                ("/v1/similar-items", json!({"method": "Tables"})),
            ] {
                let ask = |name: &str, value: Value| {
                    let mut body = more.clone();
                    body[name] = value;
                    post(path, body)
                };
                assert_eq!(ask("set", set.clone()).await, ask("vector", json!(row)).await, "{path} {set}");
            }
        }
        assert_eq!(server.get("/v1/model").await.ok()["members"], json!(members.name()));
    }
}

#[tokio::test]
async fn answers_over_grpc_are_those_for_zeros_and_ones() {
    for members in [Members::Integers, Members::Texts] {
        let server = with_some_items(members).await;
        let mut client = server.client().await;
        let sets = sets(60);
        let rows = rows(members, &sets);
        let expected = client.assign_batch(batch(SIZE, &rows)).await.unwrap().into_inner();
        let sent = || AssignBatchRequest {
            sets: sets.iter().map(|set| message(members, set)).collect(),
            ..AssignBatchRequest::default()
        };
        assert_eq!(client.assign_batch(sent()).await.unwrap().into_inner(), expected);
        let stream = client.assign_stream(futures::stream::iter([sent(), batch(SIZE, &rows), sent()])).await.unwrap();
        let streamed: Vec<_> = stream.into_inner().map(Result::unwrap).collect().await;
        assert_eq!(streamed, vec![expected; 3]);
        for (row, set) in rows.chunks(SIZE).zip(&sets) {
            let set = || Some(message(members, set));
            let by_row = AssignRequest { vector: row.to_vec(), ..AssignRequest::default() };
            let by_set = AssignRequest { set: set(), ..AssignRequest::default() };
            let by_row = client.assign(by_row).await.unwrap().into_inner();
            assert_eq!(client.assign(by_set).await.unwrap().into_inner(), by_row);
            let by_row = NearestClustersRequest { vector: row.to_vec(), ..NearestClustersRequest::default() };
            let by_set = NearestClustersRequest { set: set(), ..NearestClustersRequest::default() };
            let by_row = client.nearest_clusters(by_row).await.unwrap().into_inner();
            assert_eq!(client.nearest_clusters(by_set).await.unwrap().into_inner(), by_row);
            let by_row = SimilarItemsRequest { vector: row.to_vec(), ..SimilarItemsRequest::default() };
            let by_set = SimilarItemsRequest { set: set(), ..SimilarItemsRequest::default() };
            let by_row = client.similar_items(by_row).await.unwrap().into_inner();
            assert_eq!(client.similar_items(by_set).await.unwrap().into_inner(), by_row);
        }
        let model = client.get_model(GetModelRequest {}).await.unwrap().into_inner();
        assert_eq!(model.members, members.name());
    }
}

/// A model of columns of zeros and ones is asked by the names of these.
#[tokio::test]
async fn features_are_members_by_their_names() {
    let options = Options { recall: 0.9, tables: TableOptions::Chosen, ..Options::default() };
    let model = models::many_sets(30, SIZE);
    let sets = sets(200);
    let rows = rows(Members::Integers, &sets);
    let served = with_items(model, &rows, options).await;
    let server = start_served(served, Settings::default()).await;
    assert_eq!(server.get("/v1/model").await.ok()["members"], "FeatureNames");
    let named = |set: &[u64]| set.iter().map(|member| format!("tag_{member}")).collect::<Vec<String>>();
    let all: Vec<Vec<String>> = sets.iter().map(|set| named(set)).collect();
    let post = async |path: &str, body: Value| server.post(path, body.to_string()).await.ok();
    // So many members that they are looked up off the async threads.
    let by_rows = post("/v1/assign", json!({"vectors": rows.chunks(SIZE).collect::<Vec<_>>()})).await;
    assert_eq!(post("/v1/assign", json!({ "sets": all })).await, by_rows);
    for (row, set) in rows.chunks(SIZE).zip(&all).take(20) {
        for path in ["/v1/assign", "/v1/nearest-clusters", "/v1/similar-items"] {
            assert_eq!(
                post(path, json!({ "set": set })).await,
                post(path, json!({ "vector": row })).await,
                "{path} {set:?}"
            );
        }
    }
    let mut client = server.client().await;
    assert_eq!(client.get_model(GetModelRequest {}).await.unwrap().into_inner().members, "FeatureNames");
    let expected = client.assign_batch(batch(SIZE, &rows)).await.unwrap().into_inner();
    let sets = all.iter().map(|texts| Set { texts: texts.clone(), ..Set::default() }).collect();
    let sent = AssignBatchRequest { sets, ..AssignBatchRequest::default() };
    assert_eq!(client.assign_batch(sent).await.unwrap().into_inner(), expected);
}

#[tokio::test]
async fn what_cannot_be_answered_is_said() {
    let integers = start(of(Members::Integers, models::tags())).await;
    let texts = start(of(Members::Texts, models::tags())).await;
    let repeated = ["a", "b", "b", "d"].map(str::to_owned).to_vec();
    let unknown = start(coterie_model::Model { feature_names: repeated, ..models::tags() }).await;
    let (named, songs) = (start(models::tags()).await, start(models::songs()).await);
    let no_sets = "this model compares vectors (metric Euclidean), not sets: send a vector of 2 numbers";
    let no_members = "this model does not tell which columns members have: it was trained on columns of zeros and ones some of which have \
                      one name. Send a vector of 4 numbers, 1 for every member and 0 for all others";
    let features = r#"("a", "b", "c", "d")"#;
    let names = format!("the members of this model's sets are the names of its features {features}: send texts");
    let no_name = |at: usize| {
        format!(
            "member {at} of the set, counted from 0, is no name of a feature {features}: GET /v1/model lists all; correct it or leave it out"
        )
    };
    let expected = "expected 0 to 3 as in training (source.columns.set.size): correct it or leave it out";
    let outside = |member: u64| format!("the set has the member {member}, {expected}");
    let mixed = "the body is not what this endpoint takes: integers and texts are mixed in sets: send only what the sets of the training \
                 data have at line 1 column";
    let member = "the body is not what this endpoint takes: invalid type:";
    for (server, path, body, words) in [
        (&songs, "assign", r#"{"set": []}"#, no_sets.to_owned()),
        (&songs, "nearest-clusters", r#"{"set": [1]}"#, no_sets.to_owned()),
        (&unknown, "assign", r#"{"sets": [[1]]}"#, no_members.to_owned()),
        (&unknown, "nearest-clusters", r#"{"set": []}"#, no_members.to_owned()),
        (&unknown, "similar-items", r#"{"set": []}"#, no_members.to_owned()),
        (&named, "assign", r#"{"sets": [[1]]}"#, names.clone()),
        (&named, "assign", r#"{"set": ["a", "e"]}"#, no_name(1)),
        (&named, "assign", r#"{"sets": [["a"], [], ["b", "d", "A"]]}"#, format!("row 2: {}", no_name(2))),
        (&named, "nearest-clusters", r#"{"set": [""]}"#, no_name(0)),
        (&named, "similar-items", r#"{"set": ["e"]}"#, no_name(0)),
        (
            &integers,
            "assign",
            r#"{"set": ["1"]}"#,
            "the members of this model's sets are integers: send those".to_owned(),
        ),
        (&texts, "assign", r#"{"sets": [[1]]}"#, "the members of this model's sets are texts: send those".to_owned()),
        (&integers, "assign", r#"{"set": [3, 4]}"#, outside(4)),
        (&integers, "assign", r#"{"sets": [[3], [], [9, 4], [3]]}"#, format!("row 2: {}", outside(9))),
        (&integers, "nearest-clusters", r#"{"set": [18446744073709551615]}"#, outside(u64::MAX)),
        (&integers, "assign", r#"{"sets": []}"#, "no set was sent: send at least one".to_owned()),
        (&integers, "assign", r#"{"set": [1, "1"]}"#, mixed.to_owned()),
        (&integers, "assign", r#"{"sets": [[1], ["1"]]}"#, mixed.to_owned()),
        (&integers, "assign", r#"{"set": [null]}"#, format!("{member} null, expected an integer from 0 on, or a text")),
        (&integers, "assign", r#"{"set": [-1]}"#, format!("{member} integer `-1`, expected an integer from 0 on")),
        (&integers, "assign", r#"{"set": [1.5]}"#, format!("{member} floating point `1.5`")),
        (&integers, "assign", r#"{"sets": [1]}"#, format!("{member} integer `1`, expected an array of members")),
        (&integers, "assign", r#"{"set": [1], "vector": [1, 0, 0, 0]}"#, "send either \"vector\": [...], ".to_owned()),
        (&integers, "assign", r#"{"set": [1], "sets": [[1]]}"#, "send either \"vector\": [...], ".to_owned()),
        (&integers, "nearest-clusters", r#"{"set": [1], "vector": [1, 0, 0, 0]}"#, "send either \"vector\"".to_owned()),
        (&integers, "similar-items", r#"{"set": [1], "id": 1}"#, "send either \"id\"".to_owned()),
    ] {
        let reply = server.post(&format!("/v1/{path}"), body).await;
        assert_eq!(reply.status, 400, "{path} {body}");
        assert!(reply.error().starts_with(&words), "{path} {body}: {}", reply.error());
    }

    let set = |numbers: &[u64], words: &[&str]| Set {
        integers: numbers.to_vec(),
        texts: words.iter().map(|text| (*text).to_owned()).collect(),
    };
    let lone = |set: Set| AssignRequest { set: Some(set), ..AssignRequest::default() };
    let both = AssignRequest { vector: vec![0.0; 4], ..lone(set(&[1], &[])) };
    for (server, request, words) in [
        (&songs, lone(set(&[], &[])), no_sets),
        (&unknown, lone(set(&[1], &[])), no_members),
        (&named, lone(set(&[1], &[])), &names),
        (&named, lone(set(&[], &["a", "x"])), &no_name(1)),
        (&texts, lone(set(&[1], &[])), "the members of this model's sets are texts: send those"),
        (&integers, lone(set(&[4], &[])), &outside(4)),
        (
            &integers,
            lone(set(&[1], &["1"])),
            "integers and texts are mixed in sets: send only what the sets of the training data have",
        ),
        (&integers, both, "send either vector or set"),
    ] {
        let status = server.client().await.assign(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, words));
    }
    let mut client = integers.client().await;
    let both = NearestClustersRequest { vector: vec![0.0; 4], set: Some(Set::default()), ..Default::default() };
    assert_eq!(client.nearest_clusters(both).await.unwrap_err().message(), "send either vector or set");
    let both = AssignBatchRequest { sets: vec![Set::default()], ..batch(4, &[0.0; 4]) };
    assert_eq!(client.assign_batch(both).await.unwrap_err().message(), "send either vectors or sets");
    let sets = AssignBatchRequest { sets: vec![set(&[], &[]), set(&[5, 7], &[])], ..Default::default() };
    assert_eq!(client.assign_batch(sets).await.unwrap_err().message(), format!("row 1: {}", outside(7)));
    let both = SimilarItemsRequest { id: "1".to_owned(), set: Some(Set::default()), ..Default::default() };
    assert_eq!(client.similar_items(both).await.unwrap_err().message(), "send either id, vector or set");
}

#[tokio::test]
async fn sets_are_as_many_as_rows_could_be() {
    let model = || of(Members::Integers, models::tags());
    let settings = Settings { max_body_bytes: 400, ..Settings::default() };
    let (by_bytes, by_rows) = (
        start_with(model(), settings).await,
        start_with(model(), Settings { max_rows: 2, ..Settings::default() }).await,
    );
    let sets = |count: usize| format!("{{\"sets\": [{}[1]]}}", "[],".repeat(count - 1));
    for (server, most) in [(&by_bytes, 50), (&by_rows, 2)] {
        let reply = server.post("/v1/assign", sets(most)).await.ok();
        assert_eq!(reply["assignments"].as_array().unwrap().len(), most);
        let reply = server.post("/v1/assign", sets(most + 1)).await;
        let words = format!(
            "{} sets in one request, at most {most} are allowed where they may have 4 members: split them over several requests",
            most + 1
        );
        assert_eq!((reply.status.as_u16(), reply.error()), (400, words.clone()));
        let request = AssignBatchRequest { sets: vec![Set::default(); most + 1], ..AssignBatchRequest::default() };
        assert_eq!(server.client().await.assign_batch(request).await.unwrap_err().message(), words);
    }
    // One is always allowed.
    let wide = of(Members::Integers, models::many_sets(2, 500));
    let server = start_with(wide, Settings { max_body_bytes: 400, ..Settings::default() }).await;
    server.post("/v1/assign", sets(1)).await.ok();
    assert_eq!(server.post("/v1/assign", sets(2)).await.status, 400);
}

/// JSON that is nearly right.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let good = prop::sample::select(vec![
        r#"{"set": [0, 3, 3]}"#,
        r#"{"set": ["a", "", "\u0000"], "count": 2}"#,
        r#"{"sets": [[0], [], [1, 2]], "modelVersion": "v3"}"#,
        r#"{"sets": [["a", "b"], ["c"]]}"#,
    ]);
    let pieces = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        "null",
        "1e400",
        "\"",
        "\\u0000",
        "[]",
        "\"set\":",
        "\"sets\":",
        "\"vector\":",
        "-",
        ".",
        "4",
        "\0",
        "18446744073709551616",
    ]);
    edited(good, pieces, 0..4)
}

#[test]
fn nonsense_gets_a_proper_refusal() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let servers = [Members::Integers, Members::Texts].map(|members| {
        runtime.block_on(async {
            let model = of(members, models::many_sets(3, 4));
            start_served(with_items(model, &[1.0, 0.0, 0.0, 1.0], Options::default()).await, Settings::default()).await
        })
    });
    let paths = prop::sample::select(vec!["/v1/assign", "/v1/nearest-clusters", "/v1/similar-items"]);
    let mut runner = TestRunner::new(Config { cases: 800, failure_persistence: None, ..Config::default() });
    runner
        .run(&(paths, nearly_json()), |(path, body)| {
            for server in &servers {
                let reply = runtime.block_on(server.post(path, body.clone()));
                prop_assert!(reply.status == 200 || reply.status.is_client_error(), "{:?}", reply);
                prop_assert!(reply.status == 200 || !reply.error().is_empty(), "{:?}", reply);
            }
            Ok(())
        })
        .unwrap();
    for server in &servers {
        runtime.block_on(server.get("/healthz/live")).ok();
    }
}
