//! Bad input ends with one error that says where, what and what to do; never with a panic or wrong numbers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, NullArray, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Float32Type, Float64Type};
use coterie_crds::resolved::{Format, InvalidRows, Source};
use coterie_data::plan::plan;
use coterie_data::reader::Reader;
use coterie_data::{ErrorClass, Want};
use futures::{StreamExt, TryStreamExt};
use parquet::basic::Compression;
use support::files::Files;
use support::write::{Shape, Table, arrow, batch, csv, npy, of, parquet};
use support::{read, source};

fn vector(source: &mut Source) {
    source.columns.vector = Some("vector".into());
}

fn plain(source: &mut Source) {
    source.columns = Default::default();
}

fn good() -> Vec<u8> {
    parquet(&batch(&Table::blobs(500, 3), Shape::Fixed32), 200, Compression::UNCOMPRESSED)
}

fn column(name: &str, array: impl arrow::array::Array + 'static) -> (String, ArrayRef) {
    (name.to_owned(), Arc::new(array))
}

fn write(batch: &RecordBatch) -> Vec<u8> {
    parquet(batch, 100, Compression::UNCOMPRESSED)
}

const DROP: &str = "correct the row, or set source.invalidRows: Drop to leave such rows out";

#[tokio::test]
async fn nothing_there() {
    let files = Files::new(&[]);
    let text = files.fails(ErrorClass::Data, |_| {}).await;
    assert!(text.starts_with("DIR: there is no object with this name or below it; check source.uri"), "{text}");
    let text = files.fails(ErrorClass::Data, |source| source.uri.push_str("/missing/file.parquet")).await;
    assert!(text.starts_with("DIR/missing/file.parquet: there is no object"), "{text}");
    let below = Files::new(&[("a.csv", b"x\n1\n".to_vec())]);
    let text = below.fails(ErrorClass::Spec, |source| source.uri.push_str("/a.csv/x")).await;
    assert!(text.starts_with("DIR/a.csv/x: the path cannot be used while listing objects (Not a directory"), "{text}");
    let files = Files::new(&[("a.parquet", Vec::new())]);
    let text = files.fails(ErrorClass::Data, |_| {}).await;
    assert_eq!(text, "DIR/a.parquet, size: the object is empty (0 bytes); write it again or remove it");
}

#[tokio::test]
async fn formats_that_do_not_fit() {
    let files = Files::new(&[("a.parquet", good()), ("b.csv", b"x\n1\n".to_vec())]);
    let text = files.fails(ErrorClass::Spec, |_| {}).await;
    assert_eq!(
        text,
        "DIR/b.csv: the formats are mixed: this is Csv, DIR/a.parquet is Parquet; narrow source.uri with a glob such as dir/*.parquet"
    );
    let text = files.fails(ErrorClass::Spec, |source| source.format = Some(Format::Parquet)).await;
    assert!(text.starts_with("DIR/b.csv: the name says Csv, but source.format is Parquet"), "{text}");
    let files = Files::new(&[("a.parquet", good()), ("notes.txt", b"hello".to_vec())]);
    let text = files.fails(ErrorClass::Spec, |_| {}).await;
    assert!(
        text.starts_with("DIR/notes.txt: the name does not tell the format; set source.format, or narrow source.uri"),
        "{text}"
    );
}

