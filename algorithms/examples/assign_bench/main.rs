//! Finds the two nearest centroids of rows from an .npy file, batch after batch, and prints a line of JSON about it: our side of
//! `cargo xtask bench assign`.
//!
//! `cargo run --release -p coterie-algorithms --example assign_bench -- --data X.npy --centroids C.npy --batch 1024`
//!
//! Further options: `--seconds 2`; `--threads N`, between which each batch is split; `--every-centroid` to look closely at every
//! centroid; `--one` for the nearest centroid alone.
#![allow(clippy::print_stdout)]

#[path = "../kmeans_bench/npy.rs"]
#[allow(dead_code)]
mod npy;
#[path = "../kmeans_bench/options.rs"]
mod options;

use std::cell::RefCell;
use std::error::Error;
use std::time::{Duration, Instant};

use coterie_algorithms::kmeans::{Centroids, Finder, FinderBuffers, assign, assign_two};
use options::Options;
use rayon::prelude::*;
use serde_json::json;

/// Rows that are taken from the file.
const ROWS: usize = 1 << 18;
/// Batches before time is taken.
const WARM: usize = 20;
/// Least rows for a thread.
const PIECE: usize = 256;

thread_local! {
    static BUFFERS: RefCell<FinderBuffers> = RefCell::default();
}

/// Names of options.
const KNOWN: [&str; 7] = ["data", "centroids", "batch", "threads", "seconds", "every-centroid", "one"];

type Failure = Box<dyn Error + Send + Sync>;

/// How a batch is labelled.
struct Assigner {
    centroids: Centroids,
    finder: Finder,
    every_centroid: bool,
    one: bool,
}

impl Assigner {
    fn label(&self, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
        let Self { centroids, finder, .. } = self;
        match (self.every_centroid, self.one) {
            (true, true) => assign(centroids, rows, best),
            (true, false) => assign_two(centroids, rows, best, second),
            (false, true) => BUFFERS.with_borrow_mut(|buffers| finder.assign(centroids, rows, best, buffers)),
            (false, false) => {
                BUFFERS.with_borrow_mut(|buffers| finder.assign_two(centroids, rows, best, second, buffers))
            }
        }
    }

    /// The same by all threads, where there is enough for them.
    fn label_together(&self, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
        let d = self.centroids.dimension();
        let piece = best.len().div_ceil(rayon::current_num_threads()).max(PIECE);
        if best.len() <= piece {
            return self.label(rows, best, second);
        }
        let pieces = rows.par_chunks(piece * d).zip(best.par_chunks_mut(piece)).zip(second.par_chunks_mut(piece));
        pieces.for_each(|((rows, best), second)| self.label(rows, best, second));
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1), &KNOWN)?;
    let batch: usize = options.number("batch")?.unwrap_or(1);
    rayon::ThreadPoolBuilder::new().num_threads(options.number("threads")?.unwrap_or(1)).build_global()?;
    let (mut rows, dimension) = npy::read(options.given("data")?)?;
    rows.truncate(ROWS.max(2 * batch) * dimension);
    let (values, columns) = npy::read(options.given("centroids")?)?;
    let n = rows.len() / dimension;
    if columns != dimension || batch == 0 || batch > n {
        return Err("the files or the batch do not fit".into());
    }
    let centroids = Centroids::new(dimension, values);
    let began = Instant::now();
    let finder = Finder::new(&centroids);
    let prepared = began.elapsed().as_secs_f64();
    let assigner =
        Assigner { centroids, finder, every_centroid: options.has("every-centroid"), one: options.has("one") };

    let (mut best, mut second) = (vec![0; batch], vec![0; batch]);
    let mut first = 0;
    let mut next = || {
        first = if first + 2 * batch > n { 0 } else { first + batch };
        &rows[first * dimension..][..batch * dimension]
    };
    for _ in 0..WARM {
        assigner.label_together(next(), &mut best, &mut second);
    }
    let mut times = Vec::new();
    let end = Duration::from_secs_f64(options.number("seconds")?.unwrap_or(2.0));
    let began = Instant::now();
    while began.elapsed() < end {
        let rows = next();
        let start = Instant::now();
        assigner.label_together(rows, &mut best, &mut second);
        times.push(start.elapsed().as_secs_f64());
    }
    let total: f64 = times.iter().sum();
    times.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| 1e6 * times[((times.len() - 1) as f64 * share) as usize];

    // A check, not a measurement: the same labels as the kernel's.
    let sample = &rows[..n.min(4096) * dimension];
    let (mut expected, mut found) = (vec![0; n.min(4096)], vec![0; n.min(4096)]);
    assign(&assigner.centroids, sample, &mut expected);
    let mut others = vec![0; found.len()];
    assigner.label_together(sample, &mut found, &mut others);
    if expected != found {
        return Err("the labels differ from those of the kernel".into());
    }

    println!(
        "{}",
        json!({
            "rows_per_second": (batch * times.len()) as f64 / total,
            "p50_microseconds": quantile(0.5),
            "p99_microseconds": quantile(0.99),
            "calls": times.len(),
            "rows": n,
            "dimension": dimension,
            "clusters": assigner.centroids.len(),
            "prepare_seconds": prepared,
            "version": env!("CARGO_PKG_VERSION"),
        })
    );
    Ok(())
}
