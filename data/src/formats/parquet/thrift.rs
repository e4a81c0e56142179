//! Parquet's metadata is Thrift's compact encoding. The library that decodes it believes some of the numbers that it
//! finds (children of a schema element, bytes of a page, values of a dictionary) and reserves memory for them, so one
//! flipped bit can ask for gigabytes, which ends the process. Here the encoding is walked first, without reserving
//! anything: every length must be covered by the bytes that are really there, and a visitor sees the numbers.

/// Field ids from the outermost struct inwards; lists add nothing.
pub(crate) type Path<'a> = &'a [i16];

/// Told what the walk meets.
pub(crate) trait Visitor {
    /// An integer field or element.
    fn integer(&mut self, _path: Path<'_>, _value: i64) -> Result<(), String> {
        Ok(())
    }
    /// A list, before its elements.
    fn list(&mut self, _path: Path<'_>, _length: usize) -> Result<(), String> {
        Ok(())
    }
    /// The end of a struct.
    fn end(&mut self, _path: Path<'_>) -> Result<(), String> {
        Ok(())
    }
}

const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Deepest nesting of values.
const DEPTH: usize = 32;

/// Walks one struct; returns how many bytes it takes.
pub(crate) fn walk(bytes: &[u8], visitor: &mut dyn Visitor) -> Result<usize, String> {
    let mut walker = Walker { bytes, at: 0, path: Vec::new(), depth: 0, visitor };
    walker.structure()?;
    Ok(walker.at)
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    path: Vec<i16>,
    depth: usize,
    visitor: &'a mut dyn Visitor,
}

impl Walker<'_> {
    fn byte(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).copied().ok_or("it is cut off")?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), String> {
        if count > self.bytes.len() - self.at {
            return Err(format!("a value claims {count} bytes where {} are left", self.bytes.len() - self.at));
        }
        self.at += count;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long".to_owned())
    }

    fn integer(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn length(&mut self) -> Result<usize, String> {
        usize::try_from(self.varint()?).map_err(|_| "a length is too large".to_owned())
    }

    fn structure(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("values are nested too deeply".to_owned());
        }
        let mut field = 0_i16;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == STOP {
                break;
            }
            field = match head >> 4 {
                0 => i16::try_from(self.integer()?).map_err(|_| "a field number is too large")?,
                delta => field.checked_add(i16::from(delta)).ok_or("a field number is too large")?,
            };
            self.path.push(field);
            self.value(kind, false)?;
            self.path.pop();
        }
        self.visitor.end(&self.path)?;
        self.depth -= 1;
        Ok(())
    }

    fn value(&mut self, kind: u8, element: bool) -> Result<(), String> {
        match kind {
            // A field's truth is in its head; an element's takes a byte.
            TRUE | FALSE => self.skip(usize::from(element)),
            BYTE => self.skip(1),
            I16 | I32 | I64 => {
                let value = self.integer()?;
                self.visitor.integer(&self.path, value)
            }
            DOUBLE => self.skip(8),
            UUID => self.skip(16),
            BINARY => {
                let length = self.length()?;
                self.skip(length)
            }
            LIST | SET => {
                let head = self.byte()?;
                let length = match head >> 4 {
                    15 => self.length()?,
                    short => usize::from(short),
                };
                self.elements(length, 1)?;
                self.visitor.list(&self.path, length)?;
                self.nested(|walker| (0..length).try_for_each(|_| walker.value(head & 0x0f, true)))
            }
            MAP => {
                let length = self.length()?;
                if length == 0 {
                    return Ok(());
                }
                let head = self.byte()?;
                self.elements(length, 2)?;
                self.nested(|walker| {
                    (0..length).try_for_each(|_| {
                        walker.value(head >> 4, true)?;
                        walker.value(head & 0x0f, true)
                    })
                })
            }
            STRUCT => self.structure(),
            other => Err(format!("a value has the unknown type {other}")),
        }
    }

    /// Every element takes at least one byte, so a longer list cannot be true.
    fn elements(&self, length: usize, least: usize) -> Result<(), String> {
        let left = self.bytes.len() - self.at;
        if length > left / least {
            return Err(format!("a list claims {length} elements where {left} bytes are left"));
        }
        Ok(())
    }

    fn nested(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("values are nested too deeply".to_owned());
        }
        walk(self)?;
        self.depth -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Visitor for Log {
        fn integer(&mut self, path: Path<'_>, value: i64) -> Result<(), String> {
            self.0.push(format!("{path:?}={value}"));
            Ok(())
        }
        fn list(&mut self, path: Path<'_>, length: usize) -> Result<(), String> {
            self.0.push(format!("{path:?}*{length}"));
            Ok(())
        }
        fn end(&mut self, path: Path<'_>) -> Result<(), String> {
            self.0.push(format!("{path:?}."));
            Ok(())
        }
    }

    #[test]
    fn structs_lists_and_integers() {
        // {1: -3 (i32), 3: [{1: 64}, {}], 4: "ab", 20: true}
        let bytes =
            [0x15, 0x05, 0x29, 0x2c, 0x15, 0x80, 0x01, 0x00, 0x00, 0x18, 0x02, b'a', b'b', 0x01, 0x28, 0x00, 0xff];
        let mut log = Log::default();
        assert_eq!(walk(&bytes, &mut log), Ok(16));
        assert_eq!(log.0, ["[1]=-3", "[3]*2", "[3, 1]=64", "[3].", "[3].", "[]."]);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        struct Nothing;
        impl Visitor for Nothing {}
        for (bytes, word) in [
            (&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07][..], "a list claims 2147483647 elements"),
            (&[0x18, 0xff, 0xff, 0x03, b'a'], "a value claims 65535 bytes"),
            (&[0x15], "cut off"),
            (&[0x1c; 100], "nested too deeply"),
            (&[0x1e, 0x00], "unknown type 14"),
            (&[0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "too long"),
        ] {
            let error = walk(bytes, &mut Nothing).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = walk(&bytes, &mut Log::default());
        }
    }
}
