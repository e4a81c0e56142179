//! Tensors: the one that a model takes, checked, and those that it gives.

use super::malformed;
use crate::query::{Matrix, QueryError, Served};
use crate::rest::Rows;
use bytes::Bytes;
use serde::Serialize;

/// Name of the one input.
pub(crate) const VECTORS: &str = "vectors";

/// Datatype of the one input.
pub(crate) const FP32: &str = "FP32";

/// A tensor as it came.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) datatype: String,
    pub(crate) shape: Vec<i64>,
    pub(crate) contents: Contents,
}

/// The values of an input, row-major.
#[derive(Debug)]
pub(crate) enum Contents {
    Flat(Vec<f32>),
    Nested(Rows),
    /// Little-endian.
    Raw(Bytes),
}

/// A tensor of the answer.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) name: OutputName,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
}

/// What a model can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputName {
    ClusterId,
    Distance,
    Margin,
    NeighborIds,
}

/// The values of an output, row-major.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Data {
    Int32(Vec<i32>),
    Fp32(Vec<f32>),
}

/// The rows of a request's inputs: there must be one, as the model takes it, with as many values as its shape says.
pub(crate) fn matrix(served: &Served, inputs: Vec<Input>, most_rows: usize) -> Result<Matrix, QueryError> {
    let count = inputs.len();
    if let Some(other) = inputs.iter().find(|input| input.name != VECTORS) {
        let found = other.name.clone();
        return Err(QueryError::UnknownTensor { kind: "input", found, expected: "send \"vectors\"" });
    }
    let mut inputs = inputs.into_iter();
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err(malformed(format!("found {count} inputs: send one, \"vectors\"")));
    };
    let Input { name: _, datatype, shape, contents } = input;
    if datatype != FP32 {
        return Err(QueryError::Datatype { input: VECTORS, found: datatype, expected: FP32 });
    }
    let model = served.model();
    let size = |at: usize| shape.get(at).and_then(|&size| usize::try_from(size).ok());
    let (2, Some(rows), Some(dimension)) = (shape.len(), size(0), size(1)) else {
        return Err(QueryError::Shape { input: VECTORS, found: shape, dimension: model.input_dimension() });
    };
    Matrix::check(model, rows, dimension, most_rows)?;
    let values = rows.saturating_mul(dimension);
    let (found, expected, unit) = match &contents {
        Contents::Flat(floats) => (floats.len(), values, "values"),
        Contents::Nested(nested) => (nested.ends.len(), rows, "rows"),
        Contents::Raw(bytes) => (bytes.len(), values.saturating_mul(4), "bytes"),
    };
    if found != expected {
        return Err(QueryError::Contents { input: VECTORS, shape, found, expected, unit });
    }
    match contents {
        Contents::Flat(floats) => Matrix::from_values(model, floats, most_rows),
        Contents::Nested(Rows { values, ends }) => Matrix::from_rows(model, values, &ends, most_rows),
        Contents::Raw(bytes) => {
            Matrix::from_bytes(model, u32::try_from(dimension).unwrap_or(u32::MAX), bytes, most_rows)
        }
    }
}

// === impl OutputName ===

impl OutputName {
    pub(crate) const ALL: [Self; 4] = [Self::ClusterId, Self::Distance, Self::Margin, Self::NeighborIds];

    pub(crate) fn read(name: &str) -> Result<Self, QueryError> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| QueryError::UnknownTensor {
            kind: "output",
            found: name.to_owned(),
            expected: "there are \"cluster_id\", \"distance\", \"margin\" and \"neighbor_ids\"",
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClusterId => "cluster_id",
            Self::Distance => "distance",
            Self::Margin => "margin",
            Self::NeighborIds => "neighbor_ids",
        }
    }

    pub(crate) fn datatype(self) -> &'static str {
        match self {
            Self::ClusterId | Self::NeighborIds => "INT32",
            Self::Distance | Self::Margin => FP32,
        }
    }
}

// === impl Data ===

impl Data {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Int32(values) => values.len(),
            Self::Fp32(values) => values.len(),
        }
    }

    /// Length of the raw form; both datatypes take four bytes.
    pub(crate) fn raw_len(&self) -> usize {
        self.len() * 4
    }

    /// Appends the raw form: little-endian, row-major.
    pub(crate) fn write_raw(&self, to: &mut Vec<u8>) {
        match self {
            Self::Int32(values) => to.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::Fp32(values) => to.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
    }
}
