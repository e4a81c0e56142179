//! The user: wishes that are drawn before anything happens, so that the same wishes can be held against a run without faults, and rough hands.

use coterie_crds::names::label;
use coterie_crds::spec::{
    Autoscaling, ClusteringJobSpec, ConcurrencyPolicy, Gates, History, MetricType, Rollout, RolloutGates, RolloutStep,
    Schedule, Serving,
};
use coterie_crds::{ClusteringJob, spec};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::apiserver::{Server, Stored};
use super::controllers::Controllers;
use super::deployments::{TOO_MUCH_MEMORY, crash};
use super::dice::Dice;
use super::jobs::{is_active, is_over, phase};
use super::kubelet;
use super::operator::NAME;
use super::training::{CLUSTERS, HANGS, failure};

/// A schedule that the schema admits and no calendar has.
pub const IMPOSSIBLE_CRON: &str = "99 99 * * *";

/// A source that no pod can read.
pub const LOCAL_SOURCE: &str = "file:///data/songs.parquet";

/// A change of the resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// A new spec.
    Spec(Box<ClusteringJobSpec>),
    /// Delete the resource; true: in the foreground.
    Delete(bool),
}

/// A wish and how many seconds after the one before it comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// Seconds since the last.
    pub after: i64,
    /// What is wished.
    pub wish: Wish,
}

/// All wishes of a seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// Whether the job is in one of Kueue's queues.
    pub queued: bool,
    /// Most disturbances between two wishes.
    pub disturbances: usize,
    /// In order; the first creates the resource.
    pub wishes: Vec<Timed>,
}

/// The plainest spec.
pub fn first_spec() -> ClusteringJobSpec {
    serde_json::from_value(json!({
        "source": {"uri": "s3://data/songs.parquet"},
        "algorithm": {"kMeans": {"clusters": 2}},
        "output": {"uri": "s3://models/a/"},
    }))
    .unwrap()
}

/// A fresh resource.
pub fn resource(spec: ClusteringJobSpec, queued: bool) -> ClusteringJob {
    let mut job = ClusteringJob::new(NAME, spec);
    if queued {
        job.metadata.labels = Some([(label::KUEUE_QUEUE.to_owned(), "main".to_owned())].into());
    }
    job
}

impl Wishes {
    /// The wishes of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let patient = |spec: &mut ClusteringJobSpec| {
            // A run that never ends, replaced every five minutes, is no story with an end.
            if let (Some(parameters), Some(_)) = (&mut spec.algorithm.k_means, &spec.schedule)
                && parameters.clusters == HANGS
            {
                parameters.clusters = 3;
            }
        };
        let mut spec = first_spec();
        spec.workers.max_restarts = *dice.pick(&[2, 3, 6]);
        spec.workers.active_deadline_seconds = dice.chance(50).then_some(900);
        for _ in 0..dice.below(4) {
            change(&mut spec, &mut dice);
        }
        // Some worlds are about models that take each other's place, and have the time for it.
        let gradual = dice.chance(30);
        if gradual {
            let serving = Serving { progress_deadline_seconds: 60, ..Serving::default() };
            spec.serving = Some(Serving { rollout: Some(steps(&mut dice)), ..serving });
            remodel(&mut spec, &mut dice);
        }
        patient(&mut spec);
        let mut wishes = vec![Timed { after: 0, wish: Wish::Spec(Box::new(spec.clone())) }];
        let mut before = spec.clone();
        for _ in 0..dice.below(8) {
            let after = *dice.pick(&[0, 1, 5, 20, 90, 400, 4000]);
            if dice.chance(4) {
                wishes.push(Timed { after, wish: Wish::Delete(dice.chance(30)) });
                continue;
            }
            if dice.chance(15) {
                std::mem::swap(&mut spec, &mut before); // revert
            } else {
                before = spec.clone();
                if gradual && dice.chance(70) {
                    remodel(&mut spec, &mut dice);
                } else {
                    for _ in 0..=dice.below(2) {
                        change(&mut spec, &mut dice);
                    }
                }
                patient(&mut spec);
            }
            wishes.push(Timed { after, wish: Wish::Spec(Box::new(spec.clone())) });
        }
        Self { queued: dice.chance(10), disturbances: if gradual { 200 } else { 24 }, wishes }
    }
}

/// Asks for another model that a run can make.
fn remodel(spec: &mut ClusteringJobSpec, dice: &mut Dice) {
    if let Some(parameters) = &mut spec.algorithm.k_means {
        parameters.clusters = *dice.pick(&[2, 3, 4, 5, 9, 11, 13, 13]);
    }
    spec.suspend = false;
}

fn steps(dice: &mut Dice) -> Rollout {
    let choices: [&[(i32, i32)]; 3] = [&[(10, 15)], &[(30, 5), (50, 15)], &[(50, 1), (90, 7)]];
    let steps = *dice.pick(&choices);
    rollout(steps)
}

