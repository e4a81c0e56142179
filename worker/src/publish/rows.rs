//! What is written of the rows, as one Parquet object per split: each row's cluster for people, the rows themselves for those who
//! ask for similar ones.
//!
//! A split's objects depend on the split and the model only, so a split that is processed twice writes the same bytes.

use std::sync::{Arc, OnceLock};

use arrow::{
    array::{ArrayRef, BooleanArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray},
    compute::filter,
    datatypes::{DataType, Field, Schema},
};
use coterie_algorithms::{
    features::Pipeline,
    jaccard::SetFinder,
    kmeans::{Centroids, assign},
    lsh::NOISE,
    metric::Metric,
};
use coterie_data::{Block, Ids, Want, reader::Reader, store::failure};
use coterie_model::items::{ItemsError, PartWriter};
use futures::StreamExt;
use object_store::buffered::BufWriter;
use parquet::{
    arrow::AsyncArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use super::places::Places;
use crate::{
    error::{RunError, chain},
    training::{
        labels::{Labels, stretches},
        step::{Published, Wanted},
    },
};

/// Where rows go, and what their identifiers are called.
#[derive(Clone, Debug)]
pub struct RowSink {
    /// The version's directories; `None` when there is no output.
    pub places: Option<Places>,
    /// Name of the id column in the output.
    pub id_name: String,
    /// Distance written.
    pub metric: Metric,
}

/// The clusters that rows belong to.
#[derive(Debug)]
pub struct Clusters<'a> {
    centroids: &'a Centroids,
    labels: &'a Labels,
    /// What finds the nearest centroid of a set, made when the first is asked for.
    finder: OnceLock<SetFinder>,
}

/// Name of a split's object.
#[must_use]
pub fn part_name(split: u32) -> String {
    format!("part-{split:05}.parquet")
}

impl<'a> Clusters<'a> {
    /// The clusters of a run.
    #[must_use]
    pub fn new(centroids: &'a Centroids, labels: &'a Labels) -> Self {
        Self { centroids, labels, finder: OnceLock::new() }
    }

    /// The cluster that each row is measured against: its own. Noise belongs to none; how far it is from the nearest one is
    /// worth knowing all the same.
    fn measured(&self, metric: Metric, rows: &[f32], labels: &[u32]) -> Vec<u32> {
        let (centroids, mut measured) = (self.centroids, labels.to_vec());
        if !labels.contains(&NOISE) {
            return measured;
        }
        let d = centroids.dimension();
        let alone = rows.chunks_exact(d).zip(labels).filter(|(_, label)| **label == NOISE);
        let alone: Vec<f32> = alone.flat_map(|(row, _)| row).copied().collect();
        let mut nearest = vec![0; alone.len() / d];
        match metric {
            Metric::Euclidean | Metric::Cosine => assign(centroids, &alone, &mut nearest),
            Metric::Jaccard => {
                self.finder.get_or_init(|| SetFinder::new(centroids)).assign(centroids, &alone, &mut nearest);
            }
        }
        for (label, nearest) in measured.iter_mut().filter(|label| **label == NOISE).zip(nearest) {
            *label = nearest;
        }
        measured
    }
}

impl RowSink {
    /// Reads a split again and makes of its rows what is wanted.
    ///
    /// # Errors
    /// When the source cannot be read or the output cannot be written.
    pub async fn split(
        &self,
        reader: &Reader,
        split: u32,
        offset: u64,
        pipeline: &Pipeline,
        clusters: &Clusters<'_>,
        wanted: Wanted,
    ) -> Result<Published, RunError> {
        let Clusters { centroids, labels, .. } = *clusters;
        let mut published = Published::default();
        let mut writer: Option<AsyncArrowWriter<BufWriter>> = None;
        let mut part: Option<PartWriter> = None;
        let Wanted { assignments, items, labels: classes } = wanted;
        let mut ordinal = offset;
        let mut blocks = std::pin::pin!(reader.read(split, Want { ids: assignments || items, labels: classes }));
        let (mut transformed, mut found) = (Vec::new(), Vec::new());
        while let Some(block) = blocks.next().await {
            let block = block?;
            tokio::task::block_in_place(|| {
                pipeline.apply(&block.values, &mut transformed);
                labels.of(centroids, ordinal, &transformed, &mut found)
            })?;
            for (class, cluster) in block.labels.iter().flatten().zip(&found) {
                // Noise is one more cluster.
                published.contingency.add(class, (*cluster).min(centroids.len() as u32));
            }
            if !(assignments || items) || block.rows == 0 {
                ordinal += block.rows as u64;
                continue;
            }
            let ids = identifiers(&block, ordinal);
            if items && found.iter().any(|label| *label != NOISE) {
                let open = match &mut part {
                    Some(open) => open,
                    None => part.insert(self.open_items(split, ids.data_type(), centroids.dimension())?),
                };
                let written = if found.contains(&NOISE) {
                    let (ids, found, rows) = clustered(&ids, &found, &transformed)?;
                    open.write(ids, &found, &rows).await
                } else {
                    open.write(Arc::clone(&ids), &found, &transformed).await
                };
                written.map_err(|error| self.items_failed(&error))?;
            }
            if assignments {
                let batch = self.batch(ids, &transformed, &found, clusters)?;
                let open = match &mut writer {
                    Some(open) => open,
                    None => writer.insert(self.open(split, &batch)?),
                };
                open.write(&batch).await.map_err(|error| self.failed(split, &error))?;
            }
            ordinal += block.rows as u64;
        }
        if let Some(writer) = writer {
            writer.close().await.map_err(|error| self.failed(split, &error))?;
        }
        if let Some(part) = part {
            published.parts.insert(split, part.finish().await.map_err(|error| self.items_failed(&error))?);
        }
        Ok(published)
    }

