//! Which centroids share a cell.

use rayon::prelude::*;

use super::super::kernel::{Panels, WIDTH};
use super::super::local::{Params, lloyd_with};
use super::super::{Centroids, assign, squared_distance};
use crate::metric::Metric;
use crate::random::{Purpose, Stream};

/// Cells by the root of the number of centroids, and most cells.
const PER_ROOT: f64 = 8.0;
const MOST: usize = 4096;
/// Centroids from which the places of cells are learned, for each of them, and how often.
const SAMPLED: usize = 16;
const ITERATIONS: u32 = 3;
/// Rounds in which their first places are chosen.
const ROUNDS: usize = 8;
/// Least centroids of a cell: half a panel of the kernel.
const LEAST: usize = WIDTH / 2;
/// Centroids that are labelled together.
const BLOCK: usize = 480;

/// Some of the centroids.
#[derive(Debug)]
pub(super) struct Cell {
    /// Which they are, ascending.
    pub(super) ids: Vec<u32>,
    /// The same, packed for the kernel.
    pub(super) panels: Panels,
}

/// Divides centroids among cells, and gives the cells' centres. The same whatever the number of threads.
pub(super) fn form(centroids: &Centroids) -> (Centroids, Vec<Cell>) {
    let (centres, labels) = settled(centroids, learned(centroids));
    let mut ids: Vec<Vec<u32>> = vec![Vec::new(); centres.len()];
    for (id, label) in (0u32..).zip(labels) {
        ids[label as usize].push(id);
    }
    let pack = |ids: Vec<u32>| {
        let values: Vec<f32> = ids.iter().flat_map(|&id| centroids.row(id as usize)).copied().collect();
        Cell { ids, panels: Panels::new(centroids.dimension(), &values) }
    };
    let cells = ids.into_par_iter().map(pack).collect();
    (centres, cells)
}

/// The centres of a few passes of k-means over a sample of the centroids.
fn learned(centroids: &Centroids) -> Centroids {
    let (k, d) = (centroids.len(), centroids.dimension());
    let wanted = ((PER_ROOT * (k as f64).sqrt()) as usize).next_multiple_of(WIDTH).min(k.div_ceil(WIDTH)).min(MOST);
    let drawn = first((0..k).map(|_| 1.0), SAMPLED * wanted, 0);
    let sample: Vec<f32> = drawn.into_iter().flat_map(|id| centroids.row(id)).copied().collect();
    let params = Params { metric: Metric::Euclidean, max_iterations: ITERATIONS, tolerance: 0.0, ..Params::default() };
    Centroids::new(d, lloyd_with(&sample, d, spread(&sample, d, wanted), &params).centroids)
}

/// So many of the rows, far from each other: in each round rows are drawn with a probability that grows with the square of the distance to the
/// nearest one that was drawn before, as by k-means||.
fn spread(rows: &[f32], d: usize, wanted: usize) -> Vec<f32> {
    let mut squares = vec![1.0; rows.len() / d];
    let mut chosen: Vec<f32> = Vec::new();
    for round in 1..=ROUNDS {
        let more = (wanted * round / ROUNDS).saturating_sub(chosen.len() / d);
        let drawn: Vec<f32> = first(squares.iter().copied(), more, round as u64)
            .into_iter()
            .flat_map(|row| &rows[row * d..][..d])
            .copied()
            .collect();
        if drawn.is_empty() {
            continue;
        }
        chosen.extend_from_slice(&drawn);
        let drawn = Centroids::new(d, drawn);
        let blocks = squares.par_chunks_mut(BLOCK).zip(rows.par_chunks(BLOCK * d));
        blocks.for_each_init(Vec::new, |labels, (squares, rows)| {
            labels.resize(squares.len(), 0);
            assign(&drawn, rows, labels);
            for ((square, row), &label) in squares.iter_mut().zip(rows.chunks_exact(d)).zip(&*labels) {
                let other = squared_distance(row, drawn.row(label as usize));
                *square = if round == 1 { other } else { square.min(other) };
            }
        });
    }
    chosen
}

/// So many places, drawn without putting back, by weight: those with the least exponentially distributed numbers, in their order
/// (Efraimidis and Spirakis 2006).
fn first(weights: impl Iterator<Item = f64>, wanted: usize, round: u64) -> Vec<usize> {
    let stream = Stream::new(0, Purpose::Sample, round);
    let number = |(place, weight): (usize, f64)| (-(1.0 - stream.uniform(place as u64)).ln() / weight, place);
    let mut drawn: Vec<(f64, usize)> = weights.enumerate().map(number).collect();
    let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if wanted < drawn.len() {
        drawn.select_nth_unstable_by(wanted, order);
        drawn.truncate(wanted);
    }
    drawn.sort_unstable_by(order);
    drawn.into_iter().map(|(_, place)| place).collect()
}

/// Labels the centroids by centres, without those that have hardly any of them.
fn settled(centroids: &Centroids, centres: Centroids) -> (Centroids, Vec<u32>) {
    let d = centres.dimension();
    let mut labels = labels(&centres, centroids.values());
    let mut counts = vec![0; centres.len()];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let least = LEAST.min(counts.iter().copied().max().unwrap_or(0));
    // Where each of them will be.
    let mut kept = 0;
    let places: Vec<Option<u32>> = counts
        .into_iter()
        .map(|count: usize| {
            kept += u32::from(count >= least);
            (count >= least).then(|| kept - 1)
        })
        .collect();
    let values = centres.values().chunks_exact(d).zip(&places).filter(|(_, place)| place.is_some());
    let centres = Centroids::new(d, values.flat_map(|(centre, _)| centre).copied().collect());
    let (mut left, mut rows) = (Vec::new(), Vec::new());
    for (id, label) in labels.iter_mut().enumerate() {
        match places[*label as usize] {
            Some(place) => *label = place,
            None => {
                left.push(id);
                rows.extend_from_slice(centroids.row(id));
            }
        }
    }
    for (id, label) in left.into_iter().zip(self::labels(&centres, &rows)) {
        labels[id] = label;
    }
    (centres, labels)
}

fn labels(centres: &Centroids, rows: &[f32]) -> Vec<u32> {
    let d = centres.dimension();
    let mut labels = vec![0; rows.len() / d];
    let blocks = labels.par_chunks_mut(BLOCK).zip(rows.par_chunks(BLOCK * d));
    blocks.for_each(|(labels, rows)| assign(centres, rows, labels));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made::blobs;

    #[test]
    fn each_centroid_is_in_one_cell() {
        for (k, d, centres) in [(1, 3, 1), (20, 1, 3), (300, 5, 7), (3000, 12, 50)] {
            let centroids = Centroids::new(d, blobs(k, d, centres, 4));
            let (centres, cells) = form(&centroids);
            assert_eq!(centres.len(), cells.len());
            let mut all: Vec<u32> = cells.iter().flat_map(|cell| cell.ids.clone()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..k as u32).collect::<Vec<_>>());
            for cell in &cells {
                assert!(cell.ids.is_sorted() && cell.panels.len() == cell.ids.len());
            }
        }
    }

    #[test]
    fn equal_centroids_share_a_cell() {
        let (centres, cells) = form(&Centroids::new(2, vec![1.5; 600]));
        assert_eq!((centres.len(), cells[0].ids.len()), (1, 300));
    }
}
