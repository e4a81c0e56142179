//! HTTP/2 frame by frame, for what no honest client sends.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame as it lies on the wire.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a gRPC call, as HPACK literals that leave no trace in its table.
pub(crate) fn call(path: &str) -> Vec<u8> {
    // Indexed `:method: POST` and `:scheme: http`; names 4 and 1 of the static table are `:path` and `:authority`.
    let mut block = vec![0x83, 0x86];
    block.extend(named(&[0x04], path));
    block.extend(named(&[0x01], "localhost"));
    block.extend(named(&literal("content-type"), "application/grpc"));
    block.extend(named(&literal("te"), "trailers"));
    block
}

/// A name that is in no table.
fn literal(name: &str) -> Vec<u8> {
    [&[0x00, name.len() as u8], name.as_bytes()].concat()
}

fn named(name: &[u8], value: &str) -> Vec<u8> {
    [name, &[value.len() as u8], value.as_bytes()].concat()
}

/// A connection that has greeted.
pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await.unwrap();
    stream
}

/// What the server says until it closes: the kinds of its frames.
pub(crate) async fn said(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut bytes).await;
    let mut kinds = Vec::new();
    let mut rest = &bytes[..];
    while let Some((head, tail)) = rest.split_at_checked(9) {
        kinds.push(head[3]);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        rest = tail.get(length..).unwrap_or_default();
    }
    kinds
}
