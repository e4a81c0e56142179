//! CSV that is not read, and what the errors say about it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use coterie_data::plan::plan;
use coterie_data::reader::Reader;
use coterie_data::{ErrorClass, Want};
use futures::TryStreamExt;
use support::files::Files;
use support::read;

#[tokio::test]
async fn csv_that_is_not_read() {
    for (text, class, words) in [
        (
            "x,y\n1,2\n3\n",
            ErrorClass::Data,
            "DIR/a.csv, line 3: the record has 1 fields, but the header has 2; write every record with all columns",
        ),
        (
            "x,y\n1,2\n\n3,four\n",
            ErrorClass::Spec,
            "DIR/a.csv: column \"y\" holds numbers and text, so it is unclear whether it is a feature; correct the text",
        ),
        ("x,y\n1,2\n3,nan\n", ErrorClass::Data, "DIR/a.csv, line 3, column \"y\": the value is NaN; correct the row"),
        ("x,y\n1,2\n3,1e39\n", ErrorClass::Data, "line 3, column \"y\": the value is infinite or beyond"),
        ("x,y\n1,2\n3, \n", ErrorClass::Data, "DIR/a.csv, line 3, column \"y\": the value is null"),
        ("x,y\n1,2\n3,\"4\n5,6\n", ErrorClass::Data, "line 3: a quote is opened and never closed; close the quote"),
        (
            "x;y\n1;2\n",
            ErrorClass::Spec,
            "the header has a single column, which holds semicolons or tabs; separate the columns by commas",
        ),
        ("0.5,1.5\n2.5,3.5\n", ErrorClass::Spec, "the first line holds numbers, not names; write a header line"),
        ("\n\n", ErrorClass::Data, "DIR/a.csv, header: there is no header line"),
        ("x,x\n1,2\n", ErrorClass::Spec, "there are several columns named \"x\""),
    ] {
        let found = Files::new(&[("a.csv", text.into())]).fails(class, |_| {}).await;
        assert!(found.contains(words), "{found}");
    }
    let named = Files::new(&[("a.csv", b"x,y\n1,2\n\n3,four\n".to_vec())]);
    let found = named.fails(ErrorClass::Data, |source| source.columns.features = vec!["x".into(), "y".into()]).await;
    assert!(
        found.contains("DIR/a.csv, line 4, column \"y\": \"four\" is not a number; write numbers as 1.5"),
        "{found}"
    );
    let utf16: Vec<u8> = "\u{feff}x,y\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(
        Files::new(&[("a.csv", utf16)])
            .fails(ErrorClass::Data, |_| {})
            .await
            .contains("the text is UTF-16; save the file as UTF-8")
    );
    let mut long = b"x\n1\n".to_vec();
    long.extend(vec![b'7'; 17 << 20]);
    let text = Files::new(&[("a.csv", long)]).fails(ErrorClass::Data, |_| {}).await;
    assert!(
        text.starts_with("DIR/a.csv, line 3: the record is longer than 16777216 bytes; look for a missing line break"),
        "{text}"
    );
    let text = Files::new(&[("a.csv", b"id,x\n\xff,1\n".to_vec())])
        .fails(ErrorClass::Data, |source| {
            source.columns.id = Some("id".into());
        })
        .await;
    assert!(text.contains("line 2, column \"id\": the text is not UTF-8"), "{text}");
    let files = Files::new(&[("a.csv", b"id,x\na,1\n,2\n".to_vec())]);
    assert!(
        files
            .fails(ErrorClass::Data, |source| source.columns.id = Some("id".into()))
            .await
            .contains("line 3, column \"id\": the id is empty")
    );
}

/// A quoted line break is fine in a small object, and refused in one that is read in several ranges, wherever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_breaks_inside_quotes() {
    let files = Files::new(&[("a.csv", b"x,t\n1,\"a\nb\"\n2,c\n".to_vec())]);
    let all = read(&files.source(|source| source.columns.label = Some("t".into()))).await.unwrap();
    assert_eq!((all.values, all.labels), (vec![1.0, 2.0], vec!["a\nb".to_owned(), "c".to_owned()]));

    let mut big = b"x,t\n".to_vec();
    while big.len() < 66 << 20 {
        big.extend_from_slice(b"1,a line of some length that fills the object with many records of text\n");
    }
    let lines = big.iter().filter(|byte| **byte == b'\n').count();
    let files = Files::new(&[("a.csv", big.clone())]);
    let source = files.source(|source| source.columns.label = Some("t".into()));
    let plan_of = plan(&source).await.unwrap();
    assert_eq!(plan_of.splits.len(), 2);
    let all = read(&source).await.unwrap();
    assert_eq!((all.rows, all.labels.len()), (lines - 1, lines - 1));
    for at in [5 << 20, 33 << 20, 60 << 20] {
        let start = at + big[at..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut broken = big[..start].to_vec();
        broken.extend_from_slice(b"1,\"two\nlines\"\n");
        broken.extend_from_slice(&big[start..]);
        let files = Files::new(&[("a.csv", broken)]);
        let source = files.source(|source| source.columns.label = Some("t".into()));
        let plan = Arc::new(plan(&source).await.unwrap());
        let reader = Reader::open(&source, Arc::clone(&plan)).unwrap();
        let mut texts = Vec::new();
        for split in &plan.splits {
            if let Err(error) = reader.read(split.index, Want::default()).try_collect::<Vec<_>>().await {
                texts.push(files.text(&error));
            }
        }
        let line = big[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
        let expected = format!(
            "DIR/a.csv, line {line}: a quoted field holds a line break, which is not allowed in an object this large"
        );
        assert!(texts.iter().any(|text| text.starts_with(&expected)), "{texts:?}");
    }
}
