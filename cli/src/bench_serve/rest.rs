//! Questions as JSON over HTTP/1.1. Only spelling happens here.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request};
use serde::{Deserialize, Serialize};

use super::exchange::{Answer, Ask, Problem, Raw};
use super::question::{ModelInfo, Query, Question};
use super::target::Target;

/// About how long a number is in JSON.
pub(super) const VALUE_BYTES: usize = 12;
/// Answers name their version at the start.
const HEAD_BYTES: usize = 256;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vectors: Option<Vec<&'a [f32]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModelReply {
    name: String,
    model_version: String,
    input_dimension: usize,
    clusters: usize,
}

#[derive(Deserialize)]
struct ErrorReply {
    error: String,
}

/// A request about vectors.
pub(super) fn ask(
    target: &Target,
    question: Question,
    vectors: &[f32],
    dimension: usize,
) -> Result<Ask, hyper::http::Error> {
    let Question { query, count, batch } = question;
    let (path, count) = match query {
        Query::Assign => ("/v1/assign", None),
        Query::Nearest => ("/v1/nearest-clusters", Some(count)),
        Query::Similar => ("/v1/similar-items", Some(count)),
    };
    let body = match batch {
        1 => Body { vector: Some(vectors), vectors: None, count },
        _ => Body { vector: None, vectors: Some(vectors.chunks(dimension.max(1)).collect()), count },
    };
    // Plain numbers and lists always have a spelling.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let request = Request::builder().method(Method::POST).uri(path).header("host", &target.address);
    request.header("content-type", "application/json").body(Full::new(Bytes::from(body)))
}

/// The request that tells the model.
pub(super) fn about_model(target: &Target) -> Result<Ask, hyper::http::Error> {
    Request::builder().uri("/v1/model").header("host", &target.address).body(Full::default())
}

/// The model in the answer to [`about_model`].
pub(super) fn read_model(body: &Bytes) -> Result<ModelInfo, String> {
    let ModelReply { name, model_version, input_dimension, clusters } =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(ModelInfo { name, version: model_version, dimension: input_dimension, clusters })
}

/// What an answer says.
pub(super) fn read(raw: &Raw) -> Result<Answer, Problem> {
    let Raw { head, body, trailers: _ } = raw;
    if !head.status.is_success() {
        let message = match serde_json::from_slice(body) {
            Ok(ErrorReply { error }) => error,
            Err(_) => String::from_utf8_lossy(body).chars().take(HEAD_BYTES).collect(),
        };
        return Err(Problem { kind: head.status.as_u16().to_string(), message });
    }
    let start = body.get(..HEAD_BYTES.min(body.len())).unwrap_or_default();
    match version(&String::from_utf8_lossy(start)) {
        Some(version) => Ok(Answer { version: version.to_owned(), bytes: body.len() as u64 }),
        None => Err(Problem::strange("the answer names no model version".to_owned())),
    }
}

/// The version at the start of an answer. Parsing all of a large one would cost more than measuring it.
fn version(start: &str) -> Option<&str> {
    let (_, rest) = start.split_once("\"modelVersion\":\"")?;
    Some(rest.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::super::target::Protocol;
    use super::*;
    use http_body_util::BodyExt;
    use hyper::Response;
    use serde_json::{Value, json};

    async fn body(query: Query, batch: usize) -> (String, Value) {
        let target = Target::new(Protocol::Rest, "http://localhost:8080").unwrap();
        let question = Question { query, count: 3, batch };
        let ask = ask(&target, question, &[1.0, 2.5, -3.0, 0.1][..2 * batch], 2).unwrap();
        assert_eq!(ask.headers()["host"], "localhost:8080");
        let path = ask.uri().to_string();
        let bytes = ask.into_body().collect().await.unwrap().to_bytes();
        (path, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn questions_are_spelt_as_the_server_reads_them() {
        let lone = json!({"vector": [1.0, 2.5]});
        assert_eq!(body(Query::Assign, 1).await, ("/v1/assign".to_owned(), lone));
        let (_, several) = body(Query::Assign, 2).await;
        assert_eq!(several["vectors"][0], json!([1.0, 2.5]));
        assert_eq!(several["vectors"].as_array().unwrap().len(), 2);
        let counted = json!({"vector": [1.0, 2.5], "count": 3});
        assert_eq!(body(Query::Nearest, 1).await, ("/v1/nearest-clusters".to_owned(), counted.clone()));
        assert_eq!(body(Query::Similar, 1).await, ("/v1/similar-items".to_owned(), counted));
    }

    fn answer(status: u16, body: &'static str) -> Result<Answer, Problem> {
        let (head, ()) = Response::builder().status(status).body(()).unwrap().into_parts();
        read(&Raw { head, body: Bytes::from_static(body.as_bytes()), trailers: None })
    }

    #[test]
    fn answers_name_their_version_and_errors_their_reason() {
        let found = answer(200, r#"{"modelVersion":"v7","assignments":[]}"#).unwrap();
        assert_eq!((found.version.as_str(), found.bytes), ("v7", 38));
        let refused = answer(429, r#"{"error":"busy"}"#).unwrap_err();
        assert_eq!((refused.kind.as_str(), refused.message.as_str()), ("429", "busy"));
        let proxied = answer(502, "<html>").unwrap_err();
        assert_eq!((proxied.kind.as_str(), proxied.message.as_str()), ("502", "<html>"));
        assert_eq!(answer(200, "ok").unwrap_err().kind, "strange answer");
    }
}
