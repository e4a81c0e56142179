//! A store that answers badly: overloaded, silent, cut off, changing. Either the rows come out right or one clear
//! error does, after a bounded time and with a bounded number of requests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use coterie_crds::resolved::{Source, Store};
use coterie_data::plan::plan_at;
use coterie_data::reader::Reader;
use coterie_data::store::{Access, Location, Patience, open_with};
use coterie_data::{DataError, ErrorClass};
use support::write::{Table, npy};
use support::{Everything, read_plan, source};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// What the server does with one request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Good,
    Status(&'static str),
    /// Promises all bytes, sends half, and closes.
    Half,
    /// Says nothing.
    Silence,
    /// The object is another one.
    Changed,
    /// Ignores the range.
    Whole,
}

/// A web server with one object; `script` says what to do with the n-th request.
struct Server {
    location: Location,
    source: Source,
    requests: Arc<AtomicUsize>,
    script: Arc<dyn Fn(usize) -> Answer + Send + Sync>,
    body: Arc<Vec<u8>>,
    listener: Option<TcpListener>,
}

impl Server {
    async fn new(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> (Self, Table) {
        let table = Table::blobs(40_000, 8);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/data/a.npy", listener.local_addr().unwrap());
        let options = Store { allow_http: true, ..Store::default() };
        let patience = Patience {
            total: Duration::from_secs(4),
            silence: Duration::from_secs(1),
            attempt: Duration::from_secs(2),
            ..Patience::default()
        };
        let location = open_with(&uri, &options, &Access { patience, ..Access::default() }).unwrap();
        let server = Self {
            location,
            source: source(&uri),
            requests: Arc::default(),
            script: Arc::new(script),
            body: Arc::new(npy(&table, "<f4", false, 1)),
            listener: Some(listener),
        };
        (server, table)
    }

    async fn read(mut self) -> (Result<Everything, DataError>, usize, Duration) {
        let listener = self.listener.take().unwrap();
        let (script, requests, body) = (self.script.clone(), self.requests.clone(), self.body.clone());
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, requests, body) = (script.clone(), requests.clone(), body.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &*script, &requests, &body).await;
                });
            }
        });
        let start = Instant::now();
        let result = async {
            let plan = Arc::new(plan_at(&self.source, &self.location).await?);
            let reader = Reader::open_at(&self.source, self.location.clone(), Arc::clone(&plan));
            read_plan(&reader, &plan).await
        }
        .await;
        serving.abort();
        (result, self.requests.load(Ordering::SeqCst), start.elapsed())
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    script: &(dyn Fn(usize) -> Answer + Send + Sync),
    requests: &AtomicUsize,
    body: &[u8],
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let range = head.lines().find_map(|line| {
            let (start, end) = line
                .to_ascii_lowercase()
                .strip_prefix("range: bytes=")?
                .split_once('-')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            Some(start.parse::<usize>().ok()?..end.parse::<usize>().ok()? + 1)
        });
        let is_head = head.starts_with("HEAD");
        let answer = script(requests.fetch_add(1, Ordering::SeqCst));
        let tag = if matches!(answer, Answer::Changed) { "other" } else { "tag" };
        let wants_tag = head.lines().any(|line| line.eq_ignore_ascii_case("if-match: \"tag\""));
        let headers = |status: &str, length: usize| {
            format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"{tag}\"\r\nLast-Modified: Tue, 05 May 2026 10:00:00 GMT\r\nAccept-Ranges: bytes\r\n"
            )
        };
        let (head, payload) = match (answer, range) {
            (Answer::Silence, _) => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return Ok(());
            }
            (Answer::Status(status), _) => (headers(status, 0), &body[..0]),
            (Answer::Changed, Some(_)) if wants_tag => (headers("412 Precondition Failed", 0), &body[..0]),
            (Answer::Good | Answer::Changed | Answer::Half, Some(range)) => {
                let end = range.end.min(body.len());
                let content = format!("Content-Range: bytes {}-{}/{}\r\n", range.start, end - 1, body.len());
                (headers("206 Partial Content", end - range.start) + &content, &body[range.start..end])
            }
            _ => (headers("200 OK", body.len()), body),
        };
        let payload = if is_head { &body[..0] } else { payload };
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        if let Answer::Half = answer {
            stream.write_all(&payload[..payload.len() / 2]).await?;
            return stream.shutdown().await;
        }
        stream.write_all(payload).await?;
        stream.flush().await?;
    }
}

async fn fails(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> (DataError, usize, Duration) {
    let (server, _) = Server::new(script).await;
    let (result, requests, time) = server.read().await;
    (result.expect_err("a bad store was not noticed"), requests, time)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passing_faults_cost_a_few_more_requests() {
    let (server, table) = Server::new(|_| Answer::Good).await;
    let (result, needed, _) = server.read().await;
    assert!(result.unwrap().values == table.values);
    for fault in [
        Answer::Status("503 Slow Down"),
        Answer::Status("500 Internal Server Error"),
        Answer::Status("429 Too Many Requests"),
        Answer::Half,
        Answer::Silence,
    ] {
        // Every third request goes wrong.
        let (server, table) = Server::new(move |request| if request % 3 == 1 { fault } else { Answer::Good }).await;
        let (result, requests, _) = server.read().await;
        let all = result.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert!(all.values == table.values, "{fault:?}: wrong numbers");
        assert!(requests <= 2 * needed, "{fault:?}: {requests} requests instead of {needed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lasting_faults_end_in_time() {
    for (fault, class, words) in [
        (Answer::Status("503 Slow Down"), ErrorClass::Transient, "overloaded or out of order"),
        (Answer::Silence, ErrorClass::Transient, "did not answer in time"),
        (Answer::Status("403 Forbidden"), ErrorClass::Denied, "check the credentials"),
        (Answer::Status("401 Unauthorized"), ErrorClass::Denied, "check the credentials"),
        (Answer::Status("400 Bad Request"), ErrorClass::Spec, "refused the request with status 400"),
        (Answer::Whole, ErrorClass::Spec, "does not serve byte ranges"),
    ] {
        // The first answer is good, so that the object is found.
        let (error, _, time) = fails(move |request| if request == 0 { Answer::Good } else { fault }).await;
        assert_eq!(error.class(), class, "{fault:?}: {error:?}");
        assert!(error.to_string().contains(words), "{fault:?}: {error}");
        assert!(error.to_string().contains("/data/a.npy"), "{error}");
        assert!(time < Duration::from_secs(12), "{fault:?} took {time:?}");
    }
    let (error, ..) = fails(|request| if request == 0 { Answer::Good } else { Answer::Half }).await;
    assert_eq!(error.class(), ErrorClass::Transient, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_change_in_the_middle_are_noticed() {
    for from in 2..6 {
        let (error, ..) = fails(move |request| if request < from { Answer::Good } else { Answer::Changed }).await;
        assert_eq!(error.class(), ErrorClass::Transient);
        assert!(error.to_string().contains("/data/a.npy: the object changed while it was being read"), "{error}");
    }
}
