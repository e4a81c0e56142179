//! Sets in messages.

use crate::app::App;
use crate::query::{QueryError, Served, Sets};
use coterie_protocol::query::Set;
use std::sync::Arc;

/// Bytes of members that are read where they arrived: some tens of microseconds.
const READ_AT_ONCE: usize = 16 << 10;

/// The sets of a request as the model takes them, read off the async threads when they are large; `several` when it was not for one set.
///
/// # Errors
/// [`QueryError`] where integers and texts are mixed, or a member is no name of a feature where it should be.
pub(super) async fn read(app: &App, served: &Arc<Served>, sets: Vec<Set>, several: bool) -> Result<Sets, QueryError> {
    let sets = if sets.iter().map(size).sum::<usize>() <= READ_AT_ONCE {
        flat(&sets)?
    } else {
        app.compute.offload(move || flat(&sets)).await??
    };
    app.compute.named(served, sets, several).await
}

/// As [`read`], of a lone set.
pub(super) async fn read_one(app: &App, served: &Arc<Served>, set: Set) -> Result<Sets, QueryError> {
    read(app, served, vec![set], false).await
}

fn size(set: &Set) -> usize {
    let Set { integers, texts } = set;
    size_of_val(&integers[..]) + texts.iter().map(|text| size_of_val(text) + text.len()).sum::<usize>()
}

fn flat(sets: &[Set]) -> Result<Sets, QueryError> {
    let mut all = Sets::default();
    for Set { integers, texts } in sets {
        integers.iter().try_for_each(|member| all.integer(*member))?;
        texts.iter().try_for_each(|member| all.text(member))?;
        all.end();
    }
    Ok(all)
}
