//! Rows that several tests are made of.

use crate::random::{Purpose, Stream};

/// Rows around so many centres; another `salt` gives other rows around the same.
pub(crate) fn blobs(n: usize, d: usize, centres: u64, salt: u64) -> Vec<f32> {
    let (places, noise) = (Stream::new(1, Purpose::Generate, 0), Stream::new(salt, Purpose::Generate, 1));
    (0..n * d)
        .map(|i| {
            let centre = noise.hash((n * d + i / d) as u64) % centres;
            let near: f64 = (0..4).map(|k| noise.uniform((4 * i + k) as u64) - 0.5).sum();
            (places.uniform(centre * d as u64 + (i % d) as u64) - 0.5 + 0.15 * near) as f32
        })
        .collect()
}

/// Rows within rounding of half way between two of `centroids`, k x d.
pub(crate) fn half_way(centroids: &[f32], d: usize, n: usize, stream: Stream) -> Vec<f32> {
    let k = centroids.len() / d;
    let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
    let pair = |i: usize| (i % k * d, i / k % k * d);
    (0..n * d)
        .map(|at| {
            let ((a, b), j) = (pair(at / d), at % d);
            let middle = 0.5 * centroids[a + j] + 0.5 * centroids[b + j];
            let nudge = (number(7777 + at) * 6.0) as i32;
            f32::from_bits(middle.to_bits().wrapping_add_signed(nudge))
        })
        .collect()
}
