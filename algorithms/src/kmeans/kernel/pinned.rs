//! The bits that every machine must give, as constants: all paths of one machine may agree, and yet differ from those of another.
//!
//! A constant changes only with the definition of a result. Models of before then differ from new ones, which belongs into the changelog.

use xxhash_rust::xxh3::Xxh3;

use super::bytes::byte_scores_at;
use super::widened::both;
use super::*;
use crate::features::{self, Moments, Step, Transform};
use crate::fixed::Scale;
use crate::kmeans::Centroids;
use crate::kmeans::init::k_means_plus_plus;
use crate::kmeans::local::{Fit, lloyd};
use crate::lsh::{Family, SignFamily, StableFamily};
use crate::made::blobs;
use crate::metric::Metric;
use crate::random;
use crate::score::silhouette;

/// Columns: two steps of eight, and a remainder.
const D: usize = 19;
/// Centroids: two panels and a remainder.
const K: usize = 37;
/// Rows: tiles of every path, and a remainder.
const N: usize = 155;

/// A digest of numbers as they are in memory.
#[derive(Default)]
struct Digest(Xxh3);

impl Digest {
    fn with<T>(mut self, numbers: impl IntoIterator<Item = T>, bits: impl Fn(T) -> u128) -> Self {
        numbers.into_iter().for_each(|number| self.0.update(&bits(number).to_le_bytes()));
        self
    }

    fn floats(self, numbers: &[f32]) -> Self {
        self.with(numbers, |number| number.to_bits().into())
    }

    fn doubles(self, numbers: &[f64]) -> Self {
        self.with(numbers, |number| number.to_bits().into())
    }

    fn labels(self, numbers: &[u32]) -> Self {
        self.with(numbers, |&number| number.into())
    }

    fn integers(self, numbers: impl IntoIterator<Item = impl Into<i128>>) -> Self {
        self.with(numbers, |number| number.into() as u128)
    }
}

fn check(name: &str, digest: Digest, expected: u64) {
    let found = digest.0.digest();
    assert_eq!(found, expected, "{name}: {found:#018x}, not {expected:#018x}");
}

