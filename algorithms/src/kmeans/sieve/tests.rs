//! Labels against the kernel's, bounds against exact scores.

use proptest::prelude::*;

use super::*;
use crate::kmeans::{assign_two, naive};
use crate::made::half_way;
use crate::random::{Purpose, Stream};

/// Even where it does not pay.
fn forced(centroids: &Centroids) -> Sieve {
    Sieve::with(Packed::new(centroids))
}

/// Both ways, with buffers that others have used; gives how many rows were left to the kernel when two were wanted.
fn check(d: usize, values: &[f32], rows: &[f32], buffers: &mut SieveBuffers) -> usize {
    let centroids = Centroids::new(d, values.to_vec());
    let n = rows.len() / d;
    let (mut best, mut second) = (vec![0; n], vec![0; n]);
    assign_two(&centroids, rows, &mut best, &mut second);
    let (mut found, mut next) = (vec![7; n], vec![7; n]);
    forced(&centroids).assign_two(&centroids, rows, &mut found, &mut next, buffers);
    assert_eq!((&found, &next), (&best, &second));
    found.fill(7);
    forced(&centroids).assign(&centroids, rows, &mut found, buffers);
    assert_eq!(found, best);
    // One at a time too: a label does not depend on the others.
    let sieve = forced(&centroids);
    for (i, row) in rows.chunks_exact(d).enumerate().take(20) {
        sieve.assign_two(&centroids, row, &mut found[i..=i], &mut next[i..=i], buffers);
        assert_eq!((found[i], next[i]), (best[i], second[i]));
    }
    check_bounds(&centroids, rows)
}

