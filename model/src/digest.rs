//! The model digest: one string for what the model computes with.
//!
//! It is a BLAKE3 hash over a sequence of length-prefixed fields, so no two different models share a byte sequence.
//! The order and spelling of the fields are fixed for ever by the committed samples.

use crate::model::Model;
use crate::{FORMAT_VERSION, canonical, tensors};
use coterie_algorithms::metric::Metric;

/// `blake3:` and 64 hexadecimal digits over what the model computes with: format version, metric, feature pipeline,
/// centroids, algorithm and its parameters, seed, and the fingerprint of the input.
///
/// Name, version, times, machine, worker counts, URIs, entity tags, feature names, the kind of members and measured
/// statistics are not covered, so a repeated run gives the same digest wherever it ran. Any bit of any tensor changes it.
pub fn digest(model: &Model) -> String {
    let mut fields = Fields(blake3::Hasher::new());
    fields.text("coterie.model.digest");
    fields.number(u64::from(FORMAT_VERSION));
    fields.text(metric_name(model.metric));
    fields.number(model.pipeline.input_dimension as u64);
    fields.number(model.pipeline.transforms.len() as u64);
    for transform in &model.pipeline.transforms {
        fields.text(tensors::kind(transform).name());
    }
    fields.number(model.centroids.len() as u64);
    fields.number(model.centroids.dimension() as u64);
    for tensor in tensors::of(model) {
        fields.text(&tensor.name);
        fields.floats(tensor.values);
    }
    let Model { training, .. } = model;
    fields.text(&training.algorithm);
    let mut parameters = String::new();
    canonical::append(&training.parameters, &mut parameters);
    fields.text(&parameters);
    fields.number(training.seed);
    fields.text(&training.input.fingerprint);
    spell(fields.0.finalize())
}

/// Digest of a file's bytes, spelt like every digest of the artefact.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    spell(blake3::hash(bytes))
}

/// The metric's name, as the digest and the manifest of a model spell it, and the resource.
pub fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Euclidean => "Euclidean",
        Metric::Cosine => "Cosine",
        Metric::Jaccard => "Jaccard",
    }
}

/// A hash as manifests spell it.
pub(crate) fn spell(hash: blake3::Hash) -> String {
    format!("blake3:{}", hash.to_hex())
}

struct Fields(blake3::Hasher);

impl Fields {
    fn number(&mut self, value: u64) {
        self.0.update(&value.to_le_bytes());
    }

    fn text(&mut self, value: &str) {
        self.number(value.len() as u64);
        self.0.update(value.as_bytes());
    }

    fn floats(&mut self, values: &[f32]) {
        self.number(values.len() as u64);
        let mut buffer = [0u8; 4096];
        for chunk in values.chunks(buffer.len() / 4) {
            for (bytes, value) in buffer.chunks_exact_mut(4).zip(chunk) {
                bytes.copy_from_slice(&value.to_le_bytes());
            }
            self.0.update(&buffer[..chunk.len() * 4]);
        }
    }
}
