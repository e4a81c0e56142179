//! Parquet and Arrow both hand over record batches. Here a batch becomes rows of `f32`, whatever the types of its
//! columns are.

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeListArray, GenericListArray, OffsetSizeTrait,
    PrimitiveArray, RecordBatch,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use coterie_algorithms::members::Members;
use coterie_crds::resolved::Sets;

use crate::columns::{Column, Kind, Layout};
use crate::rows::{Place, Rows, row_error};
use crate::{DataError, Ids, sets};

/// What a type means for us.
fn kind(data_type: &DataType) -> Kind {
    use DataType as T;
    match data_type {
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 => Kind::Integer,
        T::UInt64 => Kind::Unsigned,
        T::Float16 | T::Float32 | T::Float64 => Kind::Real,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => Kind::Text,
        T::Boolean => Kind::Boolean,
        T::FixedSizeList(item, width) if is_number(item) => Kind::List(Some(usize::try_from(*width).unwrap_or(0))),
        T::List(item) | T::LargeList(item) if is_number(item) => Kind::List(None),
        T::Dictionary(_, value) if kind(value) == Kind::Text => Kind::Text,
        _ => Kind::Other,
    }
}

fn is_number(item: &Field) -> bool {
    matches!(kind(item.data_type()), Kind::Integer | Kind::Unsigned | Kind::Real)
}

/// What a type holds lists of, if they may be sets.
fn members(data_type: &DataType) -> Option<Members> {
    use DataType as T;
    let (T::FixedSizeList(item, _) | T::List(item) | T::LargeList(item)) = data_type else { return None };
    match kind(item.data_type()) {
        Kind::Integer | Kind::Unsigned => Some(Members::Integers),
        Kind::Text => Some(Members::Texts),
        Kind::Real | Kind::Boolean | Kind::List(_) | Kind::Unknown | Kind::Mixed | Kind::Other => None,
    }
}

/// The columns of a schema.
pub(crate) fn table<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Vec<Column> {
    fields
        .into_iter()
        .map(|field| Column {
            name: field.name().clone(),
            kind: kind(field.data_type()),
            members: members(field.data_type()),
            type_name: field.data_type().to_string().chars().take(80).collect(),
        })
        .collect()
}

/// Turns a batch into rows. `place` puts a row of the batch into words.
pub(crate) fn decode(batch: &RecordBatch, object: &str, layout: &Layout, place: Place<'_>) -> Result<Rows, DataError> {
    let count = batch.num_rows();
    let d = layout.dimension;
    let mut rows = Rows { count, values: vec![f32::NAN; count * d], ..Rows::default() };
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| DataError::Schema {
            object: object.to_owned(),
            problem: format!("column {name:?} is missing, though the plan found it"),
            remedy: "run again".to_owned(),
        })
    };
    if let (Some(Sets::Lists { size, .. }), Some(name)) = (&layout.sets, &layout.vector) {
        let array = column(name)?;
        if !sets::fill(array, *size, &mut rows, &Where { object, layout, column: name, row: place })? {
            return Err(not_numbers(object, name, array.data_type()));
        }
    } else if let Some(name) = &layout.vector {
        vectors(column(name)?, &mut rows, &Where { object, layout, column: name, row: place })?;
    } else {
        for (feature, name) in layout.features.iter().enumerate() {
            let array = column(name)?;
            if !copy_numbers(array.as_ref(), &mut rows.values[feature..], d) {
                return Err(not_numbers(object, name, array.data_type()));
            }
            for row in null_rows(array.as_ref()) {
                rows.values[row * d + feature] = f32::NAN;
                rows.nulls.push((row, Some(feature)));
            }
        }
    }
    if let Some(name) = &layout.id {
        rows.ids = Some(ids(column(name)?, object, name, place)?);
    }
    if let Some(name) = &layout.label {
        rows.labels = Some(texts(column(name)?).unwrap_or_default());
        if rows.labels.as_ref().is_some_and(|labels| labels.len() != count) {
            return Err(not_numbers(object, name, column(name)?.data_type()));
        }
    }
    Ok(rows)
}

