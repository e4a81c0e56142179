//! A served model over the wire: lone requests at a fixed rate, the highest rate, and batches beside the kernel alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::assignment::{Figures, median};
use super::machine::{Machine, busy_seconds, children_seconds, process_seconds, wait_until_quiet};
use super::replica::{Replica, train, write_npy};
use super::session::{parse, size, start};
use super::table::grid;
use crate::process::{self, note};

/// The model.
const CLUSTERS: u32 = 1024;
const DIMENSION: u32 = 128;
const PASSES: u32 = 10;
/// Lone requests a second.
pub(crate) const RATE: u32 = 10_000;
/// Highest p99 of a rate that counts as held.
const BOUND: &str = "10ms";
/// Rows of a batch.
const BATCH: u32 = 1024;
/// Longest time of one run; the search for the highest rate has some twenty steps.
const LIMIT: Duration = Duration::from_secs(900);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    LoneRest,
    LoneGrpc,
    SaturationRest,
    SaturationGrpc,
    BatchGrpc,
    /// The kernel alone, without a server.
    BatchKernel,
}

const ALL: [What; 6] =
    [What::LoneRest, What::LoneGrpc, What::SaturationRest, What::SaturationGrpc, What::BatchGrpc, What::BatchKernel];

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) what: What,
    pub(crate) round: u32,
    /// Processors' worth of work that the server did meanwhile, that the one who asked did, and that others did.
    pub(crate) server_cpus: f64,
    pub(crate) asker_cpus: f64,
    pub(crate) other_cpus: f64,
    /// What `coterie bench-serve --json` or the example `assign_bench` says.
    pub(crate) report: Value,
}

/// A sitting in which serving is measured.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) coterie: PathBuf,
    /// The example `assign_bench`.
    pub(crate) kernel: PathBuf,
    /// A Python with NumPy, and the program that makes data.
    pub(crate) python: PathBuf,
    pub(crate) maker: PathBuf,
    /// Where data is kept.
    pub(crate) data: PathBuf,
    /// Where results go.
    pub(crate) work: PathBuf,
    pub(crate) rows: u64,
    pub(crate) rate: u32,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) threads: usize,
    pub(crate) quiet_wait: Duration,
    pub(crate) date: String,
    pub(crate) machine: Machine,
}

impl Serving {
    /// Trains, serves, and asks, round after round.
    pub(crate) fn measure(&self) -> Result<Vec<Line>> {
        fs::create_dir_all(&self.work).with_context(|| format!("cannot create {}", self.work.display()))?;
        let rows = self.make_rows()?;
        let model = train(&self.coterie, &rows, &self.work, CLUSTERS, PASSES)?;
        let replica = Replica::start(&self.coterie, &model)?;
        let centroids = self.work.join("centroids.npy");
        let (values, dimension) = replica.centroids()?;
        write_npy(&centroids, &values, dimension)?;
        let mut lines = Vec::new();
        for round in 1..=self.rounds {
            for what in ALL {
                wait_until_quiet(self.quiet_wait);
                let line = self.run(what, round, &replica, &rows, &centroids)?;
                tell(&line);
                lines.push(line);
            }
        }
        Ok(lines)
    }

    fn make_rows(&self) -> Result<PathBuf> {
        let name = format!("mix_{}_d{DIMENSION}", size(self.rows));
        let mut make = Command::new(&self.python);
        make.arg(&self.maker).arg("--folder").arg(&self.data);
        process::run(make.args(["--rows", &self.rows.to_string(), &name]))?;
        Ok(self.data.join(format!("{name}.npy")))
    }

