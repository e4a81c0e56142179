//! Questions as gRPC. Only spelling happens here.
//!
//! Messages are framed here and sent by HTTP/2 itself rather than by a generated client: so a request is encoded once and sent
//! many times, and asking costs little beside answering.

use coterie_protocol::query::{
    AssignBatchRequest, AssignBatchResponse, AssignRequest, AssignResponse, GetModelRequest, GetModelResponse,
    NearestClustersRequest, NearestClustersResponse, SimilarItemsRequest, SimilarItemsResponse, Vectors,
};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request};
use prost::Message;
use tonic::{Code, Status};

use super::exchange::{Answer, Ask, Problem, Raw};
use super::question::{ModelInfo, Query, Question};
use super::target::Target;

const ASSIGN: &str = "/coterie.v1.Query/Assign";
const ASSIGN_BATCH: &str = "/coterie.v1.Query/AssignBatch";
const NEAREST: &str = "/coterie.v1.Query/NearestClusters";
const SIMILAR: &str = "/coterie.v1.Query/SimilarItems";
const MODEL: &str = "/coterie.v1.Query/GetModel";
/// A message begins with a flag and its length.
const PREFIX: usize = 5;

/// A request about vectors.
pub(super) fn ask(
    target: &Target,
    question: Question,
    vectors: &[f32],
    dimension: usize,
) -> Result<Ask, hyper::http::Error> {
    let Question { query, count, batch } = question;
    let model_version = String::new();
    let vector = || vectors.to_vec();
    let (path, message) = match (query, batch) {
        (Query::Assign, 1) => (ASSIGN, AssignRequest { vector: vector(), model_version, set: None }.encode_to_vec()),
        (Query::Assign, _) => {
            let data: Vec<u8> = vectors.iter().flat_map(|value| value.to_le_bytes()).collect();
            let dimension = u32::try_from(dimension).unwrap_or(u32::MAX);
            let vectors = Some(Vectors { dimension, data: data.into() });
            (ASSIGN_BATCH, AssignBatchRequest { vectors, model_version, sets: Vec::new() }.encode_to_vec())
        }
        (Query::Nearest, _) => {
            (NEAREST, NearestClustersRequest { vector: vector(), count, model_version, set: None }.encode_to_vec())
        }
        (Query::Similar, _) => {
            let request =
                SimilarItemsRequest { vector: vector(), count, model_version, ..SimilarItemsRequest::default() };
            (SIMILAR, request.encode_to_vec())
        }
    };
    call(target, path, &message)
}

/// The request that tells the model.
pub(super) fn about_model(target: &Target) -> Result<Ask, hyper::http::Error> {
    call(target, MODEL, &GetModelRequest {}.encode_to_vec())
}

/// The model in the answer to [`about_model`].
pub(super) fn read_model(body: &Bytes) -> Result<ModelInfo, String> {
    let model = GetModelResponse::decode(message(body)?).map_err(|error| error.to_string())?;
    Ok(ModelInfo {
        name: model.name,
        version: model.version,
        dimension: model.input_dimension as usize,
        clusters: model.clusters as usize,
    })
}

/// What the answer to a call says.
pub(super) fn read(path: &str, raw: &Raw) -> Result<Answer, Problem> {
    let Raw { head, body, trailers } = raw;
    if !head.status.is_success() {
        let message = "the answer is not that of a gRPC server".to_owned();
        return Err(Problem { kind: head.status.as_u16().to_string(), message });
    }
    // An answer without a message has its status in front, any other behind.
    let status = trailers.as_ref().and_then(Status::from_header_map).or_else(|| Status::from_header_map(&head.headers));
    match status {
        Some(status) if status.code() == Code::Ok => {}
        Some(status) => return Err(Problem { kind: name(status.code()), message: status.message().to_owned() }),
        None => return Err(Problem::strange("the answer has no gRPC status".to_owned())),
    }
    let version = version(path, body).map_err(Problem::strange)?;
    Ok(Answer { version, bytes: body.len() as u64 })
}

fn version(path: &str, body: &Bytes) -> Result<String, String> {
    let message = message(body)?;
    let version = match path {
        ASSIGN => AssignResponse::decode(message).map(|answer| answer.model_version),
        ASSIGN_BATCH => AssignBatchResponse::decode(message).map(|answer| answer.model_version),
        NEAREST => NearestClustersResponse::decode(message).map(|answer| answer.model_version),
        SIMILAR => SimilarItemsResponse::decode(message).map(|answer| answer.model_version),
        _ => GetModelResponse::decode(message).map(|answer| answer.version),
    };
    version.map_err(|error| format!("the answer cannot be read: {error}"))
}

