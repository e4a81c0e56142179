//! How fast the two nearest of very many centroids are found: by cells, by the sieve and by the kernel, on one thread, in batches and row by row.
//!
//! `cargo run --release -p coterie-algorithms --example many_centroids`
//!
//! Centroids and rows are of one mixture of nearly normal blobs, or without structure. `many_centroids K D BLOBS` does one case; no blobs means
//! no structure.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use coterie_algorithms::kmeans::{Centroids, Finder, FinderBuffers, Sieve, SieveBuffers, assign_two};
use coterie_algorithms::random::{Purpose, Stream};
use rayon::prelude::*;

const BATCH: usize = 1024;
const LONE: usize = 200;
const ROUNDS: usize = 5;
/// As wide as the blobs of `lsh_speed`.
const SPREAD: f64 = 0.25;

/// Rows around so many centres, uniform in a cube; around its middle, with its width, if there are none.
fn rows(n: usize, d: usize, blobs: u64, salt: u64) -> Vec<f32> {
    let (places, noise) = (Stream::new(1, Purpose::Generate, 0), Stream::new(salt, Purpose::Generate, 1));
    let mut rows = vec![0.0; n * d];
    rows.par_chunks_exact_mut(d).enumerate().for_each(|(row, values)| {
        for (j, value) in values.iter_mut().enumerate() {
            let at = 4 * (row * d + j) as u64;
            let near: f64 = (at..at + 4).map(|k| noise.uniform(k) - 0.5).sum();
            let centre = blobs.checked_sub(1).map(|most| noise.hash(u64::MAX - row as u64) % (most + 1));
            let place = centre.map_or(0.0, |centre| places.uniform(centre * d as u64 + j as u64) - 0.5);
            *value = (place + SPREAD * near) as f32;
        }
    });
    rows
}

/// The least time of `work` on consecutive rows, by row: together, and one by one.
fn time(queries: &[f32], d: usize, mut work: impl FnMut(&[f32], &mut [u32], &mut [u32])) -> [f64; 2] {
    let (mut best, mut second) = (vec![0; BATCH], vec![0; BATCH]);
    let mut least = [f64::INFINITY; 2];
    for round in 0..ROUNDS {
        let queries = &queries[round * BATCH * d..][..BATCH * d];
        let start = Instant::now();
        work(queries, &mut best, &mut second);
        least[0] = least[0].min(start.elapsed().as_secs_f64() / BATCH as f64);
        let start = Instant::now();
        for row in queries.chunks_exact(d).take(LONE) {
            work(row, &mut best[..1], &mut second[..1]);
        }
        least[1] = least[1].min(start.elapsed().as_secs_f64() / LONE as f64);
    }
    least
}

fn measure(k: usize, d: usize, blobs: u64) {
    let centroids = Centroids::new(d, rows(k, d, blobs, 1));
    let queries = rows(ROUNDS * BATCH, d, blobs, 2);
    let start = Instant::now();
    let sieve = Sieve::new(&centroids);
    let sieving = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let finder = Finder::new(&centroids);
    let finding = start.elapsed().as_secs_f64();
    let (mut buffers, mut sieve_buffers) = (FinderBuffers::default(), SieveBuffers::default());
    let by_finder =
        time(&queries, d, |rows, best, second| finder.assign_two(&centroids, rows, best, second, &mut buffers));
    let by_sieve =
        time(&queries, d, |rows, best, second| sieve.assign_two(&centroids, rows, best, second, &mut sieve_buffers));
    let by_kernel = time(&queries, d, |rows, best, second| assign_two(&centroids, rows, best, second));
    println!(
        "{k:>8} {d:>4} {blobs:>6} {:>9.0} {:>9.0} {:>9.0} {:>8.1} {:>9.1} {:>9.1} {:>9.1} {sieving:>8.2} {finding:>8.2}",
        1.0 / by_finder[0],
        1.0 / by_sieve[0],
        1.0 / by_kernel[0],
        by_sieve[0] / by_finder[0],
        1e6 * by_finder[1],
        1e6 * by_sieve[1],
        1e6 * by_kernel[1],
    );
}

fn main() {
    let cases: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    println!(
        "{:>8} {:>4} {:>6} {:>29} {:>8} {:>29} {:>17}",
        "", "", "", "rows/s in batches", "", "us a lone row", "seconds to make"
    );
    println!(
        "{:>8} {:>4} {:>6} {:>9} {:>9} {:>9} {:>8} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "k", "d", "blobs", "finder", "sieve", "kernel", "times", "finder", "sieve", "kernel", "sieve", "finder"
    );
    match cases[..] {
        [k, d, blobs] => measure(k as usize, d as usize, blobs),
        _ => {
            for d in [128, 32] {
                for k in [16_384, 65_536, 262_144] {
                    for blobs in [1000, 10_000, 0] {
                        measure(k, d, blobs);
                    }
                }
            }
        }
    }
}
