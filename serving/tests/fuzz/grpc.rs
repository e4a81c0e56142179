//! Messages, and bytes that are none.

use crate::support::{models, start};
use crate::{check, runtime, songs_with_items};
use coterie_protocol::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use coterie_protocol::inference::infer_parameter::ParameterChoice;
use coterie_protocol::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use coterie_protocol::inference::{InferParameter, InferTensorContents, ModelInferRequest};
use coterie_protocol::query::{
    AssignBatchRequest, AssignRequest, NearestClustersRequest, Set, SimilarItemsRequest, Vectors,
};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tonic::Code;

#[test]
fn grpc_messages() {
    let runtime = runtime();
    let server = runtime.block_on(songs_with_items());
    let client = Arc::new(Mutex::new(runtime.block_on(server.client())));
    let floats = prop::collection::vec(prop_oneof![any::<u32>().prop_map(f32::from_bits), -1e3f32..1e3], 0..6);
    let version = prop::sample::select(vec!["", "", "v3", "v2", "\u{0}"]);
    let dimension = prop_oneof![Just(2u32), any::<u32>(), 0u32..5];
    let members = (prop::collection::vec(any::<u64>(), 0..3), prop::collection::vec("\\PC{0,3}", 0..3));
    let set = prop::option::of(members.prop_map(|(integers, texts)| Set { integers, texts }));
    let inputs = (floats, version, dimension, prop::collection::vec(any::<u8>(), 0..40), any::<u32>(), set);
    check(1_000, &server, &runtime, |runner| {
        runner
            .run(&inputs, |(vector, version, dimension, data, count, set)| {
                let mut client = client.lock().unwrap().clone();
                runtime.block_on(async {
                    let model_version = version.to_owned();
                    let vectors = Some(Vectors { dimension, data: data.into() });
                    let similar = SimilarItemsRequest {
                        id: if vector.is_empty() { format!("{dimension}") } else { String::new() },
                        vector: vector.clone(),
                        count: count % 1_100,
                        cluster: (count % 3 == 0).then_some(dimension as i32),
                        method: (count % 7) as i32,
                        model_version: model_version.clone(),
                        set: set.clone(),
                    };
                    let results = [
                        client.similar_items(similar).await.map(drop),
                        client
                            .assign(AssignRequest {
                                vector: vector.clone(),
                                model_version: model_version.clone(),
                                set: set.clone(),
                            })
                            .await
                            .map(drop),
                        client
                            .assign_batch(AssignBatchRequest {
                                vectors,
                                model_version: model_version.clone(),
                                sets: set.iter().cloned().collect(),
                            })
                            .await
                            .map(drop),
                        client
                            .nearest_clusters(NearestClustersRequest { vector, count, model_version, set })
                            .await
                            .map(drop),
                    ];
                    for result in results {
                        if let Err(status) = result {
                            prop_assert!(
                                matches!(status.code(), Code::InvalidArgument | Code::NotFound),
                                "{:?}",
                                status
                            );
                        }
                    }
                    Ok(())
                })
            })
            .unwrap();
    });
}

#[test]
fn inference_messages() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let connect = GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc));
    let client = Arc::new(Mutex::new(runtime.block_on(connect).unwrap()));
    let name = prop::sample::select(vec!["vectors", "vectors", "vectors", "rows", ""]);
    let datatype = prop::sample::select(vec!["FP32", "FP32", "FP32", "INT64", "BYTES", ""]);
    let shape = prop_oneof![Just(vec![1, 2]), prop::collection::vec(prop_oneof![-2i64..5, any::<i64>()], 0..4)];
    let floats = prop::collection::vec(prop_oneof![any::<u32>().prop_map(f32::from_bits), -1e3f32..1e3], 0..5);
    let contents = prop::option::of((floats, prop::collection::vec(any::<i32>(), 0..2)));
    let tensors = prop::collection::vec((name, datatype, shape, contents), 0..3);
    let raw = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..3);
    let outputs = prop::collection::vec(prop::sample::select(vec!["cluster_id", "neighbor_ids", "margin", "x"]), 0..3);
    let model = prop::sample::select(vec!["songs", "songs", "songs", "", "films"]);
    let inputs = (model, tensors, raw, outputs, prop::option::of(any::<i64>()));
    check(1_500, &server, &runtime, |runner| {
        runner
            .run(&inputs, |(model, tensors, raw, outputs, neighbors)| {
                let tensor = |(name, datatype, shape, contents): (&str, &str, _, Option<(_, _)>)| InferInputTensor {
                    name: name.to_owned(),
                    datatype: datatype.to_owned(),
                    shape,
                    contents: contents.map(|(fp32_contents, int_contents)| InferTensorContents {
                        fp32_contents,
                        int_contents,
                        ..Default::default()
                    }),
                    ..Default::default()
                };
                let neighbors = neighbors
                    .map(|number| InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(number)) });
                let request = ModelInferRequest {
                    model_name: model.to_owned(),
                    inputs: tensors.into_iter().map(tensor).collect(),
                    outputs: outputs
                        .into_iter()
                        .map(|name| InferRequestedOutputTensor { name: name.to_owned(), ..Default::default() })
                        .collect(),
                    raw_input_contents: raw.into_iter().map(Bytes::from).collect(),
                    parameters: neighbors.into_iter().map(|number| ("neighbors".to_owned(), number)).collect(),
                    ..Default::default()
                };
                let mut client = client.lock().unwrap().clone();
                if let Err(status) = runtime.block_on(client.model_infer(request)) {
                    prop_assert!(matches!(status.code(), Code::InvalidArgument | Code::NotFound), "{:?}", status);
                }
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn grpc_bytes() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let methods = prop::sample::select(vec![
        "coterie.v1.Query/Assign",
        "coterie.v1.Query/AssignBatch",
        "coterie.v1.Query/NearestClusters",
        "coterie.v1.Query/ListClusters",
        "coterie.v1.Query/GetCluster",
        "coterie.v1.Query/GetModel",
        "coterie.v1.Query/Drop",
        "inference.GRPCInferenceService/ModelInfer",
        "inference.GRPCInferenceService/ModelMetadata",
        "inference.GRPCInferenceService/ModelReady",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ]);
    // A frame is a flag, a length and that many bytes.
    let framed = (prop::collection::vec(any::<u8>(), 0..60), 0u8..3, -3i64..3).prop_map(|(message, flag, slip)| {
        let length = (message.len() as i64 + slip).max(0) as u32;
        [&[flag][..], &length.to_be_bytes(), &message].concat()
    });
    let bodies = prop_oneof![prop::collection::vec(any::<u8>(), 0..60), framed];
    let connect = async {
        let stream = TcpStream::connect(server.grpc).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    };
    let sender = runtime.block_on(connect);
    check(1_000, &server, &runtime, |runner| {
        runner
            .run(&(methods.clone(), &bodies), |(method, body)| {
                let mut sender = sender.clone();
                runtime.block_on(async {
                    let request = Request::builder()
                        .method("POST")
                        .uri(format!("http://{}/{method}", server.grpc))
                        .header("content-type", "application/grpc")
                        .header("te", "trailers")
                        .body(Full::new(Bytes::from(body)))
                        .unwrap();
                    let response = sender.send_request(request).await.unwrap();
                    prop_assert_eq!(response.status(), 200);
                    let head = response.headers().get("grpc-status").cloned();
                    let body = response.into_body().collect().await.unwrap();
                    let status =
                        head.or_else(|| body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned()));
                    prop_assert!(status.is_some(), "every answer has a status");
                    Ok(())
                })
            })
            .unwrap();
    });
}