#[tokio::test]
async fn damaged_parquet() {
    let bytes = good();
    let cut = Files::new(&[("a.parquet", bytes[..bytes.len() - 100].to_vec())]);
    let text = cut.fails(ErrorClass::Data, vector).await;
    assert_eq!(
        text,
        "DIR/a.parquet, footer: the object does not end with the Parquet signature: it is cut off, or not Parquet; write the object again"
    );
    let short = Files::new(&[("a.parquet", b"PAR1".to_vec())]);
    assert!(short.fails(ErrorClass::Data, vector).await.contains("the object has only 4 bytes, too few for Parquet"));
    let text =
        Files::new(&[("a.parquet", b"this is not a table at all".to_vec())]).fails(ErrorClass::Data, vector).await;
    assert!(text.contains("not Parquet"), "{text}");

    let mut huge = bytes.clone();
    let at = huge.len() - 8;
    huge[at..at + 4].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let text = Files::new(&[("a.parquet", huge)]).fails(ErrorClass::Data, vector).await;
    assert_eq!(
        text,
        "DIR/a.parquet, footer: the footer claims 2147483647 bytes, more than 33554432; write fewer row groups or columns per object"
    );
    let mut long = bytes.clone();
    long[at..at + 4].copy_from_slice(&1_000_000_u32.to_le_bytes());
    let text = Files::new(&[("a.parquet", long)]).fails(ErrorClass::Data, vector).await;
    assert!(text.contains("the footer claims 1000000 bytes, but the object has only"), "{text}");

    // The middle is missing: the footer is whole, but points past what is there.
    let mut hollow = bytes[..1000].to_vec();
    hollow.extend(&bytes[bytes.len() - 2000..]);
    let text = Files::new(&[("a.parquet", hollow)]).fails(ErrorClass::Data, vector).await;
    assert!(text.starts_with("DIR/a.parquet, row group ") && text.ends_with("write the object again"), "{text}");
}

#[tokio::test]
async fn wrong_columns() {
    let files = Files::new(&[("a.parquet", good())]);
    let text = files.fails(ErrorClass::Spec, |source| source.columns.vector = Some("embedding".into())).await;
    assert!(
        text.starts_with("DIR/a.parquet: there is no column \"embedding\", which source.columns.vector names; the columns are id (Int64), vector (FixedSizeList(3 x Float32)), label (Utf8); correct source.columns.vector"),
        "{text}"
    );
    let text =
        files.fails(ErrorClass::Spec, |source| source.columns.features = vec!["id".into(), "label".into()]).await;
    assert_eq!(
        text,
        "DIR/a.parquet: column \"label\" holds Utf8, but features are numbers; leave it out of source.columns.features, or convert it to numbers"
    );
    let text = files.fails(ErrorClass::Spec, |source| source.columns.vector = Some("label".into())).await;
    assert!(text.contains("column \"label\" holds Utf8, but source.columns.vector needs lists of numbers"), "{text}");
    let text = files
        .fails(ErrorClass::Spec, |source| {
            vector(source);
            source.columns.id = Some("vector".into());
        })
        .await;
    assert!(
        text.contains("the id column \"vector\" holds FixedSizeList(3 x Float32), but ids are integers or text"),
        "{text}"
    );
    let nothing = Files::new(&[(
        "a.parquet",
        write(&of(vec![column("x", NullArray::new(3)), column("t", StringArray::from(vec!["a", "b", "c"]))])),
    )]);
    let text = nothing.fails(ErrorClass::Spec, |_| {}).await;
    assert!(text.contains("no numeric column was found"), "{text}");
    let index = Files::new(&[("a.csv", b",x\n0,1\n".to_vec())]);
    let text = index.fails(ErrorClass::Spec, |_| {}).await;
    assert!(text.contains("the numeric column \"\" looks like a row index"), "{text}");
}