    fn open_items(&self, split: u32, ids: &DataType, dimension: usize) -> Result<PartWriter, RunError> {
        let places = self.places()?;
        let name = coterie_model::items::part_name(split);
        PartWriter::new(Arc::clone(&places.version.store), &places.version.path, &name, ids, dimension)
            .map_err(|error| self.items_failed(&error))
    }

    fn places(&self) -> Result<&Places, RunError> {
        self.places.as_ref().ok_or_else(|| RunError::spec("writing rows needs spec.output.uri"))
    }

    fn open(&self, split: u32, batch: &RecordBatch) -> Result<AsyncArrowWriter<BufWriter>, RunError> {
        let location = &self.places()?.assignments;
        let path = location.path.clone().join(part_name(split));
        let buffer = BufWriter::new(Arc::clone(&location.store), path);
        let level = ZstdLevel::try_new(1).map_err(|error| self.failed(split, &error))?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        AsyncArrowWriter::try_new(buffer, batch.schema(), Some(properties)).map_err(|error| self.failed(split, &error))
    }

    fn batch(
        &self,
        ids: ArrayRef,
        rows: &[f32],
        labels: &[u32],
        clusters: &Clusters<'_>,
    ) -> Result<RecordBatch, RunError> {
        let centroids = clusters.centroids;
        let measured = clusters.measured(self.metric, rows, labels);
        let distances = rows.chunks_exact(centroids.dimension()).zip(measured).map(|(row, label)| {
            let squared = self.metric.square(row, centroids.row(label as usize));
            match self.metric {
                Metric::Euclidean | Metric::Jaccard => squared.sqrt() as f32,
                // Of unit vectors: |a - b|^2 = 2 (1 - cos).
                Metric::Cosine => (squared / 2.0) as f32,
            }
        });
        let schema = Schema::new(vec![
            Field::new(&self.id_name, ids.data_type().clone(), false),
            Field::new("cluster", DataType::Int32, false),
            Field::new("distance", DataType::Float32, false),
        ]);
        // Noise becomes -1.
        let clusters = Int32Array::from_iter_values(labels.iter().map(|label| *label as i32));
        let distances = Float32Array::from_iter_values(distances);
        RecordBatch::try_new(Arc::new(schema), vec![ids, Arc::new(clusters), Arc::new(distances)])
            .map_err(|error| RunError::transient(format!("assignments: {error}")))
    }

    fn failed(&self, split: u32, error: &dyn std::error::Error) -> RunError {
        let uri = self.places.as_ref().map_or("", |places| places.assignments.uri.as_str());
        RunError::transient(format!("writing assignments of split {split} to {uri}: {}", chain(error)))
    }

    fn items_failed(&self, error: &ItemsError) -> RunError {
        let uri = self.places.as_ref().map_or("", |places| places.version.uri.as_str());
        if let ItemsError::Store { action, path, source } = error {
            return RunError::from(failure(&format!("{uri} ({path})"), action, source));
        }
        RunError::transient(format!("writing items to {uri}: {}", chain(error)))
    }
}

/// What belongs to clusters of some rows: identifiers, labels and values.
fn clustered(ids: &ArrayRef, labels: &[u32], rows: &[f32]) -> Result<(ArrayRef, Vec<u32>, Vec<f32>), RunError> {
    let d = rows.len() / labels.len().max(1);
    let kept: BooleanArray = labels.iter().map(|label| Some(*label != NOISE)).collect();
    let ids = filter(ids, &kept).map_err(|error| RunError::transient(format!("items: {error}")))?;
    let rows = stretches(labels).flat_map(|stretch| &rows[stretch.start * d..stretch.end * d]).copied().collect();
    Ok((ids, labels.iter().copied().filter(|label| *label != NOISE).collect(), rows))
}

/// The rows' identifiers: what the source says, or their numbers.
fn identifiers(block: &Block, ordinal: u64) -> ArrayRef {
    match &block.ids {
        Some(Ids::Int(ids)) => Arc::new(Int64Array::from(ids.clone())),
        Some(Ids::Text(ids)) => Arc::new(StringArray::from_iter_values(ids)),
        None => Arc::new(Int64Array::from_iter_values((ordinal..).take(block.rows).map(|row| row as i64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_measured_against_the_nearest_cluster_and_other_rows_against_their_own() {
        let centroids = Centroids::new(2, vec![0.0, 0.9, 0.9, 0.0, 0.9, 0.9]);
        let rows = [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0];
        let clusters = Clusters::new(&centroids, &Labels::Nearest);
        for metric in [Metric::Euclidean, Metric::Jaccard] {
            // As if each row were asked for alone.
            assert_eq!(clusters.measured(metric, &rows, &[0, NOISE, NOISE, 2, NOISE]), [0, 0, 2, 2, 1]);
            assert_eq!(clusters.measured(metric, &rows, &[NOISE; 5]), [2, 0, 2, 1, 1]);
            assert_eq!(clusters.measured(metric, &rows, &[1, 1, 0, 2, 1]), [1, 1, 0, 2, 1]);
        }
    }
}
