//! Items: written as parts, read back as an index.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use std::path::Path as LocalPath;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use coterie_algorithms::features::Pipeline;
use coterie_algorithms::kmeans::Centroids;
use coterie_algorithms::lists::{Breadth, Searcher};
use coterie_algorithms::lsh::{Family, Neighbour, StableFamily, brute_force};
use coterie_algorithms::metric::Metric;
use coterie_model::items::{
    ItemIndex, Items, ItemsError, Options, PartWriter, Shard, Stop, TableOptions, TableParameters, TablesSearcher,
    part_name,
};
use coterie_model::{Model, RowId, version_path};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

const ROWS: usize = 900;

/// Rows around the fixture's three centroids, their clusters, and ids that are out of order.
fn rows(model: &Model) -> (Vec<f32>, Vec<u32>) {
    let mut state = 9u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut values = Vec::new();
    for row in 0..ROWS {
        values.extend(model.centroids.row(row % 3).iter().map(|c| c + 0.5 * random()));
    }
    let mut clusters = vec![0; ROWS];
    coterie_algorithms::kmeans::assign(&model.centroids, &values, &mut clusters);
    (values, clusters)
}

fn id_number(row: usize) -> i64 {
    (row as i64 * 7919) % 1_000_003 - 5_000
}

/// The fixture with items in two parts, at the place it is told of.
async fn written(store: &Arc<LocalFileSystem>, texts: bool) -> (Model, Path, Vec<f32>, Vec<u32>) {
    let model = fixture::model();
    let (values, clusters) = rows(&model);
    written_of(store, model, values, clusters, texts).await
}

/// A model of two dimensions with these rows as items.
async fn written_of(
    store: &Arc<LocalFileSystem>,
    mut model: Model,
    values: Vec<f32>,
    clusters: Vec<u32>,
    texts: bool,
) -> (Model, Path, Vec<f32>, Vec<u32>) {
    let version = version_path(&Path::from("out"), &model.version);
    let mut parts = Vec::new();
    for (split, range) in [(0, 0..400), (1, 400..ROWS)] {
        let ids: ArrayRef = if texts {
            Arc::new(StringArray::from_iter_values(range.clone().map(|row| format!("item-{}", id_number(row)))))
        } else {
            Arc::new(Int64Array::from_iter_values(range.clone().map(id_number)))
        };
        let dynamic: Arc<dyn ObjectStore> = Arc::<LocalFileSystem>::clone(store);
        let mut writer = PartWriter::new(dynamic, &version, &part_name(split), ids.data_type(), 2).unwrap();
        writer.write(ids, &clusters[range.clone()], &values[range.start * 2..range.end * 2]).await.unwrap();
        parts.push(writer.finish().await.unwrap());
    }
    model.items = Some(Items::new(parts));
    model.training.input.rows = ROWS as u64;
    for (cluster, statistics) in model.clusters.iter_mut().enumerate() {
        statistics.size = clusters.iter().filter(|&&found| found as usize == cluster).count() as u64;
    }
    coterie_model::write(store.as_ref(), &Path::from("out"), &model).await.unwrap();
    (model, version, values, clusters)
}

struct Place {
    _directory: tempfile::TempDir,
    store: Arc<LocalFileSystem>,
    cache: std::path::PathBuf,
}

impl Place {
    fn dynamic(&self) -> Arc<dyn ObjectStore> {
        Arc::<LocalFileSystem>::clone(&self.store)
    }
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
    let cache = directory.path().join("cache");
    Place { _directory: directory, store, cache }
}

