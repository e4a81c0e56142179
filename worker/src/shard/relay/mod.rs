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

use std::time::Duration;

use coterie_protocol::internal::Work;

pub(super) use self::{
    feed::Feed,
    server::start,
    station::{Relay, Station},
};

/// How soon it shows, above and below, that a worker has been stopped in the middle of a message: pause between signs of life that are
/// asked for, and longest wait for one.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(4));

/// Address of the worker above in this step, if there is one.
pub(super) fn parent(work: &Work) -> Option<&str> {
    work.place.as_ref().map(|place| place.parent.as_str()).filter(|parent| !parent.is_empty())
}
