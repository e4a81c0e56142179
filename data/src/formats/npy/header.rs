//! NumPy's array files begin with a Python dictionary. This reads just that dictionary, by hand: general parsers of
//! the format also load pickled objects, which run code.

use crate::limits;

/// Element types that are read, all little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F2,
    F4,
    F8,
}

impl Element {
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::F2 => 2,
            Self::F4 => 4,
            Self::F8 => 8,
        }
    }
}

/// The shape and place of a two-dimensional array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) element: Element,
    /// Whether columns, not rows, are contiguous.
    pub(crate) fortran: bool,
    pub(crate) rows: u64,
    pub(crate) columns: u64,
    /// Where the elements begin in the object.
    pub(crate) data: u64,
}

/// Why a header is refused: problem and remedy; `true` when it is damage rather than an unsuitable array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) damaged: bool,
    pub(crate) problem: String,
    pub(crate) remedy: &'static str,
}

const REWRITE: &str = "write the object again with numpy.save";

fn damaged(problem: impl Into<String>) -> Refusal {
    Refusal { damaged: true, problem: problem.into(), remedy: REWRITE }
}

fn unsuitable(problem: impl Into<String>, remedy: &'static str) -> Refusal {
    Refusal { damaged: false, problem: problem.into(), remedy }
}

/// How many bytes the preamble and header take, from the first 12 bytes of the object.
pub(crate) fn length(start: &[u8]) -> Result<usize, Refusal> {
    let Some(magic) = start.get(..6) else { return Err(damaged("the object is too short for an NPY header")) };
    if magic != b"\x93NUMPY" {
        return Err(damaged("it does not begin with the NPY signature"));
    }
    let short = || damaged("the NPY header is cut off");
    let byte = |at: usize| start.get(at).copied().map(usize::from).ok_or_else(short);
    let (length, preamble) = match byte(6)? {
        1 => (byte(8)? | byte(9)? << 8, 10),
        2 | 3 => (byte(8)? | byte(9)? << 8 | byte(10)? << 16 | byte(11)? << 24, 12),
        other => return Err(damaged(format!("the NPY version {other} is not known"))),
    };
    if length > limits::NPY_HEADER {
        return Err(damaged(format!("the NPY header claims {length} bytes, more than {}", limits::NPY_HEADER)));
    }
    Ok(preamble + length)
}

/// Parses the preamble and header; `bytes` is exactly as long as [`length`] says, `size` is the object's.
pub(crate) fn parse(bytes: &[u8], size: u64) -> Result<Header, Refusal> {
    let preamble = if bytes.get(6) == Some(&1) { 10 } else { 12 };
    let text = std::str::from_utf8(bytes.get(preamble..).unwrap_or_default())
        .map_err(|_| damaged("the NPY header is not text"))?;
    let entries =
        Parser { rest: text }.dictionary().ok_or_else(|| damaged("the NPY header is not a Python dictionary"))?;
    let get = |key: &str| {
        let mut found = entries.iter().filter(|(name, _)| name == key).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(damaged(format!("the NPY header does not hold {key:?} once"))),
        }
    };
    let element = match get("descr")? {
        Value::Text(text) => element(text)?,
        Value::List => {
            return Err(unsuitable("the array has named fields", "save a plain two-dimensional array of float32"));
        }
        Value::Bool(_) | Value::Tuple(_) => return Err(damaged("the NPY header's 'descr' is not text")),
    };
    let Value::Bool(fortran) = *get("fortran_order")? else {
        return Err(damaged("the NPY header's 'fortran_order' is neither True nor False"));
    };
    let Value::Tuple(shape) = get("shape")? else { return Err(damaged("the NPY header's 'shape' is not a tuple")) };
    let [rows, columns] = shape[..] else {
        return Err(unsuitable(
            format!("the array has {} dimensions, but rows of features need 2", shape.len()),
            "save an array of shape (rows, features), for example with reshape",
        ));
    };
    if columns == 0 {
        return Err(unsuitable("the array has no columns", "save an array of shape (rows, features)"));
    }
    if columns > limits::DIMENSION as u64 {
        return Err(unsuitable(
            format!("the array has {columns} columns, more than {}", limits::DIMENSION),
            "reduce the dimension before clustering",
        ));
    }
    let data = bytes.len() as u64;
    let needed =
        rows.checked_mul(columns).and_then(|n| n.checked_mul(element.size())).and_then(|n| n.checked_add(data));
    match needed {
        Some(needed) if needed == size => Ok(Header { element, fortran, rows, columns, data }),
        Some(needed) if needed < size => Err(damaged(format!(
            "the shape ({rows}, {columns}) needs {needed} bytes, but the object has {size}: something follows the array"
        ))),
        Some(needed) => Err(damaged(format!(
            "the shape ({rows}, {columns}) needs {needed} bytes, but the object has only {size}: it is cut off"
        ))),
        None => Err(damaged(format!("the shape ({rows}, {columns}) is impossibly large"))),
    }
}

fn element(descr: &str) -> Result<Element, Refusal> {
    match descr {
        "<f2" => Ok(Element::F2),
        "<f4" => Ok(Element::F4),
        "<f8" => Ok(Element::F8),
        _ if descr.contains('O') => Err(unsuitable(
            "the array holds pickled Python objects, which are never loaded",
            "save an array of numbers, as in numpy.save(name, array.astype('<f4'))",
        )),
        _ => Err(unsuitable(
            format!("the elements are {descr:?}, but only '<f4', '<f8' and '<f2' are read"),
            "convert the array, as in numpy.save(name, array.astype('<f4'))",
        )),
    }
}