fn files(directory: &LocalPath) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn what_was_written_is_found_by_id_and_by_nearness() {
    for texts in [false, true] {
        let place = place();
        let (model, version, values, clusters) = written(&place.store, texts).await;
        let read = coterie_model::read(place.store.as_ref(), &version).await.unwrap();
        assert_eq!(read.items, model.items);
        let options = Options { recall: 0.9, tables: TableOptions::Chosen, ..Options::default() };
        let index =
            ItemIndex::open(&place.dynamic(), &version, &read, &place.cache, options, &Stop::default()).await.unwrap();
        assert_eq!(index.len(), ROWS);
        let lists = index.lists(&read.centroids).unwrap();
        for row in 0..ROWS {
            let id = if texts { format!("item-{}", id_number(row)) } else { id_number(row).to_string() };
            let place = index.find(&id).unwrap();
            assert_eq!(lists.row(place as usize), &values[row * 2..][..2]);
            assert_eq!(lists.cluster_of(place as usize), clusters[row] as usize);
            match index.id(place) {
                RowId::Int(found) => assert_eq!(found, id_number(row)),
                RowId::Text(found) => assert_eq!(found, id),
            }
        }
        for unknown in ["", "item-", "nobody", "999999999", "-1", "zzz"] {
            assert_eq!(index.find(unknown), None, "{unknown}");
        }
        let (mut searcher, mut found) = (Searcher::new(), Vec::new());
        let query = [0.1, 0.1];
        searcher.nearest(&lists, read.metric, &query, Breadth::lists(3), 10, None, &mut found);
        let truth = brute_force(lists.rows(), read.metric, &query, 10);
        assert_eq!(found, truth);
        let tables = index.tables().unwrap();
        assert!(tables.count() > 0 && tables.recall() > 0.5);
        let mut hits = 0;
        for query in values.chunks_exact(18).map(|rows| [rows[0] + 0.01, rows[1] - 0.01]) {
            tables.nearest(&mut TablesSearcher::default(), lists.rows(), read.metric, &query, 10, &mut found);
            let truth = brute_force(lists.rows(), read.metric, &query, 10);
            hits += found.iter().filter(|found| truth.contains(found)).count();
        }
        assert!(hits >= 850, "{hits} of 1000");
    }
}

/// Codes tell nothing of the distances of sets.
#[tokio::test]
async fn an_index_of_sets_has_no_codes() {
    let mut sizes = Vec::new();
    for metric in [Metric::Euclidean, Metric::Jaccard] {
        let place = place();
        let mut model = fixture::model();
        let (mut values, _) = rows(&model);
        values.iter_mut().for_each(|value| *value = f32::from(u8::from(*value > 0.0)));
        model.metric = metric;
        model.pipeline = Pipeline::new(2);
        model.feature_names.truncate(2);
        model.centroids = Centroids::new(2, vec![0.5, 0.25, 1.0, 0.0, 0.0, 1.0]);
        let clusters = (0..ROWS as u32).map(|row| row % 3).collect();
        let (model, version, values, _) = written_of(&place.store, model, values, clusters, false).await;
        let options = Options::default();
        let index =
            ItemIndex::open(&place.dynamic(), &version, &model, &place.cache, options, &Stop::default()).await.unwrap();
        let lists = index.lists(&model.centroids).unwrap();
        for row in 0..ROWS {
            let place = index.find(&id_number(row).to_string()).unwrap() as usize;
            assert_eq!((lists.row(place), lists.cluster_of(place)), (&values[row * 2..][..2], row % 3));
        }
        sizes.push(std::fs::metadata(&files(&place.cache)[0]).unwrap().len());
    }
    // Codes are padded to 16 bytes, and three numbers go with each.
    assert!(sizes[0] - sizes[1] > 28 * ROWS as u64 - 500, "{sizes:?}");
}

const BY_HAND: TableParameters = TableParameters { tables: 3, hashes: 2, width: Some(0.4), probes: None };

#[tokio::test]
async fn tables_set_by_hand_find_the_nearest_of_what_shares_a_bucket() {
    let place = place();
    let (model, version, ..) = written(&place.store, false).await;
    let open = async |parameters| {
        let options = Options { tables: TableOptions::Given(parameters), ..Options::default() };
        ItemIndex::open(&place.dynamic(), &version, &model, &place.cache, options, &Stop::default()).await.unwrap()
    };
    let index = open(BY_HAND).await;
    let (tables, lists) = (index.tables().unwrap(), index.lists(&model.centroids).unwrap());
    assert_eq!((tables.count(), tables.probes()), (3, 3));
    // The slow twin: keys of everything.
    let family = StableFamily::new(2, 3, 2, 0.4, model.training.seed);
    let keys = |rows: &[f32]| {
        let mut keys = vec![0; rows.len() / 2 * 3];
        family.keys(rows, &mut keys);
        keys
    };
    let all = keys(lists.rows());
    let (mut searcher, mut found, mut hits) = (TablesSearcher::default(), Vec::new(), 0);
    for query in lists.rows().chunks_exact(2).step_by(9) {
        let own = keys(query);
        let meets = |near: &Neighbour| (0..3).any(|table| all[near.id as usize * 3 + table] == own[table]);
        let mut expected = brute_force(lists.rows(), model.metric, query, ROWS);
        expected.retain(meets);
        expected.truncate(11);
        tables.nearest(&mut searcher, lists.rows(), model.metric, query, 11, &mut found);
        assert_eq!(found, expected);
        let truth = brute_force(lists.rows(), model.metric, query, 11);
        hits += found.iter().filter(|found| truth.contains(found)).count() - 1;
    }
    // What is told was measured on other rows.
    assert!((hits as f64 / 1000.0 - tables.recall()).abs() < 0.08, "{hits} of 1000, told {}", tables.recall());

    let more = open(TableParameters { probes: Some(24), ..BY_HAND }).await;
    assert_eq!(more.tables().map(|tables| (tables.count(), tables.probes())), Some((3, 24)));
    assert!(more.tables().unwrap().recall() > tables.recall());
}

