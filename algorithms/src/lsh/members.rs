//! Rows of zeros and ones as sets.

use super::Sets;

/// The columns of rows that are not 0, row by row.
#[derive(Clone, Debug)]
pub struct Members {
    offsets: Vec<usize>,
    ids: Vec<u32>,
}

impl Members {
    /// The members of each row (row-major), where column `j` stands for member `j`. O(rows x dimension).
    ///
    /// # Panics
    /// If there are not whole rows of `dimension` numbers.
    pub fn of(rows: &[f32], dimension: usize) -> Self {
        assert!(dimension > 0 && rows.len().is_multiple_of(dimension), "rows of another dimension");
        let (mut offsets, mut ids) = (vec![0], Vec::new());
        for row in rows.chunks_exact(dimension) {
            ids.extend((0..).zip(row).filter(|&(_, &value)| value != 0.0).map(|(id, _): (u32, _)| id));
            offsets.push(ids.len());
        }
        Self { offsets, ids }
    }

    /// The sets.
    pub fn sets(&self) -> Sets<'_, u32> {
        // Ascending as they were met.
        Sets { offsets: &self.offsets, ids: &self.ids }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_columns_that_are_not_zero() {
        let members = Members::of(&[0.0, 1.0, 1.0, 0.0, -0.0, 0.0, 1.0, 0.0, 1.0], 3);
        let sets = members.sets();
        assert_eq!((sets.len(), sets.get(0), sets.get(1), sets.get(2)), (3, &[1, 2][..], &[][..], &[0, 2][..]));
        assert!(Sets::new(sets.offsets, sets.ids).is_ok());
        assert!(Members::of(&[], 4).sets().is_empty());
    }
}
