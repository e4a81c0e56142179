//! `coterie bench-serve`: what a served model does under load.
//!
//! [`question`] says what is asked and prepares it, in the words of [`rest`] or [`grpc`], about [`rows`]; [`schedule`] says when.
//! [`drive`] sends it through the lanes of [`exchange`]; [`record`] counts, [`search`] looks for the highest rate, [`report`] tells.

mod drive;
mod exchange;
mod grpc;
mod pacer;
mod question;
mod record;
mod report;
mod rest;
mod rows;
mod schedule;
mod search;
mod target;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use coterie_crds::resolved::Store;

use self::drive::{Load, closed_loop, open_loop};
use self::exchange::{Ask, Lane, Problem, lanes};
use self::question::{ModelInfo, Query, Question};
use self::record::{Measurement, Record};
use self::report::{Mode, Report, Step};
use self::rows::Rows;
use self::schedule::{Order, Schedule};
use self::search::Search;
use self::target::{Protocol, Target};
use crate::{Failure, serve::duration, store::StoreOptions};

/// Connections unless set.
const REST_CONNECTIONS: usize = 16;
const GRPC_CONNECTIONS: usize = 2;
/// Requests at once over a gRPC connection.
const STREAMS: usize = 100;
/// Share of the asked rate that must be achieved for it to count as held.
const HELD_SHARE: f64 = 0.95;

/// Measure a served model: send requests at a fixed rate, whatever becomes of them, and tell the latencies.
///
/// Latency counts from when a request was due, so that waiting for a slow server is part of it. With --concurrency each answer is
/// followed by the next request instead, and with --saturate the highest rate is looked for.
///
/// Exit codes: 0 every request was answered; 65 the rows do not fit the model; 75 the server cannot be reached, requests failed, or
/// no rate was held.
#[derive(Args)]
pub(crate) struct BenchServe {
    /// The server's REST address, as in http://127.0.0.1:8080.
    #[arg(long, value_name = "URL", required_unless_present = "grpc", conflicts_with = "grpc")]
    url: Option<String>,
    /// The server's gRPC address, as in http://127.0.0.1:8081.
    #[arg(long, value_name = "URL")]
    grpc: Option<String>,
    /// Requests a second; with --saturate, those to begin with.
    #[arg(long, default_value_t = 1_000.0, value_parser = rate)]
    rate: f64,
    /// How long to send requests, as in 30s; with --saturate, at each rate.
    #[arg(long, default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// Keep so many requests in flight instead of sending at a rate.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), conflicts_with_all = ["rate", "saturate"])]
    concurrency: Option<u32>,
    /// Look for the highest rate, in steps, then to five per cent: with no failure, 95 % of the rate answered, and p99 within the bound.
    #[arg(long)]
    saturate: bool,
    /// Highest p99 of a rate that holds.
    #[arg(long, value_name = "DURATION", default_value = "10ms", value_parser = duration, requires = "saturate")]
    bound: Duration,
    /// Connections: 16 unless set over REST, each for one request at a time; 2 over gRPC, each for up to 100.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    connections: Option<u32>,
    /// What to ask.
    #[arg(long, value_enum, default_value_t = Query::Assign)]
    query: Query,
    /// Vectors of an assign request.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Clusters or items to ask for.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    count: u32,
    /// Vectors to ask about: Parquet, NPY, CSV or Arrow, a file, directory or URI, in the model's columns. Seeded blobs unless set.
    #[arg(long, value_name = "URI")]
    rows: Option<String>,
    /// The column of --rows that holds the vector; all numeric columns unless set.
    #[arg(long, value_name = "COLUMN", requires = "rows")]
    vector: Option<String>,
    /// Seed of which vectors are asked about, and in which order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report as JSON.
    #[arg(long = "json", value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    store: StoreOptions,
}

/// All that a measurement needs.
struct Bench {
    target: Rc<Target>,
    asks: Vec<Ask>,
    order: Order,
    rows_per_ask: usize,
    connections: usize,
}

