//! Small writers: the same table of numbers, ids and labels in each format.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, LargeListArray, ListArray, PrimitiveArray,
    RecordBatch, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Float16Type, Float32Type, Float64Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// A table that can be cut by rows.
#[derive(Clone, Debug)]
pub struct Table {
    pub first: usize,
    pub rows: usize,
    pub dimension: usize,
    pub values: Vec<f32>,
    pub labels: Vec<String>,
}

impl Table {
    /// Blobs from the generator.
    pub fn blobs(rows: usize, dimension: usize) -> Self {
        let blobs = coterie_data::generate::Blobs {
            rows: rows as u64,
            dimension,
            clusters: 3,
            noise: 0.1,
            deviation: 1.0,
            seed: 11,
        };
        let (values, labels) = blobs.rows(0, rows);
        Self {
            first: 0,
            rows,
            dimension,
            values,
            labels: labels.iter().map(|label| format!("class {label}")).collect(),
        }
    }

    /// Consecutive rows.
    pub fn part(&self, start: usize, end: usize) -> Self {
        Self {
            first: self.first + start,
            rows: end - start,
            dimension: self.dimension,
            values: self.values[start * self.dimension..end * self.dimension].to_vec(),
            labels: self.labels[start..end].to_vec(),
        }
    }

    /// As many parts as asked for, all but equally long.
    pub fn parts(&self, count: usize) -> Vec<Self> {
        (0..count).map(|part| self.part(self.rows * part / count, self.rows * (part + 1) / count)).collect()
    }

    pub fn ids(&self) -> Vec<i64> {
        (self.first..self.first + self.rows).map(|id| id as i64 * 10).collect()
    }
}

/// How a vector is laid out in a columnar format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Fixed16,
    Fixed32,
    Fixed64,
    List32,
    Large64,
    /// One column per feature, f0, f1, ..., of alternating float types.
    Columns,
}

fn primitive<T: ArrowPrimitiveType>(values: &[f32], convert: impl Fn(f32) -> T::Native) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(values.iter().map(|value| convert(*value))))
}

fn vectors(table: &Table, shape: Shape) -> ArrayRef {
    let item = |values: &ArrayRef| Arc::new(Field::new("item", values.data_type().clone(), true));
    let width = table.dimension as i32;
    let fixed = |values: ArrayRef| {
        Arc::new(FixedSizeListArray::try_new(item(&values), width, values, None).unwrap()) as ArrayRef
    };
    match shape {
        Shape::Fixed16 => {
            fixed(primitive::<Float16Type>(&table.values, <Float16Type as ArrowPrimitiveType>::Native::from_f32))
        }
        Shape::Fixed32 => fixed(primitive::<Float32Type>(&table.values, |value| value)),
        Shape::Fixed64 => fixed(primitive::<Float64Type>(&table.values, f64::from)),
        Shape::List32 => {
            let values = primitive::<Float32Type>(&table.values, |value| value);
            Arc::new(
                ListArray::try_new(
                    item(&values),
                    OffsetBuffer::from_repeated_length(table.dimension, table.rows),
                    values,
                    None,
                )
                .unwrap(),
            )
        }
        Shape::Large64 => {
            let values = primitive::<Float64Type>(&table.values, f64::from);
            Arc::new(
                LargeListArray::try_new(
                    item(&values),
                    OffsetBuffer::from_repeated_length(table.dimension, table.rows),
                    values,
                    None,
                )
                .unwrap(),
            )
        }
        Shape::Columns => unreachable!(),
    }
}

/// The table as a record batch: id, label, and the vector.
pub fn batch(table: &Table, shape: Shape) -> RecordBatch {
    let mut columns: Vec<(String, ArrayRef)> = vec![("id".into(), Arc::new(Int64Array::from(table.ids())))];
    if shape == Shape::Columns {
        for feature in 0..table.dimension {
            let values = table.values.iter().skip(feature).step_by(table.dimension).copied();
            let array: ArrayRef = if feature % 2 == 0 {
                Arc::new(Float32Array::from_iter_values(values))
            } else {
                Arc::new(Float64Array::from_iter_values(values.map(f64::from)))
            };
            columns.push((format!("f{feature}"), array));
        }
    } else {
        columns.push(("vector".into(), vectors(table, shape)));
    }
    columns.push(("label".into(), Arc::new(StringArray::from(table.labels.clone()))));
    of(columns)
}

/// A batch of any columns.
pub fn of(columns: Vec<(String, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

pub fn parquet(batch: &RecordBatch, row_group: usize, compression: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(row_group))
        .set_compression(compression)
        .set_data_page_row_count_limit(97)
        .set_write_batch_size(64)
        .build();
    parquet_with(batch, properties)
}

pub fn parquet_with(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub fn zstd() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(1).unwrap())
}

/// An Arrow IPC file with batches of at most so many rows.
pub fn arrow(batch: &RecordBatch, rows: usize, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &batch.schema(), options).unwrap();
    for start in (0..batch.num_rows()).step_by(rows) {
        writer.write(&batch.slice(start, rows.min(batch.num_rows() - start))).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    bytes
}

/// An NPY file. `descr` is one of `<f2`, `<f4`, `<f8`.
pub fn npy(table: &Table, descr: &str, fortran: bool, version: u8) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({}, {}), }}", table.rows, table.dimension);
    while !(header.len() + 13).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend([version, 0]);
    if version == 1 {
        bytes.extend((header.len() as u16).to_le_bytes());
    } else {
        bytes.extend((header.len() as u32).to_le_bytes());
    }
    bytes.extend(header.as_bytes());
    let mut push = |value: f32| match descr {
        "<f2" => bytes.extend(<Float16Type as ArrowPrimitiveType>::Native::from_f32(value).to_le_bytes()),
        "<f4" => bytes.extend(value.to_le_bytes()),
        _ => bytes.extend(f64::from(value).to_le_bytes()),
    };
    if fortran {
        for feature in 0..table.dimension {
            table.values.iter().skip(feature).step_by(table.dimension).for_each(|value| push(*value));
        }
    } else {
        table.values.iter().for_each(|value| push(*value));
    }
    bytes
}

/// CSV with a header: id, f0, f1, ..., label.
pub fn csv(table: &Table, end: &str) -> Vec<u8> {
    let mut text = "id".to_owned();
    (0..table.dimension).for_each(|feature| write!(text, ",f{feature}").unwrap());
    text.push_str(",label");
    text.push_str(end);
    for (row, (values, id)) in table.values.chunks(table.dimension).zip(table.ids()).enumerate() {
        write!(text, "{id}").unwrap();
        values.iter().for_each(|value| write!(text, ",{value}").unwrap());
        write!(text, ",\"{}\"", table.labels[row]).unwrap();
        text.push_str(end);
    }
    text.into_bytes()
}

/// The type of a list column's items, for tables made by hand.
pub fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}
