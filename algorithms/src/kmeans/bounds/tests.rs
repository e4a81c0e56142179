//! Labels after every pass against the kernel's, bounds against exact distances, running sums against fresh ones.

use proptest::prelude::*;

use super::*;
use crate::fixed::Scale;
use crate::kmeans::{Partial, assign, inertia_of, update};
use crate::made::half_way;
use crate::metric::Metric;
use crate::random::{Purpose, Stream};

/// A run of passes that is checked after each.
struct Run {
    d: usize,
    rows: Vec<f32>,
    scale: Scale,
    block: usize,
    labels: Vec<u32>,
    upper: Vec<f32>,
    lower: Vec<u16>,
    sums: Partial,
    previous: Option<Pruner>,
    buffers: PruneBuffers,
}

impl Run {
    fn new(d: usize, rows: Vec<f32>, k: usize, block: usize) -> Self {
        let n = rows.len() / d;
        let largest: Vec<f32> =
            (0..d).map(|j| rows.iter().skip(j).step_by(d).fold(0.0f32, |max, v| max.max(v.abs()))).collect();
        Self {
            scale: Scale::new(&largest, n as u64),
            block,
            labels: vec![0; n],
            upper: vec![f32::NAN; n],
            lower: vec![9; n * Pruner::stride(k, d)],
            sums: Partial::new(k, d),
            previous: None,
            buffers: PruneBuffers::default(),
            d,
            rows,
        }
    }

    /// A pass block by block; gives the number of rows that had to be looked at.
    fn pass(&mut self, centroids: &Centroids) -> usize {
        let pruner = Pruner::new(centroids.clone(), self.previous.as_ref());
        let first = self.previous.is_none();
        let stride = Pruner::stride(centroids.len(), self.d);
        let (mut survivors, mut changes, mut looked) = (Vec::new(), Vec::new(), 0);
        let blocks = self.rows.chunks(self.block * self.d).zip(self.labels.chunks_mut(self.block));
        let blocks = blocks.zip(self.upper.chunks_mut(self.block).zip(self.lower.chunks_mut(self.block * stride)));
        for ((rows, labels), (upper, lower)) in blocks {
            let mut bounds = RowBounds { labels, upper, lower };
            if first {
                pruner.fresh(rows, &mut bounds, &mut self.buffers);
                self.sums.add_rows_only(&self.scale, rows, bounds.labels);
                looked += bounds.labels.len();
                continue;
            }
            let before = bounds.labels.to_vec();
            pruner.drift(&mut bounds, &mut survivors);
            assert!(survivors.is_sorted_by(|a, b| a < b));
            looked += survivors.len();
            changes.clear();
            pruner.settle(rows, &mut bounds, &survivors, &mut changes, &mut self.buffers);
            let changed = before.iter().zip(bounds.labels.iter()).enumerate().filter(|(_, (old, new))| old != new);
            let changed: Vec<(u32, u32)> = changed.map(|(i, (&old, _))| (i as u32, old)).collect();
            assert_eq!(changes, changed);
            for &(position, old) in &changes {
                let i = position as usize;
                self.sums.move_row(&self.scale, &rows[i * self.d..][..self.d], old, bounds.labels[i]);
            }
        }
        self.check(&pruner);
        self.previous = Some(pruner);
        looked
    }

    fn check(&self, pruner: &Pruner) {
        let centroids = &pruner.centroids;
        let stride = pruner.movement.groups.len();
        let mut labels = vec![0; self.labels.len()];
        assign(centroids, &self.rows, &mut labels);
        assert_eq!(self.labels, labels);
        let mut sums = Partial::new(centroids.len(), self.d);
        sums.add_rows(centroids, &self.scale, &self.rows, &labels);
        assert_eq!((&self.sums.sums, &self.sums.counts), (&sums.sums, &sums.counts));
        for (i, row) in self.rows.chunks_exact(self.d).enumerate() {
            for (j, centroid) in (0u32..).zip(centroids.values().chunks_exact(self.d)) {
                let distance = squared_distance(row, centroid).sqrt();
                if j == labels[i] {
                    assert!(f64::from(self.upper[i]) >= distance, "{} is below {distance}", self.upper[i]);
                } else {
                    // Up to rounding of the distance itself.
                    let most = distance * (1.0 + 1e-12) * pruner.unit.factor();
                    let lower = self.lower[i * stride + pruner.layout.group[j as usize] as usize];
                    assert!(f64::from(lower) <= most, "{lower} is above {most}");
                }
            }
            let padding = &self.lower[i * stride..][pruner.layout.groups()..stride];
            assert!(padding.iter().all(|&lower| lower == u16::MAX));
        }
    }

    fn step(&self, centroids: &Centroids) -> Centroids {
        Centroids::new(self.d, update(Metric::Euclidean, centroids, &self.sums, &self.scale).centroids)
    }
}

