//! CSV: a header line with names, then records. Large objects are cut into ranges of bytes; a range owns the records
//! that start in it.
//!
//! # Line breaks inside quotes
//!
//! A range other than the first finds its first record by the first LF at or after the byte before the range. That is
//! right only if LFs end records, so in an object that is cut, a quoted field with a line break is refused. It is
//! always detected: take the first record R of the object that holds one, and the range in which R starts. All LFs
//! before R end records, so wherever that range begins, the LF that it finds (at the latest the one just before R)
//! ends a record; it reads on from there record by record, comes to R with the right state, and refuses it. Other
//! ranges may meanwhile misread the tail of R, but the run fails with R's error or theirs, and every range is read in
//! every run. An object that is not cut is read from its start, so there such fields are read as RFC 4180 says.

mod scan;

use std::ops::Range;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::columns::{Column, Kind, Layout};
use crate::fetch::{ObjectReader, ReadAhead};
use crate::rows::{Emit, Rows, row_error};
use crate::{DataError, Ids, block_rows, limits};
use scan::{Memory, Record, ScanError, Scanner};

/// Bytes of one request.
const CHUNK: u64 = 4 << 20;
/// Bytes of the first request for the header.
const FIRST: u64 = 64 << 10;
/// Records whose cells decide which columns are numeric.
const SAMPLE: usize = 100;
/// Up to this many bytes before a bad record its line number is counted.
const COUNTED: u64 = 512 << 20;

/// The header line.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) table: Vec<Column>,
    /// Where the first line after the header starts.
    pub(crate) data: u64,
    /// Whether any record follows.
    pub(crate) has_rows: bool,
}

fn damaged(object: &ObjectReader, place: impl Into<String>, problem: impl Into<String>, remedy: &str) -> DataError {
    DataError::Corrupt {
        object: object.uri.to_string(),
        place: place.into(),
        problem: problem.into(),
        remedy: remedy.to_owned(),
    }
}

/// Reads the header and looks at the first records.
pub(crate) async fn header(object: &ObjectReader) -> Result<Header, DataError> {
    let mut length = FIRST;
    loop {
        let start = object.range(0..object.size.min(length)).await?;
        let whole = start.len() as u64 == object.size;
        if let Some(header) = parse(object, start, whole)? {
            return Ok(header);
        }
        length *= 8;
        if length > 2 * limits::CSV_RECORD as u64 {
            return Err(too_long(object, "header"));
        }
    }
}

fn too_long(object: &ObjectReader, place: impl Into<String>) -> DataError {
    DataError::Limit {
        object: object.uri.to_string(),
        place: place.into(),
        problem: format!("the record is longer than {} bytes", limits::CSV_RECORD),
        remedy: "look for a missing line break or closing quote".to_owned(),
    }
}

fn open_quote(object: &ObjectReader, place: String) -> DataError {
    damaged(object, place, "a quote is opened and never closed", "close the quote")
}

/// The header from the object's beginning; `None` when more of it is needed.
fn parse(object: &ObjectReader, start: Bytes, whole: bool) -> Result<Option<Header>, DataError> {
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Err(damaged(object, "header", "the text is UTF-16", "save the file as UTF-8"));
    }
    let available = start.len() as u64;
    let line = |at: u64| {
        let before = &start[..usize::try_from(at).unwrap_or(0).min(start.len())];
        format!("line {}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
    };
    let mut scanner = Scanner::new(Memory::new(start.clone()), 0);
    let mut record = Record::default();
    // A record that reaches the end of what is there may go on after it.
    let mut read = |record: &mut Record| match scanner.read(record, u64::MAX) {
        Ok(true) if whole || scanner.position() < available => Ok(Some(scanner.position())),
        Ok(_) => Ok(None),
        Err(ScanError::OpenQuote(_)) if !whole => Ok(None),
        Err(ScanError::Store(error)) => Err(error),
        Err(ScanError::TooLong(at)) => Err(too_long(object, line(at))),
        Err(ScanError::OpenQuote(at)) => Err(open_quote(object, line(at))),
    };
    let Some(data) = read(&mut record)? else {
        if whole {
            return Err(damaged(
                object,
                "header",
                "there is no header line",
                "write the columns' names in the first line",
            ));
        }
        return Ok(None);
    };
    let mut names = Vec::with_capacity(record.len());
    for field in record.fields() {
        let name = std::str::from_utf8(field)
            .map_err(|_| damaged(object, "header", "the header line is not UTF-8", "save the file as UTF-8"))?;
        names.push(name.trim().to_owned());
    }
    check_names(object, &names)?;
    let mut kinds = vec![Kind::Unknown; names.len()];
    let mut count = 0;
    while count < SAMPLE && read(&mut record)?.is_some() {
        count += 1;
        for (kind, field) in kinds.iter_mut().zip(record.fields()) {
            if !field.trim_ascii().is_empty() {
                let one = if number(field).is_some() { Kind::Real } else { Kind::Text };
                *kind = if *kind == Kind::Unknown || *kind == one { one } else { Kind::Mixed };
            }
        }
    }
    if count == 0 && !whole {
        return Ok(None);
    }
    let table = names
        .into_iter()
        .zip(kinds)
        .map(|(name, kind)| {
            let type_name = match kind {
                Kind::Real => "numbers",
                Kind::Text => "text",
                Kind::Mixed => "numbers and text",
                _ => "empty cells",
            };
            Column { name, kind, members: None, type_name: type_name.to_owned() }
        })
        .collect();
    Ok(Some(Header { table, data, has_rows: count > 0 }))
}

