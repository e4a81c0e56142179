//! Sends requests and notes what becomes of them, on one thread.
//!
//! In the *open* loop a request is due at its time whatever became of those before; one that finds no free lane waits for it,
//! and this wait is part of its latency. A closed loop would send fewer requests to a server that is slow, and so measure least
//! when there is most to see; it is here to find out how much a server can do.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper::body::Body;

use super::exchange::{Answer, Ask, Lane, Problem};
use super::pacer::Pacer;
use super::record::{Outcome, Record};
use super::schedule::{Order, Schedule};

/// How long answers are waited for when nothing is sent any more.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rest of a lane of the closed loop after a failure, so that a server is not asked as fast as it can refuse.
const REST: Duration = Duration::from_millis(2);

/// What is sent, in which order.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) asks: &'a [Ask],
    pub(super) order: Order,
}

/// A request on its way.
struct Flight {
    lane: Lane,
    due: Instant,
    sent: Instant,
    ended: Instant,
    bytes: u64,
    answer: Result<Answer, Problem>,
}

/// Sends each request when it is due.
pub(super) async fn open_loop(
    mut idle: Vec<Lane>,
    load: Load<'_>,
    schedule: Schedule,
    mut record: Record,
) -> io::Result<Record> {
    let mut pacer = Pacer::new()?;
    let start = Instant::now();
    let mut flying = FuturesUnordered::new();
    let mut waiting: VecDeque<(u64, Instant)> = VecDeque::new();
    let mut next = 0;
    let mut give_up = start;
    loop {
        let due = schedule.due(next).map(|offset| start + offset);
        match due {
            Some(due) => give_up = due + PATIENCE,
            None if flying.is_empty() => break,
            None => {}
        }
        tokio::select! {
            biased;
            waited = pacer.until(due.unwrap_or(give_up)) => {
                waited?;
                let Some(due) = due else { break };
                record.begun(due.elapsed());
                waiting.push_back((next, due));
                next += 1;
            }
            Some(flight) = flying.next() => idle.push(land(flight, start, &mut record)),
        }
        while let Some(lane) = idle.pop() {
            let Some((number, due)) = waiting.pop_front() else {
                idle.push(lane);
                break;
            };
            flying.push(fly(lane, load.ask(number), due));
        }
    }
    record.gave_up((waiting.len() + flying.len()) as u64, start.elapsed());
    Ok(record)
}

/// Keeps each lane busy for so long.
pub(super) async fn closed_loop(
    lanes: Vec<Lane>,
    load: Load<'_>,
    duration: Duration,
    mut record: Record,
) -> io::Result<Record> {
    let mut pacer = Pacer::new()?;
    let start = Instant::now();
    let end = start + duration;
    let mut next = 0;
    let mut send = |lane: Lane, rest: Duration, record: &mut Record| {
        record.begun(Duration::ZERO);
        next += 1;
        let ask = load.ask(next - 1);
        async move {
            if !rest.is_zero() {
                tokio::time::sleep(rest).await;
            }
            fly(lane, ask, Instant::now()).await
        }
    };
    let mut flying: FuturesUnordered<_> =
        lanes.into_iter().map(|lane| send(lane, Duration::ZERO, &mut record)).collect();
    loop {
        tokio::select! {
            biased;
            flight = flying.next() => {
                let Some(flight) = flight else { break };
                let rest = if flight.answer.is_err() { REST } else { Duration::ZERO };
                let lane = land(flight, start, &mut record);
                if Instant::now() < end {
                    flying.push(send(lane, rest, &mut record));
                }
            }
            waited = pacer.until(end + PATIENCE) => {
                waited?;
                break;
            }
        }
    }
    record.gave_up(flying.len() as u64, start.elapsed());
    Ok(record)
}

async fn fly(mut lane: Lane, ask: Option<&Ask>, due: Instant) -> Flight {
    let sent = Instant::now();
    let answer = match ask {
        Some(ask) => lane.exchange(ask).await,
        None => Err(Problem::strange("there is nothing to ask".to_owned())),
    };
    let bytes = ask.and_then(|ask| ask.body().size_hint().exact()).unwrap_or_default();
    Flight { lane, due, sent, ended: Instant::now(), bytes, answer }
}

/// Notes what became of a request, and gives its lane back.
fn land(flight: Flight, start: Instant, record: &mut Record) -> Lane {
    let Flight { lane, due, sent, ended, bytes, answer } = flight;
    let at = |moment: Instant| moment.saturating_duration_since(start);
    record.ended(Outcome { due: at(due), sent: at(sent), ended: at(ended), bytes_sent: bytes, answer });
    lane
}

// === impl Load ===

impl<'a> Load<'a> {
    /// The request of this number; nothing when there are none at all.
    fn ask(&self, number: u64) -> Option<&'a Ask> {
        self.asks.get(self.order.choice(number))
    }
}
