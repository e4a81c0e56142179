//! The index of a version's items.

use std::fs::File;
use std::ops::Range;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use coterie_algorithms::kmeans::Centroids;
use coterie_algorithms::lists::{Breadth, Lists, ListsError};
use memmap2::Mmap;
use object_store::ObjectStore;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::build::Draft;
use super::column::{Column, map};
use super::file::{Footer, Ids, footer};
use super::tables::ItemTables;
use super::{ItemsError, MOST_ITEMS, fetch};
use crate::model::{Model, RowId};

/// How an index is made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// Share of the ten nearest items that a query finds, on average; 0..=1.
    pub recall: f64,
    /// Whether hash tables are built beside the lists.
    pub tables: bool,
}

/// The items of a version in order of their cluster, in a file that is mapped into memory.
#[derive(Debug)]
pub struct ItemIndex {
    starts: Column<u64>,
    radii: Column<f32>,
    terms: Column<f32>,
    rows: Column<f32>,
    codes: Column<i8>,
    ids: IdColumns,
    by_id: Column<u32>,
    breadth: Breadth,
    tables: Option<ItemTables>,
    identity: String,
}

#[derive(Debug)]
enum IdColumns {
    Int(Column<i64>),
    Text(Column<u64>, Column<u8>),
}

impl Default for Options {
    fn default() -> Self {
        Self { recall: 0.95, tables: false }
    }
}

impl ItemIndex {
    /// The index of `model`, whose version lies in `version`: the file in `directory` where it is there already, and otherwise made
    /// from the parts. An index that is there is ready at once; making one takes a pass over the items, and to choose its
    /// parameters a few hundred more over their codes. It computes on the calling thread and rayon's.
    ///
    /// # Errors
    /// [`ItemsError`] names the part or file, and the remedy.
    pub async fn open(
        store: &dyn ObjectStore,
        version: &Path,
        model: &Model,
        directory: &LocalPath,
        options: Options,
    ) -> Result<Self, ItemsError> {
        let items = model.items.as_ref().ok_or_else(|| ItemsError::None { version: model.version.clone() })?;
        if items.rows > MOST_ITEMS {
            return Err(ItemsError::TooMany { rows: items.rows });
        }
        let failed = |source| ItemsError::File { action: "write", file: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let file = file_of(model, directory, options);
        match Self::present(&file, model, options) {
            Ok(Some(index)) => return Ok(index),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the item index is made again"),
        }
        let mut draft = Draft::new(model, items, options, directory)?;
        fetch::all(store, version, items, model.dimension(), directory, |path, rows| draft.take(path, rows)).await?;
        draft.finish(&file)?;
        Self::present(&file, model, options)?
            .ok_or_else(|| ItemsError::index(&file, "it was removed while it was made"))
    }

    /// The index in `file`, if there is one.
    fn present(file: &LocalPath, model: &Model, options: Options) -> Result<Option<Self>, ItemsError> {
        let opened = match File::open(file) {
            Ok(opened) => opened,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ItemsError::File { action: "read", file: file.to_owned(), source }),
        };
        let bytes =
            map(&opened).map_err(|source| ItemsError::File { action: "read", file: file.to_owned(), source })?;
        let index = |what: String| ItemsError::index(file, what);
        let Footer { model: digest, items, options: found, breadth, tables, sections } =
            footer(&bytes).map_err(index)?;
        let wanted = model.items.as_ref().map(super::Items::digest);
        if digest != crate::digest(model) || Some(items) != wanted || found != options {
            return Err(index("it belongs to another model".to_owned()));
        }
        let index = Self {
            starts: column(&bytes, &sections.starts).map_err(index)?,
            radii: column(&bytes, &sections.radii).map_err(index)?,
            terms: column(&bytes, &sections.terms).map_err(index)?,
            rows: column(&bytes, &sections.rows).map_err(index)?,
            codes: column(&bytes, &sections.codes).map_err(index)?,
            ids: match &sections.ids {
                Ids::Int(ids) => IdColumns::Int(column(&bytes, ids).map_err(index)?),
                Ids::Text(ends, texts) => {
                    IdColumns::Text(column(&bytes, ends).map_err(index)?, column(&bytes, texts).map_err(index)?)
                }
            },
            by_id: column(&bytes, &sections.by_id).map_err(index)?,
            breadth,
            tables: None,
            identity: format!("{} {breadth:?}", identity(model, options)),
        };
        let n = index.lists(&model.centroids).map_err(|error| ItemsError::lists(file, error))?.len();
        index.check(n).map_err(|what| ItemsError::index(file, what))?;
        let tables = tables.map(|info| ItemTables::open(&bytes, &info, n, model.dimension())).transpose();
        Ok(Some(Self { tables: tables.map_err(|what| ItemsError::index(file, what))?, ..index }))
    }

