//! How bounds follow the movement of centroids.

use rayon::prelude::*;

use super::layout::{LANES, Layout};
use super::margin::{Margin, limited, upper_from_square};
use super::units::Unit;
use super::{Centroids, squared_distance};
use crate::kmeans::kernel::{self, Panels, Top};

/// Distances between centroids are computed up to this many.
const MOST: usize = 2048;
/// Centroids whose distances are computed together, by one thread. The result does not depend on it.
const PART: usize = 64;
/// Covers the rounding of one sum in `f32`.
const UP: f32 = 1.0 + 1.0 / (1u32 << 22) as f32;

/// The movement of all centroids since the pass before, and where they are now.
#[derive(Clone, Debug)]
pub(crate) struct Movement {
    /// At least each centroid's movement.
    own: Vec<f32>,
    /// At least the movement of each group's centroids, in units.
    pub(crate) groups: Vec<u16>,
    /// At most the distance of each centroid to another one of each group, in units, one line per centroid.
    near: Vec<u16>,
}

impl Movement {
    /// Without previous centroids, all have moved infinitely far.
    pub(super) fn new(
        centroids: &Centroids,
        previous: Option<&Centroids>,
        layout: &Layout,
        panels: &Panels,
        margin: &Margin,
        unit: Unit,
    ) -> Self {
        let (k, d) = (centroids.len(), centroids.dimension());
        let stride = layout.groups().next_multiple_of(LANES);
        let own: Vec<f32> = match previous {
            None => vec![f32::INFINITY; k],
            Some(previous) => {
                assert!(previous.len() == k && previous.dimension() == d, "centroids of different shapes");
                let pairs = centroids.values().chunks_exact(d).zip(previous.values().chunks_exact(d));
                pairs.map(|(a, b)| if a == b { 0.0 } else { upper_from_square(squared_distance(a, b), d) }).collect()
            }
        };
        let mut groups = vec![0; stride];
        for (&moved, &group) in own.iter().zip(&layout.group) {
            let moved = if moved == 0.0 { 0 } else { unit.above(moved.into()) };
            groups[group as usize] = moved.max(groups[group as usize]);
        }
        let near = if previous.is_some() && k <= MOST {
            distances(centroids, layout, panels, margin, unit, stride)
        } else {
            vec![0; k * stride]
        };
        Self { own, groups, near }
    }

    /// The upper bound of a row after the movement.
    #[inline(always)]
    pub(crate) fn upper(&self, label: u32, upper: f32) -> f32 {
        limited((upper + self.own[label as usize]) * UP)
    }

    /// The line of a centroid in the table of distances.
    #[inline(always)]
    pub(crate) fn near(&self, label: u32) -> &[[u16; LANES]] {
        let stride = self.groups.len();
        self.near[label as usize * stride..][..stride].as_chunks().0
    }
}

/// Lower bounds of the distance of each centroid to another one of each group, by the kernel, as for rows.
fn distances(
    centroids: &Centroids,
    layout: &Layout,
    panels: &Panels,
    margin: &Margin,
    unit: Unit,
    stride: usize,
) -> Vec<u16> {
    let (k, d) = (centroids.len(), centroids.dimension());
    let mut near = vec![0; k * stride];
    let parts = centroids.values().par_chunks(PART * d).zip(near.par_chunks_mut(PART * stride));
    parts.enumerate().for_each(|(part, (values, near))| {
        let first = part * PART;
        let rows: Vec<u32> = (0..(values.len() / d) as u32).collect();
        let mut tops = vec![Top::NONE; rows.len()];
        let mut scores = vec![f32::NAN; rows.len() * stride];
        // A centroid's own score; where another is as good, it is not a number, and so is nothing known.
        let mut own = vec![f32::NAN; rows.len()];
        for panel in 0..panels.count() {
            let group = panel / layout.panels;
            kernel::tops(panels, panel, values, &rows, &mut tops);
            let ids = &layout.ids[panel * kernel::WIDTH..];
            for (i, top) in tops.iter().enumerate() {
                let itself = ids[top.lane as usize] as usize == first + i;
                if itself {
                    own[i] = top.best;
                }
                let score = &mut scores[i * stride + group];
                *score = score.max(if itself { top.second } else { top.best });
            }
        }
        let base = |(id, own): (u32, f32)| 2.0 * f64::from(own) - margin.width(id, 0.0);
        let bases: Vec<f64> = (first as u32..).zip(own).map(base).collect();
        kernel::exclude(&rows, &bases, &scores, stride, unit.factor(), near);
    });
    near
}