#[tokio::test]
async fn other_tables_are_built_anew() {
    let place = place();
    let (model, version, ..) = written(&place.store, false).await;
    let open = async |tables| {
        let options = Options { tables, ..Options::default() };
        ItemIndex::open(&place.dynamic(), &version, &model, &place.cache, options, &Stop::default()).await
    };
    let given = TableOptions::Given(BY_HAND);
    let others = [
        TableParameters { tables: 4, ..BY_HAND },
        TableParameters { hashes: 3, ..BY_HAND },
        TableParameters { width: Some(0.5), ..BY_HAND },
        TableParameters { probes: Some(5), ..BY_HAND },
    ];
    let all = others.map(TableOptions::Given).into_iter().chain([TableOptions::None, TableOptions::Chosen, given]);
    let mut identities = std::collections::BTreeSet::new();
    for (count, tables) in (1..).zip(all) {
        let index = open(tables).await.unwrap();
        assert!(identities.insert(index.identity().to_owned()), "{tables:?}");
        assert_eq!(files(&place.cache).len(), count, "{tables:?}");
        let found = index.tables().map(|tables| (tables.count(), tables.probes()));
        match tables {
            TableOptions::None => assert_eq!(found, None),
            TableOptions::Chosen => assert!(found.is_some()),
            TableOptions::Given(TableParameters { tables, probes, .. }) => {
                assert_eq!(found, Some((tables, probes.unwrap_or(tables))));
            }
        }
    }
    // The file of these is there; that of others under its name is not taken for it.
    let file = open(given).await.unwrap().replaced().clone();
    assert_eq!(file.remove().unwrap().len(), 6);
    let [file] = &files(&place.cache)[..] else { panic!("one is left") };
    let wanted = std::fs::read(file).unwrap();
    drop(open(TableOptions::Given(others[0])).await.unwrap());
    let other = files(&place.cache).into_iter().find(|other| other != file).unwrap();
    std::fs::rename(other, file).unwrap();
    assert_eq!(open(given).await.unwrap().tables().unwrap().count(), 3);
    assert_eq!(std::fs::read(file).unwrap(), wanted);

    let error = open(TableOptions::Given(TableParameters { width: None, ..BY_HAND })).await.unwrap_err();
    assert!(matches!(error, ItemsError::Parameters(_)) && error.exit_code() == 64, "{error}");
}

