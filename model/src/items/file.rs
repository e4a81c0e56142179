//! The index's file: arrays one after the other, and a footer that says what they are.
//!
//! ```text
//! arrays, each at a multiple of 64 bytes
//! footer (JSON)
//! length of the footer, 8 bytes little-endian | BLAKE3 of the footer, 32 bytes | "coterie items 5\n"
//! ```
//!
//! A file without the last line was not finished. The arrays themselves are not hashed: that would take longer than all the
//! rest, and the file never leaves the machine that made it from verified parts.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use coterie_algorithms::lists::Breadth;
use serde::{Deserialize, Serialize};

use super::Shard;
use super::index::Options;
use super::tables::TablesInfo;

/// What the file ends with.
const MAGIC: &[u8; 16] = b"coterie items 5\n";
/// What begins the mark of every release.
const ANY_MAGIC: &[u8] = b"coterie items ";
const TAIL: usize = 8 + 32 + MAGIC.len();
/// Longest footer.
const FOOTER_CAP: usize = 1 << 20;
/// Arrays begin at multiples of this.
const ALIGNMENT: u64 = 64;

/// What the index is of, and where its arrays are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Footer {
    /// Digest of the model.
    pub(super) model: String,
    /// Name of the model, which its versions share; indexes of earlier releases do not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Digest of the items.
    pub(super) items: String,
    pub(super) options: Options,
    /// How far a search goes for the recall asked for.
    pub(super) breadth: Breadth,
    pub(super) tables: Option<TablesInfo>,
    pub(super) sections: Sections,
}

/// Where the arrays lie, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sections {
    pub(super) starts: Range<u64>,
    pub(super) rows: Range<u64>,
    /// None of sets, whose distances codes tell nothing of.
    pub(super) codes: Option<CodeSections>,
    pub(super) ids: Ids,
    /// Places in order of their ids.
    pub(super) by_id: Range<u64>,
    /// Place of each row among the items of all shards, in the order of the parts; none where this holds all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ordinals: Option<Range<u64>>,
}

/// Where the codes lie: the arrays of [`coterie_algorithms::lists::Codes`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CodeSections {
    pub(super) bytes: Range<u64>,
    pub(super) terms: Range<u64>,
    pub(super) radii: Range<u64>,
}

/// Where the ids lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Ids {
    /// Numbers of 64 bits.
    Int(Range<u64>),
    /// Where each text begins, and the end; and the texts.
    Text(Range<u64>, Range<u64>),
}

/// Gives out places in the file.
#[derive(Debug, Default)]
pub(super) struct Allotter {
    pub(super) end: u64,
}

impl Allotter {
    /// Room for `count` numbers of `size` bytes.
    pub(super) fn room(&mut self, count: usize, size: usize) -> Range<u64> {
        let start = self.end.next_multiple_of(ALIGNMENT);
        self.end = start + (count as u64) * (size as u64);
        start..self.end
    }

    /// Writes numbers behind all others.
    pub(super) fn append<T: bytemuck::NoUninit>(&mut self, file: &File, numbers: &[T]) -> std::io::Result<Range<u64>> {
        let range = self.room(numbers.len(), size_of::<T>());
        file.write_all_at(bytemuck::cast_slice(numbers), range.start)?;
        Ok(range)
    }
}

/// Writes the footer at `end`, which completes the file.
pub(super) fn seal(file: &File, end: u64, footer: &Footer) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(footer)?;
    let length = bytes.len() as u64;
    let digest = blake3::hash(&bytes);
    bytes.extend(length.to_le_bytes());
    bytes.extend(digest.as_bytes());
    bytes.extend(MAGIC);
    file.write_all_at(&bytes, end)?;
    file.set_len(end + bytes.len() as u64)?;
    file.sync_all()
}

/// What the footer of a file of any release says about whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Claim {
    /// The model's name; not in files of the first releases.
    #[serde(default)]
    pub(super) name: Option<String>,
    pub(super) options: ClaimedOptions,
}

/// The part of the options that all releases know.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct ClaimedOptions {
    /// Left out where the file holds all items.
    #[serde(default)]
    pub(super) shard: Shard,
}

/// Whose a file is, of which only the end is read.
pub(super) fn claim_of(file: &File) -> Result<Claim, String> {
    let read = || {
        let size = file.metadata()?.len();
        let start = size.saturating_sub((TAIL + FOOTER_CAP) as u64);
        let mut end = vec![0; (size - start) as usize];
        file.read_exact_at(&mut end, start).map(|()| end)
    };
    let end = read().map_err(|error: std::io::Error| error.to_string())?;
    parsed(sealed(&end, |magic| magic.starts_with(ANY_MAGIC))?)
}

/// The footer at the end of a file's bytes.
pub(super) fn footer(bytes: &[u8]) -> Result<Footer, String> {
    parsed(sealed(bytes, |magic| magic == MAGIC)?)
}

fn parsed<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| format!("its footer cannot be read: {error}"))
}

/// The text of the footer at the end of a file's bytes.
fn sealed(bytes: &[u8], is_known: impl Fn(&[u8]) -> bool) -> Result<&[u8], String> {
    let (body, tail) = bytes.split_at_checked(bytes.len().saturating_sub(TAIL)).unwrap_or_default();
    let (length, rest) = tail.split_first_chunk::<8>().ok_or("it is too short")?;
    let (digest, magic) = rest.split_first_chunk::<32>().ok_or("it is too short")?;
    if !is_known(magic) {
        let other = magic.starts_with(ANY_MAGIC);
        return Err(if other { "another release made it" } else { "its end is missing" }.to_owned());
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > body.len() || length > FOOTER_CAP {
        return Err(format!("its footer cannot have {length} bytes"));
    }
    let text = &body[body.len() - length..];
    if blake3::hash(text).as_bytes() != digest {
        return Err("its footer has another digest than it says".to_owned());
    }
    Ok(text)
}
