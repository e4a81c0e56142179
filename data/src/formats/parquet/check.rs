//! What is asked of a footer and of a page header before the library may decode them.

use super::thrift::{Path, Visitor, walk};
use crate::limits;

/// Checks a footer: lengths, and that the flattened schema is one tree of modest depth.
pub(crate) fn footer(bytes: &[u8]) -> Result<(), String> {
    // FileMetaData: 2 = schema (list of SchemaElement, of which 5 = num_children), 4 = row_groups.
    #[derive(Default)]
    struct Footer {
        elements: usize,
        children: Vec<usize>,
        current: usize,
    }
    impl Visitor for Footer {
        fn integer(&mut self, path: Path<'_>, value: i64) -> Result<(), String> {
            if path == [2, 5] {
                self.current =
                    usize::try_from(value).ok().filter(|children| *children <= self.elements).ok_or_else(|| {
                        format!("a schema element claims {value} children, but there are {} elements", self.elements)
                    })?;
            }
            Ok(())
        }
        fn list(&mut self, path: Path<'_>, length: usize) -> Result<(), String> {
            if path == [2] {
                self.elements = length;
                if length > 3 * limits::COLUMNS {
                    return Err(format!("the schema has {length} elements"));
                }
            }
            Ok(())
        }
        fn end(&mut self, path: Path<'_>) -> Result<(), String> {
            if path == [2] {
                self.children.push(std::mem::take(&mut self.current));
            }
            Ok(())
        }
    }
    let mut found = Footer::default();
    walk(bytes, &mut found)?;
    // The schema is a tree in preorder: a stack of how many children are still to come at each level.
    let mut open: Vec<usize> = vec![1];
    for children in found.children {
        while open.last() == Some(&0) {
            open.pop();
        }
        let Some(last) = open.last_mut() else { return Err("the schema is not one tree".to_owned()) };
        *last -= 1;
        open.push(children);
        if open.len() > limits::DEPTH {
            return Err("the schema is nested too deeply".to_owned());
        }
    }
    if open.iter().any(|children| *children > 0) {
        return Err("the schema is not one tree".to_owned());
    }
    Ok(())
}

/// What a page may claim at most, from its column chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageBounds {
    /// Bytes of all pages, decompressed.
    pub(crate) uncompressed: u64,
    /// Values of all pages.
    pub(crate) values: u64,
}

/// Checks the page header at the start of `bytes`.
pub(crate) fn page(bytes: &[u8], bounds: PageBounds) -> Result<(), String> {
    // PageHeader: 2 = uncompressed_page_size, 5 = data_page_header, 7 = dictionary_page_header, 8 = data_page_header_v2,
    // each of which has 1 = num_values.
    #[derive(Default)]
    struct Page {
        uncompressed: i64,
        values: i64,
        dictionary: i64,
    }
    impl Visitor for Page {
        fn integer(&mut self, path: Path<'_>, value: i64) -> Result<(), String> {
            match path {
                [2] => self.uncompressed = value,
                [5 | 8, 1] => self.values = value,
                [7, 1] => self.dictionary = value,
                _ => {}
            }
            Ok(())
        }
    }
    let mut found = Page::default();
    walk(bytes, &mut found)?;
    // Some writers leave the chunk's size out, so small pages are believed anyway.
    let largest = bounds.uncompressed.clamp(16 << 20, limits::PAGE);
    let within = |value: i64, most: u64| u64::try_from(value).is_ok_and(|value| value <= most);
    if !within(found.uncompressed, largest) {
        return Err(format!(
            "a page claims {} bytes, but its column chunk has {}",
            found.uncompressed, bounds.uncompressed
        ));
    }
    if !within(found.values, bounds.values) {
        return Err(format!("a page claims {} values, but its column chunk has {}", found.values, bounds.values));
    }
    // A dictionary's values take at least a byte each.
    if !within(found.dictionary, u64::try_from(found.uncompressed).unwrap_or(0)) {
        return Err(format!("a dictionary claims {} values in {} bytes", found.dictionary, found.uncompressed));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer whose schema elements have these numbers of children.
    fn schema(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x29, 0xfc, children.len() as u8];
        for count in children {
            bytes.extend([0x55, count << 1, 0x00]);
        }
        bytes.push(0x00);
        bytes
    }

    #[test]
    fn schemas_must_be_one_shallow_tree() {
        assert_eq!(footer(&schema(&[2, 0, 1, 0])), Ok(()));
        assert!(footer(&schema(&[2, 0, 1])).unwrap_err().contains("one tree"));
        assert!(footer(&schema(&[1, 0, 0])).unwrap_err().contains("one tree"));
        assert!(footer(&schema(&[63, 0])).unwrap_err().contains("63 children"));
        let mut deep = vec![1; 100];
        deep.push(0);
        assert!(footer(&schema(&deep)).unwrap_err().contains("deeply"));
    }

    #[test]
    fn pages_must_fit_their_chunk() {
        let bounds = PageBounds { uncompressed: 1 << 25, values: 1000 };
        let header =
            |size: &[u8], values: &[u8]| [&[0x15, 0x00, 0x15], size, &[0x3c, 0x15], values, &[0x00, 0x00]].concat();
        assert_eq!(page(&header(&[0x80, 0x01], &[0x10]), bounds), Ok(()));
        assert!(
            page(&header(&[0xfe, 0xff, 0xff, 0xff, 0x0f], &[0x10]), bounds).unwrap_err().contains("2147483647 bytes")
        );
        assert!(page(&header(&[0x01], &[0x10]), bounds).unwrap_err().contains("-1 bytes"));
        assert!(page(&header(&[0x10], &[0xfe, 0x7f]), bounds).unwrap_err().contains("8191 values"));
        let dictionary = [&[0x15, 0x04, 0x15, 0x10, 0x5c, 0x15][..], &[0x20, 0x00, 0x00]].concat();
        assert!(page(&dictionary, bounds).unwrap_err().contains("a dictionary claims 16 values in 8 bytes"));
    }
}
