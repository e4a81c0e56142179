//! Sets as lists of members and as columns of zeros and ones: the same rows in every form, and what is no set is named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float32Array, Int8Array, Int64Array, LargeListArray, ListArray, ListBuilder,
    RecordBatch, StringArray, StringBuilder, StringDictionaryBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Int8Type, Int64Type, UInt64Type};
use coterie_algorithms::members::Members;
use coterie_crds::resolved::{InvalidRows, Sets, Source};
use coterie_data::ErrorClass;
use coterie_data::plan::plan;
use parquet::basic::Compression;
use support::files::Files;
use support::read;
use support::write::{Table, arrow, csv, npy, of, parquet};

/// Row i has member j where bit j of this is set.
const ROWS: [u32; 6] = [0b1011, 0b0, 0b1111, 0b1000, 0b1011, 0b100];
const SIZE: usize = 4;

fn sets(source: &mut Source) {
    source.columns.sets = Some(Sets::Lists { column: "tags".into(), size: SIZE });
}

fn dense(source: &mut Source) {
    source.columns.sets = Some(Sets::Dense);
}

fn members(row: u32) -> Vec<u32> {
    (0..SIZE as u32).filter(|member| row >> member & 1 == 1).collect()
}

fn values() -> Vec<f32> {
    ROWS.iter().flat_map(|row| (0..SIZE).map(move |member| (row >> member & 1) as f32)).collect()
}

fn batch(tags: ArrayRef) -> RecordBatch {
    let ids = Int64Array::from_iter_values(0..tags.len() as i64);
    of(vec![("id".into(), Arc::new(ids)), ("tags".into(), tags)])
}

fn parquet_of(tags: impl arrow::array::Array + 'static) -> Vec<u8> {
    parquet(&batch(Arc::new(tags)), 4, Compression::UNCOMPRESSED)
}

fn table() -> Table {
    Table { first: 0, rows: ROWS.len(), dimension: SIZE, values: values(), labels: vec!["class".into(); ROWS.len()] }
}

#[tokio::test]
async fn the_same_sets_in_every_form() {
    let signed = ListArray::from_iter_primitive::<Int8Type, _, _>(
        // Backwards, and the first one twice.
        ROWS.map(|row| Some(members(row).into_iter().rev().chain(members(row).pop()).map(|id| Some(id as i8)))),
    );
    let unsigned = LargeListArray::from_iter_primitive::<UInt64Type, _, _>(
        ROWS.map(|row| Some(members(row).into_iter().map(|id| Some(u64::from(id))))),
    );
    for (name, bytes) in [
        ("a.parquet", parquet_of(signed.clone())),
        ("a.parquet", parquet_of(unsigned.clone())),
        ("a.arrow", arrow(&batch(Arc::new(signed)), 4, None)),
        ("a.arrow", arrow(&batch(Arc::new(unsigned)), 100, None)),
    ] {
        let all = read(&Files::new(&[(name, bytes)]).source(sets)).await.unwrap();
        assert_eq!((all.dimension, all.rows, &all.values), (SIZE, ROWS.len(), &values()), "{name}");
    }
    let csv = Files::new(&[("a.csv", csv(&table(), "\n"))]);
    let named = |source: &mut Source| {
        dense(source);
        source.columns.id = Some("id".into());
        source.columns.label = Some("label".into());
    };
    assert_eq!(read(&csv.source(named)).await.unwrap().values, values());
    let npy = Files::new(&[("a.npy", npy(&table(), "<f4", false, 1))]);
    assert_eq!(read(&npy.source(dense)).await.unwrap().values, values());
}

/// Lists of text may repeat the numbers of texts that are written once.
#[tokio::test]
async fn texts_are_the_same_by_a_dictionary() {
    let mut plain = ListBuilder::new(StringBuilder::new());
    let mut numbered = ListBuilder::new(StringDictionaryBuilder::<Int8Type>::new());
    for row in ROWS {
        for member in members(row) {
            plain.values().append_value(format!("tag {member}"));
            numbered.values().append_value(format!("tag {member}"));
        }
        plain.append(true);
        numbered.append(true);
    }
    let (plain, numbered) = (plain.finish(), numbered.finish());
    let expected = read(&Files::new(&[("a.parquet", parquet_of(plain))]).source(sets)).await.unwrap().values;
    assert!(expected.contains(&1.0));
    for (name, bytes) in
        [("a.parquet", parquet_of(numbered.clone())), ("a.arrow", arrow(&batch(Arc::new(numbered.clone())), 4, None))]
    {
        assert_eq!(read(&Files::new(&[(name, bytes)]).source(sets)).await.unwrap().values, expected, "{name}");
    }

    // A text of the dictionary that is null is no member.
    let texts = StringArray::from(vec![Some("tag 1"), None]);
    let members = DictionaryArray::<Int8Type>::new(Int8Array::from(vec![0, 1]), Arc::new(texts));
    let item = Field::new_list_field(DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)), true);
    let tags = ListArray::new(Arc::new(item), OffsetBuffer::from_lengths([1, 1]), Arc::new(members), None);
    let files = Files::new(&[("a.arrow", arrow(&batch(Arc::new(tags)), 4, None))]);
    assert!(files.fails(ErrorClass::Data, sets).await.contains("has a member that is null"));
}

