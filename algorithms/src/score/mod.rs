//! How good is a clustering?
//!
//! Internal scores look at the rows and labels only: [`silhouette`], [`davies_bouldin`], [`calinski_harabasz`]. Where
//! true classes are known, a [`Contingency`] table gives the adjusted Rand index and the normalised mutual information.
//! Definitions and edge cases are scikit-learn's.

mod bits;
mod contingency;
mod internal;
mod silhouette;

pub use contingency::Contingency;
pub use internal::{calinski_harabasz, davies_bouldin};
pub use silhouette::{Silhouette, silhouette};
