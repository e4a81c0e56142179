//! Records of comma-separated text, with the place of each in the object. The rules are RFC 4180's, a line ending in
//! LF or CRLF. Blank lines are no records.

use bytes::Bytes;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use crate::{DataError, limits};

/// Where the text comes from.
pub(crate) trait Source {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, DataError>;
}

/// One record.
#[derive(Debug, Default)]
pub(crate) struct Record {
    text: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
    /// Where it starts in the object.
    pub(crate) start: u64,
}

impl Record {
    pub(crate) fn len(&self) -> usize {
        self.fields
    }

    /// A field without surrounding quotes, and without the CR of a CRLF.
    pub(crate) fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.fields).map(|index| self.field(index))
    }

    /// Whether a line break stands inside quotes.
    pub(crate) fn has_line_break(&self) -> bool {
        self.fields > 0 && self.text[..self.ends[self.fields - 1]].contains(&b'\n')
    }
}

/// Why a record could not be read.
#[derive(Debug)]
pub(crate) enum ScanError {
    /// The store failed.
    Store(DataError),
    /// The record that starts there is longer than allowed.
    TooLong(u64),
    /// The text ends inside quotes that were opened in the record that starts there.
    OpenQuote(u64),
}

impl From<DataError> for ScanError {
    fn from(error: DataError) -> Self {
        Self::Store(error)
    }
}

/// Reads records one after another.
pub(crate) struct Scanner<S> {
    source: S,
    reader: Reader,
    buffer: Bytes,
    /// Where the buffer starts in the object.
    offset: u64,
    ended: bool,
}

impl<S: Source> Scanner<S> {
    /// A scanner of a text that starts at `offset` in the object, with a record's first byte.
    pub(crate) fn new(source: S, offset: u64) -> Self {
        // Only LF ends a record: a lone CR would be an end that the search for a range's first record cannot see.
        let reader = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        Self { source, reader, buffer: Bytes::new(), offset, ended: false }
    }

    /// Where the next record, or a blank line, starts.
    pub(crate) fn position(&self) -> u64 {
        self.offset
    }

    fn more(&mut self) -> Result<bool, DataError> {
        while self.buffer.is_empty() && !self.ended {
            match self.source.next()? {
                Some(bytes) => self.buffer = bytes,
                None => self.ended = true,
            }
        }
        Ok(!self.buffer.is_empty())
    }

    fn advance(&mut self, count: usize) {
        self.buffer = self.buffer.slice(count..);
        self.offset += count as u64;
    }

