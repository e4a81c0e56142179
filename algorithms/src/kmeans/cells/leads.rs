//! How far the centroids of a cell lean towards other cells.

use rayon::prelude::*;

use super::super::Centroids;
use super::super::bounds::rounding;
use super::super::kernel::{self, raise_differences, within_reach};
use super::form::Cell;

/// Centroids that are scored together.
const BLOCK: usize = 48;
/// More than what a few roundings to `f32` can make of a number, relative to it.
const ROUNDED: f64 = 1.0 / (1u64 << 22) as f64;

/// How far the kernel's scores for some vectors can be off: E of [`bounds`](super::super::bounds).
#[derive(Clone, Copy, Debug)]
pub(super) struct Margin {
    rounding: f64,
    /// At least the length of the longest of these vectors.
    pub(super) longest: f64,
    least: f64,
}

impl Margin {
    pub(super) fn new(vectors: &Centroids) -> Self {
        let d = vectors.dimension();
        Self {
            rounding: rounding(d),
            longest: vectors.panels().longest(),
            least: (d + 2) as f64 * f64::from(f32::from_bits(1)),
        }
    }

    /// For a row that is at most so long.
    pub(super) fn of(&self, length: f64) -> f64 {
        self.rounding * self.largest(length) + self.least
    }

    /// At least the magnitude of a score of such a row, rounded or not.
    fn largest(&self, length: f64) -> f64 {
        self.longest * (length + 0.5 * self.longest)
    }
}

/// A line of numbers for each cell `a`, with one for each cell `b`.
#[derive(Debug)]
pub(super) struct Leads {
    /// Numbers per line: those of the centres' scores, with padding.
    stride: usize,
    /// At least the distance between the centres.
    spans: Vec<f32>,
    /// At least the score for `a` less that for `b` of any centroid of `b`.
    leads: Vec<f32>,
    /// The greatest magnitudes.
    most_span: f64,
    most_lead: f64,
    margin: Margin,
}

impl Leads {
    /// Takes as long as assigning the centroids to the centres.
    pub(super) fn new(centroids: &Centroids, centres: &Centroids, cells: &[Cell]) -> Self {
        let panels = centres.panels();
        let stride = panels.count() * kernel::WIDTH;
        let margin = Margin::new(centres);
        let error = 2.0 * margin.of(centroids.panels().longest());
        let column = |(rows, scores): &mut (Vec<f32>, Vec<f32>), (b, cell): (usize, &Cell)| {
            let mut leads = vec![f32::NEG_INFINITY; stride];
            for ids in cell.ids.chunks(BLOCK) {
                rows.clear();
                rows.extend(ids.iter().flat_map(|&id| centroids.row(id as usize)));
                scores.resize(ids.len() * stride, 0.0);
                kernel::scores(panels, rows, scores);
                raise_differences(scores, b, &mut leads);
            }
            leads.iter_mut().for_each(|lead| *lead = above(f64::from(*lead) + error));
            // Half the square of a distance is the difference of the scores of one end.
            scores.resize(stride, 0.0);
            kernel::scores(panels, centres.row(b), scores);
            // Beyond the cells is padding, which no line takes.
            let half = |&score: &f32| f64::from(scores[b]) - f64::from(score) + error;
            let spans = scores.iter().map(|score| above((2.0 * half(score).max(0.0)).sqrt()));
            (spans.collect::<Vec<f32>>(), leads)
        };
        let columns: Vec<(Vec<f32>, Vec<f32>)> =
            cells.par_iter().enumerate().map_init(Default::default, |buffers, at| column(buffers, at)).collect();
        let (mut spans, mut leads) = (vec![0.0; cells.len() * stride], vec![0.0; cells.len() * stride]);
        let lines = spans.par_chunks_exact_mut(stride).zip(leads.par_chunks_exact_mut(stride));
        lines.enumerate().for_each(|(a, (spans, leads))| {
            for ((span, lead), column) in spans.iter_mut().zip(leads).zip(&columns) {
                (*span, *lead) = (column.0[a], column.1[a]);
            }
        });
        let most = |values: &[f32]| values.iter().fold(0.0, |most: f32, value| most.max(value.abs())).into();
        Self { stride, most_span: most(&spans), most_lead: most(&leads), spans, leads, margin }
    }

    /// Numbers per row in the scores for the centres.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Adds the cells, but for `home`, that may hold a centroid within `reach` of a row that is at most `length` long and has these
    /// `scores` for the centres.
    pub(super) fn within(&self, home: usize, scores: &[f32], length: f64, reach: f64, found: &mut Vec<u32>) {
        let line = home * self.stride..(home + 1) * self.stride;
        let reach = above(reach);
        let rounded = self.margin.largest(length) + self.most_span * f64::from(reach) + self.most_lead;
        let error = 2.0 * self.margin.of(length) + ROUNDED * rounded + f64::from(f32::MIN_POSITIVE);
        let least = -above(error - f64::from(scores[home]));
        let first = found.len();
        within_reach(scores, &self.spans[line.clone()], &self.leads[line], reach, least, found);
        if let Some(place) = found[first..].iter().position(|&cell| cell as usize == home) {
            found.remove(first + place);
        }
    }
}

/// An `f32` that is no less than `value`, nor than what roundings to `f32` have taken from it.
fn above(value: f64) -> f32 {
    (value + ROUNDED * value.abs() + f64::from(f32::MIN_POSITIVE)) as f32
}
