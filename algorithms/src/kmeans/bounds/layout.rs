//! Which centroids share a bound.

use super::{Centroids, squared_distance};
use crate::kmeans::kernel::WIDTH;

/// Bounds are padded to a multiple of this many.
pub(crate) const LANES: usize = 8;
/// Most bounds per row.
const MOST: usize = 64;

/// The grouping of centroids, which stays as long as bounds are kept.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The centroids, group after group; ascending within each panel of the kernel.
    pub(super) ids: Vec<u32>,
    /// Group of each centroid.
    pub(super) group: Vec<u32>,
    /// Panels of the kernel per group, but for the last.
    pub(super) panels: usize,
}

impl Layout {
    /// Groups centroids that are near each other.
    pub(super) fn new(centroids: &Centroids) -> Self {
        let k = centroids.len();
        let mut ids: Vec<u32> = (0..k as u32).collect();
        let panels = k.div_ceil(WIDTH).div_ceil(most(centroids.dimension()));
        arrange(centroids, panels * WIDTH, &mut ids);
        let mut group = vec![0; k];
        for (place, &id) in ids.iter().enumerate() {
            group[id as usize] = (place / (panels * WIDTH)) as u32;
        }
        Self { ids, group, panels }
    }

    /// Number of groups.
    pub(super) fn groups(&self) -> usize {
        self.ids.len().div_ceil(self.panels * WIDTH)
    }
}

/// Bounds of a row of `d` columns for `k` centroids, with padding.
pub(super) fn stride(k: usize, d: usize) -> usize {
    let panels = k.div_ceil(WIDTH);
    panels.div_ceil(panels.div_ceil(most(d))).next_multiple_of(LANES)
}

/// Most bounds per row: they take at most half the room of the row itself, or 16 bytes.
fn most(d: usize) -> usize {
    d.next_multiple_of(LANES).clamp(LANES, MOST)
}

/// Halves the centroids again and again between two that are far apart, at multiples of `size` and then of a panel.
fn arrange(centroids: &Centroids, size: usize, ids: &mut [u32]) {
    if ids.len() <= WIDTH {
        ids.sort_unstable();
        return;
    }
    let row = |id: u32| centroids.row(id as usize);
    let farthest = |from: u32, ids: &[u32]| {
        let distance = |&id: &u32| squared_distance(row(from), row(id));
        ids.iter().copied().max_by(|a, b| distance(a).total_cmp(&distance(b)).then(b.cmp(a))).unwrap_or(from)
    };
    let a = farthest(ids[0], ids);
    let b = farthest(a, ids);
    let side = |id: u32| squared_distance(row(id), row(a)) - squared_distance(row(id), row(b));
    let mut sides: Vec<(f64, u32)> = ids.iter().map(|&id| (side(id), id)).collect();
    sides.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (place, (_, id)) in ids.iter_mut().zip(sides) {
        *place = id;
    }
    let unit = if ids.len() > size { size } else { WIDTH };
    let (left, right) = ids.split_at_mut(ids.len().div_ceil(unit) / 2 * unit);
    arrange(centroids, size, left);
    arrange(centroids, size, right);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_centroids_share_a_group() {
        for (k, d) in [(1, 1), (16, 2), (17, 2), (40, 1), (100, 3), (1500, 2), (1100, 128)] {
            let values = (0..k * d).map(|i| (i / d * 7 % k) as f32).collect();
            let layout = Layout::new(&Centroids::new(d, values));
            let mut sorted = layout.ids.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..k as u32).collect::<Vec<_>>());
            assert!(layout.groups() <= stride(k, d) && stride(k, d) <= layout.groups().next_multiple_of(LANES));
            assert!(layout.ids.chunks(WIDTH).all(<[u32]>::is_sorted));
            let size = layout.panels * WIDTH;
            for (g, ids) in layout.ids.chunks(size).enumerate() {
                assert!(ids.iter().all(|&id| layout.group[id as usize] == g as u32));
                // On a line, a group is an interval.
                let places: Vec<usize> = ids.iter().map(|&id| id as usize * 7 % k).collect();
                let spread = places.iter().max().unwrap() - places.iter().min().unwrap();
                assert!(spread < size, "k = {k}, group {g}: {places:?}");
            }
        }
    }
}
