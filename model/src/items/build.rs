//! Making an index: rows are put where they belong as they arrive, and what follows from all of them at the end.

use std::ops::Range;
use std::path::Path as LocalPath;

use coterie_algorithms::lists::{Breadth, Codes, Lists, Searcher, Terms, breadth_for, code_length, encode_list};
use coterie_algorithms::metric::Metric;
use memmap2::MmapMut;
use object_store::path::Path;
use rayon::prelude::*;
use tempfile::NamedTempFile;

use super::ItemsError;
use super::column::map_mut;
use super::fetch::{RowIds, Rows};
use super::file::{Allotter, CodeSections, Footer, Ids, Sections, seal};
use super::index::Options;
use super::parameters::TableOptions;
use super::setting::{FEWEST, NEIGHBOURS, Rows as AllRows, chosen, given};
use super::stop::Stop;
use super::tables::{self, TablesInfo};
use crate::model::Model;

/// Items that are asked for to find out how many lists the recall takes.
const QUERIES: usize = 1000;
/// Items whose neighbours tell how far apart near ones are.
const DISTANCES: usize = 100;

/// An index that is not finished.
pub(super) struct Draft<'a> {
    model: &'a Model,
    /// Number of rows.
    count: usize,
    /// Digest of the items of all shards.
    digest: String,
    options: Options,
    stop: &'a Stop,
    file: NamedTempFile,
    map: MmapMut,
    room: Allotter,
    sections: Sections,
    starts: Vec<u64>,
    /// Where the next row of each cluster goes.
    next: Vec<u64>,
    /// Text ids by place; numbers lie in the file already.
    texts: Option<Vec<Box<str>>>,
}