#[tokio::test]
async fn objects_that_disagree() {
    let three = parquet(&batch(&Table::blobs(10, 3), Shape::Fixed32), 100, Compression::UNCOMPRESSED);
    let four = parquet(&batch(&Table::blobs(10, 4), Shape::Fixed32), 100, Compression::UNCOMPRESSED);
    let files = Files::new(&[("a.parquet", three), ("b.parquet", four)]);
    let text = files.fails(ErrorClass::Spec, vector).await;
    assert_eq!(
        text,
        "DIR/b.parquet: its vectors have 4 elements, but those of DIR/a.parquet have 3; write all objects with the same columns, or narrow source.uri with a glob"
    );
    let files = Files::new(&[
        ("a.npy", npy(&Table::blobs(5, 2), "<f4", false, 1)),
        ("b.npy", npy(&Table::blobs(5, 7), "<f4", false, 1)),
    ]);
    assert!(
        files
            .fails(ErrorClass::Spec, |_| {})
            .await
            .contains("DIR/b.npy: its vectors have 7 elements, but those of DIR/a.npy have 2")
    );
    let files = Files::new(&[("a.csv", b"x,y\n1,2\n".to_vec()), ("b.csv", b"x,z\n1,2\n".to_vec())]);
    assert!(
        files
            .fails(ErrorClass::Spec, |_| {})
            .await
            .contains("its numeric columns differ from those of DIR/a.csv: missing [\"y\"], added [\"z\"]")
    );
    // Variable lists tell their width only when they are read.
    let list = |width: usize| {
        let rows: Vec<Option<Vec<Option<f32>>>> = vec![Some(vec![Some(1.0); width]); 3];
        write(&of(vec![column("vector", ListArray::from_iter_primitive::<Float32Type, _, _>(rows))]))
    };
    let files = Files::new(&[("a.parquet", list(2)), ("b.parquet", list(5))]);
    let text = files.fails(ErrorClass::Data, vector).await;
    assert_eq!(
        text,
        "DIR/b.parquet, row 0 (row group 0), column \"vector\": the vector has 5 elements, but the first one has 2; write vectors of one length"
    );
}

#[tokio::test]
async fn invalid_rows_fail_or_are_dropped() {
    let lists =
        |rows: Vec<Option<Vec<Option<f64>>>>| FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(rows, 2);
    let ok = Some(vec![Some(1.0), Some(2.0)]);
    let with = |bad: Option<Vec<Option<f64>>>| {
        let mut rows = vec![ok.clone(); 150];
        rows[120] = bad;
        of(vec![column("vector", lists(rows)), column("id", Int64Array::from_iter_values(0..150))])
    };
    for (bad, reason) in [
        (Some(vec![Some(1.0), Some(f64::NAN)]), "column \"vector[1]\": the value is NaN"),
        (
            Some(vec![Some(f64::INFINITY), Some(1.0)]),
            "column \"vector[0]\": the value is infinite or beyond the range of 32-bit floats (3.4e38)",
        ),
        (
            Some(vec![Some(-1e300), Some(1.0)]),
            "column \"vector[0]\": the value is infinite or beyond the range of 32-bit floats (3.4e38)",
        ),
        (Some(vec![Some(1.0), None]), "column \"vector[1]\": the value is null"),
        (None, "column \"vector\": the vector is null"),
    ] {
        let files = Files::new(&[("a.parquet", write(&with(bad.clone())))]);
        let text = files.fails(ErrorClass::Data, vector).await;
        assert_eq!(text, format!("DIR/a.parquet, row 120 (row group 1), {reason}; {DROP}"));
        let drop = |source: &mut Source| {
            vector(source);
            source.columns.id = Some("id".into());
            source.invalid_rows = InvalidRows::Drop;
        };
        let all = read(&files.source(drop)).await.unwrap();
        assert_eq!((all.rows, all.dropped, all.int_ids.contains(&120)), (149, 1, false));
        let files = Files::new(&[("a.arrow", arrow(&with(bad), 100, None))]);
        let text = files.fails(ErrorClass::Data, vector).await;
        assert_eq!(text, format!("DIR/a.arrow, row 20 of record batch 1, {reason}; {DROP}"));
        assert_eq!(read(&files.source(drop)).await.unwrap().dropped, 1);
    }
    let mut table = Table::blobs(300, 2);
    table.values[401] = f32::NAN;
    let files = Files::new(&[("a.npy", npy(&table, "<f4", true, 1))]);
    assert_eq!(
        files.fails(ErrorClass::Data, |_| {}).await,
        format!("DIR/a.npy, row 200, column \"1\": the value is NaN; {DROP}")
    );
    assert_eq!(read(&files.source(|source| source.invalid_rows = InvalidRows::Drop)).await.unwrap().rows, 299);
    let named = of(vec![
        column("x", Float32Array::from(vec![Some(1.0), None])),
        column("y", Float64Array::from(vec![1.0, 2.0])),
    ]);
    let files = Files::new(&[("a.parquet", write(&named))]);
    assert_eq!(
        files.fails(ErrorClass::Data, plain).await,
        format!("DIR/a.parquet, row 1 (row group 0), column \"x\": the value is null; {DROP}")
    );
}