    /// That lookups of ids stay in range.
    fn check(&self, n: usize) -> Result<(), &'static str> {
        let by_id = self.by_id.as_ref();
        if by_id.len() != n || by_id.iter().any(|&place| place as usize >= n) {
            return Err("its order of ids is of other items");
        }
        let fit = match &self.ids {
            IdColumns::Int(ids) => ids.as_ref().len() == n,
            IdColumns::Text(ends, texts) => {
                let ends = ends.as_ref();
                ends.len() == n + 1 && ends.is_sorted() && ends[n] == texts.as_ref().len() as u64
            }
        };
        if fit { Ok(()) } else { Err("its ids are of other items") }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.by_id.as_ref().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Equal where the same items are found by the same ways.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// How far a search goes from list to list for the recall asked for.
    pub fn breadth(&self) -> Breadth {
        self.breadth
    }

    /// The hash tables, where they were asked for.
    pub fn tables(&self) -> Option<&ItemTables> {
        self.tables.as_ref()
    }

    /// The lists of the items; `centroids` are the model's.
    ///
    /// # Errors
    /// If they are not.
    pub fn lists<'a>(&'a self, centroids: &'a Centroids) -> Result<Lists<'a>, ListsError> {
        Lists::new(
            centroids,
            self.starts.as_ref(),
            self.rows.as_ref(),
            self.codes.as_ref(),
            self.terms.as_ref(),
            self.radii.as_ref(),
        )
    }

    /// The id of the item at a place.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn id(&self, place: u32) -> RowId {
        match &self.ids {
            IdColumns::Int(ids) => RowId::Int(ids.as_ref()[place as usize]),
            IdColumns::Text(ends, texts) => RowId::Text(text(ends, texts, place).into_owned()),
        }
    }

    /// The place of the item with this id, spelt as text; the first where several have it. O(log n).
    pub fn find(&self, id: &str) -> Option<u32> {
        let by_id = self.by_id.as_ref();
        match &self.ids {
            IdColumns::Int(ids) => {
                let (ids, id) = (ids.as_ref(), id.parse::<i64>().ok()?);
                let at = by_id.partition_point(|&place| ids[place as usize] < id);
                by_id.get(at).copied().filter(|&place| ids[place as usize] == id)
            }
            IdColumns::Text(ends, texts) => {
                let at = by_id.partition_point(|&place| *text(ends, texts, place) < *id);
                by_id.get(at).copied().filter(|&place| *text(ends, texts, place) == *id)
            }
        }
    }
}

fn text<'a>(ends: &Column<u64>, texts: &'a Column<u8>, place: u32) -> std::borrow::Cow<'a, str> {
    let ends = ends.as_ref();
    let range = ends[place as usize] as usize..ends[place as usize + 1] as usize;
    String::from_utf8_lossy(&texts.as_ref()[range])
}

fn column<T: bytemuck::AnyBitPattern>(map: &Arc<Mmap>, range: &Range<u64>) -> Result<Column<T>, String> {
    super::tables::column(map, range)
}

/// All that an index depends on.
fn identity(model: &Model, options: Options) -> String {
    let items = model.items.as_ref().map(super::Items::digest).unwrap_or_default();
    format!("{} {items} {} {}", crate::digest(model), options.recall, options.tables)
}

/// The file of an index: named after all that it depends on.
fn file_of(model: &Model, directory: &LocalPath, options: Options) -> PathBuf {
    let all = identity(model, options);
    directory.join(format!("{}-{}.items", model.version, &blake3::hash(all.as_bytes()).to_hex()[..16]))
}
