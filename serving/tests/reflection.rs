//! Server reflection describes what can be called, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use futures::{StreamExt, stream};
use support::{PATIENCE, Running, models, start};
use tonic::Code;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::{v1, v1alpha};

const SERVICES: [&str; 4] = [
    "coterie.v1.Query",
    "grpc.health.v1.Health",
    "inference.GRPCInferenceService",
    "grpc.reflection.v1.ServerReflection",
];

async fn channel(server: &Running) -> Channel {
    Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap()
}

fn ask(request: v1::server_reflection_request::MessageRequest) -> v1::ServerReflectionRequest {
    v1::ServerReflectionRequest { host: String::new(), message_request: Some(request) }
}

#[tokio::test]
async fn the_public_services_are_described() {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let server = start(models::songs()).await;
    let mut client = ServerReflectionClient::new(channel(&server).await);
    let mut requests = vec![ask(MessageRequest::ListServices(String::new()))];
    requests.extend(SERVICES.map(|service| ask(MessageRequest::FileContainingSymbol(service.to_owned()))));
    requests.push(ask(MessageRequest::FileContainingSymbol("coterie.internal.v1.Coordination".to_owned())));
    let replies = client.server_reflection_info(stream::iter(requests)).await.unwrap().into_inner();
    let replies: Vec<_> = replies.map(|reply| reply.map(|reply| reply.message_response.unwrap())).collect().await;
    let Ok(MessageResponse::ListServicesResponse(list)) = &replies[0] else { panic!("{replies:?}") };
    let mut names: Vec<&str> = list.service.iter().map(|service| &*service.name).collect();
    let mut expected = SERVICES.to_vec();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (reply, service) in replies[1..].iter().zip(SERVICES) {
        let Ok(MessageResponse::FileDescriptorResponse(file)) = reply else { panic!("{service}: {reply:?}") };
        assert!(!file.file_descriptor_proto.is_empty());
    }
    let unknown = replies.last().unwrap().as_ref().unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "internal services stay internal");
}

#[tokio::test]
async fn older_clients_are_answered_too() {
    use v1alpha::server_reflection_request::MessageRequest;
    let server = start(models::songs()).await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&server).await);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut replies = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    let reply = format!("{:?}", replies.next().await.unwrap().unwrap());
    assert!(reply.contains("coterie.v1.Query") && reply.contains("inference.GRPCInferenceService"), "{reply}");
}

/// Tools keep their stream open for as long as their window.
#[tokio::test]
async fn an_open_stream_does_not_hold_up_the_drain() {
    use v1::server_reflection_request::MessageRequest;
    let mut server = start(models::songs()).await;
    let mut client = ServerReflectionClient::new(channel(&server).await);
    let requests = stream::iter([ask(MessageRequest::ListServices(String::new()))]).chain(stream::pending());
    let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    replies.next().await.unwrap().unwrap();
    server.stop();
    let begun = std::time::Instant::now();
    assert!(tokio::time::timeout(PATIENCE, replies.next()).await.unwrap().is_none(), "ends in good order");
    server.ended().await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "did not wait for the drain's end");
}
