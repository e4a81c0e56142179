//! Against a real S3 server: the same rows as from a directory, and every way of being refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use coterie_crds::resolved::{Columns, Source, Store};
use coterie_data::generate::{Blobs, generate};
use coterie_data::plan::plan_at;
use coterie_data::reader::Reader;
use coterie_data::store::{Access, Location, Patience, failure, open_with};
use coterie_data::{DataError, ErrorClass, Want};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use parquet::basic::Compression;
use support::weed::{ADMIN, Keys, NOBODY, Weed};
use support::write::{Shape, Table, batch, csv, npy, parquet};
use support::{Everything, read_plan, source};

fn access(keys: Option<Keys>) -> Access {
    let mut access = Access::default();
    if let Some(keys) = keys {
        access.variables.insert("AWS_ACCESS_KEY_ID".into(), keys.id.into());
        access.variables.insert("AWS_SECRET_ACCESS_KEY".into(), keys.secret.into());
    }
    access
}

fn store(weed: &Weed) -> Store {
    Store { endpoint: Some(weed.endpoint.clone()), allow_http: true, ..Store::default() }
}

fn locate(weed: &Weed, uri: &str, keys: Keys) -> Location {
    open_with(uri, &store(weed), &access(Some(keys))).unwrap()
}

async fn put(location: &Location, name: &str, bytes: Vec<u8>) {
    location.store.put(&location.child(name).path, bytes.into()).await.unwrap();
}

async fn read_at(source: &Source, location: &Location) -> Result<Everything, DataError> {
    let plan = Arc::new(plan_at(source, location).await?);
    let reader = Reader::open_at(source, location.clone(), Arc::clone(&plan));
    read_plan(&reader, &plan).await
}

fn named(vector: bool) -> Columns {
    Columns {
        id: Some("id".into()),
        label: Some("label".into()),
        vector: vector.then(|| "vector".into()),
        ..Columns::default()
    }
}

/// One server for everything, since it takes seconds to start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_s3_server() {
    let weed = tokio::task::spawn_blocking(Weed::start).await.unwrap();
    same_rows_as_from_a_directory(&weed).await;
    listings_of_many_pages(&weed).await;
    generated_data_comes_back(&weed).await;
    replaced_objects_are_noticed(&weed).await;
    refusals_are_sorted(&weed).await;
    create_only_puts(&weed.endpoint, &locate(&weed, "s3://puts/run/", ADMIN)).await;
    conditional_updates(&locate(&weed, "s3://puts/checkpoint/", ADMIN)).await;
}

async fn same_rows_as_from_a_directory(weed: &Weed) {
    let table = Table::blobs(5003, 6);
    type Encode = fn(&Table) -> Vec<u8>;
    let cases: [(&str, Encode, Columns); 4] = [
        ("parquet", |table| parquet(&batch(table, Shape::Fixed32), 60, Compression::SNAPPY), named(true)),
        ("npy", |table| npy(table, "<f8", true, 1), Columns::default()),
        ("csv", |table| csv(table, "\n"), named(false)),
        ("arrow", |table| support::write::arrow(&batch(table, Shape::List32), 50, None), named(true)),
    ];
    for (ending, encode, columns) in cases {
        for objects in [1, 37] {
            let location = locate(weed, &format!("s3://vectors/{ending}-{objects}/"), ADMIN);
            for (part, table) in table.parts(objects).iter().enumerate() {
                put(&location, &format!("part-{part:03}.{ending}"), encode(table)).await;
            }
            put(&location, "_SUCCESS", Vec::new()).await;
            let source = Source { columns: columns.clone(), store: store(weed), ..source(&location.uri) };
            let all = read_at(&source, &location).await.unwrap_or_else(|error| panic!("{ending} {objects}: {error}"));
            assert!(all.values == table.values, "{ending} {objects}");
            if ending != "npy" {
                assert_eq!(all.labels, table.labels);
            }
        }
    }
    // One object and a glob.
    for uri in ["s3://vectors/npy-1/part-000.npy", "s3://vectors/npy-*/part-000.npy"] {
        let location = locate(weed, uri, ADMIN);
        let all = read_at(&source(uri), &location).await.unwrap();
        assert!(all.rows >= 5003, "{uri}");
    }
}

