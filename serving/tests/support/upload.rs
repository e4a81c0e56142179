//! A REST request whose body arrives as slowly as the test likes.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The body of every upload.
const BODY: &[u8] = br#"{"vector": [160, 0]}"#;

pub(crate) struct Upload {
    stream: TcpStream,
}

impl Upload {
    /// Sends the head of an assign request and half of its body.
    pub(crate) async fn begin(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("POST /v1/assign HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", BODY.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&BODY[..10]).await.unwrap();
        Self { stream }
    }

    /// Sends the rest and gives the answer.
    pub(crate) async fn finish(mut self) -> String {
        self.stream.write_all(&BODY[10..]).await.unwrap();
        self.answer().await
    }

    /// What the server says, until it has said all of an answer or closes.
    pub(crate) async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = self.stream.read(&mut buffer).await.unwrap();
            text.extend_from_slice(&buffer[..count]);
            if count == 0 || text.ends_with(b"}") {
                return String::from_utf8(text).unwrap();
            }
        }
    }
}
