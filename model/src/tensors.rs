//! The tensors file: stable names, little-endian f32, row-major.
//!
//! | name | shape |
//! |---|---|
//! | `centroids` | k x d |
//! | `pipeline.<i>.mean`, `.deviation`, `.minimum`, `.range` | columns at step i |
//! | `pipeline.<i>.components` | components x columns at step i |
//! | `pipeline.<i>.explained_variance`, `.explained_variance_ratio` | components |
//!
//! A name, once written, keeps its meaning for ever.

use crate::error::ModelError;
use crate::model::Model;
use crate::validate::Violation;
use coterie_algorithms::features::{Pipeline, Transform};
use coterie_algorithms::kmeans::Centroids;
use object_store::path::Path;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Kind of a fitted transform, as the manifest lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Standardize,
    MinMax,
    L2Normalize,
    Pca,
    Center,
}

/// A tensor of a model, under its name in the file.
pub(crate) struct Tensor<'a> {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: &'a [f32],
}

/// What the manifest says about the tensors: enough to check every shape.
pub(crate) struct Outline<'a> {
    pub(crate) input_dimension: usize,
    pub(crate) pipeline: &'a [Kind],
    pub(crate) clusters: usize,
}

/// The kind of `transform`.
pub(crate) fn kind(transform: &Transform) -> Kind {
    match transform {
        Transform::Standardize { .. } => Kind::Standardize,
        Transform::MinMax { .. } => Kind::MinMax,
        Transform::L2Normalize => Kind::L2Normalize,
        Transform::Pca { .. } => Kind::Pca,
        Transform::Center { .. } => Kind::Center,
    }
}

/// Every tensor of `model`: the pipeline's in order, then the centroids.
pub(crate) fn of(model: &Model) -> Vec<Tensor<'_>> {
    let mut tensors = Vec::new();
    for (i, transform) in model.pipeline.transforms.iter().enumerate() {
        let mut row = |part: &str, values| {
            tensors.push(Tensor { name: name(i, part), shape: vec![<[f32]>::len(values)], values })
        };
        match transform {
            Transform::Standardize { mean, deviation } => {
                row("mean", mean);
                row("deviation", deviation);
            }
            Transform::MinMax { minimum, range } => {
                row("minimum", minimum);
                row("range", range);
            }
            Transform::L2Normalize => {}
            Transform::Pca { mean, components, explained_variance, explained_variance_ratio } => {
                row("mean", mean);
                row("explained_variance", explained_variance);
                row("explained_variance_ratio", explained_variance_ratio);
                let shape = vec![explained_variance.len(), mean.len()];
                tensors.push(Tensor { name: name(i, "components"), shape, values: components });
            }
            Transform::Center { mean } => row("mean", mean),
        }
    }
    let shape = vec![model.centroids.len(), model.centroids.dimension()];
    tensors.push(Tensor { name: "centroids".to_owned(), shape, values: model.centroids.values() });
    tensors
}

/// The bytes of the tensors file; a function of the tensors alone.
pub(crate) fn encode(model: &Model) -> Result<Vec<u8>, SafeTensorError> {
    safetensors::serialize(of(model).into_iter().map(|tensor| (tensor.name.clone(), tensor)), None)
}

/// Reads back what [`encode`] wrote, checking every name, type and shape against `outline`.
pub(crate) fn decode(file: &Path, bytes: &[u8], outline: &Outline<'_>) -> Result<(Pipeline, Centroids), ModelError> {
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|source| ModelError::MalformedTensors { file: file.clone(), source })?;
    rebuild(&tensors, outline).map_err(|source| ModelError::Inconsistent { file: file.clone(), source })
}

fn rebuild(tensors: &SafeTensors<'_>, outline: &Outline<'_>) -> Result<(Pipeline, Centroids), Violation> {
    let mut columns = outline.input_dimension;
    let mut pipeline = Pipeline::new(columns);
    let mut used = 1;
    for (i, kind) in outline.pipeline.iter().enumerate() {
        let row = |part: &str| take(tensors, &name(i, part), &[columns]);
        let transform = match kind {
            Kind::Standardize => Transform::Standardize { mean: row("mean")?, deviation: row("deviation")? },
            Kind::MinMax => Transform::MinMax { minimum: row("minimum")?, range: row("range")? },
            Kind::L2Normalize => Transform::L2Normalize,
            Kind::Pca => {
                let variance = name(i, "explained_variance");
                let kept = match find(tensors, &variance)?.shape() {
                    &[kept] => kept,
                    found => return Err(Violation::shape(&variance, &[columns], found)),
                };
                let components = take(tensors, &name(i, "components"), &[kept, columns])?;
                let mean = row("mean")?;
                columns = kept;
                Transform::Pca {
                    mean,
                    components,
                    explained_variance: take(tensors, &variance, &[kept])?,
                    explained_variance_ratio: take(tensors, &name(i, "explained_variance_ratio"), &[kept])?,
                }
            }
            Kind::Center => Transform::Center { mean: row("mean")? },
        };
        used += of_kind(*kind);
        pipeline.push(transform);
    }
    let centroids = take(tensors, "centroids", &[outline.clusters, columns])?;
    if columns == 0 || outline.clusters == 0 {
        return Err(Violation::NoClusters);
    }
    if tensors.len() != used {
        return Err(Violation::ExtraTensors { expected: used, found: tensors.len() });
    }
    Ok((pipeline, Centroids::new(columns, centroids)))
}

/// Number of tensors that a transform of this kind brings.
fn of_kind(kind: Kind) -> usize {
    match kind {
        Kind::Standardize | Kind::MinMax => 2,
        Kind::L2Normalize => 0,
        Kind::Pca => 4,
        Kind::Center => 1,
    }
}

fn name(step: usize, part: &str) -> String {
    format!("pipeline.{step}.{part}")
}

fn find<'a>(tensors: &SafeTensors<'a>, name: &str) -> Result<TensorView<'a>, Violation> {
    tensors.tensor(name).map_err(|_| Violation::MissingTensor { tensor: name.to_owned() })
}

/// The tensor's values, when its type and shape are the expected ones.
fn take(tensors: &SafeTensors<'_>, name: &str, expected: &[usize]) -> Result<Vec<f32>, Violation> {
    let view = find(tensors, name)?;
    if view.dtype() != Dtype::F32 {
        return Err(Violation::Type { tensor: name.to_owned(), found: format!("{:?}", view.dtype()) });
    }
    if view.shape() != expected {
        return Err(Violation::shape(name, expected, view.shape()));
    }
    Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

// === impl Kind ===

impl Kind {
    /// The spelling in the manifest and in the digest.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Standardize => "Standardize",
            Self::MinMax => "MinMax",
            Self::L2Normalize => "L2Normalize",
            Self::Pca => "Pca",
            Self::Center => "Center",
        }
    }
}

// === impl Tensor ===

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        self.values.len() * 4
    }
}
