//! Inverted lists: the rows of each cluster one after the other, so that what is near a row is looked for in the clusters
//! near it.
//!
//! A trained model has the lists for free: rows in order of their cluster. A query looks into the lists of its nearest
//! centroids only ([`Searcher`]), and there first at codes of a byte per column ([`encode_list`]), a quarter of what the rows
//! take. A code says how far away its row is *at least*; only rows that may be among the nearest so far are then looked at
//! themselves. So distances are exact, and the answer is exactly what the lists looked into hold. The nearest
//! centroids are found by codes as well ([`Guide`]).
//!
//! How many lists a recall takes ([`Breadth`]) is found by trial on some of the rows ([`breadth_for`]). Looking into all lists gives the exact
//! answer, and that is how the trial's truth is found.

mod breadth;
mod code;
mod guide;
mod owned;
mod scan;
mod search;
#[cfg(test)]
mod tests;
mod view;

pub use breadth::{Breadth, breadth_for, reach};
pub use code::{Terms, code_length, encode_list};
pub use guide::Guide;
pub use owned::ListsBuf;
pub use search::Searcher;
pub use view::{Codes, Lists, ListsError};
