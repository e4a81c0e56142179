//! A worker's place in the tree of a step: passes the step on to the workers below, and merges their partials into its own.
//!
//! | module | concern |
//! |---|---|
//! | [`feed`] | a step's payload while it arrives |
//! | [`station`] | what is going on in the current step |
//! | [`server`] | the tonic adapter, for the workers below |
//! | [`above`] | connections to workers above |
//! | [`ascent`] | a partial's way up |

pub(super) mod above;
pub(super) mod ascent;
mod feed;
mod server;
mod station;
#[cfg(test)]
mod tests;

pub(super) use self::{
    feed::Feed,
    server::start,
    station::{Relay, Station},
};