#[tokio::test]
async fn ragged_lists_are_never_dropped() {
    let rows = vec![Some(vec![Some(1.0), Some(2.0)]), None, Some(vec![Some(3.0)])];
    let data = of(vec![column("vector", ListArray::from_iter_primitive::<Float32Type, _, _>(rows))]);
    let drop = |source: &mut Source| {
        vector(source);
        source.invalid_rows = InvalidRows::Drop;
    };
    let files = Files::new(&[("a.parquet", write(&data))]);
    let text = files.fails(ErrorClass::Data, drop).await;
    assert_eq!(
        text,
        "DIR/a.parquet, row 2 (row group 0), column \"vector\": the vector has 1 elements, but the first one has 2; write vectors of one length"
    );
    let empty = of(vec![column(
        "vector",
        ListArray::from_iter_primitive::<Float32Type, _, _>(vec![Some(Vec::<Option<f32>>::new())]),
    )]);
    let text = Files::new(&[("a.parquet", write(&empty))]).fails(ErrorClass::Spec, drop).await;
    assert!(text.contains("the vectors in \"vector\" have no elements"), "{text}");
    let void = of(vec![column(
        "vector",
        ListArray::from_iter_primitive::<Float32Type, _, _>(vec![None::<Vec<Option<f32>>>; 5]),
    )]);
    let text = Files::new(&[("a.parquet", write(&void))]).fails(ErrorClass::Data, drop).await;
    assert!(text.contains("the vectors in column \"vector\" are null as far as they were read"), "{text}");
}

#[tokio::test]
async fn no_rows() {
    let none = Table::blobs(10, 3).part(0, 0);
    let expected = "DIR: the objects hold no rows; write at least one row, or correct source.uri";
    let table = batch(&none, Shape::Fixed32);
    let mut empty_batch = Vec::new();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut empty_batch, &table.schema()).unwrap();
    writer.write(&table).unwrap();
    writer.finish().unwrap();
    drop(writer);
    for (name, bytes) in [
        ("a.parquet", write(&table)),
        ("a.npy", npy(&none, "<f4", false, 1)),
        ("a.csv", csv(&none, "\n")),
        ("a.csv", b"x,y\r\n\r\n".to_vec()),
        ("a.arrow", arrow(&table, 10, None)),
        ("b.arrow", empty_batch),
    ] {
        let files = Files::new(&[(name, bytes)]);
        let text = files
            .fails(ErrorClass::Data, |source| {
                if name.ends_with("parquet") || name.ends_with("arrow") {
                    vector(source)
                }
            })
            .await;
        assert_eq!(text, expected, "{name}");
    }
    // One object without rows among others is no error.
    let files = Files::new(&[("a.csv", b"x\n".to_vec()), ("b.csv", b"x\n1\n".to_vec())]);
    let all = read(&files.source(|source| source.columns.features = vec!["x".into()])).await.unwrap();
    assert_eq!(all.values, [1.0]);
}

