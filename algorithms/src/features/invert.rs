//! From the pipeline's output back to the source's columns.

use super::{Pipeline, Transform};

/// Takes rows of the pipeline's output (n x output dimension) back to the source's columns (n x input dimension).
///
/// Exact up to rounding for standardize, min-max and centre. Two transforms lose information: PCA gives the point of the
/// principal plane, and unit-length rows stay as they are, since their lengths are gone.
pub fn invert(pipeline: &Pipeline, rows: &[f32]) -> Vec<f32> {
    let mut values: Vec<f64> = rows.iter().map(|value| f64::from(*value)).collect();
    for transform in pipeline.transforms.iter().rev() {
        match transform {
            Transform::Standardize { mean, deviation } => affine(&mut values, deviation, mean),
            Transform::MinMax { minimum, range } => affine(&mut values, range, minimum),
            Transform::Center { mean } => affine(&mut values, &vec![1.0; mean.len()], mean),
            Transform::L2Normalize => {}
            Transform::Pca { mean, components, .. } => {
                let input = mean.len();
                let output = components.len() / input.max(1);
                values = values.chunks_exact(output).flat_map(|row| expand(row, mean, components)).collect();
            }
        }
    }
    values.into_iter().map(|value| value as f32).collect()
}

fn affine(values: &mut [f64], factor: &[f32], offset: &[f32]) {
    for row in values.chunks_exact_mut(offset.len()) {
        for ((value, factor), offset) in row.iter_mut().zip(factor).zip(offset) {
            *value = *value * f64::from(*factor) + f64::from(*offset);
        }
    }
}

fn expand(row: &[f64], mean: &[f32], components: &[f32]) -> Vec<f64> {
    let mut out: Vec<f64> = mean.iter().map(|value| f64::from(*value)).collect();
    for (score, component) in row.iter().zip(components.chunks_exact(mean.len())) {
        for (value, weight) in out.iter_mut().zip(component) {
            *value += score * f64::from(*weight);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoes_affine_steps_and_projects_onto_the_principal_plane() {
        let mut pipeline = Pipeline::new(2);
        pipeline.push(Transform::Standardize { mean: vec![1.0, 2.0], deviation: vec![2.0, 4.0] });
        pipeline.push(Transform::MinMax { minimum: vec![-1.0, -1.0], range: vec![2.0, 3.0] });
        pipeline.push(Transform::Center { mean: vec![0.5, 0.25] });
        let rows = [3.0, -7.5, 0.25, 11.0];
        let mut out = Vec::new();
        pipeline.apply(&rows, &mut out);
        for (back, row) in invert(&pipeline, &out).iter().zip(rows) {
            assert!((back - row).abs() < 1e-5, "{back} {row}");
        }

        let mut pipeline = Pipeline::new(2);
        pipeline.push(Transform::Pca {
            mean: vec![1.0, 1.0],
            components: vec![0.6, 0.8],
            explained_variance: vec![1.0],
            explained_variance_ratio: vec![1.0],
        });
        assert_eq!(invert(&pipeline, &[5.0]), vec![4.0, 5.0]);
    }
}