fn call(target: &Target, path: &str, message: &[u8]) -> Result<Ask, hyper::http::Error> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let framed = [&[0][..], &length.to_be_bytes(), message].concat();
    let request = Request::builder().method(Method::POST).uri(format!("{}{path}", target.base));
    request.header("content-type", "application/grpc").header("te", "trailers").body(Full::new(Bytes::from(framed)))
}

/// The message in a body, which has exactly one, uncompressed.
fn message(body: &Bytes) -> Result<&[u8], String> {
    let wrong = || "the answer is not one uncompressed message".to_owned();
    let (prefix, message) = body.split_at_checked(PREFIX).ok_or_else(wrong)?;
    let expected = u32::try_from(message.len()).map_err(|_| wrong())?.to_be_bytes();
    match prefix.split_first() {
        Some((0, length)) if length == expected => Ok(message),
        Some(_) | None => Err(wrong()),
    }
}

/// The code as the gRPC documentation spells it.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::super::target::Protocol;
    use super::*;
    use http_body_util::BodyExt;
    use hyper::Response;

    async fn body(query: Query, batch: usize) -> (String, Bytes) {
        let target = Target::new(Protocol::Grpc, "http://localhost:8081").unwrap();
        let question = Question { query, count: 3, batch };
        let ask = ask(&target, question, &[1.0, 2.5, -3.0, 0.1][..2 * batch], 2).unwrap();
        assert_eq!(ask.uri().authority().unwrap(), "localhost:8081");
        let path = ask.uri().path().to_owned();
        (path, ask.into_body().collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn questions_are_framed_messages() {
        let (path, lone) = body(Query::Assign, 1).await;
        let expected = AssignRequest { vector: vec![1.0, 2.5], ..AssignRequest::default() };
        assert_eq!((path.as_str(), AssignRequest::decode(message(&lone).unwrap()).unwrap()), (ASSIGN, expected));
        let (path, several) = body(Query::Assign, 2).await;
        let several = AssignBatchRequest::decode(message(&several).unwrap()).unwrap().vectors.unwrap();
        assert_eq!((path.as_str(), several.dimension, several.data.len()), (ASSIGN_BATCH, 2, 16));
        let (path, near) = body(Query::Nearest, 1).await;
        let near = NearestClustersRequest::decode(message(&near).unwrap()).unwrap();
        assert_eq!((path.as_str(), near.count), (NEAREST, 3));
        let (path, similar) = body(Query::Similar, 1).await;
        let similar = SimilarItemsRequest::decode(message(&similar).unwrap()).unwrap();
        assert_eq!((path.as_str(), similar.count, similar.vector.len()), (SIMILAR, 3, 2));
    }

    #[test]
    fn a_body_is_one_uncompressed_message() {
        assert_eq!(message(&Bytes::from_static(b"\0\0\0\0\x02ab")), Ok(&b"ab"[..]));
        for wrong in [&b""[..], b"\0\0\0\0", b"\x01\0\0\0\x02ab", b"\0\0\0\0\x03ab", b"\0\0\0\0\x01ab"] {
            assert!(message(&Bytes::from_static(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_status_comes_in_front_or_behind() {
        let answer = |message: &'static [u8], front: &[(&'static str, &str)], behind: &[(&'static str, &str)]| {
            let mut response = Response::builder();
            for (name, value) in front {
                response = response.header(*name, *value);
            }
            let (head, ()) = response.body(()).unwrap().into_parts();
            let trailers = behind.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            read(ASSIGN, &Raw { head, body: Bytes::from_static(message), trailers: Some(trailers) })
        };
        // Field 2, the version.
        let good = b"\0\0\0\0\x04\x12\x02v7";
        assert_eq!(answer(good, &[], &[("grpc-status", "0")]).unwrap().version, "v7");
        for (front, behind) in [(true, false), (false, true)] {
            let status = [("grpc-status", "8"), ("grpc-message", "too%20busy")];
            let choose = |here: bool| if here { &status[..] } else { &[] };
            let problem = answer(b"", choose(front), choose(behind)).unwrap_err();
            assert_eq!((problem.kind.as_str(), problem.message.as_str()), ("RESOURCE_EXHAUSTED", "too busy"));
        }
        assert_eq!(answer(good, &[], &[]).unwrap_err().kind, "strange answer");
        assert_eq!(answer(b"", &[("grpc-status", "0")], &[]).unwrap_err().kind, "strange answer");
    }

    #[test]
    fn codes_are_spelt_as_in_the_documentation() {
        assert_eq!(name(Code::ResourceExhausted), "RESOURCE_EXHAUSTED");
        assert_eq!(name(Code::NotFound), "NOT_FOUND");
        assert_eq!(name(Code::Ok), "OK");
    }
}