impl BenchServe {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        // One thread: the server that is measured may need the others.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::transient(format!("start the runtime: {error}")))?;
        let path = self.report.clone();
        let report = runtime.block_on(self.measure())?;
        report.print();
        if let Some(path) = path {
            let text = serde_json::to_string_pretty(&report)
                .map_err(|error| Failure::transient(format!("spell the report: {error}")))?;
            std::fs::write(&path, text + "\n")
                .map_err(|error| Failure::transient(format!("write the report {}: {error}", path.display())))?;
        }
        verdict(&report)
    }

    async fn measure(self) -> Result<Report, Failure> {
        let target = Rc::new(self.target()?);
        let question = Question { query: self.query, count: self.count, batch: self.batch as usize };
        if question.batch > 1 && question.query != Query::Assign {
            return Err(Failure::usage("--batch is for --query assign; other queries are about one vector"));
        }
        let model = model(&target).await?;
        let distinct = question::distinct(question, model.dimension, target.protocol);
        let wanted = distinct.saturating_mul(question.batch);
        let rows = match self.rows {
            Some(uri) => fitting(uri, self.vector, Store::from(self.store), wanted, &model).await?,
            None => Rows::made(model.dimension, wanted, self.seed),
        };
        let asks = question::prepare(&target, question, &rows, distinct, self.seed)
            .map_err(|error| Failure::usage(format!("prepare requests for {}: {error}", target.base)))?;
        let default = match target.protocol {
            Protocol::Rest => REST_CONNECTIONS,
            Protocol::Grpc => GRPC_CONNECTIONS,
        };
        let connections = self.connections.map_or(default, |connections| connections as usize);
        let order = Order::new(self.seed, asks.len());
        let bench = Bench { target: Rc::clone(&target), asks, order, rows_per_ask: question.batch, connections };
        let mut steps = Vec::new();
        let (mode, measurement) = match (self.concurrency, self.saturate) {
            (Some(concurrency), _) => {
                let concurrency = concurrency as usize;
                (Mode::Closed { concurrency }, bench.closed(concurrency, self.duration).await?)
            }
            (None, true) => bench.saturation(self.rate, self.duration, self.bound, &mut steps).await?,
            (None, false) => (Mode::Open { rate: self.rate, connections }, bench.open(self.rate, self.duration).await?),
        };
        let ModelInfo { name, version, dimension, clusters } = model;
        Ok(Report {
            url: target.base.clone(),
            protocol: target.protocol.name(),
            model: report::Model { name, version, dimension, clusters },
            query: question.query.name(),
            batch: question.batch,
            mode,
            measurement,
            steps,
        })
    }

    fn target(&self) -> Result<Target, Failure> {
        let target = match (&self.url, &self.grpc) {
            (Some(url), _) => Target::new(Protocol::Rest, url),
            (None, Some(url)) => Target::new(Protocol::Grpc, url),
            (None, None) => Err("no server to measure; give --url or --grpc".to_owned()),
        };
        target.map_err(Failure::usage)
    }
}

/// The model that answers.
async fn model(target: &Rc<Target>) -> Result<ModelInfo, Failure> {
    let told = |what: &str| format!("{}: ask for the model over {}: {what}", target.base, target.protocol.name());
    let failed = |problem: Problem| Failure::transient(told(&format!("{}: {}", problem.kind, problem.message)));
    let ask = question::about_model(target).map_err(|error| Failure::usage(told(&error.to_string())))?;
    let mut lanes = lanes(target, 1, 1);
    let Some(lane) = lanes.first_mut() else { return Err(Failure::usage(told("there is no connection"))) };
    let raw = lane.ask(&ask).await.map_err(failed)?;
    lane.read(&ask, &raw).map_err(failed)?;
    question::read_model(target.protocol, &raw.body).map_err(|error| Failure::transient(told(&error)))
}

/// The rows of a source, if they are ones for the model.
async fn fitting(
    uri: String,
    vector: Option<String>,
    store: Store,
    wanted: usize,
    model: &ModelInfo,
) -> Result<Rows, Failure> {
    let rows = Rows::read(uri.clone(), vector, store, wanted).await?;
    if rows.dimension() != model.dimension {
        return Err(Failure::data(format!(
            "{uri}: rows have {} columns, but {} {} takes vectors of {}; give the rows that the model is for, and --vector when \
             one column holds the vector",
            rows.dimension(),
            model.name,
            model.version,
            model.dimension
        )));
    }
    if rows.len() == 0 {
        return Err(Failure::data(format!("{uri}: there are no rows; give some to ask about")));
    }
    Ok(rows)
}