#[tokio::test]
async fn shards_hold_all_items_between_them_in_the_order_of_the_whole() {
    for texts in [false, true] {
        let place = place();
        let (model, version, ..) = written(&place.store, texts).await;
        let open = async |shard: Shard| {
            let options = Options { shard, ..Options::default() };
            ItemIndex::open(&place.dynamic(), &version, &model, &place.cache, options, &Stop::default()).await.unwrap()
        };
        let whole = open(Shard::WHOLE).await;
        let shards = [open(Shard::new(0, 3).unwrap()).await, open(Shard::new(1, 3).unwrap()).await];
        // There are two parts only.
        let empty = open(Shard::new(2, 3).unwrap()).await;
        assert_eq!([400, 500], [shards[0].len(), shards[1].len()]);
        assert!(empty.is_empty() && empty.find("1").is_none() && empty.place(0, 0).is_none());
        let all = [&shards[0], &shards[1], &empty];
        assert!(all.iter().all(|shard| shard.total() == ROWS as u64 && !shard.offers_tables()));
        assert!(all.iter().all(|shard| shard.content() == whole.content() && shard.identity() == empty.identity()));
        assert_ne!(whole.identity(), empty.identity());

        // Cluster by cluster, those of the shards lie between each other as in the whole.
        let lists = whole.lists(&model.centroids).unwrap();
        let mut merged: Vec<(usize, u64, RowId, Vec<f32>)> = Vec::new();
        for shard in &shards {
            let lists = shard.lists(&model.centroids).unwrap();
            for place in 0..shard.len() as u32 {
                let cluster = lists.cluster_of(place as usize);
                let ordinal = shard.ordinal(place);
                assert_eq!(shard.place(cluster as u32, ordinal), Some(place));
                merged.push((cluster, ordinal, shard.id(place), lists.row(place as usize).to_vec()));
            }
        }
        merged.sort_by_key(|(cluster, ordinal, ..)| (*cluster, *ordinal));
        for (place, (cluster, ordinal, id, row)) in merged.iter().enumerate() {
            assert_eq!((&whole.id(place as u32), lists.row(place)), (id, &row[..]));
            assert_eq!(lists.cluster_of(place), *cluster);
            let elsewhere = all.iter().filter(|shard| shard.place(*cluster as u32, *ordinal).is_some());
            assert_eq!(elsewhere.count(), 1);
        }
        // Files of their own, which are there the next time.
        let count = files(&place.cache).len();
        open(Shard::new(1, 3).unwrap()).await;
        assert_eq!(files(&place.cache).len(), count);
    }
}

#[tokio::test]
async fn a_part_of_a_shard_that_changed_is_refused() {
    let place = place();
    let (model, version, ..) = written(&place.store, false).await;
    let part = version.clone().join("items").join(part_name(1));
    let whole = place.store.get(&part).await.unwrap().bytes().await.unwrap();
    let options = Options { shard: Shard::new(1, 2).unwrap(), ..Options::default() };
    let open =
        async || ItemIndex::open(&place.dynamic(), &version, &model, &place.cache, options, &Stop::default()).await;
    for bytes in [whole[..whole.len() - 1].to_vec(), Vec::new(), vec![7; whole.len()]] {
        place.store.put(&part, PutPayload::from(bytes)).await.unwrap();
        assert!(open().await.unwrap_err().to_string().contains("part-00001.parquet"));
    }
    let mut changed = whole.to_vec();
    changed[100] ^= 4;
    place.store.put(&part, PutPayload::from(changed)).await.unwrap();
    assert!(matches!(open().await, Err(ItemsError::Damaged { .. })));
    place.store.delete(&part).await.unwrap();
    assert!(matches!(open().await, Err(ItemsError::Store { .. })));
    // The other shard does without it.
    let other = Options { shard: Shard::new(0, 2).unwrap(), ..Options::default() };
    let index =
        ItemIndex::open(&place.dynamic(), &version, &model, &place.cache, other, &Stop::default()).await.unwrap();
    assert_eq!(index.len(), 400);
}

/// The end of an index that an earlier release made of a model.
fn earlier(name: &str) -> Vec<u8> {
    let footer = format!(
        r#"{{"model":"blake3:00","name":"{name}","options":{{"recall":0.9,"tables":true}},"breadth":{{"lists":2}}}}"#
    );
    let digest = blake3::hash(footer.as_bytes());
    [footer.as_bytes(), &(footer.len() as u64).to_le_bytes(), digest.as_bytes(), b"coterie items 4\n"].concat()
}

