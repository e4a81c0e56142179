//! The Open Inference Protocol, version 2: what clients of other inference servers speak.
//!
//! A request carries one tensor, `vectors` FP32[rows, features], and gets back those that it names of `cluster_id`,
//! `distance`, `margin` and `neighbor_ids`. This module knows tensors; [`rest`], [`binary`] and [`grpc`] know how they travel.

mod binary;
mod data;
pub(crate) mod grpc;
mod metadata;
pub(crate) mod rest;
mod tensor;

use crate::app::App;
use crate::query::{self, Assignment, QueryError, Served};
use std::sync::Arc;
use tensor::{Data, Input, Output, OutputName};

/// An inference request, whichever way it came.
#[derive(Debug)]
struct Inference {
    /// Clusters wanted in each row of `neighbor_ids`.
    neighbors: Option<u64>,
    inputs: Vec<Input>,
    /// Names of the outputs wanted; empty for the usual ones.
    outputs: Vec<String>,
}

/// The model of the moment, when it is the one that the request names; an empty version asks for none in particular.
fn served(app: &App, model: &str, version: &str) -> Result<Arc<Served>, QueryError> {
    let served = app.hot.get();
    let name = &served.model().name;
    if model != name {
        return Err(QueryError::UnknownModel { wanted: model.to_owned(), served: name.clone() });
    }
    served.check_version(version)?;
    Ok(served)
}

/// Answers a request, with the outputs in the order in which it names them.
async fn infer(app: &App, served: &Arc<Served>, request: Inference) -> Result<Vec<Output>, QueryError> {
    let Inference { neighbors, inputs, outputs } = request;
    if neighbors == Some(0) {
        return Err(malformed("parameter \"neighbors\" must be at least 1"));
    }
    let names = wanted(&outputs, neighbors.is_some())?;
    let matrix = tensor::matrix(served, inputs, app.settings.max_rows)?;
    let rows = matrix.rows();
    let (assignments, near) = if names.contains(&OutputName::NeighborIds) {
        let count = query::neighbour_count(served, neighbors.unwrap_or(query::DEFAULT_COUNT.into()), rows)?;
        let (assignments, ids) = app.assign_with_neighbours(served, matrix, count).await?;
        (assignments, Some((ids, count)))
    } else {
        (app.assign(served, matrix, false).await?, None)
    };
    Ok(names.into_iter().map(|name| output(name, &assignments, near.as_ref())).collect())
}

/// The outputs that a request wants.
fn wanted(names: &[String], with_neighbors: bool) -> Result<Vec<OutputName>, QueryError> {
    if names.is_empty() {
        let usual = OutputName::ALL.into_iter();
        return Ok(usual.filter(|&name| name != OutputName::NeighborIds || with_neighbors).collect());
    }
    let mut wanted = Vec::new();
    for name in names {
        let name = OutputName::read(name)?;
        if wanted.contains(&name) {
            return Err(malformed(format!("output {:?} is asked for twice", name.as_str())));
        }
        wanted.push(name);
    }
    Ok(wanted)
}

fn output(name: OutputName, assignments: &[Assignment], near: Option<&(Vec<u32>, usize)>) -> Output {
    let rows = assignments.len();
    let (shape, data) = match name {
        OutputName::ClusterId => {
            (vec![rows], Data::Int32(assignments.iter().map(|found| query::signed(found.cluster)).collect()))
        }
        OutputName::Distance => (vec![rows], Data::Fp32(assignments.iter().map(|found| found.distance).collect())),
        OutputName::Margin => (vec![rows], Data::Fp32(assignments.iter().map(|found| found.margin).collect())),
        OutputName::NeighborIds => {
            let (ids, count) = near.map_or((&[][..], 0), |(ids, count)| (ids, *count));
            (vec![rows, count], Data::Int32(ids.iter().copied().map(query::signed).collect()))
        }
    };
    Output { name, shape, data }
}

fn malformed(what: impl Into<String>) -> QueryError {
    QueryError::Malformed { what: what.into() }
}