/// One change of a spec that the schema admits.
fn change(spec: &mut ClusteringJobSpec, dice: &mut Dice) {
    match dice.below(16) {
        0..=2 => {
            if let Some(parameters) = &mut spec.algorithm.k_means {
                let clusters = *dice.pick(&CLUSTERS);
                parameters.clusters = if clusters == HANGS && dice.chance(50) { 3 } else { clusters };
            }
        }
        3 => spec.seed = i64::from(dice.chance(50)),
        4 => spec.metric.kind = if dice.chance(50) { MetricType::Cosine } else { MetricType::Euclidean },
        5 => spec.retrain_token = dice.pick(&[None, Some("a"), Some("b"), Some("c")]).map(str::to_owned),
        6 => spec.serving = None,
        7 | 8 => {
            let replicas = *dice.pick(&[1, 2, 3]);
            let mut serving = Serving { replicas, progress_deadline_seconds: 60, ..Serving::default() };
            if dice.chance(25) {
                serving.autoscaling = Some(Autoscaling { min_replicas: 1, max_replicas: 3, target_cpu_percent: 70 });
            }
            if dice.chance(10) {
                serving.resources.memory = Some(TOO_MUCH_MEMORY.to_owned());
            }
            if dice.chance(50) {
                serving.rollout = Some(steps(dice));
            }
            if serving.autoscaling.is_none() && serving.rollout.is_none() && dice.chance(50) {
                (serving.similar_items, serving.shards) = (true, *dice.pick(&[1, 2, 3]));
            }
            spec.serving = Some(serving);
        }
        9 => spec.suspend = dice.chance(40),
        10 => {
            let least = dice.pick(&[None, Some("0.3"), Some("0.9")]).map(spec::Decimal::from);
            spec.evaluation.gates = Gates { min_silhouette: least, ..Gates::default() };
        }
        11 => {
            let policies = [ConcurrencyPolicy::Allow, ConcurrencyPolicy::Forbid, ConcurrencyPolicy::Replace];
            spec.schedule = dice.chance(60).then(|| Schedule {
                cron: (*dice.pick(&["*/5 * * * *", "@hourly", "0 3 * * *", "*/5 * * * *", IMPOSSIBLE_CRON])).to_owned(),
                time_zone: dice.chance(30).then(|| "Europe/Berlin".to_owned()),
                concurrency_policy: *dice.pick(&policies),
                starting_deadline_seconds: dice.chance(30).then_some(60),
            });
        }
        12 => spec.workers.replicas = *dice.pick(&[1, 2, 3]),
        13 => {
            let uri =
                dice.pick(&["s3://data/songs.parquet", "s3://data/songs.parquet", "s3://data/more/", LOCAL_SOURCE]);
            spec.source.uri = spec::Uri((*uri).to_owned());
        }
        14 => {
            let uri = dice.pick(&[Some("s3://models/a/"), Some("s3://models/b/"), Some("s3://models/a/"), None]);
            let limit = *dice.pick(&[None, Some(1), Some(2)]);
            spec.output = uri.map(|uri| spec::Output {
                uri: spec::Uri(uri.to_owned()),
                assignments: false,
                history_limit: limit,
                store: None,
            });
        }
        _ => {
            spec.history = History { successful_runs: *dice.pick(&[0, 1, 3, 20]), failed_runs: *dice.pick(&[0, 1, 2]) }
        }
    }
}

/// Steps of these weights and pauses, and a gate that a good model passes.
pub fn rollout(steps: &[(i32, i32)]) -> Rollout {
    let steps = steps.iter().map(|&(weight, pause_seconds)| RolloutStep { weight, pause_seconds });
    let max_error_rate = Some(spec::Decimal::from("0.01"));
    let gates = RolloutGates { max_error_rate, interval_seconds: 5, ..RolloutGates::default() };
    Rollout { steps: steps.collect(), gates }
}

/// What matters in a spec, in a line.
pub fn brief(spec: &ClusteringJobSpec) -> String {
    let ClusteringJobSpec { source, metric, algorithm, seed, workers, evaluation, output, .. } = spec;
    let mut line = format!(
        "k={} seed={seed} {:?} {} -> {} workers={}/{}/{:?}",
        algorithm.k_means.as_ref().map(|parameters| parameters.clusters).unwrap_or_default(),
        metric.kind,
        source.uri.0,
        output.as_ref().map_or("-".to_owned(), |output| format!("{} keep {:?}", output.uri.0, output.history_limit)),
        workers.replicas,
        workers.max_restarts,
        workers.active_deadline_seconds,
    );
    let mut add = |part: String| line.push_str(&part);
    add(evaluation.gates.min_silhouette.as_ref().map(|gate| format!(" gate={}", gate.0)).unwrap_or_default());
    add(spec.retrain_token.as_ref().map(|token| format!(" token={token}")).unwrap_or_default());
    add(spec
        .schedule
        .as_ref()
        .map(|schedule| {
            format!(" {} {:?} {:?}", schedule.cron, schedule.concurrency_policy, schedule.starting_deadline_seconds)
        })
        .unwrap_or_default());
    add(spec
        .serving
        .as_ref()
        .map(|serving| {
            format!(
                " serving={}x{} auto={} memory={:?} steps={:?}",
                serving.shards,
                serving.replicas,
                serving.autoscaling.is_some(),
                serving.resources.memory,
                serving.rollout.iter().flat_map(|rollout| &rollout.steps).map(|step| step.weight).collect::<Vec<_>>()
            )
        })
        .unwrap_or_default());
    add(if spec.suspend { " suspended".to_owned() } else { String::new() });
    add(format!(" history={}/{}", spec.history.successful_runs, spec.history.failed_runs));
    line
}

