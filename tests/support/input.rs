//! Small data sets in every format the product reads.

use std::{collections::BTreeMap, fs::File, io::Write, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int32Type, Int64Type, Schema},
    ipc::writer::FileWriter,
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::properties::WriterProperties,
};

/// Formats a test writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Parquet,
    Npy,
    Csv,
    Arrow,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Parquet, Self::Npy, Self::Csv, Self::Arrow];

    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Npy => "npy",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
        }
    }
}

/// Rows of blobs that overlap a little: a run takes a few dozen iterations.
pub fn blobs(rows: usize, dimension: usize, clusters: usize) -> Vec<Vec<f32>> {
    // A plain linear congruential generator: the tests must not depend on the code under test.
    let mut state = 12_345u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let centres: Vec<Vec<f32>> =
        (0..clusters).map(|_| (0..dimension).map(|_| uniform() * 20.0 - 10.0).collect()).collect();
    (0..rows)
        .map(|row| {
            let centre = &centres[row * 7919 % clusters];
            // The sum of uniform numbers is near enough to a normal one.
            centre.iter().map(|at| at + (uniform() + uniform() + uniform() + uniform() - 2.0) * 3.0).collect()
        })
        .collect()
}

/// Writes rows as `objects` files of one format; the vector's columns are called `x0`, `x1`, ... where columns have names.
pub fn write(directory: &Path, format: Format, rows: &[Vec<f32>], objects: usize) {
    std::fs::create_dir_all(directory).unwrap();
    let each = rows.len().div_ceil(objects);
    for (number, part) in rows.chunks(each).enumerate() {
        let path = directory.join(format!("part-{number:03}.{}", format.extension()));
        let first = (number * each) as i64;
        match format {
            Format::Parquet => parquet(&path, first, part, 500),
            Format::Npy => npy(&path, part),
            Format::Csv => csv(&path, first, part),
            Format::Arrow => arrow(&path, first, part),
        }
    }
}

/// A Parquet file with columns `id` and `vector`.
pub fn parquet(path: &Path, first: i64, rows: &[Vec<f32>], group: usize) {
    let batch = batch(first, rows);
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn arrow(path: &Path, first: i64, rows: &[Vec<f32>]) {
    let batch = batch(first, rows);
    let mut writer = FileWriter::try_new(File::create(path).unwrap(), &batch.schema()).unwrap();
    for start in (0..rows.len()).step_by(300) {
        writer.write(&batch.slice(start, 300.min(rows.len() - start))).unwrap();
    }
    writer.finish().unwrap();
}

fn batch(first: i64, rows: &[Vec<f32>]) -> RecordBatch {
    let dimension = rows[0].len();
    let values = Float32Array::from_iter_values(rows.iter().flatten().copied());
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let vectors = FixedSizeListArray::new(Arc::clone(&item), dimension as i32, Arc::new(values), None);
    let ids = Int64Array::from_iter_values((first..).take(rows.len()));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("vector", DataType::FixedSizeList(item, dimension as i32), false),
    ]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids) as ArrayRef, Arc::new(vectors)]).unwrap()
}

/// An NPY file of `<f4` in C order.
pub fn npy(path: &Path, rows: &[Vec<f32>]) {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows.len(), rows[0].len());
    let padded = format!("{header:<width$}\n", width = (10 + header.len() + 1).next_multiple_of(64) - 11);
    let mut file = File::create(path).unwrap();
    file.write_all(b"\x93NUMPY\x01\x00").unwrap();
    file.write_all(&(padded.len() as u16).to_le_bytes()).unwrap();
    file.write_all(padded.as_bytes()).unwrap();
    let bytes: Vec<u8> = rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    file.write_all(&bytes).unwrap();
}

fn csv(path: &Path, first: i64, rows: &[Vec<f32>]) {
    let mut text = String::from("id");
    for column in 0..rows[0].len() {
        text.push_str(&format!(",x{column}"));
    }
    text.push('\n');
    for (id, row) in (first..).zip(rows) {
        text.push_str(&id.to_string());
        for value in row {
            // Rust prints the shortest decimal that reads back as the same f32.
            text.push_str(&format!(",{value}"));
        }
        text.push('\n');
    }
    std::fs::write(path, text).unwrap();
}

/// The `columns` entry of a manifest for data written by [`write`].
pub fn columns(format: Format, dimension: usize) -> String {
    match format {
        Format::Parquet | Format::Arrow => "{id: id, vector: vector}".to_owned(),
        Format::Npy => "{}".to_owned(),
        Format::Csv => {
            let names: Vec<String> = (0..dimension).map(|column| format!("x{column}")).collect();
            format!("{{id: id, features: [{}]}}", names.join(", "))
        }
    }
}

/// Clusters by id, as the training code writes them.
pub fn assignments(directory: &Path) -> BTreeMap<i64, i32> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let file = File::open(entry.path()).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
            let clusters = batch.column_by_name("cluster").unwrap().as_primitive::<Int32Type>();
            found.extend(ids.values().iter().copied().zip(clusters.values().iter().copied()));
        }
    }
    found
}
