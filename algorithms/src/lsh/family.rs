//! What families of hashes of vectors have in common.

use super::Key;

/// A family of locality-sensitive hashes of vectors, several to a table.
///
/// A row's key in a table depends on the family's parameters, its seed, the table and the row only. The first tables of a
/// family are those of the same family with fewer tables.
pub trait Family: Sync {
    /// What names a bucket.
    type Key: Key;

    /// Columns of a row.
    fn dimension(&self) -> usize;

    /// Number of tables.
    fn tables(&self) -> usize;

    /// The keys of rows, row-major: rows x tables. O(rows x tables x hashes x dimension).
    ///
    /// # Panics
    /// If the shapes do not agree.
    fn keys(&self, rows: &[f32], keys: &mut [Self::Key]);

    /// The keys of one row in the first `tables` tables, and the ways to neighbouring buckets.
    ///
    /// # Panics
    /// If the row is of another dimension or there are fewer tables.
    fn moves(&self, row: &[f32], tables: usize, moves: &mut Moves<Self::Key>);

    /// Whether there are ways to neighbouring buckets; without them a query tries no bucket but its own in each table.
    fn has_moves(&self) -> bool {
        true
    }
}

/// A step to a neighbouring bucket: one hash takes another value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Move<K> {
    /// How unlikely a near row is to be there: the squared distance to the border, in units of the hash.
    pub cost: f64,
    /// Which hash of the table changes. Two moves of one hash exclude each other.
    pub hash: u32,
    /// What is added to the key, modulo its size.
    pub delta: K,
}

/// Where a row lies in each table, and where near rows may lie instead.
#[derive(Clone, Debug, Default)]
pub struct Moves<K> {
    /// The row's key, per table.
    pub home: Vec<K>,
    /// Tables x (moves per table): the moves of each table, cheapest first, ties by (hash, delta).
    pub steps: Vec<Move<K>>,
    /// A buffer for projections.
    pub(super) dots: Vec<f32>,
}

impl<K: Key> Moves<K> {
    /// Moves per table.
    pub fn per_table(&self) -> usize {
        self.steps.len().checked_div(self.home.len()).unwrap_or(0)
    }

    /// The moves of a table, cheapest first.
    pub fn of(&self, table: usize) -> &[Move<K>] {
        let count = self.per_table();
        &self.steps[table * count..][..count]
    }

    /// Puts the moves of each table in order.
    pub(super) fn sort(&mut self) {
        let count = self.per_table().max(1);
        for moves in self.steps.chunks_exact_mut(count) {
            moves.sort_unstable_by(|a, b| {
                a.cost.total_cmp(&b.cost).then(a.hash.cmp(&b.hash)).then(a.delta.cmp(&b.delta))
            });
        }
    }
}
