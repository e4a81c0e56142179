use coterie_algorithms::{features::Pipeline, fixed::Scale};

use super::*;
use crate::{error::RunError, machine::Merge, training::Context};

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
    assert_eq!((candidates.values.len(), candidates.batches), (6, (1..=6).collect()));
    let centroids = init.advance(Partial::Weights(vec![1; 6]), &scale)?.unwrap();
    assert_eq!(centroids.len(), 2);
    Ok(())
}
