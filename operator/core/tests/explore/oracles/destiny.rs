//! What a spec must come to in the end.

use coterie_crds::names::condition;
use coterie_crds::spec::{ClusteringJobSpec, MetricType};
use coterie_crds::{ClusteringJob, spec};
use k8s_openapi::api::networking::v1::NetworkPolicy;

use super::CONDITIONS;
use crate::explore::apiserver::Server;
use crate::explore::deployments::TOO_MUCH_MEMORY;
use crate::explore::operator::NAME;
use crate::explore::training::{BROKEN, Outcome, WORSE, outcome};
use crate::explore::user::{IMPOSSIBLE_CRON, LOCAL_SOURCE};

/// Digest of the model that a spec asks for.
pub fn digest(spec: &ClusteringJobSpec) -> String {
    let metric = match spec.metric.kind {
        MetricType::Euclidean => "Euclidean",
        MetricType::Cosine => "Cosine",
        MetricType::Jaccard => "Jaccard",
    };
    format!("blake3:k{}-s{}-{metric}-{}", clusters(spec), spec.seed, spec.source.uri.0)
}

fn clusters(spec: &ClusteringJobSpec) -> i32 {
    spec.algorithm.k_means.as_ref().map(|parameters| parameters.clusters).unwrap_or_default()
}

/// What a spec must come to, whatever happens on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destiny {
    /// It cannot be acted on.
    Invalid,
    /// It may have a model or not: nothing is started any more.
    Suspended,
    /// Its runs fail.
    Failed,
    /// Its model misses a gate.
    Rejected,
    /// Its model never answers.
    Unservable,
    /// Its model is taken out of the traffic, if there was another before.
    Worse,
    /// Everything is there.
    Ready,
}

/// The destiny of a spec.
pub fn destiny(spec: &ClusteringJobSpec) -> Destiny {
    let impossible = spec.schedule.as_ref().is_some_and(|schedule| schedule.cron == IMPOSSIBLE_CRON);
    if spec.source.uri.0 == LOCAL_SOURCE || spec.output.is_none() || impossible {
        return Destiny::Invalid;
    }
    if spec.suspend {
        return Destiny::Suspended;
    }
    let clusters = usize::try_from(clusters(spec)).unwrap_or_default();
    let silhouette = match outcome(clusters) {
        Outcome::Model(silhouette) => silhouette,
        Outcome::Flaky(failures) if failures <= spec.workers.max_restarts => 0.5,
        Outcome::Hangs if spec.workers.active_deadline_seconds.is_none() => 0.5,
        Outcome::Flaky(_) | Outcome::Fails(_) | Outcome::Hangs => return Destiny::Failed,
    };
    if !accepts(spec, silhouette) {
        return Destiny::Rejected;
    }
    let unservable =
        |serving: &spec::Serving| clusters == BROKEN || serving.resources.memory.as_deref() == Some(TOO_MUCH_MEMORY);
    match &spec.serving {
        Some(serving) if unservable(serving) => Destiny::Unservable,
        Some(serving) if serving.rollout.is_some() && clusters == WORSE => Destiny::Worse,
        Some(_) | None => Destiny::Ready,
    }
}

pub(super) fn accepts(spec: &ClusteringJobSpec, silhouette: f64) -> bool {
    spec.evaluation.gates.min_silhouette.as_ref().and_then(spec::Decimal::value).is_none_or(|least| silhouette >= least)
}

/// The end of a world as a user sees it, without what differs from history to history: numbers, times, and what an unfinished wish left behind.
/// `None`: the resource is gone.
pub fn face(server: &Server) -> Option<Vec<String>> {
    let job = server.get::<ClusteringJob>(NAME)?;
    let status = job.status.as_ref()?;
    let destiny = destiny(&job.spec);
    let kinds: &[&str] = match destiny {
        Destiny::Ready => &CONDITIONS,
        Destiny::Suspended => &[condition::SUSPENDED],
        Destiny::Worse => &[condition::RECONCILING, condition::SUSPENDED],
        Destiny::Invalid | Destiny::Failed | Destiny::Rejected | Destiny::Unservable => {
            &[condition::READY, condition::RECONCILING, condition::STALLED, condition::SUSPENDED]
        }
    };
    let mut face: Vec<String> = kinds
        .iter()
        .filter_map(|kind| status.condition(kind))
        .map(|condition| format!("{}={} {}", condition.type_, condition.status, condition.reason))
        .collect();
    if destiny == Destiny::Ready {
        face.extend(status.model.as_ref().map(|model| format!("{} {:?}", model.digest, model.retrain_token)));
        // An autoscaler keeps what it has, within its bounds.
        let fixed = job.spec.serving.as_ref().is_some_and(|serving| serving.autoscaling.is_none());
        let serving = status.serving.as_ref().filter(|_| fixed);
        face.extend(serving.map(|serving| format!("{} of {}", serving.ready_replicas, serving.replicas)));
        face.extend(server.all::<NetworkPolicy>().keys().map(|name| format!("policy {name}")));
    }
    Some(face)
}