impl<'a> Draft<'a> {
    /// An empty index for so many rows of each cluster, as a file without a lasting name in `directory`.
    pub(super) fn new(
        model: &'a Model,
        (digest, sizes): (String, impl Iterator<Item = u64>),
        options: Options,
        (directory, stop): (&LocalPath, &'a Stop),
    ) -> Result<Self, ItemsError> {
        let sums = sizes.scan(0, |sum: &mut u64, size| {
            *sum = sum.saturating_add(size);
            Some(*sum)
        });
        let starts: Vec<u64> = std::iter::once(0).chain(sums).collect();
        let (d, k) = (model.dimension(), model.n_clusters());
        let n = starts[k] as usize;
        let mut room = Allotter::default();
        let sections = Sections {
            starts: room.room(k + 1, size_of::<u64>()),
            rows: room.room(n * d, size_of::<f32>()),
            codes: (model.metric != Metric::Jaccard).then(|| CodeSections {
                bytes: room.room(n * code_length(d), 1),
                terms: room.room(3 * n, size_of::<f32>()),
                radii: room.room(k, size_of::<f32>()),
            }),
            ids: Ids::Int(room.room(n, size_of::<i64>())),
            by_id: room.room(n, size_of::<u32>()),
            ordinals: (!options.shard.is_whole()).then(|| room.room(n, size_of::<u64>())),
        };
        let failed = |source| ItemsError::File { action: "write", file: directory.to_owned(), source };
        let file = tempfile::Builder::new().prefix(".index-").tempfile_in(directory).map_err(failed)?;
        file.as_file().set_len(room.end.max(1)).map_err(failed)?;
        let map = map_mut(file.as_file()).map_err(failed)?;
        let next = starts[..k].to_vec();
        Ok(Self { model, count: n, digest, options, stop, file, map, room, sections, starts, next, texts: None })
    }

    /// Puts rows where they belong.
    pub(super) fn take(&mut self, path: &Path, rows: Rows<'_>) -> Result<(), ItemsError> {
        self.stop.check()?;
        let d = self.model.dimension();
        let malformed = |what: &str| ItemsError::Malformed { path: path.clone(), what: what.to_owned() };
        let mut places = Vec::with_capacity(rows.clusters.len());
        for &cluster in rows.clusters {
            let cluster = usize::try_from(cluster).ok().filter(|&cluster| cluster < self.next.len());
            let cluster = cluster.ok_or_else(|| malformed("it names a cluster that the model has not"))?;
            let place = self.next[cluster];
            if place >= self.starts[cluster + 1] {
                return Err(malformed("it has more rows of a cluster than were counted"));
            }
            self.next[cluster] += 1;
            places.push(place as usize);
        }
        let all = numbers_mut::<f32>(&mut self.map, &self.sections.rows);
        for (&place, row) in places.iter().zip(rows.vectors.chunks_exact(d)) {
            all[place * d..][..d].copy_from_slice(row);
        }
        if let Some(range) = &self.sections.ordinals {
            let all = numbers_mut::<u64>(&mut self.map, range);
            places.iter().zip(rows.first..).for_each(|(&place, ordinal)| all[place] = ordinal);
        }
        match rows.ids {
            RowIds::Int(ids) if self.texts.is_none() => {
                let Ids::Int(range) = &self.sections.ids else { return Err(malformed("its ids are no numbers")) };
                let all = numbers_mut::<i64>(&mut self.map, range);
                places.iter().zip(ids).for_each(|(&place, &id)| all[place] = id);
            }
            RowIds::Int(_) => return Err(malformed("its ids are numbers, those of other parts are texts")),
            RowIds::Text(ids) => {
                let n = self.count;
                let all = self.texts.get_or_insert_with(|| vec![Box::default(); n]);
                places.iter().zip(ids.iter()).for_each(|(&place, id)| all[place] = id.unwrap_or_default().into());
            }
        }
        Ok(())
    }

    /// Writes what follows from the rows, and gives the file the name `target`.
    pub(super) fn finish(mut self, target: &LocalPath) -> Result<(), ItemsError> {
        let failed = |source| ItemsError::File { action: "write", file: target.to_owned(), source };
        if self.next[..] != self.starts[1..] {
            return Err(ItemsError::index(target, "the parts have fewer rows of a cluster than were counted"));
        }
        numbers_mut::<u64>(&mut self.map, &self.sections.starts).copy_from_slice(&self.starts);
        if let Some(codes) = self.sections.codes.clone() {
            self.encode(&codes)?;
        }
        self.stop.check()?;
        self.sort_ids().map_err(failed)?;
        self.stop.check()?;
        let breadth = self.breadth(target)?;
        let tables = if self.count as u64 >= FEWEST { self.tables(target)? } else { None };
        self.stop.check()?;
        self.map.flush().map_err(failed)?;
        let footer = Footer {
            model: crate::digest(self.model),
            name: Some(self.model.name.clone()),
            items: self.digest,
            options: self.options,
            breadth,
            tables,
            sections: self.sections,
        };
        seal(self.file.as_file(), self.room.end, &footer).map_err(failed)?;
        self.file.persist(target).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Codes of all rows, cluster by cluster.
    fn encode(&mut self, codes: &CodeSections) -> Result<(), ItemsError> {
        let (d, k) = (self.model.dimension(), self.model.n_clusters());
        let length = code_length(d);
        let centroids = &self.model.centroids;
        let starts = &self.starts;
        let (before, behind) = self.map.split_at_mut(codes.bytes.start as usize);
        let rows = numbers::<f32>(before, &self.sections.rows);
        let bytes = (codes.bytes.end - codes.bytes.start) as usize;
        let mut rest: &mut [i8] = bytemuck::cast_slice_mut(&mut behind[..bytes]);
        let mut lists = Vec::with_capacity(k);
        for cluster in 0..k {
            let range = starts[cluster] as usize..starts[cluster + 1] as usize;
            let (own, others) = rest.split_at_mut(range.len() * length);
            lists.push((cluster, &rows[range.start * d..range.end * d], own));
            rest = others;
        }
        let stop = self.stop;
        let encode = |(cluster, rows, own)| {
            stop.check()?;
            Ok(encode_list(centroids, cluster, rows, own))
        };
        let encoded: Vec<(Vec<Terms>, f32)> = lists.into_par_iter().map(encode).collect::<Result<_, ItemsError>>()?;
        let terms = encoded.iter().flat_map(|(terms, _)| terms);
        Terms::write(terms, numbers_mut(&mut self.map, &codes.terms));
        let radii = numbers_mut::<f32>(&mut self.map, &codes.radii);
        radii.iter_mut().zip(&encoded).for_each(|(radius, (_, found))| *radius = *found);
        Ok(())
    }

    /// The order of the ids, and the texts behind all else.
    fn sort_ids(&mut self) -> std::io::Result<()> {
        let mut order: Vec<u32> = (0..self.count as u32).collect();
        if let Some(texts) = self.texts.take() {
            order.par_sort_unstable_by(|&a, &b| texts[a as usize].cmp(&texts[b as usize]).then(a.cmp(&b)));
            let mut ends = vec![0u64];
            let mut bytes = Vec::new();
            for text in &texts {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len() as u64);
            }
            drop(texts);
            let ends = self.room.append(self.file.as_file(), &ends)?;
            self.sections.ids = Ids::Text(ends, self.room.append(self.file.as_file(), &bytes)?);
        } else if let Ids::Int(range) = &self.sections.ids {
            let ids = numbers::<i64>(&self.map, range);
            order.par_sort_unstable_by_key(|&place| (ids[place as usize], place));
        }
        numbers_mut::<u32>(&mut self.map, &self.sections.by_id).copy_from_slice(&order);
        Ok(())
    }

    fn lists(&self, target: &LocalPath) -> Result<Lists<'_>, ItemsError> {
        let Sections { rows, codes, .. } = &self.sections;
        let codes = codes.as_ref().map(|CodeSections { bytes, terms, radii }| Codes {
            bytes: numbers(&self.map, bytes),
            terms: numbers(&self.map, terms),
            radii: numbers(&self.map, radii),
        });
        Lists::new(&self.model.centroids, &self.starts, numbers(&self.map, rows), codes)
            .map_err(|error| ItemsError::lists(target, error))
    }

