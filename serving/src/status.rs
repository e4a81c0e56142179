//! The one map from errors to status codes and texts, of both protocols.

use crate::query::QueryError;
use axum::http::StatusCode;
use tonic::{Code, Status};

/// Longest text of an error, in characters: what a gRPC client takes in a header, however they are escaped.
const MOST_CHARACTERS: usize = 1_000;

/// The HTTP status and the gRPC code of `error`.
pub(crate) fn codes(error: &QueryError) -> (StatusCode, Code) {
    match error {
        QueryError::Empty
        | QueryError::Dimension { .. }
        | QueryError::Ragged { .. }
        | QueryError::NotFinite { .. }
        | QueryError::NotMember { .. }
        | QueryError::NotOfSets { .. }
        | QueryError::MembersUnknown { .. }
        | QueryError::MembersAreNames { .. }
        | QueryError::NoFeature { .. }
        | QueryError::MixedMembers
        | QueryError::OtherMembers { .. }
        | QueryError::NoColumn { .. }
        | QueryError::NoSets
        | QueryError::TooManySets { .. }
        | QueryError::TooFar { .. }
        | QueryError::TooManyRows { .. }
        | QueryError::TooManyNeighbours { .. }
        | QueryError::Count
        | QueryError::Items { .. }
        | QueryError::NoTables
        | QueryError::NoLists
        | QueryError::Limit { .. }
        | QueryError::Groups { .. }
        | QueryError::MapItems { .. }
        | QueryError::UnknownTensor { .. }
        | QueryError::Datatype { .. }
        | QueryError::Shape { .. }
        | QueryError::Contents { .. }
        | QueryError::Malformed { .. } => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        QueryError::UnknownCluster { .. }
        | QueryError::UnknownItem { .. }
        | QueryError::UnknownModel { .. }
        | QueryError::Version { .. } => (StatusCode::NOT_FOUND, Code::NotFound),
        QueryError::NoItems | QueryError::NoTree | QueryError::TooManyClusters { .. } => {
            (StatusCode::NOT_IMPLEMENTED, Code::Unimplemented)
        }
        QueryError::NoSuchEndpoint { .. } => (StatusCode::NOT_FOUND, Code::Unimplemented),
        QueryError::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented),
        QueryError::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::OutOfRange),
        QueryError::BodyTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
        QueryError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded),
        QueryError::Overloaded => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
        QueryError::OtherShard { .. } => (StatusCode::CONFLICT, Code::FailedPrecondition),
        QueryError::ShuttingDown | QueryError::ShardMissing { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable)
        }
        QueryError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
    }
}

/// What the caller is told. A name that came with the request may be of any length, its repetition is not.
pub(crate) fn text(error: &QueryError) -> String {
    let mut text = error.to_string();
    if let Some((end, _)) = text.char_indices().nth(MOST_CHARACTERS) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// `error` as a gRPC status.
pub(crate) fn grpc(error: &QueryError) -> Status {
    Status::new(codes(error).1, text(error))
}
