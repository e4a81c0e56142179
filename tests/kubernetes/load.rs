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
    pub failures: Vec<String>,
    /// Answers by model version.
    pub versions: BTreeMap<String, u64>,
}

impl Load {
    /// Starts asking so many times a second, each time on a new connection, whether or not earlier answers have come.
    pub fn start(address: &str, per_second: u32, body: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS)
            .map(|_| {
                let (address, body, stop) = (address.to_owned(), body.to_owned(), Arc::clone(&stop));
                std::thread::spawn(move || ask(&address, Duration::from_secs(1) * CLIENTS / per_second, &body, &stop))
            })
            .collect();
        Self { stop, clients }
    }

    pub fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = Tally::default();
        for client in self.clients {
            let Tally { answered, failures, versions } = client.join().unwrap();
            total.answered += answered;
            total.failures.extend(failures);
            for (version, count) in versions {
                *total.versions.entry(version).or_default() += count;
            }
        }
        total
    }
}

fn ask(address: &str, every: Duration, body: &str, stop: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let start = Instant::now();
    let mut due = start;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += every;
        match request(address, "POST", "/v1/assign", body) {
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
