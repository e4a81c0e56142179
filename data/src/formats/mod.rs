//! One module per format. Each offers the same three things: a header that is read once per object, what the plan
//! needs to know of it, and a reader that turns a part of the object into rows on a blocking thread.

pub(crate) mod csv;
pub(crate) mod ipc;
pub(crate) mod npy;
pub(crate) mod parquet;

use coterie_crds::resolved::{Columns, Format, Sets};
use tokio::runtime::Handle;

use crate::columns::{Column, IdKind, Kind, Selection, select};
use crate::fetch::ObjectReader;
use crate::plan::{Extent, Part};
use crate::{DataError, arrow_rows};

/// The checked header or footer of an object.
#[derive(Clone, Debug)]
pub(crate) enum Header {
    Parquet(parquet::Header),
    Npy(npy::Header),
    Csv(csv::Header),
    Arrow(ipc::Header),
}

impl Header {
    /// Reads the header of an object of this format.
    pub(crate) async fn read(format: Format, object: &ObjectReader) -> Result<Self, DataError> {
        Ok(match format {
            Format::Parquet => Self::Parquet(parquet::header(object).await?),
            Format::Npy => Self::Npy(npy::header(object).await?),
            Format::Csv => Self::Csv(csv::header(object).await?),
            Format::Arrow => Self::Arrow(ipc::header(object).await?),
        })
    }

    /// Chooses the columns.
    pub(crate) fn select(&self, object: &str, columns: &Columns) -> Result<Selection, DataError> {
        match self {
            Self::Parquet(header) => select(object, &header.table(), columns),
            Self::Arrow(header) => select(object, &header.table(), columns),
            Self::Csv(header) => {
                // Text has no types: ids stay the text that they are.
                let id = columns.id.as_ref();
                let retype = |column: &Column| Column {
                    kind: if Some(&column.name) == id { Kind::Text } else { column.kind },
                    ..column.clone()
                };
                let table: Vec<Column> = header.table.iter().map(retype).collect();
                select(object, &table, columns)
            }
            Self::Npy(header) => {
                let named = columns.id.is_some()
                    || columns.label.is_some()
                    || columns.vector.is_some()
                    || !columns.features.is_empty()
                    || matches!(columns.sets, Some(Sets::Lists { .. }));
                if named {
                    return Err(DataError::Schema {
                        object: object.to_owned(),
                        problem: "an NPY array has no column names, but source.columns names some".to_owned(),
                        remedy: "leave source.columns out, or write the data as Parquet".to_owned(),
                    });
                }
                let width = usize::try_from(header.columns).ok();
                Ok(Selection { vector: None, features: Vec::new(), members: None, width, id: None::<IdKind> })
            }
        }
    }

    /// What can be cut. `width` is the dimension where it is known.
    pub(crate) fn extent(&self, size: u64) -> Extent {
        match self {
            Self::Parquet(header) => Extent::RowGroups(header.row_groups.clone()),
            Self::Npy(header) => Extent::Rows { rows: header.rows, row_bytes: header.columns * 4 },
            Self::Csv(header) => {
                Extent::Text { start: header.data, end: if header.has_rows { size } else { header.data } }
            }
            Self::Arrow(header) => Extent::Batches(header.sizes()),
        }
    }

    /// Whether the types of the columns are unknown, since they come from rows and there are none.
    pub(crate) fn is_untyped(&self) -> bool {
        matches!(self, Self::Csv(header) if !header.has_rows)
    }

    /// Number of rows, where it is known.
    pub(crate) fn rows(&self) -> Option<u64> {
        match self {
            Self::Parquet(header) => Some(header.row_groups.iter().sum()),
            Self::Npy(header) => Some(header.rows),
            Self::Csv(_) | Self::Arrow(_) => None,
        }
    }

    /// The width of the first vector in a part that is not null. Blocks; only for list columns.
    pub(crate) fn first_width(
        &self,
        object: &ObjectReader,
        handle: &Handle,
        part: Part,
        column: &str,
    ) -> Result<Option<usize>, DataError> {
        match (self, part) {
            (Self::Parquet(header), Part::RowGroup { index, .. }) => {
                for batch in parquet::batches(object, handle, header, index as usize, &[column], 256)? {
                    if let Some(width) = arrow_rows::first_width(&batch?, column) {
                        return Ok(Some(width));
                    }
                }
            }
            (Self::Arrow(header), Part::Batches { first, count }) => {
                for batch in ipc::batches(object, handle, header, first as usize, count as usize, &[column])? {
                    if let Some(width) = arrow_rows::first_width(&batch?.1, column) {
                        return Ok(Some(width));
                    }
                }
            }
            _ => {}
        }
        Ok(None)
    }
}
