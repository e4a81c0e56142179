//! Speed of the assignment step and of the sums on one thread.
//!
//! `cargo run --release -p coterie-algorithms --example kernel_speed`
#![allow(clippy::print_stdout)]

use std::time::Instant;

use coterie_algorithms::fixed::Scale;
use coterie_algorithms::kmeans::{Centroids, Partial, assign};
use coterie_algorithms::random::{Purpose, Stream};

/// Numbers in -0.5..0.5.
fn numbers(length: usize, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, Purpose::Generate, 0);
    (0..length as u64).map(|i| (stream.uniform(i) - 0.5) as f32).collect()
}

/// The least time of a few runs, in seconds.
fn best_of(runs: u32, mut work: impl FnMut()) -> f64 {
    (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    println!(
        "{:>5} {:>5} {:>8} | {:>10} {:>12} | {:>12} {:>9} | {:>12}",
        "d", "k", "rows", "GFLOP/s", "rows/s", "sums rows/s", "share", "with inertia"
    );
    for (d, k, n) in [(128, 256, 65_536), (128, 1024, 32_768), (16, 64, 524_288), (768, 256, 8_192), (2, 16, 1_048_576)]
    {
        let rows = numbers(n * d, 1);
        let centroids = Centroids::new(d, numbers(k * d, 2));
        let scale = Scale::new(&vec![0.5; d], n as u64);
        let mut labels = vec![0; n];
        let mut partial = Partial::new(k, d);
        let assigning = best_of(5, || assign(&centroids, &rows, &mut labels));
        let summing = best_of(5, || partial.add_rows_only(&scale, &rows, &labels));
        let measuring = best_of(5, || partial.add_rows(&centroids, &scale, &rows, &labels));
        let flops = 2.0 * n as f64 * k as f64 * d as f64;
        println!(
            "{d:>5} {k:>5} {n:>8} | {:>10.1} {:>12.0} | {:>12.0} {:>8.1}% | {:>12.0}",
            flops / assigning / 1e9,
            n as f64 / assigning,
            n as f64 / summing,
            100.0 * summing / (summing + assigning),
            n as f64 / measuring,
        );
    }
}
