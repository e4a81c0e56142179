//! Every format decodes to rows with holes: a null or an unreadable number is NaN at first. Here, in one place, the
//! manifest's rule for such rows is applied.

use coterie_crds::resolved::{InvalidRows, Sets};

use crate::columns::Layout;
use crate::{Block, DataError, Ids};

/// Decoded rows, before invalid ones are dealt with.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) count: usize,
    /// Row-major; NaN where there is no number.
    pub(crate) values: Vec<f32>,
    /// Where the NaN stands for a null: row, and feature unless the whole vector is null. In no order.
    pub(crate) nulls: Vec<(usize, Option<usize>)>,
    pub(crate) ids: Option<Ids>,
    pub(crate) labels: Option<Vec<String>>,
}

/// Puts a row of a piece into words.
pub(crate) type Place<'a> = &'a dyn Fn(usize) -> String;

/// Takes decoded rows; answers false when nobody listens any more.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(Rows, Place<'_>) -> Result<bool, DataError>;

/// The remedy for rows that can be left out.
const DROP: &str = "correct the row, or set source.invalidRows: Drop to leave such rows out";

/// The remedy for rows that are no sets.
const MEMBER: &str = "make it 1 where the member is in the set and 0 where it is not, leave columns that are no members \
    out of source.columns, or choose another metric";

/// A row's error.
pub(crate) fn row_error(
    object: &str,
    place: String,
    column: String,
    problem: impl Into<String>,
    remedy: &str,
) -> DataError {
    DataError::Row { object: object.to_owned(), place, column, problem: problem.into(), remedy: remedy.to_owned() }
}

impl Rows {
    /// Applies the rule for invalid rows. `place` puts a row of these into words.
    pub(crate) fn finish(
        mut self,
        object: &str,
        layout: &Layout,
        place: impl Fn(usize) -> String,
    ) -> Result<Block, DataError> {
        if layout.sets == Some(Sets::Dense) {
            self.check_members(object, layout, &place)?;
        }
        let all_finite = !self.values.iter().fold(false, |bad, value| bad | !value.is_finite());
        if all_finite {
            return Ok(Block { values: self.values, rows: self.count, dropped: 0, ids: self.ids, labels: self.labels });
        }
        let d = layout.dimension;
        let keep: Vec<bool> =
            self.values.chunks_exact(d).map(|row| row.iter().all(|value| value.is_finite())).collect();
        if layout.invalid == InvalidRows::Fail {
            let row = keep.iter().position(|keep| !keep).unwrap_or_default();
            return Err(self.describe(row, object, layout, place(row)));
        }
        let mut kept = 0;
        for row in (0..self.count).filter(|row| keep[*row]) {
            self.values.copy_within(row * d..(row + 1) * d, kept * d);
            kept += 1;
        }
        self.values.truncate(kept * d);
        let ids = self.ids.map(|ids| match ids {
            Ids::Int(ids) => Ids::Int(retain(ids, &keep)),
            Ids::Text(ids) => Ids::Text(retain(ids, &keep)),
        });
        let labels = self.labels.map(|labels| retain(labels, &keep));
        Ok(Block { values: self.values, rows: kept, dropped: (self.count - kept) as u64, ids, labels })
    }

    /// Refuses numbers that say neither that a member is in the set nor that it is not. Dropping such rows would hide a metric
    /// that does not fit the data, so the rule for invalid rows is not asked.
    fn check_members(&self, object: &str, layout: &Layout, place: &impl Fn(usize) -> String) -> Result<(), DataError> {
        let strange = |value: &f32| value.is_finite() && *value != 0.0 && *value != 1.0;
        let Some(at) = self.values.iter().position(strange) else { return Ok(()) };
        let (row, feature) = (at / layout.dimension, at % layout.dimension);
        let problem = format!("the value is {}, but rows are sets for the metric Jaccard: 0 or 1", self.values[at]);
        Err(row_error(object, place(row), layout.feature_name(feature), problem, MEMBER))
    }

    fn describe(&self, row: usize, object: &str, layout: &Layout, place: String) -> DataError {
        let nulls: Vec<Option<usize>> =
            self.nulls.iter().filter(|(at, _)| *at == row).map(|(_, feature)| *feature).collect();
        if nulls.contains(&None) {
            let column = layout.vector.clone().unwrap_or_default();
            let problem = if matches!(layout.sets, Some(Sets::Lists { .. })) {
                "the set is null or has a member that is null"
            } else {
                "the vector is null"
            };
            return row_error(object, place, column, problem, DROP);
        }
        let values = &self.values[row * layout.dimension..(row + 1) * layout.dimension];
        let feature = values.iter().position(|value| !value.is_finite()).unwrap_or_default();
        let problem = if nulls.contains(&Some(feature)) {
            "the value is null"
        } else if values[feature].is_nan() {
            "the value is NaN"
        } else {
            "the value is infinite or beyond the range of 32-bit floats (3.4e38)"
        };
        row_error(object, place, layout.feature_name(feature), problem, DROP)
    }
}

fn retain<T>(items: Vec<T>, keep: &[bool]) -> Vec<T> {
    items.into_iter().zip(keep).filter_map(|(item, keep)| keep.then_some(item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(invalid: InvalidRows) -> Layout {
        let features = vec!["x".into(), "y".into()];
        Layout { vector: None, features, dimension: 2, id: None, label: None, invalid, sets: None }
    }

    fn rows(values: Vec<f32>) -> Rows {
        let count = values.len() / 2;
        Rows {
            count,
            values,
            nulls: vec![],
            ids: Some(Ids::Int((0..count as i64).collect())),
            labels: Some((0..count).map(|row| row.to_string()).collect()),
        }
    }

    #[test]
    fn bad_rows_are_dropped_with_ids_and_labels() {
        let block = rows(vec![1., 2., f32::NAN, 4., 5., 6., 7., f32::INFINITY])
            .finish("o", &layout(InvalidRows::Drop), |row| format!("row {row}"))
            .unwrap();
        assert_eq!(
            block,
            Block {
                values: vec![1., 2., 5., 6.],
                rows: 2,
                dropped: 2,
                ids: Some(Ids::Int(vec![0, 2])),
                labels: Some(vec!["0".into(), "2".into()])
            }
        );
    }

    #[test]
    fn bad_rows_fail_with_place_and_reason() {
        let fail = |rows: Rows| {
            rows.finish("o", &layout(InvalidRows::Fail), |row| format!("row {}", row + 100)).unwrap_err().to_string()
        };
        let text = fail(rows(vec![1., 2., 3., f32::NAN]));
        assert_eq!(
            text,
            "o, row 101, column \"y\": the value is NaN; correct the row, or set source.invalidRows: Drop to leave such rows out"
        );
        assert!(
            fail(rows(vec![f32::NEG_INFINITY, 2.])).contains("row 100, column \"x\": the value is infinite or beyond")
        );
        let null = Rows { nulls: vec![(0, Some(1))], ..rows(vec![1., f32::NAN]) };
        assert!(fail(null).contains("column \"y\": the value is null"));
        let vector = Rows { nulls: vec![(0, None)], ..rows(vec![f32::NAN, f32::NAN]) };
        assert!(fail(vector).contains("the vector is null"));
    }
}
