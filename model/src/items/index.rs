//! The index of a version's items.

use std::fs::File;
use std::ops::Range;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use coterie_algorithms::kmeans::Centroids;
use coterie_algorithms::lists::{Breadth, Codes, Guide, Lists, ListsError};
use memmap2::Mmap;
use object_store::ObjectStore;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::build::Draft;
use super::column::{Column, map};
use super::file::{CodeSections, Footer, Ids, footer};
use super::parameters::TableOptions;
use super::replaced::{Replaced, hold};
use super::setting::FEWEST;
use super::tables::ItemTables;
use super::{EXTENSION, ItemsError, MOST_ITEMS, Shard, Stop, count, fetch};
use crate::model::{Model, RowId};

/// How an index is made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// Share of the ten nearest items that a query finds, on average; 0..=1.
    pub recall: f64,
    /// Hash tables beside the lists.
    pub tables: TableOptions,
    /// The part of the items that it holds.
    #[serde(default, skip_serializing_if = "Shard::is_whole")]
    pub shard: Shard,
}

/// The items of a version in order of their cluster, in a file that is mapped into memory.
#[derive(Debug)]
pub struct ItemIndex {
    starts: Column<u64>,
    rows: Column<f32>,
    /// None of sets.
    codes: Option<CodeColumns>,
    ids: IdColumns,
    by_id: Column<u32>,
    ordinals: Option<Column<u64>>,
    total: u64,
    options: Options,
    breadth: Breadth,
    tables: Option<ItemTables>,
    identity: String,
    content: String,
    replaced: Replaced,
    /// Locked, as it is mapped.
    _file: File,
}

/// What is searched first, of rows and of centroids.
#[derive(Debug)]
struct CodeColumns {
    bytes: Column<i8>,
    terms: Column<f32>,
    radii: Column<f32>,
    guide: Guide,
}

#[derive(Debug)]
enum IdColumns {
    Int(Column<i64>),
    Text(Column<u64>, Column<u8>),
}

impl Default for Options {
    fn default() -> Self {
        Self { recall: 0.95, tables: TableOptions::None, shard: Shard::WHOLE }
    }
}