/// Rows and centroids.
fn data() -> (Vec<f32>, Centroids) {
    (blobs(N, D, 9, 1), Centroids::new(D, blobs(K, D, 9, 2)))
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn assignment() {
    let (rows, centroids) = data();
    let panels = centroids.panels();
    let positions: Vec<u32> = (0..N as u32).collect();
    for level in Level::available() {
        let (mut best, mut second) = (vec![0; N], vec![0; N]);
        assign_at(level, panels, &rows, &mut best);
        check("labels", Digest::default().labels(&best), 0x57b8_31b0_8454_b3ec);
        assign_two_at(level, panels, &rows, &mut best, &mut second);
        check("two labels", Digest::default().labels(&best).labels(&second), 0x6ac7_b1ca_b4ac_0829);
        let mut all = vec![0.0; N * panels.count() * WIDTH];
        scores_at(level, panels, &rows, &mut all);
        check("scores", Digest::default().floats(&all), 0xa09c_3cdf_88bd_1612);
        let mut tops = vec![Top::NONE; N];
        tops_at(level, panels, 1, &rows, &positions, &mut tops);
        let digest = tops
            .iter()
            .fold(Digest::default(), |digest, top| digest.floats(&[top.best, top.second]).labels(&[top.lane]));
        check("tops", digest, 0xddb9_6bc5_08c7_4f14);
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn bytes() {
    let (rows, centroids) = data();
    let step = 0.0125;
    let packed: Vec<ByteCentroid> = centroids
        .values()
        .chunks_exact(D)
        .map(|centroid| ByteCentroid {
            bytes: centroid.iter().map(|value| (value * 40.0) as i8).collect(),
            scale: 0.37,
            bias: centroid[0] - 1.0,
            error: centroid[1],
        })
        .collect();
    let panels = BytePanels::new(D, &packed);
    let mut quantised = vec![0; N * panels.row_stride()];
    for (row, bytes) in rows.chunks_exact(D).zip(quantised.chunks_exact_mut(panels.row_stride())) {
        quantise(row, step, 1.0 / step, &mut bytes[..D]);
    }
    let factors: Vec<Factors> =
        rows.chunks_exact(D).map(|row| Factors { bias: 50.0 + row[2], error: row[3] }).collect();
    for level in Level::available() {
        let mut scores = vec![0; N * panels.score_stride()];
        byte_scores_at(level, &panels, &quantised, &factors, &mut scores);
        check("scores from bytes", Digest::default().integers(scores), 0x201e_bc4d_185c_2b31);
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn sums_and_distances() {
    let (rows, centroids) = data();
    let labels: Vec<u32> = (0..N as u32).map(|i| i * 7 % K as u32).collect();
    let positions: Vec<u32> = (0..N as u32).rev().collect();
    let scale = Scale::new(&[0.6; D], N as u64);
    let groups = Groups::new(&rows, D, &labels, K);
    let trials = Trials::new(D, centroids.values().chunks_exact(D).take(9));
    for digest in both(|| {
        let mut sums = vec![0; K * D];
        let inertia = accumulate(&centroids, &scale, &rows, &labels, &mut sums);
        Digest::default().integers(sums).integers([inertia])
    }) {
        check("sums", digest, 0xe0a9_11ab_e1db_15e7);
    }
    for digest in both(|| {
        let (mut own, mut near, mut projected) = (Vec::new(), Vec::new(), Vec::new());
        distances(&centroids, &rows, &labels, &positions, &mut own);
        trial_distances(&trials, &rows, &positions, &mut near);
        project(&rows, centroids.row(0), centroids.values(), &mut projected);
        let mut pairs = vec![0.0; N * K];
        for (rows, pairs) in rows.chunks(PAIR_CHUNK * D).zip(pairs.chunks_mut(PAIR_CHUNK * K)) {
            distance_sums(&groups, rows, false, pairs);
        }
        Digest::default().doubles(&own).floats(near.as_flattened()).floats(&projected).doubles(&pairs)
    }) {
        check("distances", digest, 0x98ab_0645_8492_9b31);
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn codes() {
    let (rows, centroids) = data();
    let length = D.next_multiple_of(CODE_WIDTH);
    for digest in both(|| {
        let (mut query, mut spare, mut codes) = (vec![0; length], [0; D], vec![0; N * length]);
        let mut digest = Digest::default();
        for (row, codes) in rows.chunks_exact(D).zip(codes.chunks_exact_mut(length)) {
            let sums = offset_code(row, centroids.row(3), 0.01, 127.0, &mut spare);
            codes.iter_mut().zip(spare).for_each(|(code, steps): (&mut i8, _)| *code = steps as i8);
            digest = digest.doubles(&sums).floats(&[largest_offset(row, centroids.row(3))]);
        }
        offset_code(&rows[..D], centroids.row(4), 1e-4, 32000.0, &mut query[..D]);
        let mut dots = vec![0; N];
        code_dots(&query, &codes, &mut dots);
        digest.integers(codes).integers(dots)
    }) {
        check("codes", digest, 0x4209_8945_fe5b_13e8);
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn models() {
    let rows = blobs(600, D, 9, 1);
    let chosen = k_means_plus_plus(&rows, D, None, 9, &mut random::rng(3, random::Purpose::Draw, 0));
    let initial = chosen.iter().flat_map(|&i| &rows[i * D..][..D]).copied().collect();
    let Fit { centroids, labels, inertia, iterations, .. } = lloyd(&rows, D, initial, Metric::Euclidean, 20, 0.0);
    let fit = Digest::default().floats(&centroids).labels(&labels).doubles(&[inertia]).labels(&[iterations]);
    check("k-means", fit, 0x4602_0b42_4c47_6851);
    let score = silhouette(&rows, D, &labels, 9, Metric::Cosine);
    check("silhouette", Digest::default().doubles(&score.per_sample).doubles(&[score.mean]), 0xf727_ec7f_94d2_3d57);

    let mut moments = Moments::new(&[-1.0; D], &[1.0; D], 600, true);
    moments.add_rows(&rows);
    let Ok(Transform::Pca { components, explained_variance, .. }) =
        features::fit(&Step::Pca { components: 5 }, &moments, &[-1.0; D], &[1.0; D])
    else {
        panic!("no components")
    };
    check("PCA", Digest::default().floats(&components).floats(&explained_variance), 0xa421_b22f_805e_aa86);

    let sign = SignFamily::new(D, 4, 16, 5);
    let mut keys = vec![0; 600 * sign.tables()];
    sign.keys(&rows, &mut keys);
    check("hashes of directions", Digest::default().integers(keys), 0xc5d5_b55d_d4a2_e2f7);
    let stable = StableFamily::new(D, 4, 4, 0.5, 5);
    let mut keys = vec![0; 600 * stable.tables()];
    stable.keys(&rows, &mut keys);
    check("hashes of places", Digest::default().integers(keys), 0x53af_c96c_0924_7415);
}
