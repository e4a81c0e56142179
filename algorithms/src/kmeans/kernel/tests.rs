//! Every level against the slow twin, bit for bit.
//!
//! The tests of remainders also run under Miri, which then checks the pointers of all levels, present or not: see CONTRIBUTING.md.

use proptest::prelude::*;

use super::widened::both;
use super::{
    Groups, Level, Top, Trials, WIDTH, accumulate, add, assign_at, assign_two_at, largest_magnitude, scores_at, tops_at,
};
use super::{cross_products, distance_sums, distances, project, squared_distance, squares, trial_distances};
use crate::fixed::Scale;
use crate::kmeans::{Centroids, naive};

fn labels(level: Level, centroids: &Centroids, rows: &[f32]) -> Vec<u32> {
    let mut labels = vec![u32::MAX; rows.len() / centroids.dimension()];
    assign_at(level, centroids.panels(), rows, &mut labels);
    labels
}

fn check(dimension: usize, centroids: &[f32], rows: &[f32]) {
    let packed = Centroids::new(dimension, centroids.to_vec());
    let n = rows.len() / dimension;
    let rankings: Vec<Vec<u32>> =
        rows.chunks_exact(dimension).map(|row| naive::ranking(row, dimension, centroids)).collect();
    let first: Vec<u32> = rankings.iter().map(|ranking| ranking[0]).collect();
    let runner_up: Vec<u32> = rankings.iter().map(|ranking| ranking.get(1).copied().unwrap_or(u32::MAX)).collect();
    for level in Level::available() {
        assert_eq!(labels(level, &packed, rows), first, "{level:?}");
        let (mut best, mut second) = (vec![7; n], vec![7; n]);
        assign_two_at(level, packed.panels(), rows, &mut best, &mut second);
        assert_eq!(best, first, "{level:?}");
        assert_eq!(second, runner_up, "{level:?}");
        check_tops(level, &packed, rows);
        check_scores(level, &packed, rows);
    }
}

/// The tops of each panel, for rows in descending order and with gaps.
fn check_tops(level: Level, centroids: &Centroids, rows: &[f32]) {
    let d = centroids.dimension();
    let positions: Vec<u32> = (0..(rows.len() / d) as u32).rev().filter(|position| position % 5 != 3).collect();
    let mut tops = vec![Top { best: f32::NAN, second: f32::NAN, lane: 99 }; positions.len()];
    for panel in 0..centroids.panels().count() {
        tops_at(level, centroids.panels(), panel, rows, &positions, &mut tops);
        for (&position, top) in positions.iter().zip(&tops) {
            let row = &rows[position as usize * d..][..d];
            let of_panel = centroids.values().chunks_exact(d).skip(panel * WIDTH).take(WIDTH);
            let scores: Vec<f32> = of_panel.map(|centroid| naive::score(row, centroid)).collect();
            let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let lane = scores.iter().position(|&score| score == best).unwrap();
            let others = scores.iter().enumerate().filter(|&(other, _)| other != lane);
            let second = others.map(|(_, &score)| score).fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(*top, Top { best, second, lane: lane as u32 }, "{level:?}");
        }
    }
}

/// The scores themselves.
fn check_scores(level: Level, centroids: &Centroids, rows: &[f32]) {
    let (d, panels) = (centroids.dimension(), centroids.panels());
    let stride = panels.count() * WIDTH;
    let mut found = vec![7.0; rows.len() / d * stride];
    scores_at(level, panels, rows, &mut found);
    for (row, found) in rows.chunks_exact(d).zip(found.chunks_exact(stride)) {
        for (centroid, score) in centroids.values().chunks_exact(d).zip(found) {
            let expected = naive::score(row, centroid);
            assert!(
                expected.to_bits() == score.to_bits() || (expected.is_nan() && score.is_nan()),
                "{level:?}: {score}, not {expected}"
            );
        }
    }
}

/// Numbers of all kinds: small integers (so that distances tie), ordinary, denormal, tiny and huge ones.
fn numbers(kind: u8) -> BoxedStrategy<f32> {
    match kind {
        0 => (-2i8..=2).prop_map(f32::from).boxed(),
        1 => (-1.0f32..1.0).boxed(),
        2 => prop_oneof![Just(0.0f32), Just(-0.0), (1u32..0x80_0000).prop_map(f32::from_bits)].boxed(),
        3 => (-1.0f32..1.0).prop_map(|v| v * 1e-18).boxed(),
        4 => (-1.0f32..1.0).prop_map(|v| v * 1e18).boxed(),
        // Squares overflow: scores may be infinite, but never NaN.
        5 => (-1.0f32..1.0).prop_map(|v| v * f32::MAX).boxed(),
        _ => prop_oneof![(-1e-3f32..1e-3), (-1e6f32..1e6), Just(0.0f32)].boxed(),
    }
}