async fn listings_of_many_pages(weed: &Weed) {
    let location = locate(weed, "s3://many/", ADMIN);
    put(&location, "0000.csv", b"x\n0\n".to_vec()).await;
    stream::iter(1..1100)
        .map(|number| {
            let location = &location;
            async move { put(location, &format!("{number:04}.csv"), format!("x\n{number}\n").into_bytes()).await }
        })
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    let all = read_at(&source("s3://many/"), &location).await.unwrap();
    assert_eq!(all.values, (0..1100).map(|number| number as f32).collect::<Vec<_>>());
}

async fn generated_data_comes_back(weed: &Weed) {
    // Large enough for uploads of several parts.
    let blobs = Blobs { rows: 700_001, dimension: 12, clusters: 5, noise: 0.02, deviation: 0.7, seed: 3 };
    let location = locate(weed, "s3://generated/blobs/", ADMIN);
    // Listing a bucket that does not exist is an error; the first write makes it.
    put(&locate(weed, "s3://generated/other/", ADMIN), "x", b"x".to_vec()).await;
    let made = generate(&location, &blobs, 2, |_| {}).await.unwrap();
    assert_eq!((made.rows, made.objects), (700_001, 2));
    let source = Source { columns: named(true), ..source(&location.uri) };
    let all = read_at(&source, &location).await.unwrap();
    let (values, labels) = blobs.rows(0, 700_001);
    assert!(all.values == values);
    assert!(all.int_ids.iter().copied().eq(0..700_001));
    assert!(all.labels.iter().zip(&labels).all(|(text, label)| *text == label.to_string()));
    let error = generate(&location, &blobs, 2, |_| {}).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Spec);
    assert!(
        error.to_string().starts_with("s3://generated/blobs/: there are objects already, such as blobs/part-0000"),
        "{error}"
    );
}

async fn replaced_objects_are_noticed(weed: &Weed) {
    let location = locate(weed, "s3://changing/", ADMIN);
    let table = Table::blobs(300, 4);
    put(&location, "a.npy", npy(&table, "<f4", false, 1)).await;
    let source = source(&location.uri);
    let plan = Arc::new(plan_at(&source, &location).await.unwrap());
    let reader = Reader::open_at(&source, location.clone(), plan);
    // The same size, other numbers.
    let mut other = table.clone();
    other.values.reverse();
    put(&location, "a.npy", npy(&other, "<f4", false, 1)).await;
    let error = reader.read(0, Want::default()).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(
        error.to_string().starts_with("s3://changing/a.npy: the object changed while it was being read"),
        "{error}"
    );
}

async fn refusals_are_sorted(weed: &Weed) {
    let secretless = |error: &DataError| {
        let text = format!("{error:?} {error}");
        for secret in [ADMIN.secret, NOBODY.secret, "wrong-secret", "AWS4-HMAC", "Signature="] {
            assert!(!text.contains(secret), "{text}");
        }
    };
    let refused = async |uri: &str, keys: Option<Keys>| {
        let location = open_with(uri, &store(weed), &access(keys)).unwrap();
        let error = plan_at(&source(uri), &location).await.unwrap_err();
        secretless(&error);
        error
    };
    for (uri, keys) in [
        ("s3://vectors/npy-1/", Some(NOBODY)),
        ("s3://vectors/npy-1/part-000.npy", Some(NOBODY)),
        ("s3://vectors/npy-1/", Some(Keys { id: ADMIN.id, secret: "wrong-secret" })),
        ("s3://vectors/npy-1/", Some(Keys { id: "unknown", secret: "wrong-secret" })),
        ("s3://vectors/npy-1/", None),
    ] {
        let error = refused(uri, keys).await;
        assert_eq!(error.class(), ErrorClass::Denied, "{uri} {keys:?}: {error}");
        assert!(error.to_string().starts_with(&format!("{uri}: access denied while ")), "{error}");
        assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("403"), "{cause}");
    }
    let error = refused("s3://no-such-bucket/x/", Some(ADMIN)).await;
    assert_eq!(error.class(), ErrorClass::Spec);
    assert!(
        error.to_string().starts_with("s3://no-such-bucket/x/: the bucket does not exist while listing objects"),
        "{error}"
    );
    assert!(error.to_string().ends_with("; correct its name, or the endpoint and region"), "{error}");
    let error = refused("s3://vectors/nothing/here/", Some(ADMIN)).await;
    assert_eq!(error.class(), ErrorClass::Data);
    assert!(error.to_string().contains("there is no object with this name or below it"), "{error}");
    // Writing without the right to.
    let location = locate(weed, "s3://vectors/forbidden/", NOBODY);
    let blobs = Blobs { rows: 10, dimension: 2, clusters: 1, noise: 0.0, deviation: 1.0, seed: 1 };
    let error = generate(&location, &blobs, 1, |_| {}).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Denied, "{error}");
    let path = location.child("x").path;
    let error = location.store.put(&path, "x".into()).await.unwrap_err();
    assert_eq!(
        failure("s3://vectors/forbidden/x", "writing the object", &error).class(),
        ErrorClass::Denied,
        "{error}"
    );
}

