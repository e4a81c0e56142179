//! Time per iteration with and without pruning on one thread, and the share of rows that are skipped.
//!
//! `cargo run --release -p coterie-algorithms --example pruning_speed`
#![allow(clippy::print_stdout)]

use std::time::Instant;

use coterie_algorithms::fixed::Scale;
use coterie_algorithms::kmeans::{Centroids, Partial, PruneBuffers, Pruner, RowBounds, assign, update};
use coterie_algorithms::metric::Metric;
use coterie_algorithms::random::{Purpose, Stream};

/// Rows per block.
const BLOCK: usize = 4096;

/// Overlapping blobs around twice as many centres as clusters, nearly normal.
fn blobs(n: usize, d: usize, k: usize, spread: f32) -> Vec<f32> {
    let stream = Stream::new(1, Purpose::Generate, 0);
    let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
    let centre = |i: usize| (stream.hash(i as u64) % (2 * k) as u64) as usize;
    (0..n * d)
        .map(|i| {
            let place = 2 * k * d + n + 4 * i;
            let noise: f32 = (place..place + 4).map(number).sum();
            number(n + centre(i / d) * d + i % d) + spread * noise
        })
        .collect()
}

fn main() {
    for (d, k, n, spread) in
        [(128, 256, 200_000, 0.5), (128, 256, 200_000, 1.0), (16, 64, 200_000, 0.4), (16, 64, 200_000, 0.8)]
    {
        let rows = blobs(n, d, k, spread);
        let scale = Scale::new(&vec![4.0; d], n as u64);
        let mut centroids = Centroids::new(d, rows[..k * d].to_vec());
        let stride = Pruner::stride(k, d);
        let (mut labels, mut upper, mut lower) = (vec![0; n], vec![0.0; n], vec![0; n * stride]);
        let mut plain_labels = vec![0; n];
        let mut sums = Partial::new(k, d);
        let mut buffers = PruneBuffers::default();
        let (mut survivors, mut changes) = (Vec::new(), Vec::new());
        let mut previous: Option<Pruner> = None;
        let (mut plain_total, mut pruned_total) = (0.0, 0.0);
        println!("d = {d}, k = {k}, n = {n}, spread {spread}");
        println!(
            "{:>9} {:>10} {:>10} {:>8} {:>9} {:>9}",
            "iteration", "plain ms", "pruned ms", "ratio", "skipped", "moved"
        );
        for iteration in 1..=60 {
            let start = Instant::now();
            let mut fresh = Partial::new(k, d);
            for (rows, labels) in rows.chunks(BLOCK * d).zip(plain_labels.chunks_mut(BLOCK)) {
                assign(&centroids, rows, labels);
                fresh.add_rows_only(&scale, rows, labels);
            }
            let plain = start.elapsed().as_secs_f64();

            let start = Instant::now();
            let pruner = Pruner::new(centroids.clone(), previous.as_ref());
            let (mut looked, mut moved) = (0, 0);
            let states = labels.chunks_mut(BLOCK).zip(upper.chunks_mut(BLOCK)).zip(lower.chunks_mut(BLOCK * stride));
            for (rows, ((labels, upper), lower)) in rows.chunks(BLOCK * d).zip(states) {
                let mut bounds = RowBounds { labels, upper, lower };
                if previous.is_none() {
                    pruner.fresh(rows, &mut bounds, &mut buffers);
                    sums.add_rows_only(&scale, rows, bounds.labels);
                    looked += bounds.labels.len();
                } else {
                    pruner.drift(&mut bounds, &mut survivors);
                    pruner.settle(rows, &mut bounds, &survivors, &mut changes, &mut buffers);
                    for &(position, old) in &changes {
                        let i = position as usize;
                        sums.move_row(&scale, &rows[i * d..][..d], old, bounds.labels[i]);
                    }
                    looked += survivors.len();
                    moved += changes.len();
                    changes.clear();
                }
            }
            let pruned = start.elapsed().as_secs_f64();

            assert!(labels == plain_labels && sums.sums == fresh.sums && sums.counts == fresh.counts);
            plain_total += plain;
            pruned_total += pruned;
            if iteration <= 6 || iteration % 10 == 0 {
                println!(
                    "{iteration:>9} {:>10.1} {:>10.1} {:>7.2}x {:>8.1}% {moved:>9}",
                    plain * 1e3,
                    pruned * 1e3,
                    plain / pruned,
                    100.0 - 100.0 * looked as f64 / n as f64,
                );
            }
            centroids = Centroids::new(d, update(Metric::Euclidean, &centroids, &sums, &scale).centroids);
            previous = Some(pruner);
        }
        println!("all: {plain_total:.2} s plain, {pruned_total:.2} s pruned, {:.2}x\n", plain_total / pruned_total);
    }
}
