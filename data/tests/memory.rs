//! Reading takes little memory whatever the size of objects and row groups: workers run with a few hundred MB.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use coterie_crds::resolved::Store;
use coterie_data::generate::{Blobs, generate};
use coterie_data::plan::plan;
use coterie_data::reader::Reader;
use coterie_data::store::open;
use coterie_data::{BLOCK_ROWS, Want};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use support::source;
use support::write::{Shape, Table, batch};

const ROWS: usize = 2_000_000;
const DIMENSION: usize = 16;
/// What reading 128 MB of vectors may add to the process, in MiB. Measured: 1 to 25.
const MOST: u64 = 60;

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// Reads everything and returns the number of rows, and by how much the resident memory grew at most, in MiB.
async fn read(uri: &Path, vector: bool) -> (u64, u64) {
    let mut source = source(uri.to_str().unwrap());
    source.columns.vector = vector.then(|| "vector".into());
    let plan = Arc::new(plan(&source).await.unwrap());
    let reader = Reader::open(&source, Arc::clone(&plan)).unwrap();
    // Begins a new measurement of the peak.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let mut rows = 0;
    for split in &plan.splits {
        rows += reader
            .read(split.index, Want::default())
            .try_fold(0, async |sum, block| Ok(sum + block.rows as u64))
            .await
            .unwrap();
    }
    (rows, status("VmHWM:").saturating_sub(before))
}

/// The blobs' rows, some at a time.
fn pieces(blobs: &Blobs) -> impl Iterator<Item = Table> {
    (0..ROWS).step_by(BLOCK_ROWS).map(|first| {
        let rows = BLOCK_ROWS.min(ROWS - first);
        let (values, labels) = blobs.rows(first as u64, rows);
        Table { first, rows, dimension: DIMENSION, values, labels: labels.iter().map(ToString::to_string).collect() }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_takes_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let blobs = Blobs { rows: ROWS as u64, dimension: DIMENSION, clusters: 8, noise: 0.0, deviation: 1.0, seed: 5 };
    let mut peaks = Vec::new();
    let mut check = |what: &'static str, (rows, peak): (u64, u64)| {
        assert_eq!(rows, ROWS as u64, "{what}");
        peaks.push((what, peak));
    };

    std::fs::create_dir(at("generated")).unwrap();
    let location = open(at("generated").to_str().unwrap(), &Store::default()).unwrap();
    generate(&location, &blobs, 3, |_| {}).await.unwrap();
    check("small row groups", read(&at("generated"), true).await);

    // One row group of 128 MB, as some writers make them.
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(ROWS)).set_dictionary_enabled(false).build();
    let mut writer: Option<ArrowWriter<File>> = None;
    for table in pieces(&blobs) {
        let batch = batch(&table, Shape::Fixed32);
        let create = || {
            ArrowWriter::try_new(File::create(at("one.parquet")).unwrap(), batch.schema(), Some(properties.clone()))
                .unwrap()
        };
        writer.get_or_insert_with(create).write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
    check("one large row group", read(&at("one.parquet"), true).await);

    for (name, order) in [("c.npy", "False"), ("fortran.npy", "True")] {
        let mut file = BufWriter::new(File::create(at(name)).unwrap());
        let header = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': ({ROWS}, {DIMENSION}), }}\n");
        file.write_all(b"\x93NUMPY\x01\x00").unwrap();
        file.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        // Only the amount matters here, so both orders get the same bytes.
        for table in pieces(&blobs) {
            table.values.iter().for_each(|value| file.write_all(&value.to_le_bytes()).unwrap());
        }
        file.into_inner().unwrap();
        check(name, read(&at(name), false).await);
    }

    let mut file = BufWriter::new(File::create(at("a.csv")).unwrap());
    writeln!(file, "{}", (0..DIMENSION).map(|feature| format!("f{feature}")).collect::<Vec<_>>().join(",")).unwrap();
    for table in pieces(&blobs) {
        for row in table.values.chunks(DIMENSION) {
            writeln!(file, "{}", row.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(",")).unwrap();
        }
    }
    file.into_inner().unwrap();
    check("a.csv", read(&at("a.csv"), false).await);

    assert!(peaks.iter().all(|(_, peak)| *peak < MOST), "MiB added while reading: {peaks:?}");
}
