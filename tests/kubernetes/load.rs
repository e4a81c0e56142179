//! A client that asks at a constant rate and counts every failure.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::cluster::request;

/// How often a client that sends again does so, and its pause before.
const AGAIN: (u32, Duration) = (20, Duration::from_millis(100));

/// Threads that share the rate.
const CLIENTS: u32 = 8;

/// Requests under way.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: u64,
    /// Requests that were sent again because their connection was refused or broke.
    pub sent_again: u64,
    pub failures: Vec<String>,
    /// Answers by model version.
    pub versions: BTreeMap<String, u64>,
}

impl Load {
    /// Starts asking so many times a second, each time on a new connection, whether or not earlier answers have come.
    pub fn start(address: &str, per_second: u32, body: &str) -> Self {
        Self::of(address, per_second, body, 0)
    }

    /// The same, of clients that send a request again whose connection is refused or breaks, as clients of a Service should.
    pub fn sending_again(address: &str, per_second: u32, body: &str) -> Self {
        Self::of(address, per_second, body, AGAIN.0)
    }

    fn of(address: &str, per_second: u32, body: &str, again: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS)
            .map(|_| {
                let (address, body, stop) = (address.to_owned(), body.to_owned(), Arc::clone(&stop));
                let every = Duration::from_secs(1) * CLIENTS / per_second;
                std::thread::spawn(move || ask(&address, every, &body, again, &stop))
            })
            .collect();
        Self { stop, clients }
    }

    pub fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Tally::default();
        for client in self.clients {
            let Tally { answered, sent_again, failures, versions } = client.join().unwrap();
            total.answered += answered;
            total.sent_again += sent_again;
            total.failures.extend(failures);
            for (version, count) in versions {
                *total.versions.entry(version).or_default() += count;
            }
        }
        total
    }
}

fn ask(address: &str, every: Duration, body: &str, again: u32, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let start = Instant::now();
    let mut due = start;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += every;
        let mut answer = request(address, "POST", "/v1/assign", body);
        for _ in 0..again {
            if answer.is_ok() {
                break;
            }
            tally.sent_again += 1;
            std::thread::sleep(AGAIN.1);
            answer = request(address, "POST", "/v1/assign", body);
        }
        match answer {
            Ok((200, answer)) => {
                tally.answered += 1;
                let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
                let version = answer["modelVersion"].as_str().unwrap_or("none").to_owned();
                *tally.versions.entry(version).or_default() += 1;
            }
            Ok((code, answer)) => tally.failures.push(format!("after {:?}: {code} {answer}", start.elapsed())),
            Err(error) => tally.failures.push(format!("after {:?}: {error}", start.elapsed())),
        }
    }
    tally
}
