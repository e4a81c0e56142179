//! Time to build tables, recall@10 and queries per second on clustered points, beside brute force, on one thread.
//!
//! `cargo run --release -p coterie-algorithms --example lsh_speed`; with `build` beside the time to build tables of a million rows, by all threads, beside that
//! of one look at the rows and of hashing alone.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use coterie_algorithms::lsh::{
    Effort, Family, Goal, Neighbour, Searcher, SignFamily, StableFamily, Tables, brute_force, choose, sign_families,
    stable_families,
};
use coterie_algorithms::metric::Metric;
use coterie_algorithms::random::{Purpose, Stream};
use rayon::prelude::*;

const ROWS: usize = 100_000;
const DIMENSION: usize = 128;
const QUERIES: usize = 500;
const NEIGHBOURS: usize = 10;
const SEED: u64 = 1;

/// Nearly normal blobs around 1000 centres.
fn blobs(rows: std::ops::Range<usize>) -> Vec<f32> {
    let (places, noise) = (Stream::new(SEED, Purpose::Generate, 0), Stream::new(SEED, Purpose::Generate, 1));
    rows.flat_map(|row| {
        let centre = noise.hash(u64::MAX - row as u64) % 1000;
        (0..DIMENSION).map(move |j| {
            let at = 4 * (row * DIMENSION + j) as u64;
            let near: f64 = (at..at + 4).map(|k| noise.uniform(k) - 0.5).sum();
            (places.uniform(centre * DIMENSION as u64 + j as u64) - 0.5 + 0.25 * near) as f32
        })
    })
    .collect()
}

fn report<F: Family>(name: &str, families: &[(F, usize)], rows: &[f32], queries: &[f32], truth: &[Vec<Neighbour>]) {
    let sample = &rows[..rows.len() / 10];
    for recall in [0.8, 0.9, 0.95, 0.99] {
        let goal =
            Goal { recall, neighbours: NEIGHBOURS, queries: 1000, most_tables: 16, most_probes: 1024, rows: ROWS };
        let start = Instant::now();
        let choice = match choose(families, sample, Metric::Euclidean, goal, SEED) {
            Ok(choice) => choice,
            Err(error) => {
                println!("{name:>8} {error}");
                continue;
            }
        };
        let choosing = start.elapsed().as_secs_f64();
        let (family, hashes) = &families[choice.family];
        let start = Instant::now();
        let tables = Tables::of_vectors(family, rows);
        let building = start.elapsed().as_secs_f64() * choice.effort.tables as f64 / family.tables() as f64;
        let (mut searcher, mut found, mut hits) = (Searcher::new(), Vec::new(), 0);
        let start = Instant::now();
        for (query, truth) in queries.chunks_exact(DIMENSION).zip(truth) {
            searcher.nearest(family, &tables, rows, Metric::Euclidean, query, choice.effort, NEIGHBOURS, &mut found);
            hits += found.iter().filter(|f| truth.contains(f)).count();
        }
        let rate = QUERIES as f64 / start.elapsed().as_secs_f64();
        let Effort { tables, probes } = choice.effort;
        println!(
            "{name:>8} {recall:>6} {:>7.4} {rate:>9.0} {building:>8.3} {choosing:>9.2} {tables:>6} {hashes:>6} {probes:>6} {:>10.0}",
            hits as f64 / (QUERIES * NEIGHBOURS) as f64,
            choice.candidates,
        );
    }
}

/// Rows whose tables are built, rounds of which the best counts, and rows that are hashed together.
const MANY: usize = 1_000_000;
const ROUNDS: usize = 5;
const BLOCK: usize = 1024;

/// The least of so many times, in seconds.
fn least(mut work: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

/// The time of a build beside what it cannot do without.
fn build<F: Family>(name: &str, hashes: usize, family: &F, rows: &[f32]) {
    let looking = least(|| {
        let sum: u32 = rows.par_chunks(1 << 16).map(|rows| rows.iter().fold(0, |sum, x| sum ^ x.to_bits())).sum();
        std::hint::black_box(sum);
    });
    let hashing = least(|| {
        rows.par_chunks(BLOCK * DIMENSION).for_each_init(Vec::new, |keys, rows| {
            keys.resize(rows.len() / DIMENSION * family.tables(), Default::default());
            family.keys(rows, keys);
            std::hint::black_box(&keys);
        });
    });
    let building = least(|| {
        std::hint::black_box(Tables::of_vectors(family, rows));
    });
    println!(
        "{name:>8} {:>6} {hashes:>6} {looking:>8.3} {hashing:>8.3} {building:>8.3} {:>6.2}",
        family.tables(),
        building / (looking + hashing)
    );
}

fn builds() {
    let rows = blobs(0..MANY);
    println!(
        "{:>8} {:>6} {:>6} {:>8} {:>8} {:>8} {:>6}",
        "family", "tables", "hashes", "look s", "hash s", "build s", "ratio"
    );
    for tables in [8, 16, 32] {
        for bits in [14, 20] {
            build("sign", bits as usize, &SignFamily::new(DIMENSION, tables, bits, SEED), &rows);
        }
        for hashes in [4, 8, 16] {
            build("p-stable", hashes, &StableFamily::new(DIMENSION, tables, hashes, 8.0, SEED), &rows);
        }
    }
}

fn main() {
    if std::env::args().nth(1).is_some_and(|argument| argument == "build") {
        return builds();
    }
    let rows = blobs(0..ROWS);
    let queries = blobs(ROWS..ROWS + QUERIES);
    let start = Instant::now();
    let truth: Vec<Vec<Neighbour>> =
        queries.chunks_exact(DIMENSION).map(|query| brute_force(&rows, Metric::Euclidean, query, NEIGHBOURS)).collect();
    let rate = QUERIES as f64 / start.elapsed().as_secs_f64();
    println!(
        "{:>8} {:>6} {:>7} {:>9} {:>8} {:>9} {:>6} {:>6} {:>6} {:>10}",
        "family", "target", "recall", "queries/s", "build s", "choose s", "tables", "hashes", "probes", "candidates"
    );
    println!("{:>8} {:>6} {:>7.4} {rate:>9.0}", "all rows", "", 1.0);
    let near = truth.iter().map(|found| found[NEIGHBOURS - 1].distance).sum::<f64>() / QUERIES as f64;
    report("sign", &sign_families(DIMENSION, ROWS, 16, SEED), &rows, &queries, &truth);
    report("p-stable", &stable_families(DIMENSION, near, 16, SEED), &rows, &queries, &truth);
}
