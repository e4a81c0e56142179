//! What the kstatus library makes of every status that the operator writes. Tools such as Flux, Argo CD and `kubectl wait` decide by it whether a
//! change has arrived.
//!
//! `KSTATUS_RECORD=1` writes resources of every kind of status to `tests/kstatus`, for the library itself to judge.
#![allow(clippy::unwrap_used)] // a test says what went wrong by panicking

#[path = "explore/mod.rs"]
#[allow(unreachable_pub, dead_code, unused_imports)] // shared by several tests, each of which uses a part
mod explore;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use coterie_crds::ClusteringJob;
use coterie_crds::names::condition;
use coterie_operator_core::{Observed, Plan};
use serde::{Deserialize, Serialize};

use explore::kstatus::{Verdict, verdict};
use explore::oracles::holds;
use explore::user::Wishes;
use explore::world::World;

/// Worlds whose statuses are judged.
const WORLDS: u64 = 1000;

/// Worlds from which resources are recorded.
const RECORDED: u64 = 400;

/// A resource, and what kstatus must say of it.
#[derive(Serialize, Deserialize)]
struct Sample {
    expected: String,
    object: ClusteringJob,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kstatus")
}

/// Shows every resource, before and after each plan of some worlds.
fn watch(worlds: u64, mut see: impl FnMut(&ClusteringJob)) {
    for seed in 0..worlds {
        let wishes = Wishes::of(seed);
        let mut watcher = |observed: &Observed, plan: &Plan| {
            see(&observed.job);
            let mut job = observed.job.clone();
            job.status = plan.status.clone().or(job.status);
            see(&job);
        };
        World::new(seed, wishes.queued, false).watched(&mut watcher).explore(&wishes);
    }
}

#[test]
fn kstatus_reads_what_is_meant() {
    let mut seen: BTreeMap<Verdict, usize> = BTreeMap::new();
    watch(WORLDS, |job| {
        let verdict = verdict(job);
        *seen.entry(verdict).or_default() += 1;
        let status = job.status.as_ref().unwrap();
        let is = |kind: &str| holds(status, kind);
        let observed = Some(status.observed_generation) == job.metadata.generation;
        match verdict {
            Verdict::Terminating => assert!(job.metadata.deletion_timestamp.is_some()),
            Verdict::Current => assert!(observed && is(condition::READY), "{status:?}"),
            Verdict::Failed => assert!(observed && is(condition::STALLED) && !is(condition::READY), "{status:?}"),
            Verdict::InProgress => {
                assert!(!observed || is(condition::RECONCILING) || is(condition::SUSPENDED), "{status:?}");
            }
        }
    });
    for verdict in [Verdict::Terminating, Verdict::InProgress, Verdict::Failed, Verdict::Current] {
        assert!(seen.contains_key(&verdict), "{verdict:?} was never seen");
    }
}

/// One resource of each kind of status, by name.
fn samples() -> BTreeMap<String, Sample> {
    let mut samples = BTreeMap::new();
    watch(RECORDED, |job| {
        let expected = format!("{:?}", verdict(job));
        let ready = job.status.as_ref().and_then(|status| status.condition(condition::READY));
        let reason = ready.map_or("NotObserved", |ready| ready.reason.as_str());
        let serving = job.status.as_ref().and_then(|status| status.condition(condition::SERVING));
        let serving = serving.map_or("", |serving| serving.reason.as_str());
        samples
            .entry(format!("{expected}-{reason}-{serving}"))
            .or_insert_with(|| Sample { expected, object: job.clone() });
    });
    samples
}

#[test]
fn recorded_resources_are_judged_alike() {
    if std::env::var_os("KSTATUS_RECORD").is_some() {
        let _ = fs::remove_dir_all(folder());
        fs::create_dir_all(folder()).unwrap();
        for (name, sample) in samples() {
            let text = serde_json::to_string_pretty(&sample).unwrap() + "\n";
            fs::write(folder().join(format!("{}.json", name.trim_end_matches('-').to_lowercase())), text).unwrap();
        }
    }
    let files: Vec<PathBuf> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 20, "{} files", files.len());
    for file in files {
        let sample: Sample = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(format!("{:?}", verdict(&sample.object)), sample.expected, "{}", file.display());
    }
}
