//! NPY: one array of shape (rows, features) per object. Rows are read by ranges, so an object of any size takes a
//! few MiB. In C order a range of rows is one range of bytes; in Fortran order it is one range per column, which
//! costs a request per column and window unless the columns are short: prefer C order on remote stores.

mod header;

use std::ops::Range;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::fetch::{ObjectReader, ReadAhead};
use crate::rows::{Emit, Rows};
use crate::{DataError, block_rows};
pub(crate) use header::Header;
use header::{Element, Refusal};

/// Bytes of one request in C order.
const CHUNK: u64 = 4 << 20;
/// Bytes of one window of rows in Fortran order.
const WINDOW: u64 = 8 << 20;
/// Bytes of the first request, which covers any header that numpy writes for plain arrays.
const FIRST: u64 = 4 << 10;

fn refuse(object: &ObjectReader, refusal: Refusal) -> DataError {
    let Refusal { damaged, problem, remedy } = refusal;
    if damaged {
        DataError::Corrupt {
            object: object.uri.to_string(),
            place: "header".to_owned(),
            problem,
            remedy: remedy.to_owned(),
        }
    } else {
        DataError::Schema { object: object.uri.to_string(), problem, remedy: remedy.to_owned() }
    }
}

/// Reads and checks the header.
pub(crate) async fn header(object: &ObjectReader) -> Result<Header, DataError> {
    let mut start = object.range(0..object.size.min(FIRST)).await?;
    let length = header::length(&start).map_err(|refusal| refuse(object, refusal))?;
    if length > start.len() {
        start = object.range(0..object.size.min(length as u64)).await?;
    }
    let Some(bytes) = start.get(..length) else {
        let problem =
            format!("the header takes {length} bytes, but the object has only {}: it is cut off", object.size);
        return Err(refuse(
            object,
            Refusal { damaged: true, problem, remedy: "write the object again with numpy.save" },
        ));
    };
    header::parse(bytes, object.size).map_err(|refusal| refuse(object, refusal))
}

/// Reads rows and hands them on in pieces of a block.
pub(crate) fn read(
    object: &ObjectReader,
    handle: &Handle,
    header: &Header,
    rows: Range<u64>,
    emit: Emit<'_>,
) -> Result<(), DataError> {
    if header.fortran {
        read_columns(object, handle, header, rows, emit)
    } else {
        read_rows(object, handle, header, rows, emit)
    }
}

fn read_rows(
    object: &ObjectReader,
    handle: &Handle,
    header: &Header,
    rows: Range<u64>,
    emit: Emit<'_>,
) -> Result<(), DataError> {
    let d = as_usize(header.columns);
    let row_bytes = header.columns * header.element.size();
    let bytes = header.data + rows.start * row_bytes..header.data + rows.end * row_bytes;
    let mut ahead = ReadAhead::new(object.clone(), handle.clone(), bytes, (CHUNK / row_bytes).max(1) * row_bytes);
    let mut first = rows.start;
    while let Some(chunk) = ahead.next()? {
        for part in chunk.chunks(block_rows(d) * as_usize(row_bytes)) {
            let mut values = vec![0.0; part.len() / as_usize(header.element.size())];
            convert(header.element, part, &mut values, 1);
            let count = values.len() / d;
            if !emit(Rows { count, values, ..Rows::default() }, &|row| place(first, row))? {
                return Ok(());
            }
            first += count as u64;
        }
    }
    Ok(())
}

fn read_columns(
    object: &ObjectReader,
    handle: &Handle,
    header: &Header,
    rows: Range<u64>,
    emit: Emit<'_>,
) -> Result<(), DataError> {
    let d = as_usize(header.columns);
    let size = header.element.size();
    let window = (WINDOW / (header.columns * size)).max(1);
    let fetch = |first: u64| {
        let last = rows.end.min(first + window);
        let ranges: Vec<Range<u64>> = (0..header.columns)
            .map(|column| {
                let start = header.data + column * header.rows * size;
                start + first * size..start + last * size
            })
            .collect();
        let object = object.clone();
        handle.spawn(async move { object.ranges(&ranges).await })
    };
    let mut base = rows.start;
    let mut pending = (base < rows.end).then(|| fetch(base));
    while let Some(task) = pending.take() {
        let columns: Vec<Bytes> = handle.block_on(task).map_err(|_| crate::fetch::interrupted(object))??;
        let last = rows.end.min(base + window);
        pending = (last < rows.end).then(|| fetch(last));
        let mut first = base;
        while first < last {
            let count = as_usize((block_rows(d) as u64).min(last - first));
            let within = as_usize((first - base) * size)..as_usize((first - base + count as u64) * size);
            let mut values = vec![0.0; count * d];
            for (column, bytes) in columns.iter().enumerate() {
                convert(header.element, &bytes[within.clone()], &mut values[column..], d);
            }
            if !emit(Rows { count, values, ..Rows::default() }, &|row| place(first, row))? {
                return Ok(());
            }
            first += count as u64;
        }
        base = last;
    }
    Ok(())
}

fn place(first: u64, row: usize) -> String {
    format!("row {}", first + row as u64)
}

/// Lengths here are bounded by what fits a window.
fn as_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[allow(clippy::cast_possible_truncation)]
fn convert(element: Element, bytes: &[u8], out: &mut [f32], stride: usize) {
    let out = out.iter_mut().step_by(stride);
    match element {
        Element::F2 => {
            let items = bytes.as_chunks::<2>().0;
            out.zip(items).for_each(|(out, item)| *out = half(u16::from_le_bytes(*item)));
        }
        Element::F4 => {
            let items = bytes.as_chunks::<4>().0;
            out.zip(items).for_each(|(out, item)| *out = f32::from_le_bytes(*item));
        }
        Element::F8 => {
            let items = bytes.as_chunks::<8>().0;
            out.zip(items).for_each(|(out, item)| *out = f64::from_le_bytes(*item) as f32);
        }
    }
}

/// A 16-bit float.
fn half(bits: u16) -> f32 {
    use arrow::datatypes::{ArrowPrimitiveType, Float16Type};
    f32::from(<Float16Type as ArrowPrimitiveType>::Native::from_bits(bits))
}