/// Success only when every request was answered.
fn verdict(report: &Report) -> Result<(), Failure> {
    if let Mode::Saturation { highest_rate: None, .. } = report.mode {
        return Err(Failure::transient("no rate was held; look at the last one above"));
    }
    let Measurement { failed, sent, .. } = report.measurement;
    if failed > 0 {
        return Err(Failure::transient(format!("{failed} of {sent} requests failed")));
    }
    Ok(())
}

// === impl Bench ===

impl Bench {
    async fn open(&self, rate: f64, duration: Duration) -> Result<Measurement, Failure> {
        let lanes = match self.target.protocol {
            Protocol::Rest => self.connections,
            Protocol::Grpc => self.connections * STREAMS,
        };
        let lanes = self.lanes(self.connections, lanes).await?;
        self.told(open_loop(lanes, self.load(), Schedule::new(rate, duration), record()?).await)
    }

    async fn closed(&self, concurrency: usize, duration: Duration) -> Result<Measurement, Failure> {
        let lanes = self.lanes(self.connections, concurrency).await?;
        self.told(closed_loop(lanes, self.load(), duration, record()?).await)
    }

    /// The highest rate that is held, and its measurement, or that of the last rate when none is.
    async fn saturation(
        &self,
        first: f64,
        duration: Duration,
        bound: Duration,
        steps: &mut Vec<Step>,
    ) -> Result<(Mode, Measurement), Failure> {
        let bound_milliseconds = bound.as_secs_f64() * 1e3;
        let mut search = Search::from(first);
        let mut best: Option<(f64, Measurement)> = None;
        let mut last = None;
        while let Some(rate) = search.next() {
            let measurement = self.open(rate, duration).await?;
            let Measurement { achieved_rate, failed, latency, .. } = measurement;
            let held = failed == 0 && achieved_rate >= HELD_SHARE * rate && latency.p99 <= bound_milliseconds;
            let verdict = if held { "held" } else { "not held" };
            eprintln!(
                "{rate:.0} requests/s: {verdict}: {achieved_rate:.0} answered, {failed} failed, p99 {:.3} ms",
                latency.p99
            );
            steps.push(Step { rate, achieved_rate, p99: latency.p99, failed, held });
            search.note(rate, held);
            if held {
                best = Some((rate, measurement));
            } else {
                last = Some(measurement);
            }
        }
        let connections = self.connections;
        let mode = |highest_rate| Mode::Saturation { highest_rate, bound_milliseconds, connections };
        match (best, last) {
            (Some((rate, measurement)), _) => Ok((mode(Some(rate)), measurement)),
            (None, Some(measurement)) => Ok((mode(None), measurement)),
            (None, None) => Err(Failure::usage("there is no rate to try")),
        }
    }

    /// Lanes, all of them connected.
    async fn lanes(&self, connections: usize, lanes: usize) -> Result<Vec<Lane>, Failure> {
        let mut lanes = exchange::lanes(&self.target, connections, lanes);
        for lane in &mut lanes {
            lane.connect().await.map_err(|problem| {
                Failure::transient(format!("{}: {}: {}", self.target.base, problem.kind, problem.message))
            })?;
        }
        Ok(lanes)
    }

    fn load(&self) -> Load<'_> {
        Load { asks: &self.asks, order: self.order }
    }

    fn told(&self, record: std::io::Result<Record>) -> Result<Measurement, Failure> {
        let record = record.map_err(|error| Failure::transient(format!("wait for the time of a request: {error}")))?;
        Ok(record.measurement(self.rows_per_ask))
    }
}

fn record() -> Result<Record, Failure> {
    Record::new().map_err(|error| Failure::transient(format!("prepare the record of latencies: {error}")))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=10_000_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a rate; write requests a second, as in 1000")),
    }
}
