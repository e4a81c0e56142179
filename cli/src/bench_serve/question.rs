//! What is asked, whatever the protocol.

use clap::ValueEnum;
use hyper::body::Bytes;

use super::exchange::Ask;
use super::rows::Rows;
use super::schedule::Order;
use super::target::{Protocol, Target};
use super::{grpc, rest};

/// Bytes that prepared requests may take together, and how many there are at most and at least, if that takes more.
const PREPARED_BYTES: usize = 64 << 20;
const PREPARED: (usize, usize) = (8, 512);

/// Kind of query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Query {
    /// The nearest cluster of each vector
    Assign,
    /// The clusters nearest to a vector
    Nearest,
    /// The items similar to a vector
    Similar,
}

/// A query with its parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) query: Query,
    /// Clusters or items that are asked for.
    pub(super) count: u32,
    /// Vectors of a request.
    pub(super) batch: usize,
}

/// The model that answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelInfo {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) dimension: usize,
    pub(super) clusters: usize,
}

/// How many requests are worth preparing.
pub(super) fn distinct(question: Question, dimension: usize, protocol: Protocol) -> usize {
    let each = match protocol {
        Protocol::Rest => rest::VALUE_BYTES,
        Protocol::Grpc => size_of::<f32>(),
    };
    let bytes = question.batch.saturating_mul(dimension).saturating_mul(each).max(1);
    (PREPARED_BYTES / bytes).clamp(PREPARED.0, PREPARED.1)
}

/// So many requests, of vectors that are drawn in a seeded order.
pub(super) fn prepare(
    target: &Target,
    question: Question,
    rows: &Rows,
    distinct: usize,
    seed: u64,
) -> Result<Vec<Ask>, hyper::http::Error> {
    // Another order than that of sending.
    let order = Order::new(!seed, rows.len());
    let mut vectors = Vec::new();
    (0..distinct)
        .map(|number| {
            vectors.clear();
            for row in number * question.batch..(number + 1) * question.batch {
                vectors.extend_from_slice(rows.row(order.choice(row as u64)));
            }
            match target.protocol {
                Protocol::Rest => rest::ask(target, question, &vectors, rows.dimension()),
                Protocol::Grpc => grpc::ask(target, question, &vectors, rows.dimension()),
            }
        })
        .collect()
}

/// The request that tells the model.
pub(super) fn about_model(target: &Target) -> Result<Ask, hyper::http::Error> {
    match target.protocol {
        Protocol::Rest => rest::about_model(target),
        Protocol::Grpc => grpc::about_model(target),
    }
}

/// The model in the answer to [`about_model`].
pub(super) fn read_model(protocol: Protocol, body: &Bytes) -> Result<ModelInfo, String> {
    match protocol {
        Protocol::Rest => rest::read_model(body),
        Protocol::Grpc => grpc::read_model(body),
    }
}

// === impl Query ===

impl Query {
    /// As it is told.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Assign => "assign",
            Self::Nearest => "nearest",
            Self::Similar => "similar",
        }
    }
}
