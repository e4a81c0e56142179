//! Vectors and answers as Arrow IPC streams, for bulk requests: columns rather than text.

use crate::query::{Assignment, Matrix, QueryError, check_dimension, signed};
use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Int32Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use coterie_model::Model;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Content type of a stream.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";

/// Key of the model version in an answer's schema.
const VERSION: &str = "modelVersion";

/// The vectors of a stream: either its only column holds lists of numbers, or there is a column of numbers for each feature.
///
/// # Errors
/// [`QueryError`] names the column, what was expected and the remedy.
pub(crate) fn decode(model: &Model, body: Bytes, most: usize) -> Result<Matrix, QueryError> {
    // The reader checks what it is given, but corrupt streams have made it panic before.
    let decoded = std::panic::catch_unwind(AssertUnwindSafe(|| values(model, body, most)));
    let values = decoded.unwrap_or_else(|_| Err(malformed("it is corrupt".to_owned())))?;
    if values.is_empty() {
        return Err(QueryError::Empty);
    }
    Matrix::from_values(model, values, most)
}

/// An answer as a stream of one batch.
pub(crate) fn encode(version: &str, assignments: &[Assignment]) -> Result<Vec<u8>, QueryError> {
    let floats = |of: fn(&Assignment) -> f32| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(assignments.iter().map(of)))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("cluster", Arc::new(Int32Array::from_iter_values(assignments.iter().map(|row| signed(row.cluster))))),
        ("distance", floats(|row| row.distance)),
        ("margin", floats(|row| row.margin)),
        ("confidence", floats(|row| row.confidence)),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), false)).collect();
    let schema = Schema::new(fields).with_metadata(HashMap::from([(VERSION.to_owned(), version.to_owned())]));
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    let write = || {
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), arrays)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    write().map_err(|error: ArrowError| {
        tracing::error!(%error, "answer could not be written");
        QueryError::Internal
    })
}

/// All vectors, one after the other.
fn values(model: &Model, body: Bytes, most: usize) -> Result<Vec<f32>, QueryError> {
    let unreadable = |error: ArrowError| malformed(format!("it cannot be read: {error}"));
    // Takes slices of the body, so that nothing is allocated on a corrupt length's account.
    let mut decoder = StreamDecoder::new();
    let mut buffer = Buffer::from(body);
    let mut values = Vec::new();
    let mut rows = 0;
    while !buffer.is_empty() {
        let Some(batch) = decoder.decode(&mut buffer).map_err(unreadable)? else { continue };
        if rows + batch.num_rows() > most {
            return Err(QueryError::TooManyRows { rows: rows + batch.num_rows(), most });
        }
        append(model, &batch, rows, &mut values)?;
        rows += batch.num_rows();
    }
    decoder.finish().map_err(unreadable)?;
    Ok(values)
}

/// Appends the vectors of a batch whose first row is the request's row `first`.
fn append(model: &Model, batch: &RecordBatch, first: usize, values: &mut Vec<f32>) -> Result<(), QueryError> {
    if let [column] = batch.columns()
        && model.input_dimension() != 1
    {
        return append_lists(model, batch.schema().field(0).name(), column, first, values);
    }
    let columns = model.feature_names.iter().map(|name| {
        let missing = || {
            malformed(format!("there is no column {name:?}: send one column for each feature, or one column of lists"))
        };
        numbers(name, batch.column_by_name(name).ok_or_else(missing)?, |row| first + row)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    values.extend((0..batch.num_rows()).flat_map(|row| columns.iter().map(move |column| column[row])));
    Ok(())
}

fn append_lists(
    model: &Model,
    name: &str,
    column: &ArrayRef,
    first: usize,
    values: &mut Vec<f32>,
) -> Result<(), QueryError> {
    no_nulls(name, column, |row| first + row)?;
    for row in 0..column.len() {
        let list = match column.data_type() {
            DataType::FixedSizeList(..) => column.as_fixed_size_list().value(row),
            DataType::List(_) => column.as_list::<i32>().value(row),
            DataType::LargeList(_) => column.as_list::<i64>().value(row),
            other => {
                let expected = "a list of Float32 or Float64";
                return Err(malformed(format!("column {name:?} is of type {other}: send {expected}")));
            }
        };
        check_dimension(model, list.len(), Some(first + row))?;
        values.extend(numbers(name, &list, |_| first + row)?);
    }
    Ok(())
}

/// The numbers of a column, or of one list; `row` tells the request's row of each.
fn numbers(name: &str, column: &ArrayRef, row: impl Fn(usize) -> usize) -> Result<Vec<f32>, QueryError> {
    no_nulls(name, column, row)?;
    match column.data_type() {
        DataType::Float32 => Ok(column.as_primitive::<Float32Type>().values().to_vec()),
        // What a 32-bit float cannot hold becomes infinite, which is refused with its place.
        DataType::Float64 => Ok(column.as_primitive::<Float64Type>().values().iter().map(|&v| v as f32).collect()),
        other => Err(malformed(format!("column {name:?} is of type {other}: send Float32 or Float64"))),
    }
}

fn no_nulls(name: &str, column: &ArrayRef, row: impl Fn(usize) -> usize) -> Result<(), QueryError> {
    match (0..column.len()).find(|&at| column.is_null(at)) {
        None => Ok(()),
        Some(at) => Err(malformed(format!("column {name:?} has a null in row {}: send numbers only", row(at)))),
    }
}

fn malformed(what: String) -> QueryError {
    QueryError::Malformed { what: format!("the Arrow stream is not what this endpoint takes: {what}") }
}
