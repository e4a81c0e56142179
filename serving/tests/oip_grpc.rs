//! The Open Inference Protocol over gRPC: answers, errors, typed and raw contents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_protocol::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use coterie_protocol::inference::infer_parameter::ParameterChoice;
use coterie_protocol::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use coterie_protocol::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelReadyRequest, ServerLiveRequest, ServerMetadataRequest, ServerReadyRequest,
};
use hyper::body::Bytes;
use support::{Running, models, start};
use tonic::Code;
use tonic::transport::Channel;

type Client = GrpcInferenceServiceClient<Channel>;

async fn client(server: &Running) -> Client {
    Client::connect(format!("http://{}", server.grpc)).await.unwrap()
}

fn input(shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
    InferInputTensor {
        name: "vectors".to_owned(),
        datatype: "FP32".to_owned(),
        shape: shape.to_vec(),
        contents,
        ..Default::default()
    }
}

fn floats(values: &[f32]) -> Option<InferTensorContents> {
    Some(InferTensorContents { fp32_contents: values.to_vec(), ..Default::default() })
}

/// A request for two rows with typed contents.
fn typed() -> ModelInferRequest {
    ModelInferRequest {
        model_name: "songs".to_owned(),
        id: "seven".to_owned(),
        inputs: vec![input(&[2, 2], floats(&[140.0, 0.0, 100.0, -12.0]))],
        ..Default::default()
    }
}

