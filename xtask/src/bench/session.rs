//! Runs contenders in turn, each run in a process of its own, and has the results judged afterwards.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cases::{Case, Data, Measure};
use super::contenders::{self, Contender, Files, Start, Tools};
use super::lines::{Figures, Line, Run, SameLabels, What};
use super::machine::{Machine, QUIET, busy_seconds, children_seconds, wait_until_quiet};
use crate::process::{self, find, note};

/// Pause between two looks at a running process.
const LOOK: Duration = Duration::from_millis(5);

/// A sitting in which cases are measured.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) tools: Tools,
    /// Where data is kept.
    pub(crate) data: PathBuf,
    /// Where results of runs go.
    pub(crate) work: PathBuf,
    pub(crate) embeddings: Option<PathBuf>,
    pub(crate) rows: u64,
    pub(crate) rounds: u32,
    pub(crate) quick: bool,
    /// Longest wait for a quiet machine before each run.
    pub(crate) quiet_wait: Duration,
    /// How often a run is repeated while others disturb it; the least disturbed is kept.
    pub(crate) again: u32,
    /// Longest time of one run.
    pub(crate) limit: Duration,
    pub(crate) date: String,
    pub(crate) machine: Machine,
}

/// What the judge finds.
#[derive(serde::Deserialize)]
struct Judgement {
    rows: u64,
    dimension: u64,
    inertia: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct Comparison {
    rows: u64,
    differing: u64,
    largest_gap: f64,
}

impl Session {
    /// Measures a case; `None` when it cannot be measured here, which is told.
    pub(crate) fn measure(&self, case: &Case) -> Result<Option<Vec<Line>>> {
        let Some(files) = self.files(case)? else { return Ok(None) };
        let contenders: Vec<Contender> = case.contenders.iter().copied().filter(|&one| is_available(one)).collect();
        let mut runs = Vec::new();
        // In turn, so that a machine that grows slower does so for everyone.
        for round in 1..=self.rounds {
            for &contender in &contenders {
                runs.push((contender, self.least_disturbed(case, contender, &files, round)?));
            }
        }
        let judged: Vec<usize> =
            (0..runs.len()).filter(|&i| files.centroids(runs[i].0, runs[i].1.round).is_file()).collect();
        let judgement: Judgement = self.judge(&files, |command| {
            command.args(judged.iter().map(|&i| files.centroids(runs[i].0, runs[i].1.round)));
        })?;
        for (&i, &inertia) in judged.iter().zip(&judgement.inertia) {
            runs[i].1.inertia = Some(inertia);
        }
        let scikit_learn = runs.iter().rev().find(|(contender, _)| *contender == Contender::ScikitLearn);
        let same_labels = match scikit_learn.and_then(|(_, run)| run.figures.as_ref()) {
            Some(their) if case.converges() => Some(self.same_labels(case, &files, their)?),
            Some(_) | None => None,
        };
        let runs = runs.into_iter().map(|(_, run)| What::Run(Box::new(run)));
        let found: Vec<What> = runs.chain(same_labels.map(What::SameLabels)).collect();
        let line = |what| Line {
            date: self.date.clone(),
            machine: self.machine.clone(),
            quick: self.quick,
            threads: self.tools.threads,
            case: case.name.to_owned(),
            rows: judgement.rows,
            dimension: judgement.dimension,
            clusters: case.clusters,
            what,
        };
        Ok(Some(found.into_iter().map(line).collect()))
    }

    /// Makes what the case reads.
    fn files(&self, case: &Case) -> Result<Option<Files>> {
        let results = self.work.join(case.name);
        if results.exists() {
            fs::remove_dir_all(&results).with_context(|| format!("cannot remove {}", results.display()))?;
        }
        fs::create_dir_all(&results).with_context(|| format!("cannot create {}", results.display()))?;
        let name = match case.data {
            Data::Made(kind, dimension) | Data::Parquet(kind, dimension) => {
                format!("{kind}_{}_{dimension}", size(self.rows))
            }
            Data::Embeddings => "embeddings".to_owned(),
        };
        let mut make = Command::new(&self.tools.python);
        make.arg(self.tools.scripts.join("make_data.py")).arg("--folder").arg(&self.data);
        match (case.data, &self.embeddings) {
            (Data::Made(..), _) => make.args(["--rows", &self.rows.to_string(), &name]),
            (Data::Parquet(..), _) => make.args(["--rows", &self.rows.to_string(), "--parquet", &name]),
            (Data::Embeddings, Some(file)) => make.arg("--embeddings").arg(file),
            (Data::Embeddings, None) => {
                note(&format!("skipped: {} (name a file of embeddings with --embeddings)", case.name));
                return Ok(None);
            }
        };
        process::run(&mut make)?;
        let file = |suffix: &str| self.data.join(format!("{name}{suffix}"));
        Ok(Some(Files {
            data: file(if case.measure == Measure::Process { ".parquet" } else { ".npy" }),
            initial: case.is_given().then(|| file(&format!(".init_k{}.npy", case.clusters))),
            results,
        }))
    }

