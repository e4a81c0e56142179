//! Makes the plan: list, read all headers, agree, cut.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use coterie_crds::resolved::{Format, Source};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use tokio::runtime::Handle;

use super::cut::{Extent, cut};
use super::{InputPlan, Object, Part};
use crate::columns::{Selection, agree, check_width};
use crate::contain::contain;
use crate::fetch::ObjectReader;
use crate::formats::{Header, ipc};
use crate::store::{Location, open};
use crate::{DataError, listing};

/// Headers read at once.
const CONCURRENT: usize = 16;
/// Splits that are searched for a vector which is not null.
const SEARCHED: usize = 16;

/// Lists the source's objects, reads their headers and cuts them into splits.
///
/// # Errors
/// When there is nothing to read, or the objects cannot be understood, or do not fit together or the manifest.
pub async fn plan(source: &Source) -> Result<InputPlan, DataError> {
    plan_at(source, &open(&source.uri, &source.store)?).await
}

/// Like [`plan`], in a store that is open already.
///
/// # Errors
/// As [`plan`].
pub async fn plan_at(source: &Source, location: &Location) -> Result<InputPlan, DataError> {
    let metas = listing::list(location).await?;
    let format = listing::format(location, &metas, source.format)?;
    let looks: Vec<Look> =
        stream::iter(metas).map(|meta| look(source, location, format, meta)).buffered(CONCURRENT).try_collect().await?;
    let mut selections = looks.iter().filter_map(|look| Some((look.uri.as_str(), look.selection.as_ref()?)));
    let Some(first) = selections.next() else { return Err(no_rows(location)) };
    selections.try_for_each(|other| agree(first, other))?;
    let Selection { vector, features, members, width, id: _ } = first.1.clone();
    let extents: Vec<Extent> = looks.iter().map(|look| look.extent.clone()).collect();
    let splits = cut(&extents);
    if splits.is_empty() || !has_rows(location, format, &looks).await? {
        return Err(no_rows(location));
    }
    let rows = looks.iter().map(|look| look.rows).sum();
    let objects = looks.into_iter().map(|look| look.object).collect();
    let mut plan = InputPlan {
        format,
        objects,
        splits,
        dimension: width.unwrap_or(0),
        feature_names: features,
        vector,
        members,
        rows,
    };
    if width.is_none() {
        plan.dimension = search_width(location, &plan).await?;
    }
    tracing::debug!(
        objects = plan.objects.len(),
        splits = plan.splits.len(),
        dimension = plan.dimension,
        "planned the input"
    );
    Ok(plan)
}

/// What is kept of an object's header.
struct Look {
    uri: String,
    object: Object,
    /// `None` when the object has no rows that tell the types of its columns.
    selection: Option<Selection>,
    extent: Extent,
    rows: Option<u64>,
}

fn reader(location: &Location, object: &Object) -> Result<ObjectReader, DataError> {
    crate::reader::object_reader(location, object, &Arc::new(AtomicU64::new(0)))
}

async fn look(source: &Source, location: &Location, format: Format, meta: ObjectMeta) -> Result<Look, DataError> {
    // The listing's tag is not used: some stores write it in another way than in their answers to reads.
    let mut object = Object { path: meta.location.to_string(), size: meta.size, etag: None };
    let reader = reader(location, &object)?;
    let header = Header::read(format, &reader).await?;
    object.etag = reader.etag();
    let uri = reader.uri.to_string();
    let selection = if header.is_untyped() { None } else { Some(header.select(&uri, &source.columns)?) };
    Ok(Look { selection, extent: header.extent(meta.size), rows: header.rows(), uri, object })
}

fn no_rows(location: &Location) -> DataError {
    DataError::Empty {
        uri: location.uri.clone(),
        problem: "the objects hold no rows".to_owned(),
        remedy: "write at least one row, or correct source.uri".to_owned(),
    }
}

/// Whether any batch of an Arrow source has rows; for the other formats the extents say so.
async fn has_rows(location: &Location, format: Format, looks: &[Look]) -> Result<bool, DataError> {
    if format != Format::Arrow {
        return Ok(true);
    }
    for look in looks {
        let reader = reader(location, &look.object)?;
        if let Header::Arrow(header) = Header::read(format, &reader).await?
            && ipc::has_rows(&reader, &header).await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The dimension of a list column whose type does not fix it: that of the first vector.
async fn search_width(location: &Location, plan: &InputPlan) -> Result<usize, DataError> {
    let column = plan.vector.clone().unwrap_or_default();
    for split in plan.splits.iter().take(SEARCHED) {
        let Some(object) = plan.objects.get(split.object as usize) else { break };
        let reader = reader(location, object)?;
        let header = Header::read(plan.format, &reader).await?;
        if let Some(width) = width_in(&reader, header, split.part, &column).await? {
            check_width(&reader.uri, &column, Some(width))?;
            return Ok(width);
        }
    }
    Err(DataError::Empty {
        uri: location.uri.clone(),
        problem: format!(
            "the vectors in column {column:?} are null as far as they were read, so their dimension is unknown"
        ),
        remedy: "write at least one vector near the beginning, or lists of fixed size".to_owned(),
    })
}

async fn width_in(reader: &ObjectReader, header: Header, part: Part, column: &str) -> Result<Option<usize>, DataError> {
    let (object, column, handle) = (reader.clone(), column.to_owned(), Handle::current());
    let search = move || contain(|| header.first_width(&object, &handle, part, &column));
    let found = tokio::task::spawn_blocking(search).await.map_err(|_| crate::fetch::interrupted(reader))?;
    found.unwrap_or_else(|panic| Err(crate::reader::decoder_stopped(&reader.uri, part, &panic)))
}
