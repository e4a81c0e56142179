//! The protocol over REST. Only spelling happens here.

use super::tensor::{Contents, Data, Input, Output};
use super::{Inference, binary, infer, malformed, metadata, served};
use crate::app::App;
use crate::query::{QueryError, Served};
use crate::rest::{Refusal, Reply, body, json, spell};
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use metadata::TensorMetadata;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// The model that an address names.
#[derive(Debug, Deserialize)]
struct Target {
    model: String,
    #[serde(default)]
    version: String,
}

type Addressed = Result<Path<Target>, PathRejection>;

// What the specification leaves open to servers, such as parameters of other extensions, is accepted and ignored.

#[derive(Debug, Deserialize)]
struct InferBody {
    id: Option<String>,
    parameters: Option<RequestParameters>,
    inputs: Vec<InputBody>,
    outputs: Option<Vec<OutputBody>>,
}

#[derive(Debug, Default, Deserialize)]
struct RequestParameters {
    neighbors: Option<u64>,
    binary_data_output: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct InputBody {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    parameters: Option<InputParameters>,
    data: Option<Contents>,
}

#[derive(Debug, Deserialize)]
struct InputParameters {
    binary_data_size: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct OutputBody {
    name: String,
    parameters: Option<OutputParameters>,
}

#[derive(Debug, Deserialize)]
struct OutputParameters {
    binary_data: Option<bool>,
}

/// A request, and how its answer is to be spelt.
#[derive(Debug)]
struct Asked {
    inference: Inference,
    spelling: Spelling,
}

#[derive(Debug)]
struct Spelling {
    id: Option<String>,
    /// Whether outputs travel as bytes unless they say otherwise.
    binary: bool,
    /// What the outputs say, in their order.
    binaries: Vec<Option<bool>>,
}

#[derive(Serialize)]
struct ModelReply<'a> {
    name: &'a str,
    versions: [&'a str; 1],
    platform: &'a str,
    inputs: [TensorMetadata; 1],
    outputs: [TensorMetadata; 4],
}

#[derive(Serialize)]
struct InferReply<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<OutputReply<'a>>,
}

#[derive(Serialize)]
struct OutputReply<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Data>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

/// The protocol's endpoints.
pub(crate) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/", get(server_metadata))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready));
    for model in ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"] {
        router = router
            .route(model, get(model_metadata))
            .route(&format!("{model}/ready"), get(model_ready))
            .route(&format!("{model}/infer"), post(model_infer));
    }
    router
}

async fn server_metadata() -> Reply {
    let (name, version, extensions) = (metadata::SERVER, metadata::VERSION, metadata::EXTENSIONS);
    Ok(json(spell(&json!({"name": name, "version": version, "extensions": extensions}))?))
}

async fn live() -> Reply {
    Ok(json(br#"{"live":true}"#.to_vec()))
}

async fn ready(State(app): State<Arc<App>>) -> Reply {
    check_ready(&app)?;
    // The specification's text says `live` here; servers say `ready`.
    Ok(json(br#"{"live":true,"ready":true}"#.to_vec()))
}

async fn model_ready(State(app): State<Arc<App>>, target: Addressed) -> Reply {
    let Target { model, version } = addressed(target)?;
    let served = served(&app, &model, &version)?;
    check_ready(&app)?;
    Ok(json(spell(&json!({"name": served.model().name, "ready": true}))?))
}

async fn model_metadata(State(app): State<Arc<App>>, target: Addressed) -> Reply {
    let Target { model, version } = addressed(target)?;
    let served = served(&app, &model, &version)?;
    let reply = ModelReply {
        name: &served.model().name,
        versions: [served.version()],
        platform: metadata::PLATFORM,
        inputs: metadata::inputs(&served),
        outputs: metadata::outputs(),
    };
    Ok(json(spell(&reply)?))
}

async fn model_infer(State(app): State<Arc<App>>, target: Addressed, request: Request) -> Reply {
    let Target { model, version } = addressed(target)?;
    let json_length = binary::json_length(request.headers())?;
    let bytes = body::read(&app, request).await?;
    let served = served(&app, &model, &version)?;
    let Asked { inference, spelling } = body::digest(&app, bytes, move |bytes| read(bytes, json_length)).await?;
    let outputs = infer(&app, &served, inference).await?;
    let numbers = outputs.iter().map(|output| output.data.len()).sum();
    let reply = move || answer(&served, &spelling, &outputs);
    Ok(app.compute.spell(numbers, reply).await??)
}

fn addressed(target: Addressed) -> Result<Target, QueryError> {
    match target {
        Ok(Path(target)) => Ok(target),
        Err(rejection) => Err(malformed(rejection.body_text())),
    }
}

fn check_ready(app: &App) -> Result<(), Refusal> {
    if app.is_ready() { Ok(()) } else { Err(Refusal::from(QueryError::ShuttingDown)) }
}

/// Reads the body of a request.
fn read(bytes: Bytes, json_length: Option<usize>) -> Result<Asked, QueryError> {
    let (json, mut tail) = binary::split(bytes, json_length)?;
    let InferBody { id, parameters, inputs, outputs } = body::parse_bytes(&json)?;
    let RequestParameters { neighbors, binary_data_output } = parameters.unwrap_or_default();
    let inputs = inputs.into_iter().map(|input| read_input(input, &mut tail)).collect::<Result<_, _>>()?;
    tail.end()?;
    let (outputs, binaries) = outputs
        .unwrap_or_default()
        .into_iter()
        .map(|output| (output.name, output.parameters.and_then(|parameters| parameters.binary_data)))
        .unzip();
    let binary = binary_data_output.unwrap_or_default();
    Ok(Asked { inference: Inference { neighbors, inputs, outputs }, spelling: Spelling { id, binary, binaries } })
}

fn read_input(input: InputBody, tail: &mut binary::Tail) -> Result<Input, QueryError> {
    let InputBody { name, datatype, shape, parameters, data } = input;
    let size = parameters.and_then(|parameters| parameters.binary_data_size);
    let contents = match (data, size) {
        (Some(contents), None) => contents,
        (None, Some(size)) => Contents::Raw(tail.take(&name, size)?),
        (None, None) | (Some(_), Some(_)) => {
            return Err(malformed(format!("input {name:?} needs either data or the parameter binary_data_size")));
        }
    };
    Ok(Input { name, datatype, shape, contents })
}

/// Spells the answer.
fn answer(served: &Served, spelling: &Spelling, outputs: &[Output]) -> Result<Response, QueryError> {
    let Spelling { id, binary, binaries } = spelling;
    let binaries: Vec<bool> =
        (0..outputs.len()).map(|at| binaries.get(at).copied().flatten().unwrap_or(*binary)).collect();
    let outputs = || outputs.iter().zip(&binaries);
    let spelt = outputs().map(|(output, &binary)| OutputReply {
        name: output.name.as_str(),
        datatype: output.name.datatype(),
        shape: &output.shape,
        parameters: binary.then(|| BinarySize { binary_data_size: output.data.raw_len() }),
        data: (!binary).then_some(&output.data),
    });
    let spelt = spell(&InferReply {
        model_name: &served.model().name,
        model_version: served.version(),
        id: id.as_deref(),
        outputs: spelt.collect(),
    })?;
    if !binaries.contains(&true) {
        return Ok(json(spelt));
    }
    Ok(binary::reply(spelt, outputs().filter(|&(_, &binary)| binary).map(|(output, _)| &output.data)))
}
