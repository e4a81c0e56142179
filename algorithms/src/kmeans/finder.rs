//! The nearest centroids, in the way that suits their number.

use super::cells::{CellBuffers, Cells};
use super::open::Open;
use super::patience::Patience;
use super::{Centroids, Sieve, SieveBuffers};

/// Least centroids for which cells save more than they cost.
const MANY: usize = 8192;
/// How many rows that bounds cannot decide are made up for by one that they can.
const PER_HIT: u32 = 8;

/// Finds what [`assign`](super::assign) and [`assign_two`](super::assign_two) find, bit for bit, as fast as it can.
///
/// Among up to some thousand centroids this is the [`Sieve`]. Very many are divided among cells as well, a few times as many as the
/// root of their number, and a row looks only into cells that may hold what it looks for: some multiple of `d sqrt(k)`
/// operations instead of `k d`. Rows for which bounds exclude too little go to the sieve; where there are many such rows it does
/// not try for a while, and where centroids have no structure not at all.
///
/// Memory: what the sieve takes, a byte for each number of the centroids. With cells 4 d + 512 bytes per centroid or less beside it, and
/// up to 2 d more for padding: 1.1 to 1.4 KiB in all at d = 128.
#[derive(Debug)]
pub struct Finder {
    sieve: Sieve,
    /// `None` where they would not help.
    cells: Option<Cells>,
    patience: Patience,
}

/// Memory that is used again from call to call.
#[derive(Debug, Default)]
pub struct FinderBuffers {
    sieve: SieveBuffers,
    cells: CellBuffers,
    /// Rows for the sieve.
    open: Open,
}

impl Finder {
    /// Prepares for these centroids: in O(k d) time; in O(k d sqrt(k)) if they are very many, by all threads.
    pub fn new(centroids: &Centroids) -> Self {
        let cells = if centroids.len() < MANY { None } else { Cells::new(centroids) };
        Self { sieve: Sieve::new(centroids), cells, patience: Patience::default() }
    }

    /// Labels each row with its nearest centroid, as [`assign`](super::assign) does. `centroids` are those that this was made for.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn assign(&self, centroids: &Centroids, rows: &[f32], labels: &mut [u32], buffers: &mut FinderBuffers) {
        self.find::<1>(centroids, rows, labels, &mut [], buffers);
    }

    /// Finds the two nearest centroids of each row, as [`assign_two`](super::assign_two) does. `centroids` are those that this was
    /// made for.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn assign_two(
        &self,
        centroids: &Centroids,
        rows: &[f32],
        best: &mut [u32],
        second: &mut [u32],
        buffers: &mut FinderBuffers,
    ) {
        assert_eq!(best.len(), second.len(), "labels of different lengths");
        self.find::<2>(centroids, rows, best, second, buffers);
    }

    /// The `WANTED` nearest centroids, 1 or 2; `second` is empty if it is 1.
    fn find<const WANTED: usize>(
        &self,
        centroids: &Centroids,
        rows: &[f32],
        best: &mut [u32],
        second: &mut [u32],
        buffers: &mut FinderBuffers,
    ) {
        let d = centroids.dimension();
        assert_eq!(rows.len(), best.len() * d, "rows and labels disagree");
        let FinderBuffers { sieve, cells: buffers, open } = buffers;
        let Some(cells) = &self.cells else {
            return self.sift::<WANTED>(centroids, rows, best, second, sieve);
        };
        assert!(cells.len() == centroids.len() && cells.dimension() == d, "other centroids");
        open.clear();
        let mut first = 0;
        while first < best.len() {
            let rest = self.patience.rest();
            let most = if rest > 0 { rest as usize } else { cells.block() };
            let places = first..best.len().min(first + most);
            let here = &rows[first * d..places.end * d];
            let second = if WANTED == 2 { &mut second[places.clone()] } else { &mut [] };
            let best = &mut best[places.clone()];
            if rest > 0 {
                self.sift::<WANTED>(centroids, here, best, second, sieve);
                self.patience.rested(rest, best.len() as u32);
            } else {
                let before = open.len();
                cells.find::<WANTED>(here, first, best, second, open, buffers);
                let missed = open.len() - before;
                self.patience.learn(PER_HIT * (best.len() - missed) as u32, missed as u32);
            }
            first = places.end;
        }
        open.close(d, rows, best, second, |rows, best, second| {
            self.sift::<WANTED>(centroids, rows, best, second, sieve);
        });
    }

    fn sift<const WANTED: usize>(
        &self,
        centroids: &Centroids,
        rows: &[f32],
        best: &mut [u32],
        second: &mut [u32],
        buffers: &mut SieveBuffers,
    ) {
        if WANTED == 1 {
            self.sieve.assign(centroids, rows, best, buffers);
        } else {
            self.sieve.assign_two(centroids, rows, best, second, buffers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmeans::{assign, assign_two};
    use crate::made::blobs;

    /// Asks both ways, and row by row.
    fn check(finder: &Finder, centroids: &Centroids, rows: &[f32]) {
        let d = centroids.dimension();
        let n = rows.len() / d;
        let mut buffers = FinderBuffers::default();
        let (mut best, mut second, mut found, mut next) = (vec![0; n], vec![0; n], vec![7; n], vec![7; n]);
        assign_two(centroids, rows, &mut best, &mut second);
        finder.assign_two(centroids, rows, &mut found, &mut next, &mut buffers);
        assert!(found == best && next == second);
        found.fill(7);
        finder.assign(centroids, rows, &mut found, &mut buffers);
        assign(centroids, rows, &mut best);
        assert!(found == best);
        for (i, row) in rows.chunks_exact(d).enumerate().take(50) {
            finder.assign_two(centroids, row, &mut found[i..=i], &mut next[i..=i], &mut buffers);
        }
        assert!(found == best && next == second);
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn each_way_gives_what_the_kernel_gives() {
        for (k, d, centres, cells) in [(MANY - 1, 33, 90, false), (MANY, 33, 300, true), (MANY, 150, 1, false)] {
            let centroids = Centroids::new(d, blobs(k, d, centres, 1));
            let finder = Finder::new(&centroids);
            assert_eq!(finder.cells.is_some(), cells);
            check(&finder, &centroids, &blobs(1500, d, centres, 2));
            check(&finder, &centroids, &blobs(300, d, 1, 3));
        }
    }

    /// Rows that bounds cannot decide, though centroids have structure.
    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn it_rests_where_cells_are_of_no_use() {
        let d = 24;
        let centroids = Centroids::new(d, blobs(MANY, d, 300, 1));
        let finder = Finder::new(&centroids);
        let mut rows = blobs(500, d, 1, 3);
        // Far from all of them, and so as far from each as from any other.
        rows.iter_mut().for_each(|x| *x *= 300.0);
        check(&finder, &centroids, &rows);
        assert!(finder.cells.is_some() && finder.patience.rest() > 0);
    }

    #[test]
    #[should_panic(expected = "other centroids")]
    #[cfg_attr(miri, ignore = "slow")]
    fn the_centroids_must_be_those_it_was_made_for() {
        let finder = Finder::new(&Centroids::new(2, blobs(MANY, 2, 300, 1)));
        finder.assign(&Centroids::new(2, vec![1.0; 4]), &[3.0; 2], &mut [0], &mut FinderBuffers::default());
    }
}
