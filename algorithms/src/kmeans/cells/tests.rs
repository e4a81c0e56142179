//! Labels against the kernel's, bounds against exact distances.

use proptest::prelude::*;

use super::*;
use crate::kmeans::{assign, assign_two, naive};
use crate::made::{blobs, half_way};

/// Both ways and row by row, with cells that look at as many centroids as they must; gives the mean number of other cells that rows look into,
/// as a share, when two are wanted.
fn check(d: usize, values: &[f32], rows: &[f32], most: usize) -> f64 {
    let centroids = Centroids::new(d, values.to_vec());
    let n = rows.len() / d;
    let Some(cells) = Cells::forced(&centroids, most) else { return 1.0 };
    assert_eq!((cells.len(), cells.dimension()), (centroids.len(), d));
    let (mut best, mut second) = (vec![0; n], vec![0; n]);
    let (mut found, mut next, mut open, mut buffers) =
        (vec![7; n], vec![7; n], Open::default(), CellBuffers::default());
    assign_two(&centroids, rows, &mut best, &mut second);
    cells.find::<2>(rows, 0, &mut found, &mut next, &mut open, &mut buffers);
    open.close(d, rows, &mut found, &mut next, |rows, best, second| assign_two(&centroids, rows, best, second));
    assert_eq!((&found, &next), (&best, &second));
    found.fill(7);
    assign(&centroids, rows, &mut best);
    cells.find::<1>(rows, 0, &mut found, &mut [], &mut open, &mut buffers);
    open.close(d, rows, &mut found, &mut [], |rows, best, _| assign(&centroids, rows, best));
    assert_eq!(found, best);
    for (i, row) in rows.chunks_exact(d).enumerate().take(20) {
        cells.find::<2>(row, i, &mut found[i..=i], &mut next[i..=i], &mut open, &mut buffers);
    }
    open.close(d, rows, &mut found, &mut next, |rows, best, second| assign_two(&centroids, rows, best, second));
    assert_eq!((found, next), (best, second));
    check_bounds(&cells, &centroids, rows)
}

/// What is within reach of a row must be in the cells that are said to be; gives the share of the cells that are.
fn check_bounds(cells: &Cells, centroids: &Centroids, rows: &[f32]) -> f64 {
    let (d, stride) = (centroids.dimension(), cells.leads.stride());
    let n = rows.len() / d;
    let mut scores = vec![0.0; n * stride];
    kernel::scores(cells.centres.panels(), rows, &mut scores);
    let mut sum = 0;
    for (row, scores) in rows.chunks_exact(d).zip(scores.chunks_exact(stride)) {
        let length = naive::squared_distance(row, &vec![0.0; d]).sqrt() * (1.0 + 1e-12);
        if length.is_nan() || length >= LONGEST {
            continue;
        }
        let home = highest(scores);
        let squares = centroids.values().chunks_exact(d).map(|centroid| naive::squared_distance(row, centroid));
        let squares: Vec<f64> = squares.collect();
        let mut sorted = squares.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut found = Vec::new();
        let reach = sorted[1.min(sorted.len() - 1)].sqrt();
        cells.leads.within(home, scores, length, reach, &mut found);
        assert!(found.is_sorted() && !found.contains(&(home as u32)));
        sum += found.len();
        for (index, cell) in cells.cells.iter().enumerate() {
            if index != home && !found.contains(&(index as u32)) {
                let near = |&id: &u32| squares[id as usize].sqrt() <= reach * (1.0 - 1e-12);
                assert!(!cell.ids.iter().any(near), "cell {index} holds something within {reach}");
            }
        }
    }
    sum as f64 / (n * cells.cells.len()).max(1) as f64
}

/// Values that make ties, and values of all sizes.
fn value(kind: u8) -> BoxedStrategy<f32> {
    match kind {
        0 | 1 => (-2i8..=2).prop_map(f32::from).boxed(),
        2..=4 => (-1.0f32..1.0).boxed(),
        5 => prop_oneof![Just(0.0f32), (0u32..0x80_0000).prop_map(f32::from_bits)].boxed(),
        6 => (-1.0f32..1.0).prop_map(|v| v * 1e-20).boxed(),
        7 => (-1.0f32..1.0).prop_map(|v| v * 1e-9).boxed(),
        8 => (-1.0f32..1.0).prop_map(|v| v * 1e14).boxed(),
        9 => prop_oneof![(-1e-3f32..1e-3), (-1e6f32..1e6)].boxed(),
        10 => prop_oneof![9 => -1.0f32..1.0, 1 => -50.0f32..50.0].boxed(),
        11 => (-1.0f32..1.0).prop_map(|v| v * 1e19).boxed(),
        _ => (-1.0f32..1.0).prop_map(|v| v * 1e37).boxed(),
    }
}