    fn run(&self, what: What, round: u32, replica: &Replica, rows: &Path, centroids: &Path) -> Result<Line> {
        let told = self.work.join("report.json");
        let mut command = self.command(what, replica, rows, centroids, &told);
        let before = (busy_seconds(), children_seconds(), process_seconds(replica.pid()));
        let done = start(&mut command, &self.work, LIMIT)?;
        let busy = busy_seconds() - before.0;
        let asker = children_seconds() - before.1;
        let server = process_seconds(replica.pid()) - before.2;
        let said = done.output?;
        let report = match what {
            What::BatchKernel => parse(&said)?,
            _ => serde_json::from_str(&fs::read_to_string(&told)?).context("the report is not JSON")?,
        };
        let cpus = |seconds: f64| seconds.max(0.0) / done.wall_seconds;
        Ok(Line {
            date: self.date.clone(),
            machine: self.machine.clone(),
            what,
            round,
            server_cpus: cpus(server),
            asker_cpus: cpus(asker),
            other_cpus: cpus(busy - asker - server),
            report,
        })
    }

    fn command(&self, what: What, replica: &Replica, rows: &Path, centroids: &Path, told: &Path) -> Command {
        let (seconds, batch) = (self.seconds.to_string(), BATCH.to_string());
        if what == What::BatchKernel {
            let mut command = Command::new(&self.kernel);
            command.arg("--data").arg(rows).arg("--centroids").arg(centroids);
            command.args(["--batch", &batch, "--threads", &self.threads.to_string(), "--seconds", &seconds]);
            return command;
        }
        let mut command = Command::new(&self.coterie);
        command.arg("bench-serve").arg("--rows").arg(rows).arg("--json").arg(told);
        command.args(["--duration", &format!("{}ms", (1000.0 * self.seconds) as u64)]);
        match what {
            What::LoneRest | What::SaturationRest => command.args(["--url", &replica.rest()]),
            What::LoneGrpc | What::SaturationGrpc | What::BatchGrpc | What::BatchKernel => {
                command.args(["--grpc", &replica.grpc()])
            }
        };
        match what {
            What::LoneRest | What::LoneGrpc => command.args(["--rate", &self.rate.to_string()]),
            What::SaturationRest | What::SaturationGrpc => {
                command.args(["--saturate", "--bound", BOUND, "--rate", &self.rate.to_string()])
            }
            // One more than computes, so that a batch is on its way while others are worked on.
            What::BatchGrpc | What::BatchKernel => {
                command.args(["--batch", &batch, "--concurrency", &(self.threads + 1).to_string()])
            }
        };
        command
    }
}

fn tell(line: &Line) {
    let Line { what, round, server_cpus, asker_cpus, other_cpus, .. } = line;
    let figures = match what {
        What::LoneRest | What::LoneGrpc => format!("p99 {:.3} ms", line.figure("/latency/p99")),
        What::SaturationRest | What::SaturationGrpc => {
            format!("{:.0} requests/s", line.figure("/mode/saturation/highestRate"))
        }
        What::BatchGrpc | What::BatchKernel => format!("{:.0} rows/s", line.rows_per_second()),
    };
    note(&format!(
        "round {round}: {what:?}: {figures}; CPUs: server {server_cpus:.2}, asker {asker_cpus:.2}, others {other_cpus:.2}"
    ));
}

// === impl Line ===

