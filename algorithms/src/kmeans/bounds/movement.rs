//! How bounds follow the movement of centroids.

use rayon::prelude::*;

use super::margin::{limited, lower_from_square, upper_from_square};
use super::{Centroids, squared_distance};
use crate::kmeans::kernel::WIDTH;

/// Distances between centroids are computed up to this many.
const MOST: usize = 1024;
/// Below so many numbers in all centroids, the kernel is quicker than to look at the far movers first. Tests always do.
const WORTH: usize = if cfg!(test) { 1 } else { 8192 };
/// Numbers of far movers that are tried.
const LEVELS: usize = 8;
/// Cover the rounding of one sum or difference in `f32`.
const UP: f32 = 1.0 + 1.0 / (1u32 << 22) as f32;
const DOWN: f32 = 1.0 - 1.0 / (1u32 << 22) as f32;

/// What happened around a centroid. Entry i is about the `t_i` centroids that moved farthest.
#[derive(Clone, Debug)]
struct Around {
    /// At most the distance from this centroid to the nearest of these.
    near: [f32; LEVELS],
    /// At least the movement of every other one that is not among these; minus infinity if there is none.
    rest: [f32; LEVELS],
    /// At least its own movement.
    own: f32,
}

/// The movement of all centroids since the pass before.
#[derive(Clone, Debug)]
pub(super) struct Movement {
    around: Vec<Around>,
    /// For some levels, fewest first, the centroids that moved farthest.
    pub(super) movers: Vec<Movers>,
}

/// The centroids that moved farthest.
#[derive(Clone, Debug)]
pub(super) struct Movers {
    level: usize,
    /// Their indices, ascending.
    pub(super) ids: Vec<u32>,
    pub(super) centroids: Centroids,
}

impl Movement {
    /// Without previous centroids, all have moved infinitely far.
    pub(super) fn new(centroids: &Centroids, previous: Option<&Centroids>) -> Self {
        let (k, d) = (centroids.len(), centroids.dimension());
        let moves: Vec<f32> = match previous {
            None => vec![f32::INFINITY; k],
            Some(previous) => {
                assert!(previous.len() == k && previous.dimension() == d, "centroids of different shapes");
                let pairs = centroids.values().chunks_exact(d).zip(previous.values().chunks_exact(d));
                pairs.map(|(a, b)| if a == b { 0.0 } else { upper_from_square(squared_distance(a, b), d) }).collect()
            }
        };
        let mut order: Vec<u32> = (0..k as u32).collect();
        order.sort_by(|&a, &b| moves[b as usize].total_cmp(&moves[a as usize]));
        let known = previous.is_some() && k <= MOST;
        let tops = [0, 1, k >> 6, k >> 4, k >> 3, k >> 2, k >> 1, k];
        let around = (0..k)
            .into_par_iter()
            .map(|a| {
                let (mut near, mut rest) = ([f32::INFINITY; LEVELS], [f32::NEG_INFINITY; LEVELS]);
                let (mut nearest, mut seen) = (f64::INFINITY, 0);
                for (level, &top) in tops.iter().enumerate() {
                    for &j in order.get(seen..top).unwrap_or_default() {
                        if j as usize != a {
                            let square =
                                if known { squared_distance(centroids.row(a), centroids.row(j as usize)) } else { 0.0 };
                            nearest = nearest.min(square);
                        }
                        if !known {
                            break;
                        }
                    }
                    seen = seen.max(top);
                    near[level] =
                        if nearest < f64::INFINITY { lower_from_square(nearest, 0.0, d) } else { f32::INFINITY };
                    if let Some(&j) = order[seen..].iter().find(|&&j| j as usize != a) {
                        rest[level] = moves[j as usize];
                    }
                }
                Around { near, rest, own: moves[a] }
            })
            .collect::<Vec<_>>();
        let mut movers: Vec<Movers> = Vec::new();
        let mut most = 0;
        for (level, &top) in tops.iter().enumerate() {
            most = most.max(top);
            if previous.is_none() || k * d < WORTH || most == 0 || most > k / 4 {
                continue;
            }
            // As many panels take as long: only the most movers of these.
            movers.pop_if(|last| last.ids.len().div_ceil(WIDTH) == most.div_ceil(WIDTH));
            let mut ids = order[..most].to_vec();
            ids.sort_unstable();
            let values = ids.iter().flat_map(|&j| centroids.row(j as usize)).copied().collect();
            movers.push(Movers { level, ids, centroids: Centroids::new(d, values) });
        }
        Self { movers, around }
    }

    /// The upper bound of a row after the movement.
    #[inline(always)]
    pub(super) fn upper(&self, label: u32, upper: f32) -> f32 {
        limited((upper + self.around[label as usize].own) * UP)
    }

    /// The lower bound of a row after the movement, from that before and the upper bound after.
    #[inline(always)]
    pub(super) fn lower(&self, label: u32, lower: f32, upper: f32) -> f32 {
        let around = &self.around[label as usize];
        let mut least = [0.0; LEVELS];
        for (level, least) in least.iter_mut().enumerate() {
            let (others, movers) = (lower - around.rest[level], around.near[level] - upper);
            // If `movers` is not a number, there are none.
            *least = if movers < others { movers } else { others };
        }
        let greater = |a: f32, b: f32| if a > b { a } else { b };
        let four: [f32; 4] = std::array::from_fn(|i| greater(least[i], least[i + 4]));
        let best = greater(greater(four[0], four[2]), greater(four[1], four[3]));
        let best = greater(best, 0.0);
        best * DOWN
    }

    /// A lower bound of a row's distance to all other centroids but `movers`, from the lower bound before the movement.
    #[inline(always)]
    pub(super) fn rest(&self, movers: &Movers, label: u32, lower: f32) -> f32 {
        ((lower - self.around[label as usize].rest[movers.level]) * DOWN).max(0.0)
    }
}