    fn least_disturbed(&self, case: &Case, contender: Contender, files: &Files, round: u32) -> Result<Run> {
        let attempt = || {
            wait_until_quiet(self.quiet_wait);
            let run = self.run(case, contender, files, round)?;
            tell(case, &run);
            anyhow::Ok(run)
        };
        let mut best = attempt()?;
        for _ in 0..self.again {
            // A failure is not for want of quiet.
            if disturbance(&best).is_none_or(|others| others <= QUIET) {
                break;
            }
            let run = attempt()?;
            // The files are of the last attempt, which makes no difference: every attempt computes the same.
            if disturbance(&run) < disturbance(&best) && run.figures.is_some() {
                best = run;
            }
        }
        Ok(best)
    }

    /// One run. That the contender fails is a result too.
    fn run(&self, case: &Case, contender: Contender, files: &Files, round: u32) -> Result<Run> {
        let mut command = contender.command(case, files, &self.tools, round)?;
        let (busy, own) = (busy_seconds(), children_seconds());
        let done = start(&mut command, &files.results, self.limit)?;
        let (busy, own) = (busy_seconds() - busy, children_seconds() - own);
        let mut run =
            Run { contender: contender.name().to_owned(), round, wall_seconds: done.wall_seconds, ..Run::default() };
        let told = done.output.and_then(|text| {
            if contender != Contender::Run {
                return parse(&text);
            }
            let path = contenders::summary(files, round);
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (inertia, figures) = product_figures(&text, done.wall_seconds, own, busy)?;
            run.inertia = Some(inertia);
            Ok(figures)
        });
        match told {
            Ok(figures) => run.figures = Some(figures),
            Err(error) => run.error = Some(format!("{error:#}")),
        }
        Ok(run)
    }

    /// Our labels from the first centroids of scikit-learn's last run, beside the labels of that run.
    fn same_labels(&self, case: &Case, files: &Files, their: &Figures) -> Result<SameLabels> {
        let theirs = files.labels(Contender::ScikitLearn);
        let ours = files.labels(Contender::Coterie(Start::PlusPlus));
        let mut command = contenders::ours_from_scikit_learn(case, files, &self.tools);
        let our: Figures = parse(&start(&mut command, &files.results, self.limit)?.output?)?;
        let comparison: Comparison = self.judge(files, |command| {
            command.arg("--compare").arg(ours).arg(theirs).arg("--centroids");
            command.arg(files.results.join("check.centroids.npy"));
        })?;
        let by_steps = self.judge(files, |command| {
            command.arg("--steps").arg(files.steps());
        })?;
        fs::remove_dir_all(files.steps())?;
        let same = SameLabels {
            rows: comparison.rows,
            differing: comparison.differing,
            largest_gap: comparison.largest_gap,
            our_iterations: our.iterations,
            their_iterations: their.iterations,
            by_steps,
        };
        note(&format!("{}: {} of {} labels differ from scikit-learn's", case.name, same.differing, same.rows));
        Ok(same)
    }