fn check_names(object: &ObjectReader, names: &[String]) -> Result<(), DataError> {
    let refuse = |problem: String, remedy: &str| DataError::Schema {
        object: object.uri.to_string(),
        problem,
        remedy: remedy.to_owned(),
    };
    if names.len() > limits::COLUMNS {
        return Err(refuse(
            format!("the header has {} columns, more than {}", names.len(), limits::COLUMNS),
            "use another format for so many features",
        ));
    }
    if let [name] = names
        && (name.contains(';') || name.contains('\t'))
    {
        return Err(refuse(
            "the header has a single column, which holds semicolons or tabs".to_owned(),
            "separate the columns by commas",
        ));
    }
    // Names such as 0, 1, 2 are what table libraries write for nameless columns; 0.25, -1.5 is a row.
    let numeric = names.iter().all(|name| name.parse::<f64>().is_ok());
    if numeric && names.iter().any(|name| !name.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(refuse(
            "the first line holds numbers, not names".to_owned(),
            "write a header line with the columns' names",
        ));
    }
    Ok(())
}

/// A cell's number.
fn number(cell: &[u8]) -> Option<f32> {
    // Straight to f32: going through f64 would round twice.
    std::str::from_utf8(cell.trim_ascii()).ok()?.parse().ok()
}

/// Where each column of the layout is in this object's records.
struct Positions {
    features: Vec<usize>,
    id: Option<usize>,
    label: Option<usize>,
    fields: usize,
}

fn positions(object: &ObjectReader, header: &Header, layout: &Layout) -> Result<Positions, DataError> {
    let places: std::collections::HashMap<&str, usize> =
        header.table.iter().enumerate().map(|(at, column)| (column.name.as_str(), at)).collect();
    let find = |name: &String| {
        places.get(name.as_str()).copied().ok_or_else(|| DataError::Schema {
            object: object.uri.to_string(),
            problem: format!("there is no column {name:?}"),
            remedy: "write all objects with the same columns".to_owned(),
        })
    };
    Ok(Positions {
        features: layout.features.iter().map(find).collect::<Result<_, _>>()?,
        id: layout.id.as_ref().map(find).transpose()?,
        label: layout.label.as_ref().map(find).transpose()?,
        fields: header.table.len(),
    })
}

/// Puts a record's place into words. Only for errors: it counts the lines before the record.
fn place(object: &ObjectReader, handle: &Handle, start: u64) -> String {
    let mut line = 1;
    if start <= COUNTED {
        let mut ahead = ReadAhead::new(object.clone(), handle.clone(), 0..start, CHUNK);
        loop {
            match ahead.next() {
                Ok(Some(bytes)) => line += bytes.iter().filter(|byte| **byte == b'\n').count(),
                Ok(None) => return format!("line {line}"),
                Err(_) => break,
            }
        }
    }
    format!("the record at byte {start}")
}

