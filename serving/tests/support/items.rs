//! Models with items.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use coterie_algorithms::kmeans::assign;
use coterie_model::Model;
use coterie_model::items::{ItemIndex, Items, Options, PartWriter, Stop, part_name};
use coterie_serving::query::Served;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

/// A model, and its items in an object store.
pub(crate) struct Stored {
    store: Arc<InMemory>,
    model: Model,
}

/// `model` with items in its feature space, row-major, whose ids are 100, 101, ...
pub(crate) async fn with_items(model: Model, rows: &[f32], options: Options) -> Served {
    let ids = (100..).take(rows.len() / model.dimension()).collect::<Vec<_>>();
    stored(model, rows, &ids, 1).await.served(options).await
}

/// `model` with items in its feature space, row-major, in so many parts.
pub(crate) async fn stored(mut model: Model, rows: &[f32], ids: &[i64], parts: usize) -> Stored {
    let d = model.dimension();
    let mut clusters = vec![0; ids.len()];
    assign(&model.centroids, rows, &mut clusters);
    let store = Arc::new(InMemory::new());
    let mut written = Vec::new();
    for part in 0..parts {
        let range = ids.len() * part / parts..ids.len() * (part + 1) / parts;
        let ids: ArrayRef = Arc::new(Int64Array::from(ids[range.clone()].to_vec()));
        let place = Arc::<InMemory>::clone(&store);
        let mut writer = PartWriter::new(place, &version(), &part_name(part as u32), ids.data_type(), d).unwrap();
        writer.write(ids, &clusters[range.clone()], &rows[range.start * d..range.end * d]).await.unwrap();
        written.push(writer.finish().await.unwrap());
    }
    model.items = Some(Items::new(written));
    model.training.input.rows = ids.len() as u64;
    for (cluster, statistics) in model.clusters.iter_mut().enumerate() {
        statistics.size = clusters.iter().filter(|&&found| found as usize == cluster).count() as u64;
    }
    Stored { store, model }
}

fn version() -> Path {
    Path::from("models/v3")
}

impl Stored {
    /// The model with an index of these items.
    pub(crate) async fn served(&self, options: Options) -> Served {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(&self.store);
        let index = ItemIndex::open(&store, &version(), &self.model, directory.path(), options, &Stop::default())
            .await
            .unwrap();
        // What is mapped stays readable without its name.
        Served::new(Arc::new(self.model.clone())).with_items(index)
    }

    /// The same as another version.
    pub(crate) fn renamed(mut self, version: &str) -> Self {
        version.clone_into(&mut self.model.version);
        self
    }
}
