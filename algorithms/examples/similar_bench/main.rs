//! Searches for similar rows, one query after the other on one thread, and prints a line of JSON per setting: our side of
//! `cargo xtask bench similar`.
//!
//! `cargo run --release -p coterie-algorithms --example similar_bench -- X.npy QUERIES.npy TRUTH.npy --clusters 1024`
//!
//! `TRUTH.npy` holds the ten nearest rows of each query, as `f4`. Building holds all that a model costs: k-means from random rows, then
//! the codes; the rows are in memory before. With `--tables` hash tables are built and searched as well, for several recalls.
#![allow(clippy::print_stdout)]

#[allow(dead_code)] // other benchmarks write files
#[path = "../kmeans_bench/npy.rs"]
mod npy;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use coterie_algorithms::kmeans::{Centroids, local};
use coterie_algorithms::lists::{Breadth, Lists, ListsBuf, Searcher, breadth_for};
use coterie_algorithms::lsh::{self, Goal, Neighbour, Tables, choose, stable_families};
use coterie_algorithms::metric::Metric;
use coterie_algorithms::random::{Purpose, Stream};
use ndarray::Array2;
use serde_json::json;

const NEIGHBOURS: usize = 10;
/// Rows that are asked for to find out how far a search goes.
const TRIALS: usize = 1000;
const SEED: u64 = 1;
/// Iterations of k-means, and rows of each cluster that it is trained on.
const ITERATIONS: u32 = 6;
const ROWS_PER_CLUSTER: usize = 128;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (mut files, mut clusters, mut tables) = (Vec::new(), 1024, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--clusters" => clusters = arguments.next().ok_or("--clusters needs a number")?.parse()?,
            "--tables" => tables = true,
            _ => files.push(PathBuf::from(argument)),
        }
    }
    let [data, queries, truth] = &files[..] else { return Err("expected three files: rows, queries, truth".into()) };
    let (rows, d) = npy::read(data)?;
    let (queries, _) = npy::read(queries)?;
    let (truth, _) = npy::read(truth)?;
    let truth: Vec<Vec<u32>> =
        truth.chunks_exact(NEIGHBOURS).map(|ids| ids.iter().map(|&id| id as u32).collect()).collect();

    let begun = Instant::now();
    let owned = train(&rows, d, clusters)?;
    let build = begun.elapsed().as_secs_f64();
    drop(rows);
    let lists = owned.view();
    let begun = Instant::now();
    let chosen =
        breadth_for(&lists, Metric::Euclidean, 0.95, NEIGHBOURS, TRIALS, SEED, || true).ok_or("nobody says no")?;
    let choosing = begun.elapsed().as_secs_f64();
    let mut searcher = Searcher::new();
    let breadths = [None, Some(1.3)]
        .into_iter()
        .flat_map(|ratio| [1, 2, 4, 8, 16, 32, 64, 128].into_iter().map(move |lists| Breadth { lists, ratio }));
    let all = Breadth::lists(clusters);
    for breadth in breadths.filter(|breadth| breadth.lists < clusters).chain([chosen, all]) {
        let asked = if breadth == all { truth.len().min(50) } else { truth.len() };
        let ratio = breadth.ratio.map_or(String::new(), |ratio| format!(" within {ratio}x"));
        let setting = format!("{}{ratio}", breadth.lists);
        let figures = ask(&queries[..asked * d], &truth, d, owned.ids(), |query, found| {
            searcher.nearest(&lists, Metric::Euclidean, query, breadth, NEIGHBOURS, None, found);
        });
        println!(
            "{}",
            json!({"contender": "lists", "setting": setting, "chosen": breadth == chosen, "build_seconds": build,
                "choosing_seconds": choosing, "recall": figures.recall, "queries_per_second": figures.rate,
                "p50_us": figures.p50, "p99_us": figures.p99})
        );
    }
    if tables {
        hash_tables(&lists, &queries, &truth, d, owned.ids());
    }
    Ok(())
}

