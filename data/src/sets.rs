//! A list column as sets: each list of members becomes a row of zeros and ones, with a column per possible member.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, LargeStringArray, OffsetSizeTrait, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int64Type, UInt64Type};
use coterie_algorithms::members::{Members, hash};

use crate::DataError;
use crate::arrow_rows::{Where, null_rows};
use crate::columns::{Column, Kind, find, refuse};
use crate::rows::{Rows, row_error};

/// The remedy for members that have no column.
const OUTSIDE: &str = "number the members from 0 on and make source.columns.set.size greater than the greatest of them, or write them as text, \
                       which is hashed";

/// What the lists of the column with this name hold as members.
///
/// # Errors
/// When there is no such column, or it holds something else than lists of integers or of text.
pub(crate) fn members(object: &str, table: &[Column], name: &str) -> Result<Members, DataError> {
    let column = find(object, table, name, "source.columns.set.column")?;
    column.members.ok_or_else(|| {
        let remedy = if matches!(column.kind, Kind::List(_)) {
            "convert the members to integers or text, or name the column in source.columns.vector if its lists are vectors"
        } else {
            "name a list column there, or leave set out if the columns of the data are zeros and ones"
        };
        let found = &column.type_name;
        let problem = format!("column {name:?} holds {found}, but source.columns.set needs lists of integers or of text");
        refuse(object, problem, remedy)
    })
}

/// Members in a message.
pub(crate) fn words(members: Members) -> &'static str {
    match members {
        Members::Integers => "integers",
        Members::Texts => "text",
    }
}

/// Writes the sets of a list column into rows of `size` columns; false when the lists hold neither integers nor text.
///
/// # Errors
/// When a member is an integer that is no column.
pub(crate) fn fill(array: &ArrayRef, size: usize, rows: &mut Rows, place: &Where<'_>) -> Result<bool, DataError> {
    let Some((items, lists)) = lists(array) else { return Ok(false) };
    let Some(members) = Items::of(&items) else { return Ok(false) };
    rows.values.fill(0.0);
    for (row, list) in lists.into_iter().enumerate().filter(|(row, _)| array.is_valid(*row)) {
        for at in list.clone().filter(|at| !members.is_null(*at)) {
            let column = members.column(at, size).map_err(|member| {
                let problem = format!("the set has the member {member}, expected 0 to {}", size.saturating_sub(1));
                row_error(place.object, (place.row)(row), place.column.to_owned(), problem, OUTSIDE)
            })?;
            rows.values[row * size + column] = 1.0;
        }
        if members.nulls().is_some() && list.into_iter().any(|at| members.is_null(at)) {
            void(row, size, rows);
        }
    }
    null_rows(array.as_ref()).for_each(|row| void(row, size, rows));
    Ok(true)
}

/// Marks a row that is no set.
fn void(row: usize, size: usize, rows: &mut Rows) {
    rows.values[row * size..(row + 1) * size].fill(f32::NAN);
    rows.nulls.push((row, None));
}

/// What all lists together hold, and where the list of each row is in it.
fn lists(array: &ArrayRef) -> Option<(ArrayRef, Vec<Range<usize>>)> {
    fn variable<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> (ArrayRef, Vec<Range<usize>>) {
        let ends: Vec<usize> = array.value_offsets().iter().map(|offset| offset.as_usize()).collect();
        let (first, last) = (ends.first().copied().unwrap_or(0), ends.last().copied().unwrap_or(0));
        let items = array.values().slice(first, last - first);
        (items, ends.windows(2).map(|pair| pair[0] - first..pair[1] - first).collect())
    }
    match array.data_type() {
        DataType::List(_) => Some(variable(array.as_list::<i32>())),
        DataType::LargeList(_) => Some(variable(array.as_list::<i64>())),
        DataType::FixedSizeList(_, width) => {
            let (list, width) = (array.as_fixed_size_list(), usize::try_from(*width).unwrap_or(0));
            let first = if list.is_empty() { 0 } else { list.value_offset_at(0) };
            let items = list.values().slice(first, list.len() * width);
            Some((items, (0..list.len()).map(|row| row * width..(row + 1) * width).collect()))
        }
        _ => None,
    }
}

/// Members by type.
enum Items {
    Signed(PrimitiveArray<Int64Type>),
    Unsigned(PrimitiveArray<UInt64Type>),
    Text(LargeStringArray),
}

impl Items {
    fn of(items: &ArrayRef) -> Option<Self> {
        fn wide<T: ArrowPrimitiveType>(items: &ArrayRef) -> Option<PrimitiveArray<T>> {
            cast(items, &T::DATA_TYPE).ok().map(|wide| wide.as_primitive::<T>().clone())
        }
        use DataType as T;
        match items.data_type() {
            T::Int8 | T::Int16 | T::Int32 | T::Int64 => wide(items).map(Self::Signed),
            T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => wide(items).map(Self::Unsigned),
            T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Dictionary(..) => {
                cast(items, &T::LargeUtf8).ok().map(|text| Self::Text(text.as_string::<i64>().clone()))
            }
            _ => None,
        }
    }