#[derive(Debug)]
enum Value {
    Text(String),
    Bool(bool),
    Tuple(Vec<u64>),
    List,
}

/// Just enough of Python's literals.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn dictionary(mut self) -> Option<Vec<(String, Value)>> {
        let mut entries = Vec::new();
        self.take("{")?;
        while self.take("}").is_none() {
            let key = self.text()?;
            self.take(":")?;
            entries.push((key, self.value()?));
            if self.take(",").is_none() {
                self.take("}")?;
                break;
            }
        }
        self.rest.trim().is_empty().then_some(entries)
    }

    fn value(&mut self) -> Option<Value> {
        if self.take("True").is_some() {
            return Some(Value::Bool(true));
        }
        if self.take("False").is_some() {
            return Some(Value::Bool(false));
        }
        if self.take("(").is_some() {
            return self.tuple().map(Value::Tuple);
        }
        if self.take("[").is_some() {
            // Only the description of a record type is a list, and it is refused whatever it says.
            let mut depth = 1_usize;
            let end = self.rest.find(|character| {
                match character {
                    '[' => depth += 1,
                    ']' => depth -= 1,
                    _ => {}
                }
                depth == 0
            })?;
            self.rest = &self.rest[end + 1..];
            return Some(Value::List);
        }
        self.text().map(Value::Text)
    }

    fn tuple(&mut self) -> Option<Vec<u64>> {
        let mut numbers = Vec::new();
        while self.take(")").is_none() {
            numbers.push(self.number()?);
            if self.take(",").is_none() {
                self.take(")")?;
                break;
            }
            if numbers.len() > 64 {
                return None;
            }
        }
        Some(numbers)
    }

    fn number(&mut self) -> Option<u64> {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(self.rest.len());
        let number = self.rest[..end].parse().ok()?;
        // Python 2 wrote long integers as 5L.
        self.rest = self.rest[end..].trim_start_matches('L');
        Some(number)
    }

    fn text(&mut self) -> Option<String> {
        let quote = if self.take("'").is_some() { '\'' } else { self.take("\"").map(|()| '"')? };
        let end = self.rest.find(quote)?;
        let text = self.rest[..end].to_owned();
        self.rest = &self.rest[end + 1..];
        Some(text)
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(token)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(version: u8, header: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        if version == 1 {
            bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        } else {
            bytes.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
        }
        bytes.extend(header.as_bytes());
        bytes
    }

    fn read(bytes: &[u8], size: u64) -> Result<Header, Refusal> {
        let length = length(bytes)?;
        parse(bytes.get(..length).ok_or_else(|| damaged("cut off"))?, size)
    }

    #[test]
    fn all_versions_orders_and_types() {
        for version in [1, 2, 3] {
            for (descr, element) in [("<f4", Element::F4), ("<f8", Element::F8), ("<f2", Element::F2)] {
                for (word, fortran) in [("True", true), ("False", false)] {
                    let bytes = file(
                        version,
                        &format!("{{'descr': '{descr}', 'fortran_order': {word}, 'shape': (7, 3), }}      \n"),
                    );
                    let size = bytes.len() as u64 + 21 * element.size();
                    let header = read(&bytes, size).unwrap();
                    assert_eq!(header, Header { element, fortran, rows: 7, columns: 3, data: bytes.len() as u64 });
                }
            }
        }
        assert!(
            read(&file(1, "{\"shape\":(7L,3L),\"descr\":\"<f4\",\"fortran_order\":False}"), 150).is_err(),
            "size is checked"
        );
    }

    #[test]
    fn refusals_say_what_to_do() {
        let with = |descr: &str, shape: &str| {
            read(&file(1, &format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")), 1000)
                .unwrap_err()
        };
        assert!(with("'|O'", "(7, 3)").problem.contains("pickled Python objects"));
        assert!(with("'>f4'", "(7, 3)").remedy.contains("astype('<f4')"));
        assert!(with("'<i8'", "(7, 3)").problem.contains("'<f4', '<f8' and '<f2'"));
        assert!(with("[('x', '<f4'), ('y', '<f4')]", "(7,)").problem.contains("named fields"));
        assert!(with("'<f4'", "(7,)").problem.contains("1 dimensions"));
        assert!(with("'<f4'", "(7, 3, 2)").remedy.contains("reshape"));
        assert!(with("'<f4'", "(7, 0)").problem.contains("no columns"));
        assert!(with("'<f4'", "(7, 70000)").problem.contains("more than 65536"));
        assert!(with("'<f4'", "(18446744073709551615, 65536)").problem.contains("impossibly large"));
        assert!(with("'<f4'", "(99999999999999999999999, 3)").damaged);
        assert!(with("'<f4'", "(1000, 3)").problem.contains("cut off"));
        assert!(with("'<f4'", "(7, 3)").problem.contains("something follows"));
        assert!(length(b"PK\x03\x04abcdefgh").unwrap_err().problem.contains("signature"));
        assert!(length(b"\x93NUM").unwrap_err().problem.contains("too short"));
        assert!(length(&file(9, "")).unwrap_err().problem.contains("version 9"));
        assert!(length(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f").unwrap_err().problem.contains("more than 65536"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, 1000);
        }

        #[test]
        fn any_header_text_is_survived(text in "[{}()\\[\\]'\":, 0-9LTrueFalsdchpn<f48O\u{e9}]{0,120}") {
            let _ = read(&file(2, &text), 1000);
        }
    }
}