/// Reads the records that start in a range.
pub(crate) fn read(
    object: &ObjectReader,
    handle: &Handle,
    header: &Header,
    range: Range<u64>,
    layout: &Layout,
    emit: Emit<'_>,
) -> Result<(), DataError> {
    let at = positions(object, header, layout)?;
    let cut = range.start > header.data || range.end < object.size;
    let from = if range.start > header.data { range.start - 1 } else { header.data };
    let ahead = ReadAhead::new(object.clone(), handle.clone(), from..object.size, CHUNK);
    let mut scanner = Scanner::new(ahead, from);
    if range.start > header.data && !scanner.skip_line(range.end)? {
        return Ok(());
    }
    let mut record = Record::default();
    let rows = block_rows(layout.dimension);
    loop {
        let mut block = Builder::new(layout, rows);
        while block.starts.len() < rows {
            match scanner.read(&mut record, range.end) {
                Ok(true) => block.push(object, handle, &record, &at, layout, cut)?,
                Ok(false) => break,
                Err(ScanError::Store(error)) => return Err(error),
                Err(ScanError::TooLong(start)) => return Err(too_long(object, place(object, handle, start))),
                Err(ScanError::OpenQuote(start)) => return Err(open_quote(object, place(object, handle, start))),
            }
        }
        let Builder { rows: done, starts, .. } = block;
        if starts.is_empty() {
            return Ok(());
        }
        if !emit(done, &|row| place(object, handle, starts[row]))? {
            return Ok(());
        }
    }
}

struct Builder {
    rows: Rows,
    starts: Vec<u64>,
}

impl Builder {
    fn new(layout: &Layout, rows: usize) -> Self {
        Self {
            rows: Rows {
                values: Vec::with_capacity(rows * layout.dimension),
                ids: layout.id.as_ref().map(|_| Ids::Text(Vec::new())),
                labels: layout.label.as_ref().map(|_| Vec::new()),
                ..Rows::default()
            },
            starts: Vec::new(),
        }
    }

    fn push(
        &mut self,
        object: &ObjectReader,
        handle: &Handle,
        record: &Record,
        at: &Positions,
        layout: &Layout,
        cut: bool,
    ) -> Result<(), DataError> {
        let place = || place(object, handle, record.start);
        if cut && record.has_line_break() {
            return Err(damaged(
                object,
                place(),
                "a quoted field holds a line break, which is not allowed in an object this large, since it is read in several ranges",
                "remove the line break, write objects of at most 64 MiB, or use Parquet",
            ));
        }
        if record.len() != at.fields {
            return Err(damaged(
                object,
                place(),
                format!("the record has {} fields, but the header has {}", record.len(), at.fields),
                "write every record with all columns",
            ));
        }
        let row = self.rows.count;
        for (feature, position) in at.features.iter().enumerate() {
            let cell = record.field(*position);
            let value = match number(cell) {
                Some(value) => value,
                None if cell.trim_ascii().is_empty() => {
                    self.rows.nulls.push((row, Some(feature)));
                    f32::NAN
                }
                None => {
                    let text: String = String::from_utf8_lossy(cell).chars().take(40).collect();
                    return Err(row_error(
                        &object.uri,
                        place(),
                        layout.feature_name(feature),
                        format!("{text:?} is not a number"),
                        "write numbers as 1.5 or 2e-3 and missing values as empty cells, or leave the column out of source.columns.features",
                    ));
                }
            };
            self.rows.values.push(value);
        }
        let text = |position: usize, name: &Option<String>| {
            String::from_utf8(record.field(position).to_vec()).map_err(|_| {
                row_error(
                    &object.uri,
                    place(),
                    name.clone().unwrap_or_default(),
                    "the text is not UTF-8",
                    "save the file as UTF-8",
                )
            })
        };
        if let (Some(position), Some(Ids::Text(ids))) = (at.id, &mut self.rows.ids) {
            let id = text(position, &layout.id)?;
            if id.is_empty() {
                return Err(row_error(
                    &object.uri,
                    place(),
                    layout.id.clone().unwrap_or_default(),
                    "the id is empty",
                    "give every row an id, or leave source.columns.id unset to number the rows",
                ));
            }
            ids.push(id);
        }
        if let (Some(position), Some(labels)) = (at.label, &mut self.rows.labels) {
            labels.push(text(position, &layout.label)?);
        }
        self.rows.count += 1;
        self.starts.push(record.start);
        Ok(())
    }
}
