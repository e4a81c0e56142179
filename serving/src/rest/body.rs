//! Reading a body, within bounds, and parsing it without holding up anyone else.

use crate::app::App;
use crate::query::QueryError;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

/// Bodies up to this size are parsed where they arrived: some tens of microseconds.
const PARSED_AT_ONCE: usize = 16 << 10;

/// The body of `request` as JSON of type `T`.
pub(crate) async fn parse<T: DeserializeOwned + Send + 'static>(app: &App, request: Request) -> Result<T, QueryError> {
    let bytes = read(app, request).await?;
    digest(app, bytes, |bytes| parse_bytes(&bytes)).await
}

/// Hands `bytes` to `parse`, off the async threads when they are many.
pub(crate) async fn digest<T: Send + 'static>(
    app: &App,
    bytes: Bytes,
    parse: impl FnOnce(Bytes) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, QueryError> {
    if bytes.len() <= PARSED_AT_ONCE {
        return parse(bytes);
    }
    app.compute.offload(move || parse(bytes)).await?
}

/// `bytes` as JSON of type `T`.
pub(crate) fn parse_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, QueryError> {
    if bytes.is_empty() {
        return Err(QueryError::Malformed { what: "the body is empty: send a JSON object".to_owned() });
    }
    serde_json::from_slice(bytes)
        .map_err(|error| QueryError::Malformed { what: format!("the body is not what this endpoint takes: {error}") })
}

/// The body of `request`.
pub(crate) async fn read(app: &App, request: Request) -> Result<Bytes, QueryError> {
    let most = app.settings.max_body_bytes;
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > most as u64) {
        return Err(QueryError::BodyTooLarge { most });
    }
    let limit = app.settings.body_timeout;
    let collected = tokio::time::timeout(limit, collect(request.into_body(), most)).await;
    collected.map_err(|_elapsed| QueryError::BodyTimeout { limit })?
}

async fn collect(body: Body, most: usize) -> Result<Bytes, QueryError> {
    let mut body = Limited::new(body, most);
    let mut bytes = BytesMut::new();
    // Copied: a piece keeps the buffer of the connection that it was read into, which is large, however small the piece.
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| failure(&*error, most))?.into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(_trailers) => {}
        }
    }
    Ok(bytes.freeze())
}

/// Why a body did not come to its end.
fn failure(error: &(dyn std::error::Error + 'static), most: usize) -> QueryError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return QueryError::BodyTooLarge { most };
        }
        if let Some(error) = error.downcast_ref::<QueryError>() {
            return error.clone();
        }
        cause = error.source();
    }
    QueryError::Malformed { what: format!("the body could not be read: {error}") }
}
