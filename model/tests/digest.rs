//! What the model digest covers, and what it does not.
#![allow(clippy::unwrap_used)]

mod fixture;

use coterie_algorithms::features::Transform;
use coterie_algorithms::kmeans::Centroids;
use coterie_algorithms::members::Members;
use coterie_algorithms::metric::Metric;
use coterie_model::{Model, RowId, digest};
use proptest::prelude::*;

/// What is changed, and how.
type Change = (&'static str, fn(&mut Model));

#[test]
fn it_ignores_names_times_machines_and_measurements() {
    let expected = digest(&fixture::model());
    let changes: [Change; 17] = [
        ("name", |m| m.name.push('x')),
        ("version", |m| m.version = "v99".to_owned()),
        ("feature names", |m| m.feature_names[0].push('x')),
        ("members", |m| m.members = Some(Members::Texts)),
        ("cluster size", |m| m.clusters[0].size += 1),
        ("exemplars", |m| m.clusters[0].exemplars = vec![RowId::Int(1)]),
        ("trained at", |m| m.training.trained_at = jiff::Timestamp::MAX),
        ("workers", |m| m.training.workers += 1),
        ("image", |m| m.training.image = Some("registry/coterie@sha256:0".to_owned())),
        ("code version", |m| m.training.code_version.push('1')),
        ("spec", |m| m.training.spec = serde_json::json!({"workers": 9})),
        ("iterations", |m| m.training.iterations += 1),
        ("converged", |m| m.training.converged = false),
        ("metrics", |m| m.training.metrics.inertia *= 2.0),
        ("uri", |m| m.training.input.uri.push('x')),
        ("objects", |m| m.training.input.objects.clear()),
        ("rows", |m| m.training.input.rows += 1),
    ];
    for (what, change) in changes {
        let mut model = fixture::model();
        change(&mut model);
        assert_eq!(digest(&model), expected, "{what}");
    }
}

#[test]
fn it_covers_everything_the_model_computes_with() {
    let original = digest(&fixture::model());
    let changes: [Change; 10] = [
        ("metric", |m| m.metric = Metric::Cosine),
        ("algorithm", |m| m.training.algorithm = "MiniBatchKMeans".to_owned()),
        ("parameters", |m| m.training.parameters["tolerance"] = 1e-5.into()),
        ("seed", |m| m.training.seed -= 1),
        ("fingerprint", |m| m.training.input.fingerprint.push('0')),
        ("input dimension", |m| m.pipeline.input_dimension += 1),
        ("a step less", |m| drop(m.pipeline.transforms.pop())),
        ("a step without tensors less", |m| drop(m.pipeline.transforms.remove(2))),
        ("order of steps", |m| m.pipeline.transforms.swap(0, 1)),
        ("shape of the centroids", |m| {
            m.centroids = Centroids::new(3, m.centroids.values().to_vec());
        }),
    ];
    let mut seen = vec![("original", original)];
    for (what, change) in changes {
        let mut model = fixture::model();
        change(&mut model);
        let changed = digest(&model);
        for (other, digest) in &seen {
            assert_ne!(&changed, digest, "{what} against {other}");
        }
        seen.push((what, changed));
    }
}

#[test]
fn it_does_not_depend_on_the_order_of_parameters() {
    let mut model = fixture::model();
    let expected = digest(&model);
    model.training.parameters = serde_json::from_str(
        r#"{"tolerance":0.0001,"restarts":1,"maxIterations":300,"init":"KMeansParallel","clusters":3}"#,
    )
    .unwrap();
    assert_eq!(digest(&model), expected);
}

/// Every tensor of the fixture, to be changed in place.
fn tensors(model: &mut Model) -> Vec<&mut Vec<f32>> {
    let mut tensors = Vec::new();
    for transform in &mut model.pipeline.transforms {
        match transform {
            Transform::Standardize { mean, deviation } => tensors.extend([mean, deviation]),
            Transform::MinMax { minimum, range } => tensors.extend([minimum, range]),
            Transform::L2Normalize => {}
            Transform::Pca { mean, components, explained_variance, explained_variance_ratio } => {
                tensors.extend([mean, components, explained_variance, explained_variance_ratio])
            }
            Transform::Center { mean } => tensors.push(mean),
        }
    }
    tensors
}

proptest! {
    #[test]
    fn any_bit_of_a_centroid_changes_it(index in 0usize..6, bit in 0u32..32) {
        let mut model = fixture::model();
        let mut values = model.centroids.values().to_vec();
        values[index] = f32::from_bits(values[index].to_bits() ^ (1 << bit));
        model.centroids = Centroids::new(2, values);
        prop_assert_ne!(digest(&model), digest(&fixture::model()));
    }

    #[test]
    fn any_bit_of_the_pipeline_changes_it(tensor in 0usize..9, index in any::<prop::sample::Index>(), bit in 0u32..32) {
        let mut model = fixture::model();
        {
            let mut tensors = tensors(&mut model);
            let values = &mut tensors[tensor];
            let index = index.index(values.len());
            values[index] = f32::from_bits(values[index].to_bits() ^ (1 << bit));
        }
        prop_assert_ne!(digest(&model), digest(&fixture::model()));
    }
}
