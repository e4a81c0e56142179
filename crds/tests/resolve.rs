//! What a checked job holds: every default, and what the optional parts become.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use coterie_crds::resolved::{
    Algorithm, Columns, Evaluation, FeatureStep, Format, Init, InvalidRows, Items, KMeans, Metric, Output, Sets,
    Source, Store, TableParameters,
};
use coterie_crds::{ResolvedJob, parse, resolve, validate};

fn job(spec: &str) -> ResolvedJob {
    let yaml =
        format!("apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: songs}}\nspec:\n{spec}");
    let job = validate(&yaml).unwrap();
    // The typed way gives the same.
    assert_eq!(resolve(&parse(&yaml).unwrap()).unwrap(), job);
    job
}

#[test]
fn fills_in_every_default() {
    let found = job("  source: {uri: songs.parquet}\n  algorithm: {kMeans: {clusters: 3}}\n");
    assert_eq!(
        found,
        ResolvedJob {
            name: "songs".to_owned(),
            source: Source {
                uri: "songs.parquet".to_owned(),
                format: None,
                columns: Columns::default(),
                store: Store::default(),
                invalid_rows: InvalidRows::Fail,
            },
            features: vec![],
            metric: Metric::Euclidean,
            algorithm: Algorithm::KMeans(KMeans {
                clusters: 3,
                init: Init::KMeansParallel,
                max_iterations: 300,
                tolerance: 1e-4,
                restarts: 1,
            }),
            seed: 0,
            workers: 1,
            evaluation: Evaluation { sample_size: 20_000 },
            output: None,
            items: None,
        }
    );
}

#[test]
fn rows_are_sets_for_the_metric_jaccard() {
    let sets = |columns: &str| {
        let spec = format!(
            "  source: {{uri: a.parquet, columns: {columns}}}\n  metric: {{type: Jaccard}}\n  algorithm: {{lsh: {{hashes: 4}}}}\n"
        );
        let job = job(&spec);
        assert_eq!(job.metric, Metric::Jaccard);
        job.source.columns
    };
    assert_eq!(sets("{}"), Columns { sets: Some(Sets::Dense), ..Columns::default() });
    let lists = Some(Sets::Lists { column: "tags".to_owned(), size: 4096 });
    assert_eq!(sets("{set: {column: tags, size: 4096}}"), Columns { sets: lists, ..Columns::default() });
}

#[test]
fn hash_tables_are_those_of_a_recall_or_set_by_hand() {
    let items = |metric: &str, serving: &str| {
        let algorithm = if metric == "Euclidean" { "{kMeans: {clusters: 3}}" } else { "{lsh: {}}" };
        let spec = format!(
            "  source: {{uri: a.parquet}}\n  metric: {{type: {metric}}}\n  algorithm: {algorithm}\n  output: {{uri: out}}\n  serving: {serving}\n"
        );
        job(&spec).items
    };
    let chosen = |recall| Some(Items { recall, tables: true, parameters: None });
    assert_eq!(items("Euclidean", "{lsh: {}, similarItems: true}"), chosen(0.95));
    assert_eq!(items("Jaccard", "{lsh: {targetRecall: '0.8'}, similarItems: true}"), chosen(0.8));
    assert_eq!(items("Cosine", "{similarItems: true}"), Some(Items { recall: 0.95, tables: false, parameters: None }));
    let given = |parameters| Some(Items { recall: 0.95, tables: true, parameters: Some(parameters) });
    let own = TableParameters { tables: 16, hashes: 12, width: None, probes: None };
    let by_hand = "{similarItems: true, lsh: {tables: 16, hashes: 12}}";
    assert_eq!(items("Cosine", by_hand), given(own));
    assert_eq!(items("Jaccard", by_hand), given(own));
    assert_eq!(
        items("Euclidean", "{similarItems: true, lsh: {tables: 16, hashes: 12, width: '0.5', probes: 64}}"),
        given(TableParameters { width: Some(0.5), probes: Some(64), ..own })
    );
}

