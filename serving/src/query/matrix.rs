//! Rows of a request, checked to fit the model, in the form they arrived in.

use super::{QueryError, Sets};
use bytes::Bytes;
use coterie_model::Model;
use std::ops::Range;

/// Feature names spelt out in a message.
const NAMES_SHOWN: usize = 8;

/// At least one row, each of the model's input dimension.
#[derive(Clone, Debug)]
pub struct Matrix {
    values: Values,
    rows: usize,
    dimension: usize,
}

#[derive(Clone, Debug)]
enum Values {
    Floats(Vec<f32>),
    /// Little-endian `f32`, at any alignment.
    Bytes(Bytes),
    /// Sets that the model was trained on the like of.
    Sets(Sets),
}

impl Matrix {
    /// A lone vector.
    ///
    /// # Errors
    /// [`QueryError`] when it is of another dimension.
    pub fn from_vector(model: &Model, values: Vec<f32>) -> Result<Self, QueryError> {
        check_dimension(model, values.len(), None)?;
        Ok(Self { values: Values::Floats(values), rows: 1, dimension: model.input_dimension() })
    }

    /// Rows that end at the positions `ends` of `values`.
    ///
    /// # Errors
    /// [`QueryError`] when there are none, too many, or one of another dimension.
    pub fn from_rows(model: &Model, values: Vec<f32>, ends: &[usize], most: usize) -> Result<Self, QueryError> {
        check_count(ends.len(), most)?;
        let mut start = 0;
        for (row, &end) in ends.iter().enumerate() {
            check_dimension(model, end - start, Some(row))?;
            start = end;
        }
        Ok(Self { values: Values::Floats(values), rows: ends.len(), dimension: model.input_dimension() })
    }

    /// Whether `rows` of `dimension` values each may be asked about at once.
    ///
    /// # Errors
    /// [`QueryError`] when there are none, too many, or they are of another dimension.
    pub fn check(model: &Model, rows: usize, dimension: usize, most: usize) -> Result<(), QueryError> {
        check_dimension(model, dimension, None)?;
        check_count(rows, most)
    }

    /// Rows of the model's input dimension, one after the other.
    ///
    /// # Errors
    /// [`QueryError`] when there are none, too many, or they are not whole.
    pub fn from_values(model: &Model, values: Vec<f32>, most: usize) -> Result<Self, QueryError> {
        let dimension = model.input_dimension();
        if let left @ 1.. = values.len() % dimension {
            check_dimension(model, left, Some(values.len() / dimension))?;
        }
        let rows = values.len() / dimension;
        check_count(rows, most)?;
        Ok(Self { values: Values::Floats(values), rows, dimension })
    }

    /// Rows of `dimension` little-endian `f32` each.
    ///
    /// # Errors
    /// [`QueryError`] when there are none, too many, or they are of another dimension or not whole.
    pub fn from_bytes(model: &Model, dimension: u32, data: Bytes, most: usize) -> Result<Self, QueryError> {
        if data.is_empty() {
            return Err(QueryError::Empty);
        }
        let found = usize::try_from(dimension).unwrap_or(usize::MAX);
        check_dimension(model, found, None)?;
        let row_bytes = found.saturating_mul(4);
        if !data.len().is_multiple_of(row_bytes) {
            return Err(QueryError::Ragged { bytes: data.len(), row_bytes, dimension: found });
        }
        let rows = data.len() / row_bytes;
        check_count(rows, most)?;
        Ok(Self { values: Values::Bytes(data), rows, dimension: found })
    }

    /// A lone set, the first of `set`.
    ///
    /// # Errors
    /// [`QueryError`] when there is none, or the model was not trained on such sets.
    pub fn from_set(model: &Model, set: Sets) -> Result<Self, QueryError> {
        if set.is_empty() {
            return Err(QueryError::NoSets);
        }
        set.check(model, false)?;
        Ok(Self { values: Values::Sets(set), rows: 1, dimension: model.input_dimension() })
    }

    /// Sets of which no more than `most` are allowed, and no more than are `most_values` values as rows: they cost what rows cost,
    /// however short they are.
    ///
    /// # Errors
    /// [`QueryError`] when there are none or too many, or the model was not trained on such sets.
    pub fn from_sets(model: &Model, sets: Sets, most: usize, most_values: usize) -> Result<Self, QueryError> {
        sets.check(model, true)?;
        let (rows, dimension) = (sets.len(), model.input_dimension());
        let most = most.min((most_values / dimension).max(1));
        match rows {
            0 => Err(QueryError::NoSets),
            rows if rows > most => Err(QueryError::TooManySets { sets: rows, most, dimension }),
            _ => Ok(Self { values: Values::Sets(sets), rows, dimension }),
        }
    }

    /// Some of the rows.
    pub(crate) fn pick(&self, rows: &[usize]) -> Self {
        let values = match &self.values {
            Values::Sets(sets) => Values::Sets(sets.pick(rows)),
            Values::Floats(_) | Values::Bytes(_) => {
                let mut values = Vec::with_capacity(rows.len() * self.dimension);
                rows.iter().for_each(|&row| values.extend(self.rows_in(row..row + 1)));
                Values::Floats(values)
            }
        };
        Self { values, rows: rows.len(), dimension: self.dimension }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows in `range`, row-major.
    pub fn rows_in(&self, range: Range<usize>) -> Vec<f32> {
        let places = range.start * self.dimension..range.end * self.dimension;
        match &self.values {
            Values::Floats(values) => values[places].to_vec(),
            Values::Sets(sets) => sets.rows(range, self.dimension),
            Values::Bytes(data) => {
                let (values, _) = data[places.start * 4..places.end * 4].as_chunks();
                values.iter().copied().map(f32::from_le_bytes).collect()
            }
        }
    }
}

/// Whether a vector has as many values as the model takes.
pub(crate) fn check_dimension(model: &Model, found: usize, row: Option<usize>) -> Result<(), QueryError> {
    let expected = model.input_dimension();
    if found == expected {
        return Ok(());
    }
    if found == 0 && row.is_none() {
        return Err(QueryError::Empty);
    }
    let features = first_features(model);
    Err(QueryError::Dimension { row, expected, found, features })
}

/// The names of the first features, for messages.
pub(super) fn first_features(model: &Model) -> String {
    let names = model.feature_names.iter().take(NAMES_SHOWN).map(|name| format!("{name:?}"));
    let more = (model.feature_names.len() > NAMES_SHOWN).then(|| "...".to_owned());
    names.chain(more).collect::<Vec<_>>().join(", ")
}

fn check_count(rows: usize, most: usize) -> Result<(), QueryError> {
    match rows {
        0 => Err(QueryError::Empty),
        rows if rows > most => Err(QueryError::TooManyRows { rows, most }),
        _ => Ok(()),
    }
}
