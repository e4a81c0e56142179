//! A served model and a plain HTTP client.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use serde_json::Value;

use super::{Running, free_port, wait};

/// A `coterie serve` process that is ready.
pub struct Served {
    pub http: u16,
    pub grpc: u16,
    _process: Running,
}

impl Served {
    /// Starts a `serve` command on free ports and waits until it is ready.
    pub fn start(command: &mut Command) -> Self {
        let (http, grpc) = (free_port(), free_port());
        command.arg("--http").arg(format!("127.0.0.1:{http}")).arg("--grpc").arg(format!("127.0.0.1:{grpc}"));
        let mut process = Running::start(command);
        wait(Duration::from_secs(30), "the server to be ready", || {
            let ended = process.0.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}");
            let (code, _) = request(http, "GET", "/healthz/ready", None).ok()?;
            (code == 200).then_some(())
        });
        Self { http, grpc, _process: process }
    }

    /// A GET that must succeed.
    pub fn get(&self, path: &str) -> Value {
        let (code, body) = request(self.http, "GET", path, None).unwrap();
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// A POST: status code and answer.
    pub fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let (code, body) = request(self.http, "POST", path, Some(body)).unwrap();
        (code, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }
}

/// One request on a connection of its own, as the simplest client would send it.
pub fn request(port: u16, method: &str, path: &str, body: Option<&str>) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let body = body.unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((code, body))
}
