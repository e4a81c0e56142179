//! The binary tensor extension of REST: values as little-endian bytes behind the JSON, in the order of the tensors. The header
//! `Inference-Header-Content-Length` says where the JSON ends.

use super::malformed;
use super::tensor::Data;
use crate::query::QueryError;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

/// Length of the JSON, in bytes.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// The bytes behind the JSON of a request, as far as no tensor has taken them.
#[derive(Debug)]
pub(crate) struct Tail(Bytes);

/// The length of the JSON in a request's body; `None` when all of it is JSON.
pub(crate) fn json_length(headers: &HeaderMap) -> Result<Option<usize>, QueryError> {
    let Some(value) = headers.get(JSON_LENGTH) else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => {
            Err(malformed(format!("header {JSON_LENGTH} must be the length of the JSON in bytes, found {value:?}")))
        }
    }
}

/// Cuts a body behind its JSON.
pub(crate) fn split(mut body: Bytes, json_length: Option<usize>) -> Result<(Bytes, Tail), QueryError> {
    let whole = body.len();
    let length = json_length.unwrap_or(whole);
    if length > whole {
        return Err(malformed(format!("header {JSON_LENGTH} is {length}, but the body has only {whole} bytes")));
    }
    let tail = body.split_off(length);
    Ok((body, Tail(tail)))
}

/// An answer of JSON with the values of `tensors` behind it.
pub(crate) fn reply<'a>(json: Vec<u8>, tensors: impl Iterator<Item = &'a Data>) -> Response {
    let length = HeaderValue::from(json.len());
    let mut body = json;
    for data in tensors {
        data.write_raw(&mut body);
    }
    let media = HeaderValue::from_static("application/octet-stream");
    ([(header::CONTENT_TYPE, media), (JSON_LENGTH, length)], body).into_response()
}

// === impl Tail ===

impl Tail {
    /// The bytes of the next tensor.
    pub(crate) fn take(&mut self, input: &str, size: u64) -> Result<Bytes, QueryError> {
        match usize::try_from(size) {
            Ok(size) if size <= self.0.len() => Ok(self.0.split_to(size)),
            _ => {
                let left = self.0.len();
                let what = format!(
                    "input {input:?} has a binary_data_size of {size}, but only {left} bytes are left behind the JSON"
                );
                Err(malformed(what))
            }
        }
    }

    /// Checks that nothing is left.
    pub(crate) fn end(self) -> Result<(), QueryError> {
        match self.0.len() {
            0 => Ok(()),
            left => {
                Err(malformed(format!("{left} bytes behind the JSON belong to no input: set its binary_data_size")))
            }
        }
    }
}
