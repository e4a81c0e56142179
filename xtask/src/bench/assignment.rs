//! The assignment step alone, as serving does it, beside faiss: batches of rows, given centroids.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::contenders::Tools;
use super::machine::{Machine, QUIET, busy_seconds, children_seconds, wait_until_quiet};
use super::session::{parse, size, start};
use super::table::grid;
use crate::process::{self, note};

/// Centroids, and the passes of k-means that made them.
const CLUSTERS: u32 = 1024;
const PASSES: u32 = 10;
/// Rows of a call.
const BATCHES: [u32; 3] = [1, 1024, 65_536];
/// Data: the kind that `make_data.py` knows, and what a reader is told.
const DATA: [(&str, &str); 2] = [
    ("mix", "a thousand Gaussians of low rank with unequal weights, and five per cent of background"),
    ("noise", "Gaussian noise without any structure"),
];
const DIMENSION: u32 = 128;

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Assigner {
    Coterie,
    /// Ours without the sieve.
    CoterieEveryCentroid,
    Faiss,
}

const ASSIGNERS: [Assigner; 3] = [Assigner::Coterie, Assigner::CoterieEveryCentroid, Assigner::Faiss];

/// One run of one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) data: String,
    pub(crate) assigner: Assigner,
    pub(crate) threads: usize,
    pub(crate) batch: u32,
    pub(crate) round: u32,
    /// How many processors' worth of work others did meanwhile.
    pub(crate) other_cpus: f64,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// What a process says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) rows_per_second: f64,
    pub(crate) p50_microseconds: f64,
    pub(crate) p99_microseconds: f64,
}

/// A sitting in which assignment is measured.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) tools: Tools,
    /// The example `assign_bench`.
    pub(crate) ours: PathBuf,
    /// Where data is kept.
    pub(crate) data: PathBuf,
    /// Where results go.
    pub(crate) work: PathBuf,
    pub(crate) rows: u64,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) quiet_wait: Duration,
    pub(crate) date: String,
    pub(crate) machine: Machine,
}

impl Assignment {
    /// Runs everyone in turn, round after round, each run in a process of its own.
    pub(crate) fn measure(&self) -> Result<Vec<Line>> {
        fs::create_dir_all(&self.work).with_context(|| format!("cannot create {}", self.work.display()))?;
        let mut threads = vec![1, self.tools.threads];
        threads.dedup();
        let mut lines = Vec::new();
        for (kind, _) in DATA {
            let (rows, centroids) = self.files(kind)?;
            for round in 1..=self.rounds {
                for &threads in &threads {
                    for batch in BATCHES {
                        for assigner in ASSIGNERS {
                            wait_until_quiet(self.quiet_wait);
                            let mut command = self.command(assigner, &rows, &centroids, batch, threads);
                            let (busy, own) = (busy_seconds(), children_seconds());
                            let done = start(&mut command, &self.work, Duration::from_secs(600))?;
                            let (busy, own) = (busy_seconds() - busy, children_seconds() - own);
                            let figures: Figures = parse(&done.output?)?;
                            let line = Line {
                                date: self.date.clone(),
                                machine: self.machine.clone(),
                                data: kind.to_owned(),
                                assigner,
                                threads,
                                batch,
                                round,
                                other_cpus: (busy - own).max(0.0) / done.wall_seconds,
                                figures,
                            };
                            tell(&line);
                            lines.push(line);
                        }
                    }
                }
            }
        }
        Ok(lines)
    }

    /// Makes the rows and the centroids.
    fn files(&self, kind: &str) -> Result<(PathBuf, PathBuf)> {
        let name = format!("{kind}_{}_d{DIMENSION}", size(self.rows));
        let mut make = Command::new(&self.tools.python);
        make.arg(self.tools.scripts.join("make_data.py")).arg("--folder").arg(&self.data);
        process::run(make.args(["--rows", &self.rows.to_string(), &name]))?;
        let rows = self.data.join(format!("{name}.npy"));
        let centroids = self.work.join(format!("{name}.centroids.npy"));
        let mut train = Command::new(&self.tools.ours);
        train.arg("--data").arg(&rows).arg("--initial").arg(self.data.join(format!("{name}.init_k{CLUSTERS}.npy")));
        train.args(["--clusters", &CLUSTERS.to_string(), "--iterations", &PASSES.to_string()]);
        process::check(train.arg("--centroids").arg(&centroids))?;
        Ok((rows, centroids))
    }

    fn command(&self, assigner: Assigner, rows: &Path, centroids: &Path, batch: u32, threads: usize) -> Command {
        let mut command = match assigner {
            Assigner::Coterie => Command::new(&self.ours),
            Assigner::CoterieEveryCentroid => {
                let mut command = Command::new(&self.ours);
                command.arg("--every-centroid");
                command
            }
            Assigner::Faiss => {
                let mut command = Command::new(&self.tools.python);
                command.arg(self.tools.scripts.join("assign_peer.py"));
                for library in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
                    command.env(library, threads.to_string());
                }
                command
            }
        };
        command.arg("--data").arg(rows).arg("--centroids").arg(centroids);
        command.args(["--batch", &batch.to_string(), "--threads", &threads.to_string()]);
        command.args(["--seconds", &self.seconds.to_string()]);
        command
    }
}