/// Makes a wish come true. A resource that was deleted is made again by the next spec.
pub fn wish(server: &mut Server, wish: &Wish, queued: bool) {
    match wish {
        Wish::Spec(spec) => match server.get::<ClusteringJob>(NAME) {
            Some(job) if job.metadata.deletion_timestamp.is_some() => {}
            Some(_) => {
                let _ = server.update::<ClusteringJob>(NAME, |job| job.spec = ClusteringJobSpec::clone(spec));
            }
            None => {
                let _ = server.create(resource(ClusteringJobSpec::clone(spec), queued));
            }
        },
        Wish::Delete(true) => {
            let _ = server.delete_foreground::<ClusteringJob>(NAME, None, None);
        }
        Wish::Delete(false) => {
            let _ = server.delete::<ClusteringJob>(NAME, None, None);
        }
    }
}

/// Somebody, or a broken machine, does something to the operator's objects. Returns what.
pub fn rough_hands(controllers: &mut Controllers, server: &mut Server, dice: &mut Dice) -> Option<String> {
    match dice.below(14) {
        0 => named::<Job>(server, dice).filter(|name| queued(server, name)).map(|name| {
            let _ = server.update::<Job>(&name, |job| job.spec.get_or_insert_default().suspend = Some(true));
            format!("Kueue holds Job {name} back")
        }),
        1 => named::<Job>(server, dice).map(|name| {
            let _ = server.delete_foreground::<Job>(&name, None, None);
            format!("delete Job {name}")
        }),
        2..=4 => named::<Pod>(server, dice).map(|name| {
            let now = server.now;
            let over = server.get::<Pod>(&name).is_some_and(|pod| is_over(pod));
            if over || dice.chance(30) {
                server.remove::<Pod>(&name);
            } else {
                let _ = server.update::<Pod>(&name, |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
            }
            format!("delete Pod {name}")
        }),
        5 | 6 => named::<Pod>(server, dice)
            .filter(|name| server.get::<Pod>(name).is_some_and(|pod| phase(pod) == "Running"))
            .map(|name| {
                kubelet::exit(controllers, server, &name, &failure(75));
                format!("crash Pod {name}")
            }),
        7 => remove::<ConfigMap>(server, dice, "ConfigMap"),
        8 => remove::<Service>(server, dice, "Service"),
        9 => remove::<Deployment>(server, dice, "Deployment"),
        10 => named::<Deployment>(server, dice).map(|name| {
            crash(server, &name);
            format!("crash a replica of {name}")
        }),
        11 => named::<Deployment>(server, dice).map(|name| {
            let replicas = i32::try_from(dice.below(4)).unwrap_or_default();
            let _ = server
                .update::<Deployment>(&name, |object| object.spec.get_or_insert_default().replicas = Some(replicas));
            format!("scale Deployment {name} to {replicas}")
        }),
        12 => named::<Service>(server, dice).filter(|name| name == NAME).map(|name| {
            let _ = server.update::<Service>(&name, |object| {
                let selector = object.spec.get_or_insert_default().selector.get_or_insert_default();
                selector.insert(label::MODEL_VERSION.to_owned(), "v1".to_owned());
            });
            format!("point Service {name} at v1")
        }),
        _ => match dice.below(3) {
            0 => remove::<HorizontalPodAutoscaler>(server, dice, "HorizontalPodAutoscaler"),
            1 => remove::<PodDisruptionBudget>(server, dice, "PodDisruptionBudget"),
            _ => remove::<NetworkPolicy>(server, dice, "NetworkPolicy"),
        },
    }
}

fn queued(server: &Server, name: &str) -> bool {
    let active = server.get::<Job>(name).filter(|job| is_active(job));
    active.is_some_and(|job| job.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(label::KUEUE_QUEUE)))
}

fn named<T: Stored>(server: &Server, dice: &mut Dice) -> Option<String> {
    let names: Vec<&String> = server.all::<T>().keys().collect();
    (!names.is_empty()).then(|| (*dice.pick(&names)).clone())
}

fn remove<T: Stored>(server: &mut Server, dice: &mut Dice, kind: &str) -> Option<String> {
    let name = named::<T>(server, dice)?;
    server.remove::<T>(&name);
    Some(format!("delete {kind} {name}"))
}
