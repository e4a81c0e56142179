//! What each iteration found, for a judge.

use std::path::Path;

use coterie_algorithms::kmeans::centring;
use coterie_algorithms::kmeans::local::{Fit, Params, lloyd_with};

use super::{Failure, npy};

/// Writes `N.centroids.npy` and `N.labels.npy`, the labels under these centroids, for each iteration of the run that began at `first` and
/// ended in `fit`, and for its end.
///
/// # Errors
/// When a file cannot be written, or the iterations one by one do not lead to the run's end.
pub(crate) fn write(folder: &Path, points: &[f32], means: &[f64], first: Vec<f32>, fit: &Fit) -> Result<(), Failure> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let d = means.len();
    // Labels are a function of the centroids, and so are the next centroids: an iteration needs nothing of those before it.
    let from = |centroids, iterations| {
        lloyd_with(points, d, centroids, &Params { max_iterations: iterations, tolerance: -1.0, ..Params::default() })
    };
    let mut centroids = first;
    for step in 0..=fit.iterations {
        let labels = from(centroids.clone(), 0).labels;
        npy::write_labels(&folder.join(format!("{step}.labels.npy")), &labels)?;
        let mut shifted = centroids.clone();
        centring::add(&mut shifted, means);
        npy::write_rows(&folder.join(format!("{step}.centroids.npy")), &shifted, d)?;
        if step < fit.iterations {
            centroids = from(centroids, 1).centroids;
        } else if centroids != fit.centroids || labels != fit.labels {
            return Err("the iterations one by one do not lead to the end of the whole run".into());
        }
    }
    Ok(())
}
