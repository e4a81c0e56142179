//! The protocol over gRPC. Only spelling happens here.

use super::metadata::{self, TensorMetadata};
use super::tensor::{Contents, Data, Input, Output};
use super::{Inference, infer, malformed, served};
use crate::app::App;
use crate::grpc::reply;
use crate::query::{QueryError, Served};
use bytes::Bytes;
use coterie_protocol::inference::grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer};
use coterie_protocol::inference::infer_parameter::ParameterChoice;
use coterie_protocol::inference::model_infer_request::InferInputTensor;
use coterie_protocol::inference::model_infer_response::InferOutputTensor;
use coterie_protocol::inference::{
    self as wire, InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The protocol's service.
pub(crate) struct Service {
    app: Arc<App>,
}

pub(crate) fn service(app: Arc<App>) -> GrpcInferenceServiceServer<Service> {
    GrpcInferenceServiceServer::new(Service { app })
}

// === impl Service ===

impl Service {
    async fn answer_infer(&self, request: ModelInferRequest) -> Result<ModelInferResponse, QueryError> {
        let ModelInferRequest { model_name, model_version, id, parameters, inputs, outputs, raw_input_contents } =
            request;
        let served = served(&self.app, &model_name, &model_version)?;
        let raw = !raw_input_contents.is_empty();
        let inference = Inference {
            neighbors: neighbors(parameters.get("neighbors"))?,
            inputs: if raw { with_raw(inputs, raw_input_contents)? } else { with_typed(inputs)? },
            outputs: outputs.into_iter().map(|output| output.name).collect(),
        };
        let outputs = infer(&self.app, &served, inference).await?;
        Ok(answer(&served, id, outputs, raw))
    }

    fn answer_metadata(&self, request: &ModelMetadataRequest) -> Result<ModelMetadataResponse, QueryError> {
        let ModelMetadataRequest { name, version } = request;
        let served = served(&self.app, name, version)?;
        Ok(ModelMetadataResponse {
            name: served.model().name.clone(),
            versions: vec![served.version().to_owned()],
            platform: metadata::PLATFORM.to_owned(),
            inputs: metadata::inputs(&served).map(tensor).to_vec(),
            outputs: metadata::outputs().map(tensor).to_vec(),
        })
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    async fn server_live(&self, _request: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        reply(Ok(ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _request: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        reply(Ok(ServerReadyResponse { ready: self.app.is_ready() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.get_ref();
        reply(Ok(ModelReadyResponse { ready: self.app.is_ready() && served(&self.app, name, version).is_ok() }))
    }

    async fn server_metadata(
        &self,
        _request: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        reply(Ok(ServerMetadataResponse {
            name: metadata::SERVER.to_owned(),
            version: metadata::VERSION.to_owned(),
            extensions: metadata::EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        reply(self.answer_metadata(request.get_ref()))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        reply(self.answer_infer(request.into_inner()).await)
    }
}

fn neighbors(parameter: Option<&InferParameter>) -> Result<Option<u64>, QueryError> {
    let Some(InferParameter { parameter_choice }) = parameter else { return Ok(None) };
    let number = match parameter_choice {
        Some(ParameterChoice::Int64Param(number)) => u64::try_from(*number).ok(),
        Some(ParameterChoice::Uint64Param(number)) => Some(*number),
        Some(ParameterChoice::BoolParam(_) | ParameterChoice::StringParam(_) | ParameterChoice::DoubleParam(_))
        | None => None,
    };
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(malformed("parameter \"neighbors\" must be an int64 of at least 1")),
    }
}

/// Inputs whose contents lie beside them.
fn with_raw(inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> Result<Vec<Input>, QueryError> {
    if raw.len() != inputs.len() {
        let (raw, inputs) = (raw.len(), inputs.len());
        return Err(malformed(format!("raw_input_contents has {raw} entries for {inputs} inputs: send one for each")));
    }
    let pair = |(input, bytes)| {
        let InferInputTensor { name, datatype, shape, parameters: _, contents } = input;
        if contents.is_some() {
            return Err(malformed(format!("input {name:?} has contents beside raw_input_contents: send either")));
        }
        Ok(Input { name, datatype, shape, contents: Contents::Raw(bytes) })
    };
    inputs.into_iter().zip(raw).map(pair).collect()
}

/// Inputs that carry their contents.
fn with_typed(inputs: Vec<InferInputTensor>) -> Result<Vec<Input>, QueryError> {
    let typed = |input| {
        let InferInputTensor { name, datatype, shape, parameters: _, contents } = input;
        let InferTensorContents {
            bool_contents,
            int_contents,
            int64_contents,
            uint_contents,
            uint64_contents,
            fp32_contents,
            fp64_contents,
            bytes_contents,
        } = contents.unwrap_or_default();
        let others = bool_contents.len()
            + int_contents.len()
            + int64_contents.len()
            + uint_contents.len()
            + uint64_contents.len()
            + fp64_contents.len()
            + bytes_contents.len();
        if others > 0 && datatype == super::tensor::FP32 {
            return Err(malformed(format!(
                "input {name:?} is FP32: send its values in fp32_contents and no other field"
            )));
        }
        Ok(Input { name, datatype, shape, contents: Contents::Flat(fp32_contents) })
    };
    inputs.into_iter().map(typed).collect()
}

fn answer(served: &Served, id: String, outputs: Vec<Output>, raw: bool) -> ModelInferResponse {
    let mut raw_output_contents = Vec::new();
    let outputs = outputs.into_iter().map(|Output { name, shape, data }| {
        let contents = if raw {
            let mut bytes = Vec::with_capacity(data.raw_len());
            data.write_raw(&mut bytes);
            raw_output_contents.push(Bytes::from(bytes));
            None
        } else {
            Some(match data {
                Data::Int32(values) => InferTensorContents { int_contents: values, ..InferTensorContents::default() },
                Data::Fp32(values) => InferTensorContents { fp32_contents: values, ..InferTensorContents::default() },
            })
        };
        InferOutputTensor {
            name: name.as_str().to_owned(),
            datatype: name.datatype().to_owned(),
            shape: shape.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect(),
            parameters: Default::default(),
            contents,
        }
    });
    ModelInferResponse {
        model_name: served.model().name.clone(),
        model_version: served.version().to_owned(),
        id,
        parameters: Default::default(),
        outputs: outputs.collect(),
        raw_output_contents,
    }
}

fn tensor(tensor: TensorMetadata) -> wire::model_metadata_response::TensorMetadata {
    let TensorMetadata { name, datatype, shape } = tensor;
    wire::model_metadata_response::TensorMetadata { name: name.to_owned(), datatype: datatype.to_owned(), shape }
}
