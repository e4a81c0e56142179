//! The assignment step in tiles of six rows x sixteen centroids, written once for vectors of any length.
//!
//! Macros rather than generic functions, as each path is compiled for its own instructions, and so must be all that it calls. A path names
//! its instructions and brings:
//!
//! - `Scores`, those of a row for the centroids of a panel, in vectors; `load` them from a lane, `store` them, `multiply_add` to
//!   them, with the `number` of a row, and whether some are `above` a bar;
//! - `Best`, the best score of each of a vector's lanes so far, and the `indices` that it notes;
//! - `top`, the two best of a panel's scores.

/// Rows per tile.
pub(super) const ROWS: usize = 6;
/// Most rows per chunk.
pub(super) const CHUNK: usize = 240;
/// Panels that a lone row goes through at once: enough chains to hide the latency of the multiply-add.
pub(super) const TOGETHER: usize = 4;

/// Calls the macro `$tile` with a number of rows, as a literal, and the first of them: for each six of `$n` rows, then for what is left.
macro_rules! in_sixes {
    ($n:expr, $tile:ident) => {{
        let n: usize = $n;
        let whole = n / 6 * 6;
        for first in (0..whole).step_by(6) {
            $tile!(6, first);
        }
        match n - whole {
            1 => $tile!(1, whole),
            2 => $tile!(2, whole),
            3 => $tile!(3, whole),
            4 => $tile!(4, whole),
            5 => $tile!(5, whole),
            _ => {}
        }
    }};
}

/// Runs `$body` for each tile of a chunk of `$n` rows, with `$r` the tile's first row and `$scores` its scores.
macro_rules! tiles {
    ($panel:expr, $rows:expr, $n:expr, |$r:ident, $scores:ident| $body:expr) => {{
        let (panel, rows, n) = ($panel, $rows, $n);
        let d = panel.columns.len();
        debug_assert_eq!(rows.len(), n * d);
        macro_rules! one {
            ($R:literal, $first:expr) => {{
                let $r: usize = $first;
                // SAFETY: the tile ends at or before row `n`, and `rows` holds `n` rows.
                let $scores = unsafe {
                    tile::<$R>(panel, std::array::from_fn(|i| rows.as_ptr().wrapping_add(($r + i).wrapping_mul(d))))
                };
                $body
            }};
        }
        in_sixes!(n, one);
    }};
}

