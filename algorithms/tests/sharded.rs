//! The building blocks over any split of the rows, merged in any order, give the bits of the whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coterie_algorithms::features::Moments;
use coterie_algorithms::fixed::Scale;
use coterie_algorithms::kmeans::init::Sample;
use coterie_algorithms::kmeans::local::{Fit, lloyd};
use coterie_algorithms::kmeans::{Centroids, Farthest, Partial, assign, relocate, squared_distance, threshold, update};
use coterie_algorithms::metric::Metric;
use coterie_algorithms::random::{Purpose, Stream};
use proptest::prelude::*;

/// A shard: the ordinals of its rows, in any order.
type Shard = Vec<usize>;

/// Deals rows to shards at random and turns the order of each.
fn deal(n: usize, shards: usize, seed: u64) -> Vec<Shard> {
    let stream = Stream::new(seed, Purpose::Sample, 0);
    let mut all = vec![Vec::new(); shards];
    for row in 0..n {
        all[(stream.hash(row as u64) % shards as u64) as usize].push(row);
    }
    for (i, shard) in all.iter_mut().enumerate() {
        if i % 2 == 1 {
            shard.reverse();
        }
    }
    all
}

/// Merges values pairwise, in an order that the seed decides, until one is left.
fn reduce<T>(mut values: Vec<T>, seed: u64, merge: impl Fn(&mut T, T)) -> T {
    let stream = Stream::new(seed, Purpose::Draw, 0);
    let mut step = 0;
    while values.len() > 1 {
        let other = values.swap_remove((stream.hash(step) % values.len() as u64) as usize);
        let into = (stream.hash(step + 1) % values.len() as u64) as usize;
        merge(&mut values[into], other);
        step += 2;
    }
    values.pop().unwrap()
}

fn bounds(points: &[f32], d: usize) -> (Vec<f32>, Vec<f32>) {
    let column = |j: usize| points.iter().skip(j).step_by(d).copied();
    let min = (0..d).map(|j| column(j).fold(f32::INFINITY, f32::min)).collect();
    let max = (0..d).map(|j| column(j).fold(f32::NEG_INFINITY, f32::max)).collect();
    (min, max)
}

/// Lloyd's algorithm in which each shard sees its own rows only.
fn sharded(
    points: &[f32],
    d: usize,
    initial: Vec<f32>,
    metric: Metric,
    max_iterations: u32,
    tolerance: f64,
    shards: &[Shard],
) -> Fit {
    let n = points.len() / d;
    let row = |i: usize| &points[i * d..][..d];
    let gather = |shard: &Shard| shard.iter().flat_map(|&i| row(i)).copied().collect::<Vec<f32>>();
    let (min, max) = bounds(points, d);
    let largest: Vec<f32> = min.iter().zip(&max).map(|(a, b)| a.abs().max(b.abs())).collect();
    let scale = Scale::new(&largest, n as u64);
    let moments = shards
        .iter()
        .map(|shard| {
            let mut moments = Moments::new(&min, &max, n as u64, false);
            shard.iter().for_each(|&i| moments.add_rows(row(i)));
            moments
        })
        .collect();
    let moments = reduce(moments, 1, |a: &mut Moments, b| a.merge(&b));
    let threshold = threshold(tolerance, &moments.variance());

    let mut centroids = Centroids::new(d, initial);
    let mut labels = vec![u32::MAX; n];
    let (mut iterations, mut converged) = (0, false);
    loop {
        let partials = shards
            .iter()
            .map(|shard| {
                let rows = gather(shard);
                let mut own = vec![0; shard.len()];
                assign(&centroids, &rows, &mut own);
                shard.iter().zip(&own).for_each(|(&i, &label)| labels[i] = label);
                let mut partial = Partial::new(centroids.len(), d);
                // In two blocks, as a stream would.
                let cut = shard.len() / 3;
                partial.add_rows(&centroids, &scale, &rows[..cut * d], &own[..cut]);
                partial.add_rows(&centroids, &scale, &rows[cut * d..], &own[cut..]);
                partial
            })
            .collect();
        let mut partial = reduce(partials, iterations.into(), |a: &mut Partial, b| a.merge(&b));
        if converged || iterations == max_iterations {
            let inertia = scale.distance2(partial.inertia);
            return Fit { centroids: centroids.values().to_vec(), labels, inertia, iterations, converged };
        }
        let empty = partial.empty();
        if !empty.is_empty() {
            let sets = shards
                .iter()
                .map(|shard| {
                    let mut far = Farthest::new(centroids.len(), d);
                    for &i in shard {
                        let distance2 = squared_distance(row(i), centroids.row(labels[i] as usize));
                        far.offer(distance2, i as u64, labels[i], row(i));
                    }
                    far
                })
                .collect();
            let far = reduce(sets, 7, |a: &mut Farthest, b| a.merge(&b));
            relocate(&mut partial, &empty, &far.into_sorted(), &scale);
        }
        let step = update(metric, &centroids, &partial, &scale);
        centroids = Centroids::new(d, step.centroids);
        iterations += 1;
        converged = step.shift <= threshold;
    }
}

