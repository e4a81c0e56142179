//! Damaged objects of every format: whatever bytes are cut off, flipped or made up, reading them ends with rows or an
//! error of the data, never with a panic, and never by reserving more memory than the object can account for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::ipc::CompressionType;
use coterie_crds::resolved::{InvalidRows, Source};
use coterie_data::plan::plan_at;
use coterie_data::reader::Reader;
use coterie_data::store::Location;
use coterie_data::{DataError, ErrorClass};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaDataReader;
use proptest::prelude::*;
use support::write::{Shape, Table, arrow, batch, csv, npy, parquet, zstd};
use support::{Everything, read_plan, source};
use tokio::runtime::Runtime;

/// Remembers the largest single request for memory, since a reservation may hurt even when it is never touched.
struct Watching;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

static TURN: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// What the objects here, of some ten thousand bytes each, may make anybody reserve at once.
const ENOUGH: usize = 64 << 20;

struct Sample {
    name: &'static str,
    bytes: Vec<u8>,
    vector: bool,
}

fn samples() -> Vec<Sample> {
    let table = Table::blobs(300, 4);
    let sample = |name, bytes| Sample { name, bytes, vector: false };
    let lists = |name, bytes| Sample { name, bytes, vector: true };
    vec![
        lists("a.parquet", parquet(&batch(&table, Shape::Fixed32), 100, Compression::UNCOMPRESSED)),
        lists("b.parquet", parquet(&batch(&table, Shape::List32), 300, Compression::SNAPPY)),
        lists("c.parquet", parquet(&batch(&table, Shape::Large64), 200, zstd())),
        lists("d.parquet", parquet(&batch(&table, Shape::Fixed64), 100, Compression::LZ4_RAW)),
        sample("e.parquet", parquet(&batch(&table, Shape::Columns), 100, Compression::GZIP(Default::default()))),
        lists("a.arrow", arrow(&batch(&table, Shape::Fixed32), 100, None)),
        lists("b.arrow", arrow(&batch(&table, Shape::List32), 100, Some(CompressionType::LZ4_FRAME))),
        lists("c.arrow", arrow(&batch(&table, Shape::Large64), 100, Some(CompressionType::ZSTD))),
        sample("d.arrow", arrow(&batch(&table, Shape::Columns), 300, None)),
        sample("a.npy", npy(&table, "<f4", false, 1)),
        sample("b.npy", npy(&table, "<f8", true, 2)),
        sample("a.csv", csv(&table, "\n")),
    ]
}

fn runtime() -> &'static Runtime {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// Reads an object from memory.
fn read(name: &str, bytes: Vec<u8>, vector: bool) -> Result<Everything, DataError> {
    runtime().block_on(async {
        let store = InMemory::new();
        let path = object_store::path::Path::from(name);
        store.put(&path, bytes.into()).await.unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        let location = Location { store, path, uri: format!("s3://test/{name}") };
        let mut source = Source { invalid_rows: InvalidRows::Drop, ..source(&location.uri) };
        if !name.ends_with("npy") {
            source.columns.label = Some("label".into());
            source.columns.id = Some("id".into());
        }
        source.columns.vector = vector.then(|| "vector".into());
        let plan = Arc::new(plan_at(&source, &location).await?);
        let reader = Reader::open_at(&source, location, Arc::clone(&plan));
        read_plan(&reader, &plan).await
    })
}

/// Reads damaged bytes and checks how it ends.
fn survives(sample: &Sample, bytes: Vec<u8>, what: &str) -> Result<Everything, DataError> {
    // One at a time, so that the largest reservation is this one's.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    LARGEST.store(0, Ordering::Relaxed);
    let size = bytes.len();
    let result = read(sample.name, bytes, sample.vector);
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest <= ENOUGH, "{} {what}: {largest} bytes were reserved at once for an object of {size}", sample.name);
    if let Err(error) = &result {
        assert!(matches!(error.class(), ErrorClass::Data | ErrorClass::Spec), "{} {what}: {error:?}", sample.name);
        assert!(error.to_string().contains(sample.name), "{error}");
    }
    result
}