prop_compose! {
    fn problem()(d in 1usize..40, k in 1usize..70, n in 0usize..40, kind in 0u8..7)
        (centroids in prop::collection::vec(numbers(kind), k * d), rows in prop::collection::vec(numbers(kind), n * d), d in Just(d))
        -> (usize, Vec<f32>, Vec<f32>) {
        (d, centroids, rows)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn all_levels_equal_the_naive_twin((d, centroids, rows) in problem()) {
        check(d, &centroids, &rows);
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn a_label_does_not_depend_on_the_place_in_the_block((d, centroids, rows) in problem(), cut in 0usize..40) {
        let packed = Centroids::new(d, centroids);
        let cut = (cut * d).min(rows.len());
        for level in Level::available() {
            let mut parts = labels(level, &packed, &rows[..cut]);
            parts.extend(labels(level, &packed, &rows[cut..]));
            prop_assert_eq!(&parts, &labels(level, &packed, &rows));
        }
    }
}

/// Numbers that repeat rarely and need no generator.
fn pattern(length: usize, salt: u64) -> Vec<f32> {
    (0..length as u64)
        .map(|i| (crate::random::uniform(salt, crate::random::Purpose::Generate, 0, i) - 0.5) as f32)
        .collect()
}

/// All remainders of rows, and panels that are full, padded, alone and in pairs.
#[test]
fn every_remainder_of_rows() {
    for (d, k) in [(2, 5), (1, 17), (3, 33)] {
        for n in if cfg!(miri) { [1, 7, 13].as_slice() } else { &[0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 23, 25] } {
            check(d, &pattern(k * d, 6), &pattern(n * d, 7));
        }
    }
}

/// As many panels as a lone row goes through at once on any level, and one more.
#[test]
fn a_lone_row_goes_through_several_panels() {
    check(1, &pattern(130, 6), &pattern(1, 7));
}

/// More panels than the first-level cache holds, so that the next rows are fetched while these are taken.
#[test]
fn rows_are_fetched_ahead() {
    check(129, &pattern(17 * 129, 1), &pattern(2 * 129, 2));
}

/// More panels than the first-level cache holds, more rows than a chunk, and remainders of both.
#[test]
#[cfg_attr(miri, ignore = "slow")]
fn large_problems_go_through_chunks() {
    for (d, k, n) in [(128, 70, 500), (64, 100, 731), (3, 1500, 245), (300, 33, 250), (1, 17, 1000)] {
        check(d, &pattern(k * d, 1), &pattern(n * d, 2));
    }
}

/// A column longer than any block of memory kept for rows: chunks shrink to one tile.
#[test]
#[cfg_attr(miri, ignore = "slow")]
fn very_long_rows() {
    let d = 40_000;
    check(d, &pattern(3 * d, 3), &pattern(8 * d, 4));
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn equal_centroids_lose_to_the_first() {
    for k in [2, 16, 17, 40] {
        check(2, &[0.25, -1.0].repeat(k), &pattern(2 * 30, 5));
        let packed = Centroids::new(2, [0.25, -1.0].repeat(k));
        for level in Level::available() {
            assert!(labels(level, &packed, &pattern(2 * 30, 5)).iter().all(|&label| label == 0));
        }
    }
}

/// All scores minus infinity: still a real centroid, never padding.
#[test]
#[cfg_attr(miri, ignore = "slow")]
fn padding_never_wins() {
    let packed = Centroids::new(1, vec![f32::MAX; 3]);
    for level in Level::available() {
        assert_eq!(labels(level, &packed, &[-1.0; 9]), [0; 9]);
        let (mut best, mut second) = ([9; 9], [9; 9]);
        assign_two_at(level, packed.panels(), &[-1.0; 9], &mut best, &mut second);
        assert_eq!((best, second), ([0; 9], [1; 9]));
    }
}

/// Asserts that all results are the same and gives one of them.
fn same<T: PartialEq + std::fmt::Debug>([plain, wide]: [T; 2]) -> T {
    assert_eq!(plain, wide);
    wide
}

/// The sums of labelled rows against the naive twin, with bounds that some values may exceed.
fn check_sums(d: usize, centroids: &[f32], rows: &[f32], within: f32, many: u64) {
    let packed = Centroids::new(d, centroids.to_vec());
    let labels: Vec<u32> = (0..rows.len() / d).map(|i| (i * 7 % packed.len()) as u32).collect();
    let max: Vec<f32> = (0..d)
        .map(|j| rows.iter().skip(j).step_by(d).fold(0.0f32, |max, v| max.max(v.abs())) * within)
        .map(|max| if max.is_finite() { max } else { f32::MAX })
        .collect();
    let scale = Scale::new(&max, many);
    let (sums, _, inertia) = naive::sums(centroids, d, &scale, rows, &labels);
    let ours = same(both(|| {
        let mut sums = vec![0; packed.len() * d];
        let inertia = accumulate(&packed, &scale, rows, &labels, &mut sums);
        (sums, inertia)
    }));
    let only = same(both(|| {
        let mut only = vec![0; packed.len() * d];
        add(&scale, rows, &labels, &mut only);
        only
    }));
    assert_eq!(only, sums);
    assert_eq!(ours, (sums, inertia));
    let positions: Vec<u32> = (0..labels.len() as u32).rev().collect();
    let squares = same(both(|| {
        let mut squares = Vec::new();
        distances(&packed, rows, &labels, &positions, &mut squares);
        squares.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    }));
    for ((row, &label), square) in rows.chunks_exact(d).zip(&labels).zip(squares.into_iter().rev()) {
        assert_eq!(square, naive::squared_distance(row, packed.row(label as usize)).to_bits());
    }
    for (a, b) in rows.chunks_exact(d).zip(centroids.chunks_exact(d)) {
        let ours = same(both(|| squared_distance(a, b).to_bits()));
        assert_eq!(ours, naive::squared_distance(a, b).to_bits());
    }
}

/// Everything that is compiled twice, both ways.
fn check_narrow_and_wide(d: usize, centroids: &[f32], rows: &[f32]) {
    let (n, k) = (rows.len() / d, centroids.len() / d);
    let middle: Vec<f64> = centroids[..d].iter().map(|&v| f64::from(v)).collect();
    let factors: Vec<f64> = (0..d).map(|j| 2f64.powi(20 - j as i32)).collect();
    same(both(|| {
        let all = squares(rows, &middle, &factors);
        let mut sums = vec![0; d];
        let mut products = vec![0; d * (d + 1) / 2];
        cross_products(rows, &middle, &factors, &mut sums, &mut products);
        (all.sums.clone(), all.squares().collect::<Vec<_>>(), sums, products)
    }));
    same(both(|| {
        let mut out = Vec::new();
        project(rows, &centroids[..d], centroids, &mut out);
        out.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
    }));
    let labels: Vec<u32> = (0..n).map(|i| (i * 5 % k) as u32).collect();
    let groups = Groups::new(rows, d, &labels, k);
    for squared in [false, true] {
        same(both(|| {
            let mut sums = vec![0.0; n * k];
            distance_sums(&groups, rows, squared, &mut sums);
            sums.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        }));
    }
    let trials = Trials::new(d, centroids.chunks_exact(d).take(9));
    let all: Vec<u32> = (0..n as u32).rev().collect();
    same(both(|| {
        let mut out = Vec::new();
        trial_distances(&trials, rows, &all, &mut out);
        out.iter().flatten().map(|v| v.to_bits()).collect::<Vec<_>>()
    }));
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn sums_equal_the_naive_twin((d, centroids, rows) in problem(), within in 0.1f32..2.0, many in 0u32..50) {
        check_sums(d, &centroids, &rows, within, 1 << many);
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn narrow_and_wide_code_give_the_same_bits((d, centroids, rows) in problem()) {
        check_narrow_and_wide(d, &centroids, &rows);
    }
}

#[test]
fn every_remainder_of_columns() {
    for d in [1, 2, 7, 8, 9, 17] {
        let (centroids, rows) = (pattern(3 * d, 8), pattern(5 * d, 9));
        check_sums(d, &centroids, &rows, 0.9, 5);
        check_narrow_and_wide(d, &centroids, &rows);
    }
}

#[test]
fn the_largest_magnitude_tells_of_numbers_that_are_none() {
    let mut values: Vec<f32> = (0..100).map(|i| 7.0 - i as f32).collect();
    let largest = |values: &[f32]| both(|| largest_magnitude(values));
    assert_eq!(largest(&values), [92.0; 2]);
    assert_eq!(largest(&values[..4]), [7.0; 2]);
    assert_eq!(largest(&[]), [0.0; 2]);
    values[61] = f32::NEG_INFINITY;
    assert_eq!(largest(&values), [f32::INFINITY; 2]);
    for nan in [f32::NAN, -f32::NAN] {
        values[33] = nan;
        assert!(largest(&values).iter().all(|largest| largest.is_nan()));
    }
}