/// The width of the first vector that is not null.
pub(crate) fn first_width(batch: &RecordBatch, name: &str) -> Option<usize> {
    let array = batch.column_by_name(name)?;
    let row = (0..array.len()).find(|row| array.is_valid(*row))?;
    match array.data_type() {
        DataType::FixedSizeList(_, width) => usize::try_from(*width).ok(),
        DataType::List(_) => usize::try_from(array.as_list::<i32>().value_length(row)).ok(),
        DataType::LargeList(_) => usize::try_from(array.as_list::<i64>().value_length(row)).ok(),
        _ => None,
    }
}

/// Which column is decoded.
pub(crate) struct Where<'a> {
    pub(crate) object: &'a str,
    pub(crate) layout: &'a Layout,
    pub(crate) column: &'a str,
    pub(crate) row: Place<'a>,
}

impl Where<'_> {
    fn ragged(&self, row: usize, width: usize) -> DataError {
        row_error(
            self.object,
            (self.row)(row),
            self.column.to_owned(),
            format!("the vector has {width} elements, but the first one has {}", self.layout.dimension),
            "write vectors of one length",
        )
    }
}

fn vectors(array: &ArrayRef, rows: &mut Rows, place: &Where<'_>) -> Result<(), DataError> {
    match array.data_type() {
        DataType::FixedSizeList(..) => fixed(array.as_fixed_size_list(), rows, place),
        DataType::List(_) => variable(array.as_list::<i32>(), rows, place),
        DataType::LargeList(_) => variable(array.as_list::<i64>(), rows, place),
        other => Err(not_numbers(place.object, place.column, other)),
    }
}

fn fixed(array: &FixedSizeListArray, rows: &mut Rows, place: &Where<'_>) -> Result<(), DataError> {
    let d = place.layout.dimension;
    let width = usize::try_from(array.value_length()).unwrap_or(0);
    if width != d {
        return Err(place.ragged(0, width));
    }
    if array.is_empty() {
        return Ok(());
    }
    let start = array.value_offset_at(0);
    let items = array.values().slice(start, array.len() * d);
    fill(&items, 0, rows, place)?;
    void(array, rows, d);
    Ok(())
}

fn variable<O: OffsetSizeTrait>(
    array: &GenericListArray<O>,
    rows: &mut Rows,
    place: &Where<'_>,
) -> Result<(), DataError> {
    let d = place.layout.dimension;
    let offsets = array.value_offsets();
    for row in 0..array.len() {
        let width = offsets[row + 1].as_usize().saturating_sub(offsets[row].as_usize());
        if array.is_valid(row) && width != d {
            return Err(place.ragged(row, width));
        }
    }
    // Rows of full width lie side by side, so each run of them is copied at once.
    let mut row = 0;
    while row < array.len() {
        if array.is_null(row) {
            row += 1;
            continue;
        }
        let run = (row..array.len()).take_while(|at| array.is_valid(*at)).count();
        let items = array.values().slice(offsets[row].as_usize(), run * d);
        fill(&items, row, rows, place)?;
        row += run;
    }
    void(array, rows, d);
    Ok(())
}

/// Copies the elements of whole rows, the first of which is `row`.
fn fill(items: &ArrayRef, row: usize, rows: &mut Rows, place: &Where<'_>) -> Result<(), DataError> {
    let d = place.layout.dimension;
    let out = &mut rows.values[row * d..row * d + items.len()];
    if !copy_numbers(items.as_ref(), out, 1) {
        return Err(not_numbers(place.object, place.column, items.data_type()));
    }
    for element in null_rows(items.as_ref()) {
        out[element] = f32::NAN;
        rows.nulls.push((row + element / d, Some(element % d)));
    }
    Ok(())
}

/// Marks null vectors.
fn void(array: &dyn Array, rows: &mut Rows, d: usize) {
    for row in null_rows(array) {
        rows.values[row * d..(row + 1) * d].fill(f32::NAN);
        rows.nulls.push((row, None));
    }
}

/// The rows that are null.
pub(crate) fn null_rows(array: &dyn Array) -> impl Iterator<Item = usize> + '_ {
    let some = array.null_count() > 0;
    (0..if some { array.len() } else { 0 }).filter(|row| array.is_null(*row))
}

