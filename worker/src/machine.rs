//! What a run brings to the session: a pure machine whose steps go to the workers and whose partials come back merged. The session, the coordinator and the checkpoints know nothing else about it.

use serde::{Serialize, de::DeserializeOwned};

use crate::error::RunError;

/// A partial result with an associative and commutative merge: the order of arrival cannot change the result.
pub trait Merge: Sized {
    /// Adds another partial of the same step.
    ///
    /// # Errors
    /// When the other partial belongs to a different kind of step (a bug or a foreign sender).
    fn merge(&mut self, other: Self) -> Result<(), RunError>;

    /// Cuts a large partial into pieces, at places that depend on the step alone: merging piece by piece and then joining is merging.
    fn cut(self) -> Vec<Self> {
        vec![self]
    }

    /// What was cut into these pieces.
    ///
    /// # Errors
    /// When they are not the pieces of a partial (a bug or a foreign sender).
    fn join(pieces: Vec<Self>) -> Result<Self, RunError> {
        let count = pieces.len();
        match <[Self; 1]>::try_from(pieces) {
            Ok([whole]) => Ok(whole),
            Err(_) => Err(RunError::transient(format!("a partial in one piece arrived in {count}"))),
        }
    }
}

/// Where a run stands, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Position {
    /// Stage: Scan, Features, Init, Iterate (k-means) or Hash, Sum (LSH), Evaluate, Publish, Done.
    pub stage: &'static str,
    /// Iteration within the restart, from 1.
    pub iteration: u32,
    /// Bound on iterations.
    pub max_iterations: u32,
    /// Restart, from 1.
    pub restart: u32,
    /// Number of restarts.
    pub restarts: u32,
    /// Inertia of the last pass, if there was one that has it.
    pub inertia: Option<f64>,
    /// Squared movement of the centroids in the last pass.
    pub shift: f64,
    /// Kept rows, once known.
    pub rows: u64,
}

/// A distributed computation. `Serialize`: the whole machine is the checkpoint.
pub trait Machine: Serialize + DeserializeOwned + Send + 'static {
    /// What the workers are told; self-contained, so a worker that has just arrived can process it.
    type Step: Serialize + DeserializeOwned + Send + Sync;
    /// What the workers answer.
    type Partial: Merge + Serialize + DeserializeOwned + Send;
    /// What a finished run leaves.
    type Outcome;

    /// The step the workers are to process now; `None` when the run is over.
    fn step(&self) -> Option<Self::Step>;

    /// About how many bytes a worker's answer to a step takes; 0 where that is little.
    fn answer_bytes(&self, step: &Self::Step) -> u64;

    /// Takes the merged partial of the current step and moves on.
    ///
    /// # Errors
    /// When the run cannot go on: the error is final.
    fn advance(&mut self, merged: Self::Partial) -> Result<(), RunError>;

    /// Where the run stands.
    fn position(&self) -> Position;

    /// The result, once [`step`](Self::step) is `None`.
    fn outcome(self) -> Option<Self::Outcome>;
}
