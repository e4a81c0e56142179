//! The part of the spec that a run depends on, checked for what the schema cannot know: that a cluster can reach it.

use coterie_crds::ClusteringJob;
use coterie_crds::resolved::{Algorithm, Init, ResolvedJob, Sets};
use serde_json::{Value, json};

use crate::gates::Gates;
use crate::schedule::Schedule;

/// What a model answers: the same key, no new run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) training_hash: String,
    pub(crate) retrain_token: Option<String>,
}

/// A spec that can be acted on.
#[derive(Debug)]
pub(crate) struct Validated {
    pub(crate) resolved: ResolvedJob,
    pub(crate) key: Key,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) gates: Gates,
}

/// Checks a spec.
///
/// # Errors
/// What a user has to change, in words.
pub(crate) fn validate(job: &ClusteringJob) -> Result<Validated, String> {
    let resolved = coterie_crds::admitted(job)
        .ok_or("spec lacks what its rules demand; run `coterie validate -f FILE` to see where")?;
    reachable("spec.source.uri", &resolved.source.uri)?;
    match &resolved.output {
        None => {
            return Err(
                "spec.output is missing; on a cluster, set spec.output.uri to a prefix such as s3://models/NAME/"
                    .to_owned(),
            );
        }
        Some(output) => reachable("spec.output.uri", &output.uri)?,
    }
    match &resolved.algorithm {
        Algorithm::KMeans(parameters) => match &parameters.init {
            Init::WarmStart { uri } => reachable("spec.algorithm.kMeans.warmStart.uri", uri)?,
            Init::KMeansParallel | Init::KMeansPlusPlus | Init::Random => {}
        },
        Algorithm::Lsh(_) => {}
    }
    let schedule = job.spec.schedule.as_ref().map(Schedule::new).transpose()?;
    let gates = Gates::new(&job.spec.evaluation.gates)?;
    let key = Key { training_hash: training_hash(&resolved), retrain_token: job.spec.retrain_token.clone() };
    Ok(Validated { resolved, key, schedule, gates })
}

/// Pods have no files of the user's.
fn reachable(field: &str, uri: &str) -> Result<(), String> {
    match uri.split_once("://") {
        Some((scheme, _)) if scheme != "file" => Ok(()),
        Some(_) | None => Err(format!(
            "{field} is {uri:?}, a place that pods cannot reach; on a cluster, use an object store: s3://, gs://, az:// or https://"
        )),
    }
}

/// Covers what the model depends on, and nothing else: a change of anything else makes no run. The text below is part of the operator's promise not
/// to train again because it was upgraded; a golden test holds it.
fn training_hash(job: &ResolvedJob) -> String {
    let ResolvedJob { name: _, source, features, metric, algorithm, seed, workers: _, evaluation: _, output, items } =
        job;
    let lists = match &source.columns.sets {
        Some(Sets::Lists { column, size }) => Some((column, size)),
        // The metric says as much.
        Some(Sets::Dense) | None => None,
    };
    let inputs = json!({
        "source": {
            "uri": source.uri,
            "format": source.format,
            "vector": source.columns.vector,
            "features": source.columns.features,
            "sets": lists,
            "endpoint": source.store.endpoint,
            "region": source.store.region,
            "invalidRows": source.invalid_rows,
        },
        "features": features,
        "metric": metric,
        "algorithm": algorithm,
        "seed": seed,
        // How items are found later does not change what is kept.
        "items": items.as_ref().map(|_| true),
        "output": output.as_ref().map(|output| json!({"uri": output.uri, "endpoint": output.store.endpoint})),
    });
    short_hash(without_nulls(inputs).to_string().as_bytes())
}

/// Fields that come later are null or empty in the specs of today and must not change their hash.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, without_nulls(value)))
            .filter(|(_, value)| !value.is_null() && value != &json!([]) && value != &json!({}))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A hash of 16 hexadecimal digits.
pub(crate) fn short_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..16].to_owned()
}