/// Writes numbers to every `stride`-th place; false when the array does not hold numbers.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn copy_numbers(array: &dyn Array, out: &mut [f32], stride: usize) -> bool {
    fn copy<T: ArrowPrimitiveType>(
        array: &PrimitiveArray<T>,
        out: &mut [f32],
        stride: usize,
        convert: impl Fn(T::Native) -> f32,
    ) {
        if stride == 1 {
            out.iter_mut().zip(array.values()).for_each(|(out, value)| *out = convert(*value));
        } else {
            out.iter_mut().step_by(stride).zip(array.values()).for_each(|(out, value)| *out = convert(*value));
        }
    }
    match array.data_type() {
        DataType::Float32 => copy(array.as_primitive::<Float32Type>(), out, stride, |value| value),
        DataType::Float64 => copy(array.as_primitive::<Float64Type>(), out, stride, |value| value as f32),
        DataType::Float16 => copy(array.as_primitive::<Float16Type>(), out, stride, f32::from),
        DataType::Int8 => copy(array.as_primitive::<Int8Type>(), out, stride, f32::from),
        DataType::Int16 => copy(array.as_primitive::<Int16Type>(), out, stride, f32::from),
        DataType::Int32 => copy(array.as_primitive::<Int32Type>(), out, stride, |value| value as f32),
        DataType::Int64 => copy(array.as_primitive::<Int64Type>(), out, stride, |value| value as f32),
        DataType::UInt8 => copy(array.as_primitive::<UInt8Type>(), out, stride, f32::from),
        DataType::UInt16 => copy(array.as_primitive::<UInt16Type>(), out, stride, f32::from),
        DataType::UInt32 => copy(array.as_primitive::<UInt32Type>(), out, stride, |value| value as f32),
        DataType::UInt64 => copy(array.as_primitive::<UInt64Type>(), out, stride, |value| value as f32),
        _ => return false,
    }
    true
}

fn ids(array: &ArrayRef, object: &str, name: &str, place: Place<'_>) -> Result<Ids, DataError> {
    if let Some(row) = null_rows(array.as_ref()).next() {
        return Err(row_error(
            object,
            place(row),
            name.to_owned(),
            "the id is null",
            "give every row an id, or leave source.columns.id unset to number the rows",
        ));
    }
    if kind(array.data_type()) == Kind::Integer {
        let wide = cast(array, &DataType::Int64).map_err(|_| not_numbers(object, name, array.data_type()))?;
        return Ok(Ids::Int(wide.as_primitive::<Int64Type>().values().to_vec()));
    }
    texts(array).map(Ids::Text).ok_or_else(|| not_numbers(object, name, array.data_type()))
}

/// Any scalar column as text; nulls are "".
fn texts(array: &ArrayRef) -> Option<Vec<String>> {
    match array.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            // A class that a table library turned into a real number reads as the integer it was: 3.0 is "3".
            let wide = cast(array, &DataType::Float64).ok()?;
            Some(
                wide.as_primitive::<Float64Type>()
                    .iter()
                    .map(|value| value.map_or_else(String::new, |value| value.to_string()))
                    .collect(),
            )
        }
        _ => {
            let text = cast(array, &DataType::LargeUtf8).ok()?;
            Some(text.as_string::<i64>().iter().map(|value| value.unwrap_or_default().to_owned()).collect())
        }
    }
}