    fn judge<T: DeserializeOwned>(&self, files: &Files, arguments: impl FnOnce(&mut Command)) -> Result<T> {
        let mut command = Command::new(&self.tools.python);
        // The judge reads the rows that the contenders read, as .npy.
        command.arg(self.tools.scripts.join("kmeans_judge.py")).arg("--data").arg(files.data.with_extension("npy"));
        arguments(&mut command);
        parse(&start(&mut command, &files.results, self.limit)?.output?)
    }
}

/// The summary of `coterie run` as inertia and figures. `cpu_seconds` is what it and its worker processes did from start to end, `busy` what the
/// whole machine did meanwhile.
fn product_figures(summary: &str, wall: f64, cpu_seconds: f64, busy: f64) -> Result<(f64, Figures)> {
    let summary: Value = serde_json::from_str(summary)?;
    let number = |name: &str| summary[name].as_f64().with_context(|| format!("the summary has no {name}"));
    let iterations = number("iterations")? as u32;
    let figures = Figures {
        seconds: wall,
        cpu_seconds,
        other_cpus: (busy - cpu_seconds).max(0.0) / wall,
        peak_rss_bytes: number("peakRssBytes")? as u64,
        iterations,
        passes: iterations,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Figures::default()
    };
    Ok((number("inertia")?, figures))
}

/// How many processors' worth of work others did during a run.
fn disturbance(run: &Run) -> Option<f64> {
    run.figures.as_ref().map(|figures| figures.other_cpus)
}

/// The size in names of data sets, as `make_data.py` has it.
pub(super) fn size(rows: u64) -> String {
    match rows {
        rows if rows % 1_000_000 == 0 => format!("{}m", rows / 1_000_000),
        rows if rows % 1000 == 0 => format!("{}k", rows / 1000),
        rows => rows.to_string(),
    }
}

fn is_available(contender: Contender) -> bool {
    let is = contender != Contender::Spark || find("java").is_some();
    if !is {
        note("skipped: spark (it needs java, version 17 or newer)");
    }
    is
}

fn tell(case: &Case, run: &Run) {
    let text = match (&run.figures, &run.error) {
        (Some(figures), _) => {
            let Figures { seconds, iterations, other_cpus, .. } = figures;
            format!("{seconds:.3} s, {iterations} iterations, others used {other_cpus:.2} CPUs")
        }
        (None, error) => format!("failed: {}", error.as_deref().unwrap_or("no figures")),
    };
    note(&format!("{}, round {}: {}: {text}", case.name, run.round, run.contender));
}

/// A process that has ended.
pub(super) struct Done {
    pub(super) wall_seconds: f64,
    /// What it printed, if it succeeded.
    pub(super) output: Result<String>,
}

/// Runs a command to its end or to the limit. What it says goes to files: nobody reads pipes meanwhile.
pub(super) fn start(command: &mut Command, folder: &Path, limit: Duration) -> Result<Done> {
    let (out, err) = (folder.join("stdout.txt"), folder.join("stderr.txt"));
    let create = |path: &Path| File::create(path).with_context(|| format!("cannot create {}", path.display()));
    command.stdin(Stdio::null()).stdout(create(&out)?).stderr(create(&err)?);
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(LOOK);
    };
    let wall_seconds = began.elapsed().as_secs_f64();
    let output = match status {
        Some(status) if status.success() => fs::read_to_string(&out).map_err(Into::into),
        Some(status) => Err(anyhow::anyhow!("{status}: {}", last_words(&err))),
        None => Err(anyhow::anyhow!("over the limit of {} s", limit.as_secs())),
    };
    Ok(Done { wall_seconds, output })
}

fn last_words(path: &Path) -> String {
    let said = fs::read_to_string(path).unwrap_or_default();
    said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
}

/// The last line of JSON among what was printed.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    let Some(line) = text.lines().rev().find(|line| line.starts_with('{')) else {
        bail!("it printed no figures");
    };
    serde_json::from_str(line).context("it printed other figures than expected")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Done {
        let folder = tempfile::tempdir().unwrap();
        start(Command::new("sh").args(["-c", script]), folder.path(), limit).unwrap()
    }

    #[test]
    fn figures_are_the_last_line_of_json() {
        let done = shell("echo hello; echo '{\"rows\":3,\"differing\":0,\"largest_gap\":0.5}'; echo bye", LOOK * 2000);
        let comparison: Comparison = parse(&done.output.unwrap()).unwrap();
        assert_eq!((comparison.rows, comparison.largest_gap), (3, 0.5));
        assert!(parse::<Comparison>("nothing").is_err());
    }

    #[test]
    fn failures_are_told() {
        let error = shell("echo first >&2; echo why >&2; echo >&2; exit 3", LOOK * 2000).output.unwrap_err();
        assert_eq!(error.to_string(), "exit status: 3: why");
        let error = shell("exec sleep 100", LOOK).output.unwrap_err();
        assert_eq!(error.to_string(), "over the limit of 0 s");
    }

    #[test]
    fn the_summary_of_a_run_has_figures() {
        let summary = r#"{"inertia":12.5,"iterations":10,"peakRssBytes":4096,"seconds":1.5}"#;
        let (inertia, figures) = product_figures(summary, 2.0, 3.0, 4.0).unwrap();
        assert_eq!((inertia, figures.seconds, figures.other_cpus), (12.5, 2.0, 0.5));
        assert_eq!((figures.iterations, figures.peak_rss_bytes), (10, 4096));
        assert_eq!(product_figures("{}", 1.0, 1.0, 1.0).unwrap_err().to_string(), "the summary has no iterations");
    }

    #[test]
    fn sets_are_named_by_their_size() {
        assert_eq!([size(1_000_000), size(20_000), size(123)], ["1m", "20k", "123"]);
    }
}
