//! The first centroids that a run would choose, with the same parameters as a worker's.

use coterie_algorithms::kmeans::Centroids;
use coterie_algorithms::kmeans::init::{Sample, draw, k_means_plus_plus, lower, refine};
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
/// Rows per unit of parallel work.
const CHUNK: usize = 1200;

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
    let n = points.len() / dimension;
    let (mut distances, mut owners) = (vec![f32::INFINITY; n], vec![0; n]);
    let mut join = |batch: &[f32], first: usize, distances: &mut [f32]| {
        let batch = Centroids::new(dimension, batch.to_vec());
        let known = distances.par_chunks_mut(CHUNK).zip(owners.par_chunks_mut(CHUNK));
        points.par_chunks(CHUNK * dimension).zip(known).for_each_init(
            Vec::new,
            |labels, (rows, (distances, owners))| {
                lower(&batch, first as u32, rows, distances, owners, labels);
            },
        );
    };
    join(&candidates, 0, &mut distances);
    for round in 0..ROUNDS {
        let total: f64 = distances.iter().map(|&distance2| f64::from(distance2)).sum();
        let drawn: Vec<usize> = (0..n)
            .into_par_iter()
            .filter(|&row| draw(SEED, round, row as u64, distances[row], total, k as f64))
            .collect();
        if drawn.is_empty() {
            break;
        }
        let batch = select(points, dimension, &drawn);
        join(&batch, candidates.len() / dimension, &mut distances);
        candidates.extend(batch);
    }
    let mut weights = vec![0.0; candidates.len() / dimension];
    owners.iter().for_each(|&owner| weights[owner as usize] += 1.0);
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