impl ItemIndex {
    /// The index of `model`, whose version lies in `version`: the file in `directory` where it is there already, and otherwise made
    /// from the parts. An index that is there is ready at once; making one takes a pass over the items, and to choose its
    /// parameters a few hundred more over their codes. It computes on the calling thread and rayon's, until `stop` is asked: then it
    /// gives up and leaves no file, as when the future is dropped.
    ///
    /// # Errors
    /// [`ItemsError`] names the part or file, and the remedy.
    pub async fn open(
        store: &Arc<dyn ObjectStore>,
        version: &Path,
        model: &Model,
        directory: &LocalPath,
        options: Options,
        stop: &Stop,
    ) -> Result<Self, ItemsError> {
        let items = model.items.as_ref().ok_or_else(|| ItemsError::None { version: model.version.clone() })?;
        options.tables.check(model.metric)?;
        let parts = items.held_by(options.shard);
        let rows = parts.iter().fold(0u64, |sum, (_, part)| sum.saturating_add(part.rows));
        if rows > MOST_ITEMS {
            return Err(ItemsError::TooMany { rows });
        }
        let failed = |source| ItemsError::File { action: "write", file: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let file = file_of(model, directory, options);
        match Self::present(&file, model, options) {
            Ok(Some(index)) => return Ok(index),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the item index is made again"),
        }
        let sizes = if options.shard.is_whole() {
            model.clusters.iter().map(|cluster| cluster.size).collect()
        } else {
            count::count(store, version, &parts, model.n_clusters()).await?
        };
        stop.check()?;
        let mut draft = Draft::new(model, (items.digest(), sizes.into_iter()), options, (directory, stop))?;
        fetch::all(store.as_ref(), version, &parts, model.dimension(), directory, |path, rows| draft.take(path, rows))
            .await?;
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
        hold(&opened);
        let bytes =
            map(&opened).map_err(|source| ItemsError::File { action: "read", file: file.to_owned(), source })?;
        let index = |what: String| ItemsError::index(file, what);
        let Footer { model: digest, name: _, items, options: found, breadth, tables, sections } =
            footer(&bytes).map_err(index)?;
        let wanted = model.items.as_ref().map(super::Items::digest);
        if digest != crate::digest(model) || Some(items) != wanted || found != options {
            return Err(index("it is of another model or has other tables".to_owned()));
        }
        let index = Self {
            starts: column(&bytes, &sections.starts).map_err(index)?,
            rows: column(&bytes, &sections.rows).map_err(index)?,
            codes: sections.codes.map(|sections| codes(&bytes, &sections, model)).transpose().map_err(index)?,
            ids: match &sections.ids {
                Ids::Int(ids) => IdColumns::Int(column(&bytes, ids).map_err(index)?),
                Ids::Text(ends, texts) => {
                    IdColumns::Text(column(&bytes, ends).map_err(index)?, column(&bytes, texts).map_err(index)?)
                }
            },
            by_id: column(&bytes, &sections.by_id).map_err(index)?,
            ordinals: sections.ordinals.map(|ordinals| column(&bytes, &ordinals)).transpose().map_err(index)?,
            total: model.items.as_ref().map_or(0, |items| items.rows),
            options,
            breadth,
            tables: None,
            identity: if options.shard.is_whole() {
                format!("{} {breadth:?}", identity(model, options))
            } else {
                // Which shard is asked does not matter.
                format!("{} of {}", identity(model, options), options.shard.of())
            },
            content: content(model),
            replaced: Replaced { by: file.to_owned(), name: model.name.clone(), shard: options.shard },
            _file: opened,
        };
        let n = index.lists(&model.centroids).map_err(|error| ItemsError::lists(file, error))?.len();
        index.check(n).map_err(|what| ItemsError::index(file, what))?;
        let tables = tables.map(|info| ItemTables::open(&bytes, &info, n, model.dimension())).transpose();
        Ok(Some(Self { tables: tables.map_err(|what| ItemsError::index(file, what))?, ..index }))
    }

    /// That lookups of ids and ordinals stay in range.
    fn check(&self, n: usize) -> Result<(), &'static str> {
        let by_id = self.by_id.as_ref();
        if by_id.len() != n || by_id.iter().any(|&place| place as usize >= n) {
            return Err("its order of ids is of other items");
        }
        if self.ordinals.as_ref().is_some_and(|ordinals| ordinals.as_ref().len() != n) {
            return Err("its ordinals are of other items");
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

    /// The part of the items that it holds.
    pub fn shard(&self) -> Shard {
        self.options.shard
    }

    /// Number of items in all shards.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether similar items are found by hash tables unless another way is asked for. A shard may have too few items for tables of its
    /// own.
    pub fn offers_tables(&self) -> bool {
        self.tables.is_some()
            || (!self.shard().is_whole() && self.options.tables != TableOptions::None && self.total >= FEWEST)
    }

    /// Orders the items of a cluster, over all shards, as an index of all of them does.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn ordinal(&self, place: u32) -> u64 {
        self.ordinals.as_ref().map_or(place.into(), |ordinals| ordinals.as_ref()[place as usize])
    }

    /// The place of the item of a cluster with this ordinal, if it is here. O(log n).
    pub fn place(&self, cluster: u32, ordinal: u64) -> Option<u32> {
        let starts = self.starts.as_ref();
        let (start, end) = (*starts.get(cluster as usize)?, *starts.get(cluster as usize + 1)?);
        let place = match &self.ordinals {
            None => (start..end).contains(&ordinal).then_some(ordinal),
            // The rows of a cluster lie in the order in which they came.
            Some(ordinals) => {
                let all = ordinals.as_ref().get(start as usize..end as usize)?;
                all.binary_search(&ordinal).ok().map(|at| start + at as u64)
            }
        };
        place.and_then(|place| u32::try_from(place).ok())
    }

    /// Number of items here.
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

    /// Equal where the items are those of the same model, however they are divided and found.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The files that this one has taken the place of.
    pub fn replaced(&self) -> &Replaced {
        &self.replaced
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
        let codes = self.codes.as_ref().map(|CodeColumns { bytes, terms, radii, guide: _ }| Codes {
            bytes: bytes.as_ref(),
            terms: terms.as_ref(),
            radii: radii.as_ref(),
        });
        let lists = Lists::new(centroids, self.starts.as_ref(), self.rows.as_ref(), codes)?;
        Ok(match &self.codes {
            Some(codes) => lists.guided(&codes.guide),
            None => lists,
        })
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

fn codes(map: &Arc<Mmap>, sections: &CodeSections, model: &Model) -> Result<CodeColumns, String> {
    let CodeSections { bytes, terms, radii } = sections;
    Ok(CodeColumns {
        bytes: column(map, bytes)?,
        terms: column(map, terms)?,
        radii: column(map, radii)?,
        guide: Guide::new(&model.centroids),
    })
}

/// All that an index depends on, beside its shard.
fn identity(model: &Model, options: Options) -> String {
    format!("{} {} {:?}", content(model), options.recall, options.tables)
}

/// The model and its items.
fn content(model: &Model) -> String {
    let items = model.items.as_ref().map(super::Items::digest).unwrap_or_default();
    format!("{} {items}", crate::digest(model))
}

/// All that the file of an index depends on.
fn contents(model: &Model, options: Options) -> String {
    let all = identity(model, options);
    if options.shard.is_whole() { all } else { format!("{all} {}", options.shard) }
}

/// The file of an index: named after all that it depends on.
fn file_of(model: &Model, directory: &LocalPath, options: Options) -> PathBuf {
    let all = contents(model, options);
    directory.join(format!("{}-{}.{EXTENSION}", model.version, &blake3::hash(all.as_bytes()).to_hex()[..16]))
}