#[tokio::test]
async fn an_index_takes_the_place_of_those_before_that_nobody_has_mapped() {
    let place = place();
    let (model, version, ..) = written(&place.store, false).await;
    let open = async |name: &str, number: &str, options: Options| {
        let (name, number) = (name.to_owned(), number.to_owned());
        let model = Model { name, version: number, ..model.clone() };
        ItemIndex::open(&place.dynamic(), &version, &model, &place.cache, options, &Stop::default()).await.unwrap()
    };
    let whole = Options::default();
    let other_recall = Options { recall: 0.5, ..whole };
    let shard = Options { shard: Shard::new(1, 2).unwrap(), ..whole };
    // Those of another model and of another shard stay, mapped or not, as does what is no index.
    for (name, number, options) in
        [("songs", "v1", whole), ("songs", "v2", other_recall), ("films", "v5", whole), ("songs", "v1", shard)]
    {
        drop(open(name, number, options).await);
    }
    std::fs::write(place.cache.join("notes.items"), "nothing").unwrap();
    let mapped = open("songs", "v1", whole).await;
    let newest = open("songs", "v3", whole).await;
    assert_eq!(files(&place.cache).len(), 6);
    let removed = newest.replaced().remove().unwrap();
    assert_eq!(removed.len(), 1);
    assert!(removed[0].file_name().unwrap().to_str().unwrap().starts_with("v2-"), "{removed:?}");
    assert_eq!(mapped.find(&id_number(7).to_string()).map(|at| mapped.id(at)), Some(RowId::Int(id_number(7))));
    drop(mapped);
    let removed = newest.replaced().remove().unwrap();
    assert_eq!(removed.len(), 1);
    assert_eq!(newest.replaced().remove().unwrap(), Vec::<std::path::PathBuf>::new());
    let mut left: Vec<String> =
        files(&place.cache).iter().map(|file| file.file_name().unwrap().to_str().unwrap()[..3].to_owned()).collect();
    left.sort();
    assert_eq!(left, ["not", "v1-", "v3-", "v5-"]);
    // A file of an earlier release, whose options had another form, goes as well; one of another model stays.
    for (name, goes) in [("songs", true), ("films", false)] {
        let path = place.cache.join("v0-earlier.items");
        std::fs::write(&path, earlier(name)).unwrap();
        let removed = newest.replaced().remove().unwrap();
        assert_eq!((removed.contains(&path), path.exists()), (goes, !goes), "{name}");
    }
    // Who comes back to a version makes its index again.
    assert_eq!(open("songs", "v1", whole).await.len(), ROWS);
}

#[tokio::test]
async fn an_index_that_is_there_is_taken_and_a_damaged_one_made_again() {
    let place = place();
    let (model, version, ..) = written(&place.store, true).await;
    let options = Options::default();
    let open = async || {
        ItemIndex::open(&place.dynamic(), &version, &model, &place.cache, options, &Stop::default()).await.unwrap()
    };
    open().await;
    let [file] = &files(&place.cache)[..] else { panic!("one file is left behind: {:?}", files(&place.cache)) };
    let whole = std::fs::read(file).unwrap();

    // The parts are not needed any more.
    let parts: Vec<_> = (0..2).map(|split| version.clone().join("items").join(part_name(split))).collect();
    let content: Vec<_> = {
        let mut content = Vec::new();
        for part in &parts {
            content.push(place.store.get(part).await.unwrap().bytes().await.unwrap());
            place.store.delete(part).await.unwrap();
        }
        content
    };
    assert_eq!(open().await.len(), ROWS);
    for (part, bytes) in parts.iter().zip(content) {
        place.store.put(part, PutPayload::from(bytes)).await.unwrap();
    }

    // Cut anywhere, or with any byte of its footer changed, it is made again: the same bytes.
    for keep in [0, 1, 70, whole.len() / 2, whole.len() - 1] {
        std::fs::write(file, &whole[..keep]).unwrap();
        assert_eq!(open().await.len(), ROWS);
        assert_eq!(std::fs::read(file).unwrap(), whole, "{keep}");
    }
    // So is one of an earlier release.
    let mut earlier = whole.clone();
    let at = earlier.len() - 16;
    assert_eq!(earlier[at..], *b"coterie items 5\n");
    earlier[at..].copy_from_slice(b"coterie items 4\n");
    let damaged = [1, 20, 50, 60, 200].map(|back| {
        let mut damaged = whole.clone();
        damaged[whole.len() - back] ^= 1;
        (back, damaged)
    });
    for (back, damaged) in damaged.into_iter().chain([(0, earlier)]) {
        std::fs::write(file, &damaged).unwrap();
        assert_eq!(open().await.len(), ROWS);
        assert_eq!(std::fs::read(file).unwrap(), whole, "{back}");
    }
}

