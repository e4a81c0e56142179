//! How each contender is started, and with what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cases::Case;

/// Who computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Our library, with bounds that let it skip rows.
    Coterie(Start),
    /// Our library without bounds: every pass looks at every row.
    EveryRow,
    /// `coterie run`: the whole product on one machine.
    Run,
    Faiss,
    SuperKMeans,
    ScikitLearn,
    ScikitLearnIntelex,
    Spark,
}

/// How our library chooses first centroids where none are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    PlusPlus,
    Parallel,
}

/// Programs and folders that contenders need.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// The example `kmeans_bench`.
    pub(crate) ours: PathBuf,
    /// The binary `coterie`, if a case needs it.
    pub(crate) coterie: Option<PathBuf>,
    pub(crate) python: PathBuf,
    /// The folder `bench/` of the repository.
    pub(crate) scripts: PathBuf,
    pub(crate) threads: usize,
}

/// Files of one case.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) data: PathBuf,
    /// The given first centroids.
    pub(crate) initial: Option<PathBuf>,
    /// Where results go.
    pub(crate) results: PathBuf,
}

impl Files {
    pub(crate) fn centroids(&self, contender: Contender, round: u32) -> PathBuf {
        self.results.join(format!("{}.{round}.centroids.npy", contender.name()))
    }

    pub(crate) fn labels(&self, contender: Contender) -> PathBuf {
        self.results.join(format!("{}.labels.npy", contender.name()))
    }

    /// Where each of our iterations from scikit-learn's first centroids goes.
    pub(crate) fn steps(&self) -> PathBuf {
        self.results.join("steps")
    }

    /// The first centroids that scikit-learn chose.
    pub(crate) fn scikit_learn_start(&self) -> PathBuf {
        self.results.join("scikit-learn.start.npy")
    }
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Coterie(Start::PlusPlus) => "coterie",
            Self::Coterie(Start::Parallel) => "coterie-parallel",
            Self::EveryRow => "coterie-every-row",
            Self::Run => "coterie-run",
            Self::Faiss => "faiss",
            Self::SuperKMeans => "superkmeans",
            Self::ScikitLearn => "scikit-learn",
            Self::ScikitLearnIntelex => "scikit-learn-intelex",
            Self::Spark => "spark",
        }
    }

    /// The command for one run; each run is a process of its own.
    pub(crate) fn command(self, case: &Case, files: &Files, tools: &Tools, round: u32) -> Result<Command> {
        let mut command = match self {
            Self::Coterie(start) => {
                let mut command = ours(case, files, tools);
                command.args([
                    "--start",
                    match start {
                        Start::PlusPlus => "plus-plus",
                        Start::Parallel => "parallel",
                    },
                ]);
                command
            }
            Self::EveryRow => {
                let mut command = ours(case, files, tools);
                command.arg("--every-row");
                command
            }
            Self::Run => return self.run(case, files, tools, round),
            Self::Faiss | Self::SuperKMeans | Self::ScikitLearn | Self::ScikitLearnIntelex | Self::Spark => {
                self.peer(case, files, tools)
            }
        };
        if let Some(initial) = &files.initial {
            command.arg("--initial").arg(initial);
        }
        command.arg("--centroids").arg(files.centroids(self, round));
        Ok(command)
    }

    fn peer(self, case: &Case, files: &Files, tools: &Tools) -> Command {
        // SuperKMeans has no tolerance to stop at: half as many iterations are its makers' usual number and more than it needs.
        let iterations =
            if self == Self::SuperKMeans && case.converges() { case.iterations / 2 } else { case.iterations };
        let mut command = Command::new(&tools.python);
        command.arg(tools.scripts.join("kmeans_peer.py")).args(["--peer", self.name()]);
        shared(&mut command, case, files, tools, iterations);
        if self == Self::ScikitLearn && !case.is_given() {
            command.arg("--start").arg(files.scikit_learn_start()).arg("--labels").arg(files.labels(self));
        }
        command
    }

    /// `coterie run` on the Parquet copy.
    fn run(self, case: &Case, files: &Files, tools: &Tools, round: u32) -> Result<Command> {
        let output = files.results.join(format!("output.{round}"));
        let manifest = files.results.join("job.yaml");
        fs::write(&manifest, job(case, &files.data)).with_context(|| format!("cannot write {}", manifest.display()))?;
        let mut command = Command::new(tools.coterie.as_ref().context("the coterie binary is missing")?);
        command.args(["run", "--quiet", "--workers", "1", "--threads", &tools.threads.to_string(), "--file"]);
        command.arg(manifest).arg("--output").arg(output).arg("--summary").arg(summary(files, round));
        Ok(command)
    }
}

/// Where `coterie run` writes what it did.
pub(crate) fn summary(files: &Files, round: u32) -> PathBuf {
    files.results.join(format!("summary.{round}.json"))
}

/// Our library from the first centroids that scikit-learn chose.
pub(crate) fn ours_from_scikit_learn(case: &Case, files: &Files, tools: &Tools) -> Command {
    let mut command = ours(case, files, tools);
    command.arg("--initial").arg(files.scikit_learn_start());
    command.arg("--centroids").arg(files.results.join("check.centroids.npy"));
    command.arg("--labels").arg(files.labels(Contender::Coterie(Start::PlusPlus))).arg("--steps").arg(files.steps());
    command
}

fn ours(case: &Case, files: &Files, tools: &Tools) -> Command {
    let mut command = Command::new(&tools.ours);
    shared(&mut command, case, files, tools, case.iterations);
    command
}

fn shared(command: &mut Command, case: &Case, files: &Files, tools: &Tools, iterations: u32) {
    let threads = tools.threads.to_string();
    command.arg("--data").arg(&files.data).args(["--clusters", &case.clusters.to_string()]);
    command.args(["--iterations", &iterations.to_string(), "--tolerance", &case.tolerance.to_string()]);
    command.args(["--threads", &threads]);
    for library in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
        command.env(library, &threads);
    }
}

/// The manifest of a case.
fn job(case: &Case, data: &Path) -> String {
    let Case { clusters, iterations, tolerance, .. } = case;
    format!(
        "apiVersion: coterie.dev/v1alpha1
kind: ClusteringJob
metadata:
  name: bench
spec:
  source:
    uri: {}
    columns:
      id: id
      vector: features
  algorithm:
    kMeans:
      clusters: {clusters}
      init: Random
      maxIterations: {iterations}
      tolerance: \"{tolerance}\"
  seed: 1
",
        data.display()
    )
}