fn tell(line: &Line) {
    let Line { data, assigner, threads, batch, round, other_cpus, figures, .. } = line;
    note(&format!(
        "{data}, batch {batch}, {threads} threads, round {round}: {}: {:.0} rows/s, {:.1} us, others used {other_cpus:.2} CPUs",
        assigner.name(),
        figures.rows_per_second,
        figures.p50_microseconds,
    ));
}

impl Assigner {
    fn name(self) -> &'static str {
        match self {
            Self::Coterie => "coterie",
            Self::CoterieEveryCentroid => "coterie-every-centroid",
            Self::Faiss => "faiss",
        }
    }
}

/// A table for each kind of data and number of threads.
pub(crate) fn markdown(lines: &[Line]) -> String {
    let mut text = String::new();
    let mut threads: Vec<usize> = lines.iter().map(|line| line.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    for (kind, about) in DATA {
        for &threads in &threads {
            let these: Vec<&Line> = lines.iter().filter(|line| line.data == kind && line.threads == threads).collect();
            let rounds = these.iter().map(|line| line.round).max().unwrap_or(0);
            if rounds == 0 {
                continue;
            }
            let many = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
            text.push_str(&format!(
                "### {kind}, {}\n\n{}{}; d = {DIMENSION}, k = {CLUSTERS}, median of {}.\n\n",
                many(threads, "thread"),
                about[..1].to_uppercase(),
                &about[1..],
                many(rounds as usize, "round"),
            ));
            text.push_str(&grid(&cells(&these)));
            text.push('\n');
        }
    }
    text
}

fn cells(lines: &[&Line]) -> Vec<Vec<String>> {
    let mut head = vec![String::new(), "batch 1, us".into(), "p99, us".into(), "times faiss".into()];
    for batch in &BATCHES[1..] {
        head.extend([format!("batch {batch}, rows/s"), "times faiss".into()]);
    }
    head.push("others' CPUs".into());
    let mut cells = vec![head];
    for assigner in ASSIGNERS {
        let figure = |batch: u32, figure: fn(&Figures) -> f64| {
            median(
                lines
                    .iter()
                    .filter(|line| line.assigner == assigner && line.batch == batch)
                    .map(|l| figure(&l.figures)),
            )
        };
        let mut row = vec![
            assigner.name().to_owned(),
            format!("{:.1}", figure(1, |figures| figures.p50_microseconds)),
            format!("{:.1}", figure(1, |figures| figures.p99_microseconds)),
            // How many times as fast, also where it is a time that is told.
            format!("{:.2}", ratio(lines, assigner, 1, |figures| 1.0 / figures.p50_microseconds)),
        ];
        for &batch in &BATCHES[1..] {
            row.push(format!("{:.0}", figure(batch, |figures| figures.rows_per_second)));
            row.push(format!("{:.2}", ratio(lines, assigner, batch, |figures| figures.rows_per_second)));
        }
        let others =
            lines.iter().filter(|line| line.assigner == assigner).map(|line| line.other_cpus).fold(0.0, f64::max);
        row.push(format!("{others:.2}{}", if others > QUIET { " !" } else { "" }));
        cells.push(row);
    }
    cells
}

/// A contender's figure by that of faiss in the same round, the median over the rounds.
fn ratio(lines: &[&Line], assigner: Assigner, batch: u32, figure: fn(&Figures) -> f64) -> f64 {
    let of = |assigner: Assigner, round: u32| {
        let mut found = lines.iter().filter(|l| l.assigner == assigner && l.batch == batch && l.round == round);
        found.next().map(|line| figure(&line.figures))
    };
    let rounds = lines.iter().map(|line| line.round).max().unwrap_or(0);
    median((1..=rounds).filter_map(|round| Some(of(assigner, round)? / of(Assigner::Faiss, round)?)))
}

/// The middle one, or the mean of the two in the middle; not a number of nothing.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => 0.5 * (values[middle - 1] + values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(assigner: Assigner, batch: u32, round: u32, rows_per_second: f64) -> Line {
        let time = 1e6 / rows_per_second;
        Line {
            date: "2026-01-01".into(),
            machine: Machine { cpu: "a".into(), cores: 2 },
            data: "noise".into(),
            assigner,
            threads: 1,
            batch,
            round,
            other_cpus: 0.5,
            figures: Figures { rows_per_second, p50_microseconds: time, p99_microseconds: 2.0 * time },
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut lines = Vec::new();
        for round in 1..=3 {
            for batch in BATCHES {
                let speed = 1000.0 * f64::from(round);
                lines.push(line(Assigner::Faiss, batch, round, speed));
                lines.push(line(Assigner::Coterie, batch, round, 2.5 * speed));
                lines.push(line(Assigner::CoterieEveryCentroid, batch, round, speed + 1000.0));
            }
        }
        let text = markdown(&lines);
        assert!(text.contains("### noise, 1 thread\n\nGaussian noise"), "{text}");
        let ours = text.lines().find(|line| line.starts_with("| coterie ")).unwrap();
        let cells: Vec<&str> = ours.split('|').map(str::trim).collect();
        assert_eq!(cells[2..9], ["200.0", "400.0", "2.50", "5000", "2.50", "5000", "2.50"]);
        assert_eq!(cells[9], "0.50 !");
        assert!(!text.contains("### mix"));
    }
}