impl Line {
    /// A number of the report; not a number where it has none.
    fn figure(&self, pointer: &str) -> f64 {
        self.report.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    fn rows_per_second(&self) -> f64 {
        match self.what {
            What::BatchKernel => serde_json::from_value::<Figures>(self.report.clone())
                .map_or(f64::NAN, |figures| figures.rows_per_second),
            _ => self.figure("/rowsPerSecond"),
        }
    }
}

/// Tables of the medians over all rounds.
pub(crate) fn markdown(lines: &[Line]) -> String {
    let of =
        |what: What, figure: &dyn Fn(&Line) -> f64| median(lines.iter().filter(|line| line.what == what).map(figure));
    let rounds = lines.iter().map(|line| line.round).max().unwrap_or(0);
    let rate =
        lines.iter().find(|line| line.what == What::LoneGrpc).map_or(f64::NAN, |line| line.figure("/mode/open/rate"));
    let mut text = format!(
        "d = {DIMENSION}, k = {CLUSTERS}, median of {rounds} {}.\n\n",
        if rounds == 1 { "round" } else { "rounds" }
    );

    let head =
        ["", "p50, ms", "p99, ms", "p99.9, ms", "max, ms", "failed", "begun late", "server CPUs", "generator CPUs"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for (name, what) in [("gRPC", What::LoneGrpc), ("REST", What::LoneRest)] {
        let mut row = vec![format!("{name}, {rate:.0}/s")];
        for pointer in ["/latency/p50", "/latency/p99", "/latency/p99.9", "/latency/max"] {
            row.push(format!("{:.3}", of(what, &|line| line.figure(pointer))));
        }
        for pointer in ["/failed", "/late"] {
            row.push(format!("{:.0}", of(what, &|line| line.figure(pointer))));
        }
        row.push(format!("{:.2}", of(what, &|line| line.server_cpus)));
        row.push(format!("{:.2}", of(what, &|line| line.asker_cpus)));
        cells.push(row);
    }
    text.push_str(&grid(&cells));

    let head = ["", "highest rate, requests/s", "p50, ms", "p99, ms"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for (name, what) in [("gRPC", What::SaturationGrpc), ("REST", What::SaturationRest)] {
        cells.push(vec![
            format!("{name}, p99 within {BOUND}"),
            format!("{:.0}", of(what, &|line| line.figure("/mode/saturation/highestRate"))),
            format!("{:.3}", of(what, &|line| line.figure("/latency/p50"))),
            format!("{:.3}", of(what, &|line| line.figure("/latency/p99"))),
        ]);
    }
    text.push('\n');
    text.push_str(&grid(&cells));

    let (wire, kernel) = (of(What::BatchGrpc, &Line::rows_per_second), of(What::BatchKernel, &Line::rows_per_second));
    let row = |name: &str, rows: f64| vec![name.to_owned(), format!("{rows:.0}"), format!("{:.2}", rows / kernel)];
    let head = [format!("batches of {BATCH}"), "rows/s".into(), "share of the kernel".into()];
    text.push('\n');
    text.push_str(&grid(&[head.to_vec(), row("over gRPC", wire), row("kernel alone", kernel)]));
    let others = lines.iter().map(|line| line.other_cpus).fold(0.0, f64::max);
    text.push_str(&format!("\nOthers used at most {others:.2} CPUs.\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(what: What, round: u32, report: Value) -> Line {
        Line {
            date: "2026-01-01".into(),
            machine: Machine { cpu: "a".into(), cores: 2 },
            what,
            round,
            server_cpus: 0.5,
            asker_cpus: 0.25,
            other_cpus: 0.1 * f64::from(round),
            report,
        }
    }

    #[test]
    fn tables_tell_medians() {
        let mut lines = Vec::new();
        for round in 1..=3 {
            let latency = json!({"p50": 0.1 * f64::from(round), "p99": 1.0, "p99.9": 2.0, "max": 3.0});
            let open = json!({"latency": latency, "failed": 0, "late": round, "mode": {"open": {"rate": 10_000.0}}});
            let saturation =
                json!({"latency": latency, "mode": {"saturation": {"highestRate": 20_000.0 + f64::from(round)}}});
            for what in [What::LoneRest, What::LoneGrpc] {
                lines.push(line(what, round, open.clone()));
            }
            for what in [What::SaturationRest, What::SaturationGrpc] {
                lines.push(line(what, round, saturation.clone()));
            }
            lines.push(line(What::BatchGrpc, round, json!({"rowsPerSecond": 400.0})));
            let kernel = json!({"rows_per_second": 800.0, "p50_microseconds": 1.0, "p99_microseconds": 2.0});
            lines.push(line(What::BatchKernel, round, kernel));
        }
        let text = markdown(&lines);
        let cells = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {text}"));
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        assert_eq!(cells("| gRPC, 10000/s")[2..10], ["0.200", "1.000", "2.000", "3.000", "0", "2", "0.50", "0.25"]);
        assert_eq!(cells("| REST, p99 within 10ms")[2..5], ["20002", "0.200", "1.000"]);
        assert_eq!(cells("| over gRPC")[2..4], ["400", "0.50"]);
        assert!(text.ends_with("Others used at most 0.30 CPUs.\n"), "{text}");
    }
}