/// How to get from one pass to the next.
#[derive(Clone, Debug)]
enum Step {
    /// To the means.
    Lloyd,
    /// Nothing moves.
    Stay,
    /// One centroid goes to a row.
    Jump(usize, usize),
    /// One becomes equal to another.
    Merge(usize, usize),
    /// One goes to the middle of two others.
    Middle(usize, usize, usize),
    /// All change places with their neighbour in the list.
    Rotate,
    /// All shift by one unit in the last place or a few.
    Nudge(u8),
    /// One goes far away.
    Far(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any = 0usize..1000;
    let step = prop_oneof![
        6 => Just(Step::Lloyd),
        1 => Just(Step::Stay),
        2 => (any.clone(), any.clone()).prop_map(|(a, b)| Step::Jump(a, b)),
        1 => (any.clone(), any.clone()).prop_map(|(a, b)| Step::Merge(a, b)),
        1 => (any.clone(), any.clone(), any.clone()).prop_map(|(a, b, c)| Step::Middle(a, b, c)),
        1 => Just(Step::Rotate),
        1 => (0u8..4).prop_map(Step::Nudge),
        1 => any.prop_map(Step::Far),
    ];
    prop::collection::vec(step, 1..25)
}

/// Values that make ties, and values of all sizes. The last two overflow: bounds must give up, not lie.
fn value(kind: u8) -> BoxedStrategy<f32> {
    match kind {
        0 | 1 => (-2i8..=2).prop_map(f32::from).boxed(),
        2..=4 => (-1.0f32..1.0).boxed(),
        5 => prop_oneof![Just(0.0f32), (0u32..0x80_0000).prop_map(f32::from_bits)].boxed(),
        6 => (-1.0f32..1.0).prop_map(|v| v * 1e-20).boxed(),
        7 => (-1.0f32..1.0).prop_map(|v| v * 1e17).boxed(),
        8 => prop_oneof![(-1e-3f32..1e-3), (-1e6f32..1e6)].boxed(),
        9 => (-1.0f32..1.0).prop_map(|v| v * 1e19).boxed(),
        _ => (-1.0f32..1.0).prop_map(|v| v * 1e30).boxed(),
    }
}

prop_compose! {
    fn problem()(d in prop_oneof![1usize..6, 1usize..40], k in prop_oneof![1usize..8, 1usize..80], n in prop_oneof![1usize..120, 1usize..400], kind in 0u8..11)
        (values in prop::collection::vec(value(kind), (k + n) * d),
         offset in prop_oneof![4 => Just(0.0f32), 1 => Just(1.0), 1 => Just(100.0), 1 => Just(1e4)],
         middles in prop::collection::vec((0usize..1000, 0usize..1000), 0..60),
         d in Just(d), k in Just(k), n in Just(n))
        -> (usize, usize, Vec<f32>, Vec<f32>) {
        let mut values = values;
        values.iter_mut().for_each(|v| *v += offset);
        let (centroids, rows) = values.split_at_mut(k * d);
        // Rows half way between two centroids, or equal to one, or to another row.
        for (row, &(a, b)) in rows.chunks_exact_mut(d).zip(&middles) {
            let (a, b) = (&centroids[a % k * d..][..d], &centroids[b % k * d..][..d]);
            for (x, (a, b)) in row.iter_mut().zip(a.iter().zip(b)) {
                *x = 0.5 * a + 0.5 * b;
            }
        }
        let rows = rows[..n * d].to_vec();
        (d, k, centroids.to_vec(), rows)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn labels_and_sums_are_exact_after_every_pass(
        (d, k, centroids, rows) in problem(), steps in steps(), block in 1usize..500,
    ) {
        let mut run = Run::new(d, rows, k, block);
        let mut centroids = Centroids::new(d, centroids);
        run.pass(&centroids);
        for step in steps {
            let mut values = centroids.values().to_vec();
            match step {
                Step::Lloyd => values = run.step(&centroids).values().to_vec(),
                Step::Stay => {}
                Step::Jump(j, i) => {
                    let i = i % run.labels.len();
                    values[j % k * d..][..d].copy_from_slice(&run.rows[i * d..][..d]);
                }
                Step::Merge(a, b) => values.copy_within(a % k * d..(a % k + 1) * d, b % k * d),
                Step::Middle(a, b, c) => for j in 0..d {
                    values[c % k * d + j] = 0.5 * values[a % k * d + j] + 0.5 * values[b % k * d + j];
                },
                Step::Rotate => values.rotate_left(d),
                Step::Nudge(by) => for (j, value) in values.iter_mut().enumerate() {
                    for _ in 0..(j + usize::from(by)) % 4 {
                        *value = if by % 2 == 0 { value.next_up() } else { value.next_down() };
                    }
                },
                Step::Far(a) => values[a % k * d..][..d].iter_mut().for_each(|v| *v = (*v * 50.0).clamp(-1e38, 1e38)),
            }
            centroids = Centroids::new(d, values);
            run.pass(&centroids);
        }
    }

    /// Rows within rounding of half way between centroids that keep moving by a few units in the last place.
    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn near_ties_are_never_skipped_wrongly(d in 1usize..70, seed: u64, offset in -3.0f32..3.0, passes in 1usize..12) {
        let stream = Stream::new(seed, Purpose::Generate, 0);
        let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
        let (k, n) = (6, 90);
        let mut values: Vec<f32> = (0..k * d).map(|i| number(i) + offset).collect();
        let rows = half_way(&values, d, n, stream);
        let mut run = Run::new(d, rows, k, 64);
        for pass in 0..passes {
            run.pass(&Centroids::new(d, values.clone()));
            for (i, value) in values.iter_mut().enumerate() {
                let nudge = (number(99_999 + pass * k * d + i) * 5.0) as i32;
                *value = f32::from_bits(value.to_bits().wrapping_add_signed(nudge));
            }
        }
    }
}

/// Rows around `k` centres.
fn blobs(n: usize, d: usize, k: usize, spread: f32) -> Vec<f32> {
    let stream = Stream::new(3, Purpose::Generate, 0);
    let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
    (0..n * d).map(|i| number(i / d % k * d + i % d) + spread * number(k * d + i)).collect()
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn most_rows_are_skipped_on_blobs() {
    for (n, d, k, spread) in [(5000, 16, 32, 0.5), (3000, 70, 20, 1.0), (4000, 2, 1100, 0.01), (100, 3, 1, 1.0)] {
        let rows = blobs(n, d, k, spread);
        let mut run = Run::new(d, rows.clone(), k, 1000);
        let mut centroids = Centroids::new(d, rows[..k * d].to_vec());
        let mut looked = run.pass(&centroids);
        assert_eq!(looked, n);
        for _ in 0..8 {
            centroids = run.step(&centroids);
            looked = run.pass(&centroids);
        }
        assert!(looked < n / 10, "{looked} of {n} rows looked at, d = {d}, k = {k}");
    }
}

/// Blocks of more rows than are copied together, of which nearly all, some or few are open.
#[test]
#[cfg_attr(miri, ignore = "slow")]
fn large_blocks() {
    for (n, d, k, spread) in [(3000, 9, 40, 2.0), (2500, 33, 20, 1.5), (3000, 3, 100, 0.7)] {
        let rows = blobs(n, d, k, spread);
        let mut run = Run::new(d, rows.clone(), k, 1300);
        let mut centroids = Centroids::new(d, rows[..k * d].to_vec());
        let mut shares = [false; 3];
        for _ in 0..40 {
            let looked = run.pass(&centroids);
            shares[if looked > n / 8 * 7 { 0 } else { 1 + usize::from(looked < n / 2) }] = true;
            centroids = run.step(&centroids);
        }
        assert_eq!(shares, [true; 3]);
    }
}

#[test]
fn one_centroid_needs_no_rows() {
    let mut run = Run::new(2, vec![1.0, 2.0, 3.0, 4.0], 1, 10);
    run.pass(&Centroids::new(2, vec![1.0, 1.0]));
    assert_eq!(run.lower[0], u16::MAX - 1);
    assert_eq!(run.pass(&Centroids::new(2, vec![-2.0, 1.0])), 0);
}

#[test]
fn equal_centroids_are_always_looked_at() {
    let mut run = Run::new(1, vec![1.0, 2.0, 3.0], 2, 10);
    let centroids = Centroids::new(1, vec![2.0, 2.0]);
    for _ in 0..3 {
        assert_eq!(run.pass(&centroids), 3);
    }
}

#[test]
fn inertia_from_sums() {
    for spread in [0.1, 1.0] {
        let (n, d, k) = (2000, 9, 12);
        let rows = blobs(n, d, k, spread);
        let mut run = Run::new(d, rows.clone(), k, 300);
        let mut centroids = Centroids::new(d, rows[..k * d].to_vec());
        let total: f64 = rows.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        for _ in 0..4 {
            run.pass(&centroids);
            let mut full = Partial::new(k, d);
            full.add_rows(&centroids, &run.scale, &rows, &run.labels);
            let inertia = inertia_of(&centroids, &run.sums, &run.scale, total);
            assert!((inertia - run.scale.distance2(full.inertia)).abs() <= total * 1e-11);
            centroids = run.step(&centroids);
        }
    }
    // Rounding never makes it negative.
    let scale = Scale::new(&[0.1], 1);
    let mut partial = Partial::new(1, 1);
    partial.add_rows_only(&scale, &[0.1], &[0]);
    assert_eq!(inertia_of(&Centroids::new(1, vec![0.1]), &partial, &scale, 0.0), 0.0);
}