/// No bound may be below what it bounds; gives the rows that stay open.
fn check_bounds(centroids: &Centroids, rows: &[f32]) -> usize {
    let d = centroids.dimension();
    let n = rows.len() / d;
    let Some(packed) = Packed::new(centroids) else { return n };
    let (mut best, mut second, mut buffers) = (vec![0; n], vec![0; n], SieveBuffers::default());
    packed.sift::<2>(centroids, rows, 0, &mut best, &mut second, &mut buffers);
    let scores = buffers.scores.chunks_exact(packed.panels().score_stride());
    for ((row, scores), bytes) in rows.chunks_exact(d).zip(scores).zip(&buffers.rows) {
        let Some(bytes) = bytes else { continue };
        for (j, centroid) in centroids.values().chunks_exact(d).enumerate() {
            let least = bytes.least(naive::squared_distance(row, centroid));
            assert!(scores[j] >= least, "bound {} of centroid {j} is below {least}", scores[j]);
        }
    }
    buffers.open.len()
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
    fn problem()(d in prop_oneof![1usize..6, 1usize..40, 120usize..140, 250usize..300],
                 k in prop_oneof![1usize..8, 1usize..80, 120usize..160], n in 1usize..40, kind in 0u8..13)
        (values in prop::collection::vec(value(kind), (k + n) * d),
         offset in prop_oneof![4 => Just(0.0f32), 1 => Just(1.0), 1 => Just(100.0), 1 => Just(1e4)],
         middles in prop::collection::vec((0usize..1000, 0usize..1000), 0..20),
         copies in prop::collection::vec((0usize..1000, 0usize..1000), 0..4),
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
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn labels_are_those_of_the_kernel((d, centroids, rows) in problem()) {
        check(d, &centroids, &rows, &mut SieveBuffers::default());
    }

    /// Rows within rounding of half way between centroids.
    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn near_ties_are_those_of_the_kernel(d in 1usize..200, seed: u64, offset in -3.0f32..3.0) {
        let stream = Stream::new(seed, Purpose::Generate, 0);
        let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
        let (k, n) = (9, 60);
        let values: Vec<f32> = (0..k * d).map(|i| number(i) + offset).collect();
        let rows = half_way(&values, d, n, stream);
        check(d, &values, &rows, &mut SieveBuffers::default());
    }
}

/// Rows around `k` centres, and the centres.
fn blobs(n: usize, d: usize, k: usize, spread: f32) -> (Vec<f32>, Vec<f32>) {
    let stream = Stream::new(5, Purpose::Generate, 0);
    let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
    let centres: Vec<f32> = (0..k * d).map(number).collect();
    let owner = |i: usize| stream.hash(i as u64) as usize % k;
    let rows = (0..n * d).map(|i| centres[owner(i / d) * d + i % d] + spread * number(k * d + i)).collect();
    (rows, centres)
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn nearly_all_rows_are_decided() {
    let mut buffers = SieveBuffers::default();
    // The more columns that have nothing to do with each other, the less their bytes say.
    for (n, d, k, spread, most) in
        [(700, 128, 400, 1.0, 0.1), (500, 60, 1000, 0.7, 0.1), (300, 40, 130, 9.0, 0.2), (300, 300, 200, 1.0, 0.6)]
    {
        let (rows, centres) = blobs(n, d, k, spread);
        let open = check(d, &centres, &rows, &mut buffers);
        assert!(open as f64 <= most * n as f64, "{open} of {n} rows are open, d = {d}, k = {k}");
    }
}

/// Many rows at the sizes that the sieve is made for, some of them far out, all of them off the middle.
#[test]
#[cfg_attr(miri, ignore = "slow")]
fn a_hundred_thousand_rows_are_labelled_as_by_the_kernel() {
    let (n, d, k) = (100_000, 64, 512);
    let (mut rows, mut centres) = blobs(n, d, k, 1.2);
    for (i, row) in rows.chunks_exact_mut(d).enumerate().filter(|(i, _)| i % 50 == 0) {
        row.iter_mut().for_each(|x| *x *= (i % 7) as f32);
    }
    rows.iter_mut().chain(&mut centres).for_each(|x| *x += 0.7);
    let centroids = Centroids::new(d, centres);
    let sieve = Sieve::new(&centroids);
    let (mut best, mut second) = (vec![0; n], vec![0; n]);
    assign_two(&centroids, &rows, &mut best, &mut second);
    let (mut found, mut next, mut buffers) = (vec![0; n], vec![0; n], SieveBuffers::default());
    sieve.assign_two(&centroids, &rows, &mut found, &mut next, &mut buffers);
    assert!(found == best && next == second);
    found.fill(0);
    sieve.assign(&centroids, &rows, &mut found, &mut buffers);
    assert!(found == best);
}

/// Ties everywhere: the sieve can decide nothing, and rests.
#[test]
#[cfg_attr(miri, ignore = "slow")]
fn it_rests_where_it_is_of_no_use() {
    let (rows, centres) = blobs(4000, 4, 40, 1.0);
    let centroids = Centroids::new(4, centres.repeat(2));
    let sieve = forced(&centroids);
    let (mut best, mut second) = (vec![0; 4000], vec![0; 4000]);
    sieve.assign_two(&centroids, &rows, &mut best, &mut second, &mut SieveBuffers::default());
    let rest = sieve.patience.rest();
    assert!(rest > 0);
    assert!(best.iter().zip(&second).all(|(&best, &second)| best < 40 && second == best + 40));
    // Some lone rows later it tries again.
    sieve.patience.rested(rest, rest - 2);
    for _ in 0..3 {
        sieve.assign(&centroids, &rows[..4], &mut best[..1], &mut SieveBuffers::default());
    }
    assert_eq!(sieve.patience.rest(), 0);
}

#[test]
fn no_rows_and_one_centroid() {
    let centroids = Centroids::new(2, vec![1.0, 2.0]);
    let mut buffers = SieveBuffers::default();
    for sieve in [Sieve::new(&centroids), forced(&centroids)] {
        sieve.assign_two(&centroids, &[], &mut [], &mut [], &mut buffers);
        let (mut best, mut second) = ([9], [9]);
        sieve.assign_two(&centroids, &[5.0, 5.0], &mut best, &mut second, &mut buffers);
        assert_eq!((best, second), ([0], [u32::MAX]));
    }
}

#[test]
#[should_panic(expected = "other centroids")]
fn the_centroids_must_be_those_it_was_made_for() {
    let sieve = forced(&Centroids::new(1, vec![1.0, 2.0]));
    sieve.assign(&Centroids::new(1, vec![1.0]), &[3.0], &mut [0], &mut SieveBuffers::default());
}
