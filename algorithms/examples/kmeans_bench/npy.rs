//! NumPy's file format, as far as benchmarks need it: two-dimensional `f4` in C order in, `f4` and `u4` out.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

/// Magic, version 1.0.
const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";

/// The rows of a file, one after the other, and how long a row is.
pub(crate) fn read(path: &Path) -> io::Result<(Vec<f32>, usize)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut start = [0; 10];
    file.read_exact(&mut start)?;
    if start[..8] != MAGIC[..] {
        return Err(invalid("not an .npy file of version 1.0"));
    }
    let mut header = vec![0; usize::from(u16::from_le_bytes([start[8], start[9]]))];
    file.read_exact(&mut header)?;
    let header = String::from_utf8_lossy(&header);
    if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        return Err(invalid("expected float32 in C order"));
    }
    let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).map(|(shape, _)| shape);
    let numbers: Vec<usize> =
        shape.into_iter().flat_map(|shape| shape.split(',')).filter_map(|number| number.trim().parse().ok()).collect();
    let [rows, columns] = numbers[..] else { return Err(invalid("expected two dimensions")) };
    let mut values = Vec::with_capacity(rows * columns);
    let mut bytes = vec![0; 1 << 16];
    while values.len() < rows * columns {
        let wanted = bytes.len().min(4 * (rows * columns - values.len()));
        file.read_exact(&mut bytes[..wanted])?;
        values.extend(bytes[..wanted].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    }
    Ok((values, columns))
}

/// Writes rows of `f4`.
pub(crate) fn write_rows(path: &Path, values: &[f32], columns: usize) -> io::Result<()> {
    let shape = format!("({}, {columns})", values.len() / columns);
    write(path, "<f4", &shape, values.iter().map(|value| value.to_le_bytes()))
}

/// Writes a vector of `u4`.
pub(crate) fn write_labels(path: &Path, labels: &[u32]) -> io::Result<()> {
    write(path, "<u4", &format!("({},)", labels.len()), labels.iter().map(|label| label.to_le_bytes()))
}

fn write(path: &Path, kind: &str, shape: &str, values: impl Iterator<Item = [u8; 4]>) -> io::Result<()> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    // The values begin at a multiple of 64 bytes.
    let padding = 63 - (MAGIC.len() + 2 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(MAGIC)?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for value in values {
        file.write_all(&value)?;
    }
    file.flush()
}