#[test]
fn carries_over_every_field() {
    let table: serde_json::Value = serde_yaml::from_str(include_str!("rules.yaml")).unwrap();
    let full = serde_yaml::to_string(&table["full"]).unwrap();
    let found = validate(&full).unwrap();
    let ca_bundle = Some("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned());
    assert_eq!(
        found,
        ResolvedJob {
            name: "full".to_owned(),
            source: Source {
                uri: "s3://music/embeddings/".to_owned(),
                format: Some(Format::Parquet),
                columns: Columns {
                    id: Some("track".to_owned()),
                    label: Some("genre".to_owned()),
                    vector: None,
                    features: ["tempo", "key", "loudness"].map(str::to_owned).to_vec(),
                    sets: None,
                },
                store: Store {
                    endpoint: Some("https://s3.example.com:9000".to_owned()),
                    region: Some("eu-central-1".to_owned()),
                    allow_http: false,
                    ca_bundle: ca_bundle.clone(),
                },
                invalid_rows: InvalidRows::Drop,
            },
            features: vec![
                FeatureStep::Standardize,
                FeatureStep::MinMax,
                FeatureStep::L2Normalize,
                FeatureStep::Pca { components: 2 },
            ],
            metric: Metric::Cosine,
            algorithm: Algorithm::KMeans(KMeans {
                clusters: 256,
                init: Init::WarmStart { uri: "s3://models/songs/models/v1/".to_owned() },
                max_iterations: 100,
                tolerance: 1e-4,
                restarts: 1,
            }),
            seed: 42,
            workers: 4,
            evaluation: Evaluation { sample_size: 20_000 },
            output: Some(Output {
                uri: "s3://models/songs/".to_owned(),
                assignments: true,
                store: Store {
                    endpoint: Some("http://localhost:9000".to_owned()),
                    region: Some("eu-central-1".to_owned()),
                    allow_http: true,
                    ca_bundle,
                },
            }),
            items: Some(Items { recall: 0.9, tables: true, parameters: None }),
        }
    );
}

#[test]
fn the_output_shares_the_store_of_the_source_when_the_scheme_is_the_same() {
    let source =
        "  source: {uri: 's3://a/b/', store: {endpoint: 'https://host'}}\n  algorithm: {kMeans: {clusters: 3}}\n";
    let endpoint = |output: &str| job(&format!("{source}  output: {output}\n")).output.unwrap().store.endpoint;
    assert_eq!(endpoint("{uri: 's3://c/d/'}").as_deref(), Some("https://host"));
    assert_eq!(endpoint("{uri: 'gs://c/d/'}"), None);
    assert_eq!(endpoint("{uri: out}"), None);
    assert_eq!(endpoint("{uri: 's3://c/d/', store: {}}"), None);
    let own = endpoint("{uri: 's3://c/d/', store: {endpoint: 'https://other'}}");
    assert_eq!(own.as_deref(), Some("https://other"));
}

#[test]
fn relative_paths_lie_beside_the_manifest() {
    let uris = |job: ResolvedJob| {
        let Algorithm::KMeans(KMeans { init: Init::WarmStart { uri }, .. }) = job.algorithm else {
            panic!("a warm start");
        };
        [job.source.uri, job.output.unwrap().uri, uri]
    };
    let relative = job(
        "  source: {uri: data/a.npy}\n  output: {uri: out/}\n  algorithm: {kMeans: {clusters: 3, init: WarmStart, warmStart: {uri: c.npy}}}\n",
    );
    assert_eq!(
        uris(relative.rebased(Path::new("examples"))),
        ["examples/data/a.npy", "examples/out/", "examples/c.npy"]
    );
    let absolute = job(
        "  source: {uri: /data/a.npy}\n  output: {uri: 's3://b/out/'}\n  algorithm: {kMeans: {clusters: 3, init: WarmStart, warmStart: {uri: 'file:///c.npy'}}}\n",
    );
    assert_eq!(uris(absolute.rebased(Path::new("examples"))), ["/data/a.npy", "s3://b/out/", "file:///c.npy"]);
}