    /// Which members are null, the texts of a dictionary included.
    fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            Self::Signed(items) => items.nulls(),
            Self::Unsigned(items) => items.nulls(),
            Self::Text(items) => items.nulls(),
        }
    }

    fn is_null(&self, at: usize) -> bool {
        self.nulls().is_some_and(|nulls| nulls.is_null(at))
    }

    /// The column of a member; an integer outside of 0..size as it is written.
    fn column(&self, at: usize, size: usize) -> Result<usize, String> {
        let integer = |member: Option<u64>| member.and_then(|member| Members::Integers.column(member, size));
        match self {
            Self::Signed(items) => {
                let member = items.value(at);
                integer(u64::try_from(member).ok()).ok_or_else(|| member.to_string())
            }
            Self::Unsigned(items) => {
                let member = items.value(at);
                integer(Some(member)).ok_or_else(|| member.to_string())
            }
            Self::Text(items) => {
                let member = items.value(at);
                Members::Texts.column(hash(member.as_bytes()), size).ok_or_else(|| member.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, ListArray, ListBuilder, StringBuilder};
    use arrow::datatypes::{Float32Type, Int16Type};
    use coterie_crds::resolved::{InvalidRows, Sets};

    use super::*;
    use crate::columns::Layout;

    fn layout(size: usize, invalid: InvalidRows) -> Layout {
        let sets = Some(Sets::Lists { column: "tags".into(), size });
        Layout { vector: Some("tags".into()), features: vec![], dimension: size, id: None, label: None, invalid, sets }
    }

    fn decode(array: &ArrayRef, size: usize) -> Result<Option<Rows>, DataError> {
        let layout = layout(size, InvalidRows::Drop);
        let place = Where { object: "o", layout: &layout, column: "tags", row: &|row| format!("row {row}") };
        let mut rows = Rows { count: array.len(), values: vec![f32::NAN; array.len() * size], ..Rows::default() };
        Ok(fill(array, size, &mut rows, &place)?.then_some(rows))
    }

    fn lists(rows: Vec<Option<Vec<Option<i16>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int16Type, _, _>(rows))
    }

    #[test]
    fn integers_are_their_own_columns_and_count_once() {
        let array = lists(vec![
            Some(vec![Some(9)]),
            Some(vec![Some(2), Some(0), Some(2)]),
            None,
            Some(vec![]),
            Some(vec![Some(1), None]),
            Some(vec![Some(3)]),
        ]);
        // Slices begin somewhere in the items.
        let rows = decode(&array.slice(1, 5), 4).unwrap().unwrap();
        let block = rows.finish("o", &layout(4, InvalidRows::Drop), |row| row.to_string()).unwrap();
        assert_eq!(block.values, [1., 0., 1., 0., 0., 0., 0., 0., 0., 0., 0., 1.]);
        assert_eq!((block.rows, block.dropped), (3, 2));
        let rows = decode(&array.slice(1, 5), 4).unwrap().unwrap();
        let error =
            rows.finish("o", &layout(4, InvalidRows::Fail), |row| format!("row {row}")).unwrap_err().to_string();
        assert!(
            error.starts_with("o, row 1, column \"tags\": the set is null or has a member that is null;"),
            "{error}"
        );

        let fixed = FixedSizeListArray::from_iter_primitive::<Int16Type, _, _>(
            [[0, 1], [3, 3], [1, 2]].map(|row| Some(row.map(Some))),
            2,
        );
        let rows = decode(&(Arc::new(fixed.slice(1, 2)) as ArrayRef), 4).unwrap().unwrap();
        assert_eq!(rows.values, [0., 0., 0., 1., 0., 1., 1., 0.]);
    }

    #[test]
    fn members_without_a_column_are_named() {
        for member in [4, -1] {
            let error =
                decode(&lists(vec![Some(vec![]), Some(vec![Some(1), Some(member)])]), 4).unwrap_err().to_string();
            let start =
                format!("o, row 1, column \"tags\": the set has the member {member}, expected 0 to 3; number the");
            assert!(error.starts_with(&start), "{error}");
        }
        let reals = ListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(1.0)])]);
        assert!(decode(&(Arc::new(reals) as ArrayRef), 4).unwrap().is_none());
    }

    #[test]
    fn texts_have_the_columns_of_their_hashes() {
        let columns = [5039, 7827, 63_364];
        let mut builder = ListBuilder::new(StringBuilder::new());
        builder.append_value([Some("rust"), Some("Zürich"), Some("rust")]);
        builder.append_value([Some("")]);
        let rows = decode(&(Arc::new(builder.finish()) as ArrayRef), 1 << 16).unwrap().unwrap();
        let found: Vec<usize> = (0..2 << 16).filter(|at| rows.values[*at] == 1.0).collect();
        let mut expected = vec![columns[1], columns[2]];
        expected.sort_unstable();
        expected.push((1 << 16) + columns[0]);
        assert_eq!(found, expected);
    }
}