#[test]
fn undamaged_samples_are_read() {
    let table = Table::blobs(300, 4);
    for Sample { name, bytes, vector } in samples() {
        assert!(read(name, bytes, vector).unwrap().values == table.values, "{name}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for sample in samples() {
        let step = (sample.bytes.len() / 300).max(1);
        for length in (1..sample.bytes.len()).step_by(step) {
            let result = survives(&sample, sample.bytes[..length].to_vec(), &format!("cut to {length}"));
            // Text does not say how long it is, so a cut between records cannot be noticed.
            assert!(result.is_err() || sample.name.ends_with("csv"), "{} cut to {length}", sample.name);
        }
    }
}

/// Every bit of the parts that hold structure: the ends and beginnings, where footers and headers are.
#[test]
fn every_flipped_bit_of_the_structure_is_survived() {
    for sample in samples() {
        let length = sample.bytes.len();
        let edge = 1500.min(length / 2);
        for at in (0..edge.min(300)).chain(length - edge..length) {
            // A bit per byte, another one for each, to stay within a minute.
            let bit = (at * 5 + at / 8) % 8;
            let mut bytes = sample.bytes.clone();
            bytes[at] ^= 1 << bit;
            let _ = survives(&sample, bytes, &format!("bit {bit} of byte {at} flipped"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(600), max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_is_survived(
        which in 0..12_usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        removed in proptest::option::of((any::<prop::sample::Index>(), 1..200_usize)),
    ) {
        let samples = samples();
        let sample = &samples[which];
        let mut bytes = sample.bytes.clone();
        for (at, byte) in &edits {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Some((at, count)) = &removed {
            let at = at.index(bytes.len());
            let end = (at + count).min(bytes.len());
            bytes.drain(at..end);
        }
        if !bytes.is_empty() {
            let _ = survives(sample, bytes, &format!("{edits:?} {removed:?}"));
        }
    }
}

/// Lengths that promise far more than there is, where the format libraries would reserve memory for them.
#[test]
fn impossible_lengths_reserve_nothing() {
    // Footers: a schema of 2^31 elements, an element with 2^30 children, 2^31 row groups.
    let most = [0xff, 0xff, 0xff, 0xff, 0x07];
    let element = |children: &[u8]| [&[0x48, 0x01, b'r', 0x15][..], children, &[0x00]].concat();
    let schema = [&[0x15, 0x02, 0x19, 0x1c][..], &element(&[0x00])].concat();
    for (what, footer) in [
        ("schema", [&[0x15, 0x02, 0x19, 0xfc][..], &most].concat()),
        ("children", [&[0x15, 0x02, 0x19, 0x1c][..], &element(&[0x80, 0x80, 0x80, 0x80, 0x08])].concat()),
        ("row groups", [&schema[..], &[0x16, 0x00, 0x19, 0xfc], &most].concat()),
    ] {
        let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
        let bytes = [&b"PAR1"[..], &footer, &length, b"PAR1"].concat();
        let error = survives(&Sample { name: "x.parquet", bytes: Vec::new(), vector: true }, bytes, what).unwrap_err();
        assert!(error.to_string().contains("x.parquet, footer: a"), "{error}");
    }

    // Page headers: a page of 2 GiB once decompressed, and a dictionary of 2^30 values.
    let table = Table::blobs(300, 4);
    let good = parquet(&batch(&table, Shape::Fixed32), 300, Compression::SNAPPY);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(good.clone())).unwrap();
    let column = metadata.row_group(0).column(1);
    let compressed = [0x15, 0x20];
    let page = [
        &[0x15, 0x00, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f][..],
        &compressed,
        &[0x2c, 0x15, 0x20, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00],
    ]
    .concat();
    let dictionary = [
        &[0x15, 0x04, 0x15, 0x20][..],
        &compressed,
        &[0x4c, 0x15, 0x80, 0x80, 0x80, 0x80, 0x08, 0x15, 0x00, 0x00, 0x00],
    ]
    .concat();
    for (what, header) in [("page", page), ("dictionary", dictionary)] {
        let at = usize::try_from(column.byte_range().0).unwrap();
        let mut bytes = good.clone();
        bytes[at..at + header.len()].copy_from_slice(&header);
        let error = survives(&Sample { name: "x.parquet", bytes: Vec::new(), vector: true }, bytes, what).unwrap_err();
        assert!(
            error.to_string().contains("row group 0") && error.to_string().contains(&format!("a {what} claims")),
            "{error}"
        );
    }

    // Compressed Arrow buffers say how long they become.
    for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        // Zeros compress well; 300 x 4 x 4 bytes.
        let zeros = Table { values: vec![0.0; 1200], ..table.clone() };
        let mut bytes = arrow(&batch(&zeros, Shape::Fixed32), 300, Some(compression));
        let length = 4800_i64.to_le_bytes();
        let at = bytes.windows(8).position(|window| window == length).unwrap();
        bytes[at..at + 8].copy_from_slice(&(1_i64 << 36).to_le_bytes());
        let error =
            survives(&Sample { name: "x.arrow", bytes: Vec::new(), vector: true }, bytes, "buffer").unwrap_err();
        assert!(error.to_string().contains("x.arrow, record batch 0: its buffers claim 687"), "{error}");
    }
}