/// Manifests and checkpoints rely on this: of all who create a name, exactly one succeeds.
async fn create_only_puts(what: &str, location: &Location) {
    let create = |path: Path, body: String| {
        let store = Arc::clone(&location.store);
        async move { store.put_opts(&path, body.into(), PutOptions::from(PutMode::Create)).await }
    };
    let path = location.child("manifest.json").path;
    create(path.clone(), "first".into()).await.unwrap();
    let error = create(path.clone(), "second".into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{what}: {error:?}");
    assert_eq!(failure(&location.uri, "writing the manifest", &error).class(), ErrorClass::Spec);
    assert_eq!(location.store.get(&path).await.unwrap().bytes().await.unwrap(), "first");
    for round in 0..3 {
        let path = location.child(&format!("race-{round}")).path;
        let results: Vec<_> = stream::iter(0..8)
            .map(|writer| create(path.clone(), format!("writer {writer}")))
            .buffer_unordered(16)
            .collect()
            .await;
        let winners = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(winners, 1, "{what}: {winners} writers created the same object");
    }
}

/// Not every store can do this; where it can, a stale writer loses.
async fn conditional_updates(location: &Location) {
    let path = location.child("state").path;
    let first = location.store.put(&path, "1".into()).await.unwrap();
    let update = |version: UpdateVersion, body: &'static str| {
        location.store.put_opts(&path, body.into(), PutOptions::from(PutMode::Update(version)))
    };
    let version = UpdateVersion { e_tag: first.e_tag, version: None };
    update(version.clone(), "2").await.unwrap();
    let error = update(version, "3").await.unwrap_err();
    assert!(matches!(error, Error::Precondition { .. }), "{error:?}");
    assert_eq!(location.store.get(&path).await.unwrap().bytes().await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_only_puts_on_this_machine() {
    let directory = tempfile::tempdir().unwrap();
    let location = open_with(directory.path().to_str().unwrap(), &Store::default(), &Access::default()).unwrap();
    create_only_puts("local", &location).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_needs_the_right_authority() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let pem = certificate.clone();
    let weed = tokio::task::spawn_blocking(move || Weed::start_tls(&certificate, &key)).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("ca.pem");
    std::fs::write(&bundle, pem).unwrap();
    let trusting = Store {
        endpoint: Some(weed.endpoint.clone()),
        ca_bundle: Some(bundle.to_str().unwrap().to_owned()),
        ..Store::default()
    };
    let location = open_with("s3://secure/data/", &trusting, &access(Some(ADMIN))).unwrap();
    put(&location, "a.csv", b"x\n1\n2\n".to_vec()).await;
    assert_eq!(read_at(&source("s3://secure/data/"), &location).await.unwrap().values, [1.0, 2.0]);
    let wary = Store { endpoint: Some(weed.endpoint.clone()), ..Store::default() };
    let mut patient = access(Some(ADMIN));
    patient.patience = Patience { total: Duration::from_secs(2), ..Patience::default() };
    let location = open_with("s3://secure/data/", &wary, &patient).unwrap();
    let error = plan_at(&source("s3://secure/data/"), &location).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Spec, "{error:?}");
    assert!(
        error.to_string().contains("certificate is not trusted") && error.to_string().contains("set store.caBundle"),
        "{error}"
    );
}

#[tokio::test]
async fn unreachable_endpoints_give_up_in_time() {
    let store = Store { endpoint: Some("http://127.0.0.1:9".into()), allow_http: true, ..Store::default() };
    let mut access = access(Some(ADMIN));
    access.patience = Patience { total: Duration::from_secs(2), ..Patience::default() };
    let location = open_with("s3://bucket/x/", &store, &access).unwrap();
    let start = Instant::now();
    let error = plan_at(&source("s3://bucket/x/"), &location).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    assert_eq!(error.class(), ErrorClass::Transient, "{error:?}");
    assert_eq!(
        error.to_string(),
        "s3://bucket/x/: the store failed while listing objects; check store.endpoint, the network and whether the store is up, then run again"
    );
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.to_lowercase().contains("refused"), "{cause}");
}
