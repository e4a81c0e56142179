//! Clusters an .npy file once and prints a line of JSON about it: our side of `cargo xtask bench kmeans`.
//!
//! `cargo run --release -p coterie-algorithms --example kmeans_bench -- --data X.npy --clusters 256 --iterations 10`
//!
//! Further options: `--tolerance 1e-4`; `--initial C.npy`, or else `--start plus-plus` or `--start parallel`;
//! `--every-row` to look at every row in every iteration; `--threads N`; `--centroids OUT.npy`, `--labels OUT.npy`;
//! `--steps FOLDER` to write the centroids and labels of each iteration as well, once the time is taken.
//! Times hold everything but reading and writing files.
#![allow(clippy::print_stdout)]

mod npy;
mod options;
mod start;
mod steps;
mod sums;
mod usage;

use std::error::Error;
use std::time::Instant;

use coterie_algorithms::kmeans::local::{Params, lloyd_with};
use coterie_algorithms::kmeans::{Partial, centring};
use coterie_algorithms::metric::Metric;
use options::Options;
use serde_json::{Map, Value, json};

/// Merges of which the speed is taken.
const MERGES: usize = 4;

/// Names of options.
const KNOWN: [&str; 11] = [
    "data",
    "initial",
    "clusters",
    "iterations",
    "tolerance",
    "start",
    "every-row",
    "threads",
    "centroids",
    "labels",
    "steps",
];

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1), &KNOWN)?;
    let threads = options.number("threads")?.unwrap_or(0);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let (mut points, dimension) = npy::read(options.given("data")?)?;
    let initial = options.path("initial").map(npy::read).transpose()?.map(|(values, _)| values);
    let k = options.number("clusters")?.ok_or("--clusters is missing")?;
    let iterations: u32 = options.number("iterations")?.ok_or("--iterations is missing")?;
    // Below zero: no movement of the centroids is small enough to stop.
    let tolerance = options.number("tolerance")?.filter(|&tolerance: &f64| tolerance > 0.0).unwrap_or(-1.0);
    let given_start = initial.is_some();

    let data_rss = usage::memory("VmRSS");
    let (machine_before, own_before) = (usage::machine_cpu(), usage::own_cpu());
    let began = Instant::now();
    let means = centring::means(&points, dimension);
    centring::subtract(&mut points, &means);
    let prepared = began.elapsed().as_secs_f64();
    let initial = match (initial, options.text("start")) {
        (Some(mut initial), _) => {
            centring::subtract(&mut initial, &means);
            initial
        }
        (None, None | Some("plus-plus")) => start::plus_plus(&points, dimension, k),
        (None, Some("parallel")) => start::parallel(&points, dimension, k),
        (None, Some(other)) => return Err(format!("--start {other} is not known: plus-plus or parallel").into()),
    };
    let started = began.elapsed().as_secs_f64();
    let pruning = !options.has("every-row");
    let params = Params { metric: Metric::Euclidean, max_iterations: iterations, tolerance, pruning };
    let first = options.path("steps").map(|_| initial.clone());
    let fit = lloyd_with(&points, dimension, initial, &params);
    let seconds = began.elapsed().as_secs_f64();
    let own = usage::own_cpu() - own_before;
    let others = (usage::machine_cpu() - machine_before - own).max(0.0);

    let mut line = Map::new();
    for (name, value) in [
        ("seconds", json!(seconds)),
        ("prepare_seconds", json!(prepared)),
        ("init_seconds", json!(started - prepared)),
        ("iterate_seconds", json!(seconds - started)),
        ("cpu_seconds", json!(own)),
        ("other_cpus", json!(others / seconds)),
        ("data_rss_bytes", json!(data_rss)),
        ("peak_rss_bytes", json!(usage::memory("VmHWM"))),
        ("threads", json!(rayon::current_num_threads())),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("given_start", json!(given_start)),
        ("own_inertia", json!(fit.inertia)),
        ("converged", json!(fit.converged)),
        ("iterations", json!(fit.iterations)),
        // One more gave the labels under the final centroids.
        ("passes", json!(fit.iterations + 1)),
    ] {
        line.insert(name.to_owned(), value);
    }
    if !pruning {
        tell_reduction(&sums::of_rows(&points, dimension, k, &fit.labels), &mut line)?;
    }
    if let (Some(folder), Some(first)) = (options.path("steps"), first) {
        steps::write(folder, &points, &means, first, &fit)?;
    }
    if let Some(path) = options.path("labels") {
        npy::write_labels(path, &fit.labels)?;
    }
    let mut centroids = fit.centroids;
    centring::add(&mut centroids, &means);
    if let Some(path) = options.path("centroids") {
        npy::write_rows(path, &centroids, dimension)?;
    }
    println!("{}", Value::Object(line));
    Ok(())
}

/// What a worker that held all the rows would send, and how fast such contributions can be taken in.
fn tell_reduction(sums: &Partial, line: &mut Map<String, Value>) -> Result<(), Failure> {
    let sent = postcard::to_stdvec(sums)?;
    line.insert("partial_bytes".into(), json!(sent.len()));
    let began = Instant::now();
    for _ in 0..MERGES {
        // A fresh one each time: merged again and again, sums might overflow.
        let mut merged = Partial::new(sums.counts.len(), sums.dimension as usize);
        merged.merge(&postcard::from_bytes(&sent)?);
    }
    let numbers = MERGES * (sums.sums.len() + sums.counts.len());
    line.insert("merge_rate".into(), json!(numbers as f64 / began.elapsed().as_secs_f64()));
    Ok(())
}
