//! The tree over the clusters, the picture of the model, and what was asked of late.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_model::items::Options;
use coterie_protocol::query::{GetClusterRequest, GetDendrogramRequest, GetMapRequest, Merge};
use coterie_serving::Settings;
use serde_json::json;
use support::items::with_items;
use support::{models, start, start_served};
use tonic::Code;

#[tokio::test]
async fn clusters_join_to_a_tree() {
    let server = start(models::songs()).await;
    // Centroids (0, 0), (3, 0), (0, -4) of 10, 20 and 30 rows.
    let first = 3.0 * (2.0f64 * 10.0 * 20.0 / 30.0).sqrt();
    let second = ((4.0 + 16.0) * (2.0f64 * 30.0 * 30.0 / 60.0)).sqrt();
    let tree = server.get("/v1/dendrogram?groups=2&modelVersion=v3").await.ok();
    assert_eq!(tree["merges"][0], json!({"left": 0, "right": 1, "height": first, "size": 30}));
    assert_eq!((&tree["merges"][1]["left"], &tree["merges"][1]["right"]), (&json!(2), &json!(3)));
    assert!((tree["merges"][1]["height"].as_f64().unwrap() - second).abs() < 1e-9);
    assert_eq!((&tree["linkage"], &tree["clusters"], &tree["groups"]), (&json!("Ward"), &json!(3), &json!([0, 0, 1])));
    assert_eq!(server.get("/v1/dendrogram").await.ok().get("groups"), None);

    let mut client = server.client().await;
    let request = GetDendrogramRequest { groups: 2, model_version: "v3".to_owned() };
    let reply = client.get_dendrogram(request).await.unwrap().into_inner();
    assert_eq!(reply.merges[0], Merge { left: 0, right: 1, height: first, size: 30 });
    assert_eq!((reply.groups, reply.model_version.as_str()), (vec![0, 0, 1], "v3"));

    for (path, expected) in [
        ("/v1/dendrogram?groups=0", "groups must be from 1 to 3, the number of clusters, found 0"),
        ("/v1/dendrogram?groups=4", "groups must be from 1 to 3, the number of clusters, found 4"),
    ] {
        let reply = server.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.error().as_str()), (400, expected));
    }
    let request = GetDendrogramRequest { groups: 4, model_version: String::new() };
    assert_eq!(client.get_dendrogram(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_tree_over_too_many_clusters_is_refused() {
    let server = start(models::large(5_000, 2)).await;
    let reply = server.get("/v1/dendrogram").await;
    assert_eq!(reply.status, 501);
    assert_eq!(reply.error(), "the model has 5000 clusters; a tree is built over at most 4096");
    // The picture takes a part of the centroids for its axes.
    assert_eq!(server.get("/v1/map").await.ok()["clusters"].as_array().unwrap().len(), 5_000);
}

#[tokio::test]
async fn the_picture_keeps_the_distances_that_matter() {
    // Two of the axes hold all of a plane, so distances between places are those of the centroids.
    let rows: Vec<f32> = (0..400).flat_map(|i| [(i % 4) as f32, -((i / 4) as f32) / 25.0]).collect();
    let served = with_items(models::songs(), &rows, Options::default()).await;
    let server = start_served(served, Settings::default()).await;
    let map = server.get("/v1/map?items=40").await.ok();
    let at = |place: &serde_json::Value| (place["x"].as_f64().unwrap(), place["y"].as_f64().unwrap());
    let apart = |a: &serde_json::Value, b: &serde_json::Value| (at(a).0 - at(b).0).hypot(at(a).1 - at(b).1);
    let clusters = map["clusters"].as_array().unwrap();
    for (a, b, expected) in [(0, 1, 3.0), (0, 2, 4.0), (1, 2, 5.0)] {
        assert!((apart(&clusters[a], &clusters[b]) - expected).abs() < 1e-5, "{map}");
    }
    let explained: f64 = map["explained"].as_array().unwrap().iter().map(|share| share.as_f64().unwrap()).sum();
    assert!((explained - 1.0).abs() < 1e-9);
    assert_eq!(map["method"], "PCA");

    // Of each cluster its share, at the place of its features.
    let items = map["items"].as_array().unwrap();
    assert_eq!(items.len(), 40);
    for cluster in clusters {
        let shown = items.iter().filter(|item| item["cluster"] == cluster["cluster"]).count() as f64;
        let share = cluster["size"].as_f64().unwrap() / 10.0;
        assert!((shown - share).abs() <= 1.0, "{shown} of {share}");
    }
    for item in items {
        let row = item["id"].as_u64().unwrap() as usize - 100;
        let expected = f64::from(rows[2 * row]).hypot(f64::from(rows[2 * row + 1]));
        assert!((apart(item, &clusters[0]) - expected).abs() < 1e-4, "{item}");
    }

    let mut client = server.client().await;
    let request = GetMapRequest { items: Some(40), model_version: String::new() };
    let reply = client.get_map(request).await.unwrap().into_inner();
    assert_eq!((reply.items.len(), reply.cluster_x.len(), reply.cluster_y.len()), (40, 3, 3));
    assert_eq!(reply.items[7].x, at(&items[7]).0 as f32);
    assert_eq!(server.get("/v1/map?items=0").await.ok()["items"], json!([]));
    assert_eq!(server.get("/v1/map").await.ok()["items"].as_array().unwrap().len(), 400, "there are no more");
    let reply = server.get("/v1/map?items=20001").await;
    assert_eq!((reply.status.as_u16(), reply.error().as_str()), (400, "items must be at most 20000, found 20001"));
}

#[tokio::test]
async fn clusters_tell_what_was_asked_of_late() {
    let server = start(models::songs()).await;
    server.post("/v1/assign", r#"{"vectors": [[160, 0], [160, 0], [100, 0]]}"#).await.ok();
    let mut client = server.client().await;
    client.assign_batch(support::batch(2, &[160.0, 0.0])).await.unwrap();
    let recent = |cluster: &serde_json::Value| cluster["recent"].clone();
    assert_eq!(recent(&server.get("/v1/clusters/1").await.ok()), json!({"rows": 3, "share": 0.75}));
    let all = server.get("/v1/clusters").await.ok();
    assert_eq!(recent(&all["clusters"][0]), json!({"rows": 1, "share": 0.25}));
    assert_eq!(recent(&all["clusters"][2]), json!({"rows": 0, "share": 0.0}));
    let request = GetClusterRequest { cluster: 1, model_version: String::new() };
    let cluster = client.get_cluster(request).await.unwrap().into_inner().cluster.unwrap();
    assert_eq!((cluster.recent_rows, cluster.recent_share), (3, 0.75));

    // Another model begins anew.
    let mut next = models::songs();
    next.version = "v4".to_owned();
    server.handle.replace(std::sync::Arc::new(next));
    assert_eq!(recent(&server.get("/v1/clusters/1").await.ok()), json!({"rows": 0, "share": 0.0}));
}