#[tokio::test]
async fn npy_that_is_not_read() {
    let table = Table::blobs(20, 3);
    let whole = npy(&table, "<f4", false, 1);
    let replaced = |from: &str, to: &str| {
        let text: Vec<u8> = whole.clone();
        let at = text.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        [&text[..at], to.as_bytes(), &text[at + from.len()..]].concat()
    };
    for (bytes, class, words) in [
        (whole[..whole.len() - 3].to_vec(), ErrorClass::Data, "DIR/a.npy, header: the shape (20, 3) needs"),
        (
            [&whole[..], b"x"].concat(),
            ErrorClass::Data,
            "something follows the array; write the object again with numpy.save",
        ),
        (
            b"\x93NUMPZ\x01\x00".to_vec(),
            ErrorClass::Data,
            "DIR/a.npy, header: it does not begin with the NPY signature",
        ),
        (whole[..40].to_vec(), ErrorClass::Data, "it is cut off"),
        (
            replaced("<f4", "|O "),
            ErrorClass::Spec,
            "the array holds pickled Python objects, which are never loaded; save an array of numbers",
        ),
        (
            replaced("<f4", ">f4"),
            ErrorClass::Spec,
            "the elements are \">f4\", but only '<f4', '<f8' and '<f2' are read; convert the array, as in numpy.save(name, array.astype('<f4'))",
        ),
        (replaced("<f4", "<i4"), ErrorClass::Spec, "the elements are \"<i4\""),
        (
            replaced("(20, 3)", "(60, ) "),
            ErrorClass::Spec,
            "the array has 1 dimensions, but rows of features need 2; save an array of shape (rows, features)",
        ),
        (replaced("False", "Maybe"), ErrorClass::Data, "the NPY header is not a Python dictionary"),
    ] {
        let text = Files::new(&[("a.npy", bytes)]).fails(class, |_| {}).await;
        assert!(text.contains(words), "{text}");
    }
    let files = Files::new(&[("a.npy", whole)]);
    let text = files.fails(ErrorClass::Spec, |source| source.columns.id = Some("id".into())).await;
    assert_eq!(
        text,
        "DIR/a.npy: an NPY array has no column names, but source.columns names some; leave source.columns out, or write the data as Parquet"
    );
}

