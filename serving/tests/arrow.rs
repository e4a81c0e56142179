//! Bulk requests as Arrow IPC streams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Float32Type, Float64Type, Int32Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use proptest::prelude::*;
use std::sync::Arc;
use support::client::Reply;
use support::{Running, models, start};

const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";

fn stream(batches: &[Vec<(&str, ArrayRef)>]) -> Vec<u8> {
    let batches: Vec<RecordBatch> =
        batches.iter().map(|columns| RecordBatch::try_from_iter(columns.clone()).unwrap()).collect();
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn lists(rows: &[[f32; 2]]) -> ArrayRef {
    let rows = rows.iter().map(|row| Some(row.iter().map(|&value| Some(value)).collect::<Vec<_>>()));
    Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 2))
}

async fn ask(server: &Running, body: Vec<u8>) -> Reply {
    support::client::send_as(server.http, "POST", "/v1/assign", MEDIA_TYPE, body).await
}

fn answer(reply: Reply) -> (RecordBatch, String) {
    assert_eq!((reply.status.as_u16(), reply.headers["content-type"].to_str().unwrap()), (200, MEDIA_TYPE));
    let mut reader = StreamReader::try_new(&reply.body[..], None).unwrap();
    let version = reader.schema().metadata()["modelVersion"].clone();
    (reader.next().unwrap().unwrap(), version)
}

#[tokio::test]
async fn lists_and_columns_are_answered_in_columns() {
    let server = start(models::songs()).await;
    let rows = [[160.0, 0.0], [100.0, -12.0], [120.0, 0.0]];
    let tempo: ArrayRef = Arc::new(Float64Array::from(vec![160.0, 100.0, 120.0]));
    let key: ArrayRef = Arc::new(Float32Array::from(vec![0.0, -12.0, 0.0]));
    let name: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let variable = rows.iter().map(|row| Some(row.iter().map(|&value| Some(f64::from(value))).collect::<Vec<_>>()));
    let bodies = [
        stream(&[vec![("vector", lists(&rows))]]),
        stream(&[vec![("vector", lists(&rows[..1]))], vec![("vector", lists(&rows[1..]))]]),
        stream(&[vec![("v", Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(variable)) as ArrayRef)]]),
        stream(&[vec![("name", name), ("key", key), ("tempo", tempo)]]),
    ];
    for body in bodies {
        let (batch, version) = answer(ask(&server, body).await);
        assert_eq!(version, "v3");
        assert_eq!(batch["cluster"].as_primitive::<Int32Type>().values()[..], [1, 2, 0]);
        let floats = |name: &str| batch[name].as_primitive::<Float32Type>().values().to_vec();
        assert_eq!((floats("distance"), floats("margin")), (vec![0.0, 1.0, 1.0], vec![3.0, 2.0, 1.0]));
        assert_eq!(floats("confidence"), [1.0, 2.0 / 3.0, 0.5]);
    }
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let server = start(models::songs()).await;
    let column = |array: Arc<dyn Array>| stream(&[vec![("vector", array)]]);
    let three = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([Some([Some(1.0); 3])], 3);
    let hole = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>([Some([Some(1.0), None])], 2);
    let one: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let cases = [
        (Vec::new(), "no vector was sent: send at least one"),
        (b"{\"vector\": [1, 2]}".to_vec(), "it cannot be read"),
        (column(lists(&[])), "no vector was sent"),
        (column(Arc::new(three)), "row 0: expected 2 values (\"tempo\", \"key\"), found 3"),
        (column(Arc::new(hole)), "column \"vector\" has a null in row 0: send numbers only"),
        (column(lists(&[[1.0, 2.0], [f32::NAN, 1.0]])), "row 1: feature \"tempo\" (value 0) is NaN"),
        (
            column(Arc::new(StringArray::from(vec!["x"]))),
            "column \"vector\" is of type Utf8: send a list of Float32 or Float64",
        ),
        (stream(&[vec![("tempo", Arc::clone(&one)), ("x", Arc::clone(&one))]]), "there is no column \"key\""),
        (stream(&[vec![("tempo", one), ("key", whole)]]), "column \"key\" is of type Int64: send Float32 or Float64"),
        (column(lists(&vec![[1.0, 2.0]; 65_537])), "65537 vectors in one request, at most 65536 are allowed"),
    ];
    for (body, expected) in cases {
        let reply = ask(&server, body).await;
        assert_eq!(reply.status, 400, "{expected}");
        assert!(reply.error().contains(expected), "{} instead of {expected}", reply.error());
    }
    let mut cut = column(lists(&[[1.0, 2.0]]));
    cut.truncate(cut.len() - 20);
    assert_eq!(ask(&server, cut).await.status, 400);
}

#[test]
fn damaged_streams_are_refused_or_answered() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(start(models::songs()));
    let whole = stream(&[vec![("vector", lists(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))]]);
    let length = whole.len();
    proptest!(ProptestConfig::with_cases(300), |(changes in prop::collection::vec((0..length, any::<u8>()), 1..4))| {
        let mut body = whole.clone();
        changes.iter().for_each(|&(at, byte)| body[at] = byte);
        let reply = runtime.block_on(ask(&server, body));
        prop_assert!(matches!(reply.status.as_u16(), 200 | 400), "{}", reply.status);
    });
    runtime.block_on(async {
        server.post("/v1/assign", r#"{"vector": [160, 0]}"#).await.ok();
    });
}