prop_compose! {
    fn problem()(d in prop_oneof![1usize..6, 1usize..40], k in prop_oneof![1usize..8, 1usize..80, 120usize..400],
                 n in 1usize..40, kind in 0u8..13)
        (values in prop::collection::vec(value(kind), (k + n) * d),
         offset in prop_oneof![4 => Just(0.0f32), 1 => Just(1.0), 1 => Just(100.0), 1 => Just(1e4)],
         middles in prop::collection::vec((0usize..1000, 0usize..1000), 0..20),
         copies in prop::collection::vec((0usize..1000, 0usize..1000), 0..40),
         d in Just(d), k in Just(k))
        -> (usize, Vec<f32>, Vec<f32>) {
        let mut values = values;
        values.iter_mut().for_each(|v| *v += offset);
        let (centroids, rows) = values.split_at_mut(k * d);
        for &(from, to) in &copies {
            centroids.copy_within(from % k * d..(from % k + 1) * d, to % k * d);
        }
        // Rows half way between two centroids, or equal to one.
        for (row, &(a, b)) in rows.chunks_exact_mut(d).zip(&middles) {
            let (a, b) = (&centroids[a % k * d..][..d], &centroids[b % k * d..][..d]);
            for (x, (a, b)) in row.iter_mut().zip(a.iter().zip(b)) {
                *x = 0.5 * a + 0.5 * b;
            }
        }
        (d, centroids.to_vec(), rows.to_vec())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn labels_are_those_of_the_kernel((d, centroids, rows) in problem(), few: bool) {
        check(d, &centroids, &rows, if few { centroids.len() / d / 4 } else { usize::MAX });
    }

    /// Rows within rounding of half way between centroids.
    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn near_ties_are_those_of_the_kernel(d in 1usize..100, seed: u64, offset in -3.0f32..3.0) {
        let stream = Stream::new(seed, Purpose::Generate, 0);
        let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
        let (k, n) = (90, 60);
        let values: Vec<f32> = (0..k * d).map(|i| number(i) + offset).collect();
        let rows = half_way(&values, d, n, stream);
        check(d, &values, &rows, usize::MAX);
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn most_cells_are_not_looked_into() {
    for (k, d, centres, most) in [(3000, 64, 100, 0.01), (3000, 16, 100, 0.03), (4000, 2, 1, 0.1), (3000, 100, 1, 1.0)]
    {
        let share = check(d, &blobs(k, d, centres, 1), &blobs(400, d, centres, 2), usize::MAX);
        assert!(share <= most, "{share} of the cells, k = {k}, d = {d}, {centres} centres");
        if most == 1.0 {
            assert!(share > 0.9, "{share} of the cells, without structure");
        }
    }
}

/// Many rows at the sizes that cells are made for, some of them far out, all of them off the middle, and many centroids twice.
#[test]
#[cfg_attr(miri, ignore = "slow")]
fn many_rows_are_labelled_as_by_the_kernel() {
    let (n, d, k) = (20_000, 32, 10_000);
    let (mut rows, mut values) = (blobs(n, d, 400, 2), blobs(k, d, 400, 1));
    for (i, row) in rows.chunks_exact_mut(d).enumerate().filter(|(i, _)| i % 50 == 0) {
        row.iter_mut().for_each(|x| *x *= (i % 7) as f32);
    }
    for copy in 0..k / 5 {
        values.copy_within(copy * d..(copy + 1) * d, (k - 3 * copy - 1) * d);
    }
    rows.iter_mut().chain(&mut values).for_each(|x| *x += 0.7);
    let centroids = Centroids::new(d, values);
    let cells = Cells::new(&centroids).unwrap();
    let (mut best, mut second) = (vec![0; n], vec![0; n]);
    assign_two(&centroids, &rows, &mut best, &mut second);
    let (mut found, mut next, mut open, mut buffers) =
        (vec![0; n], vec![0; n], Open::default(), CellBuffers::default());
    cells.find::<2>(&rows, 0, &mut found, &mut next, &mut open, &mut buffers);
    assert!(open.len() < n / 10, "{} rows are open", open.len());
    open.close(d, &rows, &mut found, &mut next, |rows, best, second| assign_two(&centroids, rows, best, second));
    assert!(found == best && next == second);
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn there_are_none_where_they_do_not_help() {
    assert!(Cells::new(&Centroids::new(100, blobs(3000, 100, 1, 1))).is_none());
    // Numbers whose squares could overflow.
    assert!(Cells::new(&Centroids::new(1, vec![1e16; 500])).is_none());
}