/// The same with raw contents.
fn raw() -> ModelInferRequest {
    let values: Vec<u8> = [140.0f32, 0.0, 100.0, -12.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    ModelInferRequest { inputs: vec![input(&[2, 2], None)], raw_input_contents: vec![values.into()], ..typed() }
}

fn parameter(choice: ParameterChoice) -> std::collections::HashMap<String, InferParameter> {
    [("neighbors".to_owned(), InferParameter { parameter_choice: Some(choice) })].into()
}

fn output(name: &str) -> InferRequestedOutputTensor {
    InferRequestedOutputTensor { name: name.to_owned(), ..Default::default() }
}

fn shapes(reply: &ModelInferResponse) -> Vec<(&str, &str, &[i64])> {
    reply.outputs.iter().map(|tensor| (&*tensor.name, &*tensor.datatype, &*tensor.shape)).collect()
}

#[tokio::test]
async fn the_server_and_its_model_are_described() {
    let server = start(models::songs()).await;
    let mut client = client(&server).await;
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let metadata = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!((&*metadata.name, &*metadata.version), ("coterie", env!("CARGO_PKG_VERSION")));
    for (name, version, expected) in
        [("songs", "", true), ("songs", "v3", true), ("songs", "v2", false), ("films", "", false)]
    {
        let request = ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
        assert_eq!(client.model_ready(request).await.unwrap().into_inner().ready, expected, "{name} {version}");
        let request = ModelMetadataRequest { name: name.to_owned(), version: version.to_owned() };
        match client.model_metadata(request).await {
            Ok(reply) => {
                assert!(expected);
                let reply = reply.into_inner();
                assert_eq!((&*reply.name, &*reply.versions), ("songs", &["v3".to_owned()][..]));
                assert_eq!(reply.inputs[0].shape, [-1, 2]);
                let names: Vec<&str> = reply.outputs.iter().map(|tensor| &*tensor.name).collect();
                assert_eq!(names, ["cluster_id", "distance", "margin", "neighbor_ids"]);
            }
            Err(status) => assert_eq!((status.code(), expected), (Code::NotFound, false)),
        }
    }
}

#[tokio::test]
async fn typed_requests_get_typed_answers() {
    let server = start(models::songs()).await;
    let reply = client(&server).await.model_infer(typed()).await.unwrap().into_inner();
    assert_eq!((&*reply.model_name, &*reply.model_version, &*reply.id), ("songs", "v3", "seven"));
    assert_eq!(
        shapes(&reply),
        [("cluster_id", "INT32", &[2][..]), ("distance", "FP32", &[2]), ("margin", "FP32", &[2])]
    );
    assert!(reply.raw_output_contents.is_empty());
    let contents: Vec<&InferTensorContents> =
        reply.outputs.iter().map(|tensor| tensor.contents.as_ref().unwrap()).collect();
    assert_eq!(contents[0].int_contents, [1, 2]);
    assert_eq!(contents[1].fp32_contents, [1.0, 1.0]);
    assert_eq!(contents[2].fp32_contents, [1.0, 2.0]);
}

#[tokio::test]
async fn raw_requests_get_raw_answers() {
    let server = start(models::songs()).await;
    let request = ModelInferRequest {
        model_version: "v3".to_owned(),
        parameters: parameter(ParameterChoice::Int64Param(2)),
        outputs: vec![output("neighbor_ids"), output("distance")],
        ..raw()
    };
    let mut client = client(&server).await;
    let reply = client.model_infer(request.clone()).await.unwrap().into_inner();
    assert_eq!(shapes(&reply), [("neighbor_ids", "INT32", &[2, 2][..]), ("distance", "FP32", &[2])]);
    assert!(reply.outputs.iter().all(|tensor| tensor.contents.is_none()));
    let ids: Vec<u8> = [1i32, 0, 2, 0].iter().flat_map(|id| id.to_le_bytes()).collect();
    let distances: Vec<u8> = [1f32, 1.0].iter().flat_map(|distance| distance.to_le_bytes()).collect();
    assert_eq!(reply.raw_output_contents, [Bytes::from(ids), Bytes::from(distances)]);

    let request =
        ModelInferRequest { parameters: parameter(ParameterChoice::Uint64Param(1)), outputs: vec![], ..request };
    let reply = client.model_infer(request).await.unwrap().into_inner();
    assert_eq!(reply.outputs.len(), 4);
    assert_eq!(reply.raw_output_contents[3], reply.raw_output_contents[0], "the nearest is the cluster");
}

#[tokio::test]
async fn errors_carry_their_code() {
    let server = start(models::songs()).await;
    let mut client = client(&server).await;
    let with = |change: &dyn Fn(&mut ModelInferRequest), mut request: ModelInferRequest| {
        change(&mut request);
        request
    };
    let invalid = Code::InvalidArgument;
    let doubles = InferTensorContents { fp64_contents: vec![1.0, 2.0], ..Default::default() };
    let cases: Vec<(ModelInferRequest, Code, &str)> = vec![
        (
            with(&|r| r.model_name = "films".into(), typed()),
            Code::NotFound,
            "model \"films\" is not served here, \"songs\" is",
        ),
        (
            with(&|r| r.model_version = "v1".into(), typed()),
            Code::NotFound,
            "model version \"v1\" is not served here, \"v3\" is: name that, or no version",
        ),
        (with(&|r| r.inputs.clear(), typed()), invalid, "found 0 inputs: send one, \"vectors\""),
        (
            with(&|r| r.inputs[0].datatype = "INT32".into(), typed()),
            invalid,
            "input \"vectors\" is of datatype \"INT32\": send FP32",
        ),
        (
            with(&|r| r.inputs[0].shape = vec![4], typed()),
            invalid,
            "input \"vectors\" is of shape [4]: send [rows, 2], where rows is at least 1",
        ),
        (
            with(&|r| r.inputs[0].shape = vec![3, 2], typed()),
            invalid,
            "input \"vectors\" has 4 values of data, but its shape [3, 2] takes 6",
        ),
        (
            with(&|r| r.inputs[0].shape = vec![3, 2], raw()),
            invalid,
            "input \"vectors\" has 16 bytes of data, but its shape [3, 2] takes 24",
        ),
        (
            with(&|r| r.inputs[0].shape = vec![i64::MAX, 2], raw()),
            invalid,
            "9223372036854775807 vectors in one request, at most 65536 are allowed: split them over several requests",
        ),
        (
            with(&|r| r.inputs[0].contents = None, typed()),
            invalid,
            "input \"vectors\" has 0 values of data, but its shape [2, 2] takes 4",
        ),
        (
            with(&|r| r.inputs[0].contents = Some(doubles.clone()), typed()),
            invalid,
            "input \"vectors\" is FP32: send its values in fp32_contents and no other field",
        ),
        (
            with(&|r| r.inputs[0].contents = floats(&[1.0]), raw()),
            invalid,
            "input \"vectors\" has contents beside raw_input_contents: send either",
        ),
        (
            with(&|r| r.raw_input_contents.push(Bytes::new()), raw()),
            invalid,
            "raw_input_contents has 2 entries for 1 inputs: send one for each",
        ),
        (
            with(&|r| r.outputs = vec![output("label")], raw()),
            invalid,
            "there is no output \"label\": there are \"cluster_id\", \"distance\", \"margin\" and \"neighbor_ids\"",
        ),
        (
            with(&|r| r.parameters = parameter(ParameterChoice::Int64Param(-1)), raw()),
            invalid,
            "parameter \"neighbors\" must be an int64 of at least 1",
        ),
        (
            with(&|r| r.parameters = parameter(ParameterChoice::StringParam("3".into())), raw()),
            invalid,
            "parameter \"neighbors\" must be an int64 of at least 1",
        ),
        (
            with(&|r| r.parameters = parameter(ParameterChoice::Int64Param(0)), raw()),
            invalid,
            "parameter \"neighbors\" must be at least 1",
        ),
    ];
    for (request, code, message) in cases {
        let status = client.model_infer(request.clone()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message), "{request:?}");
    }
    let status = client.model_infer(with(&|r| r.model_name = "é".repeat(1 << 20), typed())).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    assert!(status.message().starts_with("model \"éé") && status.message().ends_with("é..."));
    let metric = "coterie_serving_requests_total{protocol=\"grpc\",endpoint=\"infer\",code=\"INVALID_ARGUMENT\"}";
    assert_eq!(server.metric(metric).await, Some(14.0));
}

/// Parts of two bytes each would take hundreds of bytes in memory.
#[tokio::test]
async fn a_message_of_very_many_parts_is_refused_before_it_is_decoded() {
    let server = start(models::songs()).await;
    let request = ModelInferRequest { inputs: vec![InferInputTensor::default(); 5_000], ..typed() };
    let status = client(&server).await.model_infer(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "the message has more than 4096 parts"));
}