fn not_numbers(object: &str, name: &str, data_type: &DataType) -> DataError {
    DataError::Schema {
        object: object.to_owned(),
        problem: format!("column {name:?} holds {data_type}, which cannot be used there"),
        remedy: "name another column in source.columns".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Float64Array, Int64Array, ListArray, StringArray, UInt64Array};
    use arrow::datatypes::Schema;
    use coterie_crds::resolved::InvalidRows;

    use super::*;

    fn layout(vector: Option<&str>, features: &[&str], dimension: usize) -> Layout {
        Layout {
            vector: vector.map(str::to_owned),
            features: features.iter().map(|name| (*name).to_owned()).collect(),
            dimension,
            id: None,
            label: None,
            invalid: InvalidRows::Drop,
            sets: None,
        }
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let schema = Schema::new(
            columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect::<Vec<_>>(),
        );
        RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
    }

    fn place(row: usize) -> String {
        format!("row {row}")
    }

    #[test]
    fn fixed_lists_even_sliced_and_with_nulls() {
        let array = FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(
            vec![
                Some(vec![Some(9.), Some(9.)]),
                Some(vec![Some(1.), Some(2.)]),
                None,
                Some(vec![Some(5.), None]),
                Some(vec![Some(1e39), Some(6.)]),
            ],
            2,
        );
        let sliced = batch(vec![("v", Arc::new(array) as ArrayRef)]).slice(1, 4);
        let rows = decode(&sliced, "o", &layout(Some("v"), &[], 2), &place).unwrap();
        assert_eq!(rows.count, 4);
        assert_eq!(&rows.values[..2], [1., 2.]);
        assert!(rows.values[6].is_infinite());
        assert!(rows.nulls.contains(&(2, Some(1))) && rows.nulls.contains(&(1, None)));
        let block = rows.finish("o", &layout(Some("v"), &[], 2), place).unwrap();
        assert_eq!((block.rows, block.dropped, block.values), (1, 3, vec![1., 2.]));
    }

    #[test]
    fn variable_lists_must_have_one_width() {
        let list = |rows: Vec<Option<Vec<Option<f32>>>>| {
            batch(vec![("v", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows)) as ArrayRef)])
        };
        let good = list(vec![
            Some(vec![Some(1.), Some(2.)]),
            None,
            Some(vec![Some(3.), Some(4.)]),
            Some(vec![Some(5.), Some(6.)]),
        ]);
        assert_eq!(first_width(&good.slice(1, 2), "v"), Some(2));
        let block = decode(&good, "o", &layout(Some("v"), &[], 2), &place)
            .unwrap()
            .finish("o", &layout(Some("v"), &[], 2), place)
            .unwrap();
        assert_eq!((block.values, block.dropped), (vec![1., 2., 3., 4., 5., 6.], 1));
        let ragged = list(vec![Some(vec![Some(1.), Some(2.)]), Some(vec![Some(3.)])]);
        let error = decode(&ragged, "o", &layout(Some("v"), &[], 2), &place).unwrap_err().to_string();
        assert_eq!(
            error,
            "o, row 1, column \"v\": the vector has 1 elements, but the first one has 2; write vectors of one length"
        );
    }

    #[test]
    fn named_columns_ids_and_labels() {
        let data = batch(vec![
            ("b", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])) as ArrayRef),
            ("a", Arc::new(Float64Array::from(vec![0.5, 1.5, 2.5]))),
            ("u", Arc::new(UInt64Array::from(vec![1, u64::MAX, 3]))),
            ("s", Arc::new(DictionaryArray::<Int8Type>::from_iter([Some("x"), None, Some("y")]))),
            ("c", Arc::new(Float64Array::from(vec![3.0, 1.0, 2.5]))),
            ("t", Arc::new(StringArray::from(vec![Some("p"), None, Some("q")]))),
        ]);
        let mut layout = layout(None, &["a", "b"], 2);
        layout.id = Some("u".into());
        layout.label = Some("s".into());
        let rows = decode(&data, "o", &layout, &place).unwrap();
        assert_eq!(rows.nulls, [(1, Some(1))]);
        assert_eq!((rows.values[0], rows.values[1], rows.values[4], rows.values[5]), (0.5, 1., 2.5, 3.));
        assert_eq!(rows.ids, Some(Ids::Text(vec!["1".into(), u64::MAX.to_string(), "3".into()])));
        assert_eq!(rows.labels, Some(vec!["x".into(), String::new(), "y".into()]));
        layout.label = Some("c".into());
        assert_eq!(
            decode(&data, "o", &layout, &place).unwrap().labels,
            Some(vec!["3".into(), "1".into(), "2.5".into()])
        );
        layout.id = Some("t".into());
        assert!(
            decode(&data, "o", &layout, &place)
                .unwrap_err()
                .to_string()
                .contains("row 1, column \"t\": the id is null")
        );
    }
}
