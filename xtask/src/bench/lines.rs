//! What is kept of a benchmark: JSON, one line per run or check.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::machine::Machine;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Day of the session, as in 2026-11-26.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    /// Whether the data was only made to see that everything works.
    pub(crate) quick: bool,
    pub(crate) threads: usize,
    pub(crate) case: String,
    pub(crate) rows: u64,
    pub(crate) dimension: u64,
    pub(crate) clusters: u32,
    #[serde(flatten)]
    pub(crate) what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum What {
    Run(Box<Run>),
    /// From the same first centroids, whether the final labels are the same as scikit-learn's.
    SameLabels(SameLabels),
}

/// One run of one contender.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) contender: String,
    pub(crate) round: u32,
    /// From start to end of the process, reading included.
    pub(crate) wall_seconds: f64,
    /// Sum of squared distances to the nearest final centroid, computed afterwards in the same way for everyone.
    pub(crate) inertia: Option<f64>,
    /// What the process said about itself; nothing when it failed.
    pub(crate) figures: Option<Figures>,
    pub(crate) error: Option<String>,
}

/// What a process says about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Seconds of the whole call: all but reading and writing files.
    pub(crate) seconds: f64,
    pub(crate) init_seconds: Option<f64>,
    pub(crate) cpu_seconds: f64,
    /// How many processors' worth of work others did meanwhile.
    pub(crate) other_cpus: f64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) iterations: u32,
    /// Passes over the rows: iterations, and one for the labels where there is one.
    pub(crate) passes: u32,
    #[serde(default)]
    pub(crate) version: String,
    /// Whether it began at the given centroids.
    #[serde(default)]
    pub(crate) given_start: bool,
    /// What else it said.
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SameLabels {
    /// Labels compared.
    pub(crate) rows: u64,
    pub(crate) differing: u64,
    /// Among the rows that differ, the largest difference of the distances to the two centroids, relative to the larger.
    pub(crate) largest_gap: f64,
    pub(crate) our_iterations: u32,
    pub(crate) their_iterations: u32,
    /// The same iteration by iteration, both from our centroids.
    pub(crate) by_steps: Steps,
}

/// Each iteration of ours beside scikit-learn's from the same centroids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steps {
    /// Iterations compared, and the labels at the end.
    pub(crate) steps: u32,
    /// Labels that differ in the iteration where most do.
    pub(crate) differing: u64,
    /// As [`SameLabels::largest_gap`], in all iterations.
    pub(crate) largest_gap: f64,
    /// How far a number of ours is from the exact mean of its rows at most, relative to the largest magnitude in the data.
    pub(crate) means_off: f64,
}

/// Reads the lines of a file.
///
/// # Errors
/// When the file cannot be read or a line is not one of a benchmark.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), number + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

/// Lines as text, each a value in JSON.
pub(crate) fn write(lines: &[impl Serialize]) -> Result<String> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were() {
        let said = r#"{"seconds":1.5,"cpu_seconds":2.9,"other_cpus":0.1,"peak_rss_bytes":5,"iterations":10,"passes":11,"load_seconds":3.0}"#;
        let figures: Figures = serde_json::from_str(said).unwrap();
        assert_eq!(figures.more["load_seconds"], 3.0);
        let run = Run { contender: "faiss".into(), figures: Some(figures), ..Run::default() };
        let by_steps = Steps { steps: 4, differing: 0, largest_gap: 0.0, means_off: 1e-8 };
        let same =
            SameLabels { rows: 9, differing: 1, largest_gap: 1e-7, our_iterations: 3, their_iterations: 3, by_steps };
        let lines = [What::Run(Box::new(run)), What::SameLabels(same)].map(|what| Line {
            date: "2026-01-01".into(),
            machine: Machine { cpu: "a".into(), cores: 2 },
            quick: false,
            threads: 2,
            case: "c".into(),
            rows: 9,
            dimension: 2,
            clusters: 3,
            what,
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.jsonl");
        fs::write(&path, write(&lines).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), lines);
    }
}
