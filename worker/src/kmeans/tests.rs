use coterie_algorithms::{features::Pipeline, fixed::Scale};
use coterie_crds::resolved::{
    Algorithm, Columns, Evaluation, FeatureStep, Init, InvalidRows, KMeans, Metric, ResolvedJob, Source, Store,
};

use super::*;
use crate::{
    error::RunError,
    machine::{Machine, Merge},
};

pub(super) fn job(clusters: usize) -> ResolvedJob {
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

fn scanned(rows: u64, dimension: usize) -> Partial {
    let mut scanned = step::Scanned::new(dimension);
    scanned.rows.insert(0, rows);
    scanned.minimum = vec![-1.0; dimension];
    scanned.maximum = vec![1.0; dimension];
    Partial::Scanned(scanned)
}

#[test]
fn an_empty_input_is_named_and_final() {
    let mut machine = KMeansMachine::new(job(2), 1, 3, None);
    let error = machine.advance(scanned(0, 3)).unwrap_err();
    assert_eq!(error.exit_code, 65);
    assert_eq!(error.message, "somewhere: there are no rows; a run needs at least one valid row");
}

#[test]
fn too_many_components_are_refused_before_any_work() {
    let mut job = job(2);
    job.features = vec![FeatureStep::L2Normalize, FeatureStep::Pca { components: 9 }];
    let mut machine = KMeansMachine::new(job, 1, 3, None);
    let error = machine.advance(scanned(10, 3)).unwrap_err();
    assert_eq!(error.exit_code, 64);
    assert!(error.message.contains("spec.features[1].pca.components is 9"), "{error}");
}

#[test]
fn an_answer_of_another_kind_is_refused_and_the_machine_stays_where_it_was() {
    let mut machine = KMeansMachine::new(job(2), 1, 3, None);
    let error = machine.advance(Partial::Potential(0)).unwrap_err();
    assert!(error.is_transient());
    assert!(matches!(machine.step(), Some(Step::Scan)));
    assert!(Partial::Potential(0).merge(Partial::Weights(vec![1])).is_err());
}

#[test]
fn sums_of_another_shape_are_refused() {
    let sums = |k, d| Partial::Sums(coterie_algorithms::kmeans::Partial::new(k, d));
    assert!(sums(2, 3).merge(sums(2, 3)).is_ok());
    for (k, d) in [(2, 4), (3, 3)] {
        assert!(sums(2, 3).merge(sums(k, d)).unwrap_err().is_transient());
    }
    assert!(Partial::join(vec![sums(2, 3), sums(2, 4)]).is_err());
    assert!(Partial::join(vec![sums(2, 3), Partial::Potential(1)]).is_err());
    assert!(Partial::join(Vec::new()).is_err());
}

#[test]
fn k_means_parallel_asks_for_rounds_and_then_weighs() -> Result<(), RunError> {
    let context = Context { pipeline: Pipeline::new(1), offsets: vec![0] };
    let scale = Scale::new(&[10.0], 100);
    let mut init = init::Init::new(init::Method::Parallel, 2, 1, 100, 7, 0);
    let sample = |rows: &[f32]| {
        let mut sample = coterie_algorithms::kmeans::init::Sample::new(100, 1);
        for (at, row) in rows.iter().enumerate() {
            sample.offer(at as u64, at as u64, &[*row]);
        }
        Partial::Sample(sample)
    };
    assert!(matches!(init.step(&context, &scale), Step::Sample { count: 1, .. }));
    assert!(init.advance(sample(&[1.0]), &scale)?.is_none());
    for round in 0..5 {
        let Step::Seed { candidates, .. } = init.step(&context, &scale) else { panic!("a Seed step") };
        assert_eq!(candidates.batches, (1..=round + 1).collect::<Vec<_>>());
        assert!(init.advance(Partial::Potential(1 << 40), &scale)?.is_none());
        assert!(matches!(init.step(&context, &scale), Step::Draw { .. }));
        assert!(init.advance(sample(&[round as f32 * 2.0]), &scale)?.is_none());
    }
    assert!(matches!(init.step(&context, &scale), Step::Seed { .. }));
    assert!(init.advance(Partial::Potential(1 << 40), &scale)?.is_none());
    let Step::Weigh { candidates, .. } = init.step(&context, &scale) else { panic!("a Weigh step") };
    assert_eq!(candidates.len(), 6);
    let centroids = init.advance(Partial::Weights(vec![1; 6]), &scale)?.unwrap();
    assert_eq!(centroids.len(), 2);
    Ok(())
}

#[test]
fn a_checkpoint_is_the_whole_machine() {
    let mut machine = KMeansMachine::new(job(2), 1, 3, Some(vec![0.5; 6]));
    machine.advance(scanned(10, 3)).unwrap();
    let bytes = postcard::to_stdvec(&machine).unwrap();
    let restored: KMeansMachine = postcard::from_bytes(&bytes).unwrap();
    let step = |machine: &KMeansMachine| postcard::to_stdvec(&machine.step().unwrap()).unwrap();
    assert_eq!(step(&restored), step(&machine));
    assert!(matches!(restored.step(), Some(Step::Moments { .. })));
}