#[tokio::test]
async fn null_sets_are_invalid_rows() {
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1)]),
        None,
        Some(vec![]),
        Some(vec![Some(2), None]),
    ]);
    let files = Files::new(&[("a.parquet", parquet_of(tags))]);
    assert_eq!(
        files.fails(ErrorClass::Data, sets).await,
        "DIR/a.parquet, row 1 (row group 0), column \"tags\": the set is null or has a member that is null; correct the row, or set \
         source.invalidRows: Drop to leave such rows out"
    );
    let dropping = files.source(|source| {
        sets(source);
        source.invalid_rows = InvalidRows::Drop;
    });
    let all = read(&dropping).await.unwrap();
    assert_eq!((all.values, all.int_ids, all.dropped), (vec![0., 1., 0., 0., 0., 0., 0., 0.], vec![], 2));
}

/// Whatever is said about invalid rows: these are no gaps in the data.
#[tokio::test]
async fn what_is_no_set_is_named() {
    for invalid in [InvalidRows::Fail, InvalidRows::Drop] {
        let mut odd = table();
        odd.values[SIZE + 2] = 2.0;
        let files = Files::new(&[("a.csv", csv(&odd, "\n"))]);
        let text = files
            .fails(ErrorClass::Data, |source| {
                dense(source);
                (source.columns.id, source.columns.label) = (Some("id".into()), Some("label".into()));
                source.invalid_rows = invalid;
            })
            .await;
        assert_eq!(
            text,
            "DIR/a.csv, line 3, column \"f2\": the value is 2, but rows are sets for the metric Jaccard: 0 or 1; make it 1 where the \
             member is in the set and 0 where it is not, leave columns that are no members out of source.columns, or choose another metric"
        );
        let tags =
            ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(3)]), Some(vec![Some(0), Some(4)])]);
        let text = Files::new(&[("a.parquet", parquet_of(tags))])
            .fails(ErrorClass::Data, |source| {
                sets(source);
                source.invalid_rows = invalid;
            })
            .await;
        assert_eq!(
            text,
            "DIR/a.parquet, row 1 (row group 0), column \"tags\": the set has the member 4, expected 0 to 3; number the members from 0 on \
             and make source.columns.set.size greater than the greatest of them, or write them as text, which is hashed"
        );
    }
}

#[tokio::test]
async fn all_objects_have_members_of_one_kind() {
    let integers = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)])]);
    let mut texts = ListBuilder::new(StringBuilder::new());
    texts.append_value([Some("1")]);
    let (integers, texts) = (parquet_of(integers), parquet_of(texts.finish()));
    for (bytes, members) in [(&integers, Members::Integers), (&texts, Members::Texts)] {
        let files = Files::new(&[("a.parquet", bytes.clone()), ("b.parquet", bytes.clone())]);
        assert_eq!(plan(&files.source(sets)).await.unwrap().members, Some(members));
    }
    let text = Files::new(&[("a.parquet", integers), ("b.parquet", texts)]).fails(ErrorClass::Spec, sets).await;
    assert_eq!(
        text,
        "DIR/b.parquet: the members of its sets are text, but those of DIR/a.parquet are integers; write the members of all objects as \
         integers, or all as text"
    );
}

#[tokio::test]
async fn columns_that_hold_no_sets() {
    let reals = ListArray::from_iter_primitive::<Float32Type, _, _>([Some(vec![Some(1.0)])]);
    let tags: ArrayRef = Arc::new(reals.clone());
    for (name, bytes) in [("a.parquet", parquet_of(reals)), ("a.arrow", arrow(&batch(tags), 4, None))] {
        let files = Files::new(&[(name, bytes)]);
        // No row is read for this.
        let error = plan(&files.source(sets)).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Spec);
        let expected = format!(
            "{name}: column \"tags\" holds List(Float32), but source.columns.set needs lists of integers or of text; convert the members to \
             integers or text, or name the column in source.columns.vector if its lists are vectors"
        );
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
    for (tags, words) in [
        (Arc::new(Float32Array::from(vec![1.0])) as ArrayRef, "column \"tags\" holds Float32"),
        (Arc::new(StringArray::from(vec!["a b"])), "column \"tags\" holds Utf8"),
    ] {
        let files = Files::new(&[("a.parquet", parquet(&batch(tags), 4, Compression::UNCOMPRESSED))]);
        let text = files.fails(ErrorClass::Spec, sets).await;
        assert!(
            text.contains(words) && text.contains("needs lists of integers or of text; name a list column"),
            "{text}"
        );
    }
    let files = Files::new(&[("a.parquet", parquet_of(Int64Array::from(vec![1])))]);
    let text = files
        .fails(ErrorClass::Spec, |source| {
            source.columns.sets = Some(Sets::Lists { column: "labels".into(), size: SIZE });
        })
        .await;
    assert!(text.contains("there is no column \"labels\", which source.columns.set.column names"), "{text}");
    let text = Files::new(&[("a.npy", npy(&table(), "<f4", false, 1))]).fails(ErrorClass::Spec, sets).await;
    assert!(text.contains("an NPY array has no column names, but source.columns names some"), "{text}");
}
