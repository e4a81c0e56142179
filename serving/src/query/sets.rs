//! Sets of a request, by their members. They stay as short as they came: rows of zeros and ones, which are many times as long,
//! are made of a few of them at a time.

use super::{Matrix, QueryError, Served, matrix, metric_name};
use coterie_algorithms::members::{Members, hash};
use coterie_algorithms::metric::Metric;
use coterie_model::Model;
use std::ops::Range;

/// Sets, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    /// What the members are, once there is one.
    kind: Option<Members>,
    /// What stands for each member; see [`Members::column`].
    members: Vec<u64>,
    /// Where in `members` each set ends.
    ends: Vec<usize>,
    /// The greatest of `members`, and the set that it is in.
    greatest: (u64, usize),
    /// Whether members are the columns of features that were named.
    named: bool,
}

impl Sets {
    /// Adds an integer to the set that is being read.
    ///
    /// # Errors
    /// [`QueryError::MixedMembers`] after a text.
    pub fn integer(&mut self, member: u64) -> Result<(), QueryError> {
        self.add(Members::Integers, member)
    }

    /// Adds a text to the set that is being read.
    ///
    /// # Errors
    /// [`QueryError::MixedMembers`] after an integer.
    pub fn text(&mut self, member: &str) -> Result<(), QueryError> {
        self.add(Members::Texts, hash(member.as_bytes()))
    }

    /// Ends the set that is being read: what is added from now on belongs to the next.
    pub fn end(&mut self) {
        self.ends.push(self.members.len());
    }

    /// Number of sets.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn add(&mut self, kind: Members, member: u64) -> Result<(), QueryError> {
        if *self.kind.get_or_insert(kind) != kind {
            return Err(QueryError::MixedMembers);
        }
        if member >= self.greatest.0 {
            self.greatest = (member, self.ends.len());
        }
        self.members.push(member);
        Ok(())
    }

    /// The first set, a lone one, as a row of the model's input.
    ///
    /// # Errors
    /// As [`Matrix::from_set`].
    pub(crate) fn into_vector(self, model: &Model) -> Result<Vec<f32>, QueryError> {
        Ok(Matrix::from_set(model, self)?.rows_in(0..1))
    }

    /// Number of members in all sets.
    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// The sets as the model of `served` takes them: where their members are names of features, with the columns of these. O(members).
    /// `several` when the request was not for one set.
    ///
    /// # Errors
    /// [`QueryError`] about the first member that is no name of a feature.
    pub(crate) fn named(mut self, served: &Served, several: bool) -> Result<Self, QueryError> {
        let Some(names) = &served.names else { return Ok(self) };
        if self.kind == Some(Members::Integers) {
            return Err(QueryError::MembersAreNames { features: matrix::first_features(served.model()) });
        }
        for row in 0..self.len() {
            for (at, member) in self.range(row).enumerate() {
                let column = names.column(self.members[member]).ok_or_else(|| QueryError::NoFeature {
                    row: several.then_some(row),
                    at,
                    features: matrix::first_features(served.model()),
                })?;
                self.members[member] = column.into();
            }
        }
        Ok(Self { kind: Some(Members::Integers), named: true, ..self })
    }

    /// Whether the model was trained on such sets; O(1). `several` when the request was not for one set.
    ///
    /// # Errors
    /// [`QueryError`] says what to send instead.
    pub(super) fn check(&self, model: &Model, several: bool) -> Result<(), QueryError> {
        let dimension = model.input_dimension();
        if model.metric != Metric::Jaccard {
            return Err(QueryError::NotOfSets { metric: metric_name(model.metric), dimension });
        }
        let members = match model.members {
            Some(members) => members,
            None if self.named => return Ok(()),
            None => return Err(QueryError::MembersUnknown { dimension }),
        };
        let (greatest, row) = self.greatest;
        match self.kind {
            Some(kind) if kind != members => Err(QueryError::OtherMembers { members }),
            Some(kind) if kind.column(greatest, dimension).is_none() => {
                Err(QueryError::NoColumn { row: several.then_some(row), member: greatest, most: dimension - 1 })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The sets in `range` as rows of zeros and ones, one after the other. Members without a column are left out, so
    /// [`Sets::check`] comes first.
    pub(super) fn rows(&self, range: Range<usize>, dimension: usize) -> Vec<f32> {
        let mut rows = vec![0.0; range.len() * dimension];
        for (row, set) in rows.chunks_exact_mut(dimension).zip(range) {
            let columns = self.set(set).iter().filter_map(|member| self.kind?.column(*member, dimension));
            columns.for_each(|column| row[column] = 1.0);
        }
        rows
    }

    /// Some of the sets.
    pub(super) fn pick(&self, sets: &[usize]) -> Self {
        let mut picked = Self { kind: self.kind, greatest: self.greatest, named: self.named, ..Self::default() };
        for &set in sets {
            picked.members.extend_from_slice(self.set(set));
            picked.end();
        }
        picked
    }

    fn set(&self, at: usize) -> &[u64] {
        &self.members[self.range(at)]
    }

    /// Where in `members` a set is.
    fn range(&self, at: usize) -> Range<usize> {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        start..self.ends[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn of(sets: &[Vec<u64>]) -> Sets {
        let mut all = Sets::default();
        for set in sets {
            set.iter().for_each(|member| all.integer(*member).unwrap());
            all.end();
        }
        all
    }

    proptest! {
        #[test]
        fn rows_have_a_one_for_each_member(
            sets in prop::collection::vec(prop::collection::vec(0u64..20, 0..9), 1..9), picked in prop::collection::vec(0usize..99, 0..9),
        ) {
            let all = of(&sets);
            let rows = all.rows(0..sets.len(), 20);
            for (row, set) in rows.chunks_exact(20).zip(&sets) {
                let set: BTreeSet<u64> = set.iter().copied().collect();
                let expected: Vec<f32> = (0..20).map(|member| f32::from(u8::from(set.contains(&member)))).collect();
                prop_assert_eq!(row, &expected[..]);
            }
            let picked: Vec<usize> = picked.into_iter().map(|at| at % sets.len()).collect();
            let some = all.pick(&picked);
            prop_assert_eq!(some.len(), picked.len());
            for (at, set) in picked.into_iter().enumerate() {
                prop_assert_eq!(&some.rows(at..at + 1, 20)[..], &rows[set * 20..(set + 1) * 20]);
            }
        }
    }

    #[test]
    fn integers_and_texts_do_not_mix() {
        let mut sets = of(&[vec![1]]);
        assert_eq!(sets.text("1"), Err(QueryError::MixedMembers));
        assert_eq!(of(&[vec![]]).text("1"), Ok(()));
    }
}
