//! What training leads to: a function of what is asked for, so that every schedule of the same wishes can be held against it.

use std::collections::{BTreeMap, BTreeSet};

use coterie_crds::resolved::{Algorithm, ResolvedJob};
use coterie_crds::run::{PublishedModel, RunConfig, RunFailure, RunReport};

/// How a run ends. The number of clusters decides, which makes traces easy to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// A model of this silhouette.
    Model(f64),
    /// A permanent failure with this exit code.
    Fails(i32),
    /// Attempts that fail with exit code 75 before one publishes a model.
    Flaky(i32),
    /// It never ends.
    Hangs,
}

/// Clusters whose model no replica can load.
pub const BROKEN: usize = 11;

/// Clusters whose model answers half of the requests with an error.
pub const WORSE: usize = 13;

/// Whether the model of this digest is the one that answers with errors.
pub fn is_worse(digest: &str) -> bool {
    digest.contains(&format!(":k{WORSE}-"))
}

/// Clusters whose run never ends.
pub const HANGS: i32 = 12;

/// Numbers of clusters with an outcome each.
pub const CLUSTERS: [i32; 12] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];

/// Passing failures of a flaky run that end it: more than any seed's `maxRestarts`.
pub const TOO_FLAKY: i32 = 9;

/// What comes of so many clusters.
pub fn outcome(clusters: usize) -> Outcome {
    match clusters {
        6 => Outcome::Model(0.1),
        7 => Outcome::Fails(65),
        8 => Outcome::Fails(64),
        9 => Outcome::Flaky(2),
        10 => Outcome::Flaky(TOO_FLAKY),
        12 => Outcome::Hangs,
        _ => Outcome::Model(0.4 + 0.05 * clusters as f64),
    }
}

/// Clusters of a job.
pub fn clusters(job: &ResolvedJob) -> usize {
    match &job.algorithm {
        Algorithm::KMeans(parameters) => parameters.clusters,
        Algorithm::Lsh(parameters) => parameters.max_clusters,
    }
}

/// Digest of the model that a job leads to, wherever and by however many workers it is made.
pub fn digest(job: &ResolvedJob) -> String {
    format!("blake3:k{}-s{}-{:?}-{}", clusters(job), job.seed, job.metric, job.source.uri)
}

/// The object store with the models, and the coordinators' memory in it.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// Version that each run of an output reserved.
    reserved: BTreeMap<(String, String), u64>,
    /// What was published: output, version.
    published: BTreeSet<(String, u64)>,
}

impl Models {
    /// The coordinator of a run starts: it reserves a version, once.
    pub fn reserve(&mut self, config: &RunConfig) -> String {
        let output = output(config);
        let taken = self.reserved.iter().filter(|((of, _), _)| *of == output).map(|(_, version)| *version).max();
        let next = taken.unwrap_or_default() + 1;
        let version = *self.reserved.entry((output, config.run.clone())).or_insert(next);
        format!("v{version}")
    }

    /// A run publishes its model, and old ones are removed as it was told.
    pub fn publish(&mut self, config: &RunConfig, silhouette: f64) -> RunReport {
        let version = self.reserve(config);
        let output = output(config);
        self.published.insert((output.clone(), number(&version)));
        if let Some(retention) = &config.retention {
            let mut kept = 0;
            let mut versions: Vec<u64> = self.versions(&output);
            versions.sort_unstable_by(|a, b| b.cmp(a));
            for old in versions {
                kept += 1;
                if kept > retention.limit && !retention.protect.contains(&format!("v{old}")) {
                    self.published.remove(&(output.clone(), old));
                }
            }
        }
        RunReport::Published(PublishedModel {
            uri: format!("{output}models/{version}/"),
            version,
            digest: digest(&config.job),
            rows: 1000,
            rows_dropped: 0,
            clusters: None,
            noise: None,
            iterations: 12,
            converged: true,
            inertia: 42.5,
            silhouette: Some(silhouette),
            davies_bouldin: Some(0.8),
            calinski_harabasz: None,
            ari: None,
            nmi: None,
            smallest_cluster_share: 0.05,
            seconds: 20.0,
            cpu_seconds: 30.0,
            bytes_read: 1 << 20,
            peak_rss_bytes: 1 << 26,
        })
    }

    /// Whether the model at this place exists.
    pub fn exists(&self, uri: &str) -> bool {
        self.published.iter().any(|(output, version)| uri == format!("{output}models/v{version}/"))
    }

    fn versions(&self, output: &str) -> Vec<u64> {
        self.published.iter().filter(|(of, _)| of == output).map(|(_, version)| *version).collect()
    }
}

/// The report of a failed run.
pub fn failure(exit_code: i32) -> RunReport {
    RunReport::Failed(RunFailure { exit_code, message: format!("the run ended with {exit_code}") })
}

fn output(config: &RunConfig) -> String {
    config.job.output.as_ref().map(|output| output.uri.clone()).unwrap_or_default()
}

fn number(version: &str) -> u64 {
    version.trim_start_matches('v').parse().unwrap_or_default()
}
