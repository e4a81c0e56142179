//! The first centroids that a run would choose, with the same parameters as a worker's.

use coterie_algorithms::kmeans::init::{Sample, draw, k_means_plus_plus, refine};
use coterie_algorithms::kmeans::{Centroids, assign, squared_distance};
use coterie_algorithms::random::{Purpose, hash, rng};
use rayon::prelude::*;

const SEED: u64 = 1;
/// Rows sampled for k-means++, per cluster and at least.
const SAMPLE_PER_CLUSTER: usize = 32;
const SAMPLE_AT_LEAST: usize = 20_000;
/// Rounds of k-means||.
const ROUNDS: u64 = 5;
/// Lloyd iterations on the weighted candidates of k-means||.
const REFINEMENTS: usize = 10;
const CHUNK: usize = 4096;

/// Greedy k-means++ on a uniform sample.
pub(crate) fn plus_plus(points: &[f32], dimension: usize, k: usize) -> Vec<f32> {
    let rows = sample(points, dimension, SAMPLE_AT_LEAST.max(SAMPLE_PER_CLUSTER * k));
    let chosen = k_means_plus_plus(&rows, dimension, None, k, &mut rng(SEED, Purpose::Seeding, 0));
    select(&rows, dimension, &chosen)
}

/// k-means||: rows join the candidates by their distance to those before, round by round; k-means++ then chooses among
/// the candidates, each weighted by the rows nearest to it.
pub(crate) fn parallel(points: &[f32], dimension: usize, k: usize) -> Vec<f32> {
    let mut candidates = sample(points, dimension, 1);
    let mut distances = vec![f32::INFINITY; points.len() / dimension];
    lower(points, dimension, &candidates, &mut distances);
    for round in 0..ROUNDS {
        let total: f64 = distances.iter().map(|&distance2| f64::from(distance2)).sum();
        let drawn: Vec<usize> = (0..distances.len())
            .into_par_iter()
            .filter(|&row| draw(SEED, round, row as u64, distances[row], total, k as f64))
            .collect();
        if drawn.is_empty() {
            break;
        }
        let batch = select(points, dimension, &drawn);
        lower(points, dimension, &batch, &mut distances);
        candidates.extend(batch);
    }
    let weights = weigh(points, dimension, &candidates);
    let chosen = k_means_plus_plus(&candidates, dimension, Some(&weights), k, &mut rng(SEED, Purpose::Seeding, 0));
    let chosen = select(&candidates, dimension, &chosen);
    refine(&candidates, dimension, Some(&weights), chosen, REFINEMENTS)
}

fn sample(points: &[f32], dimension: usize, size: usize) -> Vec<f32> {
    let mut sample = Sample::new(size, dimension);
    for (ordinal, row) in (0u64..).zip(points.chunks_exact(dimension)) {
        let key = hash(SEED, Purpose::Sample, 0, ordinal);
        if sample.admits(key, ordinal) {
            sample.offer(key, ordinal, row);
        }
    }
    sample.into_rows().1
}

fn select(points: &[f32], dimension: usize, chosen: &[usize]) -> Vec<f32> {
    chosen.iter().flat_map(|&i| &points[i * dimension..][..dimension]).copied().collect()
}

/// Lowers each row's squared distance to that of the nearest of a batch of candidates.
fn lower(points: &[f32], dimension: usize, batch: &[f32], distances: &mut [f32]) {
    let batch = Centroids::new(dimension, batch.to_vec());
    let chunks = points.par_chunks(CHUNK * dimension).zip(distances.par_chunks_mut(CHUNK));
    chunks.for_each_init(Vec::new, |labels, (rows, distances)| {
        labels.resize(distances.len(), 0);
        assign(&batch, rows, labels);
        for ((row, distance), &label) in rows.chunks_exact(dimension).zip(distances).zip(labels.iter()) {
            *distance = distance.min(squared_distance(row, batch.row(label as usize)) as f32);
        }
    });
}

/// How many rows are nearest to each candidate.
fn weigh(points: &[f32], dimension: usize, candidates: &[f32]) -> Vec<f64> {
    let candidates = Centroids::new(dimension, candidates.to_vec());
    let nothing = || vec![0.0; candidates.len()];
    let count = |mut counts: Vec<f64>, rows: &[f32]| {
        let mut labels = vec![0; rows.len() / dimension];
        assign(&candidates, rows, &mut labels);
        for label in labels {
            counts[label as usize] += 1.0;
        }
        counts
    };
    let add = |mut a: Vec<f64>, b: Vec<f64>| {
        a.iter_mut().zip(&b).for_each(|(a, b)| *a += b);
        a
    };
    points.par_chunks(CHUNK * dimension).fold(nothing, count).reduce(nothing, add)
}
