//! Models with items.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use coterie_algorithms::kmeans::assign;
use coterie_model::Model;
use coterie_model::items::{ItemIndex, Items, Options, PartWriter, part_name};
use coterie_serving::query::Served;
use object_store::memory::InMemory;
use object_store::path::Path;

/// `model` with items in its feature space, row-major, whose ids are 100, 101, ...
pub(crate) async fn with_items(mut model: Model, rows: &[f32], options: Options) -> Served {
    let d = model.dimension();
    let n = rows.len() / d;
    let mut clusters = vec![0; n];
    assign(&model.centroids, rows, &mut clusters);
    let store = Arc::new(InMemory::new());
    let version = Path::from("models/v3");
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((100..).take(n)));
    let part = Arc::<InMemory>::clone(&store);
    let mut writer = PartWriter::new(part, &version, &part_name(0), ids.data_type(), d).unwrap();
    writer.write(ids, &clusters, rows).await.unwrap();
    model.items = Some(Items::new(vec![writer.finish().await.unwrap()]));
    model.training.input.rows = n as u64;
    for (cluster, statistics) in model.clusters.iter_mut().enumerate() {
        statistics.size = clusters.iter().filter(|&&found| found as usize == cluster).count() as u64;
    }
    let directory = tempfile::tempdir().unwrap();
    let index = ItemIndex::open(store.as_ref(), &version, &model, directory.path(), options).await.unwrap();
    // What is mapped stays readable without its name.
    Served::new(Arc::new(model)).with_items(index)
}
