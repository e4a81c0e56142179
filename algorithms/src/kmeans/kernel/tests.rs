//! Every level against the slow twin, bit for bit.

use proptest::prelude::*;

use super::{Level, assign_at, assign_two_at};
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
    fn all_levels_equal_the_naive_twin((d, centroids, rows) in problem()) {
        check(d, &centroids, &rows);
    }

    #[test]
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

/// More panels than the first-level cache holds, more rows than a chunk, and remainders of both.
#[test]
fn large_problems_go_through_chunks() {
    for (d, k, n) in [(128, 70, 500), (64, 100, 731), (3, 1500, 245), (300, 33, 250), (1, 17, 1000)] {
        check(d, &pattern(k * d, 1), &pattern(n * d, 2));
    }
}

/// A column longer than any block of memory kept for rows: chunks shrink to one tile.
#[test]
fn very_long_rows() {
    let d = 40_000;
    check(d, &pattern(3 * d, 3), &pattern(8 * d, 4));
}

#[test]
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
fn padding_never_wins() {
    let packed = Centroids::new(1, vec![f32::MAX; 3]);
    for level in Level::available() {
        assert_eq!(labels(level, &packed, &[-1.0; 9]), [0; 9]);
        let (mut best, mut second) = ([9; 9], [9; 9]);
        assign_two_at(level, packed.panels(), &[-1.0; 9], &mut best, &mut second);
        assert_eq!((best, second), ([0; 9], [1; 9]));
    }
}
