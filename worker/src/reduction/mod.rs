//! How partials of a step come together.
//!
//! Small ones go to the coordinator, each on its own. Where all of them together would keep the coordinator's link busy, workers
//! form a binary tree: a step's payload flows down it and merged partials flow up, both piece by piece, so that every link carries
//! each message about twice, however many workers there are.
//!
//! | module | concern |
//! |---|---|
//! | [`tree`] | pure: who is below whom |
//! | [`contribution`] | a contribution on the wire: header, pieces, seal |
//!
//! What makes this safe is not the tree but the session: a contribution names every worker, split and attempt that went into it, and
//! all of that counts or nothing. Whoever hears that its share did not count, or hears nothing, sends it to the coordinator itself.

pub mod contribution;
pub mod tree;