#[tokio::test]
async fn who_is_asked_to_stop_leaves_nothing_half_made() {
    let place = place();
    let (model, version, ..) = written(&place.store, true).await;
    let options = Options { tables: TableOptions::Chosen, ..Options::default() };
    let open = async |stop: &Stop| {
        let index = ItemIndex::open(&place.dynamic(), &version, &model, &place.cache, options, stop).await;
        // What is there is whole.
        let left = files(&place.cache);
        assert_eq!(left.len(), usize::from(index.is_ok()), "{left:?}");
        left.iter().for_each(|file| std::fs::remove_file(file).unwrap());
        index
    };
    let asked = Stop::default();
    asked.ask();
    let error = open(&asked).await.unwrap_err();
    assert!(matches!(error, ItemsError::Interrupted) && error.exit_code() == 75, "{error}");
    let begun = std::time::Instant::now();
    open(&Stop::default()).await.unwrap();
    let length = begun.elapsed();
    let mut interrupted = 0;
    for moment in 0..8 {
        let stop = Stop::default();
        let asker = std::thread::spawn({
            let stop = stop.clone();
            move || {
                std::thread::sleep(length.mul_f64(f64::from(moment) / 8.0));
                stop.ask();
            }
        });
        interrupted += usize::from(open(&stop).await.is_err());
        asker.join().unwrap();
    }
    assert!(interrupted >= 3, "only {interrupted} of 8 moments met the making");
}

#[tokio::test]
async fn parts_that_are_not_those_of_the_manifest_are_refused() {
    let place = place();
    let (model, version, values, _) = written(&place.store, false).await;
    let part = version.clone().join("items").join(part_name(1));
    let whole = place.store.get(&part).await.unwrap().bytes().await.unwrap();
    let open = async |model: &Model| {
        let options = Options::default();
        let error = ItemIndex::open(&place.dynamic(), &version, model, &place.cache, options, &Stop::default())
            .await
            .unwrap_err();
        assert!(files(&place.cache).is_empty(), "{error}: something was left behind");
        error
    };
    let put = async |bytes: Vec<u8>| place.store.put(&part, PutPayload::from(bytes)).await.unwrap();

    put(whole[..whole.len() - 1].to_vec()).await;
    let error = open(&model).await;
    assert!(error.to_string().contains("part-00001.parquet has") && error.exit_code() == 65, "{error}");
    let mut changed = whole.to_vec();
    changed[100] ^= 4;
    put(changed).await;
    assert!(matches!(open(&model).await, ItemsError::Damaged { .. }));
    place.store.delete(&part).await.unwrap();
    assert!(matches!(open(&model).await, ItemsError::Store { .. }));

    // Verified bytes that are of another model.
    let refused = async |ids: ArrayRef, clusters: &[u32], dimension: usize, word: &str| {
        let dynamic: Arc<dyn ObjectStore> = Arc::<LocalFileSystem>::clone(&place.store);
        let mut writer = PartWriter::new(dynamic, &version, &part_name(1), ids.data_type(), dimension).unwrap();
        writer.write(ids, clusters, &values[..clusters.len() * dimension]).await.unwrap();
        let mut other = model.clone();
        let items = other.items.as_mut().unwrap();
        items.parts[1] = coterie_model::items::Part { rows: 500, ..writer.finish().await.unwrap() };
        let error = open(&other).await;
        assert!(error.to_string().contains(word), "{word}: {error}");
    };
    let ids = |count: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(0..count)) };
    refused(ids(300), &[0; 300], 3, "vector").await;
    refused(ids(500), &[3; 500], 2, "a cluster that the model has not").await;
    refused(ids(500), &[0; 500], 2, "more rows of a cluster").await;
    refused(ids(2), &[0; 2], 2, "500 rows").await;
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..2).map(|id| id.to_string())));
    refused(texts, &[0; 2], 2, "500 rows").await;

    let none = Model { items: None, ..model.clone() };
    let error =
        ItemIndex::open(&place.dynamic(), &version, &none, &place.cache, Options::default(), &Stop::default()).await;
    assert!(matches!(error, Err(ItemsError::None { .. })));
}

#[tokio::test]
async fn items_that_are_not_the_rows_of_the_model_are_not_published() {
    let place = place();
    let (mut model, ..) = written(&place.store, false).await;
    model.version = "v2".to_owned();
    let whole = model.items.clone().unwrap();
    let mut strange = whole.clone();
    strange.parts[0].name = "../../secret".to_owned();
    let mut twice = whole.clone();
    twice.parts[1] = twice.parts[0].clone();
    for items in [Items::new(whole.parts[..1].to_vec()), strange, twice, Items { rows: 899, ..whole.clone() }] {
        model.items = Some(items);
        let error = coterie_model::write(place.store.as_ref(), &Path::from("out"), &model).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("do not make up the 900 rows"), "{source}");
    }
}