fn points(n: usize, d: usize, seed: u64, coarse: bool, unit: bool) -> Vec<f32> {
    let stream = Stream::new(seed, Purpose::Generate, 0);
    let mut points: Vec<f32> = (0..n * d)
        .map(|i| {
            let v = stream.uniform(i as u64) - 0.5;
            // Coarse values make equal rows, ties and empty clusters; column j is of size 10^j.
            let v = if coarse { (v * 4.0).round() } else { v };
            (v * 10f64.powi((i % d % 5) as i32)) as f32
        })
        .collect();
    if unit {
        for row in points.chunks_exact_mut(d) {
            row[0] += 0.1;
            let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
            row.iter_mut().for_each(|v| *v /= norm);
        }
    }
    points
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_bits_of_the_whole(
        n in 1usize..150, d in 1usize..12, k in 1usize..12, shards in 1usize..8, seed: u64, coarse: bool, unit: bool,
    ) {
        let points = points(n, d, seed, coarse, unit);
        let metric = if unit { Metric::Cosine } else { Metric::Euclidean };
        // Centroids may repeat rows, so that clusters stay empty.
        let initial: Vec<f32> = (0..k).flat_map(|i| points[i * i % n * d..][..d].to_vec()).collect();
        let whole = lloyd(&points, d, initial.clone(), metric, 20, 1e-4);
        let parts = sharded(&points, d, initial, metric, 20, 1e-4, &deal(n, shards, seed));
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn samples_of_parts_merge_to_the_sample_of_the_whole(
        n in 0usize..200, m in 0usize..40, shards in 1usize..6, seed: u64,
    ) {
        let stream = Stream::new(seed, Purpose::Sample, 0);
        let offer = |sample: &mut Sample, i: usize| {
            // Few hashes, so that ordinals break ties.
            let hash = stream.hash(i as u64) % 50;
            let admitted = sample.admits(hash, i as u64);
            let before = sample.clone();
            sample.offer(hash, i as u64, &[i as f32, -(i as f32)]);
            assert_eq!(admitted, *sample != before);
        };
        let mut whole = Sample::new(m, 2);
        (0..n).for_each(|i| offer(&mut whole, i));
        let parts = deal(n, shards, seed)
            .iter()
            .map(|shard| {
                let mut sample = Sample::new(m, 2);
                shard.iter().for_each(|&i| offer(&mut sample, i));
                postcard::from_bytes::<Sample>(&postcard::to_allocvec(&sample).unwrap()).unwrap()
            })
            .collect();
        let merged = reduce(parts, seed, |a: &mut Sample, b| a.merge(b));
        prop_assert_eq!(&merged, &whole);

        let mut expected: Vec<(u64, u64)> = (0..n as u64).map(|i| (stream.hash(i) % 50, i)).collect();
        expected.sort_unstable();
        expected.truncate(m);
        let (ordinals, values) = merged.into_rows();
        prop_assert_eq!(&ordinals, &expected.iter().map(|&(_, i)| i).collect::<Vec<_>>());
        prop_assert_eq!(values, ordinals.iter().flat_map(|&i| [i as f32, -(i as f32)]).collect::<Vec<_>>());
    }

    #[test]
    fn farthest_rows_of_parts_merge_to_those_of_the_whole(
        n in 0usize..200, m in 0usize..20, shards in 1usize..6, seed: u64,
    ) {
        let stream = Stream::new(seed, Purpose::Draw, 0);
        let distance2 = |i: usize| (stream.hash(i as u64) % 30) as f64 / 7.0;
        let parts = deal(n, shards, seed)
            .iter()
            .map(|shard| {
                let mut far = Farthest::new(m, 1);
                shard.iter().for_each(|&i| far.offer(distance2(i), i as u64, i as u32 % 3, &[i as f32]));
                far
            })
            .collect();
        let far = reduce(parts, seed, |a: &mut Farthest, b| a.merge(&b)).into_sorted();
        let mut expected: Vec<usize> = (0..n).collect();
        expected.sort_by(|&a, &b| distance2(b).total_cmp(&distance2(a)).then(a.cmp(&b)));
        expected.truncate(m);
        prop_assert_eq!(far.iter().map(|f| f.row as usize).collect::<Vec<_>>(), expected);
        for f in far {
            let i = f.row as usize;
            prop_assert_eq!((f.distance2, f.label, f.values), (distance2(i), i as u32 % 3, vec![i as f32]));
        }
    }
}

/// Threads only change the order of merging.
#[test]
fn the_number_of_threads_does_not_matter() {
    let points = points(20_000, 6, 11, false, false);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| lloyd(&points, 6, points[..6 * 9].to_vec(), Metric::Euclidean, 15, 1e-4))
    };
    assert_eq!(run(1), run(3));
}

/// More clusters than different rows: the rest stay empty, and the run ends.
#[test]
fn too_few_different_rows() {
    let points = [1.0, 1.0, 1.0, 5.0];
    let fit = lloyd(&points, 1, vec![1.0, 1.0, 1.0, 1.0], Metric::Euclidean, 10, 1e-4);
    assert!(fit.converged);
    assert_eq!(fit.inertia, 0.0);
    assert_eq!(fit.labels, [0, 0, 0, 1]);
}

#[test]
fn no_rows_at_all() {
    let fit = lloyd(&[], 2, vec![1.0, 2.0], Metric::Euclidean, 10, 1e-4);
    assert_eq!((fit.centroids, fit.labels, fit.inertia, fit.converged), (vec![1.0, 2.0], vec![], 0.0, true));
}
