//! One request and its answer, over a connection that is opened again when it is gone.

use std::error::Error;
use std::rc::Rc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::http::response::Parts;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::target::{Protocol, Target};
use super::{grpc, rest};

/// A request as it is sent, encoded beforehand.
pub(super) type Ask = Request<Full<Bytes>>;

/// What an answer says about itself.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) version: String,
    /// Of its body.
    pub(super) bytes: u64,
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) head: Parts,
    pub(super) body: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) struct Problem {
    /// The status, or what is the matter with the connection.
    pub(super) kind: String,
    pub(super) message: String,
}

/// A place for one request at a time.
pub(super) enum Lane {
    Http1 { target: Rc<Target>, sender: Option<http1::SendRequest<Full<Bytes>>> },
    Http2(Rc<Multiplexed>),
}

/// A connection with many lanes.
pub(super) struct Multiplexed {
    target: Rc<Target>,
    sender: Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

/// Room for answers on their way, so that batches are not held up.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// So many lanes, none of them connected yet; over HTTP/2 they share connections.
pub(super) fn lanes(target: &Rc<Target>, connections: usize, lanes: usize) -> Vec<Lane> {
    match target.protocol {
        Protocol::Rest => (0..lanes).map(|_| Lane::Http1 { target: Rc::clone(target), sender: None }).collect(),
        Protocol::Grpc => {
            let connection = || Rc::new(Multiplexed { target: Rc::clone(target), sender: Mutex::new(None) });
            let connections: Vec<_> =
                std::iter::repeat_with(connection).take(connections.clamp(1, lanes.max(1))).collect();
            connections.iter().cycle().take(lanes).map(|connection| Lane::Http2(Rc::clone(connection))).collect()
        }
    }
}

// === impl Lane ===

impl Lane {
    /// Opens the connection unless it is open.
    pub(super) async fn connect(&mut self) -> Result<(), Problem> {
        match self {
            Self::Http1 { target, sender } => http1(target, sender).await.map(drop),
            Self::Http2(connection) => connection.sender().await.map(drop),
        }
    }

    /// Sends a request and reads its answer to the end.
    pub(super) async fn exchange(&mut self, ask: &Ask) -> Result<Answer, Problem> {
        let raw = self.ask(ask).await?;
        self.read(ask, &raw)
    }

    /// What an answer to this request says.
    pub(super) fn read(&self, ask: &Ask, raw: &Raw) -> Result<Answer, Problem> {
        match self {
            Self::Http1 { .. } => rest::read(raw),
            Self::Http2(_) => grpc::read(ask.uri().path(), raw),
        }
    }

    /// The answer as it came.
    pub(super) async fn ask(&mut self, ask: &Ask) -> Result<Raw, Problem> {
        let mut sent = self.send(ask).await?;
        if let Err(error) = &mut sent
            && error.take_message().is_some()
        {
            // It never left, as the server has closed the connection meanwhile; so it may be sent over another.
            sent = self.send(ask).await?;
        }
        let response = sent.map_err(|error| Problem::broken(&error.into_error()))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| Problem::broken(&error))?;
        let trailers = body.trailers().cloned();
        Ok(Raw { head, body: body.to_bytes(), trailers })
    }

    async fn send(&mut self, ask: &Ask) -> Result<Result<Response<Incoming>, TrySendError<Ask>>, Problem> {
        Ok(match self {
            Self::Http1 { target, sender } => http1(target, sender).await?.try_send_request(ask.clone()).await,
            Self::Http2(connection) => connection.sender().await?.try_send_request(ask.clone()).await,
        })
    }
}

/// The open connection in `sender`, or a new one.
async fn http1<'a>(
    target: &Target,
    sender: &'a mut Option<http1::SendRequest<Full<Bytes>>>,
) -> Result<&'a mut http1::SendRequest<Full<Bytes>>, Problem> {
    if let Some(open) = sender
        && open.ready().await.is_err()
    {
        *sender = None;
    }
    match sender {
        Some(open) => Ok(open),
        None => {
            let stream = tcp(target).await?;
            let (open, connection) = http1::handshake(stream).await.map_err(|error| Problem::connect(&error))?;
            tokio::spawn(connection);
            Ok(sender.insert(open))
        }
    }
}

// === impl Multiplexed ===

impl Multiplexed {
    /// The open connection, or a new one.
    async fn sender(&self) -> Result<http2::SendRequest<Full<Bytes>>, Problem> {
        let mut sender = self.sender.lock().await;
        if let Some(open) = &mut *sender
            && open.ready().await.is_ok()
        {
            return Ok(open.clone());
        }
        let stream = tcp(&self.target).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        let (open, connection) = builder.handshake(stream).await.map_err(|error| Problem::connect(&error))?;
        tokio::spawn(connection);
        Ok(sender.insert(open).clone())
    }
}

async fn tcp(target: &Target) -> Result<TokioIo<TcpStream>, Problem> {
    let stream = TcpStream::connect(&target.address).await.map_err(|error| Problem::connect(&error))?;
    stream.set_nodelay(true).map_err(|error| Problem::connect(&error))?;
    Ok(TokioIo::new(stream))
}

// === impl Problem ===

impl Problem {
    /// There is no connection.
    fn connect(error: &(dyn Error + 'static)) -> Self {
        Self { kind: "no connection".to_owned(), message: coterie_worker::error::chain(error) }
    }

    /// The connection broke before the answer was complete.
    fn broken(error: &(dyn Error + 'static)) -> Self {
        Self { kind: "broken connection".to_owned(), message: coterie_worker::error::chain(error) }
    }

    /// The answer is not what the protocol says.
    pub(super) fn strange(message: String) -> Self {
        Self { kind: "strange answer".to_owned(), message }
    }
}