    /// Skips to the byte after the next LF that starts before `end`; false when there is none.
    pub(crate) fn skip_line(&mut self, end: u64) -> Result<bool, DataError> {
        while self.offset < end && self.more()? {
            let reach = usize::try_from(end - self.offset).unwrap_or(usize::MAX).min(self.buffer.len());
            match self.buffer[..reach].iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    self.advance(at + 1);
                    return Ok(true);
                }
                None => self.advance(reach),
            }
        }
        Ok(false)
    }

    /// Skips UTF-8's byte order mark at the start of the object.
    fn skip_mark(&mut self) -> Result<(), DataError> {
        while self.buffer.len() < 3 && !self.ended {
            match self.source.next()? {
                Some(next) => self.buffer = [&self.buffer[..], &next[..]].concat().into(),
                None => self.ended = true,
            }
        }
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.advance(3);
        }
        Ok(())
    }

    /// Skips the ends of blank lines.
    fn skip_blank(&mut self) -> Result<(), DataError> {
        while self.more()? {
            match self.buffer[0] {
                b'\n' => self.advance(1),
                b'\r' if self.buffer.len() > 1 => {
                    if self.buffer[1] != b'\n' {
                        return Ok(());
                    }
                    self.advance(2);
                }
                b'\r' => {
                    // The LF, if there is one, is in the next chunk.
                    let Some(next) = self.source.next()? else {
                        self.ended = true;
                        self.advance(1);
                        return Ok(());
                    };
                    self.buffer = [&self.buffer[..], &next[..]].concat().into();
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Reads a record that starts before `end`; false when there is none.
    pub(crate) fn read(&mut self, record: &mut Record, end: u64) -> Result<bool, ScanError> {
        if self.offset == 0 {
            self.skip_mark()?;
        }
        self.skip_blank()?;
        if self.offset >= end || !self.more()? {
            return Ok(false);
        }
        record.start = self.offset;
        record.fields = 0;
        if record.text.is_empty() {
            record.text.resize(4096, 0);
            record.ends.resize(64, 0);
        }
        let mut written = 0;
        let mut quotes = 0;
        // The last two bytes of the record as it stands in the text.
        let mut tail = [0_u8; 2];
        let at_end = loop {
            // An empty input tells the reader that the text has ended.
            let at_end = !self.more()?;
            let (result, taken, out, ends) =
                self.reader.read_record(&self.buffer, &mut record.text[written..], &mut record.ends[record.fields..]);
            let raw = &self.buffer[..taken];
            quotes += raw.iter().filter(|byte| **byte == b'"').count();
            match *raw {
                [] => {}
                [last] => tail = [tail[1], last],
                [.., before, last] => tail = [before, last],
            }
            self.advance(taken);
            written += out;
            record.fields += ends;
            if self.offset - record.start > limits::CSV_RECORD as u64 {
                return Err(ScanError::TooLong(record.start));
            }
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => record.text.resize(record.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => record.ends.resize(record.ends.len() * 2, 0),
                ReadRecordResult::Record => break at_end,
                ReadRecordResult::End => return Ok(false),
            }
        };
        // A quote that is never closed swallows all lines that follow.
        if at_end && quotes % 2 == 1 && record.has_line_break() {
            return Err(ScanError::OpenQuote(record.start));
        }
        // The CR of a CRLF belongs to the line's end; one inside quotes does not.
        let returned = if at_end { tail[1] == b'\r' } else { tail == *b"\r\n" };
        if returned
            && let Some(last) = record.fields.checked_sub(1)
            && record.field(last).last() == Some(&b'\r')
        {
            record.ends[last] -= 1;
        }
        Ok(true)
    }
}

/// A text in memory, as a source.
pub(crate) struct Memory(Option<Bytes>);

impl Memory {
    pub(crate) fn new(text: Bytes) -> Self {
        Self(Some(text))
    }
}

impl Source for Memory {
    fn next(&mut self) -> Result<Option<Bytes>, DataError> {
        Ok(self.0.take())
    }
}

impl Source for crate::fetch::ReadAhead {
    fn next(&mut self) -> Result<Option<Bytes>, DataError> {
        Self::next(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A text that comes in pieces.
    struct Pieces(std::collections::VecDeque<Bytes>);

    impl Source for Pieces {
        fn next(&mut self) -> Result<Option<Bytes>, DataError> {
            Ok(self.0.pop_front())
        }
    }

    fn pieces(text: &[u8], size: usize) -> Pieces {
        Pieces(text.chunks(size).map(Bytes::copy_from_slice).collect())
    }

    /// The records of a range, found as a split of a larger text finds them.
    fn records(text: &[u8], range: std::ops::Range<usize>, size: usize) -> Result<Vec<(u64, Vec<String>)>, ScanError> {
        let (start, end) = (range.start, range.end as u64);
        let from = start.saturating_sub(1);
        let mut scanner = Scanner::new(pieces(&text[from..], size), from as u64);
        if start > 0 && !scanner.skip_line(end)? {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        let mut record = Record::default();
        while scanner.read(&mut record, end)? {
            all.push((
                record.start,
                record.fields().map(|field| String::from_utf8_lossy(field).into_owned()).collect(),
            ));
        }
        Ok(all)
    }

    fn whole(text: &str) -> Vec<Vec<String>> {
        records(text.as_bytes(), 0..text.len(), 3).unwrap().into_iter().map(|(_, fields)| fields).collect()
    }

    #[test]
    fn line_ends_quotes_and_blank_lines() {
        let expected = vec![vec!["a", "b"], vec!["1", "x\"y, z"], vec!["2", ""]];
        for text in [
            "a,b\n1,\"x\"\"y, z\"\n2,\n",
            "a,b\r\n\r\n1,\"x\"\"y, z\"\r\n\n\n2,\"\"\r\n\r\n",
            "\u{feff}a,b\n1,\"x\"\"y, z\"\n2,\r",
        ] {
            for size in [3, 5, 100] {
                let found: Vec<Vec<String>> = records(text.as_bytes(), 0..text.len(), size)
                    .unwrap()
                    .into_iter()
                    .map(|(_, fields)| fields)
                    .collect();
                assert_eq!(found, expected, "{text:?} by {size}");
            }
        }
        assert_eq!(whole("\"a\r\"\n"), [["a\r"]], "a CR inside quotes stays");
        assert_eq!(whole("\"a\nb\",c\n"), [["a\nb", "c"]]);
    }

    #[test]
    fn open_quotes_are_noticed() {
        let text = "a,b\n1,\"x\n2,y\n3,z\n";
        assert!(matches!(records(text.as_bytes(), 0..text.len(), 4), Err(ScanError::OpenQuote(4))));
        assert_eq!(whole("5\" pipe,1"), [["5\" pipe", "1"]]);
    }

    proptest! {
        /// Whatever the cuts and the chunks, the ranges' records are the whole text's, each once and in order.
        #[test]
        fn ranges_own_each_record_once(
            lines in proptest::collection::vec("[a1\",\r]{0,6}", 0..12),
            crlf in any::<bool>(),
            mut cuts in proptest::collection::vec(0..80_usize, 0..6),
            size in 1..9_usize,
        ) {
            let text = lines.join(if crlf { "\r\n" } else { "\n" }).into_bytes();
            let Ok(all) = records(&text, 0..text.len(), 1000) else { return Ok(()) };
            prop_assume!(all.iter().all(|(_, fields)| fields.iter().all(|field| !field.contains('\n'))));
            cuts.push(0);
            cuts.push(text.len());
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(text.len()));
            cuts.sort_unstable();
            let mut joined = Vec::new();
            for cut in cuts.windows(2) {
                joined.extend(records(&text, cut[0]..cut[1], size).unwrap());
            }
            prop_assert_eq!(joined, all);
        }
    }
}