/// Defines [`super::scores`], [`super::assign`], [`super::tops`] and [`super::assign_two`] for the instructions `$features`.
macro_rules! in_tiles {
    ($features:literal) => {
        /// The scores of `R` rows for one panel.
        ///
        /// # Safety
        /// `rows` must point to rows of as many numbers as the panel has columns.
        #[target_feature(enable = $features)]
        #[inline]
        unsafe fn tile<const R: usize>(panel: Panel<'_>, rows: [*const f32; R]) -> [Scores; R] {
            let mut sums = [load(panel.bias); R];
            for (j, column) in panel.columns.iter().enumerate() {
                let c = load(column);
                for (sum, row) in sums.iter_mut().zip(rows) {
                    // SAFETY: `j` is less than the number of columns, so this is within the row the caller promises.
                    let x = unsafe { number(row.wrapping_add(j)) };
                    *sum = multiply_add(x, c, *sum);
                }
            }
            sums
        }

        /// The scores of a lone row for `P` panels.
        ///
        /// # Safety
        /// All panels must have as many columns as `row` has numbers.
        #[target_feature(enable = $features)]
        #[inline]
        unsafe fn lone<const P: usize>(panels: [Panel<'_>; P], row: &[f32], out: &mut [[f32; WIDTH]; P]) {
            let mut sums = [load(panels[0].bias); P];
            for (sum, panel) in sums.iter_mut().zip(&panels) {
                *sum = load(panel.bias);
            }
            for (j, x) in row.iter().enumerate() {
                // SAFETY: the row's slice has this number.
                let x = unsafe { number(x) };
                for (sum, panel) in sums.iter_mut().zip(&panels) {
                    // SAFETY: each panel has as many columns as the row has numbers, as the caller promises.
                    let column = unsafe { panel.columns.get_unchecked(j) };
                    *sum = multiply_add(x, load(column), *sum);
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                store(sum, out);
            }
        }

        /// See [`super::scores`].
        #[target_feature(enable = $features)]
        pub(super) fn scores(panels: &Panels, rows: &[f32], out: &mut [[f32; WIDTH]]) {
            let (d, count) = (panels.dimension(), panels.count());
            assert_eq!(rows.len() / d * count, out.len(), "rows and results disagree");
            let (tiles, outs) = (rows.chunks_exact(ROWS * d), out.chunks_exact_mut(ROWS * count));
            let rest = tiles.remainder();
            let mut left = rows.len() / (ROWS * d) * ROWS * count;
            for (rows, out) in tiles.zip(outs) {
                for (p, panel) in panels.iter().enumerate() {
                    // SAFETY: there are so many rows, each of as many numbers as a panel has columns.
                    let sums =
                        unsafe { tile::<ROWS>(panel, std::array::from_fn(|r| rows.as_ptr().wrapping_add(r * d))) };
                    for (r, sum) in sums.into_iter().enumerate() {
                        store(sum, &mut out[r * count + p]);
                    }
                }
            }
            for row in rest.chunks_exact(d) {
                let out = &mut out[left..left + count];
                left += count;
                let (whole, rest) = out.as_chunks_mut::<TOGETHER>();
                let first = whole.len() * TOGETHER;
                for (i, out) in whole.iter_mut().enumerate() {
                    // SAFETY: the row has as many numbers as the panels have columns.
                    unsafe { lone(std::array::from_fn(|p| panels.get(i * TOGETHER + p)), row, out) };
                }
                for (p, out) in (first..).zip(rest) {
                    // SAFETY: as above.
                    unsafe { lone([panels.get(p)], row, std::array::from_mut(out)) };
                }
            }
        }

        /// See [`super::assign`].
        #[target_feature(enable = $features)]
        pub(super) fn assign(panels: &Panels, rows: &[f32], labels: &mut [u32]) {
            let d = panels.dimension();
            let most = panels.chunk(ROWS, CHUNK);
            let mut best = [Best::none(); CHUNK];
            for (rows, labels) in rows.chunks(most * d).zip(labels.chunks_mut(most)) {
                let n = labels.len();
                best[..n].fill(Best::none());
                let mut ahead = Ahead::new(panels, rows, ROWS, 1);
                for panel in panels.iter() {
                    let indices = indices(panel.first);
                    tiles!(panel, rows, n, |first, scores| {
                        ahead.fetch();
                        for (best, scores) in best[first..][..scores.len()].iter_mut().zip(scores) {
                            best.take(scores, indices);
                        }
                    });
                }
                for (label, best) in labels.iter_mut().zip(&best) {
                    *label = best.label();
                }
            }
        }

        /// See [`super::tops`].
        #[target_feature(enable = $features)]
        pub(super) fn tops(panel: Panel<'_>, rows: &[f32], positions: &[u32], tops: &mut [Top]) {
            let d = panel.columns.len();
            let row = |position: u32| rows[position as usize * d..][..d].as_ptr();
            let (tiles, rest) = positions.as_chunks::<ROWS>();
            let (tops, rest_tops) = tops.as_chunks_mut::<ROWS>();
            for (&positions, tops) in tiles.iter().zip(tops) {
                // SAFETY: each pointer is that of a row's slice, which has as many numbers as the panel has columns.
                let scores = unsafe { tile(panel, positions.map(row)) };
                for (place, scores) in tops.iter_mut().zip(scores) {
                    *place = top(scores);
                }
            }
            for (&position, place) in rest.iter().zip(rest_tops) {
                // SAFETY: as above.
                let [scores] = unsafe { tile(panel, [row(position)]) };
                *place = top(scores);
            }
        }

        /// See [`super::assign_two`].
        #[target_feature(enable = $features)]
        pub(super) fn assign_two(panels: &Panels, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
            let d = panels.dimension();
            let most = panels.chunk(ROWS, CHUNK);
            let mut top = [Two::NONE; CHUNK];
            let blocks = rows.chunks(most * d).zip(best.chunks_mut(most)).zip(second.chunks_mut(most));
            for ((rows, best), second) in blocks {
                let n = best.len();
                top[..n].fill(Two::NONE);
                for panel in panels.iter() {
                    tiles!(panel, rows, n, |first, scores| {
                        for (top, scores) in top[first..][..scores.len()].iter_mut().zip(scores) {
                            if above(scores, top.scores[1]) || top.admits(f32::NEG_INFINITY) {
                                let mut flat = [0.0f32; WIDTH];
                                store(scores, &mut flat);
                                top.take(panel.first, &flat[..panel.len]);
                            }
                        }
                    });
                }
                for ((best, second), top) in best.iter_mut().zip(second).zip(&top) {
                    [*best, *second] = top.labels;
                }
            }
        }
    };
}
