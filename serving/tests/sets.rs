//! A model of sets is asked with zeros and ones, and answers by the Jaccard distance over every protocol.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_algorithms::lsh::{Neighbour, brute_force};
use coterie_algorithms::metric::Metric;
use coterie_model::RowId;
use coterie_model::items::{Options, TableOptions};
use coterie_serving::query::{self, Like, Method, QueryError, Served, Similar, similar};
use serde_json::json;
use std::sync::Arc;
use support::items::with_items;
use support::models::{self, Random};
use support::{batch, start};
use tonic::Code;

#[tokio::test]
async fn the_nearest_cluster_is_that_of_the_jaccard_distance() {
    let server = start(models::tags()).await;
    // By straight lines the cluster of hardly any members, at (0, 0, 0, 0.25), would be the nearest of the first.
    let rows = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0];
    let reply =
        server.post("/v1/assign", json!({"vectors": rows.chunks(4).collect::<Vec<_>>()}).to_string()).await.ok();
    let first = &reply["assignments"][0];
    assert_eq!((&first["cluster"], &first["distance"]), (&json!(0), &json!(0.6)));
    assert_eq!(first["margin"], json!(0.4));
    assert_eq!(first["confidence"], json!(0.4));
    assert_eq!(reply["assignments"][1]["cluster"], 0);

    let mut client = server.client().await;
    let over_grpc = client.assign_batch(batch(4, &rows)).await.unwrap().into_inner();
    assert_eq!((over_grpc.clusters, over_grpc.distances[0], over_grpc.margins[0]), (vec![0, 0], 0.6, 0.4));

    let near = server.post("/v1/nearest-clusters", json!({"vector": [0, 0, 1, 1], "count": 3}).to_string()).await.ok();
    let clusters: Vec<_> = near["clusters"].as_array().unwrap().iter().map(|near| near["cluster"].clone()).collect();
    // The others are equally far.
    assert_eq!(clusters, [1, 0, 2], "{near}");
    assert_eq!(server.get("/v1/model").await.ok()["metric"], "Jaccard");
    assert_eq!(server.get("/v1/map").await.ok()["clusters"].as_array().unwrap().len(), 3);
}

#[test]
fn every_row_gets_what_all_distances_say() {
    let model = models::many_sets(300, 40);
    let rows: Vec<f32> = Random(3).values(500 * 40).iter().map(|value| f32::from(u8::from(*value > 0.6))).collect();
    let served = Served::new(Arc::new(model.clone()));
    for (at, (row, found)) in rows.chunks(40).zip(query::assign(&served, rows.clone(), Some(0)).unwrap()).enumerate() {
        let mut all: Vec<(f64, u32)> =
            (0..300).map(|i| (Metric::Jaccard.distance(row, model.centroids.row(i as usize)), i)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        assert_eq!((found.cluster, found.distance), (all[0].1, all[0].0 as f32), "row {at}");
        assert_eq!(found.margin, (all[1].0 - all[0].0) as f32, "row {at}");
        let near = query::nearest_clusters(&served, row, Some(7)).unwrap();
        assert!(near.iter().zip(&all).all(|(near, all)| near.cluster == all.1), "row {at}");
    }
}

#[tokio::test]
async fn what_is_no_set_and_trees_are_refused() {
    let server = start(models::tags()).await;
    let expected = "row 1: feature \"c\" (value 2) is 0.5: vectors are sets for this model, so send 1 for every member and 0 for all others";
    let reply = server.post("/v1/assign", json!({"vectors": [[1, 0, 0, 0], [1, 0, 0.5, 0]]}).to_string()).await;
    assert_eq!((reply.status.as_u16(), reply.error().as_str()), (400, expected));
    let mut client = server.client().await;
    let status = client.assign_batch(batch(4, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.5, 0.0])).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, expected));

    let reply = server.get("/v1/dendrogram").await;
    assert_eq!(reply.status, 501);
    assert_eq!(
        reply.error(),
        "the clusters of a model of sets (metric Jaccard) have no tree: they are joined by straight-line distances"
    );
}

/// Groups of sets of some 20 of 80 members, of which each lacks a few.
fn groups(n: usize) -> Vec<f32> {
    let (base, gaps) = (Random(1).values(25 * 80), Random(2).values(n * 80));
    let member = |i: usize| base[(i / 80 % 25) * 80 + i % 80] > 0.5 && gaps[i] < 0.8;
    (0..n * 80).map(|i| f32::from(u8::from(member(i)))).collect()
}

#[tokio::test]
async fn items_like_a_set_are_those_of_the_jaccard_distance() {
    let rows = groups(500);
    for tables in [false, true] {
        let chosen = if tables { TableOptions::Chosen } else { TableOptions::None };
        let options = Options { recall: 0.9, tables: chosen, ..Options::default() };
        let served = with_items(models::many_sets(7, 80), &rows, options).await;
        let lists = served.items().unwrap().lists(&served.model().centroids).unwrap();
        let ask = |like, cluster, method| similar(&served, &Similar { like, count: Some(5), cluster, method });
        let named = |near: &[Neighbour]| -> Vec<(RowId, f32)> {
            near.iter().map(|near| (served.items().unwrap().id(near.id), near.distance as f32)).collect()
        };
        let mut hits = 0;
        for query in rows.chunks_exact(80).take(100) {
            let found = ask(Like::Vector(query.to_vec()), None, Some(Method::Exact)).unwrap();
            let found: Vec<(RowId, f32)> = found.into_iter().map(|item| (item.id, item.distance)).collect();
            let truth = named(&brute_force(lists.rows(), Metric::Jaccard, query, 5));
            assert_eq!(found, truth);
            let by_default = ask(Like::Vector(query.to_vec()), None, None).unwrap();
            hits += by_default.iter().filter(|item| truth.iter().any(|(id, _)| *id == item.id)).count();
            for item in by_default {
                let place = served.items().unwrap().find(&match item.id {
                    RowId::Int(id) => id.to_string(),
                    RowId::Text(id) => id,
                });
                let distance = Metric::Jaccard.distance(query, lists.row(place.unwrap() as usize));
                assert_eq!(item.distance, distance as f32);
            }
        }
        assert!(if tables { hits > 420 } else { hits == 500 }, "{hits} of 500 with tables: {tables}");
        // An item is not like itself, and a cluster is looked at as a whole.
        let like = ask(Like::Item("100".to_owned()), None, None).unwrap();
        assert!(like.iter().all(|item| item.id != RowId::Int(100)) && !like.is_empty());
        let own = lists.cluster_of(served.items().unwrap().find("100").unwrap() as usize) as u32;
        let inside = ask(Like::Item("100".to_owned()), Some(own.into()), None).unwrap();
        assert!(inside.iter().all(|item| item.cluster == own && item.id != RowId::Int(100)));
        assert_eq!(ask(Like::Item("100".to_owned()), None, Some(Method::Lists)), Err(QueryError::NoLists));
    }
}
