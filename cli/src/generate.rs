//! `coterie generate`: large data to try things on.

use clap::Args;
use coterie_crds::resolved::Store;
use coterie_data::generate::{Blobs, generate};

use crate::{Failure, serve::runtime, size, store::StoreOptions};

/// Write seeded Gaussian blobs as Parquet objects to a directory or any object store.
///
/// Columns: id (int64), vector (list of d float32), label (int32, -1 for noise). The same arguments give the same bytes.
#[derive(Args)]
pub(crate) struct Generate {
    /// Where the objects go, a directory or a URI.
    #[arg(long, value_name = "DIR_OR_URI")]
    output: String,
    /// Number of rows.
    #[arg(short = 'n', long, default_value_t = 1_000_000)]
    rows: u64,
    /// Number of features.
    #[arg(short, long, default_value_t = 16)]
    dimension: usize,
    /// Number of blobs.
    #[arg(short = 'k', long, default_value_t = 64)]
    clusters: usize,
    /// Share of rows that belong to no blob, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    noise: f64,
    /// Standard deviation of a blob; the centres lie between -10 and 10.
    #[arg(long, default_value_t = 1.0)]
    deviation: f64,
    /// Seed of every choice.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Number of objects.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    objects: u32,
    #[command(flatten)]
    store: StoreOptions,
}

impl Generate {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let store = Store::from(self.store);
        let target = coterie_data::store::open(&self.output, &store)?;
        let blobs = Blobs {
            rows: self.rows,
            dimension: self.dimension,
            clusters: self.clusters,
            noise: self.noise,
            deviation: self.deviation,
            seed: self.seed,
        };
        let written = runtime()?.block_on(generate(&target, &blobs, self.objects, |_| {}))?;
        println!(
            "{}: {} rows in {} objects, {}",
            target.uri,
            written.rows,
            written.objects,
            size::render(written.bytes)
        );
        Ok(())
    }
}
