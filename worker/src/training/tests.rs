use coterie_algorithms::{distinct::Distinct, features::Moments};
use coterie_crds::resolved::{
    Algorithm, Columns, Evaluation, FeatureStep, Init, InvalidRows, KMeans, Lsh, Metric, ResolvedJob, Source, Store,
};

use super::{
    preparation::Preparation,
    step::{Measured, Prepared, Scanned},
    *,
};
use crate::{
    kmeans,
    machine::{Machine, Merge},
};

pub(crate) fn job(clusters: usize) -> ResolvedJob {
    ResolvedJob {
        name: "test".into(),
        source: Source {
            uri: "somewhere".into(),
            format: None,
            columns: Columns::default(),
            store: Store::default(),
            invalid_rows: InvalidRows::Fail,
        },
        features: Vec::new(),
        metric: Metric::Euclidean,
        algorithm: Algorithm::KMeans(KMeans {
            clusters,
            init: Init::Random,
            max_iterations: 10,
            tolerance: 0.0,
            restarts: 1,
        }),
        seed: 1,
        workers: 1,
        evaluation: Evaluation { sample_size: 10 },
        output: None,
        items: None,
    }
}

fn machine(job: ResolvedJob, initial: Option<Vec<f32>>) -> TrainingMachine {
    TrainingMachine::new(job, (1, 3), initial, 1 << 30)
}

fn scanned(rows: u64, dimension: usize) -> Partial {
    let mut scanned = Scanned::new(dimension);
    scanned.rows.insert(0, rows);
    scanned.minimum = vec![-1.0; dimension];
    scanned.maximum = vec![1.0; dimension];
    Partial::Scanned(scanned)
}

/// So many rows of values up to `most`, prepared.
pub(crate) fn prepared(job: &ResolvedJob, count: u64, dimension: usize, most: f32) -> Preparation {
    let mut rows = Preparation::new(1, dimension, 10);
    let (minimum, maximum) = (vec![-1.0; dimension], vec![1.0; dimension]);
    let mut moments = Moments::new(&minimum, &maximum, count, false);
    let mut distinct = Distinct::new(10);
    for row in 0..10u8 {
        let row = vec![f32::from(row) / 9.0; dimension];
        moments.add_rows(&row);
        distinct.add_row(&row);
    }
    rows.advance(scanned(count, dimension), job).unwrap();
    rows.advance(Partial::Moments(Box::new(Measured { moments, minimum, maximum })), job).unwrap();
    rows.advance(Partial::Prepared(Prepared { max_abs: vec![most; dimension], distinct, fingerprint: 7 }), job)
        .unwrap();
    assert!(rows.is_done() && rows.step(job).is_none());
    rows
}

#[test]
fn an_empty_input_is_named_and_final() {
    let mut machine = machine(job(2), None);
    let error = machine.advance(scanned(0, 3)).unwrap_err();
    assert_eq!(error.exit_code, 65);
    assert_eq!(error.message, "somewhere: there are no rows; a run needs at least one valid row");
}

#[test]
fn more_rows_than_the_algorithm_takes_are_refused_once_they_are_counted() {
    let params = Lsh { tables: 3, hashes: 2, width: Some(1.0), min_cluster_size: 2, max_clusters: 10 };
    let lsh = ResolvedJob { algorithm: Algorithm::Lsh(params), ..job(2) };
    let counted = |job: &ResolvedJob, rows| machine(job.clone(), None).advance(scanned(rows, 3));
    assert!(counted(&lsh, 1 << 26).is_ok());
    let error = counted(&lsh, (1 << 26) + 1).unwrap_err();
    assert_eq!(error.exit_code, 65);
    assert!(
        error
            .message
            .contains("somewhere: 67108865 rows, but spec.algorithm.lsh takes at most 67108864; cluster a sample"),
        "{error}"
    );
    assert!(counted(&job(2), 1 << 40).is_ok(), "k-means has no such bound");
}

#[test]
fn too_many_components_are_refused_before_any_work() {
    let mut job = job(2);
    job.features = vec![FeatureStep::L2Normalize, FeatureStep::Pca { components: 9 }];
    let mut machine = machine(job, None);
    let error = machine.advance(scanned(10, 3)).unwrap_err();
    assert_eq!(error.exit_code, 64);
    assert!(error.message.contains("spec.features[1].pca.components is 9"), "{error}");
}

#[test]
fn an_answer_of_another_kind_is_refused_and_the_machine_stays_where_it_was() {
    let mut machine = machine(job(2), None);
    let potential = || Partial::KMeans(kmeans::Partial::Potential(0));
    let error = machine.advance(potential()).unwrap_err();
    assert!(error.is_transient());
    assert!(matches!(machine.step(), Some(Step::Scan)));
    assert!(potential().merge(Partial::KMeans(kmeans::Partial::Weights(vec![1]))).is_err());
    assert!(potential().merge(scanned(1, 3)).is_err());
    assert!(Partial::join(vec![potential(), scanned(1, 3)]).is_err());
    assert!(Partial::join(Vec::new()).is_err());
}

#[test]
fn a_checkpoint_is_the_whole_machine() {
    let mut machine = machine(job(2), Some(vec![0.5; 6]));
    machine.advance(scanned(10, 3)).unwrap();
    let bytes = postcard::to_stdvec(&machine).unwrap();
    let restored: TrainingMachine = postcard::from_bytes(&bytes).unwrap();
    let step = |machine: &TrainingMachine| postcard::to_stdvec(&machine.step().unwrap()).unwrap();
    assert_eq!(step(&restored), step(&machine));
    assert!(matches!(restored.step(), Some(Step::Moments { .. })));
}