#[tokio::test]
async fn arrow_that_is_not_read() {
    let table = batch(&Table::blobs(500, 3), Shape::Fixed32);
    let whole = arrow(&table, 100, None);
    let mut stream = Vec::new();
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(&mut stream, &table.schema()).unwrap();
    writer.write(&table).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let mut hollow = whole[..200].to_vec();
    hollow.extend(&whole[whole.len() - 2000..]);
    for (bytes, words) in [
        (
            whole[..whole.len() - 1].to_vec(),
            "DIR/a.arrow, footer: the object does not end with the Arrow signature: it is cut off",
        ),
        (stream, "it is an Arrow IPC stream; write the Arrow IPC file format"),
        (b"FEA1 and then something".to_vec(), "it is Feather V1; write Feather V2"),
        (b"x".to_vec(), "the object has only 1 bytes, too few for Arrow"),
        (hollow, "a record batch lies outside the object"),
    ] {
        let text = Files::new(&[("a.arrow", bytes)]).fails(ErrorClass::Data, vector).await;
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn ids_must_be_there() {
    let data =
        of(vec![column("x", Float32Array::from(vec![1.0, 2.0])), column("id", Int64Array::from(vec![Some(1), None]))]);
    let files = Files::new(&[("a.parquet", write(&data))]);
    let text = files.fails(ErrorClass::Data, |source| source.columns.id = Some("id".into())).await;
    assert_eq!(
        text,
        "DIR/a.parquet, row 1 (row group 0), column \"id\": the id is null; give every row an id, or leave source.columns.id unset to number the rows"
    );
}

#[tokio::test]
async fn objects_that_change_while_they_are_read() {
    for (name, before, after) in [
        ("a.parquet", good(), parquet(&batch(&Table::blobs(400, 3), Shape::Fixed32), 200, Compression::UNCOMPRESSED)),
        ("a.npy", npy(&Table::blobs(500, 3), "<f4", false, 1), npy(&Table::blobs(500, 3), "<f8", false, 1)),
        ("a.csv", csv(&Table::blobs(50, 3), "\n"), csv(&Table::blobs(60, 3), "\n")),
        // Even another object of the same size.
        ("a.arrow", arrow(&batch(&Table::blobs(500, 3), Shape::Fixed32), 100, None), {
            let mut table = Table::blobs(500, 3);
            table.values.reverse();
            arrow(&batch(&table, Shape::Fixed32), 100, None)
        }),
    ] {
        let files = Files::new(&[(name, before)]);
        let source = files.source(|source| {
            if name == "a.parquet" || name == "a.arrow" {
                vector(source)
            }
        });
        let plan = Arc::new(plan(&source).await.unwrap());
        let reader = Reader::open(&source, plan).unwrap();
        std::fs::write(files.path("other"), after).unwrap();
        std::fs::rename(files.path("other"), files.path(name)).unwrap();
        let error =
            reader.read(0, Want::default()).try_collect::<Vec<_>>().await.expect_err("the change went unnoticed");
        assert_eq!(error.class(), ErrorClass::Transient, "{error}");
        assert_eq!(
            files.text(&error),
            format!(
                "DIR/{name}: the object changed while it was being read; run again to use the new contents, and write new data under new names"
            )
        );
        std::fs::remove_file(files.path(name)).unwrap();
        let error = reader.read(0, Want::default()).try_collect::<Vec<_>>().await.unwrap_err();
        assert!(files.text(&error).starts_with(&format!("DIR/{name}: there is no such object")), "{error}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used() {
    let with = |uri: &str, edit: fn(&mut Source)| {
        let mut source = source(uri);
        edit(&mut source);
        async move {
            let error = plan(&source).await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Spec, "{error}");
            error.to_string()
        }
    };
    let text = with("s3://b/x", |source| source.store.endpoint = Some("http://localhost:1".into())).await;
    assert_eq!(
        text,
        "s3://b/x: the endpoint is plain HTTP, which is not encrypted; set store.allowHttp: true to allow it, or use an https:// endpoint"
    );
    let text = with("s3://b/x", |source| source.store.endpoint = Some("localhost:9000".into())).await;
    assert_eq!(text, "s3://b/x: the endpoint \"localhost:9000\" has no scheme; write it as https://host:port");
    let text = with("s3://b/x", |source| source.store.ca_bundle = Some("/no/such/file.pem".into())).await;
    assert!(text.contains("store.caBundle \"/no/such/file.pem\" cannot be read"), "{text}");
    let text = with("s3://b/x", |source| source.store.ca_bundle = Some("/dev/null".into())).await;
    assert!(text.contains("store.caBundle \"/dev/null\" holds no certificate"), "{text}");
    assert!(with("http://localhost:1/a.npy", |_| {}).await.contains("set store.allowHttp: true"));
    assert!(with("ftp://host/x", |_| {}).await.contains("the scheme \"ftp\" is not known; use s3://"));
}

/// Dropping the stream early stops the work and leaks nothing that would keep the runtime from ending.
#[test]
fn streams_can_be_dropped() {
    let files = Files::new(&[(
        "a.parquet",
        parquet(&batch(&Table::blobs(200_000, 8), Shape::Fixed32), 1 << 20, Compression::UNCOMPRESSED),
    )]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let source = files.source(vector);
        let plan = Arc::new(plan(&source).await.unwrap());
        let reader = Reader::open(&source, plan).unwrap();
        let mut stream = Box::pin(reader.read(0, Want::default()));
        assert_eq!(stream.next().await.unwrap().unwrap().rows, 8192);
        let error = reader.read(77, Want::default()).try_collect::<Vec<_>>().await.unwrap_err();
        assert!(error.to_string().contains("the plan has no split 77"));
    });
    // Waits for the decoding thread.
    drop(runtime);
}
