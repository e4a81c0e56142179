//! The same rows in every format, in one object and in 37, decode to the same values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::path::Path;

use arrow::ipc::CompressionType;
use coterie_crds::resolved::{Columns, Source};
use coterie_data::plan::{Part, plan};
use parquet::basic::Compression;
use support::write::{Shape, Table, arrow, batch, csv, npy, parquet, zstd};
use support::{read, source};

type Encode = Box<dyn Fn(&Table) -> Vec<u8>>;

struct Case {
    name: &'static str,
    ending: &'static str,
    encode: Encode,
    columns: Columns,
    /// Whether ids and labels are there.
    named: bool,
}

fn named(vector: bool) -> Columns {
    Columns {
        id: Some("id".into()),
        label: Some("label".into()),
        vector: vector.then(|| "vector".into()),
        ..Columns::default()
    }
}

fn cases() -> Vec<Case> {
    let parquet_case = |name, shape, row_group, compression: Compression| Case {
        name,
        ending: "parquet",
        encode: Box::new(move |table| parquet(&batch(table, shape), row_group, compression)),
        columns: named(shape != Shape::Columns),
        named: true,
    };
    let arrow_case = |name, shape, compression| Case {
        name,
        ending: "arrow",
        encode: Box::new(move |table| arrow(&batch(table, shape), 300, compression)),
        columns: named(shape != Shape::Columns),
        named: true,
    };
    let npy_case = |name, descr, fortran, version| Case {
        name,
        ending: "npy",
        encode: Box::new(move |table| npy(table, descr, fortran, version)),
        columns: Columns::default(),
        named: false,
    };
    let csv_case = |name, end| Case {
        name,
        ending: "csv",
        encode: Box::new(move |table| csv(table, end)),
        columns: named(false),
        named: true,
    };
    vec![
        parquet_case("fixed f32", Shape::Fixed32, 1000, Compression::UNCOMPRESSED),
        parquet_case("fixed f32 in one row group", Shape::Fixed32, 1 << 20, Compression::SNAPPY),
        parquet_case("fixed f64, zstd", Shape::Fixed64, 777, zstd()),
        parquet_case("list f32, lz4", Shape::List32, 1000, Compression::LZ4_RAW),
        parquet_case("large list f64, gzip", Shape::Large64, 1000, Compression::GZIP(Default::default())),
        parquet_case("columns", Shape::Columns, 500, zstd()),
        arrow_case("fixed f32", Shape::Fixed32, None),
        arrow_case("list f32, lz4", Shape::List32, Some(CompressionType::LZ4_FRAME)),
        arrow_case("large list f64, zstd", Shape::Large64, Some(CompressionType::ZSTD)),
        arrow_case("columns", Shape::Columns, None),
        npy_case("C f4", "<f4", false, 1),
        npy_case("C f8, version 2", "<f8", false, 2),
        npy_case("Fortran f4, version 3", "<f4", true, 3),
        npy_case("Fortran f8", "<f8", true, 1),
        csv_case("LF", "\n"),
        csv_case("CRLF and blank lines", "\r\n\r\n"),
    ]
}

