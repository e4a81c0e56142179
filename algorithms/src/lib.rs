//! Clustering algorithms over arrays of numbers: no files, no network, no clock.
//!
//! The crate serves two masters. A program with data in memory wants one call that clusters it. A run over billions of rows
//! on many machines wants pieces: assign this block, merge these sums, move the centroids. Both get the same results here,
//! **bit for bit**, because every piece is independent of how the rows were split:
//!
//! - The label of a row is computed from that row and the centroids alone, by one chain of fused multiply-adds that is the
//!   same on every machine ([`kmeans::assign`]).
//! - Sums over rows are sums of integers ([`fixed::Scale`]), so the order of adding and merging does not matter
//!   ([`kmeans::Partial`], [`features::Moments`]).
//! - Random choices are functions of a seed and the row's number ([`random`]), not of who makes them.
//!
//! # Overview
//!
//! | you want | look at |
//! |---|---|
//! | to cluster an array | [`kmeans::local::fit`] |
//! | first centroids | [`kmeans::init`]: samples, k-means++, k-means\|\| |
//! | k-means in pieces | [`kmeans::assign`], [`kmeans::Partial`], [`kmeans::update`], [`kmeans::relocate`] |
//! | the same for less work, by bounds | [`kmeans::Pruner`] |
//! | labels of rows that come once, as in serving | [`kmeans::Finder`] |
//! | scaled or projected columns | [`features`]: standardise, min-max, unit length, PCA |
//! | distances of sets, and the centroids nearest to one | [`jaccard`]; columns of their members: [`members`] |
//! | a tree over clusters | [`hierarchical`]: Ward's linkage of centroids |
//! | to judge a clustering | [`score`]: silhouette, Davies-Bouldin, Calinski-Harabasz, ARI, NMI |
//! | what is near a row, without looking at all | [`lists`]: the rows of the nearest clusters; [`lsh`]: tables of hashes, for angles, distances and sets |
//! | to count different rows, or rows by distance | [`distinct`], [`quantiles`] |
//!
//! Rows are `f32`, row-major: n x d numbers one after the other. Values must be finite; callers check this where data
//! enters.
//!
//! # Example
//!
//! Ten cities by longitude and latitude, in three groups. The first centroids come from k-means++ with a fixed seed, so this
//! prints the same on every machine.
//!
//! ```
//! use coterie_algorithms::kmeans::init::k_means_plus_plus;
//! use coterie_algorithms::kmeans::local::{Params, fit};
//! use coterie_algorithms::metric::Metric;
//! use coterie_algorithms::random::{Purpose, rng};
//! use coterie_algorithms::score::silhouette;
//! use ndarray::{Axis, array};
//!
//! let names = ["Lisbon", "Madrid", "Paris", "Rome", "Osaka", "Tokyo", "Seoul", "Boston", "New York", "Toronto"];
//! let places = array![
//!     [-9.1f32, 38.7], [-3.7, 40.4], [2.4, 48.9], [12.5, 41.9],
//!     [135.5, 34.7], [139.7, 35.7], [127.0, 37.6],
//!     [-71.1, 42.4], [-74.0, 40.7], [-79.4, 43.7],
//! ];
//! let flat = places.as_slice().unwrap();
//! let chosen = k_means_plus_plus(flat, 2, None, 3, &mut rng(42, Purpose::Seeding, 0));
//! let start = places.select(Axis(0), &chosen);
//!
//! let clusters = fit(places.view(), start.view(), &Params::default());
//!
//! assert!(clusters.converged);
//! let label = |name| clusters.labels[names.iter().position(|&n| n == name).unwrap()];
//! assert_eq!(label("Lisbon"), label("Rome"));
//! assert_eq!(label("Osaka"), label("Seoul"));
//! assert_eq!(label("Boston"), label("Toronto"));
//! assert_ne!(label("Rome"), label("Tokyo"));
//!
//! // The mean place of the group around Tokyo.
//! let tokyo = label("Tokyo") as usize;
//! assert_eq!(clusters.centroids[2 * tokyo..][..2], [134.06667, 36.0]);
//!
//! // Near 1: rows are far closer to their own group than to any other.
//! assert!(silhouette(flat, 2, &clusters.labels, 3, Metric::Euclidean).mean > 0.85);
//! ```
//!
//! # Cost
//!
//! An iteration of k-means takes 2 n k d floating-point operations, nearly all of them in the assignment step. That runs
//! at over 90 % of what a core's vector unit can do where k and d are in the hundreds: the tiles stay in registers, and no matrix of
//! distances is ever stored. Memory beside the data is k d numbers per thread. Later iterations skip rows whose label provably
//! stays ([`kmeans::Pruner`]), which changes no bit of the result; the bounds for that take 8 bytes per row and at most half as
//! much as the row itself, or 16 bytes. Rows that come once take less than half of the kernel's time where k and d are in the hundreds
//! ([`kmeans::Sieve`]), for a byte more per number of the centroids, and far less where centroids are very many and have structure
//! ([`kmeans::Finder`]), for about as much memory again as they take. The silhouette takes O(n^2 d) time.
//!
//! # Testing
//!
//! Each fast routine has a slow twin ([`kmeans::naive`], or beside its tests) with which it must agree bit for bit on
//! random input with odd shapes, ties, denormal and huge values; every instruction set against every other. Sharded runs over
//! random splits and merge orders must equal the whole. Results of k-means, scores and feature steps are compared with
//! scikit-learn's from committed files (`tests/parity`). The kernels' tests also run under Miri. What is *not* covered: the
//! AVX-512 kernel is tested only where the machine has these instructions (and by Miri).
//!
//! # Limits
//!
//! - Assignment is in `f32`: rows should be centred ([`kmeans::local::fit`] does it), and magnitudes below 1e18, beyond which
//!   squares overflow. Two centroids whose distances differ by less than `f32` can tell are ordered by rounding, though always
//!   in the same way.
//! - Sums keep 40 bits of each column's largest magnitude (fewer beyond four million rows: 62 bits less those that count
//!   the rows). Columns with outliers a million times their spread lose precision.
//! - Without hardware multiply-add (x86-64 before AVX2) results are the same but slow.
//! - Labels are `u32`, and at most 2^32 - 1 clusters are held in memory.
//!
//! # References
//!
//! - S. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28 (1982): the iteration.
//! - D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA (2007).
//! - C. Elkan, "Using the triangle inequality to accelerate k-means", ICML (2003); G. Hamerly, "Making k-means even faster",
//!   SDM (2010); Y. Ding et al., "Yinyang k-means", ICML (2015): exact pruning.
//! - R. Weber, H.-J. Schek and S. Blott, "A quantitative analysis and performance study for similarity-search methods in
//!   high-dimensional spaces", VLDB (1998): exact search by bounds from few bits.
//! - B. Bahmani, B. Moseley, A. Vattani, R. Kumar and S. Vassilvitskii, "Scalable k-means++", VLDB (2012): k-means||.
//! - I. Dhillon and D. Modha, "Concept decompositions for large sparse text data using clustering", Machine Learning 42
//!   (2001): spherical k-means.
//! - P. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", Journal of
//!   Computational and Applied Mathematics 20 (1987).
//! - D. Davies and D. Bouldin, "A cluster separation measure", IEEE PAMI 1 (1979); T. Calinski and J. Harabasz, "A dendrite
//!   method for cluster analysis", Communications in Statistics 3 (1974).
//! - L. Hubert and P. Arabie, "Comparing partitions", Journal of Classification 2 (1985): the adjusted Rand index.
//! - M. Charikar, "Similarity estimation techniques from rounding algorithms", STOC (2002); M. Datar et al., "Locality-sensitive
//!   hashing scheme based on p-stable distributions", SoCG (2004); A. Broder, "On the resemblance and containment of
//!   documents", SEQUENCES (1997); Q. Lv et al., "Multi-probe LSH", VLDB (2007): hashing of what is near.
//! - J. Sivic and A. Zisserman, "Video Google: a text retrieval approach to object matching in videos", ICCV (2003): inverted
//!   lists; R. Weber, H. Schek and S. Blott, "A quantitative analysis and performance study for similarity-search methods in
//!   high-dimensional spaces", VLDB (1998): small codes with bounds, exact rows for what they leave.
//! - P. Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 11 (1912); M. Ruzicka, "Anwendung
//!   mathematisch-statistischer Methoden in der Geobotanik", Biologia Bratislava 13 (1958): its form for weights.
//! - Z. Bar-Yossef et al., "Counting distinct elements in a data stream", RANDOM (2002): smallest hashes.
//! - G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators", OOPSLA (2014): splitmix64.
//! - F. Pedregosa et al., "Scikit-learn: machine learning in Python", JMLR 12 (2011): definitions and edge cases.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod distinct;
pub mod features;
pub mod fixed;
pub mod hierarchical;
pub mod jaccard;
pub mod kmeans;
pub mod lists;
pub mod lsh;
pub mod members;
pub mod metric;
pub mod quantiles;
pub mod random;
pub mod score;

mod keep;
mod lanes;
#[cfg(test)]
mod made;
