//! Which groups join to larger groups, and at what distance: agglomerative clustering.

mod dendrogram;
mod ward;

pub use dendrogram::{Dendrogram, Merge};
pub use ward::ward;

#[cfg(test)]
mod tests;