/// Tables for several recalls.
fn hash_tables(lists: &Lists<'_>, queries: &[f32], truth: &[Vec<u32>], d: usize, ids: &[u32]) {
    let n = lists.len();
    let step = (n / 20_000).max(1);
    let sample: Vec<f32> = (0..n).step_by(step).flat_map(|row| lists.row(row).iter().copied()).collect();
    let (mut searcher, mut found) = (Searcher::new(), Vec::new());
    let mut distance = 0.0;
    for row in (0..n).step_by(n / 100) {
        let breadth = Breadth::lists(64);
        searcher.nearest(lists, Metric::Euclidean, lists.row(row), breadth, NEIGHBOURS, Some(row as u32), &mut found);
        distance += found.last().map_or(0.0, |last| last.distance) / 100.0;
    }
    for recall in [0.6, 0.75, 0.9, 0.95] {
        let families = stable_families(d, distance, 16, SEED);
        let goal = Goal { recall, neighbours: NEIGHBOURS, queries: 300, most_tables: 16, most_probes: 4096, rows: n };
        let begun = Instant::now();
        let choice = choose(&families, &sample, Metric::Euclidean, goal, SEED).unwrap_or_else(|error| error.best);
        let choosing = begun.elapsed().as_secs_f64();
        let (hashes, width) = (families[choice.family].0.hashes(), families[choice.family].0.width());
        let family = lsh::StableFamily::new(d, choice.effort.tables, hashes, width, SEED);
        let begun = Instant::now();
        let tables = Tables::of_vectors(&family, lists.rows());
        let build = begun.elapsed().as_secs_f64();
        let mut searcher = lsh::Searcher::new();
        let figures = ask(queries, truth, d, ids, |query, found| {
            let effort = choice.effort;
            searcher.nearest(&family, &tables, lists.rows(), Metric::Euclidean, query, effort, NEIGHBOURS, found);
        });
        println!(
            "{}",
            json!({"contender": "tables", "setting": recall, "tables": choice.effort.tables,
                "probes": choice.effort.probes, "hashes": hashes, "build_seconds": build,
                "choosing_seconds": choosing, "recall": figures.recall, "queries_per_second": figures.rate,
                "p50_us": figures.p50, "p99_us": figures.p99})
        );
    }
}

struct Figures {
    recall: f64,
    rate: f64,
    p50: f64,
    p99: f64,
}

fn ask(
    queries: &[f32],
    truth: &[Vec<u32>],
    d: usize,
    ids: &[u32],
    mut search: impl FnMut(&[f32], &mut Vec<Neighbour>),
) -> Figures {
    let (mut found, mut hits, mut times) = (Vec::new(), 0, Vec::new());
    for query in queries.chunks_exact(d).take(5) {
        search(query, &mut found);
    }
    for (query, truth) in queries.chunks_exact(d).zip(truth) {
        let begun = Instant::now();
        search(query, &mut found);
        times.push(begun.elapsed().as_secs_f64());
        hits += found.iter().filter(|found| truth.contains(&ids[found.id as usize])).count();
    }
    let rate = times.len() as f64 / times.iter().sum::<f64>();
    times.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| 1e6 * times[(share * (times.len() - 1) as f64) as usize];
    Figures { recall: hits as f64 / (NEIGHBOURS * times.len()) as f64, rate, p50: at(0.5), p99: at(0.99) }
}

/// The lists of a model of these rows: ten iterations of k-means on some of them, then all rows in their clusters.
fn train(rows: &[f32], d: usize, k: usize) -> Result<ListsBuf, Failure> {
    let n = rows.len() / d;
    let stream = Stream::new(SEED, Purpose::Sample, 0);
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_unstable_by_key(|&row| stream.hash(row.into()));
    let of = |chosen: &[u32]| -> Result<Array2<f32>, ndarray::ShapeError> {
        let mut values = Vec::with_capacity(chosen.len() * d);
        for &row in chosen {
            values.extend_from_slice(&rows[row as usize * d..][..d]);
        }
        Array2::from_shape_vec((chosen.len(), d), values)
    };
    let sample = of(&order[..n.min(ROWS_PER_CLUSTER * k)])?;
    let start = of(order.get(..k).ok_or("more clusters than rows")?)?;
    let params = local::Params { max_iterations: ITERATIONS, ..local::Params::default() };
    let fit = local::fit(sample.view(), start.view(), &params);
    Ok(ListsBuf::new(Centroids::new(d, fit.centroids), rows))
}