fn write(directory: &Path, ending: &str, encode: &Encode, table: &Table, objects: usize) {
    for (part, table) in table.parts(objects).iter().enumerate() {
        std::fs::write(directory.join(format!("part-{part:03}.{ending}")), encode(table)).unwrap();
    }
    // What other programs leave beside their data.
    std::fs::write(directory.join("_SUCCESS"), "").unwrap();
    std::fs::write(directory.join(".hidden.txt"), "x").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_in_every_format() {
    let table = Table::blobs(20_011, 5);
    for case in cases() {
        for objects in [1, 37] {
            let directory = tempfile::tempdir().unwrap();
            write(directory.path(), case.ending, &case.encode, &table, objects);
            let source = Source { columns: case.columns.clone(), ..source(directory.path().to_str().unwrap()) };
            let what = format!("{} {} in {objects} objects", case.ending, case.name);
            let all = read(&source).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!((all.rows, all.dimension, all.dropped), (20_011, 5, 0), "{what}");
            assert!(all.values == table.values, "{what}: values differ");
            assert!(all.splits >= objects, "{what}: {} splits", all.splits);
            if case.named {
                assert_eq!(all.labels, table.labels, "{what}");
                if case.ending == "csv" {
                    assert_eq!(all.text_ids, table.ids().iter().map(ToString::to_string).collect::<Vec<_>>(), "{what}");
                } else {
                    assert_eq!(all.int_ids, table.ids(), "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn half_precision_is_read() {
    let mut table = Table::blobs(100, 4);
    // Values that 16 bits hold exactly.
    table.values.iter_mut().for_each(|value| *value = (*value * 8.0).round() / 8.0);
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("a.npy", npy(&table, "<f2", false, 1)),
        ("b.npy", npy(&table, "<f2", true, 1)),
        ("c.parquet", parquet(&batch(&table, Shape::Fixed16), 50, Compression::UNCOMPRESSED)),
        ("d.arrow", arrow(&batch(&table, Shape::Fixed16), 50, None)),
    ] {
        let file = directory.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let mut source = source(file.to_str().unwrap());
        if !name.ends_with("npy") {
            source.columns.vector = Some("vector".into());
        }
        assert_eq!(read(&source).await.unwrap().values, table.values, "{name}");
    }
}

#[tokio::test]
async fn plans_tell_what_is_there() {
    let table = Table::blobs(2500, 3);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.parquet");
    std::fs::write(&file, parquet(&batch(&table, Shape::Columns), 1000, Compression::UNCOMPRESSED)).unwrap();
    let mut source = source(file.to_str().unwrap());
    source.columns.features = vec!["f2".into(), "f0".into()];
    let plan = plan(&source).await.unwrap();
    assert_eq!(
        (plan.dimension, plan.feature_names.clone(), plan.rows),
        (2, vec!["f2".to_owned(), "f0".to_owned()], Some(2500))
    );
    assert_eq!(
        plan.splits.iter().map(|split| split.part).collect::<Vec<_>>(),
        [
            Part::RowGroup { index: 0, rows: 1000 },
            Part::RowGroup { index: 1, rows: 1000 },
            Part::RowGroup { index: 2, rows: 500 },
        ]
    );
    assert!(plan.objects[0].etag.is_some());
    let all = read(&source).await.unwrap();
    let expected: Vec<f32> = table.values.chunks(3).flat_map(|row| [row[2], row[0]]).collect();
    assert_eq!(all.values, expected);
}

#[tokio::test]
async fn only_the_needed_columns_are_fetched() {
    let table = Table::blobs(50_000, 8);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.parquet");
    let bytes = parquet(&batch(&table, Shape::Columns), 10_000, Compression::UNCOMPRESSED);
    std::fs::write(&file, &bytes).unwrap();
    let mut source = source(file.to_str().unwrap());
    source.columns.features = vec!["f0".into()];
    let plan = std::sync::Arc::new(plan(&source).await.unwrap());
    let reader = coterie_data::reader::Reader::open(&source, plan.clone()).unwrap();
    support::read_plan(&reader, &plan).await.unwrap();
    assert!(
        reader.bytes_read() > 200_000 && reader.bytes_read() < bytes.len() as u64 / 4,
        "{} of {}",
        reader.bytes_read(),
        bytes.len()
    );
}

#[tokio::test]
async fn wide_rows_make_small_blocks() {
    let table = Table::blobs(40, 60_000);
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("a.parquet", parquet(&batch(&table, Shape::List32), 1000, Compression::UNCOMPRESSED)),
        ("b.npy", npy(&table, "<f8", false, 1)),
        ("c.arrow", arrow(&batch(&table, Shape::Fixed32), 1000, None)),
    ] {
        let file = directory.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let mut source = source(file.to_str().unwrap());
        if !name.ends_with("npy") {
            source.columns.vector = Some("vector".into());
        }
        assert!(read(&source).await.unwrap().values == table.values, "{name}");
    }
}