    fn breadth(&self, target: &LocalPath) -> Result<Breadth, ItemsError> {
        let lists = self.lists(target)?;
        // Lists are searched by straight-line distances, so there is nothing to choose for sets.
        if self.model.metric == Metric::Jaccard {
            return Ok(Breadth::lists(lists.count()));
        }
        let seed = self.model.training.seed;
        let go_on = || !self.stop.asked();
        breadth_for(&lists, self.model.metric, self.options.recall, NEIGHBOURS, QUERIES, seed, go_on)
            .ok_or(ItemsError::Interrupted)
    }

    /// The hash tables, if any are asked for.
    fn tables(&mut self, target: &LocalPath) -> Result<Option<TablesInfo>, ItemsError> {
        let (metric, seed) = (self.model.metric, self.model.training.seed);
        let values = numbers::<f32>(&self.map, &self.sections.rows);
        let rows = AllRows { values, dimension: self.model.dimension(), metric };
        let setting = match self.options.tables {
            TableOptions::None => return Ok(None),
            TableOptions::Chosen => {
                let distance = match metric {
                    Metric::Euclidean => typical_distance(&self.lists(target)?, self.stop)?,
                    // Neither angles nor sets have a unit.
                    Metric::Cosine | Metric::Jaccard => 1.0,
                };
                chosen(rows, (self.options.recall, distance), seed, self.stop)
            }
            TableOptions::Given(parameters) => given(rows, parameters.checked(metric)?, seed, self.stop),
        };
        self.stop.check()?;
        tables::build(self.file.as_file(), &mut self.room, rows, setting, self.stop)
            .map(Some)
            .map_err(|source| ItemsError::File { action: "write", file: target.to_owned(), source })
    }
}

/// How far apart near rows are.
fn typical_distance(lists: &Lists<'_>, stop: &Stop) -> Result<f64, ItemsError> {
    let n = lists.len();
    let (mut searcher, mut found) = (Searcher::new(), Vec::new());
    let asked = n.min(DISTANCES);
    let mut distances = 0.0;
    for row in (0..asked).map(|i| i * n / asked) {
        stop.check()?;
        let all = Breadth::lists(lists.count());
        searcher.nearest(lists, Metric::Euclidean, lists.row(row), all, NEIGHBOURS, Some(row as u32), &mut found);
        distances += found.last().map_or(0.0, |last| last.distance);
    }
    // Where most rows are equal any width will do.
    Ok(Some(distances / asked.max(1) as f64).filter(|&distance| distance > 0.0).unwrap_or(1.0))
}

fn numbers<'a, T: bytemuck::AnyBitPattern>(map: &'a [u8], range: &Range<u64>) -> &'a [T] {
    bytemuck::cast_slice(&map[range.start as usize..range.end as usize])
}

fn numbers_mut<'a, T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
    map: &'a mut [u8],
    range: &Range<u64>,
) -> &'a mut [T] {
    bytemuck::cast_slice_mut(&mut map[range.start as usize..range.end as usize])
}
