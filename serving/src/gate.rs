//! What every request passes on its way in, whichever protocol it speaks: it is counted, admitted, given a deadline, and a
//! panic on its way becomes an answer.

use crate::admission::{BoxError, Slot};
use crate::app::App;
use crate::metrics::{Endpoint, Protocol};
use crate::query::QueryError;
use crate::{outgoing, rest, status};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// The gate of one protocol.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) app: Arc<App>,
    pub(crate) protocol: Protocol,
}

/// Lets a request through.
pub(crate) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Gate { app, protocol } = gate;
    let endpoint = Endpoint::of(protocol, request.uri().path());
    let record = app.metrics.begin(protocol, endpoint);
    let mut response = if endpoint.is_query() {
        let admission = if endpoint.is_for_peers() { &app.peer_admission } else { &app.admission };
        match admission.enter() {
            Ok(slot) => answer(&app, protocol, &slot, request, next).await,
            Err(error) => protocol.refuse(&error),
        }
    } else {
        next.run(request).await
    };
    record.finish(protocol.code(&response));
    if protocol == Protocol::Http && !app.is_ready() {
        // The caller's next request goes to another replica, over a new connection.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn answer(app: &App, protocol: Protocol, slot: &Slot, request: Request, next: Next) -> Response {
    let limit = app.settings.request_timeout;
    let deadline = match protocol {
        Protocol::Http => limit,
        Protocol::Grpc => caller_deadline(request.headers()).map_or(limit, |deadline| deadline.min(limit)),
    };
    let (head, body) = request.into_parts();
    let request = match slot.charge(body, protocol.body_error()) {
        Ok(body) => Request::from_parts(head, Body::new(body)),
        Err(error) => return protocol.refuse(&error),
    };
    let work = async { outgoing::bound(next.run(request).await, slot, app.settings.answer_timeout).await };
    match tokio::time::timeout(deadline, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(error))) => protocol.refuse(&error),
        Ok(Err(_panic)) => {
            tracing::error!("a request handler panicked");
            protocol.refuse(&QueryError::Internal)
        }
        Err(_elapsed) => protocol.refuse(&QueryError::TimedOut),
    }
}

/// The time that a gRPC caller gives, from `grpc-timeout`: up to eight digits and a unit.
fn caller_deadline(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

// === impl Protocol ===

impl Protocol {
    /// `error` as this protocol spells it.
    fn refuse(self, error: &QueryError) -> Response {
        match self {
            Self::Http => rest::refuse(error),
            Self::Grpc => status::grpc(error).into_http(),
        }
    }

    /// How an error is carried through a body so that the protocol's reader finds it.
    fn body_error(self) -> fn(QueryError) -> BoxError {
        match self {
            Self::Http => |error| Box::new(error),
            Self::Grpc => |error| Box::new(status::grpc(&error)),
        }
    }

    /// The status that `response` carries, for the metrics.
    fn code(self, response: &Response) -> String {
        match self {
            Self::Http => response.status().as_str().to_owned(),
            Self::Grpc => match Status::from_header_map(response.headers()) {
                Some(status) => code_name(status.code()).to_owned(),
                // An answer with a message carries its status behind it, and it is OK.
                None => code_name(Code::Ok).to_owned(),
            },
        }
    }
}

/// The code as the gRPC documentation spells it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_deadline_is_read_as_grpc_writes_it() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", value.parse().unwrap());
            caller_deadline(&headers)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "1", "1x", "-1S", "+1S", "123456789S", "1.5S"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(caller_deadline(&HeaderMap::new()), None);
    }
}
